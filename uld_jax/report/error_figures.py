"""Figures of error against what makes localization hard: I, rooms, noise, nodes."""

import collections

import numpy as np

from uld_jax.labels import titles
from uld_jax.report import groups, paper, style
from uld_jax.report.groups import Group
from uld_jax.report.style import Shown, plt

# What is known of a test source, and how its axis is called.
FACTS = {
    "t60": "reverberation time T60 in s",
    "snr_db": "SNR in dB",
    "nearest_node": "distance to the nearest node in m",
    "floor_area": "floor area of the room in m²",
    "separation": "distance to the nearest other source in m",
}

_MOST_BINS = 8
_FEWEST_IN_BIN = 30
_RESAMPLES = 500

# Worse conditions: how their axis is called, and the factor to its unit.
_CONDITIONS = {
    "num_nodes": ("number of nodes", 1.0),
    "clock_offset": ("standard deviation of the clocks in ms", 1000.0),
    "position_error": ("error of the nodes' x and y, standard deviation in m", 1.0),
    "snr_db": ("SNR in dB", 1.0),
}


def plot_mae_against_resolution(members: list[Group]):
    """Return the paper's central picture: MAE against I, with the QE line.

    A line for each scheme and kind of training, with the standard deviation over
    seeds; baselines across; the paper's values, where it has such, faint.
    """
    figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
    limits = sorted(groups.quantization_errors(members).items())
    printed = members[0].data.printed
    columns = {one.resolution for one in members if one.scheme}
    if printed or not columns:
        columns |= set(paper.RESOLUTIONS)
    shown = [(x, y) for x, y in limits if min(columns) <= x <= max(columns)]
    if shown:
        axes.plot(
            *zip(*shown, strict=True), color="gray", dashes=(2, 2), label="QE", lw=2
        )
    styles = style.styles(members)
    lines = collections.defaultdict(list)
    for one in members:
        if one.converged:
            lines[one.method, one.variant].append(one)
    for key, line in lines.items():
        means, spreads = np.transpose([_mean_and_spread(one) for one in line])
        if not line[0].scheme:
            axes.axhline(means[0], **styles[key] | {"marker": ""}, label=line[0].label)
            continue
        axes.errorbar(
            [one.resolution for one in line],
            means,
            spreads if spreads.any() else None,
            capsize=3,
            label=line[0].label,
            **styles[key],
        )
    if printed:
        _draw_printed(axes, printed)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="resolution I: cells per axis (ULD: I + 1 grid points)",
        ylabel="MAE in m",
    )
    axes.set_xticks(sorted(columns), sorted(columns))
    axes.minorticks_off()
    style.plain_ticks(axes)
    style.legend(figure, axes)
    return figure


def _mean_and_spread(one: Group) -> tuple[float, float]:
    values = [run["test"]["mae"] for run in one.converged]
    return np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0


def _draw_printed(axes, printed: paper.Printed) -> None:
    """Draw the paper's values as open markers in the colors of their labels."""
    label = "the paper's values"
    for scheme, maes in printed.mae.items():
        _, color, marker = titles.SCHEMES[scheme]
        axes.plot(
            paper.RESOLUTIONS,
            [np.nan if mae is None else mae for mae in maes],
            linestyle="none",
            marker=marker,
            markersize=9,
            markerfacecolor="none",
            color=color,
            alpha=0.45,
        )
    axes.plot(
        [], [], "o", markersize=9, markerfacecolor="none", color="gray", label=label
    )


def facts(predictions: dict) -> dict[str, np.ndarray]:
    """Return what is known of each test source, [n, S], by the names of `FACTS`.

    What the file does not hold for every example is left out.
    """
    positions = predictions["positions"]
    n, num_sources = positions.shape[:2]
    known = {k: v for k, v in predictions.items() if len(v) == n}
    by_example = {key: known[key] for key in ("t60", "snr_db") if key in known}
    if "room_size" in known:
        by_example["floor_area"] = known["room_size"][:, :2].prod(axis=1)
    found = {
        key: np.repeat(np.asarray(values, float).reshape(n, 1), num_sources, axis=1)
        for key, values in by_example.items()
    }
    if "node_positions" in known:
        gaps = positions[:, :, None] - known["node_positions"][:, None, :, :2]
        found["nearest_node"] = np.linalg.norm(gaps, axis=-1).min(axis=-1)
    if num_sources > 1:
        gaps = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
        gaps[:, range(num_sources), range(num_sources)] = np.inf
        found["separation"] = gaps.min(axis=-1)
    return found


