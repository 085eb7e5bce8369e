"""Make the table that calibrates the radius of `uld_jax.localize`.

    python -m benchmarks.reliability.calibrate_radii --speech=FOLDER --noise=FOLDER \
        --datasets=datasets --cache=runs/radii

Validation scenes of any session (`medium`) whose SNR is 0 dB or more, each several times,
with other nodes and other errors: 4 to 30 nodes; a third is exact, and in each half of the others
clocks are 0.1 to 50 ms off, positions 1 to 30 cm, and gains 0.5 to 6 dB. Radii and
errors of each turn are kept in the cache, so that a stopped run resumes. The table is written
to `uld_jax/localization/radii.json`. It takes about a second a scene.
"""

import argparse
import json
import pathlib

import numpy as np

from benchmarks.reliability import made_rooms

_LEAST_NODES = (3, 8, 16)  # Of the groups of nodes.
_GROUPS = 4  # Of radii in each.
_KEYS = ("audio", "node_positions", "source_positions", "room_size")
_MOST = {"clocks": (1e-4, 0.05), "positions": (0.01, 0.3), "gains": (0.5, 6.0)}


def main() -> None:
    """Localize the scenes that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", required=True, help="folder of speech")
    parser.add_argument("--noise", required=True, help="folder of noise")
    parser.add_argument("--datasets", default="datasets", help="folder of data sets")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--turns", type=int, default=3, help="times each scene is used")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    found = np.concatenate([_measure(options, turn) for turn in range(options.turns)])
    from uld_jax.localization import radii

    groups = []
    for least, most in zip(_LEAST_NODES, (*_LEAST_NODES[1:], 61), strict=True):
        own = found[(found[:, 0] >= least) & (found[:, 0] < most)]
        table = radii.fit(own[:, 1], own[:, 2], _GROUPS)
        groups.append({"least_nodes": least, "scenes": len(own), **table})
        print(groups[-1])
    # Without folders that are places on one machine.
    command = (
        f"python -m benchmarks.reliability.calibrate_radii --speech={options.speech} "
        f"--noise={options.noise} --turns={options.turns}"
    )
    path = pathlib.Path(radii.__file__).with_name("radii.json")
    path.write_text(json.dumps({"command": command, "groups": groups}, indent=1) + "\n")


def _measure(options, turn: int) -> np.ndarray:
    """Localize all scenes once: number of nodes, radius and error of each, [N, 3]."""
    path = options.cache / f"{turn}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    import jax

    import uld_jax
    from uld_jax.datasets import pipeline, sources
    from uld_jax.localization import localize
    from uld_jax.runtime import progress

    folders = {f"data.{name}": getattr(options, name) for name in ("speech", "noise")}
    config = uld_jax.load_config(
        "any_session:medium", **folders, **{"data.dir": options.datasets}
    )
    split = sources.open_split(config, "validation")
    source, *_ = sources.open_data(config, split, jax.devices()[:1])
    loud = split.geometry()["snr_db"] >= 0
    rows, number = [], 0
    with progress.Progress(f"Turn {turn}", int(loud.sum()), "scenes") as bar:
        for batch in source.batches(pipeline.in_order(len(loud), 8)):
            scenes = [np.asarray(batch[key]) for key in _KEYS]
            for scene in zip(*scenes, strict=True):
                if number < len(loud) and loud[number]:  # The last may be repeated.
                    rng = np.random.default_rng([2**24, turn, number])
                    rows.append(_localize(localize.localize_one, rng, *scene))
                    bar.update()
                number += 1
    np.save(path, np.array(rows), allow_pickle=False)
    return np.array(rows)


def _localize(localize_one, rng, audio, nodes, talker, room):
    """Localize one scene with errors."""
    count = round(np.exp(rng.uniform(np.log(4), np.log(30))))
    chosen = np.sort(rng.permutation(len(nodes))[:count])
    signals, nodes = audio[chosen].astype(np.float64), nodes[chosen].astype(np.float64)
    off = rng.uniform() > 1 / 3
    spreads = {
        name: np.exp(rng.uniform(*np.log(limits))) if off and rng.uniform() < 0.5 else 0
        for name, limits in _MOST.items()
    }
    signals = made_rooms.delay(signals, spreads["clocks"] * rng.normal(size=count))
    signals *= 10 ** (spreads["gains"] * rng.normal(size=(count, 1)) / 20)
    nodes[:, :2] += spreads["positions"] * rng.normal(size=(count, 2))
    nodes[:, :2] = nodes[:, :2].clip(0, room[:2])
    found = localize_one(signals, made_rooms.RATE, nodes, room, None, calibrated=False)
    error = np.linalg.norm(found.position - talker.reshape(-1)[:2])
    return count, found.radius_90, error


if __name__ == "__main__":
    main()
