"""Localize talkers by phones whose clocks are late and drift, throughout a recording.

    python -m benchmarks.reliability.phones --speech=FOLDER --cache=runs/phones

Rooms of plain pyroomacoustics (`made_rooms`) with phones anywhere at heights of 0.7 to
1.5 m. A talker speaks from six places in turn, 6 s at each. Each phone has a clock of its
own: 10 ms off, with a drift of 10 ppm (standard deviations), by `uld_jax.localize_session`
with and without calibration.
"""

import numpy as np
import scipy.signal

from benchmarks import report
from benchmarks.reliability import made_rooms, sessions

_PLACES, _SECONDS = 6, 6
_APART, _AWAY = 1.0, 0.6  # Meters from place to place, and from a phone.
_HEIGHTS = (0.7, 1.5)
_CLOCKS, _DRIFTS = 0.01, 1e-5
_MOST = 8
_FINER = 8  # Samples that a drifting clock reads from, to one of the signal.
_SNR = 300.0


def main() -> None:
    """Render what is missing, localize, and write the table."""
    options = sessions.parse_options(__doc__)
    speech = made_rooms.open_speech(options.speech)
    rooms = made_rooms.load(
        options.cache, options.rooms, 2**24, lambda rng: _render(rng, speech)
    )
    rows = []
    for num_nodes in (_MOST, 6, 5):
        rows.append(_localize(rooms, num_nodes))
        print(rows[-1], flush=True)
    note = (
        f"{len(rooms)} rooms, clocks {1000 * _CLOCKS:.0f} ms and {1e6 * _DRIFTS:.0f} ppm "
        "off, white noise at 25 dB; a talker at six places, 6 s at each. Walls, places and "
        "gains are exact, so that a real room is less kind. Alone is each window by "
        "`uld_jax.localize`. Errors are in meters; of recordings whose clocks are not "
        "determined, all windows count, too. Expected is what `uld_jax plan` would say of the "
        "clocks. Smoothed are positions by the windows before "
        "and after, too, as `uld_jax locate` prints them: where they are sure, or a window "
        "is determined by itself. Errors alike: correlation of two windows' at one place."
    )
    report.write(
        "reliability.phones",
        [("Phones with clocks of their own.", note, rows)],
        options.out,
    )


