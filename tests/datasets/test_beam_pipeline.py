"""Data sets built with Apache Beam; each run of worker processes takes seconds."""

import importlib
import os
import signal
import sys

import pytest
from test_simulated import factory, hashes

from uld_jax_data import shards
from uld_jax_data.simulated import simulated_dataset_builder as simulated

pytest.importorskip("apache_beam", reason="needs Beam: pip install '.[beam]'")

from uld_jax_data import beam_pipeline

IN_MEMORY = "--direct_running_mode=in_memory"


def finished(data_dir):
    """Return the finished shards of an unfinished build, with their times."""
    work = data_dir / "simulated" / "l1_tiny" / "1.0.0.incomplete"
    return {path.name: path.stat().st_mtime_ns for path in work.glob("*-of-0000?")}


class Fails(simulated.Builder, skip_registration=True):
    """A builder that makes three shards."""

    name = "simulated"
    made = 0

    def shard(self, split, shard):
        if self.made == 3:
            self.fail()
        self.made += 1
        yield from super().shard(split, shard)

    def fail(self):
        raise RuntimeError("the disk fell over")


class Dies(Fails, skip_registration=True):
    """A builder that ends its process after three shards."""

    name = "simulated"

    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)


class MakesOnce(simulated.Builder, skip_registration=True):
    """A builder that makes no shard a second time."""

    name = "simulated"
    made: frozenset = frozenset()

    def shard(self, split, shard):
        if (split, shard) in self.made:
            raise RuntimeError(f"shard {shard} of {split} was made before")
        self.made |= {(split, shard)}
        yield from super().shard(split, shard)


def test_two_worker_processes_write_the_bytes_of_the_pool(tiny_path, tmp_path):
    executor = beam_pipeline.executor(num_workers=2)
    path = shards.prepare(factory(simulated.Builder, tmp_path), executor)
    assert path == tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    assert hashes(path) == hashes(tiny_path)
    assert {p.name for p in path.iterdir()} == {p.name for p in tiny_path.iterdir()}


def test_a_failure_is_reported_and_a_second_run_writes_the_rest(tiny_path, tmp_path):
    executor = beam_pipeline.executor(IN_MEMORY, num_workers=1)
    message = "the disk fell over.*finished shards are kept: run again"
    with pytest.raises(shards.PrepareError, match=message):
        shards.prepare(factory(Fails, tmp_path), executor)
    kept = finished(tmp_path)
    assert len(kept) == 3
    # Every bundle is run twice, as if Beam had lost track of it; the second worker
    # of this process does nothing anew.
    again = beam_pipeline.executor(
        f"{IN_MEMORY} --direct_runner_bundle_repeat=1", num_workers=1
    )
    path = shards.prepare(factory(MakesOnce, tmp_path), again)
    assert hashes(path) == hashes(tiny_path)
    for name, written in kept.items():
        assert (path / name).stat().st_mtime_ns == written


def test_the_death_of_a_worker_is_noticed(tmp_path):
    """Left alone, Beam's local runner may wait without an end."""
    with pytest.raises(shards.PrepareError, match="a worker process died"):
        shards.prepare(factory(Dies, tmp_path), beam_pipeline.executor(num_workers=1))
    assert len(finished(tmp_path)) == 3


def test_the_mode_that_loses_records_is_refused():
    with pytest.raises(
        shards.PrepareError, match="multi_threading silently loses records"
    ):
        beam_pipeline.executor("--direct_running_mode=multi_threading")


def test_options_that_are_no_command_line_are_refused():
    with pytest.raises(shards.PrepareError, match="No closing quotation"):
        beam_pipeline.executor("--runner='FlinkRunner")


def test_a_runner_that_does_not_exist_is_reported(tmp_path):
    executor = beam_pipeline.executor("--runner=NoRunner")
    with pytest.raises(shards.PrepareError, match="Unexpected pipeline runner: NoRunn"):
        shards.prepare(factory(simulated.Builder, tmp_path), executor)


def test_beam_that_is_not_installed_is_reported(monkeypatch):
    monkeypatch.delitem(sys.modules, "uld_jax_data.beam_pipeline")
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(shards.PrepareError, match=r"pip install 'uld-jax\[beam\]'"):
        importlib.import_module("uld_jax_data.beam_pipeline")


def test_beam_brings_no_tensorflow():
    assert "tensorflow" not in sys.modules
