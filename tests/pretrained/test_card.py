"""A run's network shared: the card, the command, and use in place of the run."""

import json
import re
import subprocess
import sys

import made_sessions
import numpy as np
import pytest
from conftest import ROOT
from made_records import baseline_record, write
from saved_networks import BEST_MAE, MAE, items_of, make_run, settings
from test_weights import refill, reseal, text_of
from whole_runs import call
from whole_runs import run as run_command

from uld_jax import config as config_lib
from uld_jax.audio import sessions
from uld_jax.cli import locate, share
from uld_jax.evaluation import evaluate, verify
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.pretrained import card as card_lib
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors
from uld_jax.storage import atomic, records
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization, optimizer
from uld_jax.training import step as step_lib


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of a run and its shared weights by the network's name."""
    found = {}
    for name in build.NETWORKS:
        run = make_run(tmp_path_factory.mktemp("runs") / f"{name}_run", name)
        out = run.parent / "shared"
        told = card_lib.share(run, out)
        assert f"{out} holds " in told
        found[name] = run, out
    return found


@pytest.fixture
def pair(runs, tmp_path):
    """Return the folders of a run and of a copy of its weights, to be damaged."""
    run, shared = runs["encoder_decoder"]
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in shared.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return run, folder


def arrays_of(folder):
    return loading.arrays_of(weights.read_run(folder, "--run"))


def card_of(folder):
    return json.loads((folder / "card.json").read_text())


@pytest.mark.parametrize("name", build.NETWORKS)
def test_the_arrays_are_those_of_the_best_epoch_bit_for_bit(runs, name):
    _, items = items_of(name, seed=5)
    expected = {
        "/".join(str(entry.key) for entry in path): np.asarray(leaf)
        for path, leaf in step_lib.jax.tree.leaves_with_path(items)
    }
    if name != "multilateration":  # Whole numbers as keys.
        assert any(re.search(r"/\d+/", key) for key in expected)
    for folder in runs[name]:
        found = arrays_of(folder)
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            assert found[key].dtype == array.dtype
            np.testing.assert_array_equal(found[key], array)
        assert weights.digest(found) == weights.digest(items)
    assert card_of(runs[name][1])["hashes"]["parameters"] == weights.digest(items)


def test_the_card_tells_all_that_the_record_does_and_what_it_does_not(runs):
    run, shared = runs["encoder_decoder"]
    card, record = card_of(shared), json.loads((run / "record.json").read_text())
    for key in record.keys() - {"settings"}:
        assert card["record"][key] == record[key]
    told = card["record"]["settings"]
    assert settings_lib.differences(record["settings"], told) == []
    assert told["data"]["dir"] == "mine"
    assert card["name"] == "encoder_decoder_run"
    assert card["license"] is None
    assert card["validation"] == {"mae": BEST_MAE, "accuracy": 0.25}
    assert card["output"] == {"sources": 1, "scheme": "uld", "resolution": 5}
    inputs = card["input"]
    assert (inputs["nodes"], inputs["samples"], inputs["sample_rate"]) == (
        8,
        2560,
        16_000,
    )
    assert not inputs["any_number_of_nodes"]
    _, items = items_of("encoder_decoder", seed=0)
    leaves = step_lib.jax.tree.leaves(items["params"])
    assert card["parameters"] == sum(leaf.size for leaf in leaves)
    other = card_of(runs["adhoc"][1])["input"]
    assert other["any_number_of_nodes"]
    assert other["features"] == "level_compressed"


