"""Examples have the same bits wherever they are held, and are rendered once."""

import types

import jax
import numpy as np
import pytest
from made_splits import AUDIO, GEOMETRY, NUM, Source, Split
from tiny_rooms import open_run_data

from uld_jax.datasets import files, held, kept, pipeline
from uld_jax.runtime import memory, stopping

FACTS = {"name": "simulated/mine:1.0.0"}


class Renderer(Source):
    """A source of the integers that rendered scenes are stored as."""

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        for batch in super().batches(order, first_step, changes=changes):
            yield batch | {"audio": batch["audio"].astype(np.int16)}


def hold(place, folder, renderer):
    (data,) = held.hold([renderer], Split(), place, folder, FACTS, [None])
    return data


@pytest.mark.parametrize("place", [*held.PLACES, held.NOWHERE])
def test_an_example_is_the_same_in_each_place(place, tmp_path):
    renderer = Renderer()
    data = hold(place, tmp_path, renderer)
    assert isinstance(data, pipeline.Source)
    assert len(data) == NUM
    rendered = len(renderer.given)
    order = pipeline.epoch_order(NUM, 3, seed=1, epoch=0)
    nodes = np.array([[0, 2], [1, 3], [2, 3]])
    for step, batch in enumerate(data.batches(order, nodes=lambda step: nodes)):
        rows = np.asarray(order[step])
        expected = AUDIO[rows[:, None], nodes]
        np.testing.assert_array_equal(batch["audio"], expected, strict=True)
        for key, values in GEOMETRY.items():
            values = values[rows]
            if key == "node_positions":
                values = np.take_along_axis(values, nodes[..., None], axis=1)
            np.testing.assert_array_equal(batch[key], values)
    (last,) = data.batches(order, 1)
    np.testing.assert_array_equal(last["audio"], AUDIO[np.asarray(order[1])])
    if place == held.NOWHERE:
        assert len(renderer.given) == rendered + 9
    else:
        assert {row for row, _ in renderer.given} == set(range(NUM))
        assert len(renderer.given) == rendered  # No more than was held.


@pytest.mark.parametrize("place", [*held.PLACES, held.NOWHERE])
def test_an_example_can_be_rendered_otherwise(place, tmp_path):
    renderer = Renderer()
    data = hold(place, tmp_path, renderer)
    changes = pipeline.Changes(snr_db=lambda index: 0.0)
    (batch,) = data.batches(pipeline.in_order(2, 2), changes=changes)
    assert renderer.given[-1] == (1, changes)
    assert not batch["audio"][:, 0].any()


def test_what_is_kept_on_disk_serves_later_runs(tmp_path):
    facts = (Split(), kept.signals, tmp_path, FACTS)
    assert not kept.is_kept(*facts)
    hold("disk", tmp_path, Renderer())
    assert kept.is_kept(*facts)
    later = Renderer(batches_before_failure=0)
    hold("disk", tmp_path, later)
    assert not later.given


@pytest.fixture
def room(monkeypatch):
    """Return the bytes to spare in each place, to be set by a test."""
    free = dict.fromkeys(held.PLACES, 1000)
    monkeypatch.setattr(memory, "free_on_device", lambda _: free["device"])
    monkeypatch.setattr(memory, "free_on_host", lambda: free["host"])
    usage = lambda _: types.SimpleNamespace(free=free["disk"])  # noqa: E731
    monkeypatch.setattr(held.shutil, "disk_usage", usage)
    return free


def test_the_first_place_with_room_is_chosen(room, tmp_path):
    def chosen(on_disk_already=False):
        folder = tmp_path / "not there"
        return held.choose("auto", 500, folder, on_disk_already, devices)

    devices = jax.local_devices()
    assert chosen() == "device"
    devices = devices * 3  # CPUs share one memory.
    assert chosen() == "host"
    devices = jax.local_devices()
    room["device"] = 499
    assert chosen() == "host"
    room["host"] = 499
    assert chosen() == "disk"
    room["disk"] = 499
    assert chosen() == held.NOWHERE
    assert chosen(on_disk_already=True) == "disk"
    room["device"] = None  # Not known.
    assert chosen() == "device"


def test_a_resumed_run_holds_its_signals_where_it_did(room, tmp_path, capsys):
    def chosen(asked):
        return held.choose(asked, 500, tmp_path, False, jax.local_devices(), "host")

    assert chosen("auto") == "host"
    assert not capsys.readouterr().out
    assert chosen("disk") == "disk"
    room["host"] = 499
    assert chosen("auto") == "device"
    assert "no room on the host any more" in capsys.readouterr().out


@pytest.mark.parametrize("place", held.PLACES)
def test_rendering_can_be_stopped(place, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "at_once", lambda *_: 3)
    renderer = Renderer()
    with stopping.StopFlag(seconds=-1.0), pytest.raises(stopping.Stopped, match="time"):
        hold(place, tmp_path, renderer)
    assert [row for row, _ in renderer.given] == [0, 1, 2]
    stopping.check()  # Outside, nothing stops.
    hold(place, tmp_path, renderer)


@pytest.mark.parametrize("place", held.PLACES)
def test_a_place_with_too_little_room_is_refused(place, room, tmp_path):
    assert held.choose(place, 1000, tmp_path, False, jax.local_devices()) == place
    with pytest.raises(
        files.DatasetError, match=f"only 1e-06 GB of the {place} .*held_on"
    ):
        held.choose(place, 2_000_000, tmp_path, False, jax.local_devices())


def test_memory_that_is_free_is_read_where_linux_writes_it(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_on_host() == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory.free_on_host() == 4000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free_on_host() == 1500
    stats = {"bytes_limit": 1000, "bytes_in_use": 500}
    device = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert memory.free_on_device(device) == 400
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert memory.free_on_host() is None


def test_training_on_compact_data_is_on_the_prepared_examples(tmp_path, capsys):
    """At some nodes, too: gain and SNR are those of the whole scene."""
    batches = {}
    for source, place in (("prepared", "disk"), ("compact", "device")):
        data = open_run_data(tmp_path, source, **{"data.held_on": place})
        (batches[source],) = data.training_batches(0, 1)
    for key, values in batches["prepared"].items():
        # To the last bit with the default compiler: see `test_compact`.
        atol = 1 if key == "audio" else 0
        np.testing.assert_allclose(batches["compact"][key], values, atol=atol, rtol=0)
    printed = capsys.readouterr().out
    assert "Signals of 8 examples, 0.000512 GB, are read from disk" in printed
    assert "are held on the device" in printed
