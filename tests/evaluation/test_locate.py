"""Localize recordings of a session: the command and its parts."""

import csv
import dataclasses
import functools
import re
import shutil

import jax
import made_records
import made_sessions
import numpy as np
import pytest
import scipy.signal
from audio_files import write
from free_field import delay, free_field, random_places
from whole_runs import call
from whole_runs import run as run_command

from uld_jax import config as config_lib
from uld_jax.audio import builtin, sessions
from uld_jax.cli import locate
from uld_jax.datasets import prepare
from uld_jax.evaluation import locate as locate_lib
from uld_jax.evaluation import predict, session_errors
from uld_jax.labels import schemes
from uld_jax.localization import localize, posterior
from uld_jax.networks import build
from uld_jax.runtime import errors
from uld_jax.storage import atomic, checkpoints, records
from uld_jax.training import initialization, optimizer, step, train
from uld_jax_experiments import own

N = sessions.NUM_SAMPLES
ROOM = np.array([4.0, 9.5, 4.2])
TALKERS = {"seen.wav": [1.0, 7.2, 0.95], "unseen.wav": [2.7, 2.1, 0.95]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return a session of three windows a recording, the second without sound."""
    folder = tmp_path_factory.mktemp("own") / "lab"
    made_sessions.write_tables(folder)
    for name in made_sessions.RECORDINGS:
        rng = np.random.default_rng(list(name.encode()))
        noise = rng.normal(size=(3, 3 * N))
        # Each window has a spectrum of its own, so that the network distinguishes them.
        low = np.cumsum(noise[:, 2 * N :], axis=1)
        noise[:, 2 * N + 16 :] = (low[:, 16:] - low[:, :-16]) / 4
        levels = np.repeat([0.1, 1e-4, 0.05], N) * rng.uniform(0.1, 1.0, (3, 1))
        made_sessions.write_recording(folder, name, np.clip(noise * levels, -0.9, 0.9))
    return folder


def settings(**overrides):
    """Return settings of a tiny network before they are resolved."""
    config = own.get_config("tiny")
    tiny = {"model.frames_per_step": 12, "model.num_blocks": 1}
    tiny |= {"model.num_temporal_blocks": 0, "label.resolution": 3}
    config.update_from_flattened_dict(tiny | overrides)
    return config


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Return the folder of a run with an untrained network, for any nodes."""
    folder = tmp_path_factory.mktemp("runs") / "uld"
    config = config_lib.to_dict(config_lib.resolve(settings()))
    label = schemes.Label("uld", 3)
    model = build.for_label(config["model"], label, 30, num_sources=1, seed=5)
    _, state = step.init_state(model, optimizer.adamw(1e-3, 0.0))
    items = {"params": state.params, "statistics": state.statistics}
    with checkpoints.Checkpoints(folder) as saved:
        saved.save("best", 0, items, {"epoch": 0})
    record = made_records.record("uld") | {"settings": config}
    law = {"num_sources": 1, "num_nodes": 30}
    record |= {"data": {"name": "simulated/ad1:1.0.0", "law": law}}
    atomic.write_json(folder / records.FILE_NAME, record)
    return folder


@pytest.fixture(scope="module")
def free_lab(tmp_path_factory):
    """Return a session without reflections, one of its two talkers not in the table."""
    folder = tmp_path_factory.mktemp("own") / "free_lab"
    rng = np.random.default_rng(4)
    nodes = random_places(rng, ROOM[:2], 8, 0.9).round(3)
    for name, place in TALKERS.items():
        signals = free_field(rng, [place], nodes, N)
        write(folder / name, 0.5 * signals.T / np.abs(signals).max())
    rows = [f"n{k},{x},{y},{z}" for k, (x, y, z) in enumerate(nodes)]
    (folder / "room.csv").write_text("x,y,z\n4.0,9.5,4.2\n")
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z", *rows]))
    (folder / "recordings.csv").write_text(
        "recording,split,x,y,z\nseen.wav,,1.0,7.2,0.95\nunseen.wav,,,,\n"
    )
    return folder


main = functools.partial(call, locate)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, *names):
    return np.array([[float(row[name]) for name in names] for row in rows])


