import subprocess
import sys

import pytest
from conftest import ROOT
from made_records import baseline_record, conditions, record, room_record, write

from uld_jax.labels import titles
from uld_jax.report import groups, markdown, paper, tables

SCATTERED = "docs/scattered_nodes.md"
VOTES = "docs/multilateration.md"
# The paper's, on L-1.
FOUR_LABELS = [
    f"l1_reduced/{name}_seed0"
    for name in ("one_hot_I6", "heat_map_I6", "refined_grid_I6", "uld_I5")
]


def made(runs):
    return tables.make(groups.group(runs))


def by_row(table):
    """Return {(label, row's name): {column: cell}}; blank labels are those above."""
    found, label = {}, ""
    for first, name, *cells in table.rows:
        label = first or label
        found[label, name] = dict(zip(table.header[2:], cells, strict=True))
    return found


def test_table_1_has_the_papers_values_beside_ours():
    one_hot = record("one_hot", mae=0.4, quantization_error=0.383)
    (table,) = made([record("uld", resolution=5, mae=0.1234), one_hot])
    assert [row[0] for row in table.rows] == ["QE", "One-hot", "ULD"]
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["QE"]["MAE m (paper)"] == "0.381"
    assert rows["QE"]["MAE m (ours)"] == "0.383"
    assert rows["ULD"]["MAE m (paper)"] == "0.031"
    assert rows["ULD"]["MAE m (ours)"] == "0.123"
    assert rows["ULD"]["ACC % (paper)"] == "96.72"
    assert rows["ULD"]["ACC % (ours)"] == "90.00"
    assert rows["One-hot"]["MAE m (ours)"] == "0.400"
    assert rows["One-hot"]["I"] == "6"


def test_the_papers_values_stand_beside_6_x_6_outputs_alone():
    run = record("uld", resolution=8)
    run["settings"]["label"]["outputs_per_axis"] = 9
    assert "0.031" not in markdown.markdown(made([run]))


def test_table_1_has_directions_and_methods_without_cells():
    azimuth = record("azimuth", resolution=36, mae=0.05)
    azimuth["settings"]["label"]["outputs_per_axis"] = 36
    azimuth["settings"]["model"] = {"name": "directions", "arrays": [0.1, 3, 3, 0.1]}
    music, stages = (baseline_record(name, "l1") for name in ("music", "stage_wise"))
    stages["settings"]["run"] = "../azimuth_I36_seed0"
    for one in (music, stages):
        del one["data"]["noise"]
    runs = [azimuth, record("soft"), record("uld", resolution=5), stages, music]
    (table,) = made(runs)
    names = [row[0] for row in table.rows]
    assert names[1:4] == ["ULD", "SLC", "Azimuth ULD (directions)"]
    assert set(names[4:]) == {"MUSIC", "Stage-wise"}
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    of_directions = rows["Azimuth ULD (directions)"]
    assert (of_directions["I"], of_directions["MAE m (ours)"]) == ("36", "0.050")
    assert of_directions["ACC % (ours)"] == "90.00"
    assert of_directions["cell ACC %"] == of_directions["QE m"] == ""
    assert rows["SLC"]["QE m"] == "0.459"
    assert rows["MUSIC"]["MAE m (ours)"] == "0.010"
    assert "nearest one at all of them" in table.notes
    (alone,) = made([record("uld", resolution=5)])
    assert not alone.notes


def test_table_1_tells_fresh_segments_from_stored_ones():
    stored, fresh = (
        room_record("uld", resolution=5, source=source, name="l1")
        for source in ("prepared", "fresh")
    )
    more = room_record("one_hot", resolution=6, name="l1")
    first, side_by_side = made([stored, fresh, more])
    assert "1,000 training or 992 fresh training segments an epoch" in first.caption
    assert [row[0] for row in first.rows] == [
        "QE",
        "One-hot (fixed training set)",
        "ULD (fixed training set)",
        "ULD (fresh rooms)",
    ]
    assert [row[2] for row in side_by_side.rows] == [
        "fixed training set",
        "fresh rooms",
    ]


