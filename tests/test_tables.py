import copy
import pathlib
import subprocess
import sys

import pytest

from uld_jax import records, tables

RECORD = {
    "status": "done",
    "seed": 0,
    "folder": "runs/a",
    "settings": {
        "seed": 0,
        "label": {"scheme": "uld", "resolution": 5, "outputs_per_axis": 6},
        "model": {"width": 64},
        "data": {"dir": "datasets"},
    },
    "data": {
        "name": "simulated/l1:1.0.0",
        "sizes": {"train": 1000, "validation": 200, "test": 300},
        "corpus": {"name": "builtin"},
    },
    "network": {"parameters": 12345},
    "epochs": [{}, {}],
    "hardware": {"devices": ["cpu"], "processor": "abacus", "cores": 2},
    "times": {"seconds": 120.0},
    "test": {
        "mae": 0.1,
        "accuracy": 0.9,
        "cell_accuracy": 0.8,
        "median": 0.05,
        "rmse": 0.2,
        "p90": 0.3,
        "quantization_error": 0.459,
    },
}


def record(scheme, seed=0, resolution=6, **test):
    one = copy.deepcopy(RECORD)
    one["settings"]["label"] |= {"scheme": scheme, "resolution": resolution}
    one["seed"] = one["settings"]["seed"] = seed
    one["test"] |= test
    return one


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_table_1_has_the_papers_values_beside_ours():
    one_hot = record("one_hot", mae=0.4, quantization_error=0.383)
    runs = [record("uld", resolution=5, mae=0.1234), one_hot]
    header, _, *rows = cells(tables.table_1(tables.group(runs)))
    assert [row[0] for row in rows] == ["QE", "One-hot", "ULD"]
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name["QE"]["MAE m (paper)"] == "0.381"
    assert by_name["QE"]["MAE m (ours)"] == "0.383"
    assert by_name["ULD"]["MAE m (paper)"] == "0.031"
    assert by_name["ULD"]["MAE m (ours)"] == "0.123"
    assert by_name["ULD"]["ACC % (paper)"] == "96.72"
    assert by_name["ULD"]["ACC % (ours)"] == "90.00"
    assert by_name["One-hot"]["MAE m (ours)"] == "0.400"
    assert by_name["One-hot"]["I"] == "6"


def test_seeds_are_averaged_with_their_spread():
    runs = [record("uld", seed, mae=mae) for seed, mae in enumerate((0.1, 0.2, 0.3))]
    (group,) = tables.group(runs)
    assert group.metric("mae") == "0.200 ± 0.100"
    assert group.metric("accuracy", 100.0, 1) == "90.0 ± 0.0"


def test_other_settings_and_other_speech_are_not_averaged():
    wide = record("uld", mae=0.2)
    wide["settings"]["model"]["width"] = 128
    moved = record("uld", seed=1)
    moved["settings"]["data"]["dir"] = "elsewhere"
    groups = tables.group([record("uld"), wide, moved])
    assert [(one.label, len(one.runs)) for one in groups] == [
        ("ULD (model.width 128)", 1),
        ("ULD (model.width 64)", 2),
    ]
    other = record("uld")
    other["data"]["corpus"]["fingerprint"] = "other"
    assert len(tables.group([record("uld"), other])) == 2


def test_the_same_run_twice_is_refused():
    with pytest.raises(ValueError, match="are the same run"):
        tables.group([record("uld"), record("uld")])


def test_the_papers_values_stand_beside_6_x_6_outputs_alone():
    run = record("uld", resolution=8)
    run["settings"]["label"]["outputs_per_axis"] = 9
    assert "0.031" not in tables.table_1(tables.group([run]))


def test_data_sets_are_not_mixed():
    other = record("uld")
    other["data"]["name"] = "simulated/l1_demo:1.0.0"
    table = tables.table_1(tables.group([record("uld"), other]))
    assert table.count("**Table 1 on") == 2


def test_a_new_scheme_needs_no_entry_here():
    table = tables.table_1(tables.group([record("my_label"), record("uld")]))
    assert [row[0] for row in cells(table)[2:]] == ["QE", "ULD", "my_label"]


def test_the_marked_part_is_replaced():
    text = f"a\n{tables.BEGIN}\nold\n{tables.END}\nb\n"
    replaced = tables.replace_marked(text, "new")
    assert replaced == f"a\n{tables.BEGIN}\n\nnew\n\n{tables.END}\nb\n"
    assert tables.replace_marked(replaced, "new") == replaced
    with pytest.raises(ValueError, match="needs the lines"):
        tables.replace_marked("nothing", "new")


def test_the_readme_shows_what_the_records_say():
    root = pathlib.Path(__file__).resolve().parents[1]
    runs, _ = records.read_finished([root / "results" / "l1_reduced"])
    readme = (root / "README.md").read_text()
    assert tables.table_1(tables.group(runs)) in readme


def test_the_command_writes_the_table_and_tells_what_is_left_out(tmp_path):
    for name, status in (("a", "done"), ("b", "running")):
        (tmp_path / name).mkdir()
        one = record("uld") | {"status": status}
        records.write_json(tmp_path / name / "record.json", one)
    out = tmp_path / "table.md"
    command = [sys.executable, "-m", "uld_jax.tables"]
    result = subprocess.run(
        [*command, str(tmp_path), f"--markdown={out}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Left out, not finished" in result.stdout
    assert "ULD" in out.read_text()
    wrong = subprocess.run(
        [*command, str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "does not exist" in wrong.stderr
