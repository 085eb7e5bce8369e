"""Find what is wrong with the signals of a recording's nodes, and what to do about it.

Each check compares a node with a limit, or with the other nodes: their median is taken to
be right.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import signals as signals_lib
from uld_jax.audio import surveys

REMARK, UNUSABLE = 1, 2

# Quantiles of the levels of 10 ms: of noise between words, and of speech.
_NOISE, _SPEECH = 0.1, 0.95
_LEAST_RANGE_DB = 8.0  # From noise to speech.
_QUIET_DB = 25.0  # Below the other nodes.
_FAINT = 1e-8  # Power of speech: -80 dB of full scale.
_OFFSET_DB = 0.0  # Power of a constant part, against that of speech.
_HUM_DB = 6.0  # Power of the mains and its harmonics, against that of speech.
_MAINS, _HARMONICS, _HALF_WIDTH = (50.0, 60.0), 6, 4.0  # Hz.
_SPEECH_BAND = (200.0, 4000.0)  # Hz.
_HIGH, _LOW = (4500.0, 7000.0), (1000.0, 3000.0)  # Hz.
_NARROW_DB = 25.0  # Less of the high band than other nodes have.
_ALL_BUT = 1e-3  # Of the power of the signal's slope: what is above the bandwidth.
_GAP_SECONDS = 0.2  # Of exact zeros, altogether.
_FIXES_OF_TIMES = {
    "late": "It is moved by that, within some tens of milliseconds; its clock shows the rest",
    "early": "It is left out from then on",
    "truncated": "Copy its file again",
    "unknown start": "Start recorders within 10 s of each other, and near enough to the talkers",
}


class Remark(NamedTuple):
    """One thing that is wrong.

    Attributes:
        node: Name of the node; None for the session.
        level: `REMARK`, or `UNUSABLE` if the node cannot be used.
        kind: In a word, such as "clipped".
        what: In a sentence without the node's name.
        fix: What to do, in a sentence.
    """

    node: str | None
    level: int
    kind: str
    what: str
    fix: str

    def __str__(self) -> str:
        subject = f"Node {self.node} {self.what}" if self.node else self.what
        return f"{subject}. {self.fix}."


class Facts(NamedTuple):
    """Levels of a node.

    Attributes:
        speech_db: Level of speech, in dB of full scale.
        noise_db: Level of what is between words, likewise.
        offset_db: Of the constant part, likewise.
        hum_db: Power of the mains and its harmonics, against that of speech, in dB.
        high_db: Power from 4.5 to 7 kHz against that from 1 to 3 kHz, in dB.
        gap_seconds: Of exact zeros within the recording.
        bandwidth: In Hz, up to 8,000: above it is hardly any sound, nor noise.
    """

    speech_db: float
    noise_db: float
    offset_db: float
    hum_db: float
    high_db: float
    gap_seconds: float
    bandwidth: float


def measure(survey: surveys.Survey) -> list[Facts]:
    """Measure the levels of each node."""
    facts = []
    for node, powers in enumerate(survey.powers):
        heard = powers[: max(survey.lengths[node] // surveys.HOP, 1)]
        speech, noise = np.quantile(heard, [_SPEECH, _NOISE])
        spectrum = survey.spectra[node]
        facts.append(
            Facts(
                _db(speech),
                _db(noise),
                _db(survey.means[node] ** 2),
                _hum(spectrum),
                _db(_band(spectrum, *_HIGH)) - _db(_band(spectrum, *_LOW)),
                float(survey.gaps[node] * surveys.HOP / signals_lib.SAMPLE_RATE),
                _bandwidth(spectrum),
            )
        )
    return facts


def examine(
    survey: surveys.Survey, facts: Sequence[Facts], nodes: Sequence[str]
) -> list[Remark]:
    """Find what is wrong with the signals of a recording.

    Args:
        survey: Of the recording.
        facts: What `measure` makes of it.
        nodes: Names of the M nodes.
    """
    remarks = []
    sound = [not fault for fault in survey.faults]
    typical = Facts(*np.median(np.array(facts)[sound], axis=0)) if any(sound) else None
    for node, name in enumerate(nodes):
        if fault := survey.faults[node]:
            remarks.append(_describe_fault(name, fault))
            if fault != signals_lib.CLIPPED:
                continue
        remarks += _compare(name, facts[node], typical)
        remarks += _describe_times(name, node, survey)
    for node, other in survey.find_copies():
        what = f"has the same signal as node {nodes[other]}"
        fix = "Give each its own file, or its own channel"
        remarks.append(Remark(nodes[node], REMARK, "copy", what, fix))
    return remarks


def _describe_fault(name: str, fault: str) -> Remark:
    if fault == signals_lib.CLIPPED:
        return Remark(name, REMARK, "clipped", fault, "Lower its gain")
    if fault == signals_lib.SILENT:
        fix = "Check its cable and its microphone"
        return Remark(name, UNUSABLE, "silent", fault, fix)
    return Remark(name, UNUSABLE, "broken", fault, "Export its file again")


def _compare(name: str, own: Facts, typical: Facts | None) -> list[Remark]:
    """Compare the levels of a node with limits, and with those of the others."""
    if typical is None:
        return []
    checks = [
        (
            own.speech_db < _db(_FAINT)
            or own.speech_db < typical.speech_db - _QUIET_DB,
            "quiet",
            f"is quiet: speech is at {own.speech_db:.0f} dB of full scale, and at "
            f"{typical.speech_db:.0f} dB in the median of the nodes",
            "Raise its gain, or put it nearer",
        ),
        (
            own.hum_db <= _HUM_DB
            and own.speech_db - own.noise_db < _LEAST_RANGE_DB
            and typical.speech_db - typical.noise_db > _LEAST_RANGE_DB,
            "noisy",
            f"is noisy: speech is {own.speech_db - own.noise_db:.0f} dB above what is "
            "between words",
            "Move it away from fans and computers, or switch automatic gain off",
        ),
        (
            own.speech_db > 0,
            "scale",
            f"is beyond full scale: speech is at {own.speech_db:.0f} dB",
            "Export its file in 16 bits, or as floats up to 1",
        ),
        (
            own.offset_db - own.speech_db > _OFFSET_DB,
            "offset",
            f"has a constant part of {own.offset_db:.0f} dB of full scale",
            "It is removed; check the recorder's input",
        ),
        (
            own.hum_db > _HUM_DB,
            "hum",
            f"hums: the mains are {own.hum_db:.0f} dB above speech",
            "Check its cable and ground, or run it from a battery",
        ),
        (
            own.high_db < typical.high_db - _NARROW_DB,
            "narrow",
            "holds nothing above 4 kHz, as telephones do",
            "Record with the full band",
        ),
        (
            own.gap_seconds > _GAP_SECONDS,
            "gaps",
            f"has gaps: {own.gap_seconds:.1f} s of zeros",
            "Switch noise gates and speech detection off",
        ),
    ]
    return [Remark(name, REMARK, *rest) for wrong, *rest in checks if wrong]


def _describe_times(name: str, node: int, survey: surveys.Survey) -> list[Remark]:
    """Say whether a recorder started late or ended early."""
    return [
        Remark(name, REMARK, kind, what, _FIXES_OF_TIMES[kind])
        for what, kind in survey.describe_times(node)
    ]


def _hum(spectrum: np.ndarray) -> float:
    """Compute the power of the mains against that of speech, in dB."""
    speech = _band(spectrum, *_SPEECH_BAND)
    most = -math.inf
    for mains in _MAINS:
        lines = sum(
            _band(spectrum, mains * k - _HALF_WIDTH, mains * k + _HALF_WIDTH)
            # What is beside a line is no hum.
            - _band(spectrum, mains * (k - 0.3), mains * (k - 0.3) + 2 * _HALF_WIDTH)
            for k in range(1, _HARMONICS + 1)
        )
        most = max(most, _db(max(lines, 0.0)) - _db(speech))
    return most


def _bandwidth(spectrum: np.ndarray) -> float:
    """Find the frequency below which nearly all of a signal's slope is, in Hz.

    The slope, since speech itself has a thousandth of its power there.
    """
    frequencies = np.arange(len(spectrum)) * signals_lib.SAMPLE_RATE / surveys.FRAME
    below = np.cumsum(spectrum * frequencies**2)
    if below[-1] <= 0:
        return 0.0
    return float(frequencies[np.searchsorted(below, (1 - _ALL_BUT) * below[-1])])


def _band(spectrum: np.ndarray, low: float, high: float) -> float:
    """Sum the power of a spectrum from one frequency to another, in Hz."""
    per_hz = surveys.FRAME / signals_lib.SAMPLE_RATE
    return float(
        spectrum[math.ceil(low * per_hz) : math.floor(high * per_hz) + 1].sum()
    )


def _db(power: float) -> float:
    return 10 * math.log10(max(power, 1e-20))
