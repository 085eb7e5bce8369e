"""Fits to times of arrival, against exact geometry and the Cramer-Rao bound."""

import free_field
import jax
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


def fit_arrivals(arrivals, nodes=NODES, height=HEIGHT, start=(*TALKER[:2] + 0.05, 1.4)):
    every = np.ones(len(nodes), bool)
    start, nodes = np.float32(start), np.float32(nodes)
    return fit_position(nodes, every, np.float32(arrivals), every, start, SIDES, height)


def arrivals_of(spread, rng, nodes=NODES, talker=TALKER):
    paths = np.linalg.norm(nodes - talker, axis=1)
    return paths + 1.7 + spread * rng.normal(size=len(nodes))


@pytest.mark.parametrize("spread", [0.004, 0.03])
def test_the_evidence_is_the_integral_of_the_likelihood(spread):
    """Over x, y and the common part, by a sum over a grid; the height is known."""
    nodes, start = NODES[:7], np.array([2.35, 3.15, 1.5])
    arrivals = arrivals_of(spread, np.random.default_rng(5), nodes)
    arrivals[2] += 0.4  # An outlier.
    height = np.array([1.5, 1e-4], np.float32)
    *_, evidence, agrees = fit_arrivals(arrivals, nodes, height, start)
    step = 0.0015 if spread < 0.01 else 0.006
    axis = step * np.arange(-40, 41)
    x, y, common = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.stack([x + TALKER[0], y + TALKER[1], 0 * x + 1.5], axis=-1)
    paths = np.linalg.norm(places[..., None, :] - nodes, axis=-1)
    residuals = arrivals - paths - (1.7 + common)[..., None]
    logs = [
        np.log(0.75 * scipy.stats.norm.pdf(residuals, scale=one) + 0.25).sum(-1)
        for one in (0.096, 0.048, 0.024, 0.012, 0.006, 0.003)
    ]
    guess = np.median(arrivals - np.linalg.norm(nodes - start, axis=1))
    prior = scipy.stats.norm.logpdf(places[..., :2], start[:2], 0.2).sum(-1)
    prior = prior + scipy.stats.norm.logpdf(1.7 + common, guess, 0.6)
    expected = scipy.special.logsumexp(logs + prior) + 3 * np.log(step) - np.log(6)
    assert evidence == pytest.approx(expected, abs=0.3)
    assert not agrees[2]


@pytest.mark.parametrize(
    ("spread", "num_nodes"),
    [(0.004, 12), (0.004, 30), (0.02, 20), (0.02, 30), (0.05, 30), (0.1, 30)],
)
def test_the_covariance_holds_whatever_the_spread(spread, num_nodes):
    """Where evidence is clear; every sixth node is an outlier."""
    rng = np.random.default_rng(6)
    inside = []
    for _ in range(100):
        nodes = rng.uniform([0, 0, 0.5], [6, 5, 2.2], (num_nodes, 3))
        talker = rng.uniform([1, 1, 1.1], [5, 4, 1.6])
        arrivals = arrivals_of(spread, rng, nodes, talker)
        arrivals[::6] += rng.uniform(-1, 1, len(arrivals[::6]))
        start = talker + rng.normal(size=3) * [0.05, 0.05, 0.0]
        position, covariance, evidence, _ = fit_arrivals(arrivals, nodes, start=start)
        if evidence > 9:
            off = np.float64(position)[:2] - talker[:2]
            inside.append(off @ np.linalg.solve(covariance, off) < -2 * np.log(0.1))
    assert len(inside) > 10
    assert 0.7 < np.mean(inside) < 1.0


def test_tall_and_seated_talkers_are_found():
    rng = np.random.default_rng(8)
    for height in (0.85, 1.9):
        talker = np.array([*TALKER[:2], height])
        arrivals = arrivals_of(0.004, rng, talker=talker)
        start = talker + np.array([0.04, -0.04, 0.05])
        position, _, evidence, agrees = fit_arrivals(arrivals, start=start)
        assert evidence > 9
        assert agrees.all()
        np.testing.assert_allclose(position[:2], talker[:2], atol=0.02)


@pytest.mark.parametrize("kind", ["5 cm", "10 cm", "line"])
@pytest.mark.parametrize("num_nodes", [16, 60])
def test_nodes_that_hardly_determine_give_finite_numbers(kind, num_nodes):
    """Compact arrays, and a talker beyond the end of a line of nodes."""
    rng = np.random.default_rng(9)
    for _ in range(20):
        if kind == "line":
            x = np.linspace(0.5, 4.0, num_nodes)
            nodes = np.stack([x, 0 * x + 2.5, 0 * x + 1.35], axis=1)
            talker = np.array([rng.uniform(4.5, 5.5), 2.5, 1.35])
        else:
            wide = 0.05 if kind == "5 cm" else 0.1
            nodes = rng.uniform(-wide, wide, (num_nodes, 3)) + np.array([3.0, 2.5, 1.2])
            talker = rng.uniform([1, 1, 1.0], [5, 4, 1.7])
        arrivals = arrivals_of(1e-5, rng, nodes, talker)
        found = fit_arrivals(
            arrivals, nodes, start=talker + np.array([0.05, 0.03, 0.0])
        )
        assert all(np.isfinite(np.asarray(part)).all() for part in found)
        assert np.linalg.eigvalsh(found[1])[0] >= -1e-9


def test_a_wider_spread_is_less_evidence():
    rng = np.random.default_rng(7)
    found = [float(fit_arrivals(arrivals_of(s, rng))[2]) for s in (0.003, 0.02, 0.3)]
    assert found[0] > found[1] + 8
    assert found[1] > found[2] + 8


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


@pytest.mark.parametrize(("count", "deviation"), [(3, 0.01), (3, 0.3), (4, 0.3)])
def test_nodes_that_fit_any_position_confirm_none(count, deviation):
    rng = np.random.default_rng(10)
    height = np.array([TALKER[2], deviation], np.float32)
    for _ in range(20):
        nodes = NODES[rng.permutation(len(NODES))[:count]]
        *_, evidence, _ = fit_arrivals(arrivals_of(1e-4, rng, nodes), nodes, height)
        assert evidence < 0


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
    assert found.evidence < 0
