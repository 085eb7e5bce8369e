"""Which folders a run may have."""

import json

import made_records
import pytest

from uld_jax.storage import atomic, records, run_folder
from uld_jax.storage.run_folder import RunFolder

SETTINGS = {"seed": 0, "data": {"dir": "here"}, "train": {"epochs": 3}}


def test_a_new_folder_and_the_runs_own_are_good(tmp_path):
    RunFolder(tmp_path / "runs" / "new").check(SETTINGS)
    assert not (tmp_path / "runs").exists()
    atomic.write_json(tmp_path / "settings.json", SETTINGS)
    RunFolder(tmp_path).check(SETTINGS | {"data": {"dir": "elsewhere"}})


def test_a_run_with_other_settings_is_told_apart(tmp_path):
    atomic.write_json(tmp_path / "settings.json", SETTINGS)
    with pytest.raises(run_folder.RunConflictError, match=r"train.epochs: 3 -> 4"):
        RunFolder(tmp_path).check(SETTINGS | {"train": {"epochs": 4}})


def test_a_record_alone_tells_whose_a_folder_is(tmp_path):
    record = made_records.record("uld")
    atomic.write_json(tmp_path / records.FILE_NAME, record)
    settings = record["settings"]
    RunFolder(tmp_path).check(settings)
    with pytest.raises(run_folder.RunConflictError, match=r"seed: 0 -> 1"):
        RunFolder(tmp_path).check(settings | {"seed": 1})


@pytest.mark.parametrize("text", ["{", "5"])
def test_settings_that_cannot_be_read_are_told(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(run_folder.RunConflictError, match=r"settings.json' cannot be"):
        RunFolder(tmp_path).check(SETTINGS)


def test_the_folder_of_shared_weights_is_no_runs(tmp_path):
    (tmp_path / records.CARD_FILE).write_text("{}")
    with pytest.raises(run_folder.RunConflictError, match="holds shared weights; name"):
        RunFolder(tmp_path).check(SETTINGS)


def test_a_runs_folder_is_not_that_of_many(tmp_path):
    RunFolder(tmp_path).check_for_runs()
    (tmp_path / "one").mkdir()
    atomic.write_json(tmp_path / "one" / "settings.json", SETTINGS)
    RunFolder(tmp_path).check_for_runs()
    with pytest.raises(run_folder.RunConflictError, match="the folder of one run"):
        RunFolder(tmp_path / "one").check_for_runs()


def test_a_folder_of_runs_is_no_runs(tmp_path):
    (tmp_path / ".editor").mkdir()
    (tmp_path / ".editor" / "settings.json").write_text("{}")
    RunFolder(tmp_path).check(SETTINGS)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / records.FILE_NAME).write_text("{}")
    with pytest.raises(run_folder.RunConflictError, match=r"folder of runs.*'one'"):
        RunFolder(tmp_path).check(SETTINGS)
    RunFolder(tmp_path / "two").check(SETTINGS)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(run_folder.RunConflictError, match="file' is a file"):
            RunFolder(path).check(SETTINGS)


def test_the_record_is_read(tmp_path):
    assert RunFolder(tmp_path).read_record() is None
    record = made_records.record("uld")
    (tmp_path / records.FILE_NAME).write_text(json.dumps(record))
    assert RunFolder(tmp_path).read_record()["settings"] == record["settings"]
    (tmp_path / records.FILE_NAME).write_text('{"status": "done"}')
    with pytest.raises(records.RecordError, match="lacks settings, data"):
        RunFolder(tmp_path).read_record()
