"""Localize two talkers who speak at once in the recordings of a session."""

import csv
import functools
import json

import numpy as np
from audio_files import write
from free_field import random_places
from several_talkers import speak
from whole_runs import call

from uld_jax.cli import locate

ROOM = np.array([4.0, 6.5, 3.0])
TALKERS = np.array([[1.0, 5.2, 1.4], [2.7, 2.1, 1.3]])

main = functools.partial(call, locate)


def test_each_of_two_talkers_has_a_position_with_its_radius(tmp_path, capsys):
    folder = tmp_path / "lab"
    folder.mkdir()
    rng = np.random.default_rng(4)
    nodes = random_places(rng, ROOM[:2], 10, 0.9).round(3)
    signals = speak(TALKERS, nodes)
    write(folder / "both.wav", 0.5 * signals.T / np.abs(signals).max())
    rows = [f"n{k},{x},{y},{z}" for k, (x, y, z) in enumerate(nodes)]
    (folder / "room.csv").write_text("x,y,z\n4.0,6.5,3.0\n")
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z", *rows]))
    named = ",".join(f"{number}" for number in TALKERS.ravel())
    (folder / "recordings.csv").write_text(
        f"recording,x,y,z,x2,y2,z2\nboth.wav,{named}\n"
    )
    out = tmp_path / "positions.csv"
    main(folder, out=out, num_sources=2)
    assert "all talkers determined in 1" in capsys.readouterr().out
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["source"] for row in found] == ["1", "2"]
    assert [row["determined"] for row in found] == ["yes", "yes"]
    # In the order of the table, each with its own radius.
    for row in found:
        assert float(row["error"]) < min(0.05, 3 * float(row["radius_90"]) + 0.005)
        assert 0.8 < float(row["mass"]) <= 1.0
        assert not row["talker"]
    (recording,) = json.loads(out.with_suffix(".json").read_text())["recordings"]
    (window,) = recording["windows"]
    assert window["determined"] is True
    for number, talker in enumerate(window["talkers"]):
        assert talker["position_m"] == window["positions_m"][number]
        np.testing.assert_allclose(talker["position_m"], TALKERS[number, :2], atol=0.05)
