"""Training: the step, the loop over epochs, a run's state, sweeps.

- `history`: What is known of a run besides its state: the note beside a checkpoint.
- `initialization`: A network that begins from another run's: fine-tuning and zero-shot
  tests (Sec. 3.3).
- `loop`: The training of one run: its epochs, step by step, and the test (Sec. 3.3).
- `nonfinite`: Training steps that were not applied, since their loss or gradient was
  not finite.
- `optimizer`: AdamW, its learning rate over the epochs, and the early stop (Sec. 3.3).
- `run`: One training run: epochs, checkpoints, the best network's test, the record
  (Sec. 3.3).
- `step`: The training step: state in, state out, all of it jitted (Sec. 3.3).
- `sweep`: The runs of an experiment for several schemes, resolutions and seeds.
- `train`: Training: a run's folder, its lock, and what is in it already (Sec. 3.3).
- `workers`: Runs that many workers share: each takes what is free, and nothing
  schedules them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "history",
        "initialization",
        "loop",
        "nonfinite",
        "optimizer",
        "run",
        "step",
        "sweep",
        "train",
        "workers",
    ],
)
