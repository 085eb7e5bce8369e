"""Recordings from folder to table: Libri-adhoc40, its twin, and sessions of one's own."""

import json
import shutil

import made_adhoc40
import made_sessions
import numpy as np
import pytest
from whole_runs import run

from uld_jax import config as config_lib
from uld_jax.audio import libri_adhoc40_files, session_tables
from uld_jax.datasets import files, perturbations, prepare
from uld_jax.report import groups
from uld_jax.storage import records
from uld_jax.training import initialization, train
from uld_jax_experiments import ad1, ad_r1, ad_r2, own


def settled(config, data_dir, init_from=None, partial=False, **overrides):
    """Return checked settings of an experiment on a tiny network."""
    config.update_from_flattened_dict(
        {
            "data.dir": str(data_dir),
            "model.width": 8,
            "model.frames_per_step": 12,
            "model.num_blocks": 1,
            "model.num_temporal_blocks": 0,
            "train.batch_size": 2,
            "train.epochs": 1,
            "label.resolution": 4,
            **overrides,
        }
    )
    folder = None if init_from is None else str(init_from)
    return initialization.settle(config, folder, partial)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return a folder with all parts."""
    folder = tmp_path_factory.mktemp("archives") / "corpus"
    return made_adhoc40.write(folder, "nested", ("dev", "test"))


@pytest.fixture(scope="module")
def pretrained(data_dir, tmp_path_factory):
    """Return the folder of a network trained on tiny random rooms."""
    workdir = tmp_path_factory.mktemp("runs") / "ad1"
    config = settled(ad1.get_config("tiny"), data_dir)
    prepare.ensure_prepared(config, processes=1)
    train.train_and_evaluate(config, workdir)
    return workdir


def complete(config, workdir):
    prepare.ensure_prepared(config, processes=1)
    return train.train_and_evaluate(config, workdir)


def test_a_network_is_tested_on_the_test_part_alone(
    archives, pretrained, data_dir, tmp_path, capsys
):
    config = settled(
        ad_r1.get_config("test"),
        data_dir,
        pretrained,
        **{"data.recordings": str(archives), "train.epochs": 0},
    )
    record = complete(config, tmp_path / "zero")
    output = capsys.readouterr().out
    assert "split 'test' of ad_r1_test has 5 examples, not 2,468" in output
    assert "has no split train, validation: networks are trained on" in output
    assert record["data"]["sizes"] == {"test": 5}
    assert record["data"]["corpus"]["name"] == "corpus"
    assert record["settings"]["data"]["recordings"] == "corpus"
    assert record["test"]["seen"] is None
    assert record["test"]["unseen"]["sources"] == 5
    at = {tuple(one["place"]): one["sources"] for one in record["test"]["places"]}
    assert at == {(2.7, 1.2): 1, (4.3, 1.2): 2, (5.9, 1.2): 1, (7.5, 1.2): 1}
    # Paper's values beside ours, by the name of the data set.
    table = run("-m", "uld_jax.cli", "tables", tmp_path / "zero").stdout
    assert "Table 4 on `libri_adhoc40/ad_r1:1.0.0`" in table
    assert "recordings from `corpus`" in table
    assert "0.180" in table
    # Prepared by now, it is used without the recordings.
    elsewhere = settled(
        ad_r1.get_config("test"), data_dir, pretrained, **{"train.epochs": 0}
    )
    elsewhere = config_lib.ConfigDict(elsewhere)
    elsewhere.data.recordings = ""
    assert prepare.ensure_prepared(elsewhere).name == "1.0.0"
    elsewhere.data.recordings = "other"
    with pytest.raises(files.DatasetError, match="recordings 'corpus', not"):
        prepare.ensure_prepared(elsewhere)


def test_a_network_is_fine_tuned_at_the_dev_positions_on_two_sources(
    archives, pretrained, data_dir, tmp_path
):
    """From a network for one source, by what of it fits."""
    config = settled(
        ad_r2.get_config("dev"),
        data_dir,
        pretrained,
        partial=True,
        **{"data.recordings": str(archives)},
    )
    record = complete(config, tmp_path / "tuned")
    assert record["data"]["sizes"] == {"train": 4, "validation": 4, "test": 5}
    assert len(record["data"]["training_places"]) == 4
    assert len(record["epochs"]) == 1
    assert record["init"]["data"] == "simulated/ad1_tiny:1.0.0"
    assert record["init"]["begun_anew"]
    assert record["test"]["unseen"]["sources"] == 10
    assert record["test"]["unseen"]["places"] == 4


def test_in_the_twin_three_of_four_places_are_seen(pretrained, data_dir, tmp_path):
    config = settled(ad_r1.get_config("twin_tiny"), data_dir, pretrained)
    record = complete(config, tmp_path / "tuned")
    test = record["test"]
    assert len(test["places"]) <= 4
    for one in test["places"]:
        assert one["seen"] == (one["place"][0] != 7.5)
    parts = [test[name] for name in ("seen", "unseen") if test[name]]
    assert sum(part["sources"] for part in parts) == 4
    mean = sum(part["sources"] * part["mae"] for part in parts) / 4
    assert mean == pytest.approx(test["mae"], rel=1e-5)
    # A run that starts from this one has seen these positions, too.
    again = ad_r1.get_config("twin_tiny")
    again = settled(again, data_dir, tmp_path / "tuned", **{"train.epochs": 0})
    as_it_is = complete(again, tmp_path / "as_it_is")
    assert as_it_is["test"]["places"] == test["places"]
    assert len(as_it_is["trained_places"]["libri_adhoc40"]) == 9


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Return a session of recordings of two seconds and more."""
    folder = tmp_path_factory.mktemp("own") / "my_lab"
    made_sessions.write_tables(folder)
    for name in made_sessions.RECORDINGS:
        signals = np.tile(made_sessions.samples(name)[:, :1600], 41)
        made_sessions.write_recording(folder, name, signals)
    return folder