def test_a_network_finds_what_a_test_on_the_data_set_finds(
    network, lab, tmp_path, capsys, monkeypatch
):
    # What is drawn beside the predictions would take half of the time.
    monkeypatch.setattr(predict, "distributions", lambda *_, **__: np.zeros(0))
    of_session = {"data.name": "sessions/lab:1.0.0", "data.recordings": str(lab)}
    of_session |= {"data.dir": str(tmp_path / "datasets"), "train.epochs": 0}
    config = initialization.settle(settings(**of_session), str(network))
    prepare.ensure_prepared(config, processes=1)
    train.train_and_evaluate(config, tmp_path / "tested")
    with np.load(tmp_path / "tested" / records.PREDICTIONS_FILE) as stored:
        expected, places = stored["predicted"][:, 0], stored["positions"][:, 0]
    capsys.readouterr()
    out = tmp_path / "positions.csv"
    main(recordings=lab, run=network, out=out)
    assert list(read(out)[0]) == list(locate_lib.COLUMNS)
    tested = [row for row in read(out) if row["recording"] == "four.wav"]
    assert [(row["time"], row["source"]) for row in tested] == [
        ("0.000", "1"),
        ("4.000", "1"),
    ]
    found = column(tested, "x", "y")
    assert np.linalg.norm(np.diff(expected, axis=0)) > 0.002  # The windows differ.
    np.testing.assert_allclose(found, expected, atol=6e-4)
    np.testing.assert_allclose(column(tested, "true_x", "true_y"), places, atol=6e-4)
    misses = np.linalg.norm(expected - places, axis=1)
    np.testing.assert_allclose(column(tested, "error")[:, 0], misses, atol=6e-4)
    # Others, of whatever split, are localized, too.
    names = [row["recording"] for row in read(out)]
    assert names == [f"{n}.wav" for n in made_sessions.RECORDINGS for _ in range(2)]
    (line,) = [s for s in capsys.readouterr().out.splitlines() if "four.wav:" in s]
    x, y = np.median(expected, axis=0)
    assert line == (
        f"four.wav: 2 windows, median position ({x:.3f}, {y:.3f}) m, median error "
        f"{np.median(misses):.3f} m"
    )


def test_srp_phat_finds_a_source_in_the_free_field(free_lab, tmp_path):
    out = tmp_path / "positions.csv"
    result = run_command(
        *(
            "-m",
            "uld_jax.cli",
            "locate",
            f"--recordings={free_lab}",
            "--method=srp_phat",
        ),
        f"--out={out}",
    )
    rows = read(out)
    assert [row["recording"] for row in rows] == list(TALKERS)
    expected = np.array(list(TALKERS.values()))[:, :2]
    found = column(rows, "x", "y")
    np.testing.assert_allclose(found, expected, atol=0.02)
    seen, unseen = rows
    assert (seen["true_x"], seen["true_y"]) == ("1.000", "7.200")
    miss = np.linalg.norm(found[0] - expected[0])
    assert float(seen["error"]) == pytest.approx(miss, abs=1.1e-3)
    # The position of the other is unknown.
    assert [unseen[name] for name in locate_lib.COLUMNS[5:]] == [""] * 12
    lines = result.stdout.splitlines()
    assert lines[0].startswith("seen.wav: 1 window, median position (")
    assert f"median error {seen['error']} m" in lines[0]
    assert "error" not in lines[1]


def located(places):
    """Return the positions of two sources in two windows."""
    recording = sessions.Recording("a", "test", places, ())
    predicted = np.array([[[1.0, 2.0], [3.0, 5.0]], [[1.3, 2.4], [3.0, 4.0]]])
    return locate_lib.Located(recording, np.array([0.0, 6.0]), predicted)


def test_each_source_has_rows_of_its_own():
    known = located(np.array([[1.0, 2.0, 1.6], [3.0, 4.0, 1.6]]))
    found = list(locate_lib.rows(known))
    assert found[1][:5] == ("a", "0.000", "2", "3.000", "5.000")
    assert found[1][5:] == (*9 * ("",), "3.000", "4.000", "1.000")
    assert found[2][:5] == ("a", "6.000", "1", "1.300", "2.400")
    assert found[2][5:] == (*9 * ("",), "1.000", "2.000", "0.500")
    assert known.summary() == "a: 2 windows, median error 0.250 m"
    unknown = list(locate_lib.rows(located(None)))
    assert [row[:5] for row in unknown] == [row[:5] for row in found]
    assert unknown[1][5:] == 12 * ("",)


def level_and_nodes(batch):
    """Predict a position for each example that shows its level and its nodes."""
    loudest = np.abs(batch["audio"]).max(axis=(1, 2)) / 30_000
    counted.append(len(loudest))
    nodes = batch["node_positions"].sum(axis=(1, 2))
    return np.stack([loudest, nodes], axis=1)[:, None]


