"""Preparing an experiment's data set, opening it, and what is refused."""

import importlib.util
import json
import shutil

import pytest
import tensorflow_datasets as tfds
from conftest import tiny_config

from uld_jax import config as config_lib
from uld_jax.datasets import files, pipeline, prepare, sources, splits
from uld_jax.runtime import errors
from uld_jax.storage import dataset_names
from uld_jax.training import train

ROOMS = {
    "data.name": "simulated/ad1_tiny:1.0.0",
    "model.num_encoders": 1,
    "train.batch_size": 2,
}


@pytest.fixture(scope="module")
def rooms_dir(tmp_path_factory):
    """Return a folder in which the held-out splits of a tiny Ad-1 were prepared."""
    data_dir = tmp_path_factory.mktemp("rooms")
    config = tiny_config(data_dir, **ROOMS, **{"data.source": "fresh"})
    path = prepare.ensure_prepared(config, processes=1)
    assert path == data_dir / "simulated" / "ad1_tiny_held_out" / "1.0.0"
    return data_dir


def fresh_rooms(rooms_dir, **changes):
    return tiny_config(rooms_dir, **ROOMS, **{"data.source": "fresh"}, **changes)


def test_held_out_rooms_are_made_as_the_flags_say(rooms_dir):
    path = prepare.dataset_path(fresh_rooms(rooms_dir))
    metadata = tfds.builder_from_directory(path).info.metadata
    assert metadata["noise"]["name"] == "builtin"
    assert metadata["engine"] == "jax"
    assert metadata["law"]["noise"] == "point"
    assert metadata["law"]["num_nodes"] == 4
    assert prepare.ensure_prepared(fresh_rooms(rooms_dir), allowed=False) == path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.noise", "rain", "prepared with noise 'builtin', not 'rain'"),
        ("data.engine", "pyroomacoustics", "pass --config.data.engine=jax"),
        ("data.noise_field", "diffuse", "with noise_field 'point', not 'diffuse'"),
        ("data.speech", "talk", "with speech 'builtin', not 'talk'"),
    ],
)
def test_rooms_made_of_something_else_are_refused(rooms_dir, key, value, message):
    with pytest.raises(files.DatasetError, match=message):
        prepare.ensure_prepared(fresh_rooms(rooms_dir, **{key: value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"late_fields": {"validation": "thinned", "test": "full"}},
            "with late_fields.validation 'thinned'; simulated/ad1_tiny:1.0.0 now has "
            "'full'. Remove that folder",
        ),
        ({"law": {"kind": "anechoic"}}, "recipe.kind 'anechoic'; .* has 'reverberant'"),
        ({"law": {"num_sources": 2}}, "recipe.num_sources 2; .* has 1"),
        ({"law": {"num_nodes": 30}}, "recipe.num_nodes 30; .* has 4"),
        ({"law": {"num_samples": 32_000}}, "recipe.num_samples 32000; .* has 8000"),
        ({"sample_rate": 8000}, "sample rate of 8000 Hz; expected 16000 Hz"),
    ],
)
def test_rooms_prepared_by_other_settings_are_refused(
    rooms_dir, tmp_path, change, message
):
    shutil.copytree(rooms_dir, tmp_path, dirs_exist_ok=True)
    config = fresh_rooms(tmp_path)
    file = prepare.dataset_path(config) / "metadata.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | change))
    files.write_sums(file.parent)
    with pytest.raises(files.DatasetError, match=message):
        prepare.ensure_prepared(config)


def test_a_data_set_of_an_unknown_builder_is_used_as_it_is(rooms_dir, tmp_path):
    place = tmp_path / "simulated"
    shutil.copytree(
        rooms_dir / "simulated" / "ad1_tiny_held_out", place / "ad9_held_out"
    )
    changes = {"data.name": "simulated/ad9:1.0.0", "data.source": "fresh"}
    config = tiny_config(tmp_path, **ROOMS | changes)
    assert prepare.ensure_prepared(config) == place / "ad9_held_out" / "1.0.0"


