"""The command that finds damage, and its exit codes."""

import functools
import os
import shutil

import made_records
import numpy as np
import pytest

from uld_jax.cli import verify as command
from uld_jax.datasets import compact
from uld_jax.evaluation import verify
from uld_jax.runtime import errors
from uld_jax.storage import atomic, checkpoints, checksums

TEST = "simulated-test.array_record-00000-of-00002"


@pytest.fixture(scope="module")
def originals(tiny_path, tmp_path_factory):
    """Return a folder with a data set and two runs in it."""
    folder = tmp_path_factory.mktemp("all")
    shutil.copytree(tiny_path, folder / "datasets" / "simulated" / "l1_tiny" / "1.0.0")
    for name in ("one", "other"):
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "settings.json").write_text("{}")
        with checkpoints.Checkpoints(run) as saved:
            for step in (1, 2):
                params = {"w": np.full(3, step, np.float32)}
                saved.save("last", step, {"params": params}, {"epoch": step})
    return folder


@pytest.fixture
def folder(originals, tmp_path):
    shutil.copytree(originals, tmp_path / "all")
    return tmp_path / "all"


def test_what_a_run_needs_to_resume_is_missed(folder):
    run = folder / "runs" / "one"
    with checkpoints.Checkpoints(run) as saved:
        params = {"w": np.zeros(3, np.float32)}
        saved.save("best", 1, {"params": params}, {"epoch": 1})
    record = made_records.record("uld") | {"status": "running", "best_epoch": 1}
    write = functools.partial(atomic.write_json, run / "record.json")
    write(record | {"epochs": [{}, {}]})
    assert verify.verify_folder(run) == ("3 checkpoints", [])
    write(record | {"epochs": [{}, {}], "best_epoch": 2})
    _, (line,) = verify.verify_folder(run)
    assert line == "best: the state of epoch 2 is not there"
    write(record | {"epochs": [{}, {}]})
    shutil.rmtree(run / "last")
    assert verify.verify_folder(run)[1] == ["last: no state is there"]
    for name in ("record.json", "settings.json"):
        (run / name).write_text("{")
        _, (line,) = verify.verify_folder(run)
        assert name in line
        assert "remove this file" in line
        (run / name).unlink()


def data_set(folder):
    return folder / "datasets" / "simulated" / "l1_tiny" / "1.0.0"


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def run(capsys, *paths):
    """Run the command; return its exit code, its lines, and what it ends with."""
    code, end = 0, ""
    try:
        command.main(None, list(map(str, paths)))
    except (errors.Failed, errors.InputError) as error:
        code, end = (1 if isinstance(error, errors.Failed) else 2), str(error)
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), end


def test_what_is_intact_is_good_and_left_as_it_is(folder, capsys):
    (folder / "datasets" / "simulated" / "l2" / "1.0.0.incomplete").mkdir(parents=True)
    before = contents(folder)
    code, lines, _ = run(capsys, folder, folder / "runs" / "one")
    assert code == 0
    assert lines == [
        f"{data_set(folder)}: good (80 examples; checksums of all files match)",
        f"{folder / 'runs' / 'one'}: good (2 checkpoints)",
        f"{folder / 'runs' / 'other'}: good (2 checkpoints)",
    ]
    assert contents(folder) == before


def test_each_damage_is_reported_and_nothing_else(folder, capsys):
    path = data_set(folder)
    content = bytearray((path / TEST).read_bytes())
    content[300_000] ^= 4
    (path / TEST).write_bytes(content)
    (path / "metadata.json").unlink()
    code, lines, end = run(capsys, folder)
    assert code == 1
    assert lines[:2] == [
        f"{path}: damaged: metadata.json: not there",
        f"{path}: damaged: {TEST}: not the bytes that were written",
    ]
    assert len(lines) == 4 and all(": good (2 check" in line for line in lines[2:])
    assert end == f"1 damaged: {path}"


