"""Networks that start from another run's: fine-tuned, or tested as they are."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import ROOT, tiny_config, tiny_settings
from flax import nnx
from made_records import baseline_record, write

from uld_jax import config as config_lib
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.pretrained import weights
from uld_jax.runtime import devices, stopping
from uld_jax.storage import atomic, checkpoints, integrity, records, run_folder
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization, optimizer, step, sweep, train
from uld_jax.training import run as run_lib
from uld_jax_experiments import l1


def settings(data_dir, **overrides):
    """Return settings of one epoch, to be settled."""
    return tiny_settings(data_dir, **{"train.epochs": 1, **overrides})


@pytest.fixture(scope="module")
def first(tiny_data_dir, tmp_path_factory):
    """Return the folder of a finished run."""
    workdir = tmp_path_factory.mktemp("runs") / "uld_I5_seed0"
    train.train_and_evaluate(tiny_config(tiny_data_dir), workdir)
    return workdir


def new_run(config, workdir):
    return run_lib.Run(
        config, run_folder.RunFolder(workdir), devices.one(), stopping.StopFlag()
    )


def read(workdir):
    return json.loads((workdir / "record.json").read_text())


def test_tested_as_it_is_a_network_does_as_well_as_before(
    first, tiny_data_dir, tmp_path
):
    """Its running means are taken, too, and no training split is needed."""
    config = settings(tiny_data_dir, **{"train.epochs": 0, "seed": 7})
    config = initialization.settle(config, str(first))
    record = train.train_and_evaluate(config, tmp_path / "run")
    assert record["test"] == read(first)["test"]
    assert record["epochs"] == []
    assert record["status"] == "done"
    assert record["init"]["run"] == "uld_I5_seed0"
    assert record["init"]["data"] == "simulated/l1_tiny:1.0.0"
    assert record["init"]["epoch"] == read(first)["best_epoch"]
    assert record["settings"]["init"]["folder"] == "uld_I5_seed0"  # Not on which disk.
    # Its errors on the validation split say how sure it is, as those of the first do.
    assert record["radii"] == read(first)["radii"] == record["init"]["radii"]
    assert record["radii"]["sources"] == 12
    assert record["test_before"] is None  # Nothing was gained.
    # And from that the same again.
    again = initialization.settle(
        settings(tiny_data_dir, **{"train.epochs": 0}), str(tmp_path / "run")
    )
    record = train.train_and_evaluate(again, tmp_path / "again")
    assert record["test"] == read(first)["test"]


def test_fine_tuning_takes_parameters_alone(first, tiny_data_dir, tmp_path):
    config = initialization.settle(settings(tiny_data_dir), str(first))
    run = new_run(config, tmp_path)
    saved, facts = initialization.load(config, run._network_items())
    for mine, other in zip(
        jax.tree.leaves(run._network_items()), jax.tree.leaves(saved), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
    assert int(run.state.step) == 0
    rate = float(run.state.opt_state.hyperparams["learning_rate"])
    assert rate == pytest.approx(config_lib.default().train.fine_tuning_rate)
    moments = jax.tree.leaves(run.state.opt_state.inner_state)
    assert all(not np.any(np.asarray(leaf)) for leaf in moments)
    assert facts["begun_anew"] == []
    assert facts["parameters"] == weights.digest(saved)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"label.scheme": "one_hot"}, r"label.scheme: 'uld' -> 'one_hot'"),
        ({"label.resolution": 8}, r"label.resolution: 5 -> 8"),
        ({"model.width": 8}, r"model.width: 4 -> 8"),
        ({"model.num_blocks": 2}, r"model.num_blocks: 1 -> 2"),
    ],
)
def test_another_label_or_network_is_refused_with_the_difference(
    first, tiny_data_dir, overrides, message
):
    with pytest.raises(initialization.InitError, match=message):
        initialization.settle(settings(tiny_data_dir, **overrides), str(first))


def test_what_does_not_change_parameters_may_differ(first, tiny_data_dir):
    config = settings(
        tiny_data_dir, **{"model.dtype": "bfloat16", "train.batch_size": 4, "seed": 3}
    )
    settled = initialization.settle(config, str(first))
    assert settled.init.data == "simulated/l1_tiny:1.0.0"


def test_on_request_what_fits_is_taken_and_the_rest_is_initialized(
    first, tiny_data_dir, tmp_path, capsys
):
    config = settings(tiny_data_dir, **{"label.resolution": 6, "label.scheme": "uld"})
    config = initialization.settle(config, str(first), partial=True)
    scratch = build.for_label(
        config_lib.to_dict(config.model), schemes.Label("uld", 6), 8, 1, config.seed
    )
    _, state = step.init_state(scratch, optimizer.adamw(1e-3, 0.0))
    items = {"params": state.params, "statistics": state.statistics}
    loaded, facts = initialization.load(config, items)
    old = checkpoints.read_arrays(first, read(first)["best_epoch"], tuple(items))
    by_name = integrity.by_name
    olds, news, scratches = by_name(old), by_name(loaded), by_name(items)
    initialized = {line.split(":")[0] for line in facts["begun_anew"]}
    assert initialized
    assert initialized < news.keys()
    of_label = build.NETWORKS["encoder_decoder"].label_parts
    for name, array in news.items():
        fits = name in olds and olds[name].shape == array.shape
        fits = fits and name.split("/")[1] not in of_label
        assert fits == (name not in initialized)
        np.testing.assert_array_equal(array, (olds if fits else scratches)[name])
    assert f"{len(news) - len(initialized)} of {len(news)} arrays are taken" in (
        capsys.readouterr().out
    )


def test_a_network_of_other_shapes_is_refused_though_settings_agree(
    first, tiny_data_dir
):
    config = initialization.settle(settings(tiny_data_dir), str(first))
    one = build.for_label(
        config_lib.to_dict(config.model), schemes.Label("uld", 8), 8, 1, seed=0
    )
    _, state = step.init_state(one, optimizer.adamw(1e-3, 0.0))
    items = {"params": state.params, "statistics": state.statistics}
    with pytest.raises(
        initialization.InitError, match=r"other parameters:\n  params/.*\[.*\] -> \["
    ):
        initialization.load(config, items)


def test_folders_that_hold_no_network_are_refused(first, tiny_data_dir, tmp_path):
    def settle(folder, **more):
        return initialization.settle(settings(tiny_data_dir), str(folder), **more)

    with pytest.raises(records.RecordError, match="it does not exist"):
        settle(tmp_path / "no")
    with pytest.raises(records.RecordError, match="one of its runs: uld_I5_seed0"):
        settle(first.parent)
    with pytest.raises(records.RecordError, match=r"holds no record\.json"):
        settle(tmp_path)
    write(tmp_path, baseline_record())
    with pytest.raises(records.RecordError, match="a run of the baseline srp_phat"):
        settle(tmp_path / "srp_phat")
    running = tmp_path / "running"
    running.mkdir()
    atomic.write_json(running / "record.json", read(first) | {"status": "running"})
    with pytest.raises(records.RecordError, match="is running; name a finished"):
        settle(running)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(first / "record.json", alone)
    with pytest.raises(initialization.InitError, match="only its record was kept"):
        settle(alone)
    with pytest.raises(initialization.InitError, match="--init_partial is for"):
        initialization.settle(settings(tiny_data_dir), None, partial=True)
    with pytest.raises(config_lib.ConfigError, match=r"epochs is 0, .*--init_from"):
        initialization.settle(settings(tiny_data_dir, **{"train.epochs": 0}), None)


@pytest.mark.parametrize("status", ["running", "done"])
def test_a_run_is_not_taken_for_one_from_another_network(
    status, first, tiny_data_dir, tmp_path
):
    """Neither resumed nor returned."""
    config = initialization.settle(settings(tiny_data_dir), str(first))
    other = read(first) | {
        "status": status,
        "init": {"run": "other", "parameters": "others"},
    }
    other["settings"] = config_lib.to_dict(config)
    atomic.write_json(tmp_path / "record.json", other)
    with pytest.raises(
        run_folder.RunConflictError, match="started from another network"
    ):
        train.train_and_evaluate(config, tmp_path)
    with pytest.raises(
        run_folder.RunConflictError, match="started from another network"
    ):
        sweep._status(tmp_path, config)


def test_reading_a_network_leaves_its_folder_as_it_was(first):
    before = sorted(path for path in first.rglob("*"))
    initialization._saved(read(first) | {"folder": str(first)})
    assert sorted(path for path in first.rglob("*")) == before


def test_networks_are_of_a_kind_whose_seed_and_label_alone_differ(first):
    record = read(first)
    other = read(first)
    other["settings"]["seed"] = 5
    other["settings"]["label"] |= {"scheme": "one_hot", "resolution": 6}
    assert initialization._kind(other) == initialization._kind(record)
    other["settings"]["train"]["learning_rate"] = 0.5
    assert initialization._kind(other) != initialization._kind(record)
    other = record | {"init": {"kind": "a"}}
    assert initialization._kind(other) != initialization._kind(record)


def test_settings_of_the_start_are_not_set_by_hand(first, tiny_data_dir):
    for key, value in (("folder", str(first)), ("data", "x"), ("partial", True)):
        config = settings(tiny_data_dir, **{f"init.{key}": value})
        with pytest.raises(config_lib.ConfigError, match="pass --init_from=FOLDER"):
            initialization.settle(config, None)


def test_of_another_label_no_part_that_means_cells_is_taken(
    first, tiny_data_dir, tmp_path
):
    """ULD at I = 5 and one-hot at I = 6 have arrays of the same shapes."""
    config = settings(tiny_data_dir, **{"label.scheme": "one_hot"})
    config = initialization.settle(config, str(first), partial=True)
    run = new_run(config, tmp_path)
    initialized = {line.split("/")[1] for line in run.init["begun_anew"]}
    assert initialized == build.NETWORKS["encoder_decoder"].label_parts
    as_it_is = settings(tiny_data_dir, **{"label.scheme": "one_hot", "train.epochs": 0})
    with pytest.raises(
        initialization.InitError, match="some parameters are initialized; train"
    ):
        initialization.settle(as_it_is, str(first), partial=True)


def test_parts_of_the_label_are_parts_of_the_networks():
    for name, spec in build.NETWORKS.items():
        known = config_lib.default(name)
        settings = config_lib.to_dict(known.model)
        settings |= {"width": 8} | (
            {"num_blocks": 1} if "num_blocks" in settings else {}
        )
        of_network = {"scheme": known.label.scheme, "resolution": 4}
        label = build.make_label(of_network, settings)
        network = build.for_label(settings, label, 4, 1, seed=0)
        _, params, _ = nnx.split(network, nnx.Param, ...)
        assert spec.label_parts <= set(params.keys())
        assert spec.any_label == (not spec.label_parts)


def test_more_sources_are_refused_before_any_work(first, tiny_data_dir, tmp_path):
    one = tmp_path / "one"
    shutil.copytree(first, one)
    record = read(first)
    record["data"]["law"] = {"num_sources": 1}
    atomic.write_json(one / "record.json", record)
    config = settings(tiny_data_dir, **{"data.name": "simulated/ad2_tiny:1.0.0"})
    with pytest.raises(initialization.InitError, match="number of sources: 1 -> 2"):
        initialization.settle(config, str(one))


def test_a_stopped_fine_tuning_resumes_to_the_same_end(first, tiny_data_dir, tmp_path):
    """Bit for bit, with the rate of fine-tuning throughout."""
    rates = {"train.epochs": 2, "train.schedule": "cosine"}
    config = initialization.settle(settings(tiny_data_dir, **rates), str(first))
    unbroken = train.train_and_evaluate(config, tmp_path / "unbroken")
    with pytest.raises(train.stopping.Stopped):
        train.train_and_evaluate(config, tmp_path / "stopped", seconds=0.0)
    resumed = train.train_and_evaluate(config, tmp_path / "stopped")
    assert resumed["test"] == unbroken["test"]
    # What it gained is against the network it started from.
    was = {k: v for k, v in read(first)["test"].items() if "radius" not in k}
    assert resumed["test_before"] == unbroken["test_before"] == was
    assert read(first)["test_before"] is None
    assert [e["train"] for e in resumed["epochs"]] == [
        e["train"] for e in unbroken["epochs"]
    ]
    digests = {
        weights.digest(initialization._saved(record | {"folder": str(tmp_path / name)}))
        for name, record in (("unbroken", unbroken), ("stopped", resumed))
    }
    assert len(digests) == 1
    rates = [epoch["learning_rate"] for epoch in unbroken["epochs"]]
    np.testing.assert_allclose(rates, [1e-4, 0.5e-4], rtol=1e-5)


def test_from_scratch_and_from_another_are_different_runs(first, tiny_data_dir):
    scratch = config_lib.to_dict(initialization.settle(settings(tiny_data_dir), None))
    other = config_lib.to_dict(
        initialization.settle(settings(tiny_data_dir), str(first))
    )
    assert settings_lib.differences(scratch, other) == [
        "--init_from, trained on: None -> 'simulated/l1_tiny:1.0.0'"
    ]
    moved = other | {"init": other["init"] | {"folder": "elsewhere"}}
    assert settings_lib.differences(other, moved) == []


def test_a_digest_is_that_of_names_shapes_and_bits():
    one = {"a": {0: np.zeros(3, np.float32)}, "b": np.ones(2, np.float32)}
    same = {"b": np.ones(2, np.float32), "a": {"0": np.zeros(3, np.float32)}}
    assert weights.digest(one) == weights.digest(same)
    others = [
        {"a": {0: np.zeros(3, np.float32)}, "b": np.float32([1, 1 + 2**-23])},
        {"a": {0: np.zeros((3, 1), np.float32)}, "b": np.ones(2, np.float32)},
        {"a": {1: np.zeros(3, np.float32)}, "b": np.ones(2, np.float32)},
    ]
    digests = {weights.digest(tree) for tree in (one, *others)}
    assert len(digests) == 4


def test_each_run_of_a_sweep_starts_from_the_one_of_its_name(first, tiny_data_dir):
    base, file = settings(tiny_data_dir), str(ROOT / "experiments" / "l1.py")
    assert l1.sweep
    runs = sweep.plan(base, file, ["uld"], [], [], init_from=str(first.parent))
    ((_, config),) = runs.values()
    assert config.init.folder == str(first)
    assert config.init.data == "simulated/l1_tiny:1.0.0"
    with pytest.raises(records.RecordError, match=r"one_hot_I6_seed0.*not exist"):
        sweep.plan(base, file, ["uld", "one_hot"], [], [], init_from=str(first.parent))
