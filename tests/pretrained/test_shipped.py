"""The networks that come with the package: found by name, intact, and as their cards say."""

import fnmatch
import json
import re
import shlex
import tomllib
import zipfile

import numpy as np
import pytest
from conftest import ROOT
from whole_runs import call

from uld_jax import config as config_lib
from uld_jax.cli import weights as weights_command
from uld_jax.pretrained import card as card_lib
from uld_jax.pretrained import loading, shipped, weights
from uld_jax.runtime import errors
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization

NAMES = ("ad1_uld", "any_session", "l1_uld")
LIMIT = 50e6  # Bytes of all that is shipped.


def card_of(name):
    return json.loads((shipped.folder(name) / "card.json").read_text())


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Let the package ship a copy of its networks, to be damaged; return its folder."""
    for name in (*NAMES, *shipped.PARTS):
        (tmp_path / "pretrained" / name).mkdir(parents=True)
        for path in shipped.folder(name).iterdir():
            (tmp_path / "pretrained" / name / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "pretrained")
    return tmp_path / "pretrained"


def test_the_wheel_has_all_of_them_within_its_limit():
    assert tuple(shipped.names()) == NAMES
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["uld_jax.pretrained"]
    total = 0
    for name in (*NAMES, *shipped.PARTS):
        files = sorted(shipped.folder(name).iterdir())
        assert [path.name for path in files] == [
            "README.md",
            "card.json",
            "weights.safetensors",
        ]
        for path in files:
            inside = f"{name}/{path.name}"
            assert any(fnmatch.fnmatch(inside, pattern) for pattern in patterns)
            total += path.stat().st_size
    assert total < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_enough_to_localize(name):
    network = loading.load_network(name)
    samples = network.record["card"]["input"]["samples"]
    rng = np.random.default_rng(0)
    room = np.array([5.0, 5.0, 2.8])
    nodes = rng.uniform(size=(8, 3)) * room
    found = network(rng.normal(size=(8, samples)), nodes, room)
    assert found.positions.shape == (1, 2) and found.radius_90.shape == (1,)
    assert (found.radius_90 > 0.0).all() and (found.radius_90 < 10.0).all()
    assert np.asarray(found.distribution).sum() == pytest.approx(1.0, abs=1e-3)
    assert re.fullmatch(r"\(.*\) m, 90 % within .* m", str(found))


@pytest.mark.parametrize("name", ["ad1_uld", "l1_uld"])
def test_half_precision_costs_less_than_a_millimeter(name):
    """By the test of these very weights, as the card has it."""
    card = card_of(name)
    assert card["precision"] == "float16" and card["format"] == 2
    before, after = card["record"]["test"]["mae"], card["tested"]["test"]["mae"]
    assert abs(after - before) < 1e-3
    assert 0.86 < card["tested"]["test"]["radius_coverage_90"] < 0.94


@pytest.mark.parametrize("name", ["ad1_uld", "l1_uld"])
def test_the_command_of_a_card_has_its_settings(name):
    """Those that decide what is trained; folders of speech and noise are the user's."""
    card = card_of(name)
    first, second, *flags = shlex.split(card["command"])
    assert (first, second) == ("uld_jax", "train")
    values = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    experiment = values.pop("config")
    assert values.pop("workdir") == f"runs/{name}"
    config = config_lib.copy(config_lib.load_config(experiment))
    for key, text in values.items():
        key = key.removeprefix("config.")
        value = None if text == "None" else type(_get(config, key))(text)
        config.update_from_flattened_dict({key: value})
    found = settings_lib.identity(config_lib.to_dict(config_lib.resolve(config)))
    wanted = settings_lib.identity(card["record"]["settings"])
    assert found == wanted


def _get(config, key):
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_is_that_of_the_card(name):
    run = weights.read_run(shipped.folder(name), "test")
    text = (shipped.folder(name) / "README.md").read_text()
    assert card_lib.describe(run) == text
    test = (run["card"].get("tested") or run)["test"]
    assert f"MAE {test['mae']:.3f} m" in text
    assert run["card"]["license"].startswith("Apache-2.0")


