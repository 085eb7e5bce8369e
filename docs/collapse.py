"""Draw what happens in the layers of the paper-like network over its first steps.

python docs/collapse.py docs/collapse.png benchmarks/results/training_dynamics/*.json
"""

import json
import pathlib
import sys

from uld_jax.report.style import plt

# Rows: what was measured, its title, whether its axis is logarithmic.
_ROWS = (
    ("gradients", "norm of the gradient", True),
    ("updates", "update, relative to parameters", True),
    ("rms", "output, root mean square", True),
    ("spread", "share that differs by example", False),
    ("dead", "share of dead units", False),
)


def _title(settings: dict) -> str:
    """Name a run by its settings."""
    rate = settings["train.learning_rate"]
    parts = [f"rate {rate:g}"]
    if steps := settings.get("train.warmup_steps"):
        parts.append(f"warm-up {steps}")
    if norm := settings.get("train.clip_norm"):
        parts.append(f"clipping {norm:g}")
    return ", ".join(parts)


def _of(record: dict, kind: str) -> dict[str, float]:
    """Look up what was measured of each layer."""
    if kind in ("rms", "spread"):
        return {name: values[kind] for name, values in record["outputs"].items()}
    return record[kind]


def main(path: str, *records: str) -> None:
    """Write the picture."""
    runs = [json.loads(pathlib.Path(record).read_text()) for record in records]
    figure, grid = plt.subplots(
        *(len(_ROWS), len(runs)),
        figsize=(3.2 * len(runs), 2.3 * len(_ROWS)),
        sharex=True,
        sharey="row",
        layout="constrained",
    )
    # One color for each layer in all rows, from the input to the output.
    names = list(dict.fromkeys([*runs[0]["measured"][0]["gradients"]]))
    names += [name for name in runs[0]["measured"][0]["outputs"] if name not in names]
    shades = plt.get_cmap("turbo")([k / len(names) for k in range(len(names))])
    colors = dict(zip(names, shades, strict=True))
    for column, run in zip(grid.T, runs, strict=True):
        column[0].set_title(_title(run["settings"]), fontsize="medium")
        measured = run["measured"]
        for axes, (kind, title, logarithmic) in zip(column, _ROWS, strict=True):
            for name in _of(measured[0], kind):
                axes.plot(
                    [one["step"] for one in measured],
                    [_of(one, kind)[name] for one in measured],
                    color=colors[name],
                    linewidth=1.2,
                    label=name,
                )
            if logarithmic:
                axes.set_yscale("log")
            if column is grid.T[0]:
                axes.set_ylabel(title)
        column[-1].set_xlabel("step")
    handles = {}
    for axes in grid[:, 0]:
        found = axes.get_legend_handles_labels()
        handles |= dict(zip(found[1], found[0], strict=True))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=7, fontsize="small"
    )
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
