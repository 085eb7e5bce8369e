"""Bad sessions, one of each kind: an exit status, words that help, and nothing changed."""

import json
import shutil

import pytest
from conftest import ROOT

from benchmarks.reliability import bad_sessions, small_session
from benchmarks.reliability.bad_kind import Skipped

RECORD = ROOT / "benchmarks/reliability/results/bad_sessions.json"
KINDS = [
    (group, name, kind)
    for group, kinds in bad_sessions.GROUPS.items()
    for name, kind in kinds.items()
]
# Those that signals show take a second each; others are refused before they are read.
WITH_SIGNALS = (
    *("NaN alone", "floats on the scale of 16 bits", "FLAC cut in half", "workbook"),
    *("MP3 in the folder", "polarity inverted", "files exchanged", "four silent"),
    *("a height of 1 mm", "copy of another"),
)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return small_session.write(tmp_path_factory.mktemp("own") / "session")


@pytest.fixture
def session(healthy, tmp_path):
    return shutil.copytree(healthy, tmp_path / "session")


def test_of_a_healthy_session_nothing_is_said(healthy):
    answer = bad_sessions.ask("doctor", healthy)
    assert answer.status == 0
    assert answer.first_line == ""
    assert "4 of 4 windows determined, 2 places" in answer.message


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group, name)
        for group, name, kind in KINDS
        if name in WITH_SIGNALS
        or (kind.status == 2 and not any("can be used" in one for one in kind.says))
    ],
)
def test_a_bad_session_gets_one_clear_answer(session, tmp_path, group, name):
    kind = bad_sessions.GROUPS[group][name]
    try:
        kind.change(session)
    except Skipped as reason:
        pytest.skip(str(reason))
    answer = bad_sessions.ask("doctor", session, json=str(tmp_path / "health.json"))
    assert answer.status == kind.status, answer.message
    for words in kind.says:
        assert words in answer.message
    assert answer.changed == []


def test_a_hundred_kinds_are_recorded():
    """As the script makes them now, and without a path of one machine."""
    text = RECORD.read_text()
    (_, _, counts), (_, _, rows) = json.loads(text)["tables"]
    assert [(row["group"], row["kind"]) for row in rows] == [k[:2] for k in KINDS]
    assert len(rows) > 100
    assert counts == bad_sessions.count(rows)
    assert counts[-1]["tracebacks"] == counts[-1]["files changed"] == 0
    assert counts[-1]["not as meant"] == 0
    assert not any(f"{start}/" in text for start in ("'/tmp", "/home", "/work"))


def test_a_traceback_counts_as_one(session, monkeypatch):
    from uld_jax.audio import sessions

    monkeypatch.setattr(sessions, "open_session", lambda folder: 1 / 0)
    answer = bad_sessions.ask("doctor", session)
    assert answer.status == bad_sessions.TRACEBACK
    assert "ZeroDivisionError" in answer.message


def test_a_changed_file_is_noticed(session, monkeypatch):
    from uld_jax.audio import sessions

    def spoil(folder):
        (session / "nodes.csv").unlink()
        (session / "new").mkdir()
        raise sessions.SessionError("no")

    monkeypatch.setattr(sessions, "open_session", spoil)
    answer = bad_sessions.ask("doctor", session)
    assert answer.changed == ["new", "nodes.csv"]
    assert (answer.status, answer.first_line) == (2, "error: no")
