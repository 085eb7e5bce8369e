"""Which runs a sweep has."""

import pytest
from conftest import ROOT

from uld_jax import config as config_lib
from uld_jax.labels import schemes as schemes_lib
from uld_jax.training import sweep
from uld_jax_experiments import ad1, l1


def names(experiment, schemes="", resolutions="", seeds="", given=()):
    base = {"ad1": ad1, "l1": l1}[experiment].get_config()
    file = str(ROOT / "experiments" / f"{experiment}.py") + ":reduced"
    lists = (
        [x for x in text.split(",") if x] for text in (schemes, resolutions, seeds)
    )
    return list(sweep.plan(base, file, *lists, given))


def test_the_experiments_own_cells_are_those_of_its_table():
    of_paper = {"one_hot_I6", "heat_map_I6", "refined_grid_I6", "uld_I5"}
    cells = names("l1")
    assert {f"{name}_seed0" for name in of_paper} <= set(cells)
    assert len(cells) == len(schemes_lib.PAPER)
    cells = names("ad1")
    at_1 = {name for name in cells if "_I1_" in name}
    assert "uld_I1_seed0" in at_1
    assert "one_hot_I1_seed0" not in at_1
    assert len(cells) == len(schemes_lib.PAPER) * 4 + len(at_1)


def test_flags_set_one_axis_and_the_experiment_the_other():
    assert names("ad1", "uld", "4,8") == ["uld_I4_seed0", "uld_I8_seed0"]
    assert names("ad1", "one_hot") == [f"one_hot_I{i}_seed0" for i in (2, 4, 8, 16)]
    both = {f"{s}_I{i}_seed0" for s in schemes_lib.PAPER for i in (4, 32)}
    assert set(names("ad1", resolutions="4,32")) == both
    assert names("l1", "uld", seeds="1,2") == ["uld_I5_seed1", "uld_I5_seed2"]


def test_what_cannot_be_at_one_cell_is_left_out(capsys):
    assert names("ad1", "uld,one_hot", "1,2") == [
        *("uld_I1_seed0", "uld_I2_seed0"),
        "one_hot_I2_seed0",
    ]
    assert "Left out at I = 1: one_hot;" in capsys.readouterr().out
    with pytest.raises(config_lib.ConfigError, match="no run is left"):
        names("ad1", "one_hot", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("onehot",), "no label scheme 'onehot'"),
        (("onehot", "1"), "no label scheme 'onehot'"),
        (("uld", "0"), "resolution is 0"),
        (("uld", "four"), "--resolution is 'four'"),
        (("uld", "4,4"), "two runs called uld_I4_seed0"),
    ],
)
def test_what_cannot_be_run_is_refused_before_any_run(arguments, message):
    with pytest.raises(config_lib.ConfigError, match=message):
        names("ad1", *arguments)


def test_what_is_given_for_all_runs_is_not_varied():
    for key, flag in (("label.scheme", "scheme"), ("label.resolution", "resolution")):
        with pytest.raises(config_lib.ConfigError, match=f"pass --{flag}=VALUE"):
            names("ad1", "uld", "4", given=[key])
    assert names("ad1", "uld", "4", given=["train.epochs"]) == ["uld_I4_seed0"]
    assert names("l1", "uld", given=["label.resolution"]) == ["uld_I5_seed0"]