def test_the_readme_tells_people(runs, tmp_path):
    text = (runs["encoder_decoder"][1] / "README.md").read_text()
    for told in (f"MAE {MAE:.3f} m", f"MAE {BEST_MAE:.3f} m, ACC 25.00 % (epoch 2,"):
        assert told in text
    for told in ("uld at I = 5", "1,234 examples", "none given", "8fbc8e4", "8 nodes"):
        assert told in text
    record = card_of(runs["adhoc"][1])["record"]
    bare = {"init": {"run": "older", "data": "simulated/ad1:1.0.0"}, "test": None}
    record |= bare | {"converged": False, "epochs": [], "best_epoch": 0}
    content = card_of(runs["adhoc"][1]) | {"record": record, "validation": None}
    text = card_lib._readme(content | {"license": "CC-BY-4.0"})
    for told in ("started from older, trained on simulated/ad1:1.0.0", "CC-BY-4.0"):
        assert told in text
    for told in ("any number of nodes", "**no**: it does not find", "**Test**: none"):
        assert told in text
    assert "**Validation**: none\n" in text


@pytest.mark.parametrize("name", build.NETWORKS)
def test_no_folder_of_ones_machine_is_told(runs, name):
    run, shared = runs[name]
    for path in shared.iterdir():
        data = path.read_bytes()
        for place in ("/datasets/of", "/speech/of", str(run.parent)):
            assert place.encode() not in data


def batch_of(rng):
    """Return a batch of noise in rooms that differ."""
    room_size = rng.uniform(4, 9, (3, 3)).astype(np.float32)
    places = rng.uniform(size=(3, 9, 3)).astype(np.float32) * room_size[:, None]
    return {
        "audio": (3000 * rng.normal(size=(3, 8, 2560))).astype(np.int16),
        "node_positions": places[:, 1:],
        "source_positions": places[:, :1],
        "room_size": room_size,
    }


def test_positions_are_those_of_the_network_that_was_saved(runs):
    """Bit for bit, by its parameters and its running means."""
    config, items = items_of("encoder_decoder", seed=5)
    label = schemes.Label("uld", 5)
    model = build.for_label(config_lib.to_dict(config.model), label, 8, 1, seed=9)
    graph, state = step_lib.init_state(model, optimizer.adamw(1e-3, 0.0))
    by_hand = evaluate.make_eval_step(graph, label)
    batch = batch_of(np.random.default_rng(2))

    def predicted(params, statistics):
        return np.asarray(by_hand(params, statistics, batch)["predicted"])

    expected = predicted(**items)
    assert (predicted(items["params"], state.statistics) != expected).any()
    shared = weights.read_run(runs["encoder_decoder"][1], "--run")
    step = evaluate.network_step(shared, 8, 1)
    np.testing.assert_array_equal(step(batch)["predicted"], expected)


@pytest.mark.parametrize("name", build.NETWORKS)
def test_a_run_begins_from_them_as_from_the_run(runs, name):
    loaded = []
    for folder in runs[name]:
        config = initialization.settle(settings(name), str(folder))
        _, scratch = items_of(name, seed=1)
        loaded.append(initialization.load(config, scratch))
    (items, facts), (others, same) = loaded
    assert facts == same
    assert facts["run"] == f"{name}_run"
    _, expected = items_of(name, seed=5)
    for tree in (items, others):
        step_lib.jax.tree.map(np.testing.assert_array_equal, tree, expected)
    initialization.check_same_start({"init": facts}, config, "runs/tuned")
    wrong = {"init": facts | {"parameters": "0"}}
    with pytest.raises(errors.InputError, match="started from another network"):
        initialization.check_same_start(wrong, config, "runs/tuned")


def locate_by(folder, **values):
    """Call the command's main function with flags."""
    call(locate, run=folder, **values)


def test_recordings_are_located_as_by_the_run(runs, tmp_path):
    rng = np.random.default_rng(4)
    lab = tmp_path / "lab"
    made_sessions.write_tables(lab, recordings={"one": ("test", [1.0, 2.0, 1.6])})
    signals = rng.uniform(-0.5, 0.5, (3, 2 * sessions.NUM_SAMPLES))
    made_sessions.write_recording(lab, "one", signals)
    texts = []
    for folder in runs["adhoc"]:
        out = tmp_path / f"{folder.name}.csv"
        locate_by(folder, recordings=str(lab), out=str(out))
        texts.append(out.read_text())
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 3