def _localize(rooms, num_nodes: int) -> dict:
    """Localize the recordings of some of the phones."""
    import uld_jax
    from uld_jax.localization import localize, tracks

    alone, after, radii, sure, known, offsets = [], [], [], [], [], []
    expected = []
    smooth, smooth_radii, followed, alike = [], [], [], []
    for room in rooms:
        signals, nodes = room["signals"][:num_nodes], room["nodes"][:num_nodes]
        found = uld_jax.localize_session(signals, made_rooms.RATE, nodes, room["size"])
        place = np.minimum((found.starts + 1) // _SECONDS, _PLACES - 1).astype(int)
        talkers = room["talkers"][place, :2]
        after.append(np.linalg.norm(found.positions - talkers, axis=1))
        radii.append(found.radii_90)
        sure.append([one.determined for one in found.localizations])
        known.append(found.clocks.determined)
        expected.append(
            uld_jax.expected_calibration(
                nodes, room["size"], places=_PLACES, positions=0.0, t60=room["t60"]
            )
        )
        track = tracks.smooth(found.starts, found.localizations)
        smooth.append(np.linalg.norm(track.positions - talkers, axis=1))
        smooth_radii.append(track.radii_90)
        followed.append(track.sure | sure[-1])
        alike += _compare_errors(found.localizations, talkers, place)
        starts = np.rint(found.starts * made_rooms.RATE).astype(int)
        by_itself = [
            localize.localize(
                signals[:, one : one + made_rooms.SAMPLES],
                *(made_rooms.RATE, nodes, room["size"]),
            ).position
            for one in starts
        ]
        alone.append(np.linalg.norm(by_itself - talkers, axis=1))
        if found.clocks.determined:
            wrong = found.clocks.offsets - room["late"][:num_nodes]
            offsets.append(np.abs(wrong - np.nanmedian(wrong)))
    late = 1000 * np.concatenate([*offsets, np.zeros(0)])
    late = late[np.isfinite(late)]
    after, radii, sure = map(np.concatenate, (after, radii, sure))
    held, few = after <= radii, after[sure]
    smooth, smooth_radii, followed = map(
        np.concatenate, (smooth, smooth_radii, followed)
    )
    products, squares = np.array(alike).T
    return {
        "phones": num_nodes,
        "alone: median": float(np.median(np.concatenate(alone))),
        "clocks determined": f"{np.mean(known):.0%}",
        "expected": f"{np.mean(expected):.0%}",
        "offsets within 0.2 ms": f"{np.mean(late < 0.2):.0%}" if len(late) else "",
        "offsets: median ms": float(np.median(late)) if len(late) else float("nan"),
        "median": float(np.median(after)),
        "90 % radius covers": f"{held.mean():.0%}",
        "windows determined": f"{sure.mean():.0%}",
        "their median": float(np.median(few)),
        "their 95 %": float(np.quantile(few, 0.95)),
        "covers these": f"{held[sure].mean():.0%}",
        "smoothed and sure": f"{followed.mean():.0%}",
        "smoothed: median": float(np.median(smooth[followed])),
        "smoothed radius covers": f"{(smooth <= smooth_radii)[followed].mean():.0%}",
        "errors alike": float(products.mean() / squares.mean()),
    }


def _compare_errors(found, talkers, place) -> list[tuple[float, float]]:
    """Compare the errors of each two windows at one place, by their own covariances.

    Returns:
        Products of two errors, and means of their squares, in standard deviations. Errors
        above four count as four.
    """
    errors = []
    for one, talker in zip(found, talkers, strict=True):
        root = np.linalg.cholesky(one.covariance + 1e-6 * np.eye(2))
        error = np.linalg.solve(root, one.position - talker)
        errors.append(error * min(1.0, 4.0 / max(np.linalg.norm(error), 1e-9)))
    return [
        (one @ other, (one @ one + other @ other) / 2)
        for k, one in enumerate(errors)
        for m, other in enumerate(errors[:k])
        if place[k] == place[m]
    ]


def _render(rng: np.random.Generator, speech) -> dict[str, np.ndarray]:
    """Render a recording of a talker at several places of one room."""
    size = made_rooms.draw_size(rng)
    heights = rng.uniform(*_HEIGHTS, _MOST)
    plan = np.array([made_rooms.draw_place(rng, size) for _ in range(_MOST)])
    nodes = np.column_stack([plan, heights])
    places: list[np.ndarray] = []
    while len(places) < _PLACES:
        place = made_rooms.draw_place(rng, size)
        far = np.linalg.norm(place - plan, axis=1).min() > _AWAY
        if far and all(np.linalg.norm(place - other) > _APART for other in places):
            places.append(place)
    talkers = np.column_stack([places, np.full(_PLACES, rng.uniform(1.0, 1.8))])
    walls = made_rooms.draw_walls(rng, size)
    count = _SECONDS * made_rooms.RATE
    parts = []
    for talker in talkers:
        pieces = [made_rooms.draw_speech(speech, rng) for _ in range(_SECONDS // 2)]
        dry = np.concatenate(pieces)
        parts.append(made_rooms.simulate(size, walls, nodes, talker, dry, count))
    late, drifts = rng.normal(size=(2, _MOST)) * [[_CLOCKS], [_DRIFTS]]
    signals = _record(np.concatenate(parts, axis=1), late, drifts)
    signals += np.sqrt((signals**2).mean() / _SNR) * rng.normal(size=signals.shape)
    return {
        "signals": np.float32(signals),
        "nodes": nodes,
        "talkers": talkers,
        "size": size,
        "late": late,
        "t60": made_rooms.find_t60(size, walls),
    }


def _record(signals: np.ndarray, late: np.ndarray, drifts: np.ndarray) -> np.ndarray:
    """Record signals [M, N] by clocks that are late in the middle, and drift."""
    at = np.arange(signals.shape[1])
    recorded = []
    for signal, offset, drift in zip(signals, late, drifts, strict=True):
        finer = scipy.signal.resample_poly(signal, _FINER, 1)
        when = at - made_rooms.RATE * offset - drift * (at - len(at) / 2)
        recorded.append(np.interp(_FINER * when, np.arange(len(finer)), finer))
    return np.array(recorded)


if __name__ == "__main__":
    main()
