import math
import re

import numpy as np
import pytest
import scipy.stats
from made_session_records import (
    COVARIANCE,
    NODES,
    ROOM,
    guess,
    parse,
    recording,
    silence,
    tracked_session,
    window,
)

from uld_jax.report import session_plan, session_windows

PLACES = [(name, tuple(xyz[:2])) for name, xyz in NODES.items()]
AREA = [(0.0, 0.0), tuple(ROOM[:2])]


def draw(*windows, nodes=PLACES, area=AREA, known_room=True, **more):
    """Return the floor plan, parsed."""
    found = session_windows.read_recording(recording(list(windows), **more))
    text, _ = session_plan.draw_plan(found, nodes, area, known_room, "plan")
    return parse(text)


def group(plan, kind):
    """Return the elements of a group of the drawing."""
    return plan.one("g", kind).children


def center(circle):
    return np.array([float(circle["cx"]), float(circle["cy"])])


def corners(plan, kind="room"):
    """Return the corner (0, 0) and the opposite one of the outline, in units."""
    outline = plan.one("path", kind)["d"]
    left, bottom, right, top = map(float, re.findall(r"-?[\d.]+", outline)[:4])
    return np.array([left, bottom]), np.array([right, top])


def to_meters(plan, units):
    """Map units to meters by the outline of the room alone."""
    low, high = corners(plan)
    return (np.asarray(units) - low) / (high - low) * ROOM[:2]


@pytest.mark.parametrize("position", [(0, 0), (6.2, 4.8), (1.3, 1.4), (5.9, 0.2)])
def test_positions_are_to_scale_of_the_room(position):
    plan = draw(window(position))
    (dot,) = group(plan, "dots")
    np.testing.assert_allclose(to_meters(plan, center(dot)), position, atol=2e-4)


def test_the_scale_is_the_same_along_both_axes_and_y_points_up():
    low, high = corners(draw(window()))
    (width, height) = high - low
    assert width > 0 > height
    assert width / ROOM[0] == pytest.approx(-height / ROOM[1], rel=1e-3)


@pytest.mark.parametrize("room", [[30.0, 2.0], [2.0, 30.0], [0.3, 0.2]])
def test_rooms_of_any_shape_fit(room):
    plan = draw(window((0.1, 0.1)), nodes=[], area=[(0.0, 0.0), tuple(room)])
    low, high = corners(plan)
    *_, width, height = map(float, plan.one("svg")["viewbox"].split())
    assert 0 < low[0] < high[0] < width and 0 < high[1] < low[1] < height


def test_ticks_are_where_their_numbers_are():
    plan = draw(window())
    low, high = corners(plan)
    for letter in plan.one("svg").all("text"):
        if letter.attributes.get("text-anchor") == "middle" and letter.text.isdigit():
            x = low[0] + (high[0] - low[0]) * float(letter.text) / ROOM[0]
            assert float(letter["x"]) == pytest.approx(x, abs=0.02)


def test_the_bar_is_as_long_as_it_says():
    plan = draw(window())
    low, high = corners(plan)
    start, end = map(
        float,
        re.match(r"M([\d.]+) .*H([\d.]+)", plan.one("path", "scale")["d"]).groups(),
    )
    (label,) = (
        one.text for one in plan.all("text") if re.fullmatch(r"[\d.]+ m", one.text)
    )
    meters = (end - start) / (high[0] - low[0]) * ROOM[0]
    assert label == "1 m" and meters == pytest.approx(1.0, abs=1e-3)


COVARIANCES = [COVARIANCE, [[0.01, -0.006], [-0.006, 0.3]], [[0.2, 0.0], [0.0, 0.05]]]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_ellipses_hold_90_percent(covariance):
    """Each of its points has the Mahalanobis distance of the chi-squared's quantile."""
    plan = draw(window((3.0, 2.0), covariance_m2=covariance))
    (drawn,) = group(plan, "ellipses")
    x, y, degrees = map(float, re.findall(r"-?[\d.]+", drawn["transform"]))
    t = np.linspace(0, 2 * np.pi, 37)
    along = np.stack([float(drawn["rx"]) * np.cos(t), float(drawn["ry"]) * np.sin(t)])
    turn = math.radians(degrees)
    rotation = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    points = to_meters(plan, (rotation @ along).T + np.array([x, y]))
    away = points - [3.0, 2.0]
    distances = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    np.testing.assert_allclose(distances, scipy.stats.chi2(2).ppf(0.9), rtol=0.01)


def test_an_ellipse_without_area_leaves_the_dot():
    plan = draw(window((3.0, 2.0), covariance_m2=[[1e-12, 0], [0, 0]]))
    (dot,) = group(plan, "dots")
    assert float(dot["r"]) > 2
    (drawn,) = group(plan, "ellipses")
    assert drawn["rx"] == drawn["ry"] == "0"


def test_a_covariance_that_rounding_made_indefinite_is_drawn():
    (drawn,) = group(draw(window(covariance_m2=[[1, 1], [1, 1 - 1e-12]])), "ellipses")
    assert float(drawn["rx"]) > 0 and drawn["ry"] == "0"


