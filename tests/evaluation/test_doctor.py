"""Faults planted in a session of simulated recorders, one a kind, and their remarks."""

import json
import shutil
from unittest import mock

import numpy as np
import pytest
import scipy.signal
import soundfile
from whole_runs import call

from benchmarks.reliability import bad_geometry, small_session
from uld_jax.audio import builtin, diagnosis, sessions, surveys
from uld_jax.cli import doctor as command
from uld_jax.evaluation import doctor, example_session, geometry
from uld_jax.localization import calibration
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


def play_by_own_clock(signal, drift):
    """Resample by a clock that is later and later, around the middle."""
    at = np.arange(len(signal))
    finer = scipy.signal.resample_poly(signal, 8, 1)
    when = at - drift * (at - len(at) / 2)
    return np.interp(8 * when, np.arange(len(finer)), finer)


def write_small(folder, signals):
    """Write the small session with other signals."""
    small_session.write(folder)
    for name, signal in zip(small_session.NODES, signals, strict=True):
        small_session.write_signal(folder, name, signal)
    return folder


def test_a_drifting_clock_is_found_with_its_standard_error(tmp_path, monkeypatch):
    signals = small_session.render(small_session.MANY[:3]).copy()
    names = list(small_session.NODES)
    node = names.index("door")
    signals[node] = play_by_own_clock(signals[node], 6e-5)
    folder = write_small(tmp_path / "session", signals)
    clocks = mock.Mock(spec=calibration.Calibration, determined=False)
    tried = mock.Mock(spec=doctor.session_clocks.calibrate, return_value=clocks)
    monkeypatch.setattr(doctor.session_clocks, "calibrate", tried)
    (examined,) = doctor.examine(sessions.open_session(folder))
    clocks, error = examined.clocks, 1e6 * examined.clocks.drift_errors[node]
    assert 0 < error < 8
    assert 1e6 * clocks.drifts[node] == pytest.approx(60, abs=3 * error)
    others = np.delete(clocks.drifts / clocks.drift_errors, node)
    assert (np.abs(others[np.isfinite(others)]) < 3).all()
    (remark,) = examined.remarks
    assert (remark.node, remark.kind) == ("door", "drift")
    assert tried.called
    assert "All clocks but that of door agree" in examined.said_of_clocks


def test_a_recording_of_something_else_is_found(tmp_path):
    signals = small_session.render().copy()
    node = list(small_session.NODES).index("board")
    other = [builtin.synthesize(f"test{k}-1") for k in (11, 12)]
    signals[node] = 0.3 * np.concatenate(other)[: signals.shape[1]]
    folder = write_small(tmp_path / "session", signals)
    (examined,) = doctor.examine(sessions.open_session(folder))
    assert examined.coherence[node] < 0.05
    assert (np.delete(examined.coherence, node) > 0.15).all()
    assert ("board", "incoherent") in {(r.node, r.kind) for r in examined.remarks}


def remark(node, level, kind="silent", fix="Mend it"):
    return diagnosis.Remark(node, level, kind, "is wrong", fix)


@pytest.mark.parametrize(
    ("remarks", "words"),
    [
        ([], "Nothing is wrong"),
        ([remark("a", 1), remark("b", 1)], "Usable: 2 remarks"),
        (
            [remark("a", 2)],
            "Node a is not usable, and the session is without: 1 remark",
        ),
        (
            [remark(None, 2, "undetermined", "Add nodes")],
            "Not usable: 1 remark. First of all: Add nodes",
        ),
        (
            [remark(None, 2, "undetermined"), remark("a", 1, "scale", "Export again")],
            "Not usable: 2 remarks. First of all: Export again",
        ),
    ],
)
def test_the_last_line_says_what_can_be_used(remarks, words):
    examined = mock.Mock(spec=doctor.Examined, remarks=remarks)
    assert doctor.summarize([examined]) == words


def test_a_session_without_a_determined_window_is_not_usable(tmp_path, capsys):
    """Feet for meters: nothing fits."""
    folder = small_session.write(tmp_path / "session")
    bad_geometry.KINDS["nodes and room in feet"].change(folder)
    page = tmp_path / "health.html"
    with pytest.raises(errors.Failed, match="Not usable: ") as raised:
        call(command, folder, out=page)
    assert raised.value.code == 2
    printed = capsys.readouterr().out
    assert "0 of 4 windows determined\n" in printed
    assert (
        "Clocks could not be calibrated: with 6 nodes, 6 places of talkers" in printed
    )
    assert "Not usable: " in page.read_text()
    with pytest.raises(errors.InputError, match="exists; name another file"):
        call(command, folder, out=page)


