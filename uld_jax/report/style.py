"""Looks of lines and legends in every figure; the sole user of matplotlib."""

import pathlib
from typing import Any

import numpy as np

from uld_jax.labels import titles
from uld_jax.report import groups
from uld_jax.report.groups import RunGroup
from uld_jax.storage import records

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import matplotlib.ticker
except ImportError:
    plt = None

Shown = list[
    tuple[RunGroup, list[dict[str, Any]]]
]  # Groups with the predictions of their runs.
Styles = dict[tuple[str, str], dict[str, Any]]  # Of lines, by method and variant.

_SPARE = (("#8C6D31", "<"), ("#7F7F7F", ">"))
_LINES = ("-", "--", ":", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
_FILLS = ("full", "none", "left", "top", "right", "bottom")
_BASELINE_LINE = "-."


def styles(members: list[RunGroup]) -> Styles:
    """Choose color, marker and line of each method and variant.

    Color and marker show the method, line and filling the kind of training.
    """
    ranks = {v: index for index, v in enumerate(groups.by_variant(members))}
    unknown = sorted({one.method for one in members} - titles.LOOKS.keys())
    found = {}
    for one in members:
        if one.method in titles.LOOKS:
            _, color, marker = titles.LOOKS[one.method]
        else:
            color, marker = _SPARE[unknown.index(one.method) % len(_SPARE)]
        rank = ranks[one.variant] % len(_LINES) if one.scheme else 0
        found[one.method, one.variant] = {
            "color": color,
            "marker": marker,
            "linestyle": _LINES[rank] if one.scheme else _BASELINE_LINE,
            "fillstyle": _FILLS[rank],
        }
    return found


def name(one: RunGroup) -> str:
    """Name a group for legends: method, I and variant."""
    words = (
        one.title if one.resolution is None else f"{one.title}, I = {one.resolution}"
    )
    return f"{words} ({one.variant})" if one.variant else words


def legend(figure: Any, axes: Any) -> None:
    """Put the legend of some axes to the right of a figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right center", fontsize="small", handlelength=3.5
    )


def plain_ticks(axes: Any) -> None:
    """Write the ticks of a logarithmic y axis as numbers."""
    low, high = axes.get_ylim()
    ticker = matplotlib.ticker
    if high / low > 5:
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    else:
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.3)


def read_predictions(run: dict[str, Any]) -> dict[str, Any] | None:
    """Read the predictions beside a record; None if they are missing."""
    path = pathlib.Path(run["folder"]) / records.PREDICTIONS_FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def distances(predictions: dict[str, Any]) -> np.ndarray:
    """Compute the error [n, S] of each source in meters."""
    return np.linalg.norm(predictions["predicted"] - predictions["positions"], axis=-1)