counted = []


def test_windows_come_in_batches_of_one_size(lab):
    counted.clear()
    session = sessions.open_session(lab).listed()
    found = list(locate_lib.locate(session, level_and_nodes, batch_size=4))
    assert counted == [4, 4, 4]
    assert [one.recording for one in found] == list(session.recordings)
    for one in found:
        assert one.starts.tolist() == [0.0, 4.0]
        # Each window has a gain of its own.
        expected = np.sum(made_sessions.NODE_POSITIONS)
        np.testing.assert_allclose(
            one.predicted[:, 0], [[1.0, expected]] * 2, rtol=1e-4
        )


def test_what_is_not_finite_is_not_written(lab):
    session = sessions.open_session(lab)

    def lose(batch):
        return np.full((len(batch["audio"]), 1, 2), np.nan)

    with pytest.raises(FloatingPointError, match=r"one\.wav: a position is not finite"):
        list(locate_lib.locate(session, lose, batch_size=4))


def test_all_recordings_are_checked_before_the_first_is_localized(lab, tmp_path):
    """Those to be localized only, too: this one has a dead node."""
    folder = shutil.copytree(lab, tmp_path / "lab")
    signals = np.random.default_rng(0).normal(size=(3, 2 * N)) / 10
    signals[1] = 0.0
    made_sessions.write_recording(folder, "five", signals)
    session = sessions.open_session(folder)
    with pytest.raises(sessions.SessionError, match=r"'five\.wav'.*node desk"):
        next(locate_lib.locate(session, lambda _: 1 / 0, batch_size=4))


@pytest.mark.parametrize(
    ("flags_given", "message"),
    [
        ({}, "session folder 'no/lab' does not exist"),
        ({"run": "r", "method": "srp_phat"}, "--run is 'r' and --method 'srp_phat'"),
        ({"run": "r", "num_sources": 2}, "--num_sources is 2, but a network"),
        ({"method": "srp_phat", "out": "there.csv"}, "'there.csv' exists"),
        ({"method": "srp_phat", "out": "."}, r"--out: '\.' is a folder"),
        ({"method": "srp_phat", "out": "no/a.csv"}, "'no' is not a writable folder"),
        ({"run": "r"}, "no folder 'r', and no network 'r' comes with the package"),
        ({"run": "runs"}, "'runs' is not the .* name one of its runs: uld"),
        ({"method": "srp_phat"}, "session folder 'no/lab' does not exist"),
    ],
)
def test_wrong_flags_are_named(tmp_path, monkeypatch, network, flags_given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("precious\n")
    shutil.copytree(network, "runs/uld")
    with pytest.raises(errors.InputError, match=message):
        main(recordings="no/lab", **flags_given)
    assert (tmp_path / "there.csv").read_text() == "precious\n"


def test_by_default_each_position_comes_with_its_radius(free_lab, tmp_path, capsys):
    out = tmp_path / "positions.csv"
    main(recordings=free_lab, out=out)
    rows = read(out)
    found = column(rows, "x", "y")
    expected = np.array(list(TALKERS.values()))[:, :2]
    for row, miss in zip(rows, np.linalg.norm(found - expected, axis=1), strict=True):
        assert row["determined"] in ("yes", "no")
        assert miss < float(row["radius_90"]) + 0.1
        assert row["determined"] == "no" or float(row["radius_90"]) < 1.0
        assert row["determined"] == "yes" or row["reason"]
    printed = capsys.readouterr().out
    count = sum(row["determined"] == "yes" for row in rows[:1])
    assert f"seen.wav: 1 window, {count} determined" in printed


def test_clocks_can_be_calibrated_first(free_lab, tmp_path, capsys):
    """Of one place they are not determined; the answers are the same then."""
    main(recordings=free_lab, out=tmp_path / "alone.csv")
    alone = column(read(tmp_path / "alone.csv"), "time", "x", "y")
    capsys.readouterr()
    for kind, count in (("recording", 2), ("session", 1)):
        out = tmp_path / f"{kind}.csv"
        main(recordings=free_lab, out=out, calibrate_clocks=kind)
        assert capsys.readouterr().out.count("clocks are not determined") == count
        rows = read(out)
        assert [row["recording"] for row in rows] == list(TALKERS)
        np.testing.assert_allclose(column(rows, "time", "x", "y"), alone, atol=0.01)
    with pytest.raises(errors.InputError, match="give recording or session"):
        main(recordings=free_lab, calibrate_clocks="yes")
    with pytest.raises(errors.InputError, match="goes with --method=fused alone"):
        main(recordings=free_lab, method="srp_phat", calibrate_clocks="recording")


@pytest.fixture(scope="module")
def late_lab(tmp_path_factory):
    """Return a session of talkers at five places, by clocks that are 10 ms off."""
    folder = tmp_path_factory.mktemp("own") / "late_lab"
    rng = np.random.default_rng(5)
    nodes = rng.uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (8, 3)).round(3)
    late = 0.01 * rng.normal(size=8)
    places = [[1.2, 3.1], [4.4, 1.0], [2.8, 4.2], [0.8, 0.9], [5.1, 3.6]]
    rows = []
    for number, place in enumerate(places):
        speech = np.asarray(builtin.synthesize(f"test0{number}-0"), np.float64)
        paths = np.linalg.norm(nodes - [*place, 1.4], axis=1)
        signals = delay(speech[:48_000], paths / 343.0 + late) / paths[:, None]
        signals = signals[:, 8_000:40_000]
        write(folder / f"{number}.wav", 0.5 * signals.T / np.abs(signals).max())
        rows.append(f"{number}.wav,,{place[0]},{place[1]},1.4")
    (folder / "room.csv").write_text("x,y,z\n6.0,5.0,2.8\n")
    lines = [f"n{k},{x},{y},{z}" for k, (x, y, z) in enumerate(nodes)]
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z", *lines]))
    table = "\n".join(["recording,split,x,y,z", *rows])
    (folder / "recordings.csv").write_text(table)
    return folder, late