def test_circles_have_the_radius_of_the_record():
    plan = draw(window((3.0, 2.0), radius_90_m=0.8))
    (circle,) = group(plan, "circles")
    edge = to_meters(plan, center(circle) + np.array([float(circle["r"]), 0]))
    np.testing.assert_allclose(edge, [3.8, 2.0], atol=2e-3)


def test_what_is_not_determined_is_a_cross_without_ellipse():
    plan = draw(guess((2.0, 3.0), (4.0, 1.0)), silence(2.0))
    assert not any(
        group(plan, kind) for kind in ("dots", "ellipses", "circles", "track")
    )
    (cross,) = group(plan, "guesses")
    assert cross.tag == "path"


def test_the_track_is_dotted_where_windows_are_missing():
    plan = draw(
        window((1, 1), start=0.0),
        window((2, 1), start=2.0),
        silence(4.0),
        window((3, 1), start=6.0),
        window((4, 1), start=8.0),
    )
    assert [one.classes for one in group(plan, "track")] == [[], ["gap"], []]
    dots = [center(dot) for dot in group(plan, "dots")]
    gap = re.findall(r"[\d.]+", group(plan, "track")[1]["d"])
    np.testing.assert_allclose(np.float64(gap), np.ravel(dots[1:3]))


def test_two_talkers_have_no_track():
    two = {"start_s": 0.0, "length_s": 2.0, "positions_m": [[1, 2], [4, 3]]}
    plan = draw(two, two | {"start_s": 2.0}, sources=2)
    assert len(group(plan, "dots")) == 4 and not group(plan, "track")


def test_nodes_have_symbols_and_names():
    plan = draw(window())
    assert [one.text for one in group(plan, "names")] == list(NODES)
    assert [one.one("title").text for one in group(plan, "nodes")] == list(NODES)
    for mark, (_, position) in zip(group(plan, "nodes"), PLACES, strict=True):
        place = re.match(r"M([\d.]+) ([\d.]+)m", mark.one("path")["d"]).groups()
        found = to_meters(plan, np.float64(place))
        np.testing.assert_allclose(found, position, atol=2e-4)


def test_true_positions_are_drawn():
    plan = draw(window(), true_positions_m=[[2.0, 3.0, 1.2]])
    circle = plan.one("g", "truths").one("circle")
    np.testing.assert_allclose(to_meters(plan, center(circle)), [2, 3], atol=2e-4)


def test_an_area_that_was_searched_is_no_room():
    plan = draw(window(), area=[(-1.0, -2.0), (7.0, 5.0)], known_room=False)
    assert plan.all("path", "searched") and not plan.all("path", "room")


@pytest.mark.parametrize("nodes", [[], [("only", (1.0, 1.0))]])
def test_a_plan_without_extent_is_drawn(nodes):
    for windows in ([silence(0.0)], [window((1.0, 1.0))]):
        text = str(draw(*windows, nodes=nodes, area=[]).one("svg").attributes)
        assert "nan" not in text and "inf" not in text


def test_many_positions_are_drawn_finer():
    few, many = (
        draw(*(window(start=2.0 * k) for k in range(count))) for count in (300, 301)
    )
    assert "crowded" not in few.one("svg").classes
    assert "crowded" in many.one("svg").classes


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 6.2, 8, [0, 1, 2, 3, 4, 5, 6]),
        (-0.3, 0.3, 4, [-0.2, 0.0, 0.2]),
        (2.0, 3.0, 5, [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]),
        (0.0, 30.0, 8, [0, 5, 10, 15, 20, 25, 30]),
    ],
)
def test_ticks_are_round_numbers(low, high, most, expected):
    assert session_plan.ticks(low, high, most) == pytest.approx(expected)


def test_the_track_is_that_of_smoothed_positions():
    """A line within each turn, dots from one to the next, and a number at each talker."""
    (one,) = tracked_session()["recordings"]
    plan = draw(*one["windows"], turns=one["turns"])
    lines = group(plan, "track")
    assert [line.classes for line in lines] == [[], ["gap"], ["gap"]]
    places = [
        to_meters(
            plan, np.reshape(re.findall(r"-?[\d.]+", line["d"]), (-1, 2)).astype(float)
        )
        for line in lines
    ]
    np.testing.assert_allclose(places[0], [[1.3, 1.5], [1.4, 1.5]], atol=2e-4)
    np.testing.assert_allclose(places[1], [[1.4, 1.5], [4.6, 1.2]], atol=2e-4)
    np.testing.assert_allclose(places[2], [[4.6, 1.2], [1.4, 1.6]], atol=2e-4)
    first, second = group(plan, "talkers")
    assert (first.text, second.text) == ("1", "2")
    for text, place in ((first, (1.375, 1.55)), (second, (4.6, 1.2))):
        at = float(text["x"]), float(text["y"])
        np.testing.assert_allclose(to_meters(plan, at), place, atol=2e-4)


def test_one_talker_needs_no_number():
    (one,) = tracked_session()["recordings"]
    assert not group(draw(*one["windows"], turns=one["turns"][:1]), "talkers")
