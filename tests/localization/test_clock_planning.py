import numpy as np
import pytest

from uld_jax.localization import clock_fit, clock_planning, placement, planning

ROOM = [6.0, 4.5, 2.6]
NODES = np.array(
    [
        *([2.0, 1.2, 0.8], [4.1, 1.1, 1.0], [4.3, 3.2, 1.2], [1.8, 3.4, 0.9]),
        *([3.0, 2.3, 1.4], [0.4, 2.2, 1.1], [5.6, 2.0, 1.3], [3.1, 4.2, 1.0]),
    ]
)


def draw_times(recordings, nodes, rng):
    """Draw times by the model: some wrong, clocks with offsets and drifts."""
    talkers, model = recordings.talkers[0], recordings.model
    paths = np.linalg.norm(talkers[:, None] - nodes, axis=-1)
    right = planning.share_right(paths / float(model.critical))
    arrivals = paths + float(model.spread) * rng.normal(size=paths.shape)
    wrong = rng.uniform(size=paths.shape) > right
    arrivals += np.where(wrong, rng.uniform(-1.5, 1.5, paths.shape), 0.0)
    arrivals += rng.normal(size=len(nodes)) * 1.0
    arrivals += np.linspace(-15, 15, len(talkers))[:, None] * (
        343.0 * 2e-5 * rng.normal(size=len(nodes))
    )
    return talkers, arrivals


@pytest.mark.parametrize("num_nodes", [7, 8])
def test_the_evidence_is_what_the_fit_finds(num_nodes):
    """Against the fit itself, with times that are drawn by the model."""
    rng = np.random.default_rng(num_nodes)
    nodes = NODES[:num_nodes]
    recordings = clock_planning.draw_recordings(ROOM, 7, 0.0, 1.4, 0.3)
    recordings = recordings._replace(talkers=recordings.talkers[:1])
    total = clock_planning.measure(nodes, recordings).sum(axis=0)[None]
    expected, scatter = clock_planning.expected_evidence(total, recordings)
    found = []
    for _ in range(12):
        talkers, arrivals = draw_times(recordings, nodes, rng)
        starts = talkers.copy()
        starts[:, :2] += 0.2 * rng.normal(size=(len(talkers), 2))
        late = (arrivals - np.linalg.norm(starts[:, None] - nodes, axis=-1)) / 343.0
        fit = clock_fit.fit(
            *(starts, np.tile(0.04 * np.eye(2), (len(talkers), 1, 1)), late, nodes),
            *(np.linspace(0.0, 30.0, len(talkers)), (1.4, 0.1), 1),
        )
        found.append(max(fit.evidence, -50.0))
    # The fit also picks the best of four spreads and drops places that do not fit.
    error = scatter[0, 0] / np.sqrt(len(found))
    assert abs(np.mean(found) - expected[0, 0]) < 3 * error + 5.0


def test_nodes_add_up_to_the_information_of_all_unknowns():
    """Against one determinant of all unknowns, clocks included."""
    recordings = clock_planning.draw_recordings(ROOM, 4, 0.01, None, 0.5)
    recordings = recordings._replace(talkers=recordings.talkers[:1])
    talkers, model = recordings.talkers[0], recordings.model
    K, M = len(talkers), len(NODES)
    paths = np.linalg.norm(talkers[:, None] - NODES, axis=-1)
    right = planning.share_right(paths / float(model.critical))
    slopes = np.zeros((K, M, 4 * K + 2 * M))
    when = np.linspace(-0.5, 0.5, K)
    for k in range(K):
        for m in range(M):
            slopes[k, m, 3 * k : 3 * k + 3] = (talkers[k] - NODES[m]) / paths[k, m]
            slopes[k, m, 3 * K + k] = 1.0
            slopes[k, m, 4 * K + 2 * m : 4 * K + 2 * m + 2] = 1.0, when[k]
    precision = np.einsum(
        "kmi,km,kmj->ij", slopes, right / float(model.spread) ** 2, slopes
    )
    drift = 343.0 * 2e-5 * 30.0
    height = float(model.height[1])
    priors = np.zeros(4 * K + 2 * M)
    priors[: 3 * K] = np.tile([0.5**-2, 0.5**-2, height**-2], K)
    priors[4 * K + 1 :: 2] = drift**-2
    precision += np.diag(priors)
    kept = np.delete(np.arange(len(priors)), 3 * K)  # The first start is 0.
    gain = np.log(0.7 * 3.0 / (np.sqrt(2 * np.pi) * float(model.spread)) + 0.3) - 0.5
    expected = (right * gain + (1 - right) * np.log(0.3)).sum()
    expected += 0.5 * len(kept) * np.log(2 * np.pi)
    expected -= 0.5 * np.linalg.slogdet(precision[np.ix_(kept, kept)])[1]
    expected -= K * np.log(2 * 0.25 * height * (2 * np.pi) ** 1.5)
    expected -= (K - 1 + M) * np.log(3.0) + M * np.log(np.sqrt(2 * np.pi) * drift)
    total = clock_planning.measure(NODES, recordings).sum(axis=0)[None]
    found, _ = clock_planning.expected_evidence(total, recordings)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)


def test_more_places_more_nodes_and_less_echo_help():
    def predict(nodes=NODES, **settings):
        return clock_planning.expected_calibration(nodes, ROOM, **settings)

    few = predict(NODES[:6], places=5)
    assert few < predict(NODES[:6], places=9)
    assert few < predict(NODES, places=5)
    assert few < predict(NODES[:6], places=5, t60=0.15)
    assert few < predict(NODES[:6], places=5, positions=0.0)
    assert 0.0 <= few <= 1.0


def test_phones_are_placed_where_they_can_be_calibrated():
    settings = {"clocks": 0.05, "t60": 0.4, "on": "anywhere"}
    plain = placement.place_nodes([6.0, 4.5], 7, **settings)
    assert plain.calibrated is None and plain.radii_without is None
    found = placement.place_nodes([6.0, 4.5], 7, calibrate=6, **settings)
    by_itself = clock_planning.expected_calibration(plain.nodes, [6.0, 4.5], t60=0.4)
    again = clock_planning.expected_calibration(found.nodes, [6.0, 4.5], t60=0.4)
    assert found.calibrated == pytest.approx(again)
    assert found.calibrated > by_itself + 0.2
    assert found.calibrated_with >= found.calibrated - 0.05
    assert (found.radii_without > found.radii).all()


def test_refused():
    with pytest.raises(planning.PlanningError, match="places is 0"):
        clock_planning.expected_calibration(NODES, ROOM, places=0)
    with pytest.raises(planning.PlanningError, match="shape"):
        clock_planning.expected_calibration(NODES[:2], ROOM)
    with pytest.raises(planning.PlanningError, match="t60 is 99"):
        clock_planning.expected_calibration(NODES, ROOM, t60=99)
    with pytest.raises(planning.PlanningError, match="calibrate is 6 and clocks is 0"):
        placement.place_nodes([6.0, 4.0], 6, calibrate=6)
    with pytest.raises(planning.PlanningError, match="places is 21"):
        placement.place_nodes([6.0, 4.0], 6, clocks=0.01, calibrate=21)
