"""Figures of training and of the error against I, rooms, noise and nodes."""

import collections
from typing import Any

import numpy as np

from uld_jax.evaluation import conditions
from uld_jax.labels import titles
from uld_jax.report import groups, paper, style
from uld_jax.report.groups import RunGroup
from uld_jax.report.style import Shown, plt

# Facts of a test source, with the titles of their axes.
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

# Worse conditions: title of the axis, and the factor to its unit.
_CONDITIONS = {
    "num_nodes": ("number of nodes", 1.0),
    "clock_offset": ("standard deviation of the clocks in ms", 1000.0),
    "position_error": ("error of the nodes' x and y, standard deviation in m", 1.0),
    "snr_db": ("SNR in dB", 1.0),
}


def plot_mae_against_resolution(members: list[RunGroup], styles: style.Styles) -> Any:
    """Plot MAE against I with the QE line, the paper's central figure.

    Each scheme and kind of training is a line with the standard deviation over seeds;
    baselines are horizontal, and the paper's values faint.
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


def _mean_and_spread(one: RunGroup) -> tuple[float, float]:
    values = [run["test"]["mae"] for run in one.converged]
    return np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0


def _draw_printed(axes, printed: paper.Printed) -> None:
    """Draw the paper's values as open markers in the colors of their labels."""
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
    look = {"markersize": 9, "markerfacecolor": "none", "color": "gray"}
    axes.plot([], [], "o", **look, label="the paper's values")


def facts(predictions: dict[str, Any]) -> dict[str, np.ndarray]:
    """Compute facts of each test source, [n, S], by the names of `FACTS`.

    Facts that the file does not hold for every example are left out.
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
    """Sort values into bins of about equal counts; return their indices.

    Bins have at least `fewest` values, so that there may be fewer of them, or none
    where all values are equal.
    """
    count = min(most, len(values) // fewest)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    chosen = np.searchsorted(edges[1:-1], values, side="right")
    found = [np.flatnonzero(chosen == number) for number in range(len(edges) - 1)]
    return [members for members in found if len(members) >= fewest]


def interval(errors: np.ndarray) -> tuple[float, float]:
    """Compute the bootstrap 95 % interval of the mean of errors."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(errors), size=(_RESAMPLES, len(errors)))
    low, high = np.percentile(errors[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def plot_error_against(fact: str, shown: Shown, styles: style.Styles) -> Any:
    """Plot mean and median error against a fact of the test sources.

    Args:
        fact: One of `FACTS`.
        shown: Groups to draw, each with the predictions of at least one run.
        styles: As `style.styles` chooses them for all groups on these data.

    Returns:
        The figure; None where no method has two bins.
    """
    lines = []
    for one, predictions in shown:
        values = facts(predictions[0]).get(fact)
        if values is None or len(found := bins(values.ravel())) < 2:
            continue
        # Seeds share the test examples: without the mean over seeds first, the interval
        # would count each source several times.
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


def plot_conditions(
    lines: list[tuple[RunGroup, groups.Conditions]], styles: style.Styles
) -> Any:
    """Plot the MAE under worse conditions, a panel for each kind.

    Args:
        lines: Groups to draw, all tested on the same examples.
        styles: As `style.styles` chooses them for all groups on these data.

    Returns:
        The figure; None where there is no such condition.
    """
    tested = {name for _, found in lines for name, *_ in found.values["mae"]}
    names = [name for name in _CONDITIONS if name in tested]
    if not names:
        return None
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
        values = set()
        for one, found in lines:
            look = styles[one.method, one.variant] | {"label": style.name(one)}
            points = [(factor * x, mae) for x, mae in condition_curve(name, found)]
            axes.plot([x for x, _ in points], [mae for _, mae in points], **look)
            values |= {x for x, _ in points}
        axes.set(xlabel=title, yscale="log")
        style.plain_ticks(axes)
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
    """Pair the values of a condition with the MAE there, the normal one included.

    The normal one has all nodes, no offset and no error; its SNR is no single number.
    """
    maes = found.values["mae"]
    points = {
        value: mae
        for (kind, value, rooms), mae in maes.items()
        if kind == name and rooms == conditions.BARE
    }
    plain = {"num_nodes": found.num_nodes, "clock_offset": 0.0, "position_error": 0.0}
    normal = (conditions.NONE, 0.0, conditions.BARE)
    if points and name in plain and normal in maes:
        points[float(plain[name])] = maes[normal]
    return sorted(points.items())


def plot_learning_curves(shown: list[RunGroup], styles: style.Styles) -> Any:
    """Plot the losses above their floors and the validation MAE.

    The first converged run of each group is shown.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for one in shown:
        epochs = one.converged[0]["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        look = styles[one.method, one.variant] | {"marker": ""}
        validation = [epoch["validation"] for epoch in epochs]
        left.plot(numbers, [v["kl"] for v in validation], **look, label=style.name(one))
        left.plot(numbers, [e["train"]["kl"] for e in epochs], **look, alpha=0.4)
        right.plot(numbers, [v["mae"] for v in validation], **look)
    left.set(xlabel="epoch", ylabel="loss above its floor", yscale="log")
    left.set_title("validation; faint: training", fontsize="medium")
    right.set(xlabel="epoch", ylabel="validation MAE in m", yscale="log")
    style.legend(figure, left)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        style.plain_ticks(axes)
    return figure


def plot_error_distribution(shown: Shown, styles: style.Styles) -> Any:
    """Plot the share of test sources below each error, seeds pooled."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for one, predictions in shown:
        values = np.concatenate([style.distances(p).ravel() for p in predictions])
        share = np.arange(1, len(values) + 1) / len(values)
        look = styles[one.method, one.variant] | {"marker": ""}
        axes.plot(np.sort(values), share, **look, label=style.name(one))
    known = groups.quantization_errors([one for one, _ in shown if one.scheme])
    for resolution, limit in sorted(known.items())[-1:]:
        label = f"QE at I = {resolution}, {limit:.3f} m"
        axes.axvline(limit, color="gray", dashes=(2, 2), label=label)
    axes.set(xscale="log", xlabel="error in m", ylabel="share of test sources")
    axes.grid(alpha=0.3)
    style.legend(figure, axes)
    return figure
