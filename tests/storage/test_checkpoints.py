import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from uld_jax.storage import checkpoints, checksums, step_folders


def state_of(value):
    return {"params": {"w": jnp.full((2, 3), value)}, "counts": {"step": jnp.int32(1)}}


LIKE = state_of(0.0)


def save(workdir, kind, *steps):
    """Save a state under each step, by processes that end in between."""
    for step in steps:
        with checkpoints.Checkpoints(workdir) as writer:
            writer.save(kind, step, state_of(float(step)), {"epoch": step})


def value_of(restored):
    """Return the number that a restored state and its note are made of."""
    state, note = restored
    expected = state_of(float(note["epoch"]))
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    return note["epoch"]


def test_the_newest_state_and_its_note_come_back_as_numpy(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert saved.restore("last", LIKE) is None
        for step in (1, 2, 3):
            saved.save("last", step, state_of(float(step)), {"epoch": step})
    with checkpoints.Checkpoints(tmp_path) as saved:
        state, note = saved.restore("last", LIKE)
        shapes = jax.eval_shape(lambda: LIKE)
        assert value_of(saved.restore("last", shapes)) == 3
    assert note == {"epoch": 3}
    jax.tree.map(np.testing.assert_array_equal, state, state_of(3.0))
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(LIKE), strict=True):
        assert isinstance(one, np.ndarray)
        assert one.dtype == other.dtype
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["2", "3"]


def test_the_best_is_kept_beside_the_last(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 1, state_of(10.0), {})
        for step in (1, 2, 3, 4):
            saved.save("last", step, state_of(float(step)), {})
        best, _ = saved.restore("best", {"params": LIKE["params"]})
    np.testing.assert_array_equal(best["params"]["w"], 10.0)


def test_an_older_state_comes_back_by_its_step_or_its_epoch(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step in (1, 2, 3):
            saved.save("best", step, state_of(float(step)), {"epoch": 10 * step})
        state, note = saved.restore("best", LIKE, step=2)
    assert checkpoints.read_arrays(tmp_path, 10, ("params",)) is None
    assert note == {"epoch": 20}
    np.testing.assert_array_equal(state["params"]["w"], 2.0)
    arrays = checkpoints.read_arrays(tmp_path, 20, ("params", "statistics"))
    jax.tree.map(np.testing.assert_array_equal, arrays["params"], state["params"])
    assert arrays["statistics"] == {}


def test_a_repeated_step_replaces_what_a_killed_run_left(tmp_path):
    """Of this step and of later ones, which it will never come to in this way again."""
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step in (2, 6):
            saved.save("best", step, state_of(1.0), {})
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 6, state_of(2.0), {})
        state, _ = saved.restore("best", LIKE)
    np.testing.assert_array_equal(state["params"]["w"], 2.0)
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 4, state_of(3.0), {})
        state, _ = saved.restore("best", LIKE)
    np.testing.assert_array_equal(state["params"]["w"], 3.0)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["2", "4"]


def test_arrays_are_copied_before_save_returns(tmp_path, monkeypatch):
    """Its caller donates the buffers to the next step, here before a byte is written."""
    go_on = threading.Event()
    write = checkpoints._write
    monkeypatch.setattr(
        checkpoints, "_write", lambda *args: (go_on.wait(), write(*args))
    )
    host, note = np.ones((2, 3), np.float32), {"epoch": 1, "epochs": [1]}
    device = jnp.ones((500, 500))
    with checkpoints.Checkpoints(tmp_path) as saved:
        state = {"params": {"host": host, "device": device}}
        saved.save("last", 1, state, note)
        host[:] = 7.0
        note["epochs"].append(2)
        overwrite = jax.jit(lambda x: x * 7.0, donate_argnums=0)
        overwrite(device).block_until_ready()
        go_on.set()
        saved.wait()
    with checkpoints.Checkpoints(tmp_path) as saved:
        like = {
            "params": {"host": host, "device": jax.ShapeDtypeStruct((500, 500), "f4")}
        }
        state, note = saved.restore("last", like)
    np.testing.assert_array_equal(state["params"]["host"], 1.0)
    np.testing.assert_array_equal(state["params"]["device"], 1.0)
    assert note == {"epoch": 1, "epochs": [1]}


