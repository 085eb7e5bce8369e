import matplotlib.image
import numpy as np
import pytest
from test_tables import record

from uld_jax import plots


@pytest.fixture
def runs(tmp_path):
    made = []
    rng = np.random.default_rng(0)
    for scheme, resolution in (("one_hot", 6), ("uld", 5)):
        run = record(scheme, resolution=resolution)
        metrics = {"loss": 1.0, "kl": 0.5, "mae": 0.4}
        run["epochs"] = [
            {"epoch": k, "train": metrics, "validation": metrics} for k in (1, 2, 3)
        ]
        folder = tmp_path / scheme
        folder.mkdir()
        run["folder"] = str(folder)
        positions = rng.uniform(0, 6, (50, 1, 2))
        np.savez(
            folder / "predictions.npz",
            positions=positions,
            predicted=positions + 0.1,
            planes=rng.uniform(size=(3, 1, 6, 6)),
            node_positions=rng.uniform(0, 6, (3, 8, 3)),
            room_size=np.tile([6.0, 6.0, 4.2], (3, 1)),
        )
        made.append(run)
    return made


def test_the_report_shows_every_figure_and_the_table(runs, tmp_path):
    page = plots.write_report(runs, tmp_path / "report")
    text = page.read_text()
    pictures = sorted(path.name for path in page.parent.glob("*.png"))
    assert pictures == [
        "errors.png",
        "floor_plans.png",
        "learning_curves.png",
        "maps_one_hot_1.png",
        "maps_uld_2.png",
    ]
    for name in pictures:
        assert f'src="{name}"' in text
        assert matplotlib.image.imread(page.parent / name).std() > 0.01
    assert "Table 1" in text


def test_runs_without_predictions_still_have_their_curves(runs, tmp_path):
    for run in runs:
        run["folder"] = str(tmp_path)
    page = plots.write_report(runs, tmp_path / "report")
    assert [path.name for path in page.parent.glob("*.png")] == ["learning_curves.png"]


def test_the_error_curve_is_the_distribution_function(runs):
    errors = np.array([0.4, 0.1, 0.2, 0.3])
    figure = plots.plot_error_distribution(runs[:1], [errors])
    curve, limit = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(curve.get_ydata(), [0.25, 0.5, 0.75, 1.0])
    assert limit.get_xdata()[0] == runs[0]["test"]["quantization_error"]
    plots.plt.close(figure)


def test_a_map_has_x_to_the_right_and_y_upwards(runs):
    predictions = plots.read_predictions(runs[1])
    figure = plots.plot_maps(runs[1], predictions)
    image = figure.axes[0].images[0]
    assert image.origin == "lower"
    np.testing.assert_allclose(image.get_extent(), (-0.6, 6.6, -0.6, 6.6))
    np.testing.assert_array_equal(image.get_array(), predictions["planes"][0, 0])
    plots.plt.close(figure)
