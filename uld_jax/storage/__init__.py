"""Files of a run: record, settings, checkpoints, locks; each written in one piece.

- `run_folder`: The folder of a run: its files, its lock, and which run it belongs to.
- `records`: The JSON record of a run: what was run, where, and with what result.
- `settings`: Settings of a run: what identifies it, and what a record keeps of them.
- `environment`: The environment of a run, for its record: versions, commit, machine.
- `checkpoints`: The last states of a run and its best ones, verified when they are read.
- `integrity`: Checks that a saved state is the one that was saved: whole and finite.
- `checksums`: SHA-256 sums of the files of a folder.
- `atomic`: Write files in one piece: a reader finds the old content or the new one.
- `located_sessions`: The folder of outputs of many located sessions.
- `locking`: Lock a folder for one process.
- `dataset_names`: Names of data sets: the one place that knows their suffixes.
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
        "atomic",
        "checkpoints",
        "checksums",
        "dataset_names",
        "environment",
        "integrity",
        "located_sessions",
        "locking",
        "records",
        "run_folder",
        "settings",
    ],
    submod_attrs={"records": ["read_records"]},
)
