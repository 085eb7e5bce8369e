"""Records of located sessions, for the tests of their page."""

import html.parser
import json

import numpy as np

ROOM = [6.2, 4.8, 2.7]
NODES = {
    "door": [0.1, 0.2, 1.0],
    "window": [6.0, 0.3, 1.4],
    "shelf": [6.1, 4.6, 1.1],
    "desk": [0.2, 4.5, 1.2],
}
COVARIANCE = [[0.04, 0.018], [0.018, 0.01]]


def window(position=(1.3, 1.4), *, start=0.0, determined=True, nodes=4, **more):
    """Make a window of a method that knows how sure it is."""
    position = list(position)
    mode = {"position_m": position, "covariance_m2": COVARIANCE, "mass": 0.97}
    return {
        "start_s": start,
        "length_s": 2.0,
        "positions_m": [position],
        "height_m": 1.3,
        "errors_m": None,
        "radius_90_m": 0.45,
        "covariance_m2": COVARIANCE,
        "determined": determined,
        "reasons": [] if determined else ["90 % of the posterior needs 1.5 m"],
        "modes": [mode],
        "node_levels_db": [0.5, -1.25, None, 2.0][:nodes],
        "node_weights": [1, 1, 0, 1][:nodes],
        "node_offsets_s": [1e-4, 0.12, None, -2e-4][:nodes],
        "node_offset_errors_s": [2e-5, 3e-5, None, 4e-5][:nodes],
        **more,
    }


def guess(position, other, **more):
    """Make a window that is not determined, because two places fit."""
    modes = [
        {"position_m": list(place), "covariance_m2": COVARIANCE, "mass": mass}
        for place, mass in ((position, 0.6), (other, 0.4))
    ]
    return window(position, determined=False, **{"modes": modes, **more})


def smoothed(position, talker, radius=0.3):
    """Make what a window has of its track."""
    return {
        "talker": talker,
        "smooth_position_m": list(position),
        "smooth_covariance_m2": COVARIANCE,
        "smooth_radius_90_m": radius,
        "smooth_mass": 0.97,
    }


def turn(start, end, talker, position):
    """Make a turn of a talker."""
    return {
        "start_s": start,
        "end_s": end,
        "talker": talker,
        "position_m": list(position),
        "covariance_m2": COVARIANCE,
        "radius_90_m": 0.3,
        "confidence": 0.97,
    }


def tracked_session():
    """Make a session of two talkers in turn, one window of which is not determined."""
    windows = [
        window((1.3, 1.4), start=0.0, **smoothed((1.3, 1.5), 1)),
        guess((4.0, 4.0), (1.4, 1.5), start=2.0, **smoothed((1.4, 1.5), 1)),
        window((4.7, 1.2), start=4.0, **smoothed((4.6, 1.2), 2, 0.5)),
        window((1.4, 1.5), start=6.0, **smoothed((1.4, 1.6), 1)),
        guess((1.0, 4.0), (5.0, 4.0), start=8.0, **smoothed((3.0, 4.0), None)),
    ]
    turns = [
        turn(0.2, 3.9, 1, (1.35, 1.5)),
        turn(4.0, 5.8, 2, (4.6, 1.2)),
        turn(6.1, 7.7, 1, (1.4, 1.6)),
    ]
    speech = [[0.2, 3.9], [4.0, 5.8], [6.1, 7.7]]
    return record(recording(windows, turns=turns, speech_s=speech))


def silence(start):
    """Make a window in which nobody spoke."""
    return window(start=start, determined=False, positions_m=None, modes=[])


def recording(windows, **more):
    """Make a recording of 30 s."""
    return {
        "name": "monday.wav",
        "duration_s": 30.0,
        "sources": 1,
        "true_positions_m": None,
        "clocks": None,
        "windows": windows,
        **more,
    }


def record(*recordings, **more):
    """Make the record of a session in a room that is not square."""
    return {
        "name": "my_lab",
        "written": "2026-11-30T18:00:00+00:00",
        "version": "0.1.0",
        "command": "uld_jax locate --recordings=my_lab",
        "settings": {"method": "fused", "calibrate_clocks": None, "seen": False},
        "room_size_m": ROOM,
        "area_m": [[0, 0], ROOM[:2]],
        "nodes": [{"name": name, "position_m": xyz} for name, xyz in NODES.items()],
        "remarks": ["Node 1 is 120.0 ms late: its clock or position is off"],
        "left_out": ["tuesday.wav has 5 channels, and the session has 4 nodes"],
        "recordings": list(recordings),
        **more,
    }


