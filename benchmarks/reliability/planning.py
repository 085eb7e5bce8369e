"""Compare the radii that `uld_jax.expected_radii` predicts with errors of `localize`.

    python -m benchmarks.reliability.planning --speech=FOLDER

Random layouts in rooms of the package's own simulator: 4 to 8 m, T60 0.2 to 0.6 s, 5 to 16
nodes at heights of 0.6 to 1.8 m and a talker at twelve places, 1.0 to 1.7 m high. Levels of
nodes differ by 3 dB, each has noise 30 dB below speech, and places are known to 1 cm.
"""

import argparse
import itertools

import numpy as np

from benchmarks import report
from benchmarks.reliability import made_rooms

_SEED = 2**26
_MOST_NODES, _TALKERS = 16, 12
_CLOCKS = (0.0, 1e-4, 1e-3)  # Seconds.
_POSITIONS = 0.01
_FACTOR = 1.5
_RATIOS = (0, 2, 4, 6, 99)  # Of the distance and that where echoes are as loud.


def main() -> None:
    """Simulate all layouts, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", required=True, help="folder of speech, or builtin")
    parser.add_argument("--layouts", type=int, default=20)
    options = parser.parse_args()
    speech = made_rooms.open_speech(options.speech)
    runs, arrivals = [], []
    for number in range(options.layouts):
        layout = _render(np.random.default_rng([_SEED, number]), speech, number)
        arrivals.append(_arrivals(layout))
        for clocks in _CLOCKS:
            runs.append(_localize(layout, clocks, number))
        print(
            number, [float(np.median(run["errors"])) for run in runs[-3:]], flush=True
        )
    note = (
        f"{options.layouts} layouts of 5 to {_MOST_NODES} nodes, {_TALKERS} talkers "
        "each; windows that `localize` determines. A simulator's walls, gains and clocks "
        "are kinder than a room's: expect larger radii there. The medians of so few "
        "errors scatter: the column 'by chance' is how many layouts would be within the "
        "factor if the prediction were exact."
    )
    tables = [
        ("Predicted and simulated radii.", note, [_row(runs, one) for one in _CLOCKS]),
        ("Layouts.", "Medians of determined windows.", _layouts(runs)),
        (
            "Times of arrival.",
            f"{_MOST_NODES} nodes, right clocks and places, by distance relative to that "
            "at which direct and reverberant sound are equal.",
            _group(np.concatenate(arrivals)),
        ),
    ]
    report.write("reliability.planning", tables, options.out)


def _render(rng: np.random.Generator, speech, number: int) -> dict:
    """Draw a layout and render its talkers."""
    import jax

    import uld_jax

    size = np.append(rng.uniform(4, 8, 2), rng.uniform(2.5, 3.2))
    t60 = rng.uniform(0.2, 0.6)
    edges = [0.1, 0.1, 0.6], [*(size[:2] - 0.1), 1.8]
    nodes = rng.uniform(*edges, (_MOST_NODES, 3))
    inside = [0.4, 0.4, 1.0], [*(size[:2] - 0.4), 1.7]
    talkers = rng.uniform(*inside, (_TALKERS, 3))
    dry = [made_rooms.draw_speech(speech, rng) for _ in talkers]
    rooms = uld_jax.Rooms(
        size=np.tile(size, (_TALKERS, 1)),
        t60=np.full(_TALKERS, t60),
        node_positions=np.tile(nodes, (_TALKERS, 1, 1)),
        source_positions=talkers[:, None],
    )
    settings = uld_jax.RenderSettings(
        num_samples=made_rooms.SAMPLES, before=made_rooms.BEFORE
    )
    keys = jax.random.split(jax.random.key(number), _TALKERS)
    signals = uld_jax.render(rooms, np.stack(dry)[:, None], keys, settings).signals
    signals = np.float64(signals)
    signals *= 10 ** (rng.normal(scale=3.0, size=(_MOST_NODES, 1)) / 20)
    deviations = signals.std(axis=-1, keepdims=True)
    signals += 10 ** (-30 / 20) * deviations * rng.normal(size=signals.shape)
    return {
        "size": size,
        "t60": t60,
        "nodes": nodes,
        "talkers": talkers,
        "signals": signals,
        "count": int(rng.integers(5, _MOST_NODES + 1)),
    }


def _localize(layout: dict, clocks: float, number: int) -> dict:
    """Localize all talkers of a layout with wrong clocks, and predict their radii."""
    import uld_jax

    rng = np.random.default_rng([_SEED, number, round(1e6 * clocks)])
    count = layout["count"]
    nodes, talkers = layout["nodes"][:count], layout["talkers"][:, :2]
    errors, determined = [], []
    for signals, talker in zip(layout["signals"], talkers, strict=True):
        late = clocks * rng.normal(size=count)
        given = nodes + _POSITIONS * rng.normal(size=nodes.shape)
        given[:, :2] = given[:, :2].clip(0.0, layout["size"][:2])
        moved = made_rooms.delay(signals[:count], late)
        found = uld_jax.localize(moved, made_rooms.RATE, given, layout["size"])
        errors.append(np.linalg.norm(found.position - talker))
        determined.append(found.determined)
    half, most = (
        uld_jax.expected_radii(
            *(nodes, talkers, layout["size"]),
            clocks=clocks,
            positions=_POSITIONS,
            t60=layout["t60"],
            share=share,
        )
        for share in (0.5, 0.9)
    )
    return {
        "layout": number,
        "nodes": count,
        "clocks": clocks,
        "errors": np.array(errors),
        "determined": np.array(determined),
        "half": half,
        "most": most,
    }


def _sure(run: dict) -> dict | None:
    """Take the medians over a layout's determined windows; None of fewer than three."""
    sure = run["determined"]
    if sure.sum() < 3:
        return None
    rng = np.random.default_rng([_SEED, run["layout"]])
    # Errors as they would be by the prediction, whose median is scattered, too.
    drawn = run["half"][sure] * rng.rayleigh(1 / 1.1774, (1000, int(sure.sum())))
    ratios = np.median(drawn, axis=1) / np.median(run["half"][sure])
    return {
        "predicted": float(np.median(run["half"][sure])),
        "simulated": float(np.median(run["errors"][sure])),
        "by chance": float(np.mean(np.abs(np.log(ratios)) < np.log(_FACTOR))),
    }