def bins(
    values: np.ndarray, fewest: int = _FEWEST_IN_BIN, most: int = _MOST_BINS
) -> list[np.ndarray]:
    """Return the indices of values in bins of about as many each, in order.

    There are fewer bins where that would leave fewer than `fewest` in one, and none
    where all values are alike.
    """
    count = min(most, len(values) // fewest)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    places = np.searchsorted(edges[1:-1], values, side="right")
    found = [np.flatnonzero(places == place) for place in range(len(edges) - 1)]
    return [members for members in found if len(members) >= fewest]


def interval(errors: np.ndarray) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the mean of errors."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(errors), size=(_RESAMPLES, len(errors)))
    low, high = np.percentile(errors[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def plot_error_against(fact: str, shown: Shown, members: list[Group]):
    """Return a figure of mean and median error against a fact of the test sources.

    Args:
        fact: One of `FACTS`.
        shown: What to draw, with the predictions of its runs, one at least.
        members: All groups on these data, among which it is drawn.

    Returns:
        None where no method has two bins.
    """
    styles = style.styles(members)
    lines = []
    for one, predictions in shown:
        values = facts(predictions[0]).get(fact)
        if values is None or len(found := bins(values.ravel())) < 2:
            continue
        # Seeds share the test examples, so that means are taken over seeds first.
        errors = np.stack([style.distances(p).ravel() for p in predictions])
        lines.append((one, values.ravel(), found, errors))
    if not lines:
        return None
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4), sharey=True, layout="constrained"
    )
    for one, values, found, errors in lines:
        look = styles[one.method, one.variant] | {"label": style.name(one)}
        centers = [values[members].mean() for members in found]
        means = errors.mean(axis=0)
        left.plot(centers, [means[members].mean() for members in found], **look)
        low, high = np.transpose([interval(means[members]) for members in found])
        left.fill_between(centers, low, high, color=look["color"], alpha=0.15, lw=0)
        right.plot(centers, [np.median(errors[:, m]) for m in found], **look)
    sizes = [len(members) for _, _, found, _ in lines for members in found]
    counts = " to ".join(str(size) for size in sorted({min(sizes), max(sizes)}))
    left.set(title="mean, with its 95 % interval", yscale="log", ylabel="error in m")
    right.set(title="median")
    for axes in (left, right):
        axes.set(xlabel=FACTS[fact])
        style.plain_ticks(axes)
    figure.suptitle(f"bins of {counts} test sources", fontsize="small")
    style.legend(figure, left)
    return figure


def plot_conditions(lines: list[tuple[Group, groups.Conditions]], members: list[Group]):
    """Return a figure of the MAE under worse conditions, a panel for each kind.

    Args:
        lines: What to draw, all tested on the same examples.
        members: All groups on these data, among which it is drawn.

    Returns:
        None where there is no such condition.
    """
    names = [
        name
        for name in _CONDITIONS
        if any(key[0] == name for _, found in lines for key in found.mae)
    ]
    if not names:
        return None
    styles = style.styles(members)
    rows = -(-len(names) // 2)
    figure, grid = plt.subplots(
        rows,
        min(2, len(names)),
        figsize=(11, 3.6 * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, name in zip(grid.flat, names, strict=False):
        title, factor = _CONDITIONS[name]
        for one, found in lines:
            look = styles[one.method, one.variant] | {"label": style.name(one)}
            points = condition_curve(name, found)
            axes.plot([factor * x for x, _ in points], [y for _, y in points], **look)
        axes.set(xlabel=title, yscale="log")
        style.plain_ticks(axes)
        values = {
            factor * x for _, found in lines for x, _ in condition_curve(name, found)
        }
        if name == "clock_offset" and max(values) > 0:
            least = min(values - {0.0})
            axes.set_xscale("symlog", linthresh=least)
            axes.set_xlim(-least / 5, 1.3 * max(values))
        axes.set_xticks(sorted(values), [f"{value:g}" for value in sorted(values)])
        axes.minorticks_off()
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for axes in grid[:, 0]:
        axes.set_ylabel("MAE in m")
    style.legend(figure, grid[0, 0])
    return figure


def condition_curve(name: str, found: groups.Conditions) -> list[tuple[float, float]]:
    """Return values of a condition and the MAE there, the unworsened one included.

    That has all nodes, no offset and no error; its SNR is not one number.
    """
    points = {value: mae for (kind, value), mae in found.mae.items() if kind == name}
    plain = {"num_nodes": found.num_nodes, "clock_offset": 0.0, "position_error": 0.0}
    if points and name in plain and ("none", 0.0) in found.mae:
        points[float(plain[name])] = found.mae["none", 0.0]
    return sorted(points.items())
