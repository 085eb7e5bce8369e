"""Show what happens in the layers of the paper-like network over its first steps.

python docs/collapse.py benchmarks/results/training_dynamics/*.json

Draws docs/collapse.png of the runs that differ in rate, warm-up and clipping alone, and
writes the table of all runs in docs/collapse.md.
"""

import json
import pathlib
import sys

from uld_jax.report import markdown
from uld_jax.report.style import plt

_PAGE = pathlib.Path(__file__).with_suffix(".md")

# Rows: what was measured, its title, whether its axis is logarithmic.
_ROWS = (
    ("gradients", "gradient norm", True),
    ("updates", "update / parameters", True),
    ("rms", "output rms", True),
    ("spread", "spread between examples", False),
    ("dead", "share of dead units", False),
)


def _title(settings: dict) -> str:
    """Name a run by its settings."""
    parts = [f"rate {settings['train.learning_rate']:g}"]
    if steps := settings["train.warmup_steps"]:
        parts.append(f"warm-up {steps}")
    if norm := settings["train.clip_norm"]:
        parts.append(f"clipping {norm:g}")
    return ", ".join(parts)


# What records of before labels, seeds and numbers of steps were changed do not say.
_BEFORE = {"label.scheme": "uld", "label.resolution": 16, "seed": 0, "steps": 1500}

_NAMES = {"uld": "ULD", "one_hot": "one-hot", "refined_grid": "RG", "heat_map": "HM"}


def _is_plain(settings: dict) -> bool:
    """Check that nothing but rate, warm-up and clipping is changed."""
    rest = (settings["zero_outputs"], settings["b2"], settings["train.batch_size"])
    return rest == (False, 0.999, 16) and _BEFORE.items() <= settings.items()


def _table(runs: list[dict]) -> str:
    """Make the table of what became of each run."""
    rows = []
    for run in runs:
        settings, last = run["settings"], run["measured"][-1]
        spread = last["outputs"]["blocks.1.over_nodes"]
        rows.append(
            [
                _NAMES[settings["label.scheme"]],
                f"{settings['label.resolution']}",
                f"{settings['seed']}",
                f"{settings['steps']:,}",
                f"{settings['train.learning_rate']:g}",
                f"{settings['train.warmup_steps']}",
                f"{settings['train.clip_norm'] or 'none'}",
                f"{settings['train.batch_size']}",
                f"{settings['b2']}",
                "yes" if settings["zero_outputs"] else "no",
                f"{spread['rms']:.1f}",
                f"{spread['spread']:.2f}",
                f"{100 * last['dead']['first']:.0f} %",
                f"{run['validation']['mae']:.2f}",
                f"{run['validation']['quantization_error']:.2f}",
            ]
        )
    header = [
        "label",
        "I",
        "seed",
        "steps",
        "rate",
        "warm-up",
        "clipping",
        "batch",
        "b2",
    ]
    header += [
        "zero outputs",
        "rms",
        "spread",
        "dead units",
        "validation MAE m",
        "QE m",
    ]
    return markdown.to_markdown(header, rows)


def _values_by_layer(record: dict, kind: str) -> dict[str, float]:
    """Look up what was measured of each layer."""
    if kind in ("rms", "spread"):
        return {name: values[kind] for name, values in record["outputs"].items()}
    return record[kind]


def _draw(runs: list[dict]) -> None:
    """Draw a column for each run."""
    figure, grid = plt.subplots(
        *(len(_ROWS), len(runs)),
        figsize=(3.2 * len(runs), 2.3 * len(_ROWS)),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    # One color for each layer in all rows, from the input to the output.
    first = runs[0]["measured"][0]
    names = list(dict.fromkeys([*first["gradients"], *first["outputs"]]))
    shades = plt.get_cmap("turbo")([k / len(names) for k in range(len(names))])
    colors = dict(zip(names, shades, strict=True))
    handles = {}
    for column, run in zip(grid.T, runs, strict=True):
        column[0].set_title(_title(run["settings"]), fontsize="medium")
        column[-1].set_xlabel("step")
        steps = [one["step"] for one in run["measured"]]
        for axes, (kind, _, logarithmic) in zip(column, _ROWS, strict=True):
            for name in _values_by_layer(run["measured"][0], kind):
                values = [_values_by_layer(one, kind)[name] for one in run["measured"]]
                (line,) = axes.plot(steps, values, color=colors[name], linewidth=1.2)
                handles[name] = line
            if logarithmic:
                axes.set_yscale("log")
    for axes, (_, title, _) in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(title)
    lines = [handles[name] for name in names if name in handles]
    figure.legend(
        lines, names, loc="outside lower center", ncols=2 * len(runs), fontsize="small"
    )
    figure.savefig(_PAGE.with_suffix(".png"), dpi=90)


def main(*paths: str) -> None:
    """Draw the picture and write the table."""
    runs = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    for run in runs:
        run["settings"] = _BEFORE | run["settings"]
    runs.sort(key=lambda run: _sort_key(run["settings"]))
    _draw([run for run in runs if _is_plain(run["settings"])])
    text = markdown.replace_marked(_PAGE.read_text(), _table(runs), "runs")
    _PAGE.write_text(text)


def _sort_key(settings: dict) -> tuple:
    """Give the sort key of a run: those of the picture first, then what was tried."""
    return (
        not _is_plain(settings),
        settings["label.scheme"] != "uld",
        settings["label.resolution"],
        settings["train.clip_norm"] is not None,
        -settings["train.learning_rate"],
        settings["seed"],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