@pytest.fixture
def own(tiny_path, tmp_path):
    """Make a function that makes settings of a data set without a known builder.

    It changes one of its files of JSON, as if the data set had been prepared so.
    """
    path = tmp_path / "mine" / "lab" / "1.0.0"
    shutil.copytree(tiny_path, path)

    def changed(name, change, **settings):
        content = json.loads((path / name).read_text())
        change(content)
        (path / name).write_text(json.dumps(content))
        files.write_sums(path)
        return tiny_config(tmp_path, **{"data.name": "mine/lab:1.0.0"} | settings)

    return changed


def assert_refused(config, tmp_path, message):
    """Assert that preparing or training raises, and that nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.InputError, match=message):
        prepare.ensure_prepared(config)
        train.train_and_evaluate(config, tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["mine/lab:1.0.0", "sessions/lab:1.0.0"])
def test_any_data_set_of_another_sample_rate_is_refused(own, tmp_path, name):
    """Of a builder that nobody knows, and of recordings of one's own."""
    config = own(
        "metadata.json",
        lambda stored: stored.update(sample_rate=44_100),
        **{"data.name": name},
    )
    if name.startswith("sessions"):
        (tmp_path / "mine").rename(tmp_path / "sessions")
    path = dataset_names.DatasetName.parse(name).folder(tmp_path)
    message = "sample rate of 44100 Hz; expected 16000 Hz. Remove that folder"
    assert_refused(config, tmp_path, message)
    with pytest.raises(files.DatasetError, match=message):
        splits.Split(path, "test")


def test_an_unknown_builder_need_not_record_its_sample_rate(own):
    config = own("metadata.json", lambda stored: stored.pop("sample_rate"))
    path = prepare.ensure_prepared(config)
    assert len(splits.Split(path, "train").load()["audio"]) == 48


def tensor(stored, field):
    return stored["featuresDict"]["features"][field]["tensor"]


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        (
            "audio",
            {"dtype": "float32"},
            r"audio of .* is \[8, 2560\] float32; expected",
        ),
        ("audio", {"shape": ["20480"]}, r"is \[20480\] int16; expected \[M, N\]"),
        ("audio", {"shape": ["80", "256"]}, r"audio of .* is \[80, 256\] int16"),
        ("audio", {"shape": ["8", "256"]}, "256 samples is too short for the STFT"),
        ("node_positions", {"shape": ["8", "2"]}, r"is \[8, 2\] float32.*\[M, 3\]"),
        ("source_positions", {"shape": ["3"]}, r"is \[3\] float32; expected \[S,"),
        ("source_positions", {"dtype": "int32"}, r"is \[1, 3\] int32; expected"),
        ("room_size", {"shape": ["2"]}, r"room_size of .* is \[2\] float32; expected"),
    ],
)
def test_another_layout_than_is_read_is_refused(own, tmp_path, field, change, message):
    def changed(stored):
        if shape := change.get("shape"):
            tensor(stored, field)["shape"] = {"dimensions": shape}
        else:
            tensor(stored, field).update(change)

    assert_refused(own("features.json", changed), tmp_path, message)


def test_another_length_than_its_features_say_is_damage(own, tmp_path):
    """It is long enough for the STFT, but not what is stored."""
    shape = {"dimensions": ["8", "2561"]}
    own("features.json", lambda stored: tensor(stored, "audio").update(shape=shape))
    split = splits.Split(tmp_path / "mine" / "lab" / "1.0.0", "train")
    with pytest.raises(files.DatasetError, match="example 0 of split 'train'"):
        split.load()


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_examples_is_refused(own, tmp_path, split, empty):
    def changed(stored):
        for one in stored["splits"]:
            if one["name"] == split:
                one.update(shardLengths=[], numBytes="0")
        if not empty:
            kept = [one for one in stored["splits"] if one["name"] != split]
            stored["splits"] = kept

    config = own("dataset_info.json", changed)
    assert_refused(config, tmp_path, f"has no split '{split}'; it has (?!.*{split}, )")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 49}, "batch size 49 is larger than the 48 training"),
        (
            {"data.nodes_in_training": 9, "model.name": "adhoc"},
            "--config.data.nodes_in_training is 9; the data set has 8 nodes",
        ),
        ({"model.num_encoders": 3}, "8 nodes .*cannot be divided"),
    ],
)
def test_what_a_data_set_cannot_give_is_refused(
    tiny_data_dir, tmp_path, changes, message
):
    """Where it is there, and, before any of it is made, where it is not."""
    changes = {"model.width": 8, "train.batch_size": 8} | changes
    for data_dir in (tiny_data_dir, tmp_path):
        config = config_lib.default(changes.get("model.name", "encoder_decoder"))
        config.data.update(
            name="simulated/l1_tiny:1.0.0", dir=str(data_dir), speech="builtin"
        )
        config.update_from_flattened_dict(changes)
        config = config_lib.resolve(config)
        assert_refused(config, tmp_path, message)


