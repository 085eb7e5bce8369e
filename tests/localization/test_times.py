"""Fits to times of arrival, against exact geometry and the Cramer-Rao bound."""

import free_field
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from uld_jax.acoustics import constants, correlations
from uld_jax.localization import times

SIDES = np.array([6.0, 5.0], np.float32)
TALKER = np.array([2.3, 3.1, 1.5])
HEIGHT = np.array([1.35, 0.3], np.float32)
RNG = np.random.default_rng(3)
NODES = RNG.uniform([0, 0, 0.5], [6, 5, 2.2], (12, 3))


def delayed(extra=0.0, noise=0.02):
    """Make a noise as it reaches the nodes, `extra` seconds later."""
    source = RNG.normal(size=2**15)
    delays = np.linalg.norm(NODES - TALKER, axis=1) / constants.SPEED_OF_SOUND
    delays = delays + extra
    signals = free_field.delay(source, delays)
    signals += noise * RNG.normal(size=signals.shape)
    return np.float32(signals[:, 4000:20_000])


correlate = jax.jit(times.correlate, static_argnums=2)
fit_all = jax.jit(times.fit)


def fit_to(rows, nodes, mask, start, sides):
    fits = fit_all(rows, nodes, mask, np.float32([start]), sides, HEIGHT)
    return jax.tree.map(lambda array: array[0], fits)


def fit(signals, start=(2.2, 3.0), mask=None, nodes=NODES):
    mask = np.ones(len(nodes), bool) if mask is None else mask
    rows = correlate(signals, mask, correlations.lag_bound(nodes))
    return fit_to(rows, np.float32(nodes), mask, start, SIDES)


def test_exact_times_give_the_position_to_millimeters():
    found = fit(delayed())
    np.testing.assert_allclose(found.position[:2], TALKER[:2], atol=0.004)
    assert found.agrees.all()
    assert found.evidence > 15
    assert np.abs(found.residuals).max() < 0.01


def test_it_is_the_least_squares_of_scipy():
    late = 0.01 / constants.SPEED_OF_SOUND * RNG.normal(size=len(NODES))
    found = fit(delayed(late))
    paths = np.linalg.norm(NODES - TALKER, axis=1) + late * constants.SPEED_OF_SOUND

    def residuals(unknowns):
        expected = np.linalg.norm(NODES - unknowns[:3], axis=1) + unknowns[3]
        weak = times.LEAST_ERROR / HEIGHT[1] * (unknowns[2] - HEIGHT[0])
        return np.append(paths - expected, weak)

    best = scipy.optimize.least_squares(residuals, [2.2, 3.0, 1.35, 0.0]).x
    assert found.agrees.all()
    np.testing.assert_allclose(found.position[:2], best[:2], atol=0.004)


def test_the_covariance_is_the_bound_of_times():
    found = fit(delayed())
    offset = TALKER - NODES
    directions = offset / np.linalg.norm(offset, axis=1)[:, None]
    design = np.concatenate([directions, np.ones((len(NODES), 1))], axis=1)
    information = design.T @ design / times.LEAST_ERROR**2
    information[2, 2] += 1 / HEIGHT[1] ** 2
    bound = np.linalg.inv(information)[:2, :2]
    np.testing.assert_allclose(found.covariance, bound, rtol=0.2, atol=1e-7)


fit_position = jax.jit(times._fit_position)


def arrivals_of(spread, rng):
    paths = np.linalg.norm(NODES - TALKER, axis=1)
    return np.float32(paths - paths.mean() + spread * rng.normal(size=len(NODES)))


def fit_arrivals(arrivals, height=HEIGHT):
    every = np.ones(len(arrivals), bool)
    start = np.float32([*TALKER[:2] + 0.05, height[0]])
    nodes = np.float32(NODES[: len(arrivals)])
    return fit_position(nodes, every, arrivals, start, SIDES, height)


