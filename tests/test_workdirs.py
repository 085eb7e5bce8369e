"""Which folders a run may have."""

import json

import pytest

from uld_jax import records, workdirs

SETTINGS = {"seed": 0, "data": {"dir": "here"}, "train": {"epochs": 3}}


def test_a_new_folder_and_the_runs_own_are_good(tmp_path):
    workdirs.check(tmp_path / "runs" / "new", SETTINGS)
    assert not (tmp_path / "runs").exists()
    records.write_json(tmp_path / workdirs.SETTINGS_FILE, SETTINGS)
    workdirs.check(tmp_path, SETTINGS | {"data": {"dir": "elsewhere"}})


def test_a_run_with_other_settings_is_told_apart(tmp_path):
    records.write_json(tmp_path / workdirs.SETTINGS_FILE, SETTINGS)
    with pytest.raises(workdirs.RunConflictError, match=r"train.epochs: 3 -> 4"):
        workdirs.check(tmp_path, SETTINGS | {"train": {"epochs": 4}})


@pytest.mark.parametrize("name", [workdirs.SETTINGS_FILE, records.FILE_NAME])
def test_a_folder_of_runs_is_no_runs(tmp_path, name):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / name).write_text("{}")
    with pytest.raises(workdirs.RunConflictError, match=r"folder of runs.*'one'"):
        workdirs.check(tmp_path, SETTINGS)
    workdirs.check(tmp_path / "two", SETTINGS)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(workdirs.RunConflictError, match="file' is a file"):
            workdirs.check(path, SETTINGS)


def test_the_record_is_read_and_a_finished_run_announced(tmp_path, capsys):
    assert workdirs.read_record(tmp_path) is None
    record = {"status": "done", "settings": SETTINGS, "data": {}}
    (tmp_path / records.FILE_NAME).write_text(json.dumps(record))
    assert workdirs.read_record(tmp_path)["settings"] == SETTINGS
    assert "done already" in capsys.readouterr().out
    (tmp_path / records.FILE_NAME).write_text('{"status": "done"}')
    with pytest.raises(records.RecordError, match="lacks settings, data"):
        workdirs.read_record(tmp_path)
