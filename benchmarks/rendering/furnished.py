"""Measure what furniture costs the renderer: speed of furnished rooms over that of bare ones.

    python -m benchmarks.rendering.furnished

Rooms of any session with 30 nodes, thinned, 2 s, on one thread of the CPU. Bare and furnished
rooms take turns in one run, so that the ratio holds although machines are noisy.
"""

import argparse
import dataclasses
import os
import time

from benchmarks import report

_THREADS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["XLA_FLAGS"] = _THREADS
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    rows = []
    for noise in (False, True):
        seconds = _measure(options.rooms, options.rounds, noise)
        rows += [
            {
                "rooms": name,
                "noise from a point": "yes" if noise else "no",
                "ms an utterance": 1e3 * least,
                "share of the bare speed": f"{seconds['bare'] / least:.0%}",
            }
            for name, least in seconds.items()
        ]
    note = (
        f"{options.rooms} rooms of any session, 30 nodes, 1 talker, 2 s, thinned; the "
        f"shortest processor time of {options.rounds} turns. Training has noise."
    )
    table = ("Speed of furnished rooms.", note, rows)
    report.write("rendering.furnished", [table], options.out)


def _measure(count: int, rounds: int, noisy: bool) -> dict[str, float]:
    """Time an utterance in each kind of rooms, in seconds; drawing furniture included."""
    import numpy as np

    from uld_jax.simulation import furniture, recipes

    rng = np.random.default_rng(0)
    scenes = [recipes.ANY.draw_scene(rng, "train") for _ in range(count)]
    if not noisy:
        scenes = [dataclasses.replace(one, noise_position=None) for one in scenes]
    drawn = [
        recipes.Drawn(scene, (), None, np.zeros(1, np.float32), number)
        for number, scene in enumerate(scenes)
    ]
    shape = (count, recipes.ANY.num_dry)
    dry, noise = rng.normal(size=(2, *shape)).astype(np.float32)
    kinds = {
        "bare": None,
        "furnished, as tests are": furniture.Column(),
        "any furniture": furniture.Ranges(share=1.0),
    }
    furniture.FURNISHINGS.update(kinds)
    least = dict.fromkeys(kinds, np.inf)
    for turn in range(rounds + 1):  # The first one compiles.
        for name in kinds:
            recipe = dataclasses.replace(recipes.ANY, furnishing=name)
            started = time.process_time()
            batch = recipe.batch(drawn, dry[:, None], noise if noisy else None)
            batch["audio"].block_until_ready()
            taken = (time.process_time() - started) / count
            if turn:
                least[name] = min(least[name], taken)
    return least


if __name__ == "__main__":
    main()
