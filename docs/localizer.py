"""Draw what `uld_jax.localize` answers in one room, with exact and wrong clocks.

python docs/localizer.py docs/localizer.png
"""

import sys

import numpy as np

import uld_jax
from uld_jax.audio import corpora
from uld_jax.report.style import plt
from uld_jax.simulation import recipes

_NODES, _SEED = 12, 5
_LATE = 0.01  # Standard deviation of the wrong clocks, in seconds.


def main(path: str) -> None:
    """Write the picture."""
    rng = np.random.default_rng(_SEED)
    speech, noise = corpora.open_speech("builtin"), corpora.open_noise("builtin")
    drawn = recipes.ANY.draw_from(speech, noise, "test", rng)
    dry = np.stack([excerpt.samples for excerpt in drawn.speech])[None]
    nodes = np.arange(_NODES)[None]
    batch = recipes.ANY.batch([drawn], dry, drawn.noise.samples[None], nodes=nodes)
    signals, nodes, room, talker = (
        np.asarray(batch[key][0], np.float64)
        for key in ("audio", "node_positions", "room_size", "source_positions")
    )
    late = np.rint(16_000 * _LATE * rng.normal(size=_NODES)).astype(int)
    shifted = np.stack(
        [np.roll(one, by) for one, by in zip(signals, late, strict=True)]
    )
    figure, grid = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
    for axes, sound, title in (
        (grid[0], signals, "exact clocks"),
        (grid[1], shifted, f"clocks {1000 * _LATE:g} ms off"),
    ):
        found = uld_jax.localize(sound, 16_000, nodes, room)
        print(found)
        found.plot(axes)
        axes.plot(*talker[0, :2], "+", color="black", markersize=12, label="truth")
        axes.legend(fontsize="small")
        axes.set_title(f"{title}: {axes.get_title()}", fontsize="medium")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main(sys.argv[1])
