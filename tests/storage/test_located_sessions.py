"""Outputs of many sessions: when one counts as done, and what is never replaced."""

import dataclasses
import json

import pytest

from uld_jax.storage import atomic, located_sessions
from uld_jax.storage.located_sessions import FAILED, LOCATED, RUNNING, Outcome

SETTINGS = {"method": "fused"}
FILES = ("positions.csv", "positions.html", "positions.json")
COLUMNS = ("recording", "x")
DONE = Outcome(FAILED, "attempt 1", SETTINGS, stamps={"nodes.csv": [1, 2]})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def given(tmp_path):
    """Return the folders of two sessions by name."""
    for name in ("monday", "friday"):
        (tmp_path / name).mkdir()
    return {name: tmp_path / name for name in ("friday", "monday")}


def write(folder):
    for name in FILES:
        (folder / name).write_text(f"recording,x\n{name},1.0\n")
    return {"windows": 3}, ["one: lost"]


def do(out, name, outcome=DONE):
    (out / name).mkdir(parents=True, exist_ok=True)
    return located_sessions.fill(out / name, outcome, write)


def index(out, given):
    listed = [
        {"name": name, "folder": located_sessions.relative(folder, out)}
        for name, folder in given.items()
    ]
    out.mkdir(exist_ok=True)
    located_sessions.write_index(out, {"sessions": listed})


def is_done(out, settings=SETTINGS, unchanged=True):
    def compare(stamps):
        assert stamps == {"nodes.csv": [1, 2]}
        return unchanged

    return located_sessions.is_done(out / "monday", settings, compare)


def test_what_is_filled_is_done_and_read_as_it_was_written(out):
    outcome = do(out, "monday")
    assert outcome.status == LOCATED and outcome.left_out == ("one: lost",)
    assert outcome.summary == {"windows": 3}
    assert located_sessions.read_outcome(out / "monday") == outcome
    assert is_done(out)
    made = {path.name for path in (out / "monday").iterdir()}
    assert made == {*FILES, "outcome.json"}


@pytest.mark.parametrize(
    "facts", [{"settings": {"method": "srp_phat"}}, {"unchanged": False}]
)
def test_other_settings_and_changed_files_are_not_done(out, facts):
    do(out, "monday")
    assert not is_done(out, **facts)


@pytest.mark.parametrize("change", ["gone", "changed", "version", "failed", "cut"])
def test_what_is_not_whole_is_not_done(out, change):
    outcome = do(out, "monday")
    page, note = out / "monday" / FILES[1], out / "monday" / "outcome.json"
    if change == "gone":
        page.unlink()
    elif change == "changed":
        page.write_text("mine")
    elif change == "cut":
        note.write_bytes(note.read_bytes()[:-20])
    else:
        facts = {"version": {"version": "0.0.1"}, "failed": {"status": FAILED}}[change]
        other = dataclasses.replace(outcome, **facts)
        located_sessions.write_outcome(out / "monday", other)
    assert not is_done(out)


@pytest.mark.parametrize("when", [0, 1, 2, 3])
def test_an_interruption_leaves_nothing_that_counts_as_done(
    out, given, when, monkeypatch
):
    """Before each file is put in place; those of an earlier attempt are gone, too."""
    do(out, "monday", dataclasses.replace(DONE, settings={"method": "older"}))
    index(out, given)
    placed, replace = [], type(out).replace

    def stop(path, target):
        if path.suffix in (".csv", ".html", ".json") and path.parent.suffix == ".part":
            if len(placed) == when:
                raise KeyboardInterrupt
            placed.append(path)
        return replace(path, target)

    def write_or_stop(folder):
        if when == 3:  # Before the last word is said.
            monkeypatch.setattr(atomic, "sync_folder", lambda _: {}["stop"])
        return write(folder)

    monkeypatch.setattr(type(out), "replace", stop)
    with pytest.raises((KeyboardInterrupt, KeyError)):
        located_sessions.fill(out / "monday", DONE, write_or_stop)
    assert located_sessions.read_outcome(out / "monday").status == RUNNING
    assert not is_done(out)
    there = [name for name in FILES if (out / "monday" / name).exists()]
    assert len(there) == when
    monkeypatch.undo()
    # It is this command's own, so it may go on without leave.
    located_sessions.check(out, given, SETTINGS, overwrite=False)
    do(out, "monday")
    assert is_done(out)