def misfits(arrays):
    """Return changes to a network's arrays, with the message expected for each."""
    name, array = next(
        (name, array) for name, array in arrays.items() if array.ndim == 2
    )
    cut, wide = array[:, 1:], array.astype(np.float64)
    was = re.escape(str(list(array.shape)))
    return {
        "lacks": ({k: v for k, v in arrays.items() if k != name}, f"{name}: not there"),
        "more": (arrays | {"params/own": array}, "params/own: not in this network"),
        "shape": (arrays | {name: cut}, rf"{name}: \[.*\] -> {was}"),
        "type": (arrays | {name: wide}, f"{name}: float64 {was} -> float32 {was}"),
    }


@pytest.mark.parametrize("kind", ["lacks", "more", "shape", "type"])
def test_arrays_that_are_not_those_of_the_settings_are_told(pair, kind):
    """Though all sums are right."""
    _, folder = pair
    arrays, message = misfits(arrays_of(folder))[kind]
    refill(folder, arrays)
    with pytest.raises(
        weights.WeightsError, match=r"has the parameters .*share it again"
    ):
        arrays_of(folder)
    hashes = card_of(folder)["hashes"] | {"parameters": weights.digest(arrays)}
    reseal(folder, hashes=hashes)
    run = weights.read_run(folder, "--run")
    with pytest.raises(loading.NetworkError, match=f"does not fit .*{message}"):
        loading.restore_network(run, 8, 1)
    config = initialization.settle(settings("encoder_decoder"), str(folder))
    _, items = items_of("encoder_decoder", seed=1)
    with pytest.raises(initialization.InitError, match=message):
        initialization.load(config, items)


def test_damaged_weights_are_no_beginning(pair):
    _, folder = pair
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(weights.WeightsError, match="is damaged"):
        initialization.settle(settings("encoder_decoder"), str(folder))
    (folder / "card.json").write_text(text_of(card_of(folder) | {"license": "MIT"}))
    with pytest.raises(weights.WeightsError, match=r"--init_from: .*card\.json"):
        initialization.settle(settings("encoder_decoder"), str(folder))


def test_verify_tells_good_weights_from_damaged_ones(pair):
    _, shared = pair
    good, lines = verify.verify_folder(shared)
    assert not lines
    assert re.fullmatch(r"\d+ arrays of shared weights", good)
    assert list(verify.find(shared.parent)) == [shared]
    path = shared / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    _, (line,) = verify.verify_folder(shared)
    assert "weights.safetensors" in line


@pytest.mark.parametrize(
    "changed", [{"name": "transformer"}, {"layers": 3}, {"num_encoders": 5}]
)
def test_a_network_that_this_version_does_not_know_is_told(runs, changed):
    run = weights.read_run(runs["encoder_decoder"][1], "--run")
    model = run["settings"]["model"] | changed
    other = run | {"settings": run["settings"] | {"model": model}}
    with pytest.raises(
        loading.NetworkError,
        match=r"cannot be built: .*this is uld_jax .* trained with 0\.0\.7",
    ):
        loading.restore_network(other, 8, 1)


