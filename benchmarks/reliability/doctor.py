"""Plant one fault in each of many sessions, and count what `uld_jax doctor` finds.

    python -m benchmarks.reliability.doctor --speech=FOLDER --cache=runs/sessions

Twenty rooms of plain pyroomacoustics (`made_rooms`, those of `sessions`), eight recorders
with a file each, and a talker at six places in turn, 2 s at each. Levels of recorders
differ (3 dB), and each has noise of its own, 25 dB below speech. Faults are of a
random recorder. Without a fault, what is said is a false alarm.
"""

import pathlib
import tempfile

import numpy as np
import scipy.signal
import soundfile

from benchmarks import report
from benchmarks.reliability import made_rooms, sessions

_NODES = 8
_PAUSE = made_rooms.RATE // 2  # Before the first and after the last words.
_ELSEWHERE_AT_TWO = "the same, talkers at two places"
_FINER = 8  # Samples that a drifting clock reads from, to one of the signal.


def main() -> None:
    """Plant each kind of fault in each room, and write the table."""
    options = sessions.parse_options(__doc__)
    rooms = sessions.load_rooms(options)
    rows = []
    for kind in ("none", *_OF_SIGNALS, *_OF_TABLES):
        said = [_examine(room, kind, number) for number, room in enumerate(rooms)]
        found = [node in {(n, k) for n, k in remarks} for node, remarks in said]
        others = [
            sum(one != node and (node is None or one[0] != node[0]) for one in remarks)
            for node, remarks in said
        ]
        rows.append(
            {
                "fault": kind,
                "sessions": len(said),
                "found": "" if kind == "none" else f"{np.mean(found):.0%}",
                "with a remark on another node": f"{np.mean(np.array(others) > 0):.0%}",
            }
        )
        print(rows[-1], flush=True)
    note = (
        f"{len(rooms)} sessions a kind, {_NODES} recorders. For nodes that are exchanged "
        "or not where the table says, any remark about the nodes or about undetermined "
        "positions counts."
    )
    report.write("reliability.doctor", [("Planted faults.", note, rows)], options.out)


