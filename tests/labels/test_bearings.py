"""Bearings and where they meet, against closed forms and SciPy's least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from uld_jax.labels import bearings, schemes

ARRAYS = np.float32([[0.1, 3.0], [3.0, 0.1]])
MANY = np.float32([[0.1, 2.0], [4.0, 0.1], [7.8, 3.0], [3.0, 4.9]])
ROOM = jnp.array([8.0, 5.0])
triangulate = jax.jit(bearings.triangulate)


def spread_positions(number=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.float32(rng.uniform(0.02, 0.98, (number, 2)) * np.asarray(ROOM))


def intersection(azimuths, arrays):
    """Cut two lines: solve arrays[0] + s u = arrays[1] + t v."""
    u, v = np.stack([np.cos(azimuths), np.sin(azimuths)], axis=-1)
    s, _ = np.linalg.solve(np.stack([u, -v], axis=-1), arrays[1] - arrays[0])
    return arrays[0] + s * u


def test_azimuths_are_counted_from_x_to_y():
    found = bearings.measure_bearings(jnp.array([3.0, 3.0]), ARRAYS)
    np.testing.assert_allclose(found, [0.0, np.pi / 2], atol=1e-6)


def test_two_bearings_meet_where_their_lines_cross():
    deviations = jnp.array([0.01, 0.05])
    for position in spread_positions():
        offsets = position - ARRAYS
        azimuths = np.arctan2(offsets[:, 1], offsets[:, 0]).astype(np.float64)
        if abs(np.sin(azimuths[0] - azimuths[1])) < 0.1:
            continue  # Nearly parallel: rounding of the angles alone moves the point.
        expected = intersection(azimuths, ARRAYS.astype(np.float64))
        found = triangulate(
            jnp.asarray(azimuths, jnp.float32), deviations, ARRAYS, ROOM
        )
        np.testing.assert_allclose(found.position, expected, atol=2e-3)
        np.testing.assert_allclose(found.position, position, atol=2e-3)


@pytest.mark.parametrize("seed", range(8))
def test_many_bearings_meet_at_the_least_squares_of_scipy(seed):
    rng = np.random.default_rng(seed)
    position = rng.uniform(0.1, 0.9, 2) * np.asarray(ROOM)
    deviations = rng.uniform(0.01, 0.1, len(MANY))
    offsets = position - MANY
    exact = np.arctan2(offsets[:, 1], offsets[:, 0])
    azimuths = exact + deviations * rng.normal(size=len(MANY))

    def residuals(place):
        turns = azimuths - np.arctan2(place[1] - MANY[:, 1], place[0] - MANY[:, 0])
        return np.angle(np.exp(1j * turns)) / deviations

    best = scipy.optimize.least_squares(
        residuals, position, bounds=([0, 0], np.asarray(ROOM)), xtol=1e-12, ftol=1e-14
    )
    found = triangulate(
        jnp.asarray(azimuths, jnp.float32),
        jnp.asarray(deviations, jnp.float32),
        MANY,
        ROOM,
    )
    np.testing.assert_allclose(found.position, best.x, atol=1e-3)
    room = np.diag(12 / np.asarray(ROOM) ** 2)
    covariance = np.linalg.inv(best.jac.T @ best.jac + room)
    np.testing.assert_allclose(found.covariance, covariance, rtol=0.02, atol=1e-6)


def test_the_covariance_is_that_of_the_errors():
    """Positions from azimuths with normal errors, drawn again and again."""
    position, deviations = np.array([5.0, 3.5]), np.array([0.02, 0.01])
    offsets = position - ARRAYS
    exact = np.arctan2(offsets[:, 1], offsets[:, 0])
    drawn = np.random.default_rng(0).normal(exact, deviations, (4000, 2))
    found = jax.jit(jax.vmap(bearings.triangulate, (0, None, None, None)))(
        *(jnp.asarray(part, jnp.float32) for part in (drawn, deviations)), ARRAYS, ROOM
    )
    expected = np.cov(np.asarray(found.position).T)
    covariance = np.asarray(found.covariance).mean(axis=0)
    np.testing.assert_allclose(covariance, expected, rtol=0.1)


def test_beside_an_array_the_covariance_is_finite():
    position = jnp.array([2.96, 0.12])
    azimuths = bearings.measure_bearings(position, ARRAYS)
    found = triangulate(azimuths, jnp.array([0.002, 0.01]), ARRAYS, ROOM)
    np.testing.assert_allclose(found.position, position, atol=2e-3)
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


@given(angles=st.tuples(*[st.floats(-np.pi, np.pi)] * 2))
def test_the_position_is_in_the_room_whatever_the_bearings(angles):
    found = triangulate(jnp.float32(angles), jnp.float32([0.1, 0.1]), ARRAYS, ROOM)
    assert np.isfinite(found.position).all() and np.isfinite(found.covariance).all()
    assert (found.position >= 0).all() and (found.position <= ROOM).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()
    assert np.trace(found.covariance) <= (np.asarray(ROOM) ** 2).sum() / 12 * 1.001


@pytest.mark.parametrize("resolution", [3, 7, 36])
def test_decoding_inverts_encoding(resolution):
    def turned(position):
        code = bearings.encode_bearings(position, ARRAYS, resolution)
        return bearings.decode_bearings(3.0 * code, ARRAYS, ROOM)

    positions = spread_positions()
    azimuths = bearings.measure_bearings(jnp.asarray(positions), ARRAYS)
    sines = np.sin(np.subtract(*np.asarray(azimuths).T))
    positions = positions[np.abs(sines) > 0.1]
    found = jax.jit(jax.vmap(turned))(jnp.asarray(positions))
    np.testing.assert_allclose(found, positions, atol=2e-3)


def test_the_spread_is_what_exceeds_the_label():
    azimuths = jnp.array([0.3, 2.0])
    code = bearings.circular.encode_circular(azimuths, 36)
    cell = np.pi / 18
    np.testing.assert_allclose(bearings.spread(code, azimuths), cell / 100, rtol=1e-3)
    beside = jnp.roll(code, 1, axis=-1), jnp.roll(code, -1, axis=-1)
    wide = 0.5 * code + 0.25 * beside[0] + 0.25 * beside[1]
    np.testing.assert_allclose(
        bearings.spread(wide, azimuths), cell * np.sqrt(0.5), rtol=1e-3
    )


def test_the_map_is_the_product_of_what_arrays_say():
    position = jnp.array([2.3, 3.6])
    code = bearings.encode_bearings(position, ARRAYS, 36) + 0.001
    plan = np.asarray(bearings.map_bearings(code, ARRAYS, ROOM, 40))
    np.testing.assert_allclose(plan.sum(), 1.0, rtol=1e-5)
    rows, columns = np.unravel_index(plan.argmax(), plan.shape)
    peak = (np.array([columns, rows]) + 0.5) / 40 * np.asarray(ROOM)
    # A direction between two grid points has a flat top as wide as the cell.
    assert np.linalg.norm(peak - np.asarray(position)) < 0.7
    expected = np.zeros((40, 40))
    for row, y in enumerate((np.arange(40) + 0.5) / 40 * 5.0):
        for column, x in enumerate((np.arange(40) + 0.5) / 40 * 8.0):
            shares = 1.0
            for array, scores in zip(ARRAYS, np.asarray(code), strict=True):
                chi = np.arctan2(y - array[1], x - array[0]) / (2 * np.pi) * 36
                low = int(np.floor(chi))
                part = chi - low
                both = (1 - part) * scores[low % 36], part * scores[(low + 1) % 36]
                shares *= sum(both)
            expected[row, column] = shares
    np.testing.assert_allclose(plan, expected / expected.sum(), rtol=2e-2, atol=1e-5)


LABEL = schemes.Label("azimuth", 36, ((0.1, 3.0), (3.0, 0.1)))


def test_the_label_of_arrays_is_a_label():
    position = jnp.array([4.2, 3.9])

    @jax.jit
    def compute(position):
        code = LABEL.encode(position, ROOM)
        logits = jnp.log(jnp.maximum(code, 1e-9)).ravel()
        # Of one array alone, the class is another.
        turned = code.at[0].set(jnp.roll(code[0], 1))
        same = [LABEL.same_class(code, one) for one in (LABEL.scores(logits), turned)]
        excess = [
            LABEL.loss(logits, one) - LABEL.loss_floor(one) for one in (code, turned)
        ]
        return code, LABEL.decode(logits, ROOM), same, excess, LABEL.plane(code, ROOM)

    code, decoded, same, excess, plane = compute(position)
    assert (LABEL.shape, LABEL.num_outputs, code.shape) == ((2, 36), 72, (2, 36))
    np.testing.assert_allclose(decoded, position, atol=2e-3)
    assert same[0] and not same[1]
    np.testing.assert_allclose(excess[0], 0.0, atol=1e-5)
    assert excess[1] > 1.0
    assert plane.shape == (48, 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("azimuth", 36), "'azimuth', with 0 arrays; it needs a network"),
        (("azimuth", 36, ((0.0, 1.0),)), "with 1 arrays"),
        (("azimuth", 2, LABEL.arrays), "resolution is 2; azimuth needs at least 3"),
        (("uld", 5, LABEL.arrays), "'uld', which labels no directions"),
    ],
)
def test_labels_and_arrays_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        schemes.Label(*arguments)
