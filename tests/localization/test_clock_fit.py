"""Clocks that fit times: evidence by sampling, slopes by differences, and chance."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose

from uld_jax.localization import clock_fit
from uld_jax.localization.clock_model import ClockModel

SPEED = 343.0
HEIGHT = (1.35, 0.3)


def make(seed, num_places, num_nodes, noise=0.003, wrong=0.0, rough=0.2):
    """Make rough positions, how late nodes are by these, the nodes and their clocks."""
    rng = np.random.default_rng(seed)
    nodes = rng.uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (num_nodes, 3))
    places = rng.uniform([0.5, 0.5, 1.2], [5.5, 4.5, 1.6], (num_places, 3))
    offsets = 0.01 * rng.normal(size=num_nodes)
    starts = places + rough * rng.normal(size=places.shape)

    def paths(some):
        return np.linalg.norm(some[:, None] - nodes, axis=-1)

    late = offsets + (paths(places) - paths(starts)) / SPEED
    late += noise / SPEED * rng.normal(size=late.shape)
    bad = rng.uniform(size=late.shape) < wrong
    late[bad] += rng.uniform(-1.5, 1.5, bad.sum()) / SPEED
    covariances = np.tile(rough**2 * np.eye(2), (num_places, 1, 1))
    return starts, covariances, late, nodes, offsets, places


def model_of(seed, times=None):
    starts, _, late, nodes, *_ = make(seed, 4, 6)
    late[1, 2] = np.nan
    arrivals = SPEED * late + np.linalg.norm(starts[:, None] - nodes, axis=-1)
    prior = np.tile(np.diag([0.13, 0.11, 0.09]), (4, 1, 1))
    prior[:, :2, :2] += 0.02
    when = np.zeros(4) if times is None else times
    return ClockModel(
        starts, prior, arrivals, nodes, when, 17.0, 0.0 if times is None else 0.5
    )


def somewhere(model, seed=1):
    rng = np.random.default_rng(seed)
    unknowns = model.guess(np.ones(model.num_places, bool))
    return unknowns + 0.1 * rng.normal(size=len(unknowns))


def test_slopes_are_those_of_differences():
    model = model_of(0, times=np.array([-0.4, 0.1, 0.2, 0.6]))
    at = somewhere(model)
    slopes = model.slopes(at)
    for place in range(4):
        for node in range(6):
            if not model.measured[place, node]:
                continue

            def expected(unknowns, place=place, node=node):
                return -model.misfits(unknowns)[place, node]

            found = scipy.optimize.approx_fprime(at, expected, 1e-7)
            assert_allclose(slopes[place, node], found, atol=1e-5)


def test_priors_of_places_are_normal():
    model = model_of(2)
    at = somewhere(model)
    places, *_ = model.split(at)
    expected = [
        scipy.stats.multivariate_normal(mean, covariance).logpdf(place)
        for mean, covariance, place in zip(
            model.starts, model.covariances, places, strict=True
        )
    ]
    assert_allclose(model.log_priors(at), expected)


def test_a_step_goes_to_the_least_sum_of_squares():
    """Of weighted misfits and priors, where expected times are linear."""
    model = model_of(3)
    at = somewhere(model)
    at[-6:] = 0.0  # Clocks do not drift.
    rng = np.random.default_rng(4)
    weights = np.where(model.measured, rng.uniform(1, 100, (4, 6)), 0.0)
    misfits = np.where(model.measured, model.misfits(at), 0.0)
    held = rng.uniform(0.2, 1, 4)
    precision, gradient = clock_fit._normal_equations(model, at, misfits, weights, held)

    def half_squares(unknowns):
        places, _, offsets, _ = model.split(unknowns)
        late = np.where(model.measured, model.misfits(unknowns), 0.0)
        total = (weights * late**2).sum()
        for k in range(4):
            moved = places[k] - model.starts[k]
            flat = np.linalg.inv(model.covariances[k])[:2, :2]
            total += held[k] * moved[:2] @ flat @ moved[:2]
            total += moved[2] ** 2 / model.covariances[k, 2, 2]
        return 0.5 * (total + (offsets**2).sum() / 17.0**2)

    slope = scipy.optimize.approx_fprime(at, half_squares, 1e-7)
    kept = np.arange(len(at) - 6)
    assert_allclose(gradient[kept], -slope[kept], rtol=1e-3, atol=2e-3)
    assert np.linalg.eigvalsh(precision[np.ix_(kept, kept)])[0] > 0


@pytest.mark.parametrize("spread", [0.003, 0.01])
def test_evidence_is_the_integral_over_all_unknowns(spread):
    """By importance sampling, with the likelihood written down once more."""
    starts, covariances, late, nodes, *_ = make(5, 5, 9, noise=spread)
    late[0, 3] += 0.9 / SPEED
    prior = np.zeros((5, 3, 3))
    prior[:, :2, :2] = covariances + 0.09 * np.eye(2)
    prior[:, 2, 2] = HEIGHT[1] ** 2
    centers = np.column_stack([starts[:, :2], np.full(5, HEIGHT[0])])
    paths = np.linalg.norm(starts[:, None] - nodes, axis=-1)
    model = ClockModel(
        *(centers, prior, SPEED * late + paths, nodes, np.zeros(5), 17.0, 0.0)
    )
    at = clock_fit._search(model, model.guess(np.ones(5, bool)), (0.3, 0.1, 0.03))
    found = clock_fit._explain_by(model, at, spread)
    assert found.trusted.all()

    def log_joint(unknowns):
        places, begin = unknowns[:15].reshape(5, 3), unknowns[15:20]
        offsets = unknowns[20:29]
        away = np.linalg.norm(places[:, None] - nodes, axis=-1)
        errors = model.arrivals - away - offsets - begin[:, None]
        right = scipy.stats.norm(0, spread).pdf(errors)
        total = np.log(3.0 * 0.7 * right + 0.3).sum()
        for k in range(5):
            total += scipy.stats.multivariate_normal(centers[k], prior[k]).logpdf(
                places[k]
            )
        return total - (5 + 8) * np.log(3.0)  # Starts and offsets but the first.

    free = np.r_[0:20, 21:29]
    covariance = np.linalg.inv(found.precision[np.ix_(free, free)])
    wide = scipy.stats.multivariate_t(found.unknowns[free], covariance, df=8, seed=6)
    samples = wide.rvs(3000)
    whole = np.tile(found.unknowns, (len(samples), 1))
    whole[:, free] = samples
    logs = np.array([log_joint(one) for one in whole]) - wide.logpdf(samples)
    integral = scipy.special.logsumexp(logs) - np.log(len(logs))
    # Each place is trusted or not.
    assert found.evidence == pytest.approx(integral - 5 * np.log(2), abs=0.7)


def test_chance_has_no_evidence():
    """Times that mean nothing, by the best of all clocks and positions."""
    for seed in range(20):
        starts, covariances, late, nodes, *_ = make(seed, 6, 8, wrong=1.0)
        found = clock_fit.fit(starts, covariances, late, nodes, None, HEIGHT)
        assert found.evidence < 0


def test_clocks_are_found_among_wrong_times():
    for seed in range(5):
        starts, covariances, late, nodes, offsets, places = make(seed, 6, 8, wrong=0.15)
        found = clock_fit.fit(starts, covariances, late, nodes, None, HEIGHT)
        assert found.evidence > 12
        wrong = (found.offsets - offsets)[np.isfinite(found.errors)]
        assert len(wrong) >= 6
        assert np.abs(wrong - np.median(wrong)).max() < 1e-4
        away = np.linalg.norm(found.positions - places[:, :2], axis=1)
        assert away[found.trusted].max() < 0.1


def test_as_many_times_as_unknowns_are_never_trusted():
    """Four times always fit a place; five are trusted only with clocks that fit."""
    starts, covariances, late, nodes, *_ = make(7, 6, 8)
    late[0, 4:] = np.nan
    late[1, 5:] = np.nan
    found = clock_fit.fit(starts, covariances, late, nodes, None, HEIGHT)
    assert not found.trusted[0]
    assert found.trusted[2:].all()


def test_a_node_at_two_places_has_a_clock_to_try_without_an_error():
    starts, covariances, late, nodes, offsets, _ = make(8, 6, 9)
    late[2:, 5] = np.nan
    late[1:, 6] = np.nan
    found = clock_fit.fit(starts, covariances, late, nodes, None, HEIGHT)
    wrong = found.offsets - offsets
    assert abs(wrong[5] - np.nanmedian(wrong)) < 2e-4
    assert np.isnan(found.errors[5])
    assert np.isnan(found.offsets[6])
    assert np.isfinite(np.delete(found.errors, [5, 6])).all()


def test_errors_are_as_large_as_they_are_said_to_be():
    """Of offsets at a time far from the middle, with drifts, whatever the noise."""
    z = []
    for seed, noise in enumerate([0.002, 0.004, 0.005, 0.01, 0.017] * 5):
        starts, covariances, late, nodes, offsets, _ = make(
            seed, 8, 9, noise=noise, wrong=0.05
        )
        times = np.linspace(50.0, 350.0, 8)
        drifts = 1e-5 * np.random.default_rng(seed).normal(size=9)
        late += times[:, None] * drifts
        found = clock_fit.fit(starts, covariances, late, nodes, times, HEIGHT)
        at = np.hstack([np.eye(9), 400.0 * np.eye(9)])
        spread = np.sqrt(np.diag(at @ found.covariance @ at.T))
        wrong = found.offsets + 400.0 * found.drifts - offsets - 400.0 * drifts
        known = np.isfinite(found.errors)
        wrong -= wrong[known].mean()
        z.extend((wrong / spread)[known])
        assert_allclose(
            found.errors[known], np.sqrt(np.diag(found.covariance))[:9][known]
        )
    assert len(z) > 150
    assert 0.5 < np.median(np.abs(z)) / 0.6745 < 1.7
    assert np.mean(np.abs(z) > 4) < 0.05


def test_places_have_their_joint_posterior_with_the_clocks():
    """Against SciPy's least squares of all unknowns, and of places by known clocks."""
    starts, covariances, late, nodes, *_ = make(5, 5, 9, rough=0.1)
    prior = np.zeros((5, 3, 3))
    prior[:, :2, :2] = covariances + 0.09 * np.eye(2)
    prior[:, 2, 2] = HEIGHT[1] ** 2
    centers = np.column_stack([starts[:, :2], np.full(5, HEIGHT[0])])
    paths = np.linalg.norm(starts[:, None] - nodes, axis=-1)
    model = ClockModel(
        *(centers, prior, SPEED * late + paths, nodes, np.zeros(5), 17.0, 0.0)
    )
    at = clock_fit._search(model, model.guess(np.ones(5, bool)), (0.3, 0.1, 0.03))
    found = clock_fit._explain_by(model, at, 0.006)
    fit = clock_fit._summarize(model, found, 1, 0.0, 1.0)
    assert found.right.min() > 0.9
    roots = np.linalg.cholesky(np.linalg.inv(prior)).transpose(0, 2, 1)

    def residuals(unknowns):
        places, begin = unknowns[:15].reshape(5, 3), unknowns[15:20]
        away = np.linalg.norm(places[:, None] - nodes, axis=-1)
        errors = model.arrivals - away - unknowns[20:] - begin[:, None]
        moved = np.einsum("kij,kj->ki", roots, places - centers)
        return np.concatenate(
            [
                (np.sqrt(found.right) * errors / 0.006).ravel(),
                moved.ravel(),
                unknowns[20:] / 17.0,
            ]
        )

    def covariance_of(free):
        begun = found.unknowns[:29].copy()

        def of_free(some):
            whole = begun.copy()
            whole[free] = some
            return residuals(whole)

        least = scipy.optimize.least_squares(of_free, begun[free], x_scale="jac")
        return least.x, np.linalg.inv(least.jac.T @ least.jac)

    best, joint = covariance_of(np.arange(29))
    _, alone = covariance_of(np.arange(20))
    # Few times are left over: 45 and 4 * 5 + 8 unknowns.
    spare = found.right.sum() - 28
    wider = 2 * scipy.stats.f.ppf(0.9, 2, spare + 3) / 2.146**2
    assert 1.0 < wider < 1.2
    np.testing.assert_allclose(fit.positions, best[:15].reshape(5, 3)[:, :2], atol=1e-3)
    for k in range(5):
        own = slice(3 * k, 3 * k + 2)
        expected = wider * joint[own, own]
        np.testing.assert_allclose(
            fit.place_covariances[k], expected, rtol=0.02, atol=1e-7
        )
        expected = expected - wider * alone[own, own]
        np.testing.assert_allclose(fit.of_clocks[k], expected, rtol=0.02, atol=1e-7)
        assert fit.radii[k] == pytest.approx(
            2.146 * np.sqrt(np.linalg.eigvalsh(fit.place_covariances[k])[-1])
        )


def test_clocks_that_few_times_check_are_less_sure():
    assert clock_fit._widening(1e6) == pytest.approx(1.0, abs=0.01)
    assert clock_fit._widening(-1.0) == pytest.approx(9.0 * 2 / 2.146**2, rel=1e-3)
    assert clock_fit._widening(-9.0) == clock_fit._widening(
        -2.0
    )  # As if one were left.
