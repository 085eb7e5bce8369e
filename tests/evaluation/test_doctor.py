"""Faults planted in a session of simulated recorders, one a kind, and their remarks."""

import json
import shutil

import numpy as np
import pytest
import scipy.signal
import soundfile
from whole_runs import call

from uld_jax.audio import diagnosis, sessions, surveys
from uld_jax.cli import doctor as command
from uld_jax.evaluation import doctor, example_session, geometry
from uld_jax.runtime import errors

RATE = 16_000


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Return a session without faults, which is not to be changed."""
    return example_session.write(tmp_path_factory.mktemp("own") / "session", late={})


@pytest.fixture
def folder(healthy, tmp_path):
    return shutil.copytree(healthy, tmp_path / "session")


def remarks_of(folder):
    session = sessions.open_session(folder)
    (recording,) = session.recordings
    survey = surveys.survey(recording.channels)
    return diagnosis.examine(survey, diagnosis.measure(survey), session.nodes)


def times(seconds=24.31):
    return np.arange(round(seconds * RATE)) / RATE


def hum(signal):
    lines = [np.sin(2 * np.pi * 50.0 * k * times())[: len(signal)] for k in (1, 2, 3)]
    return signal / 4 + 0.3 * sum(lines) / 3


def narrow(signal):
    return scipy.signal.sosfilt(
        scipy.signal.butter(12, 3600, fs=RATE, output="sos"), signal
    )


def gaps(signal):
    signal[RATE : 2 * RATE] = 0.0
    return signal


def noisy(signal):
    rng = np.random.default_rng(0)
    return signal / 4 + 0.05 * rng.normal(size=len(signal))


SIGNALS = {
    "silent": lambda signal: 0 * signal,
    "clipped": lambda signal: (20 * signal).clip(-1, 1),
    "quiet": lambda signal: 0.02 * signal,
    "noisy": noisy,
    "offset": lambda signal: 0.3 * signal + 0.5,
    "hum": hum,
    "narrow": narrow,
    "gaps": gaps,
    "late": lambda signal: signal[round(0.4 * RATE) :],
    "early": lambda signal: signal[: -3 * RATE],
    "broken": lambda signal: np.where(times() > 5, np.nan, 1)[: len(signal)] * signal,
}


def test_a_healthy_session_gets_no_remark(healthy):
    assert remarks_of(healthy) == []


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("node", ["shelf", "phone"])
def test_faults_of_signals_are_found_where_they_are(folder, kind, node):
    path = folder / f"{node}.wav"
    signal, _ = soundfile.read(path)
    soundfile.write(path, SIGNALS[kind](signal), RATE, subtype="FLOAT")
    (remark,) = remarks_of(folder)
    assert (remark.node, remark.kind) == (node, kind)
    unusable = kind in ("silent", "broken")
    assert remark.level == (diagnosis.UNUSABLE if unusable else diagnosis.REMARK)


def test_levels_are_those_of_the_signals(folder):
    rng = np.random.default_rng(1)
    sound = rng.normal(size=5 * RATE)
    sound[4 * RATE :] -= sound[4 * RATE :].mean()
    spoken = np.concatenate([np.full(4 * RATE, 1e-4), np.full(RATE, 0.1)])
    for node in example_session.NODES:
        soundfile.write(folder / f"{node}.wav", sound * spoken + 0.01, RATE, "FLOAT")
    session = sessions.open_session(folder)
    survey = surveys.survey(session.recordings[0].channels)
    facts = diagnosis.measure(survey)[0]
    assert facts.speech_db == pytest.approx(-20, abs=1.5)
    assert facts.noise_db == pytest.approx(-80, abs=1.5)
    assert facts.offset_db == pytest.approx(-40, abs=0.1)
    assert facts.high_db == pytest.approx(10 * np.log10(2.5 / 2.0), abs=0.5)


def test_the_command_says_what_is_wrong_by_its_exit_code(folder, tmp_path, capsys):
    call(command, folder, json=tmp_path / "health.json")
    assert "Nothing is wrong" in capsys.readouterr().out
    record = json.loads((tmp_path / "health.json").read_text())
    (found,) = record["recordings"]
    assert (found["level"], found["places"], found["remarks"]) == (0, 3, [])
    assert [node["name"] for node in found["nodes"]] == list(example_session.NODES)
    with pytest.raises(errors.InputError, match="exists; name another file"):
        call(command, folder, json=tmp_path / "health.json")
    # A node that is not where the table says.
    table = folder / "nodes.csv"
    text = table.read_text()
    table.write_text(text.replace("phone,3.4,2.3", "phone,3.4,1.4"))
    with pytest.raises(errors.Failed, match="Usable: ") as raised:
        call(command, folder)
    assert raised.value.code == 1
    assert "Positions are determined in 2 of 8 windows: " in capsys.readouterr().out
    for name in ("shelf", "window", "door", "desk"):
        soundfile.write(folder / f"{name}.wav", np.zeros(24 * RATE), RATE)
    with pytest.raises(errors.Failed, match="Not usable: 5 remarks") as raised:
        call(command, folder)
    assert raised.value.code == 2
    assert "2 nodes can be used, and 3 are needed" in capsys.readouterr().out


def test_exchanged_nodes_are_named(folder):
    table = folder / "nodes.csv"
    text = table.read_text()
    text = text.replace("shelf.wav", "x").replace("door.wav", "shelf.wav")
    table.write_text(text.replace("x\n", "door.wav\n"))
    (examined,) = doctor.examine(sessions.open_session(folder))
    assert examined.level > 0
    assert any(
        remark.kind in ("exchanged", "undetermined") for remark in examined.remarks
    )


def test_nodes_on_a_line_are_noticed(folder):
    rows = [f"{name},{k + 1},2.0,1.2,{name}.wav" for k, name in enumerate("abcd")]
    for name, source in zip("abcd", example_session.NODES, strict=False):
        shutil.copy(folder / f"{source}.wav", folder / f"{name}.wav")
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z,file", *rows]) + "\n")
    session = sessions.open_session(folder).listed(labeled_only=False)
    (recording,) = session.recordings
    found = geometry.check(session, session.surveyed[recording.name].faults)
    assert [remark.kind for remark in found] == ["line"]