def test_a_network_is_tested_and_tuned_on_recordings_of_ones_own(
    session, pretrained, data_dir, tmp_path
):
    config = settled(
        own.get_config("tiny"),
        data_dir,
        pretrained,
        **{"data.recordings": str(session), "data.name": "sessions/lab:1.0.0"},
    )
    record = complete(config, tmp_path / "tuned")
    assert record["data"]["name"] == "sessions/lab:1.0.0"
    assert record["data"]["corpus"]["name"] == "my_lab"
    assert record["data"]["sizes"] == {"train": 4, "validation": 2, "test": 2}
    assert record["trained_places"] == {"session my_lab": [[1.0, 2.0], [4.13, 0.5]]}
    assert [one["place"] for one in record["test"]["places"]] == [[5.0, 4.0]]
    assert record["test"]["seen"] is None
    path = tmp_path / "srp"
    run(
        *("-m", "uld_jax.cli", "baseline", "--config=experiments/own.py:tiny"),
        *("--method=srp_phat", "--config.data.name=sessions/lab:1.0.0"),
        *(f"--config.data.dir={data_dir}", f"--workdir={path}"),
        f"--config.data.recordings={session}",
    )
    baseline = json.loads((path / records.FILE_NAME).read_text())
    assert baseline["test"]["unseen"]["sources"] == 2
    table = run("-m", "uld_jax.cli", "tables", tmp_path).stdout
    assert "Results on `sessions/lab:1.0.0`" in table
    assert "Places on `sessions/lab:1.0.0`" in table