def test_the_evidence_is_the_integral_of_the_likelihood():
    """Over x, y and the common part, by a sum over a grid; the height is known."""
    rng = np.random.default_rng(5)
    arrivals = arrivals_of(0.004, rng)[:7].astype(float)
    arrivals[2] += 0.4  # An outlier.
    height = np.array([1.5, 1e-4], np.float32)
    *_, evidence, agrees = fit_arrivals(np.float32(arrivals), height)
    axis = np.arange(-0.06, 0.0601, 0.0015)
    x, y, common = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.stack([x + TALKER[0], y + TALKER[1], 0 * x + 1.5], axis=-1)
    paths = np.linalg.norm(places[..., None, :] - NODES[:7], axis=-1)
    mean = np.linalg.norm(NODES - TALKER, axis=1).mean()
    residuals = arrivals - paths + (mean + common)[..., None]
    likelihoods = [
        np.log(0.75 * scipy.stats.norm.pdf(residuals, scale=spread) + 0.25).sum(-1)
        for spread in (0.048, 0.024, 0.012, 0.006, 0.003)
    ]
    volume = 0.0015**3 / (0.7**2 * 2.0)
    expected = scipy.special.logsumexp(likelihoods) + np.log(volume / 5)
    assert evidence == pytest.approx(expected, abs=0.5)
    assert np.flatnonzero(~np.asarray(agrees)).tolist() == [2]


@pytest.mark.parametrize("spread", [0.004, 0.02, 0.035])
def test_the_covariance_holds_whatever_the_spread(spread):
    """Of 90 % ellipses of many trials, nine in ten hold the talker."""
    rng = np.random.default_rng(6)
    inside = []
    for _ in range(200):
        position, covariance, *_ = fit_arrivals(arrivals_of(spread, rng))
        off = np.float64(position)[:2] - TALKER[:2]
        inside.append(off @ np.linalg.solve(covariance, off) < -2 * np.log(0.1))
    assert 0.8 < np.mean(inside) < 0.97


def test_a_wider_spread_is_less_evidence():
    rng = np.random.default_rng(7)
    found = [float(fit_arrivals(arrivals_of(s, rng))[2]) for s in (0.003, 0.02, 0.3)]
    assert found[0] > found[1] + 10 > found[2] + 20


def test_one_late_node_does_not_agree_and_does_no_harm():
    late = np.zeros(len(NODES))
    late[4] = 0.002
    found = fit(delayed(late))
    assert np.flatnonzero(~np.asarray(found.agrees)).tolist() == [4]
    expected = 0.002 * constants.SPEED_OF_SOUND
    assert found.residuals[4] == pytest.approx(expected, abs=0.02)
    np.testing.assert_allclose(found.position[:2], TALKER[:2], atol=0.006)


@pytest.mark.parametrize("kind", ["clocks", "noise", "elsewhere"])
def test_nothing_is_confirmed_by_chance(kind):
    if kind == "clocks":
        signals = delayed(0.005 * RNG.normal(size=len(NODES)))
    elif kind == "noise":
        signals = np.float32(RNG.normal(size=(len(NODES), 16_000)))
    else:
        signals = delayed()
    start = (5.0, 0.5) if kind == "elsewhere" else (2.3, 3.1)
    assert fit(signals, start).evidence < 0


def test_three_nodes_confirm_nothing():
    some = np.arange(len(NODES)) < 3
    assert fit(delayed(), mask=some).evidence <= 0


def test_a_talker_outside_of_the_room_is_not_confirmed():
    """The fit ends at a wall."""
    sides = np.array([2.0, 5.0], np.float32)
    rows = correlate(delayed(), np.ones(12, bool), correlations.lag_bound(NODES))
    nodes = np.float32(NODES)
    found = fit_to(rows, nodes, np.ones(12, bool), (1.9, 3.0), sides)
    assert found.evidence < 0


def test_absent_nodes_have_no_influence():
    some = np.arange(len(NODES)) != 7
    signals = delayed()
    without = fit(signals, mask=some)
    signals[7] = 5.0
    again = fit(signals, mask=some)
    alone = fit(np.delete(signals, 7, 0), nodes=np.delete(NODES, 7, 0))
    np.testing.assert_allclose(without.position, again.position, atol=1e-6)
    np.testing.assert_allclose(without.position[:2], alone.position[:2], atol=1e-3)
    assert not without.agrees[7]


def test_silence_gives_finite_numbers():
    found = fit(np.zeros((len(NODES), 16_000), np.float32))
    assert all(np.isfinite(np.asarray(part)).all() for part in found)
    assert jnp.isfinite(found.evidence)
