import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from uld_jax.labels import spherical

POLES = [[0.3, np.pi / 2], [-2.0, -np.pi / 2], [np.pi, 0.0], [0.0, 0.0], [1.0, 1.5707]]


def draw_directions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    return vectors, np.stack([azimuth, np.arcsin(vectors[:, 2])], -1)


def to_vectors(directions):
    azimuth, elevation = np.asarray(directions).T
    return np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        -1,
    )


@pytest.mark.parametrize("resolution", [1, 2, 3, 5])
def test_the_grid_is_a_triangulation_of_the_sphere(resolution):
    """Its triangles are the faces of the points' convex hull."""
    grid = spherical.make_spherical_grid(resolution)
    assert len(grid.points) == 10 * resolution**2 + 2
    np.testing.assert_allclose(np.linalg.norm(grid.points, axis=1), 1.0)
    assert len(grid.faces) == 20 * resolution**2
    counts = grid.adjacent.sum(1) - 1
    assert sorted(set(counts.tolist())) == ([5] if resolution == 1 else [5, 6])
    assert (counts == 5).sum() == 12
    volume = np.abs(np.linalg.det(grid.points[grid.faces])).sum() / 6
    hull = scipy.spatial.ConvexHull(grid.points)
    np.testing.assert_allclose(volume, hull.volume)


@pytest.mark.parametrize("resolution", [1, 2, 4, 7])
def test_decoding_inverts_encoding_also_at_the_poles(resolution):
    vectors, directions = draw_directions(200)
    directions = np.concatenate([directions, POLES])
    vectors = np.concatenate([vectors, to_vectors(POLES)])
    code = spherical.encode_spherical(directions, resolution)
    assert (code >= 0).all()
    np.testing.assert_allclose(code.sum(-1), 1.0)
    assert ((code > 1e-12).sum(-1) <= 3).all()
    found = to_vectors(spherical.decode_spherical(5.0 * code))
    np.testing.assert_allclose(found, vectors, atol=1e-12)


def test_the_label_means_the_direction():
    vectors, directions = draw_directions(100, seed=1)
    grid = spherical.make_spherical_grid(4)
    means = spherical.encode_spherical(directions, 4) @ grid.points
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(means, vectors, atol=1e-12)


def test_it_compiles_and_has_gradients():
    def turned(direction):
        return spherical.decode_spherical(spherical.encode_spherical(direction, 3))

    direction = jnp.array([2.5, 1.1])
    np.testing.assert_allclose(jax.jit(turned)(direction), direction, atol=1e-5)
    np.testing.assert_allclose(jax.jacobian(turned)(direction), np.eye(2), atol=1e-4)


def test_refused_directions_and_distributions():
    with pytest.raises(ValueError, match=r"shape \(3,\).*azimuth and elevation"):
        spherical.encode_spherical([1.0, 2.0, 3.0], 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        spherical.encode_spherical([1.0, np.nan], 2)
    with pytest.raises(ValueError, match="resolution is 0"):
        spherical.encode_spherical([1.0, 0.0], 0)
    with pytest.raises(ValueError, match=r"10 I\^2 \+ 2"):
        spherical.decode_spherical(np.ones(13))
    with pytest.raises(ValueError, match="zero everywhere"):
        spherical.decode_spherical(np.zeros(12))
