"""Loaded networks find what evaluation finds, and refuse what they cannot process."""

import pathlib

import numpy as np
import pytest
from saved_networks import make_run
from test_card import batch_of

import uld_jax
from uld_jax.evaluation import evaluate, predict
from uld_jax.networks import evidence
from uld_jax.pretrained import card, loading, weights
from uld_jax.simulation import recipes


@pytest.fixture(scope="module", params=["encoder_decoder", "adhoc", "multilateration"])
def run(request, tmp_path_factory):
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run") / request.param
    return make_run(folder, request.param)


@pytest.fixture(scope="module")
def network(run):
    return uld_jax.load_network(run)


@pytest.fixture(scope="module")
def batch():
    """Return a batch whose signals are long enough for all networks."""
    rng = np.random.default_rng(2)
    audio = (3000 * rng.normal(size=(3, 8, 4000))).astype(np.int16)
    return batch_of(rng) | {"audio": audio}


def call(network, batch, mask=None):
    return network(
        batch["audio"], batch["node_positions"], batch["room_size"], mask=mask
    )


def test_predictions_are_those_of_evaluation(run, network, batch):
    found = call(network, batch)
    record = weights.read_run(run, "--run")
    step = evaluate.network_step(record, 8, 1)
    expected = step(batch)["predicted"]
    np.testing.assert_allclose(found.positions, expected, rtol=0, atol=1e-5)
    restored = loading.restore_network(record, 8, 1)
    graph, params, statistics, label = restored
    planes = predict.distributions(graph, label, params, statistics, batch)
    np.testing.assert_allclose(found.distribution, planes, rtol=0, atol=1e-5)
    assert network.label == label
    assert (network.num_nodes, network.num_sources) == (8, 1)
    assert network.record["test"] == record["test"]


def test_positions_are_decoded_from_the_distribution_beside_them(network, batch):
    found = call(network, batch)
    assert network.label.scheme == "uld"
    for number, room in enumerate(batch["room_size"]):
        decoded = uld_jax.decode_wad(found.distribution[number, 0], room[:2])
        np.testing.assert_allclose(found.positions[number, 0], decoded, atol=1e-5)


def test_one_recording_is_a_batch_of_one(network, batch):
    one = {name: array[1].tolist() for name, array in batch.items()}
    found, expected = call(network, one), call(network, batch)
    np.testing.assert_allclose(found.positions, expected.positions[1], atol=1e-5)
    np.testing.assert_allclose(found.distribution, expected.distribution[1], atol=1e-6)


def test_the_level_of_recordings_has_no_influence(network, batch):
    quiet = batch | {"audio": batch["audio"] / 2**15}
    np.testing.assert_allclose(
        call(network, quiet).positions, call(network, batch).positions, atol=1e-4
    )


def test_shared_weights_are_loaded_like_the_run(run, network, batch, tmp_path):
    card.share(run, tmp_path / "shared")
    shared = uld_jax.load_network(tmp_path / "shared")
    for one, other in zip(
        vars(call(shared, batch)).values(),
        vars(call(network, batch)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.exact
def test_absent_nodes_have_no_influence(network, batch):
    mask = np.ones((3, 8), bool)
    mask[:, 5] = False
    if network.record["settings"]["model"]["name"] == "encoder_decoder":
        with pytest.raises(loading.NetworkError, match="mask"):
            call(network, batch, mask)
        return
    expected = call(network, batch, mask)
    changed = {name: np.array(array, np.float32) for name, array in batch.items()}
    changed["audio"][:, 5] = changed["node_positions"][:, 5] = np.nan
    found = call(network, changed, mask)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.distribution, expected.distribution)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("audio", lambda a: a[0, 0], r"signals has shape \(4000,\)"),
        ("audio", lambda a: a[..., :256], r"too short for the STFT|at least 961"),
        (
            "audio",
            lambda a: np.full(a.shape, np.nan),
            "signals has values that are not",
        ),
        ("node_positions", lambda a: a[..., :2], r"must be \(3, 8, 3\)"),
        ("node_positions", lambda a: a * np.inf, "node_positions has values"),
        ("room_size", lambda a: a[0], r"room_size has shape \(3,\)"),
        ("room_size", lambda a: -a, "sides must be above 0"),
        ("room_size", lambda a: a / 2, r"recording 0: position .* is not inside"),
    ],
)
def test_bad_input_is_refused(network, batch, name, change, message):
    with pytest.raises(loading.NetworkError, match=message):
        call(network, batch | {name: change(batch[name])})


def test_a_network_of_fixed_nodes_refuses_others(network, batch):
    fewer = batch | {name: batch[name][:, :5] for name in ("audio", "node_positions")}
    if network.record["settings"]["model"]["name"] != "encoder_decoder":
        assert call(network, fewer).positions.shape == (3, 1, 2)
        return
    with pytest.raises(loading.NetworkError, match="5 nodes given; this network has 8"):
        call(network, fewer)


def test_votes_need_nodes_at_three_positions(network, batch):
    if network.record["settings"]["model"]["name"] != "multilateration":
        assert network._least_nodes == 1
        return
    nodes = np.repeat(batch["node_positions"][:, :1], 8, axis=1)
    nodes[:, 0] = batch["node_positions"][:, 1]
    with pytest.raises(loading.NetworkError, match=r"at 2 positions; .* at least 3"):
        call(network, batch | {"node_positions": nodes})


def test_the_recipe_that_is_not_stored_is_that_of_l1():
    facts = loading.training_data({"data": {"name": "simulated/l1:1.0.0"}})
    for name, value in facts.items():
        assert getattr(recipes.L1, name) == value
    law = {"num_nodes": 30}
    assert loading.training_data({"data": {"rendering": {"law": law}}}) == law


def test_a_network_of_other_evidence_is_refused(run):
    record = weights.read_run(run, "--run")
    older = record | {"network": {"evidence_format": 2}}
    with pytest.raises(loading.NetworkError, match="evidence of format 2"):
        loading.restore_network(older, 8, 1)


def test_the_weights_of_the_package_are_of_the_evidence_that_it_measures():
    folder = pathlib.Path(weights.__file__).with_name("any_session")
    run = weights.read_run(folder, "weights")
    assert weights.read_arrays(folder, run["card"])
    assert run["network"]["evidence_format"] == evidence.FORMAT
