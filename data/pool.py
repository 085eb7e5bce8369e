"""Write shards in a pool of processes of this machine."""

import concurrent.futures
import concurrent.futures.process
import functools
import multiprocessing
import os
import signal

from uld_jax.runtime import progress, worker_processes
from uld_jax_data import shards

_builder = None  # The builder of a worker process.


def executor(num_processes: int | None = None) -> shards.Executor:
    """Make an executor that writes shards in processes, by default one per core."""
    return functools.partial(_write, num_processes=num_processes or os.cpu_count() or 1)


def _write(
    make_builder: shards.MakeBuilder,
    missing: list[shards.Shard],
    bar: progress.Progress,
    *,
    num_processes: int,
) -> dict[str, str]:
    skipped = {}
    with concurrent.futures.ProcessPoolExecutor(
        min(num_processes, len(missing)),
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(make_builder,),
    ) as pool:
        futures = {pool.submit(_write_shard, shard): shard for shard in missing}
        try:
            for future in concurrent.futures.as_completed(futures):
                skipped |= future.result()
                bar.update(futures[future].num_examples)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, concurrent.futures.process.BrokenProcessPool):
                raise shards.PrepareError(shards.WORKER_DIED) from None
            raise
    return skipped


def _start_worker(make_builder: shards.MakeBuilder) -> None:
    """Give a worker process one CPU thread and its own builder."""
    global _builder
    worker_processes.end_with_parent(signal.SIGKILL)
    shards.use_one_thread()
    _builder = make_builder()


def _write_shard(shard: shards.Shard) -> dict[str, str]:
    """Write one shard; return the files skipped so far."""
    shards.write_shard(_builder, shard)
    return dict(_builder.skipped)
