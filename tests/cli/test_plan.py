"""`uld_jax plan`: what it writes, what it says, and what it refuses before any work."""

from types import SimpleNamespace

import numpy as np
import pytest
from whole_runs import call

from uld_jax.audio import session_tables
from uld_jax.cli import plan
from uld_jax.localization import placement
from uld_jax.runtime import errors

FIXED = "node,x_cm,y_cm,z_cm\ndoor,10,50,100\nn1,590,350,160\nshelf,300,395,120\n"


@pytest.fixture
def fixed(tmp_path):
    path = tmp_path / "My_Nodes.csv"
    path.write_text(FIXED)
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Search little: how good places are is tested elsewhere."""
    monkeypatch.setattr(placement, "_STARTS", 1)
    monkeypatch.setattr(placement, "_SWEEPS", 1)


def test_the_tables_are_those_of_a_session(fixed, tmp_path, capsys):
    out = tmp_path / "deep" / "my_plan"
    call(plan, room="6x4x2.7", nodes=4, fixed=fixed, out=out)
    (out / "recordings.csv").write_text("recording\nmonday\n")
    tables = session_tables.read_tables(out)
    np.testing.assert_allclose(tables.room_size, [6.0, 4.0, 2.7])
    assert list(tables.nodes) == ["door", "n1", "shelf", "n2"]
    np.testing.assert_allclose(tables.nodes["n1"].position, [5.9, 3.5, 1.6])
    np.testing.assert_allclose(tables.nodes["n2"].position[2], 1.2)
    shown = capsys.readouterr().out
    assert "4 nodes, one clock, places known to 1cm, T60 0.5 s" in shown
    assert "  n1       5.90    3.50    1.60  given" in shown
    assert "90 % radius expected: worst" in shown and "One more node, best at" in shown
    page = (out / "plan.html").read_text()
    assert "<h1>my_plan</h1>" in page
    assert "uld_jax plan --room=6x4x2.7 --nodes=4 --fixed=My_Nodes.csv</code>" in page


def test_the_page_may_have_a_name_and_wrong_clocks_show(fixed, tmp_path, capsys):
    page = tmp_path / "rooms" / "lab.html"
    call(plan, room="6x4", nodes=3, fixed=fixed, clocks="2ms", out=page)
    assert sorted(path.name for path in page.parent.iterdir()) == [
        *("lab.html", "nodes.csv", "room.csv")
    ]
    assert "clocks off by 2ms" in capsys.readouterr().out
    call(plan, room="6x4", nodes=3, fixed=fixed, clocks="2ms", calibrate=6)
    shown = capsys.readouterr().out
    assert "clocks off by 2ms, calibrated by talkers at 6 places" in shown
    assert "Clocks are expected to be calibrated in 0 % of recordings; in" in shown


def test_nothing_is_overwritten_unless_asked(fixed, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "room.csv").write_text("precious\n")
    options = {"room": "6x4", "nodes": 3, "fixed": fixed, "out": out}
    with pytest.raises(errors.InputError, match=r"room\.csv' exists; name another"):
        call(plan, **options)
    assert [path.name for path in out.iterdir()] == ["room.csv"]
    call(plan, **options, overwrite=True)
    assert (out / "room.csv").read_text() == "x,y\n6,4\n"


WRONG = {
    "room of 0 m": ({"room": "0x4"}, r"--room is \[0.0, 4.0\].*above 0"),
    "one side": ({"room": "6"}, "--room is '6'; give meters, such as --room=6x4"),
    "no number": ({"room": "6x?"}, r"--room is '6x\?'"),
    "endless": ({"room": "infx4"}, "--room is 'infx4'"),
    "two nodes": ({"nodes": 2}, "--nodes is 2; give 3 to 60"),
    "more fixed": ({"nodes": 3, "extra": True}, "4 nodes are fixed, and --nodes is 3"),
    "outside": ({"room": "3x2"}, r"'n1': a node at .*5\.9.* is outside the room of"),
    "no table": ({"fixed": "nowhere.csv"}, "'nowhere.csv' does not exist"),
    "unit": ({"clocks": "1min"}, "--clocks is '1min' and has the unknown unit 'min'"),
    "no unit": ({"clocks": "3"}, "--clocks is '3' and has no unit; .*--clocks=1ms"),
    "word": ({"clocks": "good"}, "--clocks is 'good'; give a number with a unit"),
    "odd zero": ({"clocks": "0min"}, "unknown unit 'min'"),
    "negative": ({"positions": "-1cm"}, "--positions is '-1cm'"),
    "region": ({"on": "floor"}, "--on is 'floor'; give one of walls"),
    "which table": ({"on": "table"}, "--on is 'table' and --?table is None"),
    "criterion": ({"minimize": "best"}, "--minimize is 'best'"),
    "clocks": ({"calibrate": 6}, "--calibrate is 6 and --?clocks is 0"),
    "too many": ({"calibrate": 99, "clocks": "1ms"}, "places is 99; .* of 1 to 20"),
    "height": ({"node_height": 30.0}, "--node_height is 30.0"),
    "t60": ({"t60": 0.0}, "--t60 is 0.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_with_the_value_and_the_fix(
    case, fixed, tmp_path, monkeypatch
):
    monkeypatch.setattr(placement._Search, "find", None)
    changed, message = WRONG[case]
    changed = dict(changed)
    if changed.pop("extra", False):
        fixed.write_text(FIXED + "desk,200,200,75\n")
    options = {"room": "6x4", "nodes": 6, "fixed": fixed, "out": tmp_path / "o"}
    flags = {flag.name: flag.default for flag in plan.FLAGS} | options | changed
    numbers = ("node_height", "t60", "source_height")
    values = {
        k: v if v is None or isinstance(v, int) or k in numbers else str(v)
        for k, v in flags.items()
    }
    with pytest.raises(errors.InputError, match=message):
        plan.main(SimpleNamespace(**values), [])
    assert not (tmp_path / "o").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.InputError, match="is a file; name a folder"):
        call(plan, room="6x4", nodes=6, out=tmp_path / "file")
