import json

import pytest

from uld_jax.storage import atomic


def test_what_is_not_finite_becomes_null(tmp_path):
    path = tmp_path / "record.json"
    atomic.write_json(path, {"a": [float("nan"), 1.0], "b": (float("inf"),)})
    assert json.loads(path.read_text()) == {"a": [None, 1.0], "b": [None]}


def test_a_failed_write_leaves_the_old_record(tmp_path):
    path = tmp_path / "record.json"
    atomic.write_json(path, {"epochs": 1})
    with pytest.raises(TypeError):
        atomic.write_json(path, {"epochs": object()})
    assert json.loads(path.read_text()) == {"epochs": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_two_processes_may_write_one_file(tmp_path):
    path = tmp_path / "file"
    with atomic.replace(path, unique=True) as one:
        with atomic.replace(path, unique=True) as other:
            other.write_text("other")
        assert path.read_text() == "other"
        one.write_text("one")
    assert path.read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
