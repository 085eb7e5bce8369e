"""`uld_jax locate` with many sessions: one table and page, resumed, the same bytes."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from whole_runs import call

from benchmarks.reliability import small_session
from uld_jax.cli import locate, many_sessions
from uld_jax.runtime import errors, stopping
from uld_jax.storage import locking

QUICK = {"method": "srp_phat"}
FILES = ("positions.csv", "positions.html", "positions.json")
WRITTEN = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder of two sessions, a broken one, and one without."""
    folder = tmp_path_factory.mktemp("many") / "labs"
    small_session.write(folder / "a")
    for name in ("b", "broken"):
        shutil.copytree(folder / "a", folder / name)
    shelf = small_session.read_signal(folder / "b", "shelf")
    small_session.write_signal(folder / "b", "shelf", 0.5 * shelf[:-16_000])
    (folder / "broken" / "nodes.csv").write_text("node,x\nshelf,1\n")
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def located(made):
    """Return the folder of their positions, and how the command ended."""
    out = made.parent / "located"
    with pytest.raises(errors.Failed) as failure:
        call(locate, made, out=out, processes=2, **QUICK)
    return out, str(failure.value)


@pytest.fixture
def labs(made, located, tmp_path):
    """Return copies of the sessions, and of what was found in them."""
    for folder in (made, located[0]):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / "labs", tmp_path / "located"


def contents(folder):
    """Return the files that hold results by path, without the time of writing."""
    return {
        path.relative_to(folder).as_posix(): WRITTEN.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.name in (*FILES, "index.html", "index.json")
    }


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/positions.*")}


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_there_is_one_table_and_one_page_and_the_status_says_who_failed(located):
    out, failure = located
    assert failure.startswith("1 of 3 sessions failed:\n  broken: ")
    assert "nodes.csv' lacks the column 'y'" in failure
    header, *rows = read(out / "positions.csv")
    assert header == ["session", *locate_columns()]
    for name in ("a", "b"):
        alone = read(out / name / "positions.csv")[1:]
        assert [row[1:] for row in rows if row[0] == name] == alone
    assert [row[0] for row in rows] == ["a"] * 4 + ["b"] * 3  # One node ends early.
    page = (out / "index.html").read_text()
    assert 'href="./a/positions.html"' in page and "lacks the column" in page
    assert (out / "a" / "positions.html").exists()
    listed = json.loads((out / "index.json").read_bytes())["sessions"]
    assert [(one["name"], one["status"]) for one in listed] == [
        *(("a", "located"), ("b", "located"), ("broken", "failed"))
    ]
    assert not list(out.rglob("*.part")) and not (out / ".attempt").exists()


def locate_columns():
    from uld_jax.evaluation import locate as locate_lib

    return locate_lib.COLUMNS


def test_a_session_is_located_as_it_is_alone(made, located, tmp_path):
    call(locate, made / "b", out=tmp_path / "positions.csv", **QUICK)
    together = located[0] / "b"
    assert read(tmp_path / FILES[0]) == read(together / FILES[0])
    one, other = (
        json.loads((folder / FILES[2]).read_bytes()) for folder in (tmp_path, together)
    )
    assert one.keys() == other.keys()
    for key in one.keys() - {"written", "recordings"}:
        assert one[key] == other[key]
    for alone, among in zip(one["recordings"], other["recordings"], strict=True):
        positions = [
            [window["positions_m"] for window in found["windows"]]
            for found in (alone, among)
        ]
        np.testing.assert_allclose(*positions, atol=1e-4)


def test_nothing_is_written_into_sessions(made, located):
    recordings = {f"{name}.wav" for name in small_session.NODES}
    for name in ("a", "b", "broken"):
        there = {path.name for path in (made / name).iterdir()}
        assert there == {"nodes.csv", "room.csv", *recordings}
    assert list((made / "notes").iterdir()) == []


def test_order_and_number_of_processes_change_no_byte(made, located, tmp_path):
    folders = [made / name for name in ("broken", "b", "a")]
    out = tmp_path / "located"
    with pytest.raises(errors.Failed):
        call(locate, *folders, out=out, processes=1, **QUICK)
    one, other = contents(out), contents(located[0])
    assert one.keys() == other.keys()
    for name in one.keys() - {"index.html", "index.json"}:  # They name the command.
        assert one[name] == other[name]
    listed = [json.loads(found["index.json"])["sessions"] for found in (one, other)]
    for session in (*listed[0], *listed[1]):
        session.pop("folder")  # Relative to that of the outputs.
    assert listed[0] == listed[1]


def test_the_same_command_repeats_only_what_failed(labs, capsys):
    folder, out = labs
    shutil.rmtree(folder / "notes")
    # Copies keep the times of files.
    before = times(out)
    with pytest.raises(errors.Failed, match="1 of 3 sessions failed"):
        call(locate, folder, out=out, **QUICK)
    said = capsys.readouterr().out
    assert "3 sessions: 2 done already, 1 to locate" in said
    assert "[3/3] broken: failed: " in said and "No sessions" not in said
    assert times(out) == before
    # Repaired, it is located, and all is well.
    shutil.copy(folder / "a" / "nodes.csv", folder / "broken")
    call(locate, folder, out=out, **QUICK)
    assert len(read(out / "positions.csv")) == 1 + 4 + 3 + 4
    assert {key: times(out)[key] for key in before} == before


