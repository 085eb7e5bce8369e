import numpy as np
import pytest
from made_records import baseline_record, record, room_record, rooms

from uld_jax.report import floor_plan_figures, groups, style


@pytest.fixture(autouse=True)
def close_figures():
    yield
    style.plt.close("all")


def test_a_map_has_x_to_the_right_and_y_upwards():
    (one,) = groups.group([record("uld", resolution=5)])
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 6, (3, 1, 2))
    predictions = {
        "positions": positions,
        "predicted": positions,
        "planes": rng.uniform(size=(3, 1, 6, 6)),
        "node_positions": rng.uniform(0, 6, (3, 8, 3)),
        "room_size": np.tile([6.0, 6.0, 4.2], (3, 1)),
    }
    figure = floor_plan_figures.plot_maps(one, predictions)
    image = figure.axes[0].images[0]
    assert image.origin == "lower"
    np.testing.assert_allclose(image.get_extent(), (-0.6, 6.6, -0.6, 6.6))
    np.testing.assert_array_equal(image.get_array(), predictions["planes"][0, 0])


def test_maps_of_two_sources_have_a_row_for_each_output():
    (one,) = groups.group([room_record("one_hot", name="ad2")])
    predictions = rooms(8, num_sources=2)
    predictions["planes"] = np.random.default_rng(0).uniform(size=(8, 2, 4, 4))
    figure = floor_plan_figures.plot_maps(one, predictions)
    assert len(figure.axes) == 8
    second = figure.axes[4]  # Of the first example.
    np.testing.assert_array_equal(
        second.images[0].get_array(), predictions["planes"][0, 1]
    )
    x, y, _ = predictions["room_size"][0]
    np.testing.assert_allclose(second.images[0].get_extent(), (0, x, 0, y))
    assert second.get_title() == "output 2"


def test_rooms_that_differ_have_plans_of_their_own_with_all_methods():
    members = groups.group([room_record("uld"), baseline_record()])
    ours, theirs = rooms(10, num_sources=2, off=0.3), rooms(10, num_sources=2, off=0.1)
    figure = floor_plan_figures.plot_floor_plans(
        list(zip(members, [[ours], [theirs]], strict=True)), style.styles(members)
    )
    assert len(figure.axes) == 6
    for k, axes in enumerate(figure.axes):
        x, y, _ = ours["room_size"][k]
        np.testing.assert_allclose((*axes.get_xlim(), *axes.get_ylim()), (0, x, 0, y))
        drawn = {line.get_label(): np.transpose(line.get_data()) for line in axes.lines}
        np.testing.assert_allclose(drawn["truth"], ours["positions"][k])
        np.testing.assert_allclose(drawn["ULD, I = 4"], ours["predicted"][k])
        np.testing.assert_allclose(drawn["SRP-PHAT"], theirs["predicted"][k])
        np.testing.assert_allclose(drawn["nodes"], ours["node_positions"][k, :, :2])
    t60, snr_db = ours["t60"][0], ours["snr_db"][0]
    assert figure.axes[0].get_title() == (
        f"test example 1, T60 {t60:.2f} s, SNR {snr_db:.0f} dB"
    )


def test_one_room_has_a_plan_for_each_method_with_arrows():
    members = groups.group([record("uld", resolution=5), record("one_hot", mae=0.25)])
    predictions = rooms(50, off=0.3)
    for key in ("room_size", "node_positions"):  # As in old files: the first 8 alone.
        predictions[key] = np.repeat(predictions[key][:1], 8, axis=0)
    figure = floor_plan_figures.plot_floor_plans(
        [(one, [predictions]) for one in members], style.styles(members)
    )
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["One-hot, I = 6: MAE 0.250 m", "ULD, I = 5: MAE 0.100 m"]
    (arrows,) = (c for c in figure.axes[0].collections if hasattr(c, "U"))
    np.testing.assert_allclose(arrows.U, 0.3)
    np.testing.assert_allclose(arrows.V, 0.0, atol=1e-12)
