"""Predicted radii against closed forms, finite differences, SciPy's fits, Monte Carlo."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from uld_jax.localization import planning, times

ROOM = [7.0, 5.0, 2.6]
RNG = np.random.default_rng(3)
NODES = RNG.uniform([0.2, 0.2, 0.5], [6.8, 4.8, 1.9], (9, 3))
TALKER = [2.7, 3.1]
HEIGHT = 1.2


def predict(nodes=NODES, places=None, room=ROOM, **options):
    places = [TALKER] if places is None else places
    return planning.expected_radii(nodes, places, room, **options)


def ring(count, radius, center=(3.5, 2.5)):
    """Make nodes at the talker's height, evenly around a talker."""
    angles = 2 * np.pi * np.arange(count) / count
    x, y = radius * np.cos(angles), radius * np.sin(angles)
    return np.column_stack([x + center[0], y + center[1], np.full(count, HEIGHT)])


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_in_a_ring_the_radius_is_that_of_the_closed_form(share):
    """Sum of cos^2 over a ring is M / 2; the common time takes nothing away."""
    count, radius, positions = 24, 1.0, 0.02
    found = predict(
        ring(count, radius),
        [[3.5, 2.5]],
        positions=positions,
        source_height=HEIGHT,
        t60=0.1,
        share=share,
    )
    variance = (positions**2 + times.LEAST_ERROR**2) * 2 / (0.8 * count)
    expected = np.sqrt(-2 * np.log(1 - share) * variance)  # Rayleigh.
    np.testing.assert_allclose(found, expected, rtol=0.02)


def jacobian(function, at, step=1e-5):
    """Differentiate by finite differences."""
    moves = step * np.eye(len(at))
    return np.stack(
        [(function(at + m) - function(at - m)) / 2 / step for m in moves], 1
    )


@pytest.mark.parametrize("kind", [0, 1])
def test_information_is_that_of_finite_differences(kind):
    """Of times and of the logarithms of amplitudes, both with what they have in common."""

    def paths(unknowns):
        return np.linalg.norm(unknowns[:3] - NODES, axis=1)

    def times_of(unknowns):
        return paths(unknowns) + unknowns[3]

    def levels_of(unknowns):
        return unknowns[3] - np.log(paths(unknowns))

    at = np.array([*TALKER, 1.35, 0.4])
    slopes = jacobian((times_of, levels_of)[kind], at)
    critical = 0.057 * np.sqrt(np.prod(ROOM) / 0.5)
    relative = paths(at) / critical
    if kind:
        variances = 0.35**2 + 0.04**2 * (1 + relative**2)
        weights = 4 / 6 / variances
    else:
        weights = 1 / (1 + (relative / 7) ** 4)
    model = planning.Model.of(ROOM, 0.0, 0.01, None, 0.5)
    found = planning.measure(jnp.float32(NODES), jnp.float32([TALKER]), model)
    expected = (slopes.T * weights) @ slopes
    np.testing.assert_allclose(
        found.sum(axis=0)[0, kind], expected, rtol=2e-3, atol=1e-4
    )


def test_what_is_free_is_eliminated_as_by_the_inverse_of_all():
    rng = np.random.default_rng(0)
    design = rng.normal(size=(7, 4))
    whole = design.T @ design
    found = planning._eliminate(jnp.float32(whole))
    covariance = np.linalg.inv(whole)
    np.testing.assert_allclose(np.linalg.inv(found), covariance[:3, :3], rtol=1e-3)
    values = np.linalg.eigvalsh(covariance[:2, :2])[::-1]
    np.testing.assert_allclose(planning._spreads(found), np.sqrt(values), rtol=1e-3)


def test_least_squares_of_times_are_as_far_off_as_predicted():
    """A fit by SciPy reaches the bound; the localizer is taken to use 80 % of it."""
    rng = np.random.default_rng(1)
    nodes = np.append(rng.uniform([0.5, 0.5], [6.5, 4.5], (14, 2)), np.ones((14, 1)), 1)
    truth = np.array([*TALKER, HEIGHT])
    spread, errors = 0.03, []
    for _ in range(300):
        arrivals = np.linalg.norm(truth - nodes, axis=1) + spread * rng.normal(size=14)

        def residuals(unknowns, arrivals=arrivals):
            at = np.append(unknowns[:2], HEIGHT)
            return np.linalg.norm(at - nodes, axis=1) + unknowns[2] - arrivals

        fit = scipy.optimize.least_squares(residuals, [3.0, 3.0, 0.0])
        errors.append(np.linalg.norm(fit.x[:2] - TALKER))
    known = {"positions": spread, "source_height": HEIGHT, "t60": 0.1}
    for share in (0.5, 0.9):
        (found,) = predict(nodes, share=share, **known)
        bound = np.sqrt(0.8) * found
        assert bound == pytest.approx(np.quantile(errors, share), rel=0.12)