def test_data_sets_are_not_mixed():
    other = record("uld")
    other["data"]["name"] = "simulated/l1_demo:1.0.0"
    found = made(
        [record("uld"), other, room_record("uld"), baseline_record(name="ad2")]
    )
    assert [table.caption.split("`")[:2] for table in found] == [
        ["**Table 2 on ", "simulated/ad1:1.0.0"],
        ["**Table 3 on ", "simulated/ad2:1.0.0"],
        ["**Table 1 on ", "simulated/l1:1.0.0"],
        ["**Table 1 on ", "simulated/l1_demo:1.0.0"],
    ]


def test_a_new_scheme_and_a_new_data_set_need_no_entry_here():
    (table,) = made([record("my_label"), record("uld")])
    assert [row[0] for row in table.rows] == ["QE", "ULD", "my_label"]
    (table,) = made([room_record("my_label", mae=0.5)])
    assert by_row(table)["my_label", "MAE m (ours)"]["I = 4"] == "0.500"
    (table,) = made([room_record("uld", name="mine", mae=0.5)])
    assert table.caption.startswith("**Results on `simulated/mine:1.0.0`**")
    assert by_row(table)["ULD", "MAE m (ours)"]["I = 4"] == "0.500"
    assert not any("paper" in name for _, name in by_row(table))


def test_table_2_has_the_papers_layout():
    runs = [room_record("uld", seed, mae=m) for seed, m in ((0, 0.2), (1, 0.4))]
    runs.append(room_record("one_hot", resolution=16, mae=0.35))
    (table,) = made(runs)
    assert table.caption.startswith("**Table 2 on `simulated/ad1:1.0.0`**: 1,000 train")
    assert table.header == ["Label", "", *(f"I = {i}" for i in (1, 2, 4, 8, 16))]
    assert [row[0] for row in table.rows if row[0]] == [
        *("QE", "One-hot", "HM", "RG", "ULD")
    ]
    rows = by_row(table)
    assert list(rows["QE", "MAE m (paper)"].values()) == [
        *("2.705", "1.340", "0.687", "0.340", "0.174")
    ]
    assert list(rows["QE", "MAE m (ours)"].values()) == ["", "", "0.675", "", "0.169"]
    assert list(rows["One-hot", "MAE m (paper)"].values()) == [
        *("/", "1.395", "0.765", "0.460", "0.361")
    ]
    assert list(rows["One-hot", "MAE m (ours)"].values()) == ["/", "", "", "", "0.350"]
    assert list(rows["ULD", "MAE m (ours)"].values()) == [
        *("", "", "0.300 ± 0.141", "", "")
    ]
    assert rows["ULD", "ACC % (paper)"]["I = 1"] == "96.11"
    assert rows["ULD", "ACC % (ours)"]["I = 4"] == "90.00 ± 0.00"
    assert rows["ULD", "cell ACC % (ours)"]["I = 4"] == "80.00 ± 0.00"
    # No run of it, so nothing is said of ours.
    assert set(rows["HM", "MAE m (ours)"].values()) == {""}
    assert rows["HM", "MAE m (paper)"]["I = 16"] == "/"
    assert "nearest of them" in table.notes


def test_table_3_is_that_of_two_sources():
    (table,) = made([room_record("uld", name="ad2_reduced")])
    assert table.caption.startswith("**Table 3 on `simulated/ad2_reduced:1.0.0`**")
    assert by_row(table)["RG", "MAE m (paper)"]["I = 16"] == "1.948"


def test_every_printed_value_is_in_its_table():
    for name in ("ad1", "ad2", "twin_r1", "twin_r2_reduced"):
        number, printed = paper.table_of(f"simulated/{name}:1.0.0")
        (table,) = made([room_record("uld", name=name)])
        assert table.caption.startswith(f"**{number} on `simulated/{name}:1.0.0`**")
        rows = by_row(table)
        for scheme, maes in printed.mae.items():
            title = titles.title(scheme)
            for i, mae, acc in zip(
                paper.RESOLUTIONS, maes, printed.accuracy[scheme], strict=True
            ):
                cell = rows[title, "MAE m (paper)"][f"I = {i}"]
                assert cell == ("/" if mae is None else f"{mae:.3f}")
                cell = rows[title, "ACC % (paper)"][f"I = {i}"]
                assert cell == ("/" if acc is None else f"{acc:.2f}")


