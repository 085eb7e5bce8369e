"""Draw the rings, hyperbolas and posterior of one scene, with exact and wrong clocks.

python docs/multilateration.py RUN docs/multilateration.png
"""

import sys

import jax
import numpy as np
from flax import nnx

from uld_jax.audio import corpora
from uld_jax.networks import evidence
from uld_jax.pretrained import loading, weights
from uld_jax.report.style import plt
from uld_jax.simulation import recipes

_CELLS = 64
_NODES, _SEED = 12, 3
_LATE = 0.01  # Standard deviation of the clocks below, in seconds.


def _scene() -> dict:
    """Render a scene of Ad-1 with built-in speech, at some of its nodes."""
    rng = np.random.default_rng(_SEED)
    speech, noise = corpora.open_speech("builtin"), corpora.open_noise("builtin")
    drawn = recipes.AD1.draw_from(speech, noise, "test", rng)
    dry = np.stack([excerpt.samples for excerpt in drawn.speech])[None]
    nodes = np.arange(_NODES)[None]
    return recipes.AD1.batch([drawn], dry, drawn.noise.samples[None], nodes=nodes)


def _draw(axes, batch: dict, plane, title: str, nodes=()) -> None:
    """Draw one map of the room, its nodes and the talker."""
    x, y = batch["room_size"][0, :2]
    axes.imshow(plane, origin="lower", extent=(0, x, 0, y), cmap="viridis")
    positions = np.asarray(batch["node_positions"][0])
    axes.plot(*positions[:, :2].T, "^", color="white", markersize=4)
    if len(nodes):
        axes.plot(*positions[list(nodes), :2].T, "^", color="red", markersize=7)
    axes.plot(*batch["source_positions"][0, 0, :2], "o", color="red", fillstyle="none")
    axes.set_title(title, fontsize="medium")


def main(folder: str, path: str) -> None:
    """Write the picture."""
    run = weights.read_run(folder, "RUN")
    *parts, _ = loading.restore_network(run, _NODES, 1)
    model = nnx.merge(*parts)
    batch = _scene()
    rng = np.random.default_rng(_SEED)
    delays = 16_000 * _LATE * rng.normal(size=(1, _NODES))
    figure, grid = plt.subplots(2, 5, figsize=(15, 6.4), layout="constrained")
    for row, extra, clocks in zip(
        grid,
        ({}, {evidence.CLOCK_OFFSETS: np.float32(delays)}),
        ("exact clocks", f"clocks {1000 * _LATE:g} ms off"),
        strict=True,
    ):
        known = evidence.collect(jax.tree.map(jax.numpy.asarray, batch | extra))
        rings, hyperbolas = model.votes(known, _CELLS)
        posterior = model.log_posteriors(known, _CELLS)[0, 0]
        row[0].set_ylabel(clocks)
        _draw(row[0], batch, rings[0, 0], "one node's ring", [0])
        _draw(row[1], batch, rings[0].sum(axis=0), "all rings")
        _draw(row[2], batch, hyperbolas[0, 0], "one pair's hyperbola", [0, 1])
        _draw(row[3], batch, hyperbolas[0].mean(axis=0), "all hyperbolas")
        _draw(
            row[4], batch, np.maximum(posterior - posterior.max(), -12), "log posterior"
        )
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
