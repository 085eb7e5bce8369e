"""Files that commands write: never a table of the session, and nothing without leave."""

import pytest
from whole_runs import call

from benchmarks.reliability import small_session
from uld_jax.cli import doctor, locate
from uld_jax.runtime import errors


@pytest.fixture
def session(tmp_path):
    return small_session.write(tmp_path / "session")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("session/nodes.csv", "is a table of the session; name another file"),
        ("session/Room.csv", "is a table of the session"),
        ("session", "is a folder; name a file in it"),
        ("positions.txt", "does not end in .csv; the page is beside the table"),
        ("nowhere/positions.csv", "nowhere' is not a writable folder; make it"),
    ],
)
def test_positions_overwrite_no_table(session, tmp_path, path, message):
    before = (session / "nodes.csv").read_bytes()
    with pytest.raises(errors.InputError, match=message):
        call(locate, session, out=tmp_path / path, overwrite=True)
    assert (session / "nodes.csv").read_bytes() == before


@pytest.mark.parametrize("ending", [".csv", ".html", ".json"])
def test_positions_overwrite_nothing_without_leave(session, tmp_path, ending):
    (tmp_path / f"positions{ending}").write_text("old")
    with pytest.raises(errors.InputError, match=rf"{ending}' exists; .* --overwrite"):
        call(locate, session, out=tmp_path / "positions.csv")
    assert (tmp_path / f"positions{ending}").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "overwrite", "message"),
    [
        ("session/window.wav", True, "does not end in .json"),
        ("session/nodes.json", True, "is a table of the session"),
        ("old.json", False, "exists; name another file, or pass --overwrite"),
        ("nowhere/health.json", True, "is not a writable folder"),
    ],
)
def test_health_overwrites_no_recording(session, tmp_path, path, overwrite, message):
    (tmp_path / "old.json").write_text("old")
    before = (session / "window.wav").read_bytes()
    with pytest.raises(errors.InputError, match=message):
        call(doctor, session, json=tmp_path / path, overwrite=overwrite)
    assert (session / "window.wav").read_bytes() == before
    assert (tmp_path / "old.json").read_text() == "old"