def test_compact_data_sets_have_a_name_and_a_message_of_their_own(tmp_path, capsys):
    config = tiny_config(tmp_path, **ROOMS, **{"data.source": "compact"})
    message = "ad1_tiny_compact.* is not there; prepare it"
    with pytest.raises(files.DatasetError, match=message):
        prepare.ensure_prepared(config, allowed=False)
    path = prepare.ensure_prepared(config, processes=1)
    assert path == tmp_path / "simulated" / "ad1_tiny_compact" / "1.0.0"
    stored = sum(file.stat().st_size for file in path.iterdir())
    printed = capsys.readouterr().out
    assert f"8 examples, {stored / 1e9:.2f} GB" in printed
    assert "noise: builtin\n" in printed
    # How the noise comes to the nodes is no part of it.
    other = tiny_config(
        tmp_path, **ROOMS, **{"data.source": "compact", "data.noise_field": "diffuse"}
    )
    assert prepare.ensure_prepared(other, allowed=False) == path
    facts = sources.describe(other)
    assert facts["rendering"]["law"]["noise"] == "diffuse"
    assert "noise" not in facts["law"]
    named_so = tiny_config(
        tmp_path, **ROOMS | {"data.name": "simulated/ad1_tiny_compact:1.0.0"}
    )
    with pytest.raises(files.DatasetError, match="hold audio; a compact"):
        sources.open_split(named_so, "train")


def test_fresh_rooms_take_the_whole_data_set_where_it_is(tiny_data_dir):
    config = tiny_config(tiny_data_dir, **{"data.source": "fresh"})
    path = tiny_data_dir / "simulated" / "l1_tiny" / "1.0.0"
    assert prepare.dataset_path(config) == path


def test_fresh_rooms_of_an_experiment(rooms_dir):
    config = fresh_rooms(rooms_dir, **{"data.speech_hours": 0.01, "seed": 3})
    rooms = sources.open_on_the_fly(config)
    assert len(rooms) == 4
    order = pipeline.endless_order(4, 2, epoch=0)
    assert next(rooms.batches(order))["audio"].shape == (2, 4, 8000)
    assert rooms.describe()["law"]["noise"] == "point"


def test_an_epoch_has_at_least_a_batch(tmp_path):
    config = tiny_config(tmp_path, **{"data.source": "fresh", "train.batch_size": 64})
    with pytest.raises(files.DatasetError, match="has 48 fresh examples"):
        prepare.ensure_prepared(config)
    assert not list(tmp_path.iterdir())


def test_a_missing_simulator_is_reported_before_the_work(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "pyroomacoustics" else found(name),
    )
    config = tiny_config(tmp_path, **ROOMS, **{"data.engine": "pyroomacoustics"})
    with pytest.raises(files.DatasetError, match=r"uld-jax\[data\]"):
        prepare.ensure_prepared(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "simulated/l1_tiny_held_out:1.0.0",
        "simulated/l1_tiny_compact:1.0.0",
        "simulated/l2:1.0.0",
    ],
)
def test_other_names_are_refused_with_the_known_ones(tmp_path, name):
    config = tiny_config(tmp_path, **{"data.name": name})
    with pytest.raises(files.DatasetError, match="there are simulated/l1:1"):
        prepare.ensure_prepared(config)
