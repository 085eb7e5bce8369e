"""Write shards with Apache Beam, on one machine or on a cluster.

Only the numbers of shards go through the pipeline. A worker makes the builder once and
writes its shards itself. So a shard that is written twice, perhaps by a worker that Beam
has given up, is the same file as one that is written once.
"""

import functools
import json
import os
import pathlib
import uuid
from collections.abc import Iterator

from uld_jax.runtime import beam_runs, progress
from uld_jax.storage import atomic
from uld_jax_data import shards

try:
    import apache_beam as beam
except ModuleNotFoundError as missing:
    raise shards.PrepareError(
        f"Apache Beam is not installed ({missing}): pip install 'uld-jax[beam]'"
    ) from missing


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
        flags = beam_runs.parse_options(options)
    except beam_runs.BeamError as error:
        raise shards.PrepareError(str(error)) from None
    return functools.partial(
        _write, flags=flags, num_workers=num_workers or os.cpu_count() or 1
    )


def _write(
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    bar: progress.Progress,
    *,
    flags: list[str],
    num_workers: int,
) -> dict[str, str]:
    """Run the pipeline, and watch for finished shards."""
    report = missing[0].path.parent.absolute() / f"{uuid.uuid4().hex}.report.part"
    add_steps = functools.partial(_add_steps, make_builder, missing, report)
    left = list(missing)

    def watch():
        nonlocal left
        left = _count_finished(left, bar)

    try:
        state = beam_runs.run(add_steps, flags, min(num_workers, len(missing)), watch)
    except beam_runs.WorkerDied:
        raise shards.PrepareError(shards.WORKER_DIED) from None
    except beam_runs.BeamError as error:
        raise shards.PrepareError(
            f"{error}; finished shards are kept: run again"
        ) from None
    finally:
        watch()
    if not report.exists():
        raise shards.PrepareError(
            f"Apache Beam ended as {state} without a report; finished shards are kept: "
            "run again"
        )
    if left:
        raise shards.PrepareError(
            f"Apache Beam has ended, but {len(left)} shards are missing (first: "
            f"{str(left[0].path)!r}); run again"
        )
    return json.loads(report.read_text())


def _count_finished(
    left: list[shards.Shard], bar: progress.Progress
) -> list[shards.Shard]:
    """Add newly finished shards to the progress; return those still missing."""
    there = set(left[0].path.parent.iterdir()) if left else set()
    for shard in left:
        if shard.path in there:
            bar.update(shard.num_examples)
    return [shard for shard in left if shard.path not in there]


def _add_steps(
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    report: pathlib.Path,
    pipeline: beam.Pipeline,
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
