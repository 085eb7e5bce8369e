"""benchmarks/full_tables.py, packing.py: calls that go on, and what comes back."""

import json
import pathlib
import shutil
import sys
import tarfile

import pytest
from absl import flags

from uld_jax import commands, sweep
from uld_jax import config as config_lib

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import full_tables
import packing
import timetable


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that makes a call of some cells' time, and what it did."""

    def make(*flags, num_cells=1, code=0, status="done", base=tmp_path):
        begun = []

        def run(job, options, seconds):
            if len(begun) == num_cells:
                write(job, options, "running")
                return commands.EXIT_STOPPED
            begun.append(job)
            write(job, options, status)
            return code

        monkeypatch.setattr(full_tables, "_run", run)
        monkeypatch.setattr(full_tables, "_table", lambda *_, anew: None)
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
        places = [f"--runs={base / 'runs'}", f"--out={base / 'out'}"]
        monkeypatch.setattr(sys, "argv", ["full_tables.py", *places, *flags])
        try:
            full_tables.main()
        except SystemExit as end:
            return end.code, begun
        return 0, begun

    return make


def write(job, options, status):
    """Write what a run leaves in its folder."""
    for cell in job:
        folder = full_tables._folder(cell, options)
        for kind, step in (("last", 1), ("last", 2), ("best", 1), ("best", 2)):
            state = folder / kind / str(step)
            (state / "note").mkdir(parents=True, exist_ok=True)
            (state / "note" / "metadata").write_text('{"best_step": 1}')
            (state / "state").write_bytes(b"0" * 1000)
        content = {
            "status": status,
            "epochs": [{"seconds": 1.0}],
            "settings": {"train": {"epochs": 2}},
        }
        (folder / "record.json").write_text(json.dumps(content))


def names(jobs):
    return [f"{cell.experiment}/{cell.name}" for job in jobs for cell in job]


def test_calls_go_on_until_all_cells_are_done_the_important_ones_first(call, tmp_path):
    first = call("--tables", "1", "2", num_cells=5)
    assert first[0] == commands.EXIT_STOPPED
    assert names(first[1])[:2] == ["l1/uld_I5_seed0", "l1/one_hot_I6_seed0"]
    assert names(first[1])[4] == "ad1/uld_I16_seed0"
    second = call("--tables", "1", "2", num_cells=99)
    assert second[0] == 0 and len(second[1]) == 4 + 17 - 5
    with tarfile.open(tmp_path / "out" / "runs.tgz") as packed:
        packed_names = packed.getnames()
    assert sum(name.endswith("record.json") for name in packed_names) == 21
    assert not any("last" in name for name in packed_names)


def test_without_time_nothing_is_begun(call):
    assert call("--elapsed=530", num_cells=9) == (commands.EXIT_STOPPED, [])


def test_a_cell_that_fails_does_not_keep_the_others(call):
    code, first = call("--tables", "1", num_cells=1, code=2, status="running")
    assert code == commands.EXIT_STOPPED  # The others are yet to come.
    code, begun = call("--tables", "1", num_cells=9, code=2, status="running")
    assert code == commands.EXIT_FAILED and len(begun) == 4
    assert begun[-1] == first[0]  # It has failed in the call before: it comes last.


def test_a_cell_that_is_not_is_told_with_those_that_are(call, capsys):
    assert call("--cells", "uld:7") == (2, [])
    assert "no cell 'uld:7'; there are uld:5, " in capsys.readouterr().err


def test_diverged_cells_are_no_failure(call):
    assert call("--tables", "1", num_cells=9, code=1, status="diverged")[0] == 0


def test_together_one_process_has_a_schemes_cells(call):
    _, begun = call("--tables", "2", "--together", num_cells=9)
    assert [len(job) for job in begun] == [5, 4, 4, 4]
    assert {cell.scheme for cell in begun[0]} == {"uld"}


