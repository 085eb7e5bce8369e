"""When somebody speaks: bursts of noise of known times, by nodes of their own levels."""

import numpy as np
import pytest

from uld_jax.audio import speech_activity, surveys

TALKS = np.array([[1.0, 3.0], [3.3, 5.0], [8.0, 9.5]])


def survey(talks=TALKS, seconds=12.0, starts=(0, 0, 0), faults=("", "", ""), loud=1.0):
    """Make a survey of powers of talks in noise of another level at each node."""
    rng = np.random.default_rng(0)
    count = round(seconds * 100)
    at = np.arange(count) / 100
    speaks = ((at[:, None] >= talks[:, 0]) & (at[:, None] < talks[:, 1])).any(axis=1)
    powers = np.zeros((3, count))
    lengths = []
    for node, (start, gain) in enumerate(zip(starts, (1.0, 0.01, 10.0), strict=True)):
        clean = gain * (1e-4 + loud * speaks) * rng.uniform(0.5, 1.5, count)
        own = clean[start // 160 :]
        powers[node, : len(own)] = own
        lengths.append(160 * len(own))
    return surveys.Survey(
        np.zeros(3),
        powers,
        np.array(starts),
        np.ones(3, bool),
        np.array(lengths),
        faults,
        np.ones((3, 2049)),
        np.zeros(3, int),
        np.zeros(3, int),
    )


def test_talks_are_found_and_short_pauses_belong_to_them():
    found = speech_activity.find_speech(survey())
    np.testing.assert_allclose(found, [[1.0, 5.0], [8.0, 9.5]], atol=0.11)


def test_times_are_those_of_the_first_recorder():
    found = speech_activity.find_speech(survey(starts=(0, 8_000, 16_000)))
    np.testing.assert_allclose(found, [[1.0, 5.0], [8.0, 9.5]], atol=0.11)


def test_a_click_is_no_speech():
    talks = np.vstack([TALKS, [[6.5, 6.56]]])
    found = speech_activity.find_speech(survey(talks))
    np.testing.assert_allclose(found, [[1.0, 5.0], [8.0, 9.5]], atol=0.11)


def test_nodes_that_cannot_be_used_are_not_asked():
    broken = survey(faults=("", "", "is silent"))
    broken.powers[2] = 0.0
    found = speech_activity.find_speech(broken)
    np.testing.assert_allclose(found, [[1.0, 5.0], [8.0, 9.5]], atol=0.11)


@pytest.mark.parametrize("change", [{"loud": 1e-5}, {"talks": np.array([[0.0, 12.0]])}])
def test_what_is_steady_is_taken_for_speech(change):
    found = speech_activity.find_speech(survey(**change))
    np.testing.assert_allclose(found, [[0.0, 12.0]])


def test_speech_reaches_to_the_ends():
    talks = np.array([[0.0, 4.0], [9.0, 12.0]])
    found = speech_activity.find_speech(survey(talks))
    np.testing.assert_allclose(found, talks, atol=0.11)