def test_another_license_is_said_by_sharing_once_more(runs, tmp_path):
    run, shared = runs["adhoc"]
    for number, (source, name) in enumerate(
        [(run, "CC-BY-4.0"), (shared, "CC-BY-4.0"), (tmp_path / "1", None)]
    ):
        card_lib.share(source, tmp_path / str(number), name)
    for path in (tmp_path / "0").iterdir():
        for other in ("1", "2"):
            assert (tmp_path / other / path.name).read_bytes() == path.read_bytes()
    card = card_of(tmp_path / "0")
    assert card["license"] == "CC-BY-4.0"
    before = card_of(shared)
    assert card["hashes"].pop("parameters") == before["hashes"].pop("parameters")
    assert before | {"license": "CC-BY-4.0", "hashes": card["hashes"]} == card


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"status": "running"}, "is running; name a finished one, or finish it"),
        ({"status": "diverged"}, "is diverged; name a finished one"),
        ({"best_epoch": 3}, "no network of epoch 3, its best; only its record"),
        ({"method": "srp_phat"}, "is a run of the baseline srp_phat"),
        (
            {"data": {"law": {"num_sources": 1, "num_nodes": 6}}},
            "does not fit 1 sources",
        ),
    ],
)
def test_what_cannot_be_shared_is_told(tmp_path, changed, message):
    run = make_run(tmp_path / "run", "encoder_decoder")
    record = json.loads((run / "record.json").read_text())
    atomic.write_json(run / "record.json", record | changed)
    with pytest.raises(errors.InputError, match=message):
        card_lib.share(run, tmp_path / "shared")
    assert list(tmp_path.iterdir()) == [run]


