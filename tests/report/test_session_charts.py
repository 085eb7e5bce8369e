import re

import numpy as np
import pytest
from made_session_records import guess, parse, recording, silence, window

from uld_jax.report import session_charts, session_plan, session_windows

FRAME = session_plan.Frame.around([(0.0, 0.0), (8.0, 4.0)])
WINDOWS = (
    window((1.0, 1.0), start=0.0),
    window((2.0, 1.5), start=2.0),
    guess((7.0, 3.5), (4.0, 1.0), start=4.0),
    silence(6.0),
    window((5.0, 2.0), start=8.0),
)


def draw(*windows, **more):
    found = session_windows.read_recording(recording(list(windows), **more))
    return parse(session_charts.draw_times(found, FRAME))


def coordinates(path):
    return np.float64(re.findall(r"-?[\d.]+", path)).reshape(-1, 2)


def scale(values, ticks):
    """Map numbers to units along an axis, by two of its numbers."""
    (one, at_one), (other, at_other) = ticks
    return at_one + (np.asarray(values) - one) / (other - one) * (at_other - at_one)


def numbers(drawing, anchor):
    """List the numbers of an axis, with where they are."""
    axis = "x" if anchor == "middle" else "y"
    return [
        (float(one.text), float(one[axis]))
        for one in drawing.all("text")
        if one.attributes.get("text-anchor") == anchor
    ]


def test_lines_are_at_their_times_and_positions():
    drawing = draw(*WINDOWS)
    times = scale([1.0, 3.0], numbers(drawing, "middle")[:2])
    labels = numbers(drawing, "end")
    below = [index for index, (value, _) in enumerate(labels) if value == 0.0]
    for number, panel in enumerate(drawing.all("path", "line")):
        first = below[number]
        heights = scale(
            [WINDOWS[k]["positions_m"][0][number] for k in (0, 1)],
            labels[first : first + 2],
        )
        expected = np.stack([times, heights], axis=1)
        np.testing.assert_allclose(coordinates(panel["d"]), expected, atol=0.05)


def test_lines_have_gaps_where_nothing_is_determined():
    drawing = draw(*WINDOWS)
    assert len(drawing.all("path", "line")) == 2  # x and y of the first two windows.
    assert [len(one.children) for one in drawing.all("g", "dots")] == [3, 3]
    assert [len(one.children) for one in drawing.all("g", "guesses")] == [1, 1]


def test_the_band_is_the_radius_on_both_sides():
    drawing = draw(*(window((4.0, 2.0), start=2.0 * k) for k in range(3)))
    band = coordinates(drawing.all("path", "band")[0]["d"])
    line = coordinates(drawing.all("path", "line")[0]["d"])
    labels = numbers(drawing, "end")[:2]
    radius = abs(scale(0.45, labels) - scale(0.0, labels))
    np.testing.assert_allclose(band[:3, 1], line[:, 1] - radius, atol=0.02)
    np.testing.assert_allclose(band[:2:-1, 1], line[:, 1] + radius, atol=0.02)


def test_bands_end_at_the_walls():
    drawing = draw(
        *(window((7.9, 3.9), start=2.0 * k, radius_90_m=50.0) for k in (0, 1))
    )
    for band in drawing.all("path", "band"):
        heights = coordinates(band["d"])[:, 1]
        assert heights.max() - heights.min() < 120


def test_radii_that_are_unknown_have_no_band():
    windows = (window(start=2.0 * k, radius_90_m=None) for k in range(3))
    assert not draw(*windows).all("path", "band")


def test_the_strip_tells_states_apart_by_height():
    drawing = draw(*WINDOWS)
    sure, guessed = (drawing.all("rect", kind) for kind in ("sure", "unsure"))
    assert len(sure) == 2 and len(guessed) == 1
    assert float(guessed[0]["height"]) == float(sure[0]["height"]) / 2
    times = numbers(drawing, "middle")[:2]
    ends = [float(sure[0]["x"]), float(sure[0]["x"]) + float(sure[0]["width"])]
    np.testing.assert_allclose(ends, scale([0.0, 4.0], times), atol=0.05)


def test_speech_is_a_line_above_the_strip():
    speech = [[0.5, 1.5], [2.0, 5.0]]
    drawing = draw(*WINDOWS, speech_s=speech)
    times = numbers(drawing, "middle")[:2]
    bars = drawing.all("rect", "speech")
    ends = [[float(one["x"]), float(one["x"]) + float(one["width"])] for one in bars]
    np.testing.assert_allclose(ends, scale(speech, times), atol=0.05)
    strip = float(drawing.all("rect", "sure")[0]["y"])
    assert all(float(one["y"]) + float(one["height"]) < strip for one in bars)


def test_true_positions_are_lines():
    drawing = draw(*WINDOWS, true_positions_m=[[4.0, 2.0, 1.3]], sources=1)
    assert len(drawing.all("path", "truth")) == 2


def test_an_hour_is_in_minutes():
    drawing = draw(*WINDOWS, duration_s=3600.0)
    labels = [one.text for one in drawing.all("text")]
    assert "time in min:s" in labels and "60:00" in labels and "30:00" in labels
    assert session_charts.format_time(59.96, True) == "1:00.0"


@pytest.mark.parametrize("duration", [None, 0.0, 1e5])
def test_recordings_of_any_length_are_drawn(duration):
    drawing = draw(window(start=None, length_s=None), duration_s=duration)
    assert 1 <= len(drawing.all("text")) < 40


def test_errors_are_a_distribution_function():
    errors = [0.4, 0.02, 0.1, 0.1]
    drawing = parse(session_charts.draw_errors([("sure-errors", errors)]))
    path = coordinates(drawing.one("path", "sure-errors")["d"])
    labels = numbers(drawing, "middle")
    logs = [(np.log10(value), place) for value, place in labels[:2]]
    shares = [(0.0, path[0, 1]), (1.0, path[-1, 1])]
    for error, share in ((0.02, 0.25), (0.1, 0.75), (0.4, 1.0)):
        at = np.isclose(path[:, 0], scale(np.log10(error), logs), atol=0.05)
        assert path[at, 1].min() == pytest.approx(scale(share, shares), abs=0.05)


@pytest.mark.parametrize("errors", [[0.0], [1.0], [1e-9, 100.0]])
def test_errors_of_any_size_are_drawn(errors):
    drawing = parse(session_charts.draw_errors([("sure-errors", errors)]))
    path = coordinates(drawing.one("path", "sure-errors")["d"])
    assert (np.diff(path[:, 0]) >= 0).all() and (path >= 0).all()
