import itertools

import numpy as np
import pytest
from made_records import baseline_record, conditions, room_record, rooms, write

from uld_jax.report import error_figures, groups, style, tables


@pytest.fixture(autouse=True)
def close_figures():
    yield
    style.plt.close("all")


def lines(axes):
    """Return {label: (x, y)} of what is drawn."""
    _, labels = axes.get_legend_handles_labels()
    drawn = [(line.get_label(), line) for line in axes.lines]
    for container in axes.containers:
        drawn.append((container.get_label(), container.lines[0]))
    return {
        label: (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for label, line in drawn
        if label in labels
    }


def test_facts_are_those_of_each_source():
    predictions = rooms(3, num_sources=2)
    facts = error_figures.facts(predictions)
    assert set(facts) == set(error_figures.FACTS)
    for k in range(3):
        x, y, _ = predictions["room_size"][k]
        first, second = predictions["positions"][k]
        for s, (own, other) in enumerate([(first, second), (second, first)]):
            gaps = [np.hypot(*(own - n[:2])) for n in predictions["node_positions"][k]]
            assert facts["nearest_node"][k, s] == pytest.approx(min(gaps))
            assert facts["separation"][k, s] == pytest.approx(np.hypot(*(own - other)))
            assert facts["floor_area"][k, s] == pytest.approx(x * y)
            assert facts["t60"][k, s] == predictions["t60"][k]
            assert facts["snr_db"][k, s] == predictions["snr_db"][k]


def test_facts_of_few_examples_and_of_old_files_are_left_out():
    predictions = rooms(20)
    del predictions["t60"], predictions["snr_db"]
    for key in ("room_size", "node_positions"):
        predictions[key] = predictions[key][:8]
    assert error_figures.facts(predictions) == {}


def test_bins_hold_about_as_many_and_never_few():
    values = np.random.default_rng(0).uniform(size=250)
    found = error_figures.bins(values, fewest=30, most=8)
    assert [len(members) for members in found] == [32, 31, 31, 31, 31, 31, 31, 32]
    assert sorted(np.concatenate(found)) == list(range(250))
    ends = [(values[m].min(), values[m].max()) for m in found]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert [len(m) for m in error_figures.bins(values[:100])] == [33, 33, 34]
    assert error_figures.bins(values[:20]) == []
    assert error_figures.bins(np.full(100, 0.9)) == []


def test_bins_do_not_part_equal_values():
    found = error_figures.bins(np.array([1.0, 2.0, 2.0, 3.0] * 30), fewest=30)
    assert [len(members) for members in found] == [30, 60, 30]


def test_the_interval_is_that_of_the_mean():
    errors = np.random.default_rng(1).exponential(size=400)
    low, high = error_figures.interval(errors)
    half = 1.96 * errors.std() / np.sqrt(400)
    assert low == pytest.approx(errors.mean() - half, abs=0.01)
    assert high == pytest.approx(errors.mean() + half, abs=0.01)
    assert error_figures.interval(errors) == (low, high)


def test_error_against_t60_has_the_bins_means_and_medians():
    predictions = rooms(60)
    # Two bins: of the short and of the long half; errors that tell which.
    order = np.argsort(predictions["t60"])
    off = np.full(60, 0.1)
    off[order[30:]] = np.arange(30) / 10
    predictions["predicted"] = (
        predictions["positions"] + np.stack([off, np.zeros(60)], axis=-1)[:, None]
    )
    second = dict(predictions, predicted=predictions["positions"] + 0.0)
    members = groups.group([room_record("uld", seed) for seed in (0, 1)])
    figure = error_figures.plot_error_against(
        "t60", [(members[0], [predictions, second])], style.styles(members)
    )
    left, right = figure.axes
    (x, y), (_, medians) = lines(left)["ULD, I = 4"], lines(right)["ULD, I = 4"]
    t60 = np.sort(predictions["t60"])
    np.testing.assert_allclose(x, [t60[:30].mean(), t60[30:].mean()])
    # The second seed errs by nothing: half the mean of the first.
    np.testing.assert_allclose(y, [0.05, 1.45 / 2])
    np.testing.assert_allclose(medians, [0.05, 0.0])
    assert left.get_xlabel() == "reverberation time T60 in s"
    assert left.get_ylabel() == "error in m"
    assert "bins of 30" in figure.get_suptitle()
    assert len(left.collections) == 1  # The band.


def test_a_fact_that_is_unknown_or_the_same_everywhere_has_no_figure():
    predictions = rooms(60)
    predictions["snr_db"] = np.full(60, 20.0)
    del predictions["t60"]
    (one,) = members = groups.group([room_record("uld")])
    shown = [(one, [predictions])]
    styles = style.styles(members)
    for fact in ("snr_db", "t60", "separation"):
        assert error_figures.plot_error_against(fact, shown, styles) is None


def test_mae_against_resolution_has_lines_limit_baselines_and_the_paper():
    runs = [
        room_record("uld", 0, resolution=4, mae=0.2),
        room_record("uld", 1, resolution=4, mae=0.4),
        room_record("uld", resolution=16, mae=0.25),
        room_record("uld", resolution=16, source="fresh", mae=0.1),
        room_record("one_hot", resolution=8, mae=0.5) | {"converged": False},
        baseline_record(mae=0.02),
    ]
    members = groups.group(runs)
    figure = error_figures.plot_mae_against_resolution(members, style.styles(members))
    (axes,) = figure.axes
    drawn = lines(axes)
    stored, fresh = "ULD (fixed training set)", "ULD (fresh rooms)"
    assert set(drawn) == {"QE", stored, fresh, "SRP-PHAT", "the paper's values"}
    np.testing.assert_array_equal(drawn[stored][0], [4, 16])
    np.testing.assert_allclose(drawn[stored][1], [0.3, 0.25])
    np.testing.assert_allclose(drawn[fresh][1], [0.1])
    # Where the paper has columns, as far as anyone knows it: baselines do.
    np.testing.assert_array_equal(drawn["QE"][0], [1, 2, 4, 8, 16])
    np.testing.assert_allclose(drawn["QE"][1], 2.7 / np.array([1, 2, 4, 8, 16]))
    np.testing.assert_allclose(drawn["SRP-PHAT"][1], 0.02)
    # Two seeds at I = 4: their standard deviation is 0.2 / sqrt(2).
    bars = next(c for c in axes.containers if c.get_label() == stored).lines[2][0]
    ends = bars.get_segments()[0][:, 1]
    np.testing.assert_allclose(ends, [0.3 - 0.02**0.5, 0.3 + 0.02**0.5])
    faint = [line for line in axes.lines if line.get_alpha()]
    np.testing.assert_allclose(
        faint[-1].get_ydata(), [0.292, 0.270, 0.217, 0.202, 0.193]
    )
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        *("1", "2", "4", "8", "16")
    ]