def test_damaged_examples_are_counted(folder, capsys):
    """With sums and without, each is read."""
    path = data_set(folder)
    content = bytearray((path / TEST).read_bytes())
    for place in (200_000, 300_000):
        content[place] ^= 4
    (path / TEST).write_bytes(content)
    for sums in (True, False):
        code, lines, _ = run(capsys, path)
        assert code == 1
        assert len(lines) == 1 + sums
        assert f"{path}: damaged: 2 of 20 test examples: example " in lines[-1]
        assert TEST in lines[-1]
        (path / checksums.FILE_NAME).unlink(missing_ok=True)
    shutil.copy(path / "simulated-test.array_record-00001-of-00002", path / TEST)
    code, lines, _ = run(capsys, path)
    assert code == 1
    assert f"{path}: damaged: 16 of 20 test examples: example 0 " in lines[0]


def test_padding_is_compared_though_no_record_is_in_it(folder, capsys):
    path = data_set(folder)
    content = (path / TEST).read_bytes()
    (path / TEST).write_bytes(content[:-1] + b"x")
    code, lines, _ = run(capsys, path)
    assert code == 1
    assert lines == [f"{path}: damaged: {TEST}: not the bytes that were written"]
    (path / checksums.FILE_NAME).unlink()
    code, lines, _ = run(capsys, path)
    assert code == 0
    assert lines == [
        f"{path}: good (80 examples; no checksums: prepared by an early uld_jax)"
    ]


def test_a_file_that_was_not_written_here_is_reported(folder, capsys):
    path = data_set(folder)
    (path / "notes.txt").write_text("mine")
    code, lines, _ = run(capsys, path)
    assert code == 1
    assert lines == [f"{path}: damaged: notes.txt: not a file that was written here"]


def test_damaged_noise_is_reported_without_sums(folder, capsys):
    path = data_set(folder)
    (path / checksums.FILE_NAME).unlink()
    compact.write_noises(path / compact.noise_file("test"), [])
    assert run(capsys, path)[0] == 0
    (path / compact.noise_file("test")).write_bytes(b"")
    code, lines, _ = run(capsys, path)
    assert code == 1
    assert "noise-test.npz' are damaged" in lines[0]


def test_a_data_set_whose_description_is_lost_is_damaged(folder, capsys):
    path = data_set(folder)
    (path / "dataset_info.json").unlink()
    code, lines, _ = run(capsys, folder / "datasets")
    assert code == 1
    assert lines == [f"{path}: damaged: dataset_info.json: not there"]


def test_a_damaged_checkpoint_is_reported_with_its_run(folder, capsys):
    run_folder = folder / "runs" / "one"
    step = run_folder / "last" / "2"
    file = max((p for p in step.rglob("*") if p.is_file()), key=os.path.getsize)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = contents(folder)
    code, lines, end = run(capsys, folder / "runs")
    assert code == 1
    assert lines[0].startswith(f"{run_folder}: damaged: last/2: ")
    assert lines[-1] == f"{folder / 'runs' / 'other'}: good (2 checkpoints)"
    assert end == f"1 damaged: {run_folder}"
    assert contents(folder) == before


def test_what_a_run_under_way_deletes_is_no_damage(folder, monkeypatch, capsys):
    """A step may go while it is looked at; it is not there at the second look."""
    found = iter([["last/1: params: not there"], []])
    monkeypatch.setattr(checkpoints, "find_damage", lambda _: next(found))
    code, lines, _ = run(capsys, folder / "runs" / "one")
    assert (code, len(lines)) == (0, 1)


def test_a_path_that_is_neither_is_bad_input(folder, capsys):
    (folder / "empty").mkdir()
    (folder / "empty" / "around").symlink_to(folder / "empty")
    for path in (folder / "nowhere", folder / "empty", data_set(folder) / TEST):
        code, lines, end = run(capsys, folder, path)
        assert (code, lines) == (2, [])
        assert f"{str(path)!r} holds no run, no shared weights and no prepared" in end
