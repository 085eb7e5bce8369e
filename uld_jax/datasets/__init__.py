"""Data sets: prepare them, and read, render or simulate their batches.

- `compact`: Compact data sets: dry excerpts and geometry, rendered on the device per
  batch.
- `files`: Prepared data sets as they lie in their folders: whole, or said not to be.
- `loader`: What a run trains, validates and tests on, from wherever its examples come.
- `on_the_fly`: Fresh rooms for every training step, rendered on the device from dry
  signals.
- `perturbations`: What makes nodes worse than simulated ones: few, out of time, out of
  place.
- `pipeline`: Prepared data to batches: from disk by Grain, or held on the device.
- `prepare`: How each kind of data set is prepared: simulated ones, and those of real
  recordings.
- `sources`: Prepare the data set an experiment names, where it is missing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "compact",
        "files",
        "loader",
        "on_the_fly",
        "perturbations",
        "pipeline",
        "prepare",
        "sources",
    ],
)