def test_what_a_killed_process_left_is_swept_up(out):
    do(out, "monday")
    (out / "monday" / ".1234.part").mkdir()
    (out / "monday" / ".1234.part" / FILES[0]).touch()
    (out / "monday" / "outcome.json.1234.part").touch()
    (out / "monday" / "mine.part").touch()
    located_sessions.sweep_up(out / "monday")
    left = {path.name for path in (out / "monday").iterdir()}
    assert left == {*FILES, "outcome.json", "mine.part"}


def refuse(out, given, message, settings=SETTINGS):
    with pytest.raises(located_sessions.OutputError, match=message):
        located_sessions.check(out, given, settings, overwrite=False)
    located_sessions.check(out, given, settings, overwrite=True)


def test_the_same_again_is_no_obstacle(out, given):
    located_sessions.check(out, given, SETTINGS, overwrite=False)
    do(out, "monday")
    index(out, given)
    located_sessions.check(out, given, SETTINGS, overwrite=False)


@pytest.mark.parametrize("name", ["positions.csv", "index.html", "index.json"])
def test_files_of_others_stay(out, given, name):
    out.mkdir()
    (out / name).write_text("{}")
    refuse(out, given, rf"{name}' exists; name another folder, or pass --overwrite")


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_in_the_folder_of_a_session_stay(out, given, name):
    (out / "monday").mkdir(parents=True)
    (out / "monday" / name).touch()
    (out / "friday").mkdir()
    (out / "friday" / name).touch()
    refuse(out, given, rf"friday/{name}' exists; .* --overwrite\n  and 1 more")


def test_positions_by_other_settings_stay(out, given):
    do(out, "monday")
    index(out, given)
    message = "other settings: method: 'fused' -> 'srp_phat'; name another"
    refuse(out, given, message, {"method": "srp_phat"})


def test_what_somebody_changed_stays(out, given):
    do(out, "monday")
    index(out, given)
    (out / "monday" / "positions.csv").write_text("by hand")
    refuse(out, given, r"positions.csv' was changed by others")


def test_other_sessions_stay(out, given, tmp_path):
    index(out, given)
    refuse(out, {"monday": given["monday"]}, "has session 'friday', which is not given")
    other = given | {"monday": tmp_path / "more" / "monday"}
    refuse(out, other, r"of '\.\./monday', not of '\.\./more/monday'")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("monday", "is in the session"),
        ("monday/out", "is in the session"),
        (".", "is in the session"),
        ("file", "is a file; name a folder"),
        ("taken", "needs a folder there"),
    ],
)
def test_places_where_nothing_is_ever_written(given, tmp_path, where, message):
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "friday").touch()
    for overwrite in (False, True):
        with pytest.raises(located_sessions.OutputError, match=message):
            located_sessions.check(tmp_path / where, given, SETTINGS, overwrite)


def test_a_session_with_the_name_of_a_file_is_refused(out, tmp_path):
    with pytest.raises(located_sessions.OutputError, match="rename it"):
        named = {"index.html": tmp_path / "index.html"}
        located_sessions.check(out, named, SETTINGS, overwrite=True)


def test_the_table_has_all_positions_in_order(out):
    do(out, "b")
    do(out, "a, the first")
    assert located_sessions.write_table(out, ["a, the first", "b"], COLUMNS) == 2
    assert (out / "positions.csv").read_text() == (
        'session,recording,x\n"a, the first",positions.csv,1.0\nb,positions.csv,1.0\n'
    )
    assert located_sessions.write_table(out, [], COLUMNS) == 0
    assert (out / "positions.csv").read_text() == "session,recording,x\n"


def test_workers_of_an_attempt_that_is_over_are_refused(out):
    out.mkdir()
    attempt = located_sessions.begin(out)
    located_sessions.check_attempt(out, attempt)
    again = located_sessions.begin(out)
    assert again != attempt
    for message in ("not the folder of this run", "the same storage"):
        with pytest.raises(located_sessions.OutputError, match=message):
            located_sessions.check_attempt(out, attempt)
        located_sessions.end(out)


def test_what_was_written_by_another_program_is_not_read(out):
    do(out, "monday")
    path = out / "monday" / "outcome.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    assert located_sessions.read_outcome(out / "monday") is None
