"""Draw the room of Libri-adhoc40 with its axes, nodes and loudspeaker positions.

python docs/libri_adhoc40.py docs/libri_adhoc40.png
"""

import sys

from uld_jax.audio import libri_adhoc40
from uld_jax.report.style import plt

_CORRIDOR = ((7.0, 9.8), (-2.6, 0.0))  # Along x and y; no part of the data sets.


def _draw(axes, title: str, parts: dict[str, str]) -> None:
    """Draw a layout with the sources of some parts; `parts` maps parts to colors."""
    size = libri_adhoc40.room_size()
    axes.plot([0, size[0], size[0], 0, 0], [0, 0, size[1], size[1], 0], "k-")
    (left, right), (top, bottom) = _CORRIDOR
    axes.plot([left, left, right, right], [bottom, top, top, bottom], "k:")
    axes.text((left + right) / 2, top / 2, "corridor", ha="center", fontsize=8)
    for name, color in parts.items():
        part = libri_adhoc40.part(name)
        for number, (x, y, _) in part.positions.items():
            axes.plot(x, y, "o", color=color, markersize=9, clip_on=False)
            axes.annotate(str(number), (x, y), (6, 4), textcoords="offset points")
        axes.plot([], [], "o", color=color, label=f"loudspeakers, {name}")
    axes.plot(*part.nodes[:, :2].T, "^", color="black", markersize=4, label="nodes")
    for number, (x, y, _) in enumerate(part.nodes, 1):
        axes.annotate(
            str(number),
            (x, y),
            (0, -9),
            textcoords="offset points",
            fontsize=6,
            ha="center",
        )
    axes.set(xlim=(-0.3, size[0] + 0.3), xlabel="x in m", ylabel="y in m", title=title)
    axes.set_ylim(size[1] + 0.3, -2.9)  # y grows away from the wall, downwards.
    axes.set_aspect("equal")
    axes.legend(fontsize=8, loc="lower left")


def main(path: str) -> None:
    """Write the picture."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 7.2), layout="constrained", sharey=True
    )
    _draw(left, "part train", {"train": "tab:blue"})
    _draw(right, "parts dev and test", {"dev": "tab:green", "test": "tab:red"})
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
