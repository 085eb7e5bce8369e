"""Clocks of a session, from exact distances and from recordings in free field."""

import free_field
import numpy as np
import pytest

import uld_jax
from uld_jax.audio import builtin
from uld_jax.localization import answers, batches, calibration, same_places
from uld_jax.localization.posterior import Mode

SPEED = 343.0
PLACES = np.array([[1.2, 3.1], [4.4, 1.0], [2.8, 4.2], [0.8, 0.9], [5.1, 3.6]])
HEIGHT = 1.5


def session(
    seed, num_places=5, rough=0.15, noise=0.0, wrong=0.0, drift=0.0, times=None
):
    """Make what `localize` finds in rooms whose nodes are late, without signals."""
    rng = np.random.default_rng(seed)
    nodes = rng.uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (12, 3))
    late = 0.01 * rng.normal(size=12)
    drifts = drift * rng.normal(size=12)
    found = []
    for number, place in enumerate(PLACES[:num_places]):
        paths = np.linalg.norm(nodes - [*place, HEIGHT], axis=1)
        seen = place + rough * rng.normal(size=2)
        assumed = np.linalg.norm(nodes - [*seen, HEIGHT], axis=1)
        offsets = late + (paths - assumed) / SPEED + noise / SPEED * rng.normal(size=12)
        if times is not None:
            offsets += times[number] * drifts
        offsets[rng.uniform(size=12) < wrong] += 0.02 * rng.normal()
        offsets -= np.median(offsets)
        covariance = max(rough, 0.01) ** 2 * np.eye(2)
        unknown = np.full(12, np.nan)
        found.append(
            answers.Localization(
                seen,
                covariance,
                0.3,
                (Mode(seen, covariance, 1.0),),
                True,
                (),
                np.zeros(12),
                np.ones(12),
                HEIGHT,
                offsets,
                unknown,
                np.ones((2, 2)) / 4,
                np.array([6.0, 5.0]),
                np.zeros(2),
                nodes,
            )
        )
    return found, nodes, late - np.median(late), drifts - np.median(drifts)


def test_exact_times_give_exact_clocks_and_positions():
    found, nodes, late, _ = session(0)
    fitted = calibration.fit_clocks(found, nodes, source_height=HEIGHT)
    assert fitted.determined
    assert not fitted.reasons
    np.testing.assert_allclose(fitted.offsets, late, atol=1e-5)
    np.testing.assert_allclose(fitted.positions, PLACES, atol=0.005)
    assert fitted.drifts is None


def test_wrong_times_do_little_harm():
    found, nodes, late, _ = session(1, noise=0.004, wrong=0.2)
    fitted = calibration.fit_clocks(found, nodes, source_height=HEIGHT)
    wrong = fitted.offsets - late
    assert np.isfinite(wrong).sum() >= 9
    # Relative to the median of those that are known.
    assert np.nanmedian(np.abs(wrong - np.nanmedian(wrong))) < 5e-5
    assert np.linalg.norm(fitted.positions - PLACES, axis=1).max() < 0.05


def test_heights_need_not_be_known():
    found, nodes, late, _ = session(2, noise=0.004)
    fitted = calibration.fit_clocks(found, nodes)
    np.testing.assert_allclose(fitted.offsets, late, atol=3e-4)
    assert np.linalg.norm(fitted.positions - PLACES, axis=1).max() < 0.1


def test_standard_errors_are_those_of_many_trials():
    errors, given = [], []
    for seed in range(12):
        found, nodes, _, _ = session(100, noise=0.01, rough=0.05)
        rng = np.random.default_rng(seed)
        for one in found:
            one.node_offsets[:] += 0.01 / SPEED * rng.normal(size=12)
        fitted = calibration.fit_clocks(found, nodes, source_height=HEIGHT)
        errors.append(fitted.offsets)
        given.append(fitted.offset_errors)
    known = np.isfinite(errors).all(axis=0)
    assert known.sum() >= 9
    # Relative to their mean, as the given ones are.
    errors = np.array(errors)[:, known]
    errors -= errors.mean(axis=1, keepdims=True)
    ratio = np.array(given)[:, known].mean() / errors.std(axis=0).mean()
    assert 0.5 < ratio < 2.0


