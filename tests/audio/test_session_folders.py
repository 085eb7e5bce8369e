"""Sessions in folders: which are found, how they are called, and when they changed."""

import os

import made_sessions
import pytest

from uld_jax.audio import session_folders, session_problems, sessions


@pytest.fixture
def labs(tmp_path):
    """Return a folder with two sessions, one without tables, and other things."""
    folder = tmp_path / "labs"
    for name in ("monday", "friday"):
        made_sessions.write_tables(folder / name)
    made_sessions.write_recording(
        folder / "lost", "one", made_sessions.samples("one"), "wav"
    )
    for name in ("notes", ".cache"):
        (folder / name).mkdir()
    (folder / "readme.txt").touch()
    return folder


def names(paths):
    return [path.name for path in paths]


def test_sessions_are_found_and_what_lacks_tables_is_not_left_out(labs):
    found, others = session_folders.find_within(labs)
    assert names(found) == ["friday", "lost", "monday"]
    assert names(others) == ["notes"]


def test_a_session_has_none_within(labs):
    assert session_folders.find_within(labs / "monday") == ([], [])
    (labs / "Nodes.XLSX").touch()
    assert session_folders.find_within(labs) == ([], [])


def test_folders_of_recordings_alone_are_no_sessions(labs):
    """Tables of the session they belong to are missing, and that is to be said."""
    for name in ("monday", "friday"):
        for table in session_folders.list_tables(labs / name):
            table.unlink()
    assert session_folders.find_within(labs) == ([], [])


def test_sessions_and_folders_of_them_may_be_named_together(labs, tmp_path):
    made_sessions.write_tables(tmp_path / "apart")
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "apart", labs, tmp_path / "empty", labs / "lost"]
    found, others = session_folders.find_all(given)
    assert names(found) == ["apart", "friday", "lost", "monday", "lost"]
    assert names(others) == ["notes", "empty"]
    assert list(session_folders.name_all(found)) == [
        "apart",
        "friday",
        "lost",
        "monday",
    ]


def test_what_is_not_there_or_has_no_session_is_an_error(labs):
    with pytest.raises(session_problems.SessionError, match="nowhere' does not exist"):
        session_folders.find_all([labs, labs / "nowhere"])
    with pytest.raises(session_problems.SessionError, match=r"readme.txt' is a file"):
        session_folders.find_all([labs / "readme.txt"])
    with pytest.raises(session_problems.SessionError, match=r"no session in .*notes'"):
        session_folders.find_all([labs / "notes"])


def test_two_sessions_of_one_name_are_refused(labs, tmp_path):
    made_sessions.write_tables(tmp_path / "others" / "monday")
    two = [labs / "monday", tmp_path / "others" / "monday"]
    with pytest.raises(session_problems.SessionError, match=r"two .* called 'monday'"):
        session_folders.name_all(two)


def test_a_session_has_the_name_of_its_folder_or_link(labs, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(labs / "monday")
    monkeypatch.chdir(labs / "friday")
    here = type(labs)(".")
    named = session_folders.name_all([tmp_path / "link", here, labs / "friday"])
    assert list(named) == ["friday", "link"]


CHANGES = {
    "a table": lambda lab: made_sessions.replace(lab / "nodes.csv", "3.0", "3.1"),
    "a table of the same size": lambda lab: os.utime(lab / "nodes.csv", ns=(1, 1)),
    "a recording": lambda lab: (lab / "two.wav").write_bytes(b"12"),
    "its time": lambda lab: os.utime(lab / "two.wav", ns=(1, 1)),
    "one is gone": lambda lab: (lab / "two.wav").unlink(),
    "one table is gone": lambda lab: (lab / "room.csv").unlink(),
    "a table more": lambda lab: (lab / "rooms.csv").rename(lab / "Room.tsv"),
    "all are gone": lambda lab: lab.rename(lab.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_any_file_is_noticed(tmp_path, change):
    lab = made_sessions.write_session(tmp_path / "lab")
    (lab / "rooms.csv").touch()  # Not one of its tables.
    stamps = session_folders.stamp(sessions.open_session(lab, 1600))
    assert len(stamps) == 3 + len(made_sessions.RECORDINGS)
    (lab / "positions.csv").touch()
    assert session_folders.is_unchanged(lab, stamps)
    CHANGES[change](lab)
    assert not session_folders.is_unchanged(lab, stamps)
