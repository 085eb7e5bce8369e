"""The folder that is written to be filled in."""

import pytest
from audio_files import tone, write
from whole_runs import call

from uld_jax.audio import sessions
from uld_jax.cli import new_session
from uld_jax.runtime import errors


def test_the_folder_is_a_session_once_it_has_recordings(tmp_path, capsys):
    folder = tmp_path / "labs" / "my_lab"
    call(new_session, folder)
    assert "replace the example rows" in capsys.readouterr().out
    assert len((folder / "README.txt").read_text().splitlines()) == 10
    with pytest.raises(sessions.SessionError, match=r"monday-NODE\.wav; add one"):
        sessions.open_session(folder)
    nodes = ("window", "shelf", "door", "desk", "board", "table")
    for node in nodes:
        write(folder / f"monday-{node}.wav", tone(2.0))
    session = sessions.open_session(folder)
    assert session.nodes == nodes
    assert len(session.room_size) == 3


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("precious\n")
    with pytest.raises(errors.InputError, match="exists; name a new folder"):
        call(new_session, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(errors.InputError, match="name one folder, not none"):
        call(new_session)
