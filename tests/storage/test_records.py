import pathlib

import pytest
from made_records import baseline_record, record, write

from uld_jax.storage import atomic, records


def minimal(status="done"):
    return record("uld") | {"status": status}


def test_a_record_is_read_back_with_its_folder(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        atomic.write_json(tmp_path / name / "record.json", minimal())
    found = records.read_records([tmp_path, tmp_path / "a" / "record.json"])
    assert [pathlib.Path(record["folder"]).name for record in found] == ["a", "b"]


def test_bad_paths_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        records.read_records([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match=r"holds no record\.json"):
        records.read_records([tmp_path])
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(ValueError, match="is not a record"):
        records.read_records([tmp_path])
    (tmp_path / "record.json").write_text('{"status": "done"}')
    with pytest.raises(ValueError, match="it lacks settings, data"):
        records.read_records([tmp_path])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("settings", "data", "engine"), r"it lacks settings\.data\.engine$"),
        (("settings", "train"), r"settings\.train\.epochs, settings\.train\.perm"),
        (("trained_places",), "it lacks trained_places$"),
    ],
)
def test_a_record_of_an_older_version_is_refused_with_what_it_lacks(
    tmp_path, keys, message
):
    run = record("uld")
    *outer, last = keys
    part = run
    for key in outer:
        part = part[key]
    del part[last]
    write(tmp_path, run)
    with pytest.raises(records.RecordError, match=message):
        records.read_records([tmp_path])


def test_a_baseline_needs_nothing_of_training(tmp_path):
    write(tmp_path, baseline_record())
    assert records.read_records([tmp_path])[0]["method"] == "srp_phat"


def test_unfinished_runs_are_told_apart(tmp_path):
    for name, status in (("a", "done"), ("b", "running"), ("c", "diverged")):
        (tmp_path / name).mkdir()
        atomic.write_json(tmp_path / name / "record.json", minimal(status))
    finished, others = records.read_finished([tmp_path])
    assert len(finished) == 1
    assert [pathlib.Path(other).name for other in others] == ["b", "c"]
    with pytest.raises(ValueError, match="no finished run"):
        records.read_finished([tmp_path / "b"])