def test_what_did_not_converge_is_a_stroke():
    lost = room_record("heat_map", resolution=16) | {"converged": False}
    broken = room_record("heat_map", resolution=32) | {
        "status": "diverged",
        "test": None,
        "epochs": [],
        "best_epoch": 0,
        "converged": None,
    }
    untrained = room_record("heat_map", resolution=8) | {"converged": None}
    (table,) = made([lost, broken, untrained])
    assert list(by_row(table)["HM", "MAE m (ours)"].values()) == [
        *("/", "", "", "0.100", "/", "/")
    ]
    # The paper has no such column.
    assert by_row(table)["HM", "MAE m (paper)"]["I = 32"] == ""


def test_baselines_have_a_cell_accuracy_at_each_resolution_and_one_mae():
    (table,) = made([room_record("uld"), baseline_record(mae=0.012)])
    rows = by_row(table)
    assert list(rows["SRP-PHAT", "cell ACC % (ours)"].values()) == [
        *("99.00", "98.00", "96.00", "92.00", "84.00")
    ]
    assert set(rows["SRP-PHAT", "MAE m (ours)"].values()) == {"0.012"}
    assert list(rows["QE", "MAE m (ours)"].values()) == [
        *("2.700", "1.350", "0.675", "0.338", "0.169")
    ]
    assert "Baselines know no cells" in table.notes


def test_baselines_alone_stand_beside_the_paper():
    (table,) = made([baseline_record(), baseline_record("tdoa_ls", mae=0.2)])
    rows = by_row(table)
    assert rows["TDOA least squares", "MAE m (ours)"]["I = 4"] == "0.200"
    assert rows["ULD", "MAE m (paper)"]["I = 16"] == "0.193"
    assert "label" not in table.notes


def test_kinds_of_training_have_tables_of_their_own_and_one_side_by_side():
    runs = [room_record("uld", resolution=i, mae=0.4) for i in (2, 4)]
    fresh = room_record("uld", source="fresh", mae=0.2)
    fresh["epochs"][-1]["train"]["kl"] = 0.9
    stored, other, side = made([*runs, fresh, baseline_record()])
    assert "simulated/ad1:1.0.0`, fixed training set**" in stored.caption
    assert "simulated/ad1:1.0.0`, fresh rooms**: 992 fresh" in other.caption
    assert stored.notes == ""  # Once, below the last.
    assert "nearest of them" in other.notes
    assert "Baselines know no cells" in other.notes
    assert by_row(stored)["ULD", "MAE m (ours)"]["I = 4"] == "0.400"
    assert by_row(other)["ULD", "MAE m (ours)"]["I = 4"] == "0.200"
    assert by_row(other)["ULD", "MAE m (ours)"]["I = 2"] == ""
    assert {label for label, _ in by_row(other)} == {"QE", "ULD"}
    assert ("SRP-PHAT", "MAE m (ours)") in by_row(stored)
    columns = [dict(zip(side.header, row, strict=True)) for row in side.rows]
    assert [
        (c["Label"], c["I"], c["settings"], c["MAE m"], c["training loss"])
        for c in columns
    ] == [
        ("ULD", "4", "fixed training set", "0.400", "0.667"),
        ("ULD", "4", "fresh rooms", "0.200", "0.900"),
    ]
    assert {c["validation loss"] for c in columns} == {"1.000"}


def test_conditions_are_a_table_of_all_methods(tmp_path):
    write(tmp_path, room_record("uld"), conditions=conditions(0.1))
    write(tmp_path, room_record("one_hot"))
    write(tmp_path, baseline_record(), conditions=conditions(0.5))
    found, _ = groups.read([tmp_path])
    _, table = tables.make(found)
    assert "80 test examples" in table.caption
    assert table.header[:5] == [
        *("Method", "I", "as it is", "clocks 0.5 ms", "clocks 50 ms")
    ]
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert list(rows) == ["ULD", "SRP-PHAT"]
    assert rows["ULD"]["20 nodes"] == "0.120"
    assert rows["SRP-PHAT"]["SNR -10 dB"] == "0.510"
    assert rows["SRP-PHAT"]["positions 0.1 m"] == "0.500"


