"""Ten sessions as people record them: each has its right outcome."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from numpy.testing import assert_allclose

from benchmarks.reliability import recorders, session_outcomes, ten_sessions
from benchmarks.reliability.recorders import Recorder
from benchmarks.reliability.session_outcomes import Outcome, Right
from uld_jax.localization import localize

RECORD = ROOT / "benchmarks/reliability/results/ten_sessions.json"
RATE = recorders.RATE


@pytest.fixture(autouse=True)
def localized_once(monkeypatch):
    """Localize each window once by the same clocks, whichever command asks for it.

    Both commands localize the same windows, which takes most of the time.
    """
    localize_one, kept = localize.localize_one, {}

    def once(signals, *given, **named):
        values = (np.float32(signals), *given, *named.items())
        key = hashlib.sha256(to_bytes(values)).digest()
        if key not in kept:
            kept[key] = localize_one(signals, *given, **named)
        return kept[key]

    monkeypatch.setattr(localize, "localize_one", once)


def to_bytes(value):
    """Write nested arrays and numbers as bytes."""
    if isinstance(value, tuple):
        return b"(" + b",".join(map(to_bytes, value)) + b")"
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()


# The longest; the meetings stay.
_LONG = ("phones", "exchanged", "late_starts", "mixed_rates", "battery", "stereo")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in _LONG else [])
        for name in ten_sessions.SESSIONS
    ],
)
def test_a_session_has_its_right_outcome(name, tmp_path):
    made = ten_sessions.SESSIONS[name]()
    outcome = session_outcomes.run(made, tmp_path)
    assert not outcome.wrong(made.right), outcome.printed
    if name == "exchanged":
        assert outcome.printed.count("Nodes shelf and board seem to be exchanged") == 2


def test_the_record_is_of_these_sessions():
    record = json.loads(RECORD.read_text())
    names = [name.replace("_", " ") for name in ten_sessions.SESSIONS]
    assert len(names) == 10
    for _, _, rows in record["tables"]:
        assert [row["session"] for row in rows] == names
    _, _, of_builtin = record["tables"][0]
    assert {row["not right"] for row in of_builtin} == {"nothing"}


def clicks(*seconds, length=2.0):
    """Make sound with short pulses at some times."""
    time = np.arange(round(length * RATE)) / RATE
    return sum(np.exp(-0.5 * ((time - at) / 1e-4) ** 2) for at in seconds)


def times_of(signal, rate, count):
    """Find the times of the highest pulses, between samples."""
    found = []
    for _ in range(count):
        peak = int(np.abs(signal).argmax())
        near = np.arange(peak - 20, peak + 21)
        found.append((near * signal[near] ** 2).sum() / (signal[near] ** 2).sum())
        signal = np.where(np.abs(np.arange(len(signal)) - peak) < 100, 0, signal)
    return np.sort(found) / rate


def record(**own):
    recorder = Recorder(noise_db=-200, **own)
    rng = np.random.default_rng(0)
    return recorders.record(clicks(0.5, 1.5), recorder, rng)


@pytest.mark.parametrize("rate", [48_000, 44_100, 22_050])
def test_a_recorder_starts_and_ends_when_it_does(rate):
    signal = record(rate=rate, start=0.25, missing=0.125)
    assert len(signal) == pytest.approx(1.625 * rate, abs=2)
    assert_allclose(times_of(signal, rate, 2), [0.25, 1.25], atol=2e-6)


def test_a_fast_clock_is_later_and_later():
    signal = record(rate=44_100, ppm=200.0)
    late = times_of(signal, 44_100, 2) - [0.5, 1.5]
    assert_allclose(late, [1e-4, 3e-4], atol=3e-6)


def test_gains_noise_and_dead_microphones():
    assert record(gain_db=20.0).max() == pytest.approx(10 * record().max())
    assert not record(dead=True).any()
    sound = np.random.default_rng(1).normal(size=RATE)
    noisy = recorders.record(
        sound, Recorder(rate=RATE, noise_db=-20.0), np.random.default_rng(2)
    )
    assert np.std(noisy - sound) == pytest.approx(0.1, rel=0.02)


def test_files_are_those_of_the_table(tmp_path):
    """Channels of one file, another's file, and gains that tell nodes apart."""
    room = dataclasses.replace(
        ten_sessions.MEETING,
        nodes={name: (1.0, 1.0, 1.0) for name in "abcd"},
        seconds=0.1,
    )
    sounds = np.random.default_rng(0).normal(size=(4, RATE // 10))
    own = [Recorder(rate=RATE, gain_db=6.0 * k, noise_db=-200) for k in range(4)]
    recorders.write(
        tmp_path / "made", room, sounds, own, stereo=("a", "b"), exchanged=("c", "d")
    )
    table = (tmp_path / "made/nodes.csv").read_text().split()
    assert table[0] == "node,x,y,z,file,channel"
    levels = []
    for line in table[1:]:
        *_, file, channel = line.split(",")
        signal, _ = soundfile.read(tmp_path / "made" / file, always_2d=True)
        levels.append(20 * np.log10(signal[:, int(channel) - 1].std()))
    assert_allclose(np.array(levels) - levels[0], [0, 6, 18, 12], atol=0.5)


def test_what_is_not_right_is_listed():
    right = Right(1, frozenset({("desk", "late")}), frozenset({("desk", "clock")}))
    good = Outcome(1, right.remarks | right.allowed, 0, (0.01,) * 3, 3, 0.05, 1, 1, "")
    assert good.wrong(right) == []
    for change in (
        {"status": 0},
        {"remarks": right.allowed},
        {"remarks": right.remarks | {(None, "undetermined")}},
        {"located": 2},
        {"nearest": (0.01, 0.01, 0.11)},
        {"stray": 0.11},
    ):
        assert len(good._replace(**change).wrong(right)) == 1
