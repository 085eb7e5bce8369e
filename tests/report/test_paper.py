import itertools

import pytest

from uld_jax.report import paper


def best(maes):
    return min(mae for mae in maes if mae is not None)


@pytest.mark.parametrize(
    ("table", "reduction"),
    [
        (paper.TABLE_2, 46.54),
        (paper.TABLE_3, 33.56),
        (paper.TABLE_4_1, 48.72),
        (paper.TABLE_4_2, 47.19),
    ],
)
def test_the_best_values_are_those_of_the_text(table, reduction):
    """Sec. 3.5: "reducing MAE by 46.54% relative to one-hot", and the other three."""
    ratio = best(table.mae["uld"]) / best(table.mae["one_hot"])
    assert round(100 * (1 - ratio), 2) == reduction


def test_table_1_has_the_reduction_of_the_text():
    ratio = paper.TABLE_1["uld"][1] / paper.TABLE_1["one_hot"][1]
    assert round(100 * (1 - ratio), 2) == 91.93


@pytest.mark.parametrize(
    "table", [paper.TABLE_2, paper.TABLE_3, paper.TABLE_4_1, paper.TABLE_4_2]
)
def test_rows_are_whole_and_what_is_not_there_has_neither_value(table):
    assert len(table.quantization_error) == len(paper.RESOLUTIONS)
    for scheme, maes in table.mae.items():
        shares = table.accuracy[scheme]
        assert len(maes) == len(shares) == len(paper.RESOLUTIONS)
        assert [mae is None for mae in maes] == [acc is None for acc in shares]
        assert (maes[0] is None) == (scheme != "uld")
    # Halving a cell halves its quantization error, but where sources stand.
    limits = table.quantization_error
    if table in (paper.TABLE_4_1, paper.TABLE_4_2):
        return
    for coarse, fine in itertools.pairwise(limits):
        assert coarse / fine == pytest.approx(2, rel=0.06)


def test_a_table_is_found_by_the_name_of_its_data():
    assert paper.table_of("simulated/l1_reduced:1.0.0") == ("Table 1", None)
    assert paper.table_of("simulated/ad2_tiny:1.0.0") == ("Table 3", paper.TABLE_3)
    real = paper.table_of("libri_adhoc40/ad_r2:1.0.0")
    assert real == ("Table 4", paper.TABLE_4_2)
    name, printed = paper.table_of("simulated/twin_r1_reduced:1.0.0")
    assert "simulated twin" in name
    assert printed is paper.TABLE_4_1
    for own in ("sessions/my_lab:1.0.0", "sessions/ad1:1.0.0", "sessions/l1:1.0.0"):
        assert paper.table_of(own) == (None, None)
