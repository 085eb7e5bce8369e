"""Data sets: prepare them, and open them as batches of examples.

- `files`: the files of a prepared data set, checked when opened; `DatasetError`.
- `splits`: one split, example by example; the fields of a batch.
- `pipeline`: the `Source` of batches; data read from disk; orders.
- `compact`: compact data sets, rendered batch by batch.
- `kept`: what a network needs of the signals, or the signals, kept on disk.
- `held`: examples held on the device, in memory or on disk, rendered once.
- `on_the_fly`: new rooms for every training step.
- `mixtures`: fresh mixtures of speech and noise, with both parts apart.
- `perturbations`: fewer nodes, wrong clocks, positions and gains.
- `prepare`: prepare the data set of an experiment, where it is missing.
- `origin`: checks that a prepared data set is made of what the settings ask for.
- `sources`: open data as the settings ask for.
- `loader`: the data of a run.
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
        "compact",
        "files",
        "held",
        "loader",
        "mixtures",
        "perturbations",
        "pipeline",
        "prepare",
        "splits",
    ],
)
