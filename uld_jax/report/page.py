"""Records to figures: learning curves, errors, floor plans, maps, what makes it hard.

    uld_jax report runs/l1 --out=runs/l1/report

writes the figures and `report.html`, which shows them with the tables. Figures other
than that of MAE against I show the baselines and, of each label and kind of training,
the I of least validation MAE.
"""

import html
import pathlib
import re

import numpy as np

from uld_jax.report import error_figures, floor_plan_figures, groups, style, tables
from uld_jax.report.groups import Group
from uld_jax.report.style import Shown, plt
from uld_jax.runtime import errors

_NOTE = (
    "Figures other than that of MAE against I show the baselines and, of each label "
    "and kind of training, the I of least validation MAE."
)
_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>uld_jax report</title>
<style>
body {{ font-family: sans-serif; margin: 2em; max-width: 75em }}
img {{ max-width: 100% }}
table {{ border-collapse: collapse; font-size: 90%; display: block; overflow-x: auto }}
th, td {{ padding: .15em .6em; text-align: left; white-space: nowrap }}
th {{ border-bottom: 2px solid }}
tr.first td {{ border-top: 1px solid #999 }}
</style>
<h1>Where the talkers are: tables and figures</h1>
{}
"""


def plot_learning_curves(shown: list[Group], members: list[Group]):
    """Return a figure of the losses above their floors and the validation MAE.

    Of a group's runs that converged the first is shown.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    styles = style.styles(members)
    for one in shown:
        epochs = one.converged[0]["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        look = styles[one.method, one.variant] | {"marker": ""}
        validation, train = (
            [epoch[split]["kl"] for epoch in epochs]
            for split in ("validation", "train")
        )
        left.plot(numbers, validation, **look, label=style.name(one))
        left.plot(numbers, train, **look, alpha=0.4)
        right.plot(numbers, [e["validation"]["mae"] for e in epochs], **look)
    left.set(xlabel="epoch", ylabel="loss above its floor", yscale="log")
    left.set_title("validation; faint: training", fontsize="medium")
    right.set(xlabel="epoch", ylabel="validation MAE in m", yscale="log")
    style.legend(figure, left)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        style.plain_ticks(axes)
    return figure


def plot_error_distribution(shown: Shown, members: list[Group]):
    """Return a figure of the share of test sources below each error, seeds pooled."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    styles = style.styles(members)
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


def _figures(members: list[Group]) -> dict:
    """Return all figures of runs on the same data, by name."""
    chosen = groups.representatives(members)
    figures = {}
    if _has_sweep(members):
        figures["mae_against_resolution"] = error_figures.plot_mae_against_resolution(
            members
        )
    trained = [one for one in chosen if one.scheme and one.converged[0].get("epochs")]
    if trained:
        figures["learning_curves"] = plot_learning_curves(trained, members)
    shown = [
        (one, [p for run in one.converged if (p := style.read_predictions(run))])
        for one in chosen
    ]
    shown = [(one, predictions) for one, predictions in shown if predictions]
    if shown:
        figures["errors"] = plot_error_distribution(shown, members)
        figures["floor_plans"] = floor_plan_figures.plot_floor_plans(shown, members)
        for fact in error_figures.FACTS:
            figures[f"error_against_{fact}"] = error_figures.plot_error_against(
                fact, shown, members
            )
    # All that were tested alike at one I each, of labels tested at several.
    tested = groups.tested_alike(members)
    for examples, lines in tested.items():
        ending = f"_{examples}" if len(tested) > 1 else ""
        drawn = groups.representatives([one for one, _ in lines])
        figures[f"conditions{ending}"] = error_figures.plot_conditions(
            [(one, found) for one, found in lines if one in drawn], members
        )
    number = 0
    for one, (predictions, *_) in shown:
        if "planes" in predictions:
            number += 1
            name = f"maps_{pathlib.Path(one.converged[0]['folder']).name}_{number}"
            figures[name] = floor_plan_figures.plot_maps(one, predictions)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _has_sweep(members: list[Group]) -> bool:
    """Return whether there is a line to draw: several I, or the paper's."""
    kinds = [(one.method, one.variant) for one in members]
    return members[0].data.printed is not None or len(set(kinds)) < len(kinds)


def write_report(members: list[Group], out: pathlib.Path) -> pathlib.Path:
    """Write all figures and the page that shows them; return the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    kinds = groups.by_data(members)
    parts = []
    for number, (data, same) in enumerate(kinds.items(), start=1):
        ending = f"_{_slug(data.name)}_{number}" if len(kinds) > 1 else ""
        parts.append(f"<h2>{html.escape(data.name)}</h2>")
        parts += [table.html() for table in tables.make(same)]
        parts.append(f"<p>{_NOTE}</p>")
        for name, figure in _figures(same).items():
            file = f"{name}{ending}.png"
            figure.savefig(out / file, dpi=110)
            plt.close(figure)
            parts.append(f'<p><img src="{file}" alt="{name}"></p>')
    page = out / "report.html"
    page.write_text(_PAGE.format("\n".join(parts)))
    return page


def _slug(data_name: str) -> str:
    """Return what of a data set's name goes into names of files."""
    config, _, _ = data_name.rpartition("/")[2].partition(":")
    return re.sub(r"\W+", "_", config)


def check_matplotlib() -> None:
    """Raise unless figures can be drawn.

    Raises:
        errors.InputError: If matplotlib is not installed.
    """
    if plt is None:
        raise errors.InputError(
            "figures need matplotlib: pip install 'uld-jax[report]'"
        )
