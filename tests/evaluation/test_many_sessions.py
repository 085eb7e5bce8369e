"""Many sessions, each by itself: outcomes are written whatever happens to one."""

import functools
import os
import signal
import types
from unittest import mock

import made_sessions
import numpy as np
import pytest

from uld_jax.audio import sessions
from uld_jax.evaluation import locate, many_sessions
from uld_jax.runtime import errors, memory
from uld_jax.storage import located_sessions
from uld_jax.storage.located_sessions import FAILED, LOCATED

SETTINGS = {"method": "fused"}
FILES = ("positions.csv", "positions.html", "positions.json")


@pytest.fixture(autouse=True)
def short_examples(monkeypatch):
    monkeypatch.setattr(
        sessions,
        "open_session",
        functools.partial(sessions.open_session, num_samples=1600),
    )


@pytest.fixture
def labs(tmp_path):
    """Return two sessions by name, of which one lacks a file."""
    folders = {name: tmp_path / "labs" / name for name in ("good", "lost")}
    for folder in folders.values():
        made_sessions.write_session(folder)
    (folders["lost"] / "two.wav").unlink()
    return folders


def located(session):
    starts, found = np.array([0.0, 2.0]), np.zeros((2, 1, 2))
    return locate.Located(session.recordings[0], starts, found, remarks=("late",))


def locate_one(session, out):
    for name in FILES:
        (out.parent / name).write_text(session.name)
    return [located(session)], ["recording 'one' is silent"]


def run(labs, out, function=locate_one):
    out.mkdir(exist_ok=True)
    tasks = many_sessions.find_tasks(out, labs, SETTINGS)
    attempt = located_sessions.begin(out)
    work = many_sessions.Work(out, attempt, SETTINGS, function)
    outcomes = {task.name: work.do(task) for task in tasks}
    return outcomes, many_sessions.list_outcomes(out, labs, tasks, attempt)


def test_a_session_that_fails_stops_no_other_and_is_tried_again(labs, tmp_path):
    out = tmp_path / "out"
    outcomes, listed = run(labs, out)
    assert outcomes["good"].status == LOCATED and outcomes["lost"].status == FAILED
    assert "two.wav" in outcomes["lost"].reason and not outcomes["lost"].trace
    good, lost = listed
    assert good["page"] == "good/positions.html" and good["folder"] == "../labs/good"
    assert good["left_out"] == ["recording 'one' is silent"]
    assert (good["windows"], good["recordings"], good["remarks"]) == (2, 1, 1)
    assert good["determined"] is good["turns"] is None
    assert lost["status"] == FAILED and lost["page"] is None
    assert lost["reason"] == outcomes["lost"].reason
    # The same again: what failed is tried, what is done is listed as before.
    again, listed = run(labs, out)
    assert list(again) == ["lost"]
    assert listed[0] == good


def fail_by(error, session, out):
    locate_one(session, out)
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FloatingPointError("not finite"), "FloatingPointError: not finite"),
        (MemoryError(), "MemoryError"),
        (OSError("the disk fell over"), "the disk fell over"),
        (errors.InputError("too few nodes"), "too few nodes"),
    ],
)
def test_whatever_is_raised_is_an_outcome_and_leaves_no_positions(
    labs, tmp_path, error, reason
):
    run(labs, tmp_path / "out")
    (labs["good"] / "one.wav").touch()  # It is newer now.
    outcomes, _ = run(labs, tmp_path / "out", functools.partial(fail_by, error))
    assert outcomes["good"].reason == reason
    assert bool(outcomes["good"].trace) == (reason.partition(":")[0].endswith("Error"))
    left = {path.name for path in (tmp_path / "out" / "good").iterdir()}
    assert left == {"outcome.json"}


def test_positions_of_a_session_that_is_broken_now_do_not_stay(labs, tmp_path):
    run(labs, tmp_path / "out")
    (labs["good"] / "one.wav").unlink()
    outcomes, _ = run(labs, tmp_path / "out")
    assert outcomes["good"].status == FAILED
    left = {path.name for path in (tmp_path / "out" / "good").iterdir()}
    assert left == {"outcome.json"}


def test_a_session_whose_files_changed_is_not_listed_as_located_before(labs, tmp_path):
    out = tmp_path / "out"
    run(labs, out)
    (labs["good"] / "one.wav").touch()
    tasks = many_sessions.find_tasks(out, labs, SETTINGS)
    listed = many_sessions.list_outcomes(out, labs, tasks, "a new attempt")
    assert [one["status"] for one in listed] == ["waiting", "waiting"]


def test_windows_that_are_determined_are_counted():
    details = [types.SimpleNamespace(determined=sure) for sure in (True, False, True)]
    facts = {"details": details, "turns": ["a turn"], "remarks": ("late", "quiet")}
    one = mock.Mock(spec=locate.Located, starts=np.arange(3.0), **facts)
    counts = {"recordings": 2, "windows": 6, "determined": 4, "turns": 2, "remarks": 4}
    assert many_sessions.summarize([one, one]) == counts
    unknown = mock.Mock(spec=locate.Located, starts=np.arange(1.0), **facts)
    unknown.details = None
    assert many_sessions.summarize([one, unknown])["determined"] is None


def die(session, out):
    out.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_the_outcome_of_its_session(tmp_path):
    """Of two seconds each, since workers know nothing of shorter examples."""
    labs = {}
    for name in ("a", "b"):
        labs[name] = tmp_path / name
        made_sessions.write_tables(labs[name], recordings={"one": ("", None)})
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, (3, sessions.NUM_SAMPLES))
        made_sessions.write_recording(labs[name], "one", noise)
    out = tmp_path / "out"
    out.mkdir()
    work = many_sessions.Work(out, located_sessions.begin(out), SETTINGS, die)
    tasks = many_sessions.find_tasks(out, labs, SETTINGS)
    found = dict(many_sessions.in_processes(work, tasks, 1))
    assert [task.name for task in found] == ["a", "b"]
    for task, outcome in found.items():
        assert "killed, perhaps for lack of memory" in outcome.reason
        assert located_sessions.read_outcome(out / task.name) == outcome
        assert not (out / task.name / "positions.csv").exists()
    many_sessions.find_tasks(out, labs, SETTINGS)
    assert {path.name for path in (out / "a").iterdir()} == {"outcome.json"}


@pytest.mark.parametrize(
    ("free", "count"), [(None, 4), (100 * 2**30, 4), (4 * 2**30, 2), (2**20, 1)]
)
def test_processes_are_as_many_as_cores_and_memory_allow(monkeypatch, free, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(memory, "free_on_host", lambda: free)
    assert many_sessions.choose_processes(9) == count
    assert many_sessions.choose_processes(1) == 1
    assert many_sessions.choose_processes(0) == 1
