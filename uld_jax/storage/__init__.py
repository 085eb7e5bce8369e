"""Files of a run: records, settings, checkpoints, checksums, locks.

- `checkpoints`: The last state of a run, and its best by validation MAE: whole, or said
  to be damaged.
- `checksums`: SHA-256 sums of a folder's files, in a file beside them that knows its
  own.
- `integrity`: What a saved state has to be: that of its step, unchanged, whole, finite.
- `locking`: One process at a time in a folder.
- `records`: One JSON record per run: what was run, where, and what came out.
- `run_folder`: The folder of a run: it belongs to one run, and no other may write into
  it.
- `step_folders`: Folders of a run's steps, by number: each whole or not there, whenever
  one is killed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "checkpoints",
        "checksums",
        "integrity",
        "locking",
        "records",
        "run_folder",
        "step_folders",
    ],
)
