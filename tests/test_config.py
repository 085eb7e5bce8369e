import pytest
from conftest import ROOT

from uld_jax import config as config_lib
from uld_jax.localization import methods
from uld_jax.storage import records
from uld_jax.storage import settings as settings_lib
from uld_jax.training import optimizer


def resolved(**overrides):
    config = config_lib.default()
    config.update_from_flattened_dict(overrides)
    return config_lib.resolve(config)


@pytest.mark.parametrize(
    ("scheme", "resolution"),
    [("uld", 5), ("one_hot", 6), ("heat_map", 6), ("refined_grid", 6)],
)
def test_l1_has_6_x_6_outputs_for_every_scheme(scheme, resolution):
    label = resolved(**{"label.scheme": scheme}).label
    assert (label.resolution, label.outputs_per_axis) == (resolution, 6)


def test_a_given_resolution_decides():
    label = resolved(**{"label.resolution": 8}).label
    assert (label.resolution, label.outputs_per_axis) == (8, 9)


def test_the_papers_settings_are_the_default():
    train = config_lib.default().train
    assert (train.batch_size, train.epochs, train.weight_decay) == (128, 50, 0.01)
    assert (train.learning_rate, train.plateau_factor) == (1e-3, 0.1)
    assert (train.plateau_patience, train.stop_patience) == (3, 10)
    assert train.schedule == "plateau"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("label.scheme", "onehot", "--config.label: no label scheme 'onehot'"),
        ("label.resolution", 0, "--config.label: resolution is 0"),
        ("label.resolution", -3, "--config.label: resolution is -3"),
        ("label.resolution", 1001, "resolution is 1001; it must be at most 1000"),
        ("label.outputs_per_axis", 1, "--config.label: resolution is 0"),
        ("label.outputs_per_axis", 10**6, "resolution is 999999; it must be at most"),
        ("model.name", "cnn", "--config.model.name is 'cnn'; there are enc"),
        ("model.dtype", "float16", "--config.model.dtype is 'float16'; there are fl"),
        ("model.width", 1, "--config.model.width is 1; it must be from 2"),
        ("data.source", "new", "--config.data.source is 'new'; there are prepared"),
        ("data.engine", "rays", "--config.data.engine is 'rays'; there are jax"),
        ("data.noise_field", "pink", "--config.data.noise_field is 'pink'; there"),
        (
            "data.furnishing",
            "full",
            "--config.data.furnishing is 'full'; there are bar",
        ),
        ("data.furnishing", "any", "prepared rooms are bare: pass --config.data.sou"),
        ("data.speech_hours", 0.0, "--config.data.speech_hours is 0.0"),
        ("train.schedule", "step", "--config.train.schedule is 'step'; there are pl"),
        ("train.epochs", -1, "--config.train.epochs is -1"),
        ("train.fine_tuning_rate", 0.0, "--config.train.fine_tuning_rate is 0.0"),
        ("train.learning_rate", float("nan"), "--config.train.learning_rate is nan"),
        ("train.learning_rate", -1e-3, "--config.train.learning_rate is -0.001"),
        ("train.learning_rate", 0.0, "--config.train.learning_rate is 0.0"),
        ("train.learning_rate", float("inf"), "--config.train.learning_rate is inf"),
        ("train.plateau_factor", 7.0, "--config.train.plateau_factor is 7.0"),
        ("train.weight_decay", -5.0, "--config.train.weight_decay is -5.0"),
        ("seed", -1, "--config.seed is -1; it must be from 0"),
        ("seed", None, "--config.seed is None; it must be a whole number"),
        ("train.epochs", True, "--config.train.epochs is True; it must be a whole"),
        ("train.learning_rate", None, "--config.train.learning_rate is None; it must"),
        ("model.width", True, "--config.model.width is True; it must be a whole num"),
        ("data.name", None, "--config.data.name is None; it must be text"),
        ("data.speech_splits", ("a", "b"), "must be three texts, as in"),
        ("data.speech_splits", (1, 2, 3), "must be three texts, as in"),
        ("label", None, "--config.label is None; it must hold settings"),
    ],
)
def test_bad_settings_are_named(key, value, message):
    with pytest.raises(config_lib.ConfigError, match=message):
        resolved(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", "three"),
        ("train.epochs", 2.5),
        ("train.learning_rate", "fast"),
        ("label.resolution", "4"),
        ("data.keep_evidence", 1),
        ("data.dir", 5),
        ("train", 5),
    ],
)
def test_values_of_a_wrong_type_are_refused_with_their_key(key, value):
    """Commands report it as a bad flag."""
    with pytest.raises(TypeError, match=f"{key.rpartition('.')[2]}.*{value}"):
        resolved(**{key: value})


def test_settings_of_each_network_have_their_type():
    config = config_lib.default("adhoc")
    config.model.dropout = None
    message = "--config.model.dropout is None; it must be a number"
    with pytest.raises(config_lib.ConfigError, match=message):
        config_lib.resolve(config)


@pytest.mark.parametrize("scheme", ["one_hot", "heat_map", "refined_grid"])
def test_one_cell_is_for_uld_alone(scheme):
    assert resolved(**{"label.resolution": 1}).label.outputs_per_axis == 2
    with pytest.raises(config_lib.ConfigError, match=f"is 1; with one cell {scheme}"):
        resolved(**{"label.scheme": scheme, "label.resolution": 1})


def test_the_finest_grid_is_not_refused():
    assert resolved(**{"label.resolution": 1000}).label.outputs_per_axis == 1001