def session():
    """Make a session with a talker at two places, silence, and a window of two places."""
    windows = [
        window((1.3, 1.4), start=0.0, errors_m=[0.10]),
        window((1.4, 1.5), start=2.0, errors_m=[0.20]),
        guess((2.0, 3.0), (4.0, 1.0), start=4.0, errors_m=[1.50]),
        silence(6.0),
        window((4.7, 1.2), start=8.0, errors_m=[0.50]),
        window((4.6, 1.2), start=10.0, errors_m=[0.30]),
    ]
    clocks = [
        {
            "node": name,
            "offset_s": 0.0123,
            "offset_error_s": 1e-5,
            "drift_ppm": None if name == "desk" else -3.2,
            "determined": name != "desk",
        }
        for name in NODES
    ]
    truth = [[1.3, 1.5, 1.3]]
    return record(recording(windows, clocks=clocks, true_positions_m=truth))


def long_session(num_windows=1800, num_nodes=30):
    """Make a session of an hour, of random numbers with all their digits."""
    rng = np.random.default_rng(0)
    names = [f"node {index}" for index in range(num_nodes)]
    positions = rng.uniform(0.1, 0.9, (num_nodes, 3)) * ROOM
    windows = []
    for index in range(num_windows):
        make = window if index % 4 else guess
        places = (rng.uniform(0.5, 4, 2).tolist() for _ in range(1 if index % 4 else 2))
        windows.append(
            make(
                *places,
                start=2.0 * index,
                **smoothed(rng.uniform(0.5, 4, 2).tolist(), 1 + index // 3 % 2),
                errors_m=[float(rng.uniform())],
                reasons=[f"Node 1 is {rng.uniform():.3f} ms late: its clock is off"]
                * 2,
                node_levels_db=rng.normal(0, 3, num_nodes).tolist(),
                node_weights=[1] * num_nodes,
                node_offsets_s=rng.normal(0, 1e-3, num_nodes).tolist(),
                node_offset_errors_s=rng.uniform(0, 1e-4, num_nodes).tolist(),
            )
        )
    turns = [
        turn(
            2.0 * k + rng.uniform(), 2.0 * k + 5.5, 1 + k // 3 % 2, rng.uniform(0, 4, 2)
        )
        for k in range(0, num_windows, 3)
    ]
    speech = [[k + rng.uniform(0, 0.4), k + 0.8] for k in range(2 * num_windows)]
    return record(
        recording(windows, duration_s=2.0 * num_windows, turns=turns, speech_s=speech),
        nodes=[
            {"name": name, "position_m": xyz.tolist()}
            for name, xyz in zip(names, positions, strict=True)
        ],
    )


class Element:
    """An element of a page: its tag, attributes, elements inside, and text."""

    def __init__(self, tag, attributes=()):
        self.tag, self.attributes = tag, dict(attributes)
        self.children, self.texts = [], []

    def __getitem__(self, name):
        return self.attributes[name]

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def text(self):
        return "".join(
            one if isinstance(one, str) else one.text for one in self.texts
        ).strip()

    def all(self, tag=None, kind=None):
        """List the elements inside with a tag and a class."""
        found = []
        for child in self.children:
            if tag in (None, child.tag) and (kind is None or kind in child.classes):
                found.append(child)
            found += child.all(tag, kind)
        return found

    def one(self, tag=None, kind=None):
        (found,) = self.all(tag, kind)
        return found


class _Parser(html.parser.HTMLParser):
    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self):
        super().__init__()
        self.root = Element("page")
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs)
        self.open[-1].children.append(element)
        self.open[-1].texts.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].texts.append(data)


def parse(text):
    """Parse a page whose elements are all closed, in order."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == [parser.root]
    return parser.root


def numbers(page):
    """Read the numbers that a page has for its script."""
    (found,) = (
        one for one in page.all("script") if one.attributes.get("id") == "numbers"
    )
    return json.loads(found.text)
