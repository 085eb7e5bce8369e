"""A page, `report.html`, with the tables and all figures of some runs."""

import html
import pathlib
import re
from typing import Any

from uld_jax.report import error_figures, floor_plan_figures, groups, style, tables
from uld_jax.report.groups import RunGroup
from uld_jax.report.style import plt
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


def _figures(members: list[RunGroup]) -> dict[str, Any]:
    """Draw all figures of runs on the same data, by name."""
    chosen = groups.representatives(members)
    styles, figures = style.styles(members), {}
    if _has_sweep(members):
        figures["mae_against_resolution"] = error_figures.plot_mae_against_resolution(
            members, styles
        )
    trained = [one for one in chosen if one.scheme and one.converged[0].get("epochs")]
    if trained:
        figures["learning_curves"] = error_figures.plot_learning_curves(trained, styles)
    shown = [
        (one, [p for run in one.converged if (p := style.read_predictions(run))])
        for one in chosen
    ]
    shown = [(one, predictions) for one, predictions in shown if predictions]
    if shown:
        figures["errors"] = error_figures.plot_error_distribution(shown, styles)
        figures["floor_plans"] = floor_plan_figures.plot_floor_plans(shown, styles)
        for fact in error_figures.FACTS:
            figures[f"error_against_{fact}"] = error_figures.plot_error_against(
                fact, shown, styles
            )
    # Labels tested at several I are shown at one.
    tested = groups.tested_alike(members)
    for examples, lines in tested.items():
        ending = f"_{examples}" if len(tested) > 1 else ""
        drawn = groups.representatives([one for one, _ in lines])
        figures[f"conditions{ending}"] = error_figures.plot_conditions(
            [(one, found) for one, found in lines if one in drawn], styles
        )
    number = 0
    for one, (predictions, *_) in shown:
        if "planes" in predictions:
            number += 1
            name = f"maps_{pathlib.Path(one.converged[0]['folder']).name}_{number}"
            figures[name] = floor_plan_figures.plot_maps(one, predictions)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _has_sweep(members: list[RunGroup]) -> bool:
    """Check whether there is a line to draw: several I, or the paper's values."""
    kinds = [(one.method, one.variant) for one in members]
    return members[0].data.printed is not None or len(set(kinds)) < len(kinds)


def write_report(members: list[RunGroup], out: pathlib.Path) -> pathlib.Path:
    """Write all figures and the page that shows them; return its path."""
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
    """Turn a data set's name into a part of file names."""
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