def test_drifts_are_found_from_the_times_of_recordings():
    times = np.array([0.0, 13.0, 30.0, 44.0, 60.0])
    found, nodes, _, drifts = session(3, noise=0.004, drift=5e-5, times=times)
    fitted = calibration.fit_clocks(found, nodes, times, HEIGHT)
    np.testing.assert_allclose(fitted.drifts, drifts, atol=5e-6)


@pytest.mark.parametrize("num_places", [1, 2])
def test_few_places_do_not_determine_clocks(num_places):
    found, nodes, _, _ = session(4, num_places=num_places)
    found = [*found, found[0]]  # The same place once more is no other.
    fitted = calibration.fit_clocks(found, nodes)
    assert not fitted.determined
    assert "at 3 they are needed" in fitted.reasons[0]
    np.testing.assert_array_equal(fitted.positions[0], found[0].position)
    assert not np.isfinite(fitted.offset_errors).any()


def test_an_unknown_node_stays_unknown():
    found, nodes, late, _ = session(5)
    for one in found:
        one.node_offsets[3] = np.nan
    fitted = calibration.fit_clocks(found, nodes, source_height=HEIGHT)
    assert np.isnan(fitted.offsets[3])
    rest = np.delete(late, 3)
    np.testing.assert_allclose(
        np.delete(fitted.offsets, 3), rest - np.median(rest), atol=1e-5
    )


def test_bad_input_is_named():
    signals = np.zeros((2, 4, 8_000))
    nodes = np.random.default_rng(0).uniform(0, 4, (4, 3))
    with pytest.raises(batches.RecordingError, match="has no recording"):
        uld_jax.calibrate_clocks([], 16_000, nodes)
    with pytest.raises(batches.RecordingError, match=r"times has shape \(3,\)"):
        uld_jax.calibrate_clocks(signals, 16_000, nodes, times=[0, 1, 2])
    signals[1, 2, 5] = np.nan
    with pytest.raises(batches.RecordingError, match="signals of node 2 holds NaN"):
        uld_jax.calibrate_clocks(signals, 16_000, nodes)


def test_recordings_give_clocks_and_positions():
    """Through signals, with a node that is dead in one of them."""
    rng = np.random.default_rng(6)
    nodes = rng.uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (8, 3))
    late = 0.01 * rng.normal(size=8)
    recordings = []
    for number, place in enumerate(PLACES[:4]):
        speech = np.asarray(builtin.synthesize(f"test0{number}-0"), np.float64)[:48_000]
        paths = np.linalg.norm(nodes - [*place, HEIGHT], axis=1)
        signals = free_field.delay(speech, paths / SPEED + late) / paths[:, None]
        recordings.append(signals[:, 8_000:40_000])
    recordings[2][3] = 0.5
    found = uld_jax.calibrate_clocks(recordings, 16_000, nodes, [6.0, 5.0])
    assert found.determined
    wrong = found.offsets - late
    assert np.abs(wrong - np.median(wrong)).max() < 2e-4
    away = np.linalg.norm(found.positions - PLACES[:4], axis=1)
    assert np.median(away) < 0.02
    assert found.fitted.sum() >= 3
    for number in np.flatnonzero(~found.fitted):
        assert f"Times of recording {number} do not fit" in " ".join(found.reasons)


def test_a_recording_that_cannot_be_used_does_not_move_the_origin_of_time():
    times = np.array([0.0, 30.0, 60.0, 90.0, 600.0])
    found, nodes, late, drifts = session(8, drift=5e-5, times=times)
    found[4].node_offsets[:] = np.nan
    fitted = calibration.fit_clocks(found, nodes, times, HEIGHT)
    at = fitted.late_at(times)[:4]
    expected = late + times[:4, None] * drifts
    wrong = at - expected
    wrong -= np.median(wrong, axis=1, keepdims=True)
    assert np.abs(wrong).max() < 2e-4
    assert not fitted.fitted[4]
    assert "Times of recording 4 do not fit" in fitted.reasons[0]