@pytest.mark.parametrize("determined", [True, False])
def test_clocks_of_all_recordings_decide_where_no_window_is_determined(
    monkeypatch, determined
):
    unsure = remark(None, 1, "undetermined")
    examined = doctor.Examined(
        *("monday", [], np.zeros(0), np.zeros(0), None, "", 2, 0, 0, None, [unsure])
    )
    monkeypatch.setattr(doctor, "_examine", lambda whole, recording: examined)
    clocks = mock.Mock(spec=calibration.Calibration, determined=determined)
    together = mock.Mock(spec=doctor.session_clocks.calibrate_together)
    together.return_value = clocks
    monkeypatch.setattr(doctor.session_clocks, "calibrate_together", together)
    session = mock.Mock(spec=sessions.Session)
    session.listed.return_value = mock.Mock(spec=sessions.Session, recordings=(1, 2))
    found = doctor.examine(session)
    assert [one.level for one in found] == 2 * [1 if determined else 2]
    (said,) = found[0].remarks
    assert ("--calibrate_clocks=session" in said.fix) == determined


def test_the_bandwidth_is_that_of_the_signal(folder):
    rng = np.random.default_rng(2)
    sound = 0.1 * rng.normal(size=5 * RATE)
    names = list(example_session.NODES)
    for node, edge in zip(names, (1500, 2500, 3400, 5000, 6500, None), strict=True):
        own = sound
        if edge:
            low = scipy.signal.firwin(1001, edge, fs=RATE)
            own = scipy.signal.lfilter(low, 1, sound)
        soundfile.write(folder / f"{node}.wav", own, RATE, "FLOAT")
    session = sessions.open_session(folder)
    facts = diagnosis.measure(surveys.survey(session.recordings[0].channels))
    found = [one.bandwidth for one in facts]
    np.testing.assert_allclose(found[:5], (1500, 2500, 3400, 5000, 6500), atol=60)
    assert found[5] > 7900


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


def test_the_command_says_what_is_wrong_by_its_exit_code(tmp_path, capsys):
    folder = small_session.write(tmp_path / "session")
    call(command, folder, json=tmp_path / "health.json")
    assert "Nothing is wrong" in capsys.readouterr().out
    record = json.loads((tmp_path / "health.json").read_text())
    (found,) = record["recordings"]
    assert (found["level"], found["places"], found["remarks"]) == (0, 2, [])
    assert [node["name"] for node in found["nodes"]] == list(small_session.NODES)
    assert all(node["coherence"] > 0.9 for node in found["nodes"])
    offsets = [node["clock_offset_s"] for node in found["nodes"]]
    errors_of = [node["clock_offset_error_s"] for node in found["nodes"]]
    assert (np.abs(offsets) < 3 * np.array(errors_of)).all()
    with pytest.raises(errors.InputError, match="exists; name another file"):
        call(command, folder, json=tmp_path / "health.json")
    signal, _ = soundfile.read(folder / "window.wav")
    small_session.write_signal(folder, "window", -signal)
    with pytest.raises(errors.Failed, match="Usable: ") as raised:
        call(command, folder)
    assert raised.value.code == 1
    assert "Node window has an inverted polarity" in capsys.readouterr().out
    for name in ("shelf", "window", "door", "desk"):
        small_session.write_signal(folder, name, np.zeros(8 * RATE))
    with pytest.raises(errors.Failed, match="Not usable: 5 remarks") as raised:
        call(command, folder)
    assert raised.value.code == 2
    assert "2 nodes can be used, and 3 are needed" in capsys.readouterr().out


def test_exchanged_nodes_are_named_where_levels_determine_windows(
    tmp_path, monkeypatch
):
    """Two files of six: all windows are determined, wrongly, with large radii."""
    tried = mock.Mock(spec=doctor.session_clocks.calibrate)
    monkeypatch.setattr(doctor.session_clocks, "calibrate", tried)
    signals = small_session.render().copy()
    names = list(small_session.NODES)
    pair = [names.index("shelf"), names.index("window")]
    signals[pair] = signals[pair[::-1]]
    folder = write_small(tmp_path / "session", signals)
    (examined,) = doctor.examine(sessions.open_session(folder))
    (remark,) = examined.remarks
    assert (remark.node, remark.kind) == (None, "exchanged")
    assert "Nodes shelf and window seem to be exchanged" in remark.what
    assert not tried.called  # It takes long, and does not help.


def test_nodes_on_a_line_are_noticed(folder):
    rows = [f"{name},{k + 1},2.0,1.2,{name}.wav" for k, name in enumerate("abcd")]
    for name, source in zip("abcd", example_session.NODES, strict=False):
        shutil.copy(folder / f"{source}.wav", folder / f"{name}.wav")
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z,file", *rows]) + "\n")
    session = sessions.open_session(folder).listed(labeled_only=False)
    (recording,) = session.recordings
    found = geometry.check(session, session.surveyed[recording.name].faults)
    assert [remark.kind for remark in found] == ["line"]
