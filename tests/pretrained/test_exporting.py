"""Exported networks: the same answers in a process without this package."""

import importlib.util
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import ROOT
from saved_networks import make_run
from whole_runs import call

from uld_jax.cli import export as export_command
from uld_jax.networks import build
from uld_jax.pretrained import exporting, loading, shipped
from uld_jax.runtime import errors

EXAMPLE = ROOT / "docs" / "examples" / "run_exported.py"
# Runs the example for several networks, and says which modules it has loaded.
CODE = """
import runpy, sys
import numpy as np
example = runpy.run_path(sys.argv[1])
for path in sys.argv[2:]:
    found = example["main"](path, np.load(path + ".npz", allow_pickle=False))
    np.savez(path + ".found.npz", **found)
print("|".join(sorted(sys.modules)))
"""
SAMPLES = 4096
ABSENT = ("flax", "optax", "orbax", "tensorflow", "uld_jax", "uld_jax.training")


@pytest.fixture(scope="module", autouse=True)
def needs_flatbuffers():
    pytest.importorskip("flatbuffers")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the folder of a run and its exported file, by the network's name."""
    found = {}
    for name in build.NETWORKS:
        run = make_run(tmp_path_factory.mktemp("runs") / name, name)
        record = json.loads((run / "record.json").read_text())
        record["data"]["law"]["num_samples"] = SAMPLES
        (run / "record.json").write_text(json.dumps(record))
        out = run.with_suffix(".zip")
        exporting.export(run, out)
        found[name] = run, out
    return found


def load_example():
    example = importlib.util.spec_from_file_location("run_exported", EXAMPLE)
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)
    return module


def recording_of(num_nodes, num_samples):
    rng = np.random.default_rng(num_nodes)
    room = np.array([6.0, 4.5, 2.8])
    return {
        "signals": rng.normal(size=(num_nodes, num_samples)).astype(np.float32),
        "node_positions": (rng.uniform(size=(num_nodes, 3)) * room).astype(np.float32),
        "room_size": np.float32(room),
    }


@pytest.fixture(scope="module")
def fresh(exported, tmp_path_factory):
    """Run the example in a fresh process, by name: what it found, and what is expected.

    Also the lines that it printed, and the modules that it loaded.
    """
    shared = tmp_path_factory.mktemp("shared") / "ad1_uld.zip"
    call(export_command, "ad1_uld", out=shared)
    files = exported | {"ad1_uld": ("ad1_uld", shared)}
    expected = {}
    for name, (run, path) in files.items():
        num_nodes = 5 if name in ("adhoc", "ad1_uld") else 8
        recording = recording_of(num_nodes, 32_000 if name == "ad1_uld" else SAMPLES)
        expected[name] = loading.load_network(run)(*recording.values())
        if name == "multilateration":
            recording["node_mask"] = np.ones(8, bool)
        np.savez(f"{path}.npz", **recording)
    words = [EXAMPLE, *(path for _, path in files.values())]
    told = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=shared.parent,
        check=True,
    ).stdout.splitlines()
    found = {
        name: dict(np.load(f"{path}.found.npz", allow_pickle=False))
        for name, (_, path) in files.items()
    }
    return found, expected, told[:-1], told[-1].split("|")


@pytest.mark.parametrize("name", [*build.NETWORKS, "ad1_uld"])
def test_a_fresh_process_gives_the_same_answers(fresh, name):
    found, expected, _, _ = fresh
    for key in ("positions", "distribution", "radius_90"):
        of_network = getattr(expected[name], key)
        np.testing.assert_allclose(found[name][key][0], of_network, atol=1e-4)


def test_the_example_prints_positions_and_needs_jax_alone(fresh):
    _, expected, lines, modules = fresh
    assert lines == [str(one) for one in expected.values()]
    assert not set(ABSENT) & set(modules)
    assert "jax" in modules


def test_batches_and_nodes_may_be_of_any_size(exported):
    module = load_example()
    run, out = exported["adhoc"]
    card, program = module.load(out)
    assert card["inputs"]["signals"]["shape"] == ["batch", "nodes", SAMPLES]
    network = loading.load_network(run)
    for size, num_nodes in ((1, 1), (3, 9)):
        several = [recording_of(num_nodes + k, SAMPLES) for k in range(size)]
        batch = {
            key: np.stack(
                [np.resize(one[key], several[0][key].shape) for one in several]
            )
            for key in several[0]
        }
        found = program.call(**batch)
        expected = network(*batch.values())
        np.testing.assert_allclose(found["positions"], expected.positions, atol=1e-4)
    card, program = module.load(exported["encoder_decoder"][1])
    assert card["inputs"]["signals"]["shape"] == ["batch", 8, SAMPLES]
    card, _ = module.load(exported["multilateration"][1])
    assert card["inputs"]["node_mask"] == {
        "shape": [1, 8],
        "type": "bool",
        "meaning": "whether a node is there; values of absent nodes do not matter",
    }


def test_absent_nodes_have_no_influence(exported):
    """On networks of votes, whose number of nodes is fixed, by their mask."""
    module = load_example()
    run, out = exported["multilateration"]
    recording = recording_of(8, SAMPLES)
    few = {key: one[:5] if one.ndim > 1 else one for key, one in recording.items()}
    expected = loading.load_network(run)(*few.values())
    batch = {key: one[None] for key, one in recording.items()}
    mask = np.arange(8)[None] < 5
    found = module.load(out)[1].call(**batch, node_mask=mask)
    np.testing.assert_allclose(found["positions"][0], expected.positions, atol=1e-4)


def test_the_card_describes_the_program(exported):
    _, out = exported["adhoc"]
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == ["card.json", "network.jax_export"]
        card = json.loads(archive.read("card.json"))
    assert card["name"] == "adhoc" and card["sample_rate"] == 16_000
    assert card["label"] == {"scheme": "uld", "resolution": 3}
    assert card["outputs"]["distribution"]["shape"] == ["batch", 1, 4, 4]
    assert card["radii"] is None and card["license"] is None


def test_the_same_network_gives_the_same_bytes_without_folders(exported, tmp_path):
    run, out = exported["adhoc"]
    exporting.export(run, tmp_path / "again.zip")
    data = (tmp_path / "again.zip").read_bytes()
    assert data == out.read_bytes()
    assert str(ROOT).encode() not in data and b"/site-packages/" not in data


def test_a_flipped_bit_is_noticed(exported, tmp_path):
    data = bytearray(exported["encoder_decoder"][1].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(data)
    with (
        zipfile.ZipFile(tmp_path / "damaged.zip") as archive,
        pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"),
    ):
        archive.read("network.jax_export")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("there.zip", "exists; name another file"),
        ("network.onnx", "does not end in .zip"),
        ("no/folder.zip", "is not a writable folder"),
    ],
)
def test_files_that_cannot_be_written_are_refused_first(tmp_path, out, message):
    (tmp_path / "there.zip").write_text("precious")
    with pytest.raises(exporting.ExportError, match=message):
        exporting.export("ad1_uld", tmp_path / out)
    assert (tmp_path / "there.zip").read_text() == "precious"


def test_unknown_networks_and_missing_libraries_are_named(tmp_path, monkeypatch):
    with pytest.raises(errors.InputError, match="did you mean 'ad1_uld'"):
        exporting.export("ad1_udl", tmp_path / "out.zip")
    with pytest.raises(errors.InputError, match="one run or network, not none"):
        call(export_command, out=tmp_path / "out.zip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(exporting.ExportError, match=r"pip install 'uld-jax\[export\]'"):
        exporting.export("ad1_uld", tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    assert "ad1_uld" in shipped.names()