def test_an_experiment_is_loaded_by_name_and_by_path():
    config = config_lib.load_config("ad1:reduced", **{"label.resolution": 8})
    assert config.data.name == "simulated/ad1_reduced:1.0.0"
    assert (config.label.resolution, config.label.outputs_per_axis) == (8, 9)
    path = str(ROOT / "experiments" / "ad1.py")
    assert config_lib.load_config(path) == config_lib.load_config("ad1")


def test_resolved_settings_can_be_copied_changed_and_resolved_again():
    config = config_lib.load_config("ad1:tiny")
    other = config_lib.copy(config)
    other.train.epochs = 7
    assert config_lib.resolve(other).train.epochs == 7
    assert config_lib.resolve(config) == config
    assert config.train.epochs == 2


@pytest.mark.parametrize(
    ("experiment", "overrides", "message"),
    [
        ("ad7", {}, "no experiment 'ad7'; there are ad1, ad1_multilateration, ad2,"),
        ("no/where.py", {}, "no experiment 'no/where.py'"),
        ("ad1:large", {}, "ad1:large: no size 'large'"),
        ("l1:reduced:tiny", {}, "no size 'reduced:tiny'"),
        ("demo:tiny", {}, "demo:tiny: get_config"),
        ("l1", {"train.learning_rte": 0.1}, "mean train.learning_rate?"),
        ("l1", {"train": 1}, "no setting 'train'"),
        ("l1", {"train.epochs": "three"}, "three"),
        ("l1", {"train.epochs": -1}, "--config.train.epochs is -1"),
    ],
)
def test_an_experiment_that_cannot_be_loaded_is_named(experiment, overrides, message):
    with pytest.raises(config_lib.ConfigError, match=message):
        config_lib.load_config(experiment, **overrides)


def test_differences_name_the_keys():
    old = config_lib.to_dict(resolved())
    new = config_lib.to_dict(resolved(**{"seed": 1, "train.batch_size": 64}))
    assert settings_lib.differences(old, new) == [
        "seed: 0 -> 1",
        "train.batch_size: 128 -> 64",
    ]
    assert settings_lib.differences(old, old) == []


def test_kept_records_have_the_settings_of_today():
    for record in records.read_records([ROOT / "results"]):
        if "method" in record:
            needs_run = methods.METHODS[record["method"]].needs_run
            expected = {"method", "data"} | ({"run"} if needs_run else set())
            assert record["settings"].keys() == expected
            continue
        known = config_lib.to_dict(
            config_lib.default(record["settings"]["model"]["name"])
        )
        for section in ("data", "init", "label", "model", "train"):
            kept = record["settings"][section].keys()
            assert kept <= known[section].keys()
            later = {f"{section}.{key}" for key in known[section].keys() - kept}
            assert later <= settings_lib.CAME_LATER.keys()


def test_tests_alone_do_without_the_settings_of_training():
    config = config_lib.default("adhoc")
    config.data.nodes_in_training = 15
    config.data.clock_offset = 0.01
    data = config_lib.resolve_for_testing(config, source="compact").data
    assert (data.nodes_in_training, data.clock_offset) == (None, 0.0)
    assert data.source == "compact"
    config.model.name = "cnn"
    with pytest.raises(config_lib.ConfigError, match="name is 'cnn'; there are"):
        config_lib.resolve_for_testing(config)


def test_where_data_lie_makes_no_other_run():
    old = config_lib.to_dict(resolved())
    new = config_lib.to_dict(resolved(**{"data.dir": "x", "data.held_on": "disk"}))
    assert settings_lib.differences(old, new) == []


def test_a_misspelled_key_in_an_experiment_is_an_error():
    config = config_lib.default()
    with pytest.raises(AttributeError, match="Did you mean"):
        config.train.learning_rte = 0.5


def test_pyroomacoustics_has_noise_from_a_point_alone():
    with pytest.raises(config_lib.ConfigError, match=r"is 'diffuse'; .* must be point"):
        resolved(**{"data.engine": "pyroomacoustics", "data.noise_field": "diffuse"})


def test_compact_data_sets_are_rendered_by_jax():
    assert resolved(**{"data.source": "compact"}).data.source == "compact"
    with pytest.raises(config_lib.ConfigError, match="compact data sets need jax"):
        resolved(**{"data.engine": "pyroomacoustics", "data.source": "compact"})


def test_the_papers_schedule_is_its_rate_and_the_plateau_rule_alone():
    config = config_lib.default("adhoc")
    config.train.learning_rate, config.train.warmup_steps = 4e-4, 400
    config.train.clip_norm = 1.0
    config.train.schedule = "paper"
    rules = config_lib.resolve(config).train
    assert (rules.learning_rate, rules.clip_norm, rules.rollbacks) == (1e-3, None, 0)
    assert rules.warmup_steps == 0
    factor = optimizer.rate_factor("paper", 9, 10, True, rules.plateau_factor)
    assert factor == rules.plateau_factor


@pytest.mark.parametrize("name", ["ad1", "ad2", "any_session"])
def test_medium_data_sets_exist_and_need_no_other_setting(name):
    from uld_jax_data.simulated import configs

    config = config_lib.resolve(config_lib.load_config(f"{name}:medium"))
    known = {one.name for one in configs.CONFIGS}
    known |= {one.compact_form().name for one in configs.CONFIGS}
    assert config.data.name.split("/")[1].split(":")[0] in known
    assert config.train.warmup_steps > 0
    assert config.train.clip_norm == 1.0
    with pytest.raises(config_lib.ConfigError, match="no size 'medium'"):
        config_lib.load_config("l1:medium")
