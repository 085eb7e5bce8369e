"""From batches to positions, and from positions to metrics and robustness.

- `baseline`: Test a method that needs no training, as if it were a run.
- `conditions`: The conditions of the robustness test: names, values and titles,
  without JAX.
- `evaluate`: A split and a network's parameters to metrics and predictions (Sec. 3.4).
- `locate`: Localize a session's recordings window by window.
- `metrics`: Errors and accuracies of predicted positions (Sec. 3.4), over N sources.
- `predict`: Predict positions with networks and with methods that need no training.
- `robustness`: Finished runs, networks and baselines alike, under worse conditions.
- `score`: Score predicted positions against the true ones (Sec. 3.4).
- `seen_positions`: What a method makes of sources at the few places of a room, seen in
  training or not.
- `verify`: Tell whether runs and prepared data sets are intact, down to the last bit.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "baseline",
        "conditions",
        "evaluate",
        "locate",
        "metrics",
        "predict",
        "robustness",
        "score",
        "seen_positions",
        "verify",
    ],
    submod_attrs={
        "metrics": [
            "accuracy",
            "best_permutation",
            "distances",
            "error_statistics",
            "mae",
            "quantization_error",
        ],
    },
)