def test_other_test_examples_are_refused():
    other = room_record("one_hot", quantization_error=0.7)
    with pytest.raises(ValueError, match="tested on other examples"):
        made([room_record("uld"), other])


@pytest.mark.parametrize(
    ("results", "page", "only"),
    [
        (FOUR_LABELS, "README.md", [tables.SUMMARY]),
        (["l1_reduced"], "docs/paper_tables.md", tables.KINDS),
        (["ad1/*_seed0", "ad1/srp_phat", "ad1/tdoa_ls"], SCATTERED, ["paper"]),
        (["ad1"], SCATTERED, ["training", "conditions"]),
        (["ad2"], SCATTERED, tables.KINDS),
        (["ad1_front_ends"], SCATTERED, ["training"]),
        (["twin_r1"], "docs/real_rooms.md", tables.KINDS),
        (["multilateration/ad1", "ad1/srp_phat"], VOTES, ["conditions"]),
        (["multilateration/ad2", "ad2/srp_phat"], VOTES, ["paper"]),
        (
            ["multilateration/any", "multilateration/any_medium"],
            VOTES,
            [tables.SUMMARY],
        ),
        (["multilateration/ablations"], VOTES, [tables.SUMMARY]),
        (
            ["localizer/ad1", "ad1/srp_phat", "ad1/tdoa_ls"],
            "docs/localizer.md",
            [tables.SUMMARY],
        ),
        (["localizer/ad1", "ad1/srp_phat"], "docs/localizer.md", ["conditions"]),
        (["localizer/ad2"], "docs/localizer.md", [tables.SUMMARY]),
    ],
)
def test_pages_show_what_the_records_say(results, page, only):
    folders = [path for name in results for path in (ROOT / "results").glob(name)]
    found, _ = groups.read(folders)
    text = markdown.markdown(tables.make(found, only))
    assert text
    assert text in (ROOT / page).read_text()


def test_the_command_writes_the_tables_and_tells_what_is_left_out(tmp_path):
    write(tmp_path / "runs", record("uld"))
    write(tmp_path / "runs", room_record("uld"))
    write(tmp_path / "runs", record("uld", 1) | {"status": "running"})
    page = tmp_path / "page.md"
    page.write_text("<!-- rooms -->\n<!-- /rooms -->\n")
    command = [sys.executable, "-m", "uld_jax.cli", "tables"]
    flags = [f"--markdown={tmp_path / 'table.md'}", f"--update={page}", "--mark=rooms"]
    result = subprocess.run(
        [*command, str(tmp_path / "runs"), *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Left out, not finished" in result.stdout
    table = (tmp_path / "table.md").read_text()
    assert table.index("Table 2 on") < table.index("Table 1 on")
    assert page.read_text() == f"<!-- rooms -->\n\n{table}\n<!-- /rooms -->\n"
    for wrong, message in (
        ([tmp_path / "no"], "does not exist"),
        ([tmp_path / "runs", "--only=training"], "no table of training"),
    ):
        result = subprocess.run(
            [*command, *map(str, wrong)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 2
        assert message in result.stderr


def test_only_some_kinds_of_tables_are_made_if_one_says_so(tmp_path):
    write(tmp_path, room_record("uld", mae=0.3), conditions=conditions(0.3))
    write(tmp_path, room_record("uld", source="fresh"))
    found, _ = groups.read([tmp_path])
    by_kind = {kind: tables.make(found, [kind]) for kind in tables.KINDS}
    sizes = {kind: len(made) for kind, made in by_kind.items()}
    assert sizes == {"paper": 2, "training": 1, "places": 0, "conditions": 1}
    assert [t for made in by_kind.values() for t in made] == tables.make(found)