def _row(runs: list[dict], clocks: float) -> dict:
    """Summarize the layouts with some clocks."""
    own = [run for run in runs if run["clocks"] == clocks]
    parts = [np.concatenate([run[key] for run in own]) for key in ("errors", "most")]
    sure = np.concatenate([run["determined"] for run in own])
    each = [one for one in map(_sure, own) if one]
    predicted, simulated, chance = (
        np.array([one[key] for one in each])
        for key in ("predicted", "simulated", "by chance")
    )
    ratios = predicted / simulated
    within = np.abs(np.log(ratios)) < np.log(_FACTOR)
    covered = parts[0] <= parts[1]
    return {
        "clocks ms": 1000 * clocks,
        "determined": f"{sure.mean():.0%}",
        "predicted median m": float(np.median(predicted)),
        "simulated median m": float(np.median(simulated)),
        "median ratio": float(np.median(ratios)),
        "layouts": len(each),
        f"within a factor {_FACTOR}": f"{within.mean():.0%}",
        "by chance": f"{chance.mean():.0%}",
        "90 % radius covers": f"{covered[sure].mean():.0%}",
        "of all windows": f"{covered.mean():.0%}",
    }


def _layouts(runs: list[dict]) -> list[dict]:
    """List the medians of each layout."""
    rows = []
    for first in range(0, len(runs), len(_CLOCKS)):
        own = runs[first : first + len(_CLOCKS)]
        row = {"layout": own[0]["layout"], "nodes": own[0]["nodes"]}
        for run in own:
            found = _sure(run)
            for key in ("predicted", "simulated"):
                name = f"{1000 * run['clocks']:g} ms: {key} m"
                row[name] = found[key] if found else ""
        rows.append(row)
    return rows


def _arrivals(layout: dict) -> np.ndarray:
    """Read times of arrival near the true places.

    Returns:
        For each node and talker its distance relative to the critical one, its
        residual in meters, and whether its time agrees: [n, 3].
    """
    from uld_jax.acoustics import correlations
    from uld_jax.localization import fusion, planning, votes

    nodes, size = layout["nodes"], layout["size"]
    model = planning.Model.of(size, 0.0, 0.0, None, layout["t60"])
    rows = []
    for signals, talker in zip(layout["signals"], layout["talkers"], strict=True):
        padded = [votes.pad(np.float32(signals), nodes, size)]
        start = np.float32(talker[None, :2])
        height = np.float32([talker[2], votes.KNOWN_SPREAD])
        lag = correlations.lag_bound(nodes)
        fits = fusion.fit_times(padded, lag, start, height)
        residuals = fits[0].residuals[: len(nodes)]
        paths = np.linalg.norm(nodes - talker, axis=1) / model.critical
        rows.append(np.stack([paths, residuals, fits[0].agrees[: len(nodes)]], axis=1))
    return np.concatenate(rows)


def _group(arrivals: np.ndarray) -> list[dict]:
    """Group times of arrival by distance."""
    from uld_jax.localization import planning

    rows = []
    for low, high in itertools.pairwise(_RATIOS):
        own = arrivals[(arrivals[:, 0] >= low) & (arrivals[:, 0] < high)]
        if not len(own):
            continue
        agrees = own[:, 2] > 0
        residuals = own[agrees, 1] - np.median(own[agrees, 1])
        rows.append(
            {
                "distance": f"{low} to {high}" if high < 99 else f"{low} or more",
                "times": len(own),
                "right": f"{agrees.mean():.0%}",
                "by the model": f"{planning.share_right(own[:, 0]).mean():.0%}",
                "their spread mm": float(1483 * np.median(np.abs(residuals))),
            }
        )
    return rows


if __name__ == "__main__":
    main()
