"""Which folders a run may have."""

import json

import made_records
import pytest

from uld_jax.storage import records, run_folder

SETTINGS = {"seed": 0, "data": {"dir": "here"}, "train": {"epochs": 3}}


def test_a_new_folder_and_the_runs_own_are_good(tmp_path):
    run_folder.check(tmp_path / "runs" / "new", SETTINGS)
    assert not (tmp_path / "runs").exists()
    records.write_json(tmp_path / run_folder.SETTINGS_FILE, SETTINGS)
    run_folder.check(tmp_path, SETTINGS | {"data": {"dir": "elsewhere"}})


def test_a_run_with_other_settings_is_told_apart(tmp_path):
    records.write_json(tmp_path / run_folder.SETTINGS_FILE, SETTINGS)
    with pytest.raises(run_folder.RunConflictError, match=r"train.epochs: 3 -> 4"):
        run_folder.check(tmp_path, SETTINGS | {"train": {"epochs": 4}})


def test_a_record_alone_tells_whose_a_folder_is(tmp_path):
    record = made_records.record("uld")
    records.write_json(tmp_path / records.FILE_NAME, record)
    settings = record["settings"]
    run_folder.check(tmp_path, settings)
    with pytest.raises(run_folder.RunConflictError, match=r"seed: 0 -> 1"):
        run_folder.check(tmp_path, settings | {"seed": 1})


@pytest.mark.parametrize("text", ["{", "5"])
def test_settings_that_cannot_be_read_are_told(tmp_path, text):
    (tmp_path / run_folder.SETTINGS_FILE).write_text(text)
    with pytest.raises(run_folder.RunConflictError, match=r"settings.json' cannot be"):
        run_folder.check(tmp_path, SETTINGS)


def test_the_folder_of_shared_weights_is_no_runs(tmp_path):
    (tmp_path / records.CARD_FILE).write_text("{}")
    with pytest.raises(run_folder.RunConflictError, match="holds shared weights; name"):
        run_folder.check(tmp_path, SETTINGS)


def test_a_runs_folder_is_not_that_of_many(tmp_path):
    run_folder.check_for_many(tmp_path)
    (tmp_path / "one").mkdir()
    records.write_json(tmp_path / "one" / run_folder.SETTINGS_FILE, SETTINGS)
    run_folder.check_for_many(tmp_path)
    with pytest.raises(run_folder.RunConflictError, match="the folder of one run"):
        run_folder.check_for_many(tmp_path / "one")


def test_a_folder_of_runs_is_no_runs(tmp_path):
    (tmp_path / ".editor").mkdir()
    (tmp_path / ".editor" / run_folder.SETTINGS_FILE).write_text("{}")
    run_folder.check(tmp_path, SETTINGS)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / records.FILE_NAME).write_text("{}")
    with pytest.raises(run_folder.RunConflictError, match=r"folder of runs.*'one'"):
        run_folder.check(tmp_path, SETTINGS)
    run_folder.check(tmp_path / "two", SETTINGS)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(run_folder.RunConflictError, match="file' is a file"):
            run_folder.check(path, SETTINGS)


def test_the_record_is_read_and_a_finished_run_announced(tmp_path, capsys):
    assert run_folder.read_record(tmp_path) is None
    record = made_records.record("uld")
    (tmp_path / records.FILE_NAME).write_text(json.dumps(record))
    assert run_folder.read_record(tmp_path)["settings"] == record["settings"]
    assert "done already" in capsys.readouterr().out
    (tmp_path / records.FILE_NAME).write_text('{"status": "done"}')
    with pytest.raises(records.RecordError, match="lacks settings, data"):
        run_folder.read_record(tmp_path)
