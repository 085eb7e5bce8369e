import matplotlib.image
import numpy as np
import pytest
from made_records import (
    baseline_record,
    conditions,
    record,
    room_record,
    rooms,
    write,
)

from uld_jax.report import error_figures, groups, style
from uld_jax.report import page as page_lib

FACTS = ["floor_area", "nearest_node", "snr_db", "t60"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    style.plt.close("all")


@pytest.fixture
def l1_folder(tmp_path):
    """Two runs as the first records have them: geometry of a few examples."""
    rng = np.random.default_rng(0)
    for scheme, resolution in (("one_hot", 6), ("uld", 5)):
        run = record(
            scheme,
            resolution=resolution,
            quantization_error=0.4 + (scheme == "uld") / 9,
        )
        metrics = {"loss": 1.0, "kl": 0.5, "mae": 0.4}
        run["epochs"] = [
            {"epoch": k, "train": metrics, "validation": metrics} for k in (1, 2, 3)
        ]
        positions = rng.uniform(0, 6, (50, 1, 2))
        predictions = {
            "positions": positions,
            "predicted": positions + 0.1,
            "planes": rng.uniform(size=(3, 1, 6, 6)),
            "node_positions": rng.uniform(0, 6, (3, 8, 3)),
            "room_size": np.tile([6.0, 6.0, 4.2], (3, 1)),
        }
        predictions["node_positions"][:] = predictions["node_positions"][0]
        write(tmp_path / "runs", run, predictions)
    return tmp_path / "runs"


def report(folder, out):
    """Return the report's text and the names of its pictures."""
    members, _ = groups.read([folder])
    page = page_lib.write_report(members, out)
    return page.read_text(), sorted(path.stem for path in out.glob("*.png"))


def test_the_report_shows_every_figure_and_the_table(l1_folder, tmp_path):
    text, pictures = report(l1_folder, tmp_path / "report")
    assert pictures == [
        "errors",
        "floor_plans",
        "learning_curves",
        "maps_one_hot_I6_seed0_1",
        "maps_uld_I5_seed0_2",
    ]
    for name in pictures:
        assert f'src="{name}.png"' in text
        assert matplotlib.image.imread(tmp_path / f"report/{name}.png").std() > 0.01
    assert "<b>Table 1 on <code>simulated/l1:1.0.0</code></b>" in text
    assert "<td>One-hot</td>" in text
    assert "<pre>" not in text


def test_runs_without_predictions_still_have_their_curves(l1_folder, tmp_path):
    for path in l1_folder.glob("*/predictions.npz"):
        path.unlink()
    _, pictures = report(l1_folder, tmp_path / "report")
    assert pictures == ["learning_curves"]


def test_the_error_curve_is_the_distribution_function():
    members = groups.group([record("one_hot", quantization_error=0.383)])
    errors = np.array([[0.4, 0.1], [0.2, 0.3]])
    zeros = np.zeros((2, 2, 2))
    predictions = {
        "positions": zeros,
        "predicted": np.stack([errors, np.zeros((2, 2))], axis=-1),
    }
    figure = error_figures.plot_error_distribution(
        [(members[0], [predictions])], style.styles(members)
    )
    curve, limit = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(curve.get_ydata(), [0.25, 0.5, 0.75, 1.0])
    assert limit.get_xdata()[0] == 0.383
    assert limit.get_label() == "QE at I = 6, 0.383 m"


def test_learning_curves_have_training_and_validation():
    members = groups.group([room_record("uld", mae=0.3), room_record("one_hot")])
    figure = error_figures.plot_learning_curves(members, style.styles(members))
    left, right = figure.axes
    assert [line.get_alpha() for line in left.lines] == [None, 0.4] * 2
    np.testing.assert_allclose(left.lines[2].get_ydata(), [3.0, 1.5, 1.0])
    np.testing.assert_allclose(left.lines[3].get_ydata(), [2.0, 1.0, 2 / 3])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [1.3, 0.8, 0.3 + 1 / 3])


def test_rooms_have_all_figures_with_baselines_in_each(tmp_path):
    planes = np.random.default_rng(0).uniform(size=(8, 2, 5, 5))
    write(
        tmp_path / "runs",
        room_record("uld", name="ad2"),
        rooms(num_sources=2) | {"planes": planes},
        conditions(0.3),
    )
    write(
        tmp_path / "runs",
        baseline_record(name="ad2"),
        rooms(num_sources=2, off=0.01),
        conditions(0.01),
    )
    text, pictures = report(tmp_path / "runs", tmp_path / "report")
    assert pictures == [
        "conditions",
        *(f"error_against_{fact}" for fact in sorted([*FACTS, "separation"])),
        "errors",
        "floor_plans",
        "learning_curves",
        "mae_against_resolution",
        "maps_uld_I4_seed0_prepared_1",
    ]
    assert "Table 3 on" in text
    assert "<td>SRP-PHAT</td>" in text


def test_baselines_alone_have_a_report(tmp_path):
    write(tmp_path / "runs", baseline_record(), rooms(off=0.01))
    _, pictures = report(tmp_path / "runs", tmp_path / "report")
    assert pictures == [
        *(f"error_against_{fact}" for fact in FACTS),
        "errors",
        "floor_plans",
        "mae_against_resolution",
    ]


def test_diverged_runs_alone_have_a_table(tmp_path):
    lost = room_record("uld") | {"status": "diverged", "test": None}
    write(tmp_path / "runs", lost | {"epochs": [], "best_epoch": 0})
    text, pictures = report(tmp_path / "runs", tmp_path / "report")
    assert pictures == ["mae_against_resolution"]  # The paper's values.
    assert "<td>/</td>" in text


def test_data_sets_have_parts_of_their_own(l1_folder, tmp_path):
    write(l1_folder, baseline_record())
    text, pictures = report(l1_folder, tmp_path / "report")
    assert text.index("<h2>simulated/ad1:1.0.0") < text.index("<h2>simulated/l1:1.0.0")
    assert "mae_against_resolution_ad1_1" in pictures
    assert "errors_l1_2" in pictures
