"""Write shards with Apache Beam, on one machine or on a cluster.

Only the numbers of shards go through the pipeline. A worker makes the builder once and
writes its shards itself. So a shard that is written twice, perhaps by a worker that Beam
has given up, is the same file as one that is written once.
"""

import functools
import json
import multiprocessing
import os
import pathlib
import shlex
import signal
import sys
import threading
import uuid
from collections.abc import Iterator

from uld_jax.runtime import progress
from uld_jax.storage import atomic
from uld_jax_data import shards

try:
    import apache_beam as beam
    from apache_beam.options import pipeline_options
except ModuleNotFoundError as missing:
    raise shards.PrepareError(
        f"Apache Beam is not installed ({missing}): pip install 'uld-jax[beam]'"
    ) from missing

_SECONDS_BETWEEN_LOOKS = 1.0
_DEFAULT_FLAGS = (
    "--direct_running_mode=multi_processing",
    "--default_sdk_harness_log_level=ERROR",
    # Nothing in this pipeline depends on it, but without it the local runner switches to
    # Prism, which it downloads, and whose workers are threads of one process.
    "--allow_unsafe_triggers",
)


def executor(options: str = "", num_workers: int | None = None) -> shards.Executor:
    """Make an executor that writes shards with a Beam pipeline.

    Args:
        options: Options of the pipeline, as on a command line. Without a runner among
            them, worker processes of this machine do the work.
        num_workers: Number of these processes, by default one per core.

    Raises:
        shards.PrepareError: If the options cannot be parsed, or would lose data.
    """
    try:
        flags = shlex.split(options)
    except ValueError as error:
        raise shards.PrepareError(f"--beam_options={options!r}: {error}") from None
    direct = _parse(flags).view_as(pipeline_options.DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise shards.PrepareError(
            "direct_running_mode=multi_threading silently loses records (seen with "
            "Apache Beam 2.77); use multi_processing or in_memory"
        )
    return functools.partial(
        _write, flags=flags, num_workers=num_workers or os.cpu_count() or 1
    )


def _parse(flags: list[str]) -> pipeline_options.PipelineOptions:
    return pipeline_options.PipelineOptions([*_DEFAULT_FLAGS, *flags])


def _write(
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    bar: progress.Progress,
    *,
    flags: list[str],
    num_workers: int,
) -> dict[str, str]:
    """Run the pipeline in a separate process, and watch for finished shards."""
    # A process can be ended, whatever Beam waits for in it: with two workers, its local
    # runner waits forever for one that died, and at an interrupt for all work.
    flags = [f"--direct_num_workers={min(num_workers, len(missing))}", *flags]
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_drive, args=(sender, make_builder, missing, flags)
    )
    process.start()
    sender.close()
    left = list(missing)
    try:
        while not receiver.poll(_SECONDS_BETWEEN_LOOKS):
            left = _count_finished(left, bar)
        skipped, failure = receiver.recv()
    except EOFError:
        skipped, failure = {}, shards.WORKER_DIED
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    left = _count_finished(left, bar)
    if failure:
        raise shards.PrepareError(failure)
    if left:
        raise shards.PrepareError(
            f"Apache Beam has ended, but {len(left)} shards are missing (first: "
            f"{str(left[0].path)!r}); run again"
        )
    return skipped


def _count_finished(
    left: list[shards.Shard], bar: progress.Progress
) -> list[shards.Shard]:
    """Add newly finished shards to the progress; return those still missing."""
    there = set(left[0].path.parent.iterdir()) if left else set()
    for shard in left:
        if shard.path in there:
            bar.update(shard.num_examples)
    return [shard for shard in left if shard.path not in there]


def _drive(
    sender,
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    flags: list[str],
) -> None:
    """Run the pipeline; send the skipped files, and why it failed if it did."""
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
    shards.end_with_parent(signal.SIGTERM)
    threading.excepthook = notice
    # Workers on this machine find the modules that this process finds.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)

    work = missing[0].path.parent.absolute()
    report = work / f"{uuid.uuid4().hex}.report.part"
    try:
        pipeline = beam.Pipeline(options=_parse(flags))
        _add_steps(pipeline, make_builder, missing, report)
        running.append(pipeline.run())
        state = running[0].wait_until_finish()
        if not report.exists():
            raise RuntimeError(f"it ended as {state} without a report")
        sender.send((json.loads(report.read_text()), ""))
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else repr(error)
        sender.send(({}, f"Apache Beam: {reason}; finished shards are kept: run again"))


def _add_steps(
    pipeline: beam.Pipeline,
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    report: pathlib.Path,
) -> None:
    _ = (
        pipeline
        | "Shards" >> beam.Create([(shard.split, shard.index) for shard in missing])
        | "Spread" >> beam.Reshuffle()
        | "Write" >> beam.ParDo(_WriteShard(make_builder, str(report.parent)))
        | "Collect" >> beam.combiners.ToList()
        | "Report" >> beam.Map(_write_report, str(report))
    )


class _WriteShard(beam.DoFn):
    """Writes shards to the data folder, by their split and index."""

    def __init__(self, make_builder: shards.MakeBuilder, work: str):
        self._make_builder = make_builder
        self._work = pathlib.Path(work)

    def setup(self):
        """Make the builder, once in a worker."""
        shards.use_one_thread()
        self._builder = self._make_builder()
        shards.check_folder(self._builder, self._work)
        self._shards = {
            (shard.split, shard.index): shard
            for shard in shards.list_shards(self._builder, self._work)
        }

    def process(
        self, number: tuple[str, int]
    ) -> Iterator[tuple[str, int, int, dict[str, str]]]:
        """Write one shard unless it is there; return its number, count and skips."""
        shard = self._shards[number]
        # Beam may repeat a shard whose worker wrote it but could not report it.
        if not (
            shard.path.exists() and shards.num_records(shard.path) == shard.num_examples
        ):
            shards.write_shard(self._builder, shard)
        yield *number, shards.num_records(shard.path), dict(self._builder.skipped)


def _write_report(
    results: list[tuple[str, int, int, dict[str, str]]], path: str
) -> None:
    """Report the skipped files of all workers to the launching process."""
    skipped = {}
    for *_, found in results:
        skipped |= found
    with atomic.replace(pathlib.Path(path), unique=True) as partial:
        partial.write_text(json.dumps(skipped))
