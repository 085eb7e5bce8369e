"""Records to figures: learning curves, error distribution, floor plan, maps.

    python -m uld_jax.plots runs/l1 --out=runs/l1/report

writes the figures and `report.html`, which shows them with the table.
"""

import argparse
import html
import pathlib

import numpy as np

from uld_jax import records, tables

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    plt = None

_MAPS = 4


def _title(run: dict) -> str:
    label = run["settings"]["label"]
    name = tables.TITLES.get(label["scheme"], label["scheme"])
    return f"{name}, I = {label['resolution']}, seed {run['seed']}"


def plot_learning_curves(runs: list[dict]):
    """Return a figure of the losses above their floors and the validation MAE."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for run in runs:
        epochs = [epoch["epoch"] for epoch in run["epochs"]]
        (line,) = left.plot(
            epochs, [e["validation"]["kl"] for e in run["epochs"]], label=_title(run)
        )
        left.plot(
            epochs,
            [e["train"]["kl"] for e in run["epochs"]],
            color=line.get_color(),
            linestyle=":",
        )
        right.plot(epochs, [e["validation"]["mae"] for e in run["epochs"]])
    left.set(
        xlabel="epoch",
        ylabel="loss above its floor",
        yscale="log",
        title="validation (solid), training (dotted)",
    )
    right.set(xlabel="epoch", ylabel="validation MAE in m", yscale="log")
    left.legend(fontsize="small")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_error_distribution(runs: list[dict], errors: list[np.ndarray]):
    """Return a figure of the share of test errors below each distance."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for run, values in zip(runs, errors, strict=True):
        share = np.arange(1, len(values) + 1) / len(values)
        axes.plot(np.sort(values), share, label=_title(run))
    limit = min(run["test"]["quantization_error"] for run in runs)
    axes.axvline(limit, color="gray", linestyle="--", label=f"QE, {limit:.3f} m")
    axes.set(xscale="log", xlabel="error in m", ylabel="share of test segments")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _draw_room(axes, room_size, nodes) -> None:
    axes.plot(*nodes[:, :2].T, "k^", markersize=4, label="nodes", clip_on=False)
    axes.set(
        xlim=(0, room_size[0]),
        ylim=(0, room_size[1]),
        xlabel="x in m",
        ylabel="y in m",
        aspect="equal",
    )


def plot_floor_plans(runs: list[dict], predictions: list[dict], num_shown: int = 150):
    """Return a figure with arrows from truth to estimate, a floor plan a run."""
    figure, grid = plt.subplots(
        1, len(runs), figsize=(4.2 * len(runs), 4.6), layout="constrained"
    )
    for axes, run, predicted in zip(
        np.atleast_1d(grid), runs, predictions, strict=True
    ):
        _draw_room(axes, predicted["room_size"][0], predicted["node_positions"][0])
        truth = predicted["positions"][:num_shown].reshape(-1, 2)
        shift = predicted["predicted"][:num_shown].reshape(-1, 2) - truth
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
        axes.set_title(f"{_title(run)}: MAE {run['test']['mae']:.3f} m")
    np.atleast_1d(grid)[0].legend(fontsize="small", loc="upper right")
    return figure


def plot_maps(run: dict, predictions: dict):
    """Return a figure of the predicted distributions of a few test segments."""
    planes = predictions["planes"][:_MAPS, 0]
    figure, grid = plt.subplots(
        1, len(planes), figsize=(3.2 * len(planes), 3.4), layout="constrained"
    )
    resolution = run["settings"]["label"]["resolution"]
    for k, (axes, plane) in enumerate(zip(np.atleast_1d(grid), planes, strict=True)):
        room = predictions["room_size"][k]
        # Grid points lie at the centers of their pixels, half of which stick out
        # of the room at the walls; cells fill the room.
        margin = room[:2] / resolution / 2 if len(plane) > resolution else (0, 0)
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
    np.atleast_1d(grid)[0].legend(fontsize="x-small", loc="upper right")
    figure.suptitle(f"{_title(run)}: predicted distribution")
    return figure


def read_predictions(run: dict) -> dict | None:
    """Return the predictions beside a record, or None where they are missing."""
    path = pathlib.Path(run["folder"]) / records.PREDICTIONS_FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def write_report(runs: list[dict], out: pathlib.Path) -> pathlib.Path:
    """Write all figures and the page that shows them; return the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    groups = tables.group(runs)
    runs = [run for one in groups for run in one.runs]
    predictions = [read_predictions(run) for run in runs]
    shown = [(r, p) for r, p in zip(runs, predictions, strict=True) if p is not None]
    figures = {"learning_curves": plot_learning_curves(runs)}
    if shown:
        errors = [
            np.linalg.norm(p["predicted"] - p["positions"], axis=-1).ravel()
            for _, p in shown
        ]
        figures["errors"] = plot_error_distribution([r for r, _ in shown], errors)
        figures["floor_plans"] = plot_floor_plans(
            [r for r, _ in shown], [p for _, p in shown]
        )
    for number, (run, predicted) in enumerate(shown, start=1):
        name = f"{pathlib.Path(run['folder']).name}_{number}"
        figures[f"maps_{name}"] = plot_maps(run, predicted)
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110)
        plt.close(figure)
    table = html.escape(tables.table_1(groups))
    images = "\n".join(
        f'<p><img src="{name}.png" alt="{name}"></p>' for name in figures
    )
    page = out / "report.html"
    page.write_text(
        "<!doctype html><meta charset='utf-8'><title>uld_jax report</title>\n"
        "<style>body{font-family:sans-serif;margin:2em;max-width:70em}"
        "img{max-width:100%}pre{overflow-x:auto}</style>\n"
        f"<h1>Localization with four labels</h1>\n<pre>{table}</pre>\n{images}\n"
    )
    return page


def main() -> None:
    """Write the report of all finished runs below the given folders."""
    parser = argparse.ArgumentParser(description="Make figures and a page of records.")
    parser.add_argument("paths", nargs="+", help="folders with records, or records")
    parser.add_argument("--out", help="folder of the report; default: FIRST/report")
    arguments = parser.parse_args()
    if plt is None:
        parser.error("figures need matplotlib: pip install 'uld-jax[report]'")
    try:
        runs, _ = records.read_finished(arguments.paths)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    first = pathlib.Path(arguments.paths[0])
    folder = first if first.is_dir() else first.parent
    out = pathlib.Path(arguments.out or folder / "report")
    print(f"Report: {write_report(runs, out)}")


if __name__ == "__main__":
    main()
