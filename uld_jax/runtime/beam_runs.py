"""Run pipelines of Apache Beam in a process of their own, which can be ended.

Beam is imported when one is run: the package works without it.
"""

import functools
import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from uld_jax.runtime import errors, progress, worker_processes

_SECONDS_BETWEEN_LOOKS = 1.0
_DEFAULT_FLAGS = (
    "--direct_running_mode=multi_processing",
    "--default_sdk_harness_log_level=ERROR",
    # Nothing in our pipelines depends on it, but without it the local runner switches to
    # Prism, which it downloads, and whose workers are threads of one process.
    "--allow_unsafe_triggers",
)


class BeamError(errors.InputError):
    """A pipeline that cannot be run, or has failed, with the reason."""


class WorkerDied(BeamError):
    """A worker process of this machine that has died."""


def parse_options(options: str = "") -> list[str]:
    """Split the options of a pipeline, and check them.

    Args:
        options: As on a command line. Without a runner among them, worker processes of
            this machine do the work.

    Raises:
        BeamError: If they cannot be parsed, or would lose data; or Beam is missing.
    """
    try:
        flags = shlex.split(options)
    except ValueError as error:
        raise BeamError(f"--beam_options={options!r}: {error}") from None
    try:
        from apache_beam.options import pipeline_options
    except ModuleNotFoundError as missing:
        raise BeamError(
            f"Apache Beam is not installed ({missing}): pip install 'uld-jax[beam]'"
        ) from None
    direct = _parse(flags).view_as(pipeline_options.DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise BeamError(
            "direct_running_mode=multi_threading silently loses records (seen with "
            "Apache Beam 2.77); use multi_processing or in_memory"
        )
    return flags


def run_all(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    flags: Sequence[str],
    num_workers: int,
    watch: Callable[[], None],
) -> str:
    """Call a function with each item, wherever the pipeline runs; drop the results.

    Workers have one thread each, and log nothing.

    Args:
        function: Sent to the workers, with the items. Beam may call it twice with one,
            even at once.
        items: What it is called with.
        flags: From `parse_options`.
        num_workers: Most processes, if they are this machine's.
        watch: See `run`.

    Returns:
        See `run`.

    Raises:
        BeamError: See `run`.
    """
    add_steps = functools.partial(_add_calls, function, list(items))
    return run(add_steps, flags, min(num_workers, len(items)), watch)


def _add_calls(function, items, pipeline) -> None:
    import apache_beam as beam

    _ = (
        pipeline
        | "Items" >> beam.Create(items)
        | "Spread" >> beam.Reshuffle()
        | "Call" >> beam.Map(functools.partial(_call, function))
    )


def _call(function, item) -> None:
    worker_processes.use_one_core()
    progress.silence()
    function(item)


def run(
    add_steps: Callable[[Any], None],
    flags: Sequence[str],
    num_workers: int,
    watch: Callable[[], None],
) -> str:
    """Run a pipeline in a process of its own until it ends.

    Args:
        add_steps: Adds the steps to a pipeline of Beam; sent to that process.
        flags: From `parse_options`.
        num_workers: Worker processes, if they are this machine's.
        watch: Called about every second. What it raises ends the pipeline, which is
            cancelled where its runner can do that.

    Returns:
        The state in which it ended.

    Raises:
        WorkerDied: If a worker process of this machine died.
        BeamError: If the pipeline failed, with the reason.
    """
    # A process can be ended, whatever Beam waits for in it: with two workers, its local
    # runner waits forever for one that died, and at an interrupt for all work.
    flags = [f"--direct_num_workers={num_workers}", *flags]
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_drive, args=(sender, add_steps, flags))
    process.start()
    sender.close()
    try:
        while not receiver.poll(_SECONDS_BETWEEN_LOOKS):
            watch()
        state, failure = receiver.recv()
    except EOFError:
        raise WorkerDied("a worker process died, perhaps for lack of memory") from None
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
        receiver.close()
    if failure:
        raise BeamError(f"Apache Beam: {failure}")
    return state


def _parse(flags: Sequence[str]):
    from apache_beam.options import pipeline_options

    return pipeline_options.PipelineOptions([*_DEFAULT_FLAGS, *flags])


def _drive(sender, add_steps: Callable[[Any], None], flags: Sequence[str]) -> None:
    """Run the pipeline; send the state in which it ended, and why it failed if it did."""
    running = []

    def stop(*_):
        try:
            for result in running:
                result.cancel()
        finally:
            os.killpg(0, signal.SIGKILL)

    def notice(arguments):
        threading.__excepthook__(arguments)
        if arguments.thread is not None and arguments.thread.name == "run_worker":
            os.killpg(0, signal.SIGKILL)

    # In a separate group with its workers: an interrupt from the keyboard reaches the
    # parent alone, and all of them can be ended at once.
    os.setpgrp()
    signal.signal(signal.SIGTERM, stop)
    worker_processes.end_with_parent(signal.SIGTERM)
    threading.excepthook = notice
    # Workers on this machine find the modules that this process finds.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        import apache_beam as beam

        pipeline = beam.Pipeline(options=_parse(flags))
        add_steps(pipeline)
        running.append(pipeline.run())
        sender.send((str(running[0].wait_until_finish()), ""))
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        sender.send(("", lines[-1] if lines else repr(error)))