@pytest.mark.parametrize("ratio", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_radius_of_a_mixture_holds_its_share(ratio, share):
    rng = np.random.default_rng(2)
    spreads = np.array([[0.02, 0.02 * ratio], [0.3, 0.2]])
    masses = np.array([0.85, 0.15])
    chosen = rng.choice(2, 400_000, p=masses)
    drawn = rng.normal(size=(400_000, 2)) * spreads[chosen]
    found = planning._solve_radius(
        jnp.float32(spreads), jnp.float32(masses), jnp.float32(share)
    )
    held = np.mean(np.linalg.norm(drawn, axis=1) <= found)
    assert held == pytest.approx(share, abs=0.004)


def test_evidence_is_the_integral_over_errors():
    model = planning.Model.of(ROOM, 0.0, 0.0116, 1.3, 0.5)
    spread = float(model.spread)  # 12 mm, one of those that the localizer tries.
    assert spread == pytest.approx(0.012, abs=1e-4)

    def gain(error):
        density = scipy.stats.norm.pdf(error, scale=0.012)
        likelihood = 0.75 * density + 0.25
        return scipy.stats.norm.pdf(error, scale=spread) * np.log(likelihood)

    each, _ = scipy.integrate.quad(gain, -0.1, 0.1)
    priors = np.array([0.2, 0.2, 0.01, 0.6])
    seen = 6.5 * np.array([1 / 3, 1 / 3, 1 / 3, 1.0])
    expected = 6.5 * each + 1.5 * np.log(0.25) + 2
    expected -= 0.5 * np.log1p(seen * (priors / spread) ** 2).sum()
    found = planning.expected_evidence(jnp.float32([6.5]), 8, model)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_wrong_clocks_and_places_cost_more_the_larger_they_are():
    by_clocks = [predict(clocks=c)[0] for c in (0.0, 1e-4, 1e-3, 1e-2, 1.0)]
    assert (np.diff(by_clocks) > 0).all()
    assert by_clocks[0] < 0.05 < 0.2 < by_clocks[2]
    # Without times, levels and the room are left.
    assert by_clocks[-1] == pytest.approx(by_clocks[-2], rel=0.1)
    assert by_clocks[-1] < np.hypot(*ROOM[:2])
    by_places = [predict(positions=p)[0] for p in (0.0, 0.01, 0.1)]
    assert (np.diff(by_places) > 0).all()


def test_a_further_node_hardly_ever_makes_a_radius_larger():
    """A far one's time is more likely wrong, which is evidence against all times."""
    places = RNG.uniform([0.3, 0.3], [6.7, 4.7], (40, 2))
    for clocks in (0.0, 3e-4, 1e-2):
        radii = np.array(
            [predict(NODES[:n], places, clocks=clocks) for n in range(5, 10)]
        )
        assert (radii[1:] <= 1.05 * radii[:-1]).all()
        assert np.median(radii[-1] / radii[0]) < 0.85


def test_a_known_height_and_a_dry_room_help():
    assert predict(source_height=1.35)[0] < predict()[0]
    assert predict(t60=0.2)[0] < predict(t60=2.0)[0]


def test_a_mirrored_room_has_mirrored_radii():
    mirrored = NODES * [-1, 1, 1] + [ROOM[0], 0, 0]
    found = predict(mirrored, [[ROOM[0] - TALKER[0], TALKER[1]]])
    np.testing.assert_allclose(found, predict(), rtol=1e-3)


def test_a_talker_on_a_node_has_a_finite_radius():
    places = NODES[:, :2]
    assert np.isfinite(predict(NODES, places, source_height=1.0)).all()


WRONG = {
    "shape": ({"nodes": [[0.0, 1.0]] * 4}, r"node_positions has shape \(4, 2\)"),
    "two nodes": ({"nodes": NODES[:2]}, r"\(2, 3\).*3 nodes or more"),
    "places": ({"places": [1.0, 2.0]}, r"places has shape \(2,\)"),
    "not finite": ({"places": [[np.nan, 2.0]]}, "not finite"),
    "room": ({"room": [0.0, 4.0]}, r"room_size is \[0.0, 4.0\].*above 0"),
    "clocks": ({"clocks": -1.0}, "clocks is -1.0; give 0 or more"),
    "positions": ({"positions": np.nan}, "positions is nan"),
    "height": ({"source_height": 12.0}, "source_height is 12.0"),
    "t60": ({"t60": 0.0}, "t60 is 0.0"),
    "share": ({"share": 1.0}, "share is 1.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_predicted_is_refused(case):
    options, message = WRONG[case]
    with pytest.raises(planning.PlanningError, match=message):
        predict(**options)
