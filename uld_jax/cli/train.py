r"""Train and test one network.

    uld_jax train --config=l1 --workdir=runs/l1_uld
    uld_jax train --config=ad_r1 --workdir=runs/ad_r1_uld --init_from=runs/ad1_uld

The second starts from another run's network; with --config.train.epochs=0 it tests
that network as it is. All devices of the process are used; with --distributed, or with
--coordinator, --num_processes and --process_id, those of several processes.
`python -m uld_jax.main` is the same command.
"""

import contextlib
from typing import Any

from uld_jax.cli.flags import (
    CONFIG,
    DEBUG_NANS,
    INIT_FROM,
    INIT_PARTIAL,
    MINUTES,
    PREPARE,
    PROFILE,
    WORKDIR,
    Flag,
)
from uld_jax.runtime import errors, progress

FLAGS = (
    CONFIG,
    WORKDIR,
    INIT_FROM,
    MINUTES,
    PREPARE,
    INIT_PARTIAL,
    DEBUG_NANS,
    PROFILE,
    Flag(
        "distributed",
        "bool",
        "Train in several processes that the cluster has started.",
        default=False,
    ),
    Flag("coordinator", "string", "HOST:PORT of process 0, where no cluster sets it."),
    Flag("num_processes", "integer", "Number of processes.", least=1),
    Flag("process_id", "integer", "Number of this process, from 0.", least=0),
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Run the configuration, or resume it."""
    import jax

    from uld_jax.runtime import distributed, jax_setup

    jax_setup.configure()
    processes = values.coordinator, values.num_processes, values.process_id
    if values.distributed or any(value is not None for value in processes):
        distributed.join(*processes)
    with contextlib.ExitStack() as settings:
        if values.debug_nans:
            settings.enter_context(jax.debug_nans(True))
            settings.enter_context(jax.debug_infs(True))
        _train(values)


def _train(values) -> None:
    from uld_jax.networks import speech_mask
    from uld_jax.training import initialization, speech_masks, train

    config = initialization.settle(values.config, values.init_from, values.init_partial)
    record = train.train_and_evaluate(
        config,
        values.workdir,
        seconds=None if values.minutes is None else 60 * values.minutes,
        profile=values.profile,
        prepare=values.prepare,
    )
    check(record, values.workdir)
    if config.model.name == speech_mask.NAME:
        progress.log(speech_masks.describe(record))
        return
    if record["converged"] is False:
        progress.log(
            "The run did not converge: its validation MAE is not well below the "
            f"{record['input_free_mae']:.2f} m of a position that ignores the input, or "
            'got worse at the end. Tables show "/" for it.'
        )
    test = record["test"]
    for line in describe_gain(test, record.get("test_before")):
        progress.log(line)
    progress.log(
        f"Test: MAE {test['mae']:.3f} m, ACC {100 * test['accuracy']:.2f} %, median "
        f"{test['median']:.3f} m; quantization error {test['quantization_error']:.3f} m"
    )


def describe_gain(test: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    """Describe what training gained over the network that it began with.

    Args:
        test: Scores of the test.
        before: Those of the network before training; None if there is none.
    """
    if before is None:
        return []

    def compare(old, new):
        return f"MAE {old['mae']:.3f} m before, {new['mae']:.3f} m after"

    lines = [f"Fine-tuning: {compare(before, test)}"]
    for name in ("unseen", "seen"):
        if old := before.get(name):
            new = test[name]
            count = f"{new['places']} place{'s' * (new['places'] != 1)}"
            lines.append(f"  at {count} {name} in training: {compare(old, new)}")
    return lines


def check(record: dict[str, Any], workdir: Any) -> None:
    """Raise unless a run is done.

    Raises:
        errors.Failed: With the reason, and an exit code of its own for a collapse.
    """
    if record["status"] != "done":
        reason = f": {record['reason']}" if record.get("reason") else ""
        collapsed = record["status"] == "collapsed"
        raise errors.Failed(
            f"the run has {record['status']}: {workdir}{reason}",
            errors.EXIT_COLLAPSED if collapsed else errors.EXIT_FAILED,
        )
