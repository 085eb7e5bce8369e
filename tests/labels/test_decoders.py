import jax
import numpy as np
import pytest

from uld_jax.labels import codes, decoders

BOX = {"low": [-1.0, 2.0, 0.5], "high": [3.0, 5.0, 2.5]}


def made_up(shape, seed=0):
    """Distributions over a grid, and the coordinates of its points."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(np.prod(shape), 0.3), 5).reshape(5, *shape)
    axes = [
        np.linspace(low, high, count)
        for low, high, count in zip(BOX["low"], BOX["high"], shape[::-1], strict=True)
    ]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    return joint, np.stack([x, y, z], axis=-1)


def test_mean_and_covariance_are_the_moments():
    joint, points = made_up((4, 3, 6))
    mean = np.einsum("bzyx,zyxn->bn", joint, points)
    offsets = points - mean[:, None, None, None]
    covariance = np.einsum("bzyx,bzyxn,bzyxm->bnm", joint, offsets, offsets)
    np.testing.assert_allclose(decoders.decode_mean(joint, **BOX), mean)
    found = decoders.decode_covariance(3.0 * joint, **BOX)
    np.testing.assert_allclose(found, covariance, atol=1e-14)


def test_the_covariance_of_cells_is_that_of_their_centers():
    joint = np.array([[0.5, 0.0, 0.0, 0.5]])
    found = decoders.decode_covariance(joint, [8.0, 1.0], grid="cells")
    np.testing.assert_allclose(found, [[9.0, 0.0], [0.0, 0.0]])
    mean = decoders.decode_mean([[0.25, 0.0, 0.0, 0.75]], [8.0, 1.0], grid="cells")
    np.testing.assert_allclose(mean, [5.5, 0.5])


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5])
def test_the_covariance_of_a_label_is_as_said(t):
    joint = codes.encode_uld([2.0 + t, 1.0], [8.0, 4.0], (8, 4))
    found = decoders.decode_covariance(joint, [8.0, 4.0])
    np.testing.assert_allclose(found, [[t * (1 - t), 0], [0, 0]], atol=1e-15)


def test_argmax_is_the_point_of_the_largest_score():
    joint, points = made_up((4, 3, 6))
    best = joint.reshape(5, -1).argmax(1)
    found = decoders.decode_argmax(np.log(joint + 1e-9), **BOX)
    np.testing.assert_allclose(found, points.reshape(-1, 3)[best])


@pytest.mark.parametrize("window", [0, 1, 2, 7])
def test_a_window_around_the_peak_counts(window):
    marginals = np.random.default_rng(2).dirichlet(np.ones(8), 20)
    peaks = marginals.argmax(1)
    expected = []
    for marginal, peak in zip(marginals, peaks, strict=True):
        near = np.arange(max(0, peak - window), min(8, peak + window + 1))
        expected.append((marginal[near] * near).sum() / marginal[near].sum())
    found = decoders.decode_local_mean(marginals[:, :], [7.0], window=window)
    np.testing.assert_allclose(found[:, 0], expected)


def test_two_labels_are_two_modes():
    one = codes.encode_uld([0.3, 2.6, 1.1], resolution=8, **BOX)
    two = codes.encode_uld([2.2, 4.4, 2.2], resolution=8, **BOX)
    found = decoders.decode_modes(0.4 * one + 0.6 * two, num_modes=3, **BOX)
    np.testing.assert_allclose(found.masses, [0.6, 0.4, 0.0], atol=1e-12)
    np.testing.assert_allclose(
        found.positions[:2], [[2.2, 4.4, 2.2], [0.3, 2.6, 1.1]], atol=1e-12
    )
    assert np.isnan(found.positions[2]).all()
    np.testing.assert_allclose(
        found.covariances[1], decoders.decode_covariance(one, **BOX), atol=1e-12
    )


def test_modes_of_a_batch_are_those_of_each_also_compiled():
    joint, _ = made_up((4, 5, 6), seed=3)
    batch = decoders.decode_modes(joint, num_modes=3, window=1, **BOX)
    compiled = jax.jit(lambda joint: decoders.decode_modes(joint, num_modes=3, **BOX))
    for index, one in enumerate(joint):
        alone = decoders.decode_modes(one, num_modes=3, **BOX)
        traced = compiled(one.astype(np.float32))
        for many, single, under_jit in zip(batch, alone, traced, strict=True):
            np.testing.assert_allclose(many[index], single, atol=1e-12)
            np.testing.assert_allclose(under_jit, single, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_modes": 0}, "num_modes is 0"),
        ({"window": -1}, "window -1"),
    ],
)
def test_refused_modes(settings, message):
    with pytest.raises(ValueError, match=message):
        decoders.decode_modes(np.eye(4), [4.0, 4.0], **settings)


@pytest.mark.parametrize("window", [-1, True])
def test_refused_windows(window):
    with pytest.raises(ValueError, match="window is"):
        decoders.decode_local_mean(np.eye(4), [4.0, 4.0], window=window)
