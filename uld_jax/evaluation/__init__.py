"""Predict positions, score them, and test networks and methods on data sets.

- `baseline`: Test a method that needs no training as if it were a run.
- `benchmark_scores`: Errors of a benchmark with intervals, and paired differences.
- `clock_health`: What a recording shows of its clocks, and whether that is enough.
- `conditions`: Names, values and titles of the robustness test's conditions, without JAX.
- `doctor`: Examine a session: its signals, its nodes, its talkers.
- `evaluate`: Evaluate networks and methods on a split: metrics and predictions (Sec. 3.4).
- `example_session`: A small session to look at, from built-in speech.
- `geometry`: Whether the places of nodes can determine positions, and look right.
- `health_record`: The record of an examined session, as JSON and text.
- `locate`: Localize a session's recordings window by window.
- `many_sessions`: Locate many sessions, in processes or by Apache Beam.
- `metrics`: Errors and accuracies of predicted positions (Sec. 3.4), over N sources.
- `plan_record`: A plan of where nodes are placed, as sentences, tables and a record.
- `predict`: Predict positions with networks and with methods that need no training.
- `radius_maps`: Where in the room the places of nodes can determine a position.
- `robustness`: Test finished runs under worse conditions, networks and methods alike.
- `score`: Score predicted positions against the true ones (Sec. 3.4).
- `seen_positions`: Scores at the few source positions of one room, seen in training or not.
- `session_clocks`: Correct clocks of a recording where few of its windows are determined.
- `session_errors`: Errors of a located recording whose true positions are known.
- `session_record`: All that was found in a session, as JSON.
- `turns`: Talkers' turns: windows one after the other at one place.
- `verify`: Verify that runs, shared weights and data sets are intact, to the last bit.
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
        "baseline",
        "benchmark_scores",
        "clock_health",
        "conditions",
        "doctor",
        "evaluate",
        "example_session",
        "geometry",
        "health_record",
        "locate",
        "many_sessions",
        "metrics",
        "plan_record",
        "predict",
        "radius_maps",
        "robustness",
        "score",
        "seen_positions",
        "session_clocks",
        "session_errors",
        "session_record",
        "verify",
    ],
    submod_attrs={
        "metrics": [
            "accuracy",
            "best_permutation",
            "distances",
            "error_statistics",
            "highest_density_region",
            "mae",
            "quantization_error",
        ],
    },
)
