"""From batches to positions, and from positions to metrics and robustness.

- `baseline`: Test a method that needs no training, as if it were a run.
- `evaluate`: A split and a network's parameters to metrics and predictions (Sec. 3.4).
- `localizers`: Whoever says where sources are: trained networks and baselines, used
  alike.
- `locate`: From the recordings of a session to positions, window by window.
- `metrics`: Errors and accuracies of predicted positions (Sec. 3.4), over N sources.
- `robustness`: Finished runs, networks and baselines alike, under worse conditions.
- `seen_positions`: What a method makes of sources at the few places of a room, seen in
  training or not.
- `verify`: Tell whether runs and prepared data sets are intact, down to the last bit.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "baseline",
        "evaluate",
        "localizers",
        "locate",
        "metrics",
        "robustness",
        "seen_positions",
        "verify",
    ],
)
