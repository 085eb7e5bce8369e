import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uld_jax.labels import circular

ANGLES = np.concatenate(
    [np.random.default_rng(0).uniform(-9, 9, 200), np.radians(np.arange(-360, 721, 15))]
)


def difference(one, other):
    """Angle between two directions, in rad."""
    return np.abs(np.angle(np.exp(1j * (one - other))))


@given(resolution=st.integers(3, 64))
def test_decoding_inverts_encoding_around_the_circle(resolution):
    code = circular.encode_circular(ANGLES, resolution)
    assert (code >= 0).all()
    np.testing.assert_allclose(code.sum(-1), 1.0)
    assert ((code > 0).sum(-1) <= 2).all()
    found = circular.decode_circular(7.0 * code)
    assert ((found >= 0) & (found < 2 * np.pi)).all()
    assert difference(found, ANGLES).max() < 1e-12


def test_weights_are_linear_between_neighbors():
    code = circular.encode_circular(np.radians(350.0), 36 // 3)
    np.testing.assert_allclose(code[[0, 11]], [2 / 3, 1 / 3], atol=1e-12)


@pytest.mark.parametrize("resolution", [3, 8, 36])
def test_the_rounded_angle_has_the_mean_error_that_is_said(resolution):
    angles = (np.arange(100_000) + 0.5) * 2 * np.pi / 100_000
    peaks = circular.encode_circular(angles, resolution).argmax(-1)
    error = difference(peaks * 2 * np.pi / resolution, angles).mean()
    np.testing.assert_allclose(error, np.pi / (2 * resolution), rtol=1e-3)


def test_it_compiles_and_has_gradients():
    def turned(angle):
        return circular.decode_circular(circular.encode_circular(angle, 12))

    for angle in (1.0, 6.2, -0.1):
        assert difference(jax.jit(turned)(angle), angle) < 1e-5
        np.testing.assert_allclose(jax.grad(turned)(angle), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("azimuth", "resolution", "message"),
    [
        (1.0, 2, "at least 3"),
        (1.0, 2.5, "resolution"),
        (np.nan, 4, "NaN"),
        ([1.0, np.inf], 4, "infinite"),
    ],
)
def test_refused_angles(azimuth, resolution, message):
    with pytest.raises((ValueError, TypeError), match=message):
        circular.encode_circular(azimuth, resolution)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ([0.5, 0.5], r"shape \(2,\)"),
        (1.0, r"shape \(\)"),
        ([0.0, 0.0, 0.0], "zero everywhere"),
        ([1.0, -1.0, 1.0], "distribution holds -1"),
    ],
)
def test_refused_distributions(distribution, message):
    with pytest.raises(ValueError, match=message):
        circular.decode_circular(distribution)
