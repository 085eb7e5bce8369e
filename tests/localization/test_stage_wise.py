"""Stage-wise localization: intersections in closed form, clusters, whole networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.labels import bearings, schemes
from uld_jax.localization import batches, stage_wise
from uld_jax.networks import build
from uld_jax.simulation import scenes

ARRAYS = np.float32([[0.1, 3.0], [3.0, 0.1]])
ROOM = jnp.array([6.0, 6.0])
LABEL = schemes.Label("azimuth", 36, ((0.1, 3.0), (3.0, 0.1)))
cluster, intersect = jax.jit(stage_wise.cluster), jax.jit(stage_wise.intersect)


def cluster_of(azimuths, deviation=0.001):
    return cluster(azimuths, jnp.full_like(azimuths, deviation), ARRAYS, ROOM)


def azimuths_of(points, arrays=ARRAYS):
    return bearings.measure_bearings(jnp.asarray(points, jnp.float32), arrays)


def test_bearings_of_points_meet_in_them():
    points = np.random.default_rng(0).uniform(3.3, 5.9, (50, 2))
    found, meet = intersect(azimuths_of(points), ARRAYS, ROOM)
    assert meet.all()
    np.testing.assert_allclose(found[:, 0], points, atol=2e-3)
    arrays = np.float32([[0.1, 3.0], [3.0, 0.1], [5.9, 3.0]])
    found, meet = intersect(azimuths_of(points, arrays), arrays, ROOM)
    assert found.shape == (50, 3, 2)
    np.testing.assert_allclose(
        found[meet], np.repeat(points, meet.sum(1), axis=0), atol=5e-3
    )


@pytest.mark.parametrize(
    ("degrees", "why"),
    [
        ((90.0, 90.0), "parallel"),
        ((135.0, 90.0), "behind an array"),
        ((0.0, -90.0), "behind the other array"),
        ((80.0, 80.01), "out of the room"),
    ],
)
def test_rays_that_do_not_meet_in_the_room_do_not_count(degrees, why):
    azimuths = jnp.radians(jnp.array([degrees]))
    _, meet = intersect(azimuths, ARRAYS, ROOM)
    assert not meet.any(), why
    fix = cluster_of(azimuths)
    assert (fix.position >= 0).all() and (fix.position <= ROOM).all()


def test_the_densest_place_wins_over_the_mean():
    """Three parts agree to a few centimeters, two are meters off."""
    rng = np.random.default_rng(1)
    near = np.array([4.0, 4.5]) + rng.normal(size=(3, 2)) * 0.02
    points = np.concatenate([near, [[1.0, 5.5], [5.8, 1.0]]])
    fix = cluster_of(azimuths_of(points))
    np.testing.assert_allclose(fix.position, near.mean(axis=0), atol=0.01)
    wide = np.sqrt(np.linalg.eigvalsh(fix.covariance)[-1])
    alone = cluster_of(azimuths_of(near))
    sure, unsure = (
        np.sqrt(np.linalg.eigvalsh(cluster_of(azimuths_of(near), one).covariance)[-1])
        for one in (0.02, 0.2)
    )
    assert unsure > 5 * sure
    assert wide > 5 * np.sqrt(np.linalg.eigvalsh(alone.covariance)[-1])


def test_mean_shift_ends_where_the_density_is_highest():
    """On a fine grid, by brute force."""
    points = np.random.default_rng(2).normal([4.2, 4.0], 0.15, (20, 2))
    fix = cluster_of(azimuths_of(points))
    axis = np.arange(3.5, 5.0, 0.01)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    squares = ((grid[:, None] - points) ** 2).sum(axis=-1)
    density = np.exp(-squares / (2 * stage_wise.BANDWIDTH**2)).sum(axis=1)
    np.testing.assert_allclose(fix.position, grid[density.argmax()], atol=0.011)


class Oracle(nnx.Module):
    """Networks that read the azimuths from the first values of the spectra."""

    @staticmethod
    def inputs(label, batch, by_rows=None):
        return batch["audio"], batch.get("node_mask")

    def __call__(self, features, mask=None, rngs=None):
        azimuths = features[:, :2, :, 0].mean(axis=2)
        code = bearings.circular.encode_circular(azimuths, 36)
        return jnp.log(code + 1e-9).reshape(len(features), 1, -1)


def test_parts_are_seven_frames_one_frame_apart():
    """Of 9 frames there are 3 parts, each with the mean azimuth of its frames."""
    angles = jnp.asarray(np.random.default_rng(0).uniform(0.2, 1.2, (2, 8, 9)))
    batch = {"audio": jnp.tile(angles[..., None], 2).astype(jnp.float32)}
    find = jax.jit(lambda batch: stage_wise.find_directions(Oracle(), LABEL, batch))
    found, deviations = find(batch)
    np.testing.assert_allclose(deviations, np.pi / 18 / 100, rtol=1e-2)
    expected = [angles[:, :2, k : k + 7].mean(axis=2) for k in range(3)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-4)
    short = {"audio": batch["audio"][:, :, :4]}
    assert jax.eval_shape(find, short)[0].shape == (2, 1, 2)


def tiny_networks():
    settings = dict(build.get_spec("directions").settings)
    settings |= {"name": "directions", "dtype": "float32", "width": 4, "num_blocks": 0}
    model = build.for_label(settings, LABEL, num_nodes=8, num_sources=1, seed=0)
    return stage_wise.make(model, LABEL)


def test_networks_give_positions_in_the_room_and_radii():
    nodes = np.stack([scenes.l1_nodes()] * 3).astype(np.float32)
    signals = np.random.default_rng(0).normal(size=(3, 8, 1024)).astype(np.float32)
    localize = tiny_networks()
    found, radii = localize(signals, nodes, np.float32([[6, 6, 4.2]] * 3))
    assert found.shape == (3, 1, 2) and radii.shape == (3, 1)
    assert ((found >= 0) & (found <= 6)).all()
    assert (radii > 0).all() and np.isfinite(radii).all()
    with pytest.raises(batches.RecordingError, match="num_sources is 2; these"):
        localize(signals, nodes, np.float32([[6, 6, 4.2]] * 3), None, 2)


def test_arrays_at_other_places_than_in_training_are_refused():
    nodes = scenes.l1_nodes()[None].astype(np.float32)
    nodes[:, 4:, 0] += 1.0
    signals = np.zeros((1, 8, 32_000), np.float32)
    with pytest.raises(batches.RecordingError, match=r"array 1 of .* \(4.00, 0.10\) m"):
        tiny_networks()(signals, nodes, np.float32([[6, 6, 4.2]]))