def test_runs_without_a_network_are_told(runs, tmp_path):
    write(tmp_path, baseline_record())
    with pytest.raises(records.RecordError, match="a run of the baseline srp_phat"):
        card_lib.share(tmp_path / "srp_phat", tmp_path / "shared")
    alone = tmp_path / "alone"
    alone.mkdir()
    record = (runs["adhoc"][0] / "record.json").read_bytes()
    (alone / "record.json").write_bytes(record)
    with pytest.raises(card_lib.ShareError, match="only its record was kept"):
        card_lib.share(alone, tmp_path / "shared")
    with pytest.raises(records.RecordError, match="it does not exist"):
        card_lib.share(tmp_path / "no", tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("name", ["", "  ", "MIT\nand more", "\x1b[31m"])
def test_a_license_is_a_line_of_text(runs, tmp_path, name):
    with pytest.raises(card_lib.ShareError, match="must be a name in one line"):
        card_lib.share(runs["adhoc"][0], tmp_path / "shared", name)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_once_and_the_page_shows_how_to_read_it(runs, tmp_path):
    """By the example of docs/sharing.md, which needs nothing of this project."""
    run, shared = runs["adhoc"]
    words = ("-m", "uld_jax.cli", "share", f"--run={run}")
    out = tmp_path / "ad1_uld_weights"
    told = run_command(*words, f"--out={out}", "--license=MIT").stdout
    assert re.search(r"weights holds [\d,]+ parameters, \d+ arrays, in [\d.]+ MB", told)
    assert card_of(out)["license"] == "MIT"
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(weights.WeightsError, match=r"--out: .*weights' exists"):
        card_lib.share(run, out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    missing = run_command(*words, check=False)
    assert missing.returncode == 2
    assert "--out" in missing.stderr
    page = (ROOT / "docs" / "sharing.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    listed = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout
    expected = arrays_of(shared)
    assert sorted(listed.splitlines()) == sorted(
        f"{name} {array.dtype} {array.shape}" for name, array in expected.items()
    )
    assert "uld_jax" not in code


def test_half_precision_halves_the_file_and_is_read_as_it_was_rounded(runs, tmp_path):
    run, shared = runs["encoder_decoder"]
    card_lib.share(run, tmp_path / "half", half=True)
    exact, found = arrays_of(run), arrays_of(tmp_path / "half")
    for name, array in exact.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(
            found[name], array.astype(np.float16).astype(array.dtype)
        )
    sizes = [
        (folder / "weights.safetensors").stat().st_size
        for folder in (tmp_path / "half", shared)
    ]
    assert sizes[0] < 0.65 * sizes[1]  # Names weigh, too, in a network so small.
    card = card_of(tmp_path / "half")
    assert (card["format"], card["precision"]) == (2, "float16")
    assert card_of(shared)["format"] == 1 and "precision" not in card_of(shared)
    assert card["hashes"]["parameters"] == weights.digest(found)
    # Shared again in full, they are what they have become.
    card_lib.share(tmp_path / "half", tmp_path / "full")
    again = arrays_of(tmp_path / "full")
    assert weights.digest(again) == weights.digest(found)


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    arrays = {"params/wide": np.float32([1.0, 70_000.0])}
    with pytest.raises(weights.WeightsError, match=r"params/wide .* up to 7e\+04, too"):
        weights.write_folder(tmp_path / "half", {"name": "x"}, arrays, "", half=True)
    assert not list(tmp_path.iterdir())


def make_tested(folder, run, **changes):
    """Write the record of a test of a run's network; return its folder."""
    record = json.loads((run / "record.json").read_text())
    record["settings"]["train"]["epochs"] = 0
    parameters = weights.digest(arrays_of(run))
    record |= {
        "init": {"parameters": parameters},
        "epochs": [],
        "test": {"mae": 0.25, "radius_90": 0.5, "radius_coverage_90": 0.89},
        "radii": {"spreads": [0.2, 0.4], "radii": [0.3, 0.7], "sources": 12},
    }
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(record | changes))
    return folder


def test_a_card_has_the_test_of_its_very_weights(runs, tmp_path):
    run, _ = runs["encoder_decoder"]
    tested = make_tested(tmp_path / "tested", run)
    facts = {
        "command": "uld_jax train --config=l1",
        "conditions": [{"title": "clocks 2 ms", "mae": 0.5, "median": 0.4}],
    }
    card_lib.share(run, tmp_path / "out", tested=tested, facts=facts)
    network = loading.load_network(tmp_path / "out")
    assert network.record["radii"]["radii"] == [0.3, 0.7]
    signals = np.random.default_rng(0).normal(size=(8, 2560))
    places = np.random.default_rng(1).uniform(size=(8, 3))
    assert (network(signals, places, [4.0, 5.0, 3.0]).radius_90 >= 0.3).all()
    text = (tmp_path / "out" / "README.md").read_text()
    for told in (
        "MAE 0.250 m, 89.0 % within their radii, 0.50 m in the",
        "clocks 2 ms",
    ):
        assert told in text
    assert "    uld_jax train --config=l1\n" in text
    assert "Radii are counted on 12 validation sources" in text
    assert "Simulated rooms with exact walls" in text
    card_lib.share(tmp_path / "out", tmp_path / "again", "MIT")
    before, after = card_of(tmp_path / "out"), card_of(tmp_path / "again")
    for key in ("tested", "command", "conditions"):
        assert before[key] == after[key]


def test_results_in_furnished_rooms_have_titles_of_their_own(runs, tmp_path):
    run, _ = runs["encoder_decoder"]
    tested = make_tested(tmp_path / "tested", run)
    one = {"name": "clock_offset", "value": 0.002, "mae": 0.5, "median": 0.4}
    found = [one, one | {"rooms": "bare"}, one | {"rooms": "furnished"}]
    (tested / "conditions.json").write_text(json.dumps({"conditions": found}))
    out = tmp_path / "out"
    call(share, run=run, out=out, tested=tested)
    titles = [condition["title"] for condition in card_of(out)["conditions"]]
    assert titles == ["clocks 2 ms", "clocks 2 ms", "clocks 2 ms, furnished"]


def test_the_test_of_other_weights_is_refused(runs, tmp_path):
    run, _ = runs["encoder_decoder"]
    for number, changes in enumerate(({"init": {"parameters": "0"}}, {"init": None})):
        tested = make_tested(tmp_path / f"tested{number}", run, **changes)
        with pytest.raises(card_lib.ShareError, match="a network of other parameters"):
            card_lib.share(run, tmp_path / "out", tested=tested)
    exact = make_tested(tmp_path / "exact", run)
    with pytest.raises(card_lib.ShareError, match="a network of other parameters"):
        card_lib.share(run, tmp_path / "out", half=True, tested=exact)
    assert not (tmp_path / "out").exists()