def test_reading_arrays_changes_nothing_and_opening_removes_what_is_half_saved(
    tmp_path,
):
    assert checkpoints.read_arrays(tmp_path / "new", 1, ("params",)) is None
    assert not (tmp_path / "new").exists()
    for kind in ("best", "last"):
        save(tmp_path, kind, 1, 2)
    for kind in ("best", "last"):
        step_folders.partial(tmp_path / kind, 3).mkdir()
    before = sorted(tmp_path.rglob("*"))
    arrays = checkpoints.read_arrays(tmp_path, 2, ("params",))
    np.testing.assert_array_equal(arrays["params"]["w"], 2.0)
    assert checkpoints.find_damage(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before
    with checkpoints.Checkpoints(tmp_path):
        pass
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["1", "2"]


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


MESSAGE = r"last/2' could not be saved: No space left on device; last/1 is kept\. Free"


@pytest.mark.parametrize("when", ["save", "wait", "restore", "exit"])
def test_an_error_in_the_background_is_raised_at_the_next_call(
    when, tmp_path, monkeypatch
):
    save(tmp_path, "last", 1)
    monkeypatch.setattr(checksums, "write_sums", full_disk)
    calls = {
        "save": lambda saved: saved.save("last", 3, state_of(3.0), {}),
        "wait": lambda saved: saved.wait(),
        "restore": lambda saved: saved.restore("last", LIKE),
        "exit": lambda saved: saved.__exit__(None, None, None),
    }
    saved = checkpoints.Checkpoints(tmp_path)
    saved.save("last", 2, state_of(2.0), {})
    with pytest.raises(checkpoints.CheckpointError, match=MESSAGE):
        calls[when](saved)
    saved.__exit__(None, None, None)  # It has been told; not again.
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["1"]


def test_an_error_in_the_background_does_not_hide_another_nor_is_it_hidden(
    tmp_path, monkeypatch, capsys
):
    save(tmp_path, "last", 1)
    monkeypatch.setattr(checksums, "write_sums", full_disk)
    with (
        pytest.raises(KeyError, match="mine"),
        checkpoints.Checkpoints(tmp_path) as saved,
    ):
        saved.save("last", 2, state_of(2.0), {})
        raise KeyError("mine")
    assert "last/2' could not be saved: No space left" in capsys.readouterr().out


def test_an_error_that_is_not_the_disks_is_raised_as_it_is(tmp_path):
    """Such as an array that Orbax cannot save: it is ours to mend, not the user's."""
    with (
        pytest.raises(ValueError, match="zero size"),
        checkpoints.Checkpoints(tmp_path) as saved,
    ):
        saved.save("last", 1, {"params": {"w": np.zeros((0, 3))}}, {})
    assert not (tmp_path / "last" / "1").exists()


def test_older_steps_that_cannot_be_deleted_are_told_and_the_new_one_is_there(
    tmp_path, monkeypatch, capsys
):
    save(tmp_path, "last", 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", full_disk)
        save(tmp_path, "last", 3)
    assert "older steps could not be deleted: [Errno 28]" in capsys.readouterr().out
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert value_of(saved.restore("last", LIKE)) == 3
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["2", "3"]


FULL = """
import pathlib, resource, signal, sys
import numpy as np
from absl import logging
from uld_jax.storage import checkpoints

logging.set_verbosity(logging.FATAL)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
w = np.random.default_rng(0).random((100, 1000))
with checkpoints.Checkpoints(pathlib.Path(sys.argv[1])) as saved:
    saved.save("last", 2, {"params": {"w": w}}, {})
"""


def test_a_file_that_the_disk_does_not_take_leaves_the_older_step(tmp_path):
    """In earnest: the operating system refuses the bytes."""
    save(tmp_path, "last", 1)
    child = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert child.returncode == 1
    assert child.stderr.splitlines()[-1].endswith(
        "last/2' could not be saved: File too large; last/1 is kept. Free space on its "
        "disk and start again"
    )
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert value_of(saved.restore("last", LIKE)) == 1
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["1"]


class Killed(BaseException):
    """An exception that no code catches, like a SIGKILL."""


# All that changes the disk, but for what Orbax does before the sums are written.
SYSTEM_CALLS = [
    (pathlib.Path, "rename"),
    (pathlib.Path, "mkdir"),
    (pathlib.Path, "unlink"),
    (shutil, "rmtree"),
    (os, "fsync"),
    (os, "unlink"),
    (os, "rmdir"),
    (checkpoints, "_orbax"),
    (checksums, "write_sums"),
]


def kill_before(number, monkeypatch):
    """Have the process killed before such a call, counted from 0; return the calls."""
    calls = []

    def killing(name, call):
        def counted(*args, **kwargs):
            # Of what rmtree and fsync do file by file, a few are as good as all.
            if name not in ("fsync", "unlink", "rmdir") or calls.count(name) < 2:
                if len(calls) == number:
                    raise Killed
                calls.append(name)
            return call(*args, **kwargs)

        return counted

    for where, name in SYSTEM_CALLS:
        monkeypatch.setattr(where, name, killing(name, getattr(where, name)))
    return calls


# Steps that are there, and the one that is saved.
SAVED = {
    "the first": ((), 1),
    "a new one": ((1, 2), 3),
    "the only one again": ((2,), 2),
    "the newest again": ((1, 2), 2),
    "one before others": ((5, 6), 5),
}


@pytest.mark.parametrize("which", SAVED)
def test_killed_at_any_moment_there_is_the_old_step_or_the_new_one(
    which, tmp_path, monkeypatch
):
    steps, step = SAVED[which]
    save(tmp_path / "original", "best", *steps)
    (tmp_path / "original").mkdir(exist_ok=True)
    outcomes = []
    for number in range(100):
        workdir = tmp_path / f"killed{number}"
        shutil.copytree(tmp_path / "original", workdir)
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            calls = kill_before(number, patch)
            with checkpoints.Checkpoints(workdir) as saved:
                saved.save("best", step, state_of(77.0), {"epoch": 77})
        # The same is found before and after the leftovers are removed.
        before = {
            epoch: checkpoints.read_arrays(workdir, epoch, ("params",)) is not None
            for epoch in (*steps, 77)
        }
        with checkpoints.Checkpoints(workdir) as saved:
            found = saved.restore("best", LIKE)
            outcomes.append(None if found is None else value_of(found))
        assert before[outcomes[-1]] if any(before.values()) else not outcomes[-1]
        folder = workdir / "best"
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        assert names <= {str(number) for number in (*steps, step)}
        if len(calls) < number:
            break
    else:
        pytest.fail("it was killed each time")
    newest = max(steps, default=None)
    assert set(outcomes) == {newest, 77}
    assert outcomes[0] == newest
    assert outcomes[-1] == 77
    assert {"rename", "write_sums", "fsync"} < set(calls)
    assert ("rmtree" in calls) == (len(steps) > 1 or step in steps)
