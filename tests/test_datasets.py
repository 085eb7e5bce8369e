"""Which data set an experiment gets, and what is refused."""

import importlib.util
import json
import shutil

import pytest
import tensorflow_datasets as tfds
from conftest import tiny_config

from uld_jax import datasets, input_pipeline

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
    path = datasets.ensure_prepared(config, processes=1)
    assert path == data_dir / "simulated" / "ad1_tiny_held_out" / "1.0.0"
    return data_dir


def fresh_rooms(rooms_dir, **changes):
    return tiny_config(rooms_dir, **ROOMS, **{"data.source": "fresh"}, **changes)


def test_held_out_rooms_are_made_as_the_flags_say(rooms_dir):
    path = datasets.prepared_path(fresh_rooms(rooms_dir))
    metadata = tfds.builder_from_directory(path).info.metadata
    assert metadata["noise"]["name"] == "builtin"
    assert metadata["engine"] == "jax"
    assert metadata["law"]["noise"] == "point"
    assert metadata["law"]["num_nodes"] == 4
    assert datasets.ensure_prepared(fresh_rooms(rooms_dir), allowed=False) == path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.noise", "rain", "prepared from the noise 'builtin', not 'rain'"),
        ("data.engine", "pyroomacoustics", "say --config.data.engine=jax"),
        ("data.noise_field", "diffuse", "from the noise field 'point', not 'diffuse'"),
        ("data.speech", "talk", "from the corpus 'builtin', not 'talk'"),
    ],
)
def test_rooms_made_of_something_else_are_refused(rooms_dir, key, value, message):
    with pytest.raises(input_pipeline.DatasetError, match=message):
        datasets.ensure_prepared(fresh_rooms(rooms_dir, **{key: value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"late_fields": {"validation": "thinned", "test": "full"}},
            "with late_fields.validation 'thinned', and simulated/ad1_tiny:1.0.0 now "
            "has 'full'; remove that folder",
        ),
        ({"law": {"kind": "anechoic"}}, "law.kind 'anechoic', .* has 'reverberant'"),
        ({"law": {"num_sources": 2}}, "law.num_sources 2, .* has 1"),
        ({"law": {"num_nodes": 30}}, "law.num_nodes 30, .* has 4"),
        ({"law": {"num_samples": 32_000}}, "law.num_samples 32000, .* has 8000"),
        ({"sample_rate": 8000}, "sample_rate 8000, .* has 16000"),
    ],
)
def test_rooms_prepared_by_other_settings_are_refused(
    rooms_dir, tmp_path, change, message
):
    shutil.copytree(rooms_dir, tmp_path, dirs_exist_ok=True)
    config = fresh_rooms(tmp_path)
    file = datasets.prepared_path(config) / "metadata.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | change))
    with pytest.raises(input_pipeline.DatasetError, match=message):
        datasets.ensure_prepared(config)


def test_a_data_set_of_an_unknown_builder_is_used_as_it_is(rooms_dir, tmp_path):
    place = tmp_path / "simulated"
    shutil.copytree(
        rooms_dir / "simulated" / "ad1_tiny_held_out", place / "ad9_held_out"
    )
    changes = {"data.name": "simulated/ad9:1.0.0", "data.source": "fresh"}
    config = tiny_config(tmp_path, **ROOMS | changes)
    assert datasets.ensure_prepared(config) == place / "ad9_held_out" / "1.0.0"


def test_compact_data_sets_have_a_name_and_a_message_of_their_own(tmp_path, capsys):
    config = tiny_config(tmp_path, **ROOMS, **{"data.source": "compact"})
    message = "ad1_tiny_compact.* is not there; prepare it"
    with pytest.raises(input_pipeline.DatasetError, match=message):
        datasets.ensure_prepared(config, allowed=False)
    path = datasets.ensure_prepared(config, processes=1)
    assert path == tmp_path / "simulated" / "ad1_tiny_compact" / "1.0.0"
    stored = sum(file.stat().st_size for file in path.iterdir())
    said = capsys.readouterr().out
    assert f"8 examples, {stored / 1e9:.2f} GB" in said
    assert "noise: builtin\n" in said
    # How the noise comes to the nodes is no part of it.
    other = tiny_config(
        tmp_path, **ROOMS, **{"data.source": "compact", "data.noise_field": "diffuse"}
    )
    assert datasets.ensure_prepared(other, allowed=False) == path
    facts = datasets.describe(other)
    assert facts["rendering"]["law"]["noise"] == "diffuse"
    assert "noise" not in facts["law"]
    named_so = tiny_config(
        tmp_path, **ROOMS | {"data.name": "simulated/ad1_tiny_compact:1.0.0"}
    )
    with pytest.raises(input_pipeline.DatasetError, match="hold audio; a compact"):
        datasets.open_split(named_so, "train")


def test_fresh_rooms_take_the_whole_data_set_where_it_is(tiny_data_dir):
    config = tiny_config(tiny_data_dir, **{"data.source": "fresh"})
    path = input_pipeline.dataset_path("simulated/l1_tiny:1.0.0", tiny_data_dir)
    assert datasets.prepared_path(config) == path
    assert datasets.examples_per_epoch(config) == 48


def test_fresh_rooms_of_an_experiment(rooms_dir):
    config = fresh_rooms(rooms_dir, **{"data.speech_hours": 0.01, "seed": 3})
    rooms = datasets.open_fresh(config)
    batch = rooms.batch(0)
    assert batch["audio"].shape == (2, 4, 8000)
    assert rooms.describe()["law"]["noise"] == "point"


def test_an_epoch_has_at_least_a_batch(tmp_path):
    config = tiny_config(tmp_path, **{"data.source": "fresh", "train.batch_size": 64})
    with pytest.raises(input_pipeline.DatasetError, match="has 48 fresh examples"):
        datasets.ensure_prepared(config)
    assert not list(tmp_path.iterdir())


def test_a_missing_simulator_is_told_before_the_work(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "pyroomacoustics" else found(name),
    )
    config = tiny_config(tmp_path, **ROOMS, **{"data.engine": "pyroomacoustics"})
    with pytest.raises(input_pipeline.DatasetError, match=r"uld-jax\[data\]"):
        datasets.ensure_prepared(config)
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
    with pytest.raises(input_pipeline.DatasetError, match="there are simulated/l1:1"):
        datasets.ensure_prepared(config)
