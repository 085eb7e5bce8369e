import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.labels import codes, expectations, schemes

ROOM = np.array([6.0, 4.0])
RNG = np.random.default_rng(0)


def point_mass(fine, row, column):
    masses = np.zeros((fine + 1, fine + 1))
    masses[row, column] = 1
    return jnp.log(masses + 1e-30)


@pytest.mark.parametrize(("resolution", "fine"), [(1, 16), (4, 16), (8, 8), (5, 20)])
def test_the_uld_of_a_fine_posterior_is_that_of_the_position(resolution, fine):
    """Hat functions are linear between the points of any finer grid."""
    for position in RNG.uniform(size=(20, 2)) * ROOM:
        posterior = jnp.log(codes.encode_uld(position, ROOM, fine) + 1e-30)
        logits = expectations.expected_uld(posterior, resolution)
        found = schemes.softmax(logits)
        expected = codes.encode_uld(position, ROOM, resolution)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        decoded = codes.decode_wad(found, ROOM)
        np.testing.assert_allclose(decoded, position, atol=1e-4)


@pytest.mark.parametrize("scheme", schemes.SCHEMES)
@pytest.mark.parametrize("resolution", [2, 5])
def test_a_certain_posterior_gives_the_code_of_its_position(scheme, resolution):
    label = schemes.Label(scheme, resolution)
    fine = label.posterior_resolution(20)
    times = fine // resolution
    for _ in range(10):
        # A grid point inside a cell, so that no side is shared.
        cell = RNG.integers(resolution, size=2)
        row, column = cell * times + RNG.integers(1, times, size=2)
        position = np.array([column, row]) / fine * ROOM
        found = label.scores(label.expect(point_mass(fine, row, column)))
        target = label.encode(position, ROOM)
        if scheme == "refined_grid":  # Ratios of empty cells mean nothing.
            found = jnp.where(target[:1] > 0, found, 0)
        np.testing.assert_allclose(found, target, atol=1e-5)
        np.testing.assert_allclose(
            label.decode(label.expect(point_mass(fine, row, column)), ROOM),
            schemes.SCHEMES[scheme].decode(target, ROOM),
            atol=1e-3,
        )


@pytest.mark.parametrize("scheme", ["one_hot", "heat_map", "uld"])
def test_an_expected_code_is_the_mean_of_codes(scheme):
    """Two possible positions: the mean of their codes, by the encoder itself."""
    label = schemes.Label(scheme, 4)
    fine = 16
    points = np.array([[3, 5], [14, 7]])
    masses = np.zeros((fine + 1, fine + 1))
    masses[tuple(points.T)] = 0.3, 0.7
    found = label.scores(label.expect(jnp.log(masses + 1e-30)))
    one, other = (label.encode(point[::-1] / fine * ROOM, ROOM) for point in points)
    np.testing.assert_allclose(found, 0.3 * one + 0.7 * other, atol=1e-5)


def test_a_point_on_an_edge_belongs_to_both_cells():
    logits = expectations.expected_one_hot(point_mass(8, 4, 2), 4)
    found = np.exp(np.asarray(logits))
    expected = np.zeros((4, 4))
    expected[1:3, 0:2] = 0.25
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "resolution", "least", "fine"),
    [
        *[("uld", 16, 16, 16), ("uld", 5, 16, 20), ("uld", 64, 16, 64)],
        *[("uld", 1, 16, 16), ("one_hot", 16, 16, 32), ("one_hot", 4, 16, 16)],
        ("heat_map", 64, 1, 128),
    ],
)
def test_the_grid_is_the_coarsest_that_suits_the_label(scheme, resolution, least, fine):
    assert schemes.Label(scheme, resolution).posterior_resolution(least) == fine


def test_a_scheme_without_expectation_is_refused(monkeypatch):
    import dataclasses

    entry = dataclasses.replace(schemes.SCHEMES["uld"], expect=None)
    monkeypatch.setitem(schemes.SCHEMES, "mine", entry)
    with pytest.raises(ValueError, match="'mine', which has no expectation"):
        schemes.Label("mine", 4).expect(jnp.zeros((5, 5)))