def test_what_changed_is_located_again_and_nothing_else(labs, capsys):
    folder, out = labs
    shutil.rmtree(folder / "broken")
    before = times(out)
    (folder / "b" / "desk.wav").touch()
    with pytest.raises(errors.InputError, match="has session 'broken', which is not"):
        call(locate, folder, out=out, **QUICK)
    call(locate, folder, out=out, overwrite=True, **QUICK)
    assert "2 sessions: 1 done already, 1 to locate" in capsys.readouterr().out
    again = {path.parent.name for path in before if times(out)[path] != before[path]}
    assert again == {"b"}


def start(folder, out, *more):
    words = ["-m", "uld_jax.cli", "locate", str(folder), f"--out={out}"]
    return subprocess.Popen(
        [sys.executable, *words, "--method=srp_phat", "--processes=1", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def end_after_one(process, number):
    """Send a signal when one session is located; return what was said."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("[1/3]"):
            process.send_signal(number)
            break
    rest, said = process.communicate(timeout=60)
    return "".join(lines) + rest, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_keeps_what_is_done(made, located, tmp_path, capsys, number):
    out = tmp_path / "located"
    process = start(made, out)
    said, wrong = end_after_one(process, number)
    assert "[1/3] a: 4 windows" in said and "[3/3]" not in said
    assert "Traceback" not in wrong
    if number == signal.SIGINT:
        assert process.returncode == errors.EXIT_STOPPED
        assert "SIGINT received; the same command resumes" in wrong
        assert {row[0] for row in read(out / "positions.csv")[1:]} == {"a"}
        assert "1 located \N{MIDDLE DOT}" in (out / "index.html").read_text()
    before = (out / "a" / "positions.csv").stat().st_mtime_ns
    with pytest.raises(errors.Failed, match="1 of 3 sessions failed"):
        call(locate, made, out=out, **QUICK)
    assert "3 sessions: 1 done already" in capsys.readouterr().out
    assert (out / "a" / "positions.csv").stat().st_mtime_ns == before
    one, other = contents(out), contents(located[0])
    assert {name: one[name] for name in one if "index" not in name} == {
        name: other[name] for name in other if "index" not in name
    }


def test_apache_beam_finds_the_same_bytes(made, located, tmp_path, capsys):
    pytest.importorskip("apache_beam", reason="needs Beam: pip install '.[beam]'")
    out = tmp_path / "located"
    options = "--direct_running_mode=in_memory"
    with pytest.raises(errors.Failed, match="1 of 3 sessions failed"):
        call(locate, made, out=out, beam=True, beam_options=options, **QUICK)
    said = capsys.readouterr().out
    assert "3 to locate with Apache Beam" in said and "[3/3] " in said
    one, other = contents(out), contents(located[0])
    assert {name: one[name] for name in one if "index" not in name} == {
        name: other[name] for name in other if "index" not in name
    }


def test_beam_that_is_missing_is_an_error_before_any_work(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options", None)
    with pytest.raises(errors.InputError, match=r"pip install 'uld-jax\[beam\]'"):
        call(locate, made, out=tmp_path / "out", beam=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "3 sessions need a folder .*; pass --out=DIR"),
        ({"out": "all.csv"}, "'all.csv' is a table, and there are 3 sessions"),
        ({"out": "x", "beam_options": "--a"}, "--beam_options is for --beam"),
        ({"out": "x", "method": "magic"}, "no method 'magic'; there are"),
        ({"out": "x", "run": "nowhere"}, "--run.*nowhere"),
        ({"out": "x", "beam": True, "beam_options": "'a"}, "No closing quotation"),
    ],
)
def test_bad_flags_are_named_before_any_work(
    made, tmp_path, monkeypatch, values, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.InputError, match=message):
        call(locate, made, **values)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"processes": 2}, "--processes is 2, which is for many sessions; remove it"),
        ({"beam": True}, "--beam is True, which is for many sessions"),
    ],
)
def test_flags_of_many_do_not_go_with_one(made, values, message):
    with pytest.raises(errors.InputError, match=message):
        call(locate, made / "a", **values)
    with pytest.raises(errors.InputError, match="--live does not go with --processes"):
        call(locate, live=True, processes=2)


def test_one_session_within_a_folder_is_one_of_many_if_out_is_a_folder(made, tmp_path):
    labs = tmp_path / "labs"
    shutil.copytree(made / "a", labs / "a")
    assert list(many_sessions.find([str(labs)], "located")) == ["a"]
    for path in ("positions.csv", None):
        assert many_sessions.find([str(labs)], path) == {}
    with pytest.raises(errors.InputError, match="did you mean the session"):
        call(locate, labs, out=tmp_path / "positions.csv")


def test_two_commands_do_not_work_in_one_folder(labs):
    folder, out = labs
    with locking.hold(out / ".lock"), pytest.raises(errors.LockedError):
        call(locate, folder, out=out, **QUICK)


def test_a_time_to_stop_is_a_time_to_write(labs, monkeypatch):
    """Whatever stops the command, the list and the table are those of what is done."""
    folder, out = labs
    (folder / "a" / "desk.wav").touch()
    (out / "index.html").unlink()

    def stop():
        raise stopping.Stopped("enough")

    monkeypatch.setattr(stopping, "check", stop)
    with pytest.raises(stopping.Stopped):
        call(locate, folder, out=out, **QUICK)
    listed = json.loads((out / "index.json").read_bytes())["sessions"]
    assert [one["status"] for one in listed] == ["waiting", "located", "waiting"]
    assert {row[0] for row in read(out / "positions.csv")[1:]} == {"b"}
    assert "2 not located yet" in (out / "index.html").read_text()
