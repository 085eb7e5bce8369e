"""Training: the step, the loop over epochs, a run's state and reports, sweeps.

- `train`: `train_and_evaluate`: check, prepare, lock the folder, train and test.
- `loop`: The loop over epochs and steps, and the test of the best epoch.
- `step`: The training step: state in, state out, all of it jitted.
- `run`: A run's data, network, state, history and checkpoints.
- `reporting`: Log lines, TensorBoard, the record and predictions.
- `history`: What a checkpoint's note and the record hold.
- `optimizer`: AdamW, the learning rate over the epochs, the plateau rule.
- `nonfinite`: Notes on skipped training steps.
- `initialization`: Start from another run's network.
- `benchmark`: Run a benchmark of a network or a label. `benchmark_entries`: whose.
- `reproduction`: The command that trains a network again, from its record.
- `speech_masks`: Train the network of speech masks, which has a loop of its own.
- `sweep`: Plan the runs of an experiment. `workers`: do them here. `cluster`: on Ray.
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
        "benchmark",
        "benchmark_entries",
        "cluster",
        "history",
        "initialization",
        "loop",
        "nonfinite",
        "optimizer",
        "reporting",
        "reproduction",
        "run",
        "speech_masks",
        "step",
        "sweep",
        "train",
        "workers",
    ],
    submod_attrs={"train": ["train_and_evaluate"]},
)