@pytest.mark.parametrize(
    ("config", "overrides", "error", "message"),
    [
        (
            ad_r1.get_config("test"),
            {"data.recordings": ""},
            files.DatasetError,
            "pass their folder with --config.data.recordings=FOLDER",
        ),
        (
            ad_r1.get_config("dev"),
            {"data.recordings": "no/where"},
            libri_adhoc40_files.ArchiveError,
            "'no/where' does not exist",
        ),
        (
            own.get_config("tiny"),
            {"data.recordings": "no/where"},
            session_tables.SessionError,
            "'no/where' does not exist",
        ),
        (
            own.get_config("tiny"),
            {"data.source": "compact"},
            files.DatasetError,
            "cannot be rendered compact",
        ),
        (
            ad_r1.get_config("dev"),
            {"data.source": "fresh"},
            files.DatasetError,
            "cannot be rendered fresh",
        ),
        (
            ad_r1.get_config(),
            {"data.name": "libri_adhoc40/ad_r3:1.0.0"},
            files.DatasetError,
            "libri_adhoc40/ad_r2_test:1.0.0, .*and sessions/NAME:1.0.0 for recordings",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused_before_any_work(
    tmp_path, config, overrides, error, message
):
    config = settled(config, tmp_path / "ds", **overrides)
    with pytest.raises(error, match=message):
        prepare.ensure_prepared(config)
    assert not (tmp_path / "ds").exists()


def test_what_training_would_refuse_is_refused_before_any_work(archives, tmp_path):
    recordings = {"data.recordings": str(archives)}
    for overrides, error, message in (
        (
            {"train.batch_size": 32},
            files.DatasetError,
            "batch size 32 is larger than the 4 training",
        ),
        (
            {"data.nodes_in_training": 31},
            perturbations.PerturbationError,
            "nodes_in_training is 31; the data set has 30 nodes",
        ),
    ):
        config = settled(
            ad_r1.get_config("dev"), tmp_path / "ds", **recordings | overrides
        )
        with pytest.raises(error, match=message):
            prepare.ensure_prepared(config, splits=("train", "validation", "test"))
    assert not (tmp_path / "ds").exists()


def test_data_sets_of_one_test_part_share_a_table(archives, pretrained, tmp_path):
    """Whatever else was opened beside it."""
    found = set()
    for size in ("dev", "test"):
        config = settled(
            ad_r1.get_config(size),
            tmp_path,
            pretrained if size == "test" else None,
            **{"data.recordings": str(archives), "train.epochs": int(size == "dev")},
        )
        make_builder, _ = prepare._recorded(
            config, prepare.find_builder(config.data.name)
        )
        builder = make_builder()
        run = {
            "data": {"name": config.data.name, "sizes": {"test": 5}}
            | dict(builder.info.metadata),
            "settings": config_lib.to_dict(config),
        }
        found.add(groups.Data.of(run))
    assert len(found) == 1


def test_a_missing_split_is_named_before_any_work(session, tmp_path):
    folder = shutil.copytree(session, tmp_path / "my_lab")
    made_sessions.replace(folder / "recordings.csv", "validation", "test")
    config = settled(
        own.get_config("tiny"), tmp_path / "ds", **{"data.recordings": str(folder)}
    )
    with pytest.raises(
        files.DatasetError, match="would have no split 'validation', only tr"
    ):
        prepare.ensure_prepared(config, splits=("train", "validation", "test"))
    assert not (tmp_path / "ds").exists()


def test_a_session_that_was_corrected_is_not_mistaken_for_the_old_one(
    session, tmp_path
):
    folder = shutil.copytree(session, tmp_path / "my_lab")
    config = settled(
        own.get_config("tiny"), tmp_path / "ds", **{"data.recordings": str(folder)}
    )
    path = prepare.ensure_prepared(config, processes=1)
    assert prepare.ensure_prepared(config, allowed=False) == path
    made_sessions.replace(folder / "nodes.csv", "2.25", "2.35")
    with pytest.raises(files.DatasetError, match=r"has changed since .* again"):
        prepare.ensure_prepared(config)


def test_every_size_of_the_experiments_names_a_data_set():
    names = set(prepare.builders_by_name())
    sizes = [*ad_r1.DATA]
    sizes += [f"{kind}_{end}" for kind in sizes for end in ("reduced", "tiny")]
    for size in sizes:
        for experiment in (ad_r1, ad_r2):
            config = experiment.get_config(size)
            assert config.data.name in names
            assert ("_r2" in config.data.name) == (experiment is ad_r2)
    assert ad_r1.get_config("test").train.epochs == 0
    assert ad_r1.get_config("twin_reduced").model.width == 64
    small = ad_r1.get_config("test_reduced")
    assert (small.model.width, small.train.epochs) == (64, 0)
    assert small.data.name == "libri_adhoc40/ad_r1_test:1.0.0"
    with pytest.raises(ValueError, match=r"no size 'real' .*twin_dev_tiny"):
        ad_r1.get_config("real")


def test_the_number_of_sources_is_known_before_the_work(tmp_path):
    for name, number in (("ad_r1_dev", 1), ("ad_r2", 2)):
        maker = prepare.find_builder(f"libri_adhoc40/{name}:1.0.0")
        assert maker.num_sources == number
    config = settled(ad_r2.get_config("twin"), tmp_path)
    assert prepare.planned_sources(config) == 2
    assert prepare.find_builder("sessions/my_lab:1.0.0").num_sources is None