def test_what_two_passes_found_is_added_where_either_knows():
    first = np.array([1.0, np.nan, 3.0, np.nan])
    second = np.array([0.5, 2.0, np.nan, np.nan])
    total = calibration._add(first, second)
    np.testing.assert_array_equal(total, [-0.5, 0.0, 1.0, np.nan])


def test_times_that_mean_nothing_determine_nothing():
    """Whatever the nodes and places: some times always agree with some clocks."""
    rng = np.random.default_rng(10)
    for num_places, times in ((3, None), (5, None), (5, 12.0 * np.arange(5))):
        for seed in range(4):
            found, nodes, _, _ = session(seed, num_places=num_places)
            for one in found:
                one.node_offsets[:] = 0.01 * rng.normal(size=12)
            assert not calibration.fit_clocks(found, nodes, times).determined


def test_clocks_that_agree_are_left_as_they_are():
    found, nodes, late, _ = session(11, noise=0.005)
    for one in found:
        one.node_offsets[:] -= late
    fitted = calibration.fit_clocks(found, nodes, np.arange(5) * 3.0, HEIGHT)
    assert fitted.determined
    assert np.abs(fitted.offsets).max() < 5e-5
    np.testing.assert_allclose(fitted.drifts, 0.0, atol=1e-9)


def test_places_count_if_they_are_surely_apart():
    places = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    assert same_places.count_apart(places, np.full(3, 0.1)) == 3
    assert same_places.count_apart(places, np.full(3, 1.5)) == 2
    assert same_places.count_apart(0.2 * places, np.full(3, 0.01)) == 2


def test_a_printed_calibration_says_what_is_known():
    found, nodes, _, _ = session(12)
    for one in found:
        one.node_offsets[4] = np.nan
    text = str(calibration.fit_clocks(found, nodes, None, HEIGHT))
    assert "node 4: unknown" in text
    assert "drift" not in text
    text = str(calibration.fit_clocks(found, nodes, np.arange(5.0), HEIGHT))
    assert "node 3: offset " in text
    assert " ppm" in text
    assert "nan" not in text


@pytest.mark.slow
def test_windows_at_one_place_do_not_confirm_each_other_by_wrong_drifts(monkeypatch):
    """Four places with six windows each over ten minutes, and clocks that do not drift."""
    times = np.arange(24) * 25.0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        nodes = rng.uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (8, 3))
        late = 0.01 * rng.normal(size=8)
        # Wrong times are those of reflections: the same in all windows at one place.
        wrong = np.where(
            rng.uniform(size=(4, 8)) < 0.35, 0.005 * rng.normal(size=(4, 8)), 0
        )

        def localize_one(window, *_, late=None, nodes=nodes, wrong=wrong, own=late):
            number = int(window[0, 0])
            talker = np.array([*PLACES[number % 4], HEIGHT])
            seen = talker.copy()
            seen[:2] += 0.2 * np.sin([number % 4, 3 + number % 4])
            paths = np.linalg.norm(nodes - talker, axis=1)
            paths -= np.linalg.norm(nodes - seen, axis=1)
            offsets = own + paths / SPEED + wrong[number % 4]
            offsets = offsets - (0.0 if late is None else late)
            unknown = np.full(8, np.nan)
            covariance = 0.04 * np.eye(2)
            return answers.Localization(
                *(seen[:2], covariance, 0.4, (Mode(seen[:2], covariance, 1.0),)),
                *(True, (), np.zeros(8), np.ones(8), HEIGHT, offsets, unknown),
                *(np.ones((2, 2)) / 4, np.array([6.0, 5.0]), np.zeros(2), nodes),
            )

        monkeypatch.setattr(calibration.localize, "localize_one", localize_one)
        windows = [np.full((8, 32_000), float(number)) for number in range(24)]
        found = uld_jax.calibrate_clocks(
            windows, 16_000, nodes, [6.0, 5.0], times=times
        )
        assert found.places.max() < 4
        if found.determined:
            error = found.late_at(times).mean(axis=0) - late
            error = error[np.isfinite(found.offsets)]
            assert np.abs(error - np.median(error)).max() < 5e-4
