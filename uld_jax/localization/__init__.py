"""Localization of recordings: votes with uncertainty, SRP-PHAT, time differences.

- `alignment`: Align nodes whose clocks are wrong, and measure how loud direct sound is at each.
- `analytic`: Evidence of times and amplitudes without the network of votes.
- `answers`: The answer of the localizer: a position, how sure it is, and what nodes say.
- `batches`: Batches of recordings for methods that need no training: checks and groups.
- `calibration`: Calibrate the clocks of a session from talkers at several places.
- `clock_fit`: Fit clock offsets, drifts and positions to times of arrival at several places.
- `clock_lines`: Fit an offset and a drift to how late each node is in the windows of a recording.
- `clock_model`: Times of arrival at nodes with clocks of their own: what is expected, and misfits.
- `clock_planning`: Predict whether clocks can be calibrated, before anything is recorded.
- `clocks`: Find how late each node is, given where the talker is.
- `compact_arrays`: Compact arrays among nodes: which nodes belong together.
- `coherence`: How much of each node's signal is sound that the other nodes receive, too.
- `doubts`: Say why an answer of the localizer cannot be trusted, and what is wrong with nodes.
- `drifts`: Find how fast clocks drift apart, from the times of arrival in many windows.
- `exchanged_nodes`: Find two nodes that are exchanged, where no position is determined.
- `fusion`: Join what votes, times and amplitudes say into one posterior.
- `late_nodes`: Find nodes whose clocks are off by the same time in several windows.
- `late_starts`: Find how late recorders are that were started after others.
- `localize`: Localize a talker with its uncertainty: votes, amplitudes and times.
- `methods`: The table of methods by name.
- `music`: Directions by multiple signal classification (MUSIC), and where they meet.
- `placement`: Find places for nodes where a talker will be localized best.
- `planning`: Predict how surely a talker can be localized, before anything is recorded.
- `posterior`: Describe a posterior over the plan: its modes, their masses, and a radius.
- `radii`: Calibrate the radius that holds 90 % of a posterior, so that it holds 90 % of talkers.
- `recordings`: Recordings as `localize` is given them: checks, the room, the nodes, windows.
- `reflections`: Find times of arrival that reflections at a room's walls explain.
- `same_places`: Find windows in which the talker was at one place, by their times of arrival.
- `session`: Localize talkers throughout a long recording and calibrate its clocks.
- `speech_masks`: Take noise out of the nodes' signals before they are correlated.
- `srp_phat`: Localization by the steered response power with phase transform (SRP-PHAT).
- `stage_wise`: Directions by networks, their intersections, and a cluster of these.
- `steered_windows`: Steered responses of many windows: how well sounds from points fit all nodes.
- `stream`: Localize a talker while signals arrive, window by window.
- `tdoa`: Localization by time differences of arrival and least squares (TDOA-LS).
- `times`: Check a position against the times at which a sound reaches the nodes.
- `tracks`: Smooth the positions of a recording's windows, past and future alike.
- `votes`: Votes of the network that comes with the package, for windows of any session.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__: list[str]
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "alignment",
        "analytic",
        "answers",
        "batches",
        "calibration",
        "clock_fit",
        "clock_lines",
        "clock_model",
        "clock_planning",
        "clocks",
        "coherence",
        "compact_arrays",
        "doubts",
        "drifts",
        "exchanged_nodes",
        "late_nodes",
        "late_starts",
        "fusion",
        "localize",
        "methods",
        "music",
        "placement",
        "planning",
        "posterior",
        "radii",
        "recordings",
        "reflections",
        "same_places",
        "session",
        "speech_masks",
        "srp_phat",
        "stage_wise",
        "steered_windows",
        "stream",
        "tdoa",
        "times",
        "tracks",
        "votes",
    ],
)
