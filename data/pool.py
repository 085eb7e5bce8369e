"""Build a data set's shards with a pool of processes, resumably, atomically.

Finished shards lie in a folder whose name ends in `.incomplete` until all are
there and counted; then the metadata is written and the folder renamed, so that
a data set is either whole or not there. A stopped build goes on where it was.
"""

import concurrent.futures
import concurrent.futures.process
import ctypes
import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Callable

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from uld_jax import errors, input_pipeline, locking, progress

_FINGERPRINT = "build.json"
_PR_SET_PDEATHSIG = 1
_builder = None  # The builder of a worker process.


class PrepareError(errors.InputError):
    """A data set that could not be prepared, with the reason."""


@dataclasses.dataclass(frozen=True)
class _Shard:
    split: str
    index: int
    path: pathlib.Path
    num_examples: int


def prepare(
    make_builder: Callable[[], tfds.core.ShardBasedBuilder],
    num_processes: int | None = None,
) -> pathlib.Path:
    """Build a data set unless it is there; return its folder.

    Args:
        make_builder: Makes the builder, here and in every worker process. The
            builder has `shard(split, index)`, and in its configuration
            `num_shards`, `size_of_split` and `expected_bytes`.
        num_processes: Worker processes; by default one for each core.

    Raises:
        PrepareError: If the disk is too small, the folder holds something else, or
            shards have the wrong number of examples.
        locking.LockedError: If another process builds the same data set.
        corpora.CorpusError: If the corpus has no usable speech.
    """
    builder = make_builder()
    final = pathlib.Path(builder.data_dir)
    if input_pipeline.is_prepared(final):
        return final
    if final.exists():
        raise PrepareError(
            f"{str(final)!r} holds no whole data set; remove it and prepare it anew"
        )
    work = final.with_name(final.name + ".incomplete")
    work.parent.mkdir(parents=True, exist_ok=True)
    with locking.hold(work.with_suffix(".lock")):
        _open_work_folder(work, builder)
        shards = _shards(builder, work)
        missing = [shard for shard in shards if not shard.path.exists()]
        _check_disk(work, builder, len(missing) / len(shards))
        _build(make_builder, missing, shards, num_processes)
        _write_metadata(builder, work, shards)
        work.rename(final)
    return final


def _open_work_folder(work: pathlib.Path, builder) -> None:
    """Keep the shards of an earlier try only if they are of the same build."""
    config = builder.builder_config
    build = json.dumps(
        {
            "version": str(builder.version),
            "origin": dict(builder.info.metadata),
            "features": builder.info.features.to_json(),
            "sizes": config.size_of_split,
            "shards": config.num_shards,
        },
        sort_keys=True,
        default=str,
    )
    marker = work / _FINGERPRINT
    if work.exists() and not (marker.exists() and marker.read_text() == build):
        progress.say(f"An unfinished build of other content is dropped: {work}")
        shutil.rmtree(work)
    work.mkdir(exist_ok=True)
    marker.write_text(build)


def _template(builder, folder: pathlib.Path, split: str):
    return tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=builder.name,
        split=split,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )


def _shards(builder, work: pathlib.Path) -> list[_Shard]:
    config = builder.builder_config
    shards = []
    for split, num_shards in config.num_shards.items():
        template = _template(builder, work, split)
        for index in range(num_shards):
            first = index * config.examples_per_shard
            shards.append(
                _Shard(
                    split=split,
                    index=index,
                    path=pathlib.Path(
                        template.sharded_filepath(
                            shard_index=index, num_shards=num_shards
                        )
                    ),
                    num_examples=min(
                        config.examples_per_shard, config.size_of_split[split] - first
                    ),
                )
            )
    return shards


def _check_disk(work: pathlib.Path, builder, share: float) -> None:
    needed = int(builder.builder_config.expected_bytes * 1.05 * share)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise PrepareError(
            f"the rest of the data set needs {needed / 1e9:.2f} GB and "
            f"{str(work.parent)!r} has {free / 1e9:.2f} GB free; choose another folder "
            "with --config.data.dir"
        )


def _build(make_builder, missing, shards, num_processes) -> None:
    """Write the missing shards in worker processes, showing progress."""
    if not missing:
        return
    total = sum(shard.num_examples for shard in shards)
    done = total - sum(shard.num_examples for shard in missing)
    num_processes = min(num_processes or os.cpu_count() or 1, len(missing))
    skipped = {}
    with (
        progress.Progress("Preparing", total, "examples", done=done) as bar,
        concurrent.futures.ProcessPoolExecutor(
            num_processes,
            multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(make_builder,),
        ) as pool,
    ):
        futures = {pool.submit(_write_shard, shard): shard for shard in missing}
        try:
            for future in concurrent.futures.as_completed(futures):
                skipped |= future.result()
                bar.update(futures[future].num_examples)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, concurrent.futures.process.BrokenProcessPool):
                raise PrepareError(
                    "a worker process died, perhaps for lack of memory; finished "
                    "shards are kept: run again, with fewer --processes"
                ) from None
            raise
    if skipped:
        examples = "; ".join(f"{n}: {r}" for n, r in sorted(skipped.items())[:5])
        progress.say(f"{len(skipped)} files were drawn and skipped: {examples}")


def _start_worker(make_builder) -> None:
    """Give a worker process one thread of the CPU and a builder of its own."""
    global _builder
    if sys.platform == "linux":
        # Whoever kills the parent must not leave writers behind its lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )
    import jax

    jax.config.update("jax_platforms", "cpu")
    _builder = make_builder()


def _write_shard(shard: _Shard) -> dict[str, str]:
    """Write one shard under another name, then rename it; return skipped files."""
    partial = shard.path.with_name(f"{shard.path.name}.{os.getpid()}.part")
    writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
    features = _builder.info.features
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    for _, example in _builder.shard(shard.split, shard.index):
        message = serializer.get_tf_example(features.encode_example(example))
        # Otherwise the order of the features would differ from process to process.
        writer.write(message.SerializeToString(deterministic=True))
    writer.close()
    partial.rename(shard.path)
    return dict(_builder.skipped)


def _write_metadata(builder, work: pathlib.Path, shards: list[_Shard]) -> None:
    """Count what was written, then write TFDS's description of it."""
    infos = []
    for split in builder.builder_config.num_shards:
        mine = [shard for shard in shards if shard.split == split]
        counts = [_num_records(shard.path) for shard in mine]
        expected = [shard.num_examples for shard in mine]
        if counts != expected:
            wrong = [
                s for s, n in zip(mine, counts, strict=True) if n != s.num_examples
            ]
            for shard in wrong:
                shard.path.unlink()
            raise PrepareError(
                f"{len(wrong)} shards of split {split!r} had the wrong number of "
                f"examples (first: {wrong[0].path.name}) and were removed; run again"
            )
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=counts,
                num_bytes=sum(shard.path.stat().st_size for shard in mine),
                filename_template=_template(builder, work, split),
            )
        )
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(work)
    for leftover in (work / _FINGERPRINT, *work.glob("*.part")):
        leftover.unlink()


def _num_records(path: pathlib.Path) -> int:
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        return reader.num_records()
    finally:
        reader.close()
