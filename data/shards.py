"""Prepare a data set shard by shard; a stopped build resumes.

Shards are written to a folder whose name ends in `.incomplete`. When all are complete,
the metadata and then the checksums of all files are written, and the folder is renamed:
a data set is either whole or absent.

An executor writes the shards: that of `pool` in processes of this machine, that of
`beam_pipeline` wherever Apache Beam runs.
"""

import dataclasses
import functools
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Callable

import jax
import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

import uld_jax
from uld_jax.datasets import files
from uld_jax.runtime import errors, progress
from uld_jax.storage import atomic, locking

WORKER_DIED = (
    "a worker process died, perhaps for lack of memory; finished shards are kept: run "
    "again, with fewer --processes"
)
_FINGERPRINT = "build.json"


class PrepareError(errors.InputError):
    """A data set that could not be prepared, with the reason."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a data set, and its examples."""

    split: str
    index: int
    path: pathlib.Path
    num_examples: int


# Makes a builder, here and in every worker. The builder has `size_of_split`,
# `shard(split, index)`, which yields the examples of `shard_range(builder, split, index)`,
# `write_beside(folder)`, `expected_bytes` and `skipped`; its configuration has
# `examples_per_shard`.
MakeBuilder = Callable[[], tfds.core.ShardBasedBuilder]

# Writes the given shards, adds their examples to the progress, and returns the files of
# the corpus that were skipped. It may fail after it has written some shards.
Executor = Callable[[MakeBuilder, list[Shard], progress.Progress], dict[str, str]]