def test_a_folder_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped.find("ad1_uld") == shipped.folder("ad1_uld")
    (tmp_path / "ad1_uld").mkdir()
    assert str(shipped.find("ad1_uld")) == "ad1_uld"
    with pytest.raises(errors.InputError, match=r"holds no record\.json"):
        loading.load_network("ad1_uld")
    with pytest.raises(errors.InputError, match="did you mean 'l1_uld'"):
        loading.load_network("l1_udl")
    with pytest.raises(errors.InputError, match="finds no positions by itself"):
        loading.load_network("speech_mask")


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_flipped_bit_is_refused_by_everyone(copy, place, capsys):
    path = copy / "l1_uld" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(weights.WeightsError, match=r"weights.safetensors' is damaged"):
        loading.load_network("l1_uld")
    with pytest.raises(errors.Failed, match="1 damaged: l1_uld"):
        call(weights_command, "verify")
    told = capsys.readouterr()
    lines = (told.out + told.err).splitlines()
    assert sum("intact, SHA-256" in line for line in lines) == 3


def test_another_version_and_other_shapes_are_refused(copy):
    folder = copy / "l1_uld"
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"format": 9}))
    with pytest.raises(weights.WeightsError, match="which reads format 2: update it"):
        loading.load_network("l1_uld")
    (folder / "card.json").write_bytes((copy / "ad1_uld" / "card.json").read_bytes())
    with pytest.raises(weights.WeightsError, match="bytes; its card expects"):
        loading.load_network("l1_uld")


def test_arrays_that_are_pickled_are_never_read(copy, tmp_path):
    """Neither as an archive of NumPy nor as a pickle."""
    path = copy / "l1_uld" / "weights.safetensors"
    np.savez(tmp_path / "arrays.npz", params=np.array([{}], dtype=object))
    assert zipfile.is_zipfile(tmp_path / "arrays.npz")
    path.write_bytes((tmp_path / "arrays.npz").read_bytes())
    with pytest.raises(weights.WeightsError, match="bytes; its card expects"):
        loading.load_network("l1_uld")


def test_the_command_lists_verifies_and_describes(capsys):
    call(weights_command, "list")
    told = capsys.readouterr()
    lines = (told.out + told.err).splitlines()
    assert [line.split()[0] for line in lines] == [*NAMES, "speech_mask"]
    assert "8 nodes" in lines[2] and "any nodes" in lines[0]
    call(weights_command, "verify", "l1_uld")
    call(weights_command, "card", "l1_uld")
    call(weights_command, "card", "speech_mask")
    told = capsys.readouterr()
    text = told.out + told.err
    assert card_of("l1_uld")["hashes"]["weights"] in text
    assert "needs 8 nodes at the places they had in training" in text
    assert (shipped.folder("speech_mask") / "README.md").read_text() in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give list, verify or card, as in"),
        (("lists",), "give list, verify or card, not 'lists'"),
        (("card",), "name one network"),
        (("card", "l1"), "no network 'l1' comes with the package"),
        (("verify", "ad1_udl"), "did you mean 'ad1_uld'"),
    ],
)
def test_other_words_are_refused(words, message):
    with pytest.raises(errors.InputError, match=message):
        call(weights_command, *words)


@pytest.mark.parametrize("name", NAMES)
def test_a_session_of_ones_own_takes_the_settings_of_a_shipped_network(name):
    """So that --init_from=NAME fits without further flags."""
    config = config_lib.load_config(f"{ROOT}/experiments/own.py:{name}")
    assert (
        config_lib.to_dict(config.model) == card_of(name)["record"]["settings"]["model"]
    )
    settled = initialization.settle(config, name)
    assert settled.init.folder == name
    assert settled.init.data == card_of(name)["record"]["data"]["name"].replace(
        "_compact", ""
    )
    other = "l1_uld" if name == "ad1_uld" else "ad1_uld"
    with pytest.raises(initialization.InitError, match="has another label or network"):
        initialization.settle(config, other)