def test_recordings_calibrate_their_clocks_together(late_lab, tmp_path, capsys):
    folder, late = late_lab
    out = tmp_path / "positions.csv"
    main(recordings=folder, out=out, calibrate_clocks="session")
    rows = read(out)
    assert np.median(column(rows, "error")) < 0.02
    assert sum(row["determined"] == "yes" for row in rows) >= 4  # Of five.
    lines = [line for line in capsys.readouterr().out.splitlines() if "offset" in line]
    assert [line.split(":")[0].strip() for line in lines] == [f"n{k}" for k in range(8)]
    found = np.array([float(line.split("offset")[1].split()[0]) for line in lines])
    wrong = found - 1e3 * late
    assert np.abs(wrong - np.median(wrong)).max() < 0.2


def meeting(folder):
    """Write a session of recorders as people have them; return late ones and places.

    In a free field: recorders of 44.1 and 48 kHz, one of stereo, two that started late,
    one that ended early, one dead; nodes in one table, in centimeters.
    """
    rng = np.random.default_rng(8)
    rates = {
        "a": 44_100,
        "b": 48_000,
        "c": 44_100,
        "d": 44_100,
        "e": 16_000,
        "f": 44_100,
    }
    lates = {"b": 0.3, "d": 0.12}
    nodes = rng.uniform([0.2, 0.2, 0.6], [5.8, 4.8, 1.6], (6, 3)).round(3)
    places = [[1.2, 3.1], [4.4, 1.0], [2.8, 4.0]]
    talk = [np.asarray(builtin.synthesize(f"test0{k}-0"), np.float64) for k in range(3)]
    talk = [part[:64_000] for part in talk]
    # Each recorder hears the places one after the other.
    rows = ["Node;x_cm;y_cm;z_cm;file;channel;note"]
    for (name, rate), at in zip(rates.items(), nodes, strict=True):
        heard = []
        for part, place in zip(talk, places, strict=True):
            path = np.linalg.norm(at - [*place, 1.4])
            heard.append(delay(part, np.array([path / 343.0]))[0] / path)
        heard = np.concatenate(heard)[round(16_000 * lates.get(name, 0.0)) :]
        heard += 1e-3 * rng.normal(size=len(heard))
        if name == "c":
            heard = heard[: 8 * 16_000]
        if name == "f":
            heard[:] = 0.0
        sound = scipy.signal.resample_poly(heard, rate // 100, 160) * 0.1
        channels = [0.5 * rng.normal(size=len(sound)) / 10, sound]
        stereo = np.stack(channels, axis=1) if name == "a" else sound
        write(folder / f"{name}.wav", stereo, rate)
        x, y, z = (f"{100 * value:.1f}".replace(".", ",") for value in at)
        rows.append(f"{name};{x};{y};{z};{name}.wav;{2 if name == 'a' else ''};ok")
    (folder / "nodes.csv").write_text("\r\n".join(rows), encoding="utf-16")
    return lates, places


def test_recorders_of_every_kind_are_one_session(tmp_path, capsys):
    lates, places = meeting(tmp_path)
    out = tmp_path / "positions.csv"
    main(recordings=tmp_path, out=out)
    printed = capsys.readouterr().out
    for name, late in lates.items():
        (said,) = re.findall(rf"Node {name} started (\S+) s after the first", printed)
        assert abs(float(said) - late) < 0.03
    assert "Node c ended 4.0 s before the last" in printed
    assert "Node f is silent" in printed
    rows = read(out)
    assert len(rows) == 6
    found = column(rows, "x", "y")
    expected = np.repeat(places, 2, axis=0)
    misses = np.linalg.norm(found - expected, axis=1)
    assert (misses <= column(rows, "radius_90")[:, 0] + 0.1).mean() > 0.8


def test_a_summary_is_of_what_is_determined():
    silent = np.zeros((2, 8000))
    found = localize.localize(silent, 16_000, [[0, 0, 1], [1, 0, 1]], [2.0, 2.0])

    def one(x, determined, radius):
        place = np.array([x, 2.0])
        covariance = np.eye(2) * (radius / 2.4) ** 2
        return dataclasses.replace(
            found,
            position=place,
            modes=(posterior.Mode(place, covariance, 0.98),),
            determined=determined,
            radius_90=radius,
            reasons=(),
        )

    details = [one(1.0, True, 0.1), one(5.0, False, 3.0), one(1.2, True, 0.3)]
    recording = sessions.Recording("a", "test", None, ())
    predicted = np.stack([each.position[None] for each in details])
    located = locate_lib.Located(
        recording, np.arange(0.0, 6.0, 2.0), predicted, details
    )
    summary = located.summary().splitlines()
    assert summary[0] == "a: 3 windows, 2 determined"
    assert summary[1].startswith("  0.0-6.0 s: talker 1 at (1.0")
    assert summary[1].endswith("% sure (2 windows)")
    assert len(summary) == 2
    # Of two places, the middle is none.
    details[2] = one(1.9, True, 0.1)
    predicted = np.stack([each.position[None] for each in details])
    located = locate_lib.Located(recording, 2.0 * np.arange(3), predicted, details)
    assert [turn.talker for turn in located.turns] == [1, 2]
    rows = [
        dict(zip(locate_lib.COLUMNS, row, strict=True))
        for row in locate_lib.rows(located)
    ]
    assert (rows[1]["radius_90"], rows[1]["determined"]) == ("3.000", "no")
    assert [row["talker"] for row in (rows[0], rows[2])] == ["1", "2"]
    assert float(rows[2]["smooth_x"]) == pytest.approx(1.9, abs=0.01)
    assert float(rows[2]["smooth_radius_90"]) == pytest.approx(0.1, rel=0.2)
    assert located.misses == {}


def test_true_positions_give_errors_coverage_and_what_is_determined():
    """Of windows as they are, and of smoothed ones in turns."""
    found = localize.localize(
        np.zeros((2, 8000)), 16_000, [[0, 0, 1], [4, 0, 1]], [4.0, 4.0]
    )

    def one(x, determined, radius):
        place, covariance = np.array([x, 2.0]), np.eye(2) * (radius / 2.4) ** 2
        mode = posterior.Mode(place, covariance, 0.98 if determined else 0.6)
        return dataclasses.replace(
            found,
            position=place,
            modes=(mode,),
            determined=determined,
            radius_90=radius,
        )

    details = [one(1.0, True, 0.1), one(1.2, True, 0.1), one(3.0, False, 1.5)]
    truth = np.array([[1.05, 2.0, 1.5]])
    recording = sessions.Recording("a", "test", truth, ())
    predicted = np.stack([each.position[None] for each in details])
    located = locate_lib.Located(recording, 2.0 * np.arange(3), predicted, details)
    errors, radii = located.misses["all windows"]
    np.testing.assert_allclose(errors, [0.05, 0.15, 1.95])
    np.testing.assert_allclose(radii, [0.1, 0.1, 1.5])
    measured = session_errors.measure([located.misses, {}])
    assert measured["determined"] == session_errors.Errors(
        *(2, pytest.approx(2 / 3), pytest.approx(0.1), pytest.approx(0.14), 0.5)
    )
    # What the track says of the third is not far off.
    assert measured["smoothed, in turns"].windows >= 2
    lines = located.summary().splitlines()
    assert lines[0] == "a: 3 windows, 2 determined, median error 0.150 m"
    assert (
        "  error, determined: 67 %, median 0.100 m, 90 % within 0.140 m, "
        "50 % inside their radii"
    ) in lines
    # Together with another, whose windows are all right.
    both = session_errors.measure(
        [located.misses, {"all windows": (np.zeros(3), np.ones(3))}]
    )
    assert both["all windows"].coverage == pytest.approx(4 / 6)
    assert both["determined"].share == pytest.approx(2 / 6)


def test_a_recording_that_cannot_be_right_does_not_keep_the_others(
    lab, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(lab, tmp_path / "lab")
    signals = np.random.default_rng(0).normal(size=(3, 2 * N)) / 10
    signals[1] = 0.0
    made_sessions.write_recording(folder, "two", signals)
    monkeypatch.setattr(locate_lib, "method", lambda *_: level_and_nodes)
    out = tmp_path / "positions.csv"
    with pytest.raises(
        errors.Failed,
        match=r"Left out:\n  recording 'two\.wav': .*node desk is silent",
    ):
        main(recordings=folder, method="srp_phat", out=out)
    assert {row["recording"] for row in read(out)} == {
        *("one.wav", "three.wav", "four.wav", "five.wav")
    }
    assert "positions are in" in capsys.readouterr().out


def test_a_table_is_overwritten_with_the_flag(lab, tmp_path, monkeypatch):
    out = tmp_path / "positions.csv"
    out.write_text("old\n")
    monkeypatch.setattr(locate_lib, "method", lambda *_: level_and_nodes)
    main(recordings=lab, method="srp_phat", out=out, overwrite=True)
    assert len(read(out)) == 10
    assert not list(tmp_path.glob("*.part"))


def with_data(run, model="adhoc", **origin):
    """Return a run's record with other data, and a network of another name."""
    model = run["settings"]["model"] | {"name": model}
    return run | {
        "settings": run["settings"] | {"model": model},
        "data": {"name": "other", **origin},
    }


def test_a_network_that_does_not_fit_the_session_is_refused(network, lab):
    run, session = records.read_trained(network, "--run"), sessions.open_session(lab)
    law = {"num_sources": 2, "num_nodes": 3}
    for origin in ({"law": law}, {"law": {}, "rendering": {"law": law}}):
        with pytest.raises(
            predict.PredictorError, match=r"finds 2 sources and the .* have 1; look"
        ):
            locate_lib.network(session, with_data(run, **origin))
    # The data of L-1 name no recipe.
    with pytest.raises(
        predict.PredictorError, match=r"needs 8 nodes and .* has 3; .*: adhoc"
    ):
        locate_lib.network(session, with_data(run, "encoder_decoder"))
    unlabeled = dataclasses.replace(session, recordings=session.recordings[-1:])
    assert callable(locate_lib.network(unlabeled, run))


def test_a_method_that_does_not_fit_the_session_is_refused(lab):
    session = sessions.open_session(lab)
    unlabeled = dataclasses.replace(session, recordings=session.recordings[-1:])
    for name, number, message in (
        ("srp_phat", 2, "--method=srp_phat finds 2 sources and the .* have 1"),
        ("tdoa_ls", None, "tdoa_ls cannot localize .* has 3 nodes; .* at least 4$"),
    ):
        with pytest.raises(predict.PredictorError, match=message):
            locate_lib.method(session, name, number)
    with pytest.raises(predict.PredictorError, match="fewer than 2 sources"):
        locate_lib.method(unlabeled, "tdoa_ls", 2)
    two = dataclasses.replace(session.recordings[0], source_positions=np.ones((2, 3)))
    both = dataclasses.replace(session, recordings=(two,))
    geometry = {"node_positions": session.node_positions, "room_size": ROOM}
    batch = {key: np.float32(value)[None] for key, value in geometry.items()}
    audio = jax.ShapeDtypeStruct((1, 3, 800), np.int16)
    for fitting, number, expected in (
        (unlabeled, 2, 2),
        (unlabeled, None, 1),
        (both, None, 2),
    ):
        predictor = locate_lib.method(fitting, "srp_phat", number)
        found = jax.eval_shape(
            lambda audio, predictor=predictor: predictor(batch | {"audio": audio}),
            audio,
        )
        assert found.shape == (1, expected, 2)
