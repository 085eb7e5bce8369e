r"""Train several runs in one program, as a sweep does with --together.

    python -m uld_jax.together --config=experiments/ad1.py --workdir=runs/ad1 \
        --runs='{"uld_I4_seed0": {"label.resolution": 4},
                 "uld_I8_seed0": {"label.resolution": 8}}'

The runs differ in seed and, of networks for scattered nodes, in resolution. Each has a
folder of its own in --workdir, by its name, as uld_jax.main makes it.
"""

import json
import pathlib

from absl import flags

from uld_jax import (
    commands,
    datasets,
    initialization,
    locking,
    progress,
    run_data,
    train_together,
    workdirs,
)
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
_RUNS = flags.DEFINE_string(
    "runs", None, "JSON: by the name of each run its settings by key.", required=True
)
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")
_MINUTES = flags.DEFINE_float("minutes", None, "Save and stop after so long.", 0.0)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Folder of runs of the same names, to begin from their networks."
)
_INIT_PARTIAL = flags.DEFINE_bool(
    "init_partial", False, "Take what fits of their parameters; the rest begins anew."
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Trace some steps into the folder profile of one of the runs."
)


def _plan() -> dict[str, config_lib.ConfigDict]:
    """Return the settings of each run by name."""
    try:
        runs = json.loads(_RUNS.value)
        overrides = {name: dict(changes) for name, changes in runs.items()}
    except (ValueError, TypeError, AttributeError):
        raise config_lib.ConfigError(
            f"--runs is {_RUNS.value!r}; it must be a JSON object as in "
            '{"uld_I4_seed0": {"label.resolution": 4}}'
        ) from None
    train_together.check_names(overrides)
    if not overrides:
        raise config_lib.ConfigError("--runs names no run; name at least one")
    configs = {}
    for name, changes in overrides.items():
        config = _CONFIG.value.copy_and_resolve_references()
        try:
            config.update_from_flattened_dict(changes)
        except (KeyError, TypeError, ValueError) as error:
            raise config_lib.ConfigError(f"--runs: {name}: {error}") from None
        folder = _INIT_FROM.value and str(pathlib.Path(_INIT_FROM.value) / name)
        configs[name] = initialization.settle(config, folder, _INIT_PARTIAL.value)
    return configs


def main(_) -> None:
    """Run the group, or go on with it."""
    configs = _plan()
    base = pathlib.Path(_WORKDIR.value).expanduser()
    workdirs.check_for_many(base)
    for name, config in configs.items():
        workdirs.check(base / name, config_lib.to_dict(config))
    config = next(iter(configs.values()))
    splits = run_data.needed_splits(config)
    datasets.ensure_prepared(config, allowed=_PREPARE.value, splits=splits)
    seconds = None if _MINUTES.value is None else 60 * _MINUTES.value
    outcomes = train_together.train_and_evaluate(configs, base, seconds, _PROFILE.value)
    for name, outcome in outcomes.items():
        if isinstance(outcome, dict) and outcome["status"] == "done":
            test = outcome["test"]
            progress.say(
                f"{name}: test MAE {test['mae']:.3f} m, ACC "
                f"{100 * test['accuracy']:.2f} %, median {test['median']:.3f} m"
                + ("" if outcome.get("converged", True) else "; it did not converge")
            )
    failed = [": ".join(pair) for pair in train_together.unfinished(outcomes)]
    if failed:
        raise commands.Failed(
            f"{len(failed)} of {len(outcomes)} runs failed: {'; '.join(failed)}"
        )
    if elsewhere := train_together.at_work_elsewhere(outcomes):
        raise locking.LockedError(
            f"{len(elsewhere)} of {len(outcomes)} runs are at work elsewhere: "
            f"{', '.join(elsewhere)}; the others are done, and the same command looks "
            "again"
        )


if __name__ == "__main__":
    commands.run(main)
