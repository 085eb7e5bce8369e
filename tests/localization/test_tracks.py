"""Smoothing: exact enumeration, a Kalman smoother's equations, and errors in common."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from uld_jax.localization import localize, posterior, tracks

SIDES = np.array([5.0, 4.0])
AREA = 20.0
NOBODY = localize.localize(
    np.zeros((3, 8000)), 16_000, [[0, 0, 1], [5, 0, 1], [0, 4, 1]], SIDES
)
STEP, STAY, NOTHING, BELIEVED = 0.05, 8.0, 0.05, 1e-6


def answer(*modes, radius=None, determined=False):
    """Make an answer of places: each (x, y), deviation or covariance, and mass."""
    made = tuple(
        posterior.Mode(
            np.array(place, float),
            np.eye(2) * spread**2 if np.isscalar(spread) else np.array(spread),
            mass,
        )
        for place, spread, mass in modes
    )
    return dataclasses.replace(
        NOBODY,
        position=made[0].position,
        covariance=made[0].covariance,
        modes=made,
        radius_90=2.4 * np.sqrt(made[0].covariance[0, 0]) if radius is None else radius,
        determined=determined,
    )


def normal(mean, covariance):
    return scipy.stats.multivariate_normal(mean, covariance)


def enumerate_all(times, found):
    """Sum over every sequence of jumps and of modes.

    Each sequence is a chain of independent segments, and each of these one normal
    distribution of all its positions, by the joint covariance of a random walk.

    Returns:
        The mean position in each window, and the probability of a jump before it.
    """
    count, steps = len(times), np.diff(times)
    total, means = 0.0, np.zeros((count, 2))
    known, jumps = np.zeros(count), np.zeros(count)
    options = [range(len(one.modes) + 1) for one in found]  # The last says nothing.
    for leaps in itertools.product([0, 1], repeat=count - 1):
        prior = np.prod(
            [
                1 - np.exp(-s / STAY) if j else np.exp(-s / STAY)
                for s, j in zip(steps, leaps, strict=True)
            ]
        )
        starts = [0, *(k + 1 for k, j in enumerate(leaps) if j), count]
        for chosen in itertools.product(*options):
            weight, at = prior, np.full((count, 2), np.nan)
            for first, last in itertools.pairwise(starts):
                share, own = segment(times, found, chosen, range(first, last))
                weight *= share
                at[first:last] = own
            total += weight
            jumps[1:] += weight * np.array(leaps)
            somewhere = np.isfinite(at[:, 0])
            means[somewhere] += weight * at[somewhere]
            known[somewhere] += weight
    return means / known[:, None], jumps / total, known / total


def segment(times, found, chosen, windows):
    """Integrate over the positions in one stay; return that, and their means."""
    share, seen = 1.0, []
    for k in windows:
        modes, mode = found[k].modes, chosen[k]
        if mode == len(modes):
            share *= nothing(found[k]) / AREA
        else:
            total = sum(one.mass for one in modes)
            share *= (1 - nothing(found[k])) * modes[mode].mass / total
            seen.append((k, modes[mode]))
    if not seen:
        return share, np.full((len(windows), 2), np.nan)
    # The first position seen is uniform; those later differ by steps.
    at = np.array([times[k] for k, _ in seen])
    walk = STEP**2 * np.minimum(*np.meshgrid(at - at[0], at - at[0]))
    values = np.array([mode.position for _, mode in seen])
    joint = scipy.linalg.block_diag(*(mode.covariance for _, mode in seen))
    covariance = joint + np.kron(walk, np.eye(2))
    ones = np.kron(np.ones((len(seen), 1)), np.eye(2))
    precision = np.linalg.inv(covariance)
    information = ones.T @ precision @ ones
    first = np.linalg.solve(information, ones.T @ precision @ values.ravel())
    rest = values.ravel() - ones @ first
    logs = -0.5 * rest @ precision @ rest
    logs -= (
        0.5 * np.linalg.slogdet(covariance)[1] + 0.5 * np.linalg.slogdet(information)[1]
    )
    logs -= (len(seen) - 1) * np.log(2 * np.pi)
    means = []
    for k in windows:
        away = np.clip(times[k] - at[0], 0.0, None)  # Before the first it is reversed.
        along = STEP**2 * np.clip(np.minimum(away, at - at[0]), 0.0, None)
        if times[k] < at[0]:
            along = np.zeros(len(at))
        gain = np.kron(along, np.eye(2)) @ precision
        means.append(first + gain @ rest)
    return share * np.exp(logs) / AREA, np.array(means)


def nothing(one):
    """Return the share with which a window says nothing."""
    left = 1 - sum(mode.mass for mode in one.modes)
    return BELIEVED if one.determined else NOTHING + (1 - NOTHING) * left


SEQUENCES = {
    "a stay": [answer(((1, 1), 0.2, 0.95)), answer(((1.2, 1.1), 0.3, 0.9))],
    "a jump": [
        answer(((1, 1), 0.1, 0.95)),
        answer(((1.1, 1.0), 0.3, 0.9)),
        answer(((3.5, 3.0), 0.1, 1.0)),
        answer(((3.6, 2.9), 0.2, 0.9)),
    ],
    "two places": [
        answer(((1, 1), 0.1, 0.9)),
        answer(
            ((3.0, 3.0), 0.3, 0.55), ((1.1, 1.2), [[0.09, 0.05], [0.05, 0.06]], 0.4)
        ),
        answer(((0.9, 1.0), 0.15, 0.9)),
    ],
    "determined": [
        answer(((1, 1), 0.1, 0.9)),
        answer(((2.5, 1.5), 0.2, 0.9), ((1.1, 1.2), 0.2, 0.05), determined=True),
        answer(((0.9, 1.0), 0.15, 0.9)),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_all_sequences_of_jumps_and_places_count(name, monkeypatch):
    """The means of everything, not of the heaviest place; errors independent."""
    monkeypatch.setattr(tracks, "_ALIKE", 0.0)
    monkeypatch.setattr(tracks, "_FACTORS", (1.0, 1.0))
    monkeypatch.setattr(tracks, "_SAME", 0.0)
    monkeypatch.setattr(tracks, "_MOST", 10_000)
    monkeypatch.setattr(tracks, "_FAINTEST", 1e-300)
    monkeypatch.setattr(tracks, "_summarize", lambda joined, _: mean(joined))
    found, times = (
        SEQUENCES[name],
        np.array([0.0, 2.0, 5.0, 7.0])[: len(SEQUENCES[name])],
    )
    means, jumps, known = enumerate_all(times, found)
    track = tracks.smooth(times, found)
    np.testing.assert_allclose(track.positions, means, atol=1e-6)
    np.testing.assert_allclose(track.masses, known, atol=1e-6)
    np.testing.assert_allclose(track.jumps[1:], jumps[1:], atol=1e-6)


def mean(joined):
    shares = np.exp(joined.logs - joined.total)
    return shares @ joined.means / shares.sum(), np.eye(2), 0.0, shares.sum()


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_joined_or_dropped_hardly_counts(name):
    found, times = (
        SEQUENCES[name],
        np.array([0.0, 2.0, 5.0, 7.0])[: len(SEQUENCES[name])],
    )
    means, jumps, _ = enumerate_all(times, found)
    track = tracks.smooth(times, found)
    np.testing.assert_allclose(track.jumps[1:], jumps[1:], atol=0.02)
    # What is left of other places moves the means.
    np.testing.assert_allclose(track.positions, means, atol=0.05)


def kalman_smoother(values, covariances, step):
    """Smooth a random walk (Rauch, Tung and Striebel), in the usual equations."""
    mean, spread = values[0], covariances[0]
    filtered = [(mean, spread)]
    for value, own in zip(values[1:], covariances[1:], strict=True):
        ahead = spread + step * np.eye(2)
        gain = ahead @ np.linalg.inv(ahead + own)
        mean, spread = mean + gain @ (value - mean), ahead - gain @ ahead
        filtered.append((mean, spread))
    smoothed = [filtered[-1]]
    for mean, spread in filtered[-2::-1]:
        ahead = spread + step * np.eye(2)
        gain = spread @ np.linalg.inv(ahead)
        later, later_spread = smoothed[-1]
        smoothed.append(
            (
                mean + gain @ (later - mean),
                spread + gain @ (later_spread - ahead) @ gain.T,
            )
        )
    return smoothed[::-1]


def test_who_stays_is_smoothed_as_by_kalman(monkeypatch):
    monkeypatch.setattr(tracks, "_ALIKE", 0.0)
    monkeypatch.setattr(tracks, "_FACTORS", (1.0, 1.0))
    monkeypatch.setattr(tracks, "_STAY", 1e7)
    monkeypatch.setattr(tracks, "_NOTHING", 1e-9)
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(7, 2, 2)) * 0.1
    covariances = roots @ roots.transpose(0, 2, 1) + 0.01 * np.eye(2)
    values = [2.0, 1.5] + 0.1 * rng.normal(size=(7, 2))
    found = [answer((v, c, 1.0)) for v, c in zip(values, covariances, strict=True)]
    track = tracks.smooth(2.0 * np.arange(7), found)
    expected = kalman_smoother(values, covariances, 2.0 * STEP**2)
    for number, (position, covariance) in enumerate(expected):
        np.testing.assert_allclose(track.positions[number], position, atol=1e-4)
        np.testing.assert_allclose(track.covariances[number], covariance, rtol=0.01)
    assert (track.masses > 0.999).all() and (track.jumps[1:] < 1e-3).all()


def test_windows_with_errors_in_common_count_less(monkeypatch):
    monkeypatch.setattr(tracks, "_STEP", 1e-6)
    one = answer(((2.0, 1.5), 0.2, 1.0))
    track = tracks.smooth(np.arange(0.0, 10.0, 2.0), [one] * 5)
    # Of five windows with a correlation of 0.8, the mean has (1 + 4 * 0.8) / 5.
    np.testing.assert_allclose(
        track.covariances[2], 0.84 * 0.04 * np.eye(2), rtol=0.02, atol=1e-5
    )


def test_radii_hold_what_they_should_if_errors_are_alike():
    """Talkers at places in turn, with errors that are correlated by 0.8."""
    held = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        found, truth = [], []
        for place in rng.uniform([0.5, 0.5], SIDES - 0.5, (4, 2)):
            common = rng.normal(size=2)
            for _ in range(5):
                spread = rng.uniform(0.05, 0.25)
                error = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(size=2)
                found.append(answer((place + spread * error, spread, 0.97)))
                truth.append(place)
        track = tracks.smooth(2.0 * np.arange(len(found)), found)
        held += (
            np.linalg.norm(track.positions - truth, axis=1) <= track.radii_90
        ).tolist()
    assert 0.88 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("radius", [0.15, 0.24, 0.5])
def test_of_one_window_the_calibrated_radius_is_left(radius):
    one = answer(((2.0, 1.5), 0.1, 0.96), radius=radius, determined=True)
    track = tracks.smooth(np.zeros(1), [one])
    assert track.radii_90[0] == pytest.approx(radius, rel=0.01)
    wider = track.covariances[0] / 0.01
    np.testing.assert_allclose(wider, wider[0, 0] * np.eye(2), atol=1e-9)
    assert wider[0, 0] == pytest.approx((radius / 0.24) ** 2, rel=0.05)


def test_neighbors_tell_which_of_two_places_is_right():
    """Where nothing shows it, the heavier one stays, and is not sure."""
    doubtful = answer(((3.5, 3.0), 0.1, 0.55), ((1.0, 1.0), 0.1, 0.45))
    alone = tracks.smooth(np.zeros(1), [doubtful])
    np.testing.assert_allclose(alone.positions[0], [3.5, 3.0])
    assert not alone.sure[0] and alone.radii_90[0] > 2.5
    sure = answer(((1.0, 1.05), 0.1, 0.98), determined=True)
    track = tracks.smooth(np.array([0.0, 2.0, 4.0]), [sure, doubtful, sure])
    np.testing.assert_allclose(track.positions[1], [1.0, 1.03], atol=0.03)
    assert track.sure.all() and track.jumps[1:].max() < 0.1


def test_a_short_answer_by_another_talker_is_no_outlier():
    """Not determined, it would be one."""
    places = [(1, 1), (1, 1), (3, 3), (1, 1), (1, 1)]
    for determined, x in ((True, 3.0), (False, 1.0)):
        found = [answer((one, 0.05, 0.98), determined=True) for one in places]
        found[2] = answer(((3, 3), 0.05, 0.98), determined=determined)
        track = tracks.smooth(2.0 * np.arange(5), found)
        assert track.positions[2, 0] == pytest.approx(x, abs=0.05)
        assert (track.jumps[2:4] > 0.9).all() == determined
        # What a window doubts itself is left.
        assert track.masses[1] == pytest.approx(0.98, abs=0.001)