def _examine(room, kind: str, number: int):
    """Return the fault as (node, kind), and all remarks likewise."""
    from uld_jax.audio import sessions as sessions_lib
    from uld_jax.evaluation import doctor

    rng = np.random.default_rng([2**25, number])
    node = int(rng.integers(_NODES))
    signals = _mix(room, rng, _STAYS.get(kind, 1), _PLACES.get(kind))
    names = [f"n{k}" for k in range(_NODES)]
    nodes = np.array(room["nodes"][:_NODES])
    if kind in _OF_TABLES:
        nodes = _OF_TABLES[kind](nodes, node, room["size"], rng)
    with tempfile.TemporaryDirectory() as made:
        folder, rows = pathlib.Path(made), ["node,x,y,z,file"]
        for k, (name, at) in enumerate(zip(names, nodes, strict=True)):
            own = signals[k]
            if k == node and kind in _OF_SIGNALS:
                own = _OF_SIGNALS[kind](own, rng)
            soundfile.write(folder / f"{name}.wav", own, made_rooms.RATE)
            rows.append(",".join([name, *map(str, at), f"{name}.wav"]))
        (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
        sides = ",".join(map(str, room["size"]))
        (folder / "room.csv").write_text(f"x,y,z\n{sides}\n")
        (examined,) = doctor.examine(sessions_lib.open_session(folder))
    remarks = {(remark.node, remark.kind) for remark in examined.remarks}
    if kind in _OF_TABLES:  # Said of a node, or of the session.
        hit = {
            one
            for one in remarks
            if one[1]
            in ("clock", "clocks", "drift", "exchanged", "misfit", "undetermined")
        }
        return (next(iter(hit)) if hit else None), remarks - hit | set(list(hit)[:1])
    return (names[node], _REMARKS.get(kind, kind)), remarks


def _mix(
    room, rng: np.random.Generator, stays: int = 1, places: int | None = None
) -> np.ndarray:
    """Join the talker's places, and add noise of each recorder's own.

    Args:
        room: The room.
        rng: Of the session.
        stays: How often the talker says the same at each place.
        places: How many of them there are; None for all.
    """
    speech = np.float64(room["speech"][:places, :_NODES]).repeat(stays, axis=0)
    signals = np.concatenate(list(speech), axis=1)
    signals = np.pad(signals, ((0, 0), (_PAUSE, _PAUSE)))
    deviations = signals.std(axis=1, keepdims=True)
    signals += 10 ** (-25 / 20) * deviations * rng.normal(size=signals.shape)
    signals *= 10 ** (rng.normal(scale=3.0, size=(_NODES, 1)) / 20)
    return 0.5 * signals / np.abs(signals).max()


def _noisy(signal, rng):
    return 0.3 * signal + 0.5 * signal.std() * rng.normal(size=len(signal))


def _hum(signal, rng):
    time, mains = np.arange(len(signal)) / made_rooms.RATE, rng.choice([50.0, 60.0])
    lines = sum(np.sin(2 * np.pi * mains * k * time) / k for k in range(1, 5))
    return 0.3 * signal + 2.0 * signal.std() * lines


def _narrow(signal, _):
    low = scipy.signal.butter(12, 3600, fs=made_rooms.RATE, output="sos")
    return scipy.signal.sosfilt(low, signal)


def _gaps(signal, rng):
    starts = rng.integers(0, len(signal) - made_rooms.RATE, 3)
    for start in starts:
        signal[start : start + made_rooms.RATE // 4] = 0.0
    return signal


def _late(signal, rng):
    return signal[round(rng.uniform(0.15, 2.0) * made_rooms.RATE) :]


def _drift(signal, rng):
    return _play(signal, rng.choice([-1, 1]) * rng.uniform(2e-5, 6e-5))


def _drift_far(signal, rng):
    return _play(signal, rng.choice([-1, 1]) * 1e-4)


def _play(signal, drift: float):
    """Play by a clock that drifts, and is right in the middle."""
    at = np.arange(len(signal))
    finer = scipy.signal.resample_poly(signal, _FINER, 1)
    when = at - drift * (at - len(at) / 2)
    return np.interp(_FINER * when, np.arange(len(finer)), finer)


def _another(signal, rng):
    """Record the same voices at other times: as the file of another day."""
    part = 2 * made_rooms.RATE
    count = len(signal) // part
    order = np.roll(np.arange(count), int(rng.integers(1, count)))
    parts = signal[: count * part].reshape(count, part)[order, ::-1]
    return np.append(parts.ravel(), signal[count * part :])


def _early(signal, rng):
    return signal[: -round(rng.uniform(1.0, 4.0) * made_rooms.RATE)]


def _move(nodes, node, size, rng):
    """Put a node 1 m elsewhere in the table."""
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        place = nodes[node, :2] + [np.cos(angle), np.sin(angle)]
        if ((place > 0) & (place < size[:2])).all():
            nodes[node, :2] = place
            return nodes


def _exchange(nodes, node, _, rng):
    other = (node + int(rng.integers(1, _NODES))) % _NODES
    nodes[[node, other]] = nodes[[other, node]]
    return nodes


_OF_SIGNALS = {
    "silent": lambda signal, _: 0.0 * signal,
    "clipped": lambda signal, _: (signal / signal.std()).clip(-1, 1),
    "quiet": lambda signal, _: 0.01 * signal,
    "noisy": _noisy,
    "offset": lambda signal, _: 0.4 * signal + 0.5,
    "hum": _hum,
    "narrow": _narrow,
    "gaps": _gaps,
    "late": _late,
    "early": _early,
    "inverted": lambda signal, _: -signal,
    "drift": _drift,
    "drift of 100 ppm": _drift_far,
    "incoherent": _another,
}
# A drift takes time to be seen: the talker stays at each place for 6 s.
_STAYS = {"drift": 3, "drift of 100 ppm": 3, _ELSEWHERE_AT_TWO: 3}
_PLACES = {_ELSEWHERE_AT_TWO: 2}
# Faults whose remark has another name.
_REMARKS = {"drift of 100 ppm": "drift"}
_OF_TABLES = {
    "a node 1 m elsewhere": _move,
    _ELSEWHERE_AT_TWO: _move,
    "two nodes exchanged": _exchange,
}


if __name__ == "__main__":
    main()
