"""The picture and the table of training dynamics, from made-up records."""

import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def record(rate, **settings):
    """Make a record of two steps."""
    layers = ("blocks.0", "first", "second")

    def measured(step):
        return {
            "step": step,
            "gradients": dict.fromkeys(layers, 1.0 + step),
            "updates": dict.fromkeys(layers, 1e-3),
            "outputs": {
                "blocks.1.over_nodes": {"rms": 2.5, "spread": 0.25},
                "first": {"rms": 1.0, "spread": 0.5},
            },
            "dead": {"first": 0.75, "second": 0.5},
        }

    plain = {"train.learning_rate": rate, "train.warmup_steps": 0}
    plain |= {"train.clip_norm": None, "train.batch_size": 16}
    plain |= {"zero_outputs": False, "b2": 0.999}
    return {
        "settings": plain | settings,
        "validation": {"mae": 2.347, "quantization_error": 0.173},
        "measured": [measured(0), measured(1)],
    }


def test_runs_are_drawn_and_listed(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("collapse", ROOT / "docs/collapse.py")
    collapse = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collapse)
    page = tmp_path / "collapse.md"
    page.write_text("Above.\n\n<!-- runs -->\n\n<!-- /runs -->\n")
    monkeypatch.setattr(collapse, "_PAGE", page)
    drawn = []
    subplots = collapse.plt.subplots

    def keep(*arguments, **options):
        found = subplots(*arguments, **options)
        drawn.append(found[1])
        return found

    monkeypatch.setattr(collapse.plt, "subplots", keep)
    runs = [record(4e-4), record(1e-3), record(4e-4, zero_outputs=True)]
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    for path, run in zip(paths, runs, strict=True):
        path.write_text(json.dumps(run))
    collapse.main(*map(str, paths))
    assert page.with_suffix(".png").stat().st_size > 10_000
    (grid,) = drawn
    assert grid.shape == (5, 2)  # Two runs differ in their rate alone.
    assert [axes.get_title() for axes in grid[0]] == ["rate 0.001", "rate 0.0004"]
    assert grid[4, 0].get_ylabel() == "share of dead units"
    assert not grid[4, 1].get_ylabel()
    text = page.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ULD ")]
    assert len(rows) == 3
    cells = [cell.strip() for cell in rows[0].split("|")[-6:-1]]
    assert cells == ["2.5", "0.25", "75 %", "2.35", "0.17"]
    assert text.startswith("Above.")
