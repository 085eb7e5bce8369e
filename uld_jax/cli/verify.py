"""Check that runs, shared weights and prepared data sets are intact, to the last bit.

    uld_jax verify runs/l1 datasets/simulated/l1/1.0.0

Each path is the folder of a run, of shared weights or of a data set, or one above
several. Checkpoints, weights and data files are compared with their checksums and read.
Nothing is changed. Exit codes: 0 all is intact, 1 something is damaged, 2 a path holds
nothing to check.
"""

from typing import Any

from uld_jax.runtime import errors

FLAGS = ()
TAKES_PATHS = True


def main(_: Any, paths: list[str]) -> None:
    """Verify everything at or below the paths."""
    from uld_jax.evaluation import verify

    if not paths:
        raise errors.InputError("verify: name at least one folder")
    if damaged := verify.verify_all(paths):
        raise errors.Failed(f"{len(damaged)} damaged: {', '.join(damaged)}")