def num_shards(builder) -> dict[str, int]:
    """Count the files of each split of a builder's data set."""
    per_shard = builder.builder_config.examples_per_shard
    return {split: -(-n // per_shard) for split, n in builder.size_of_split.items()}


def shard_range(builder, split: str, shard: int) -> range:
    """List the indices of the examples in one file."""
    per_shard = builder.builder_config.examples_per_shard
    first = shard * per_shard
    return range(first, min(first + per_shard, builder.size_of_split[split]))


def iterators(builder) -> dict[str, list[Callable]]:
    """Make one generator per shard, by split, for `tfds build`."""
    return {
        split: [functools.partial(builder.shard, split, s) for s in range(count)]
        for split, count in num_shards(builder).items()
    }


def prepare(make_builder: MakeBuilder, executor: Executor) -> pathlib.Path:
    """Build a data set unless it exists.

    If another process builds the same one, wait until it is done.

    Args:
        make_builder: Makes the builder; it is sent to the workers.
        executor: Writes the missing shards: `pool.executor()`, for example.

    Returns:
        The data set's folder.

    Raises:
        PrepareError: If the disk is too small, the folder holds something else, or
            shards have the wrong number of examples.
        errors.LockedError: If the file system has no locks.
        CorpusError: If the corpus has no usable speech.
    """
    builder = make_builder()
    final = pathlib.Path(builder.data_dir)
    if _is_there(final):
        return final
    work = final.with_name(final.name + ".incomplete")
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrepareError(
            f"{str(work.parent)!r} cannot be created: {error.strerror}; choose another "
            "--config.data.dir"
        ) from None
    with locking.hold(work.with_suffix(".lock"), wait=True):
        if _is_there(final):  # Another process has built it meanwhile.
            return final
        _open_work_folder(work, builder)
        shards = list_shards(builder, work)
        missing = [shard for shard in shards if not shard.path.exists()]
        _check_disk(work, builder, len(missing) / len(shards))
        if missing:
            _write_missing(make_builder, executor, missing, shards)
        builder.write_beside(work)
        _write_metadata(builder, work, shards)
        work.rename(final)
        atomic.sync_folder(final.parent)
        _aside(work).unlink()
    return final


def _is_there(final: pathlib.Path) -> bool:
    """Check whether a data set is there; refuse anything else there."""
    if files.is_prepared(final):
        return True
    if final.exists():
        raise PrepareError(
            f"{str(final)!r} holds no whole data set; remove it and prepare it again"
        )
    return False


def _aside(work: pathlib.Path) -> pathlib.Path:
    """Get the fingerprint's path while the whole folder waits to be renamed."""
    # A data set and its checksums do not include the fingerprint, but a build killed
    # just before the renaming needs it to resume.
    return work.with_suffix(f".{_FINGERPRINT}")


def _open_work_folder(work: pathlib.Path, builder) -> None:
    """Resume an earlier attempt at the same build; refuse shards of another."""
    marker = work / _FINGERPRINT
    if work.exists() and not _belongs_to(builder, work, _aside(work)):
        if any(not path.name.endswith(".part") for path in work.glob("*-of-*")):
            raise PrepareError(
                f"{str(work)!r} holds an unfinished build from other speech, noise, "
                "settings or versions; give the same to resume it, remove it, or choose "
                "another --config.data.dir"
            )
        shutil.rmtree(work)
    work.mkdir(exist_ok=True)
    atomic.write_bytes(marker, _fingerprint(builder).encode())


def check_folder(builder, work: pathlib.Path) -> None:
    """Check that a folder is that of this builder's build.

    Raises:
        PrepareError: If a worker sees another folder than the launching process, has
            other versions installed, or has outlived the build it worked for.
    """
    if not _belongs_to(builder, work):
        raise PrepareError(
            f"on {platform.node()}, {str(work)!r} is not the folder of a build of the "
            "same content; give all workers the same storage, speech and versions"
        )


def _belongs_to(builder, work: pathlib.Path, *others: pathlib.Path) -> bool:
    """Check whether a folder, or else another file, has a builder's fingerprint."""
    for marker in (work / _FINGERPRINT, *others):
        if marker.exists():
            return marker.read_text() == _fingerprint(builder)
    return False


def _fingerprint(builder) -> str:
    return json.dumps(
        {
            "version": str(builder.version),
            "origin": dict(builder.info.metadata),
            "features": builder.info.features.to_json(),
            "sizes": builder.size_of_split,
            "shards": num_shards(builder),
            # The last bits of a signal may depend on them.
            "made by": [uld_jax.__version__, jax.__version__, np.__version__],
        },
        sort_keys=True,
        default=str,
    )


def _template(builder, folder: pathlib.Path, split: str):
    return tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=builder.name,
        split=split,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )


def list_shards(builder, work: pathlib.Path) -> list[Shard]:
    """List all shards of a builder's data set, as files of a folder."""
    shards = []
    for split, count in num_shards(builder).items():
        template = _template(builder, work, split)
        for index in range(count):
            path = template.sharded_filepath(shard_index=index, num_shards=count)
            shards.append(
                Shard(
                    split=split,
                    index=index,
                    path=pathlib.Path(path),
                    num_examples=len(shard_range(builder, split, index)),
                )
            )
    return shards


def _check_disk(work: pathlib.Path, builder, share: float) -> None:
    needed = int(builder.expected_bytes * 1.05 * share)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise PrepareError(
            f"the rest of the data set needs {needed / 1e9:.2f} GB and "
            f"{str(work.parent)!r} has {free / 1e9:.2f} GB free; choose another folder "
            "with --config.data.dir"
        )


def _write_missing(make_builder, executor: Executor, missing, shards) -> None:
    """Let the executor write the missing shards; log the files it skipped."""
    total = sum(shard.num_examples for shard in shards)
    done = total - sum(shard.num_examples for shard in missing)
    with progress.Progress("Preparing", total, "examples", done=done) as bar:
        skipped = executor(make_builder, missing, bar)
    if skipped:
        examples = "; ".join(f"{n}: {r}" for n, r in sorted(skipped.items())[:5])
        progress.log(f"{len(skipped)} files were drawn and skipped: {examples}")


def use_one_thread() -> None:
    """Give this process, a worker, one CPU thread and no accelerator.

    Call it before JAX computes anything.
    """
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} "
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )
    import jax

    jax.config.update("jax_platforms", "cpu")


def write_shard(builder, shard: Shard) -> None:
    """Write one shard under another name, then rename it.

    Raises:
        PrepareError: If the folder is that of another build.
    """
    check_folder(builder, shard.path.parent)
    features = builder.info.features
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    with atomic.replace(shard.path, unique=True) as partial:
        writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
        for _, example in builder.shard(shard.split, shard.index):
            message = serializer.get_tf_example(features.encode_example(example))
            # Otherwise the order of the features would differ between processes.
            writer.write(message.SerializeToString(deterministic=True))
        writer.close()
        check_folder(builder, shard.path.parent)


def _write_metadata(builder, work: pathlib.Path, shards: list[Shard]) -> None:
    """Count the written examples, then write TFDS's metadata and the checksums."""
    infos = []
    for split in builder.size_of_split:
        mine = [shard for shard in shards if shard.split == split]
        counts = [num_records(shard.path) for shard in mine]
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
    for leftover in work.glob("*.part"):
        leftover.unlink()
    (work / _FINGERPRINT).rename(_aside(work))
    files.write_sums(work)


def num_records(path: pathlib.Path) -> int | None:
    """Count the examples in a shard's file; None if it is damaged."""
    reader = array_record_module.ArrayRecordReader(str(path))
    count = reader.num_records()
    try:
        reader.close()
    except RuntimeError:  # A damaged file: the count means nothing.
        return None
    return count
