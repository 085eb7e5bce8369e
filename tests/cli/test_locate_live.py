"""`uld_jax locate --live`: lines of JSON, clean ends, and flags that exclude each other."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import types

import free_field
import numpy as np
import pytest
from conftest import ROOT
from whole_runs import call

import uld_jax
from uld_jax.audio import builtin
from uld_jax.cli import live, locate
from uld_jax.localization import stream as stream_lib
from uld_jax.runtime import errors

RATE = 16_000
NODES = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
FINE = {"live": True, "nodes": "nodes.csv", "sample_rate": RATE}
KEYS = ["start", "end", "x", "y", "height", "radius_90", "determined", "mass"]
KEYS += ["reasons"]


@pytest.fixture
def table(tmp_path):
    rows = [f"n{k},{x},{y},{z}\n" for k, (x, y, z) in enumerate(NODES)]
    (tmp_path / "nodes.csv").write_text("node,x,y,z\n" + "".join(rows))
    (tmp_path / "room.csv").write_text("x,y\n6.0,4.5\n")
    return tmp_path / "nodes.csv"


@pytest.fixture
def feed(monkeypatch):
    """Make bytes the standard input; compile nothing before they are read."""

    def give(data, terminal=False):
        source = types.SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: terminal)
        monkeypatch.setattr(sys, "stdin", source)

    monkeypatch.setattr(stream_lib.Stream, "warm_up", lambda _: None)
    return give


def test_lines_are_the_answers_of_localize(table, feed, capsys):
    speech = np.asarray(builtin.synthesize("test00-0"), np.float64)
    paths = np.linalg.norm(np.array(NODES) - [2.0, 3.0, 1.4], axis=1)
    signals = free_field.delay(speech, paths / 343.0)[:, 8_000:48_000] / paths[:, None]
    signals = np.int16(20_000 * signals / np.abs(signals).max())
    feed(signals.T.astype("<i2").tobytes() + bytes(3))
    call(locate, live=True, nodes=table, sample_rate=RATE)
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [list(line) for line in lines] == [KEYS] * 2
    assert [(line["start"], line["end"]) for line in lines] == [(0.0, 2.0), (0.5, 2.5)]
    for line, begin in zip(lines, (0, 8_000), strict=True):
        window = signals[:, begin : begin + 32_000]
        found = uld_jax.localize(window, RATE, NODES, [6.0, 4.5])
        assert [line["x"], line["y"]] == found.position.round(3).tolist()
        assert line["radius_90"] == round(found.radius_90, 3)
        assert line["determined"] == found.determined
        assert line["mass"] == round(found.modes[0].mass, 3)
        assert line["height"] == round(found.height, 2)
    assert "ends with 3 of the 8 bytes of a frame" in shown.err
    assert "ready: 4 channels at 16000 Hz" in shown.err


def test_channels_have_the_order_of_the_table_and_nodes_their_names(
    table, feed, capsys
):
    """Node n1 is silent, which is channel 3."""
    text = table.read_text().splitlines()
    numbers = ["channel", 1, 3, 2, 4]
    rows = [f"{row},{n}" for row, n in zip(text, numbers, strict=True)]
    table.write_text("\n".join(rows))
    sound = np.float32(np.random.default_rng(0).normal(size=(8_000, 4)))
    sound[:, [2, 3]] = 0.0
    feed(sound.tobytes())
    short = {"window": 0.5, "hop": 0.25, "sample_format": "f32le"}
    call(locate, **FINE | {"nodes": table} | short)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert not line["determined"]
    assert line["height"] is None
    assert line["reasons"][1:] == [
        "Node n1 is silent and was left out",
        "Node n3 is silent and was left out",
    ]


def test_what_tables_lack_is_not_said_among_the_lines(table, feed, capsys):
    table.write_text("node,x,y\na,1,1\nb,2,1\nc,1,2\n")
    feed(bytes(6 * 4_000))
    call(locate, live=True, nodes=table, sample_rate=RATE, window=0.25, hop=0.25)
    shown = capsys.readouterr()
    assert "nodes.csv has no column z" in shown.err
    assert len([json.loads(line) for line in shown.out.splitlines()]) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FINE | {"recordings": "lab"}, "--live does not go with the folder 'lab'"),
        (FINE | {"run": "runs"}, "--live does not go with --run; remove"),
        (FINE | {"method": "srp_phat"}, "--live does not go with --method"),
        (FINE | {"out": "a.csv"}, "--live does not go with --out"),
        (FINE | {"num_sources": 2}, "--live does not go with --num_sources"),
        (FINE | {"calibrate_clocks": "session"}, "go with --calibrate_clocks"),
        (FINE | {"overwrite": True}, "--live does not go with --overwrite"),
        ({"live": True, "sample_rate": RATE}, "needs --nodes; pass --nodes=my_lab"),
        (
            {"live": True, "nodes": "a.csv"},
            "needs --sample_rate; pass --sample_rate=16",
        ),
        (FINE | {"sample_format": "u8"}, "'u8'; give one of s16le, s24le"),
        (FINE | {"sample_format": "s16le", "device": "0"}, "--device gives its own"),
        ({"recordings": "lab", "hop": 1}, "--hop is 1.*with --live alone"),
        (
            {"recordings": "lab", "device": "0"},
            "--device is '0', which goes with --live",
        ),
        (FINE | {"nodes": "no.csv"}, "'no.csv' does not exist"),
    ],
)
def test_flags_that_do_not_fit_are_named(values, message, feed):
    feed(b"")
    with pytest.raises(errors.InputError, match=message):
        call(locate, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample_rate": 16}, "sample_rate is 16"),
        ({"hop": 3}, "hop is 3"),
        ({"room": "2x2"}, "outside the room"),
    ],
)
def test_what_the_stream_refuses_is_an_error(values, message, table, feed):
    feed(b"")
    with pytest.raises(errors.InputError, match=message):
        call(locate, **(FINE | {"nodes": table} | values))


def test_another_format_than_is_passed_is_an_error(table, feed):
    feed(np.full((4_000, 4), -1, "<i2").tobytes())
    with pytest.raises(errors.InputError, match=r"node 0 holds NaN.* --sample_format"):
        call(locate, **FINE | {"nodes": table, "sample_format": "f32le"})


def test_a_device_is_looked_for_before_anything_is_compiled(table, feed, monkeypatch):
    feed(b"", terminal=True)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr(stream_lib.Stream, "warm_up", lambda _: 1 / 0)
    with pytest.raises(errors.InputError, match="needs sounddevice"):
        call(locate, **FINE | {"nodes": table, "device": "usb"})


def test_a_terminal_is_no_input_and_the_method_may_be_named(table, feed, capsys):
    feed(b"", terminal=True)
    with pytest.raises(errors.InputError, match="standard input is a terminal"):
        call(locate, **FINE | {"nodes": table})
    feed(b"")
    call(locate, **FINE | {"nodes": table, "method": "fused"})
    assert capsys.readouterr().out == ""


def test_the_formats_are_those_that_are_read():
    from uld_jax.audio import live as live_lib

    assert tuple(live_lib.FORMATS) == live._FORMATS


@pytest.fixture
def started(table):
    """Start the command on a pipe, without compiling, and end it."""
    # What a shell runs in the background ignores interruptions.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from uld_jax.localization import stream; from uld_jax.cli import app; "
    code += "stream.Stream.warm_up = lambda _: None; "
    code += "app.main(['locate', '--live', '--sample_rate=16000', '--hop=0.25', "
    code += f"'--window=0.25', '--nodes={table}'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
    )
    yield process
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    process.wait()


def test_lines_come_at_once_and_an_interruption_ends_it(started):
    started.stdin.write(bytes(32_000))
    started.stdin.flush()
    assert select.select([started.stdout], [], [], 60)[0]
    assert json.loads(started.stdout.readline())["end"] == 0.25
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=60) == 0
    said = started.stderr.read().decode()
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said and "Fatal" not in said


def test_nobody_who_reads_ends_it_in_silence(started):
    started.stdin.write(bytes(32_000))
    started.stdin.flush()
    started.stdout.readline()
    started.stdout.close()
    deadline = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < deadline:
        try:
            started.stdin.write(bytes(32_000))
            started.stdin.flush()
        except BrokenPipeError:
            break
        select.select([started.stderr], [], [], 0.1)  # Until it says anything.
    assert started.wait(timeout=60) == 0
    said = started.stderr.read().decode()
    assert said.endswith("Hz\n"), said