def test_baselines_alone_have_the_limit_and_the_paper():
    members = groups.group([baseline_record()])
    figure = error_figures.plot_mae_against_resolution(members, style.styles(members))
    drawn = lines(figure.axes[0])
    assert set(drawn) == {"QE", "SRP-PHAT", "the paper's values"}
    np.testing.assert_array_equal(drawn["QE"][0], [1, 2, 4, 8, 16])


def test_curves_of_conditions_begin_with_all_nodes_and_no_offset():
    found = groups.Conditions(
        {
            "mae": {
                ("none", 0.0, "bare"): 1.0,
                ("none", 0.0, "furnished"): 1.5,
                ("num_nodes", 5.0, "bare"): 3.0,
                ("num_nodes", 5.0, "furnished"): 4.0,
                ("clock_offset", 0.01, "bare"): 2.0,
            }
        },
        9,
        30,
    )
    curve = error_figures.condition_curve
    assert curve("num_nodes", found) == [(5.0, 3.0), (30, 1.0)]
    assert curve("clock_offset", found) == [(0.0, 1.0), (0.01, 2.0)]
    assert curve("position_error", found) == []
    noisy = groups.Conditions(
        {"mae": {("none", 0.0, "bare"): 1.0, ("snr_db", 0.0, "bare"): 2.0}}, 9, 30
    )
    assert curve("snr_db", noisy) == [(0.0, 2.0)]


def test_conditions_have_a_panel_each_with_all_methods(tmp_path):
    write(
        tmp_path, room_record("uld", resolution=4, mae=0.3), conditions=conditions(0.3)
    )
    write(
        tmp_path, room_record("uld", resolution=8, mae=0.2), conditions=conditions(0.2)
    )
    # Better on validation, but not tested under conditions.
    write(tmp_path, room_record("uld", resolution=16, mae=0.1))
    write(tmp_path, baseline_record(), conditions=conditions(0.01))
    members, _ = groups.read([tmp_path])
    (tested,) = groups.tested_alike(members).values()
    assert len(tested) == 3
    drawn = groups.representatives([one for one, _ in tested])
    figure = error_figures.plot_conditions(
        [(one, found) for one, found in tested if one in drawn], style.styles(members)
    )
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(panels) == [
        "number of nodes",
        "standard deviation of the clocks in ms",
        "error of the nodes' x and y, standard deviation in m",
        "SNR in dB",
    ]
    nodes = lines(panels["number of nodes"])
    assert set(nodes) == {"ULD, I = 8", "SRP-PHAT"}
    np.testing.assert_allclose(nodes["ULD, I = 8"][0], [5, 20, 30])
    np.testing.assert_allclose(nodes["ULD, I = 8"][1], [0.205, 0.22, 0.2])
    clocks = lines(panels["standard deviation of the clocks in ms"])
    np.testing.assert_allclose(clocks["SRP-PHAT"][0], [0, 0.5, 50])
    noise = lines(panels["SNR in dB"])
    np.testing.assert_allclose(noise["SRP-PHAT"], [[-10, 20], [0.02, 0.03]])


def test_methods_tested_on_different_examples_are_not_put_together(tmp_path):
    write(tmp_path, room_record("uld", mae=0.3), conditions=conditions(0.3))
    fewer = conditions(0.01) | {"examples": 3}
    write(tmp_path, baseline_record(), conditions=fewer)
    write(tmp_path, room_record("one_hot"))
    members, _ = groups.read([tmp_path])
    tested = groups.tested_alike(members)
    named = {size: [one.method for one, _ in found] for size, found in tested.items()}
    assert named == {3: ["srp_phat"], conditions(0.3)["examples"]: ["uld"]}
    few, many = (t for t in tables.make(members) if "worse" in t.caption)
    assert ", 3 test examples" in few.caption
    assert [row[0] for row in few.rows] == ["SRP-PHAT"]
    assert [row[0] for row in many.rows] == ["ULD"]