def test_a_run_goes_on_on_another_machine_with_its_state_and_without_it_anew(
    call, tmp_path
):
    flags = ("--cells", "uld:16", "--tables", "2")
    call(*flags, "--states", num_cells=0)
    state = tmp_path / "out" / "states.tgz"
    other = tmp_path / "other" / "runs"
    run = other / "ad1" / "uld_I16_seed0"
    run.mkdir(parents=True)
    (run / "record.json").write_bytes(
        (tmp_path / "runs" / "ad1" / run.name / "record.json").read_bytes()
    )
    call(*flags, f"--states_from={state}", "--elapsed=530", base=other.parent)
    names_there = {str(path.relative_to(run)) for path in run.glob("*/*")}
    assert names_there == {"last/2", "best/1"}  # The newest, and the best it names.
    packing_left = packing.pack_states(state, other, [run], mib=1e-6)
    assert len(packing_left) == 1 and not state.exists()
    assert not state.with_name("states.tgz.part").exists()
    shutil.rmtree(run / "last")
    call(*flags, "--elapsed=530", base=other.parent)
    assert not run.exists()


def test_no_cell_is_begun_in_less_time_than_starts_have_taken(call, tmp_path):
    assert len(call("--tables", "1", "--elapsed=400", num_cells=1)[1]) == 1
    (tmp_path / "runs" / "spent.json").unlink()
    ledger = timetable.Ledger(tmp_path / "runs" / "spent.json")
    ledger.add([timetable.Cell("l1", "uld", 5, 0)], 201.0)  # An epoch of 1 s.
    assert call("--tables", "1", "--elapsed=400", num_cells=9)[1] == []
    assert len(call("--tables", "1", "--elapsed=200", num_cells=9)[1]) == 3


def test_a_validation_is_left_room(call, tmp_path):
    call("--tables", "1", num_cells=1)
    (record,) = (tmp_path / "runs").glob("l1/uld*/record.json")
    content = json.loads(record.read_text()) | {"times": {"seconds": 101.0}}
    record.write_text(json.dumps(content))
    ledger = {"seconds": {}, "processes": {}, "failed": {}}
    (tmp_path / "runs" / "spent.json").write_text(json.dumps(ledger))
    assert call("--tables", "1", "--elapsed=350", num_cells=9)[1] == []
    assert len(call("--tables", "1", "--elapsed=300", num_cells=9)[1]) == 3


@pytest.mark.parametrize("together", [(), ("--together",), ("--together", "4")])
def test_the_sweep_has_the_flags_it_is_given(together, tmp_path, monkeypatch):
    words = [f"--runs={tmp_path}", f"--out={tmp_path}", "--epochs=2", *together]
    monkeypatch.setattr(sys, "argv", ["full_tables.py", *words])
    options = full_tables._parse()
    known = flags.FLAGS.flags_by_module_dict()[sweep.__name__]
    known = {flag.name: flag for flag in known}
    settings = config_lib.to_dict(config_lib.default("adhoc"))
    for job in full_tables._jobs(options):
        for word in full_tables._command(job, options, 60.0)[3:]:
            name, _, value = word.removeprefix("--").partition("=")
            first, *keys = name.split(".")
            if keys:
                assert keys[1] in settings[keys[0]]
            elif first != "config":
                known[first].parser.parse(value or "true")


def test_a_process_is_stopped_by_our_clock_not_by_its_own(monkeypatch):
    monkeypatch.setattr(full_tables, "_command", lambda *_: ["sleep", "99"])
    assert full_tables._run([], None, seconds=0.0) == commands.EXIT_STOPPED


def test_a_table_that_cannot_be_made_is_told(tmp_path, monkeypatch, capsys):
    words = [f"--runs={tmp_path / 'none'}", f"--out={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["full_tables.py", *words])
    full_tables._table("l1", full_tables._parse(), anew=True)
    told = capsys.readouterr().out
    assert "table1.md cannot be made: " in told and "does not exist" in told
