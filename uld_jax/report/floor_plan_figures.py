"""Floor plans with true and predicted positions, and maps of distributions."""

from typing import Any

import numpy as np

from uld_jax.report import style
from uld_jax.report.groups import RunGroup
from uld_jax.report.style import Shown, plt

_MAPS = 4
_PLANS = 6  # Of rooms that differ.
_ARROWS = 150  # In a room that all examples share.


def _draw_room(axes, room_size, nodes) -> None:
    axes.plot(*nodes[:, :2].T, "k^", markersize=4, label="nodes", clip_on=False)
    axes.set(
        xlim=(0, room_size[0]),
        ylim=(0, room_size[1]),
        xlabel="x in m",
        ylabel="y in m",
        aspect="equal",
    )


def plot_floor_plans(shown: Shown, styles: style.Styles) -> Any:
    """Plot truth and estimates on floor plans.

    If all examples share one room: a plan for each method, with arrows from truth to
    estimate. Otherwise a plan for each of the first rooms, with all methods.
    """
    first = shown[0][1][0]
    facts = (first["room_size"], first["node_positions"])
    if all((values == values[0]).all() for values in facts):
        return _one_room(shown)
    return _many_rooms(shown, styles)


def _one_room(shown: Shown):
    figure, grid = plt.subplots(
        1, len(shown), figsize=(4.2 * len(shown), 4.6), layout="constrained"
    )
    for axes, (one, (predicted, *_)) in zip(np.atleast_1d(grid), shown, strict=True):
        _draw_room(axes, predicted["room_size"][0], predicted["node_positions"][0])
        truth = predicted["positions"][:_ARROWS].reshape(-1, 2)
        shift = predicted["predicted"][:_ARROWS].reshape(-1, 2) - truth
        axes.quiver(
            *truth.T,
            *shift.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.005,
            color="tab:blue",
        )
        axes.plot(*truth.T, ".", color="tab:red", markersize=3, label="truth")
        mae = one.converged[0]["test"]["mae"]
        axes.set_title(f"{style.name(one)}: MAE {mae:.3f} m", fontsize="medium")
    np.atleast_1d(grid)[0].legend(fontsize="small", loc="upper right")
    return figure


def _many_rooms(shown: Shown, styles: style.Styles):
    first = shown[0][1][0]
    count = min(_PLANS, len(first["room_size"]))
    columns = min(3, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.6 * columns + 2.4, 3.8 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat[count:]:
        axes.axis("off")
    for k, axes in zip(range(count), grid.flat, strict=False):
        _draw_room(axes, first["room_size"][k], first["node_positions"][k])
        truth = first["positions"][k]
        axes.plot(*truth.T, "*", color="red", markersize=13, label="truth")
        for one, (predicted, *_) in shown:
            look = styles[one.method, one.variant]
            for true, found in zip(truth, predicted["predicted"][k], strict=True):
                axes.plot(
                    *np.transpose([true, found]),
                    color=look["color"],
                    linestyle=look["linestyle"],
                    linewidth=1,
                )
            axes.plot(
                *predicted["predicted"][k].T,
                look["marker"],
                color=look["color"],
                fillstyle=look["fillstyle"],
                alpha=0.8,
                label=style.name(one),
                clip_on=False,
            )
        axes.set_title(_room_title(first, k), fontsize="small")
    style.legend(figure, grid[0, 0])
    return figure


def _room_title(predictions: dict[str, Any], k: int) -> str:
    parts = [f"test example {k + 1}"]
    if "t60" in predictions:
        parts.append(f"T60 {float(predictions['t60'][k]):.2f} s")
    if "snr_db" in predictions:
        parts.append(f"SNR {float(predictions['snr_db'][k]):.0f} dB")
    return ", ".join(parts)


def plot_maps(one: RunGroup, predictions: dict[str, Any]) -> Any:
    """Plot predicted distributions, a column for each of a few examples.

    With several sources each has a row, in the order of the network's outputs.
    """
    planes = predictions["planes"][:_MAPS]
    count, num_sources = planes.shape[:2]
    figure, grid = plt.subplots(
        num_sources,
        count,
        figsize=(3.2 * count, 3.4 * num_sources),
        squeeze=False,
        layout="constrained",
    )
    for (source, k), axes in np.ndenumerate(grid):
        room, plane = predictions["room_size"][k], planes[k, source]
        # A grid point is the center of its pixel, so that pixels at the walls extend
        # half their size beyond the room; cells fill the room.
        has_points = one.labels_places and len(plane) > one.resolution
        margin = room[:2] / one.resolution / 2 if has_points else (0, 0)
        axes.imshow(
            plane,
            origin="lower",
            cmap="Blues",
            extent=(-margin[0], room[0] + margin[0], -margin[1], room[1] + margin[1]),
        )
        _draw_room(axes, room, predictions["node_positions"][k])
        axes.plot(*predictions["positions"][k].T, "x", color="tab:red", label="truth")
        axes.plot(
            *predictions["predicted"][k].T,
            "o",
            markerfacecolor="none",
            color="tab:orange",
            label="estimate",
        )
        if num_sources > 1:
            axes.set_title(f"output {source + 1}", fontsize="small")
    grid[0, 0].legend(fontsize="x-small", loc="upper right")
    figure.suptitle(f"{style.name(one)}: predicted distribution")
    return figure
