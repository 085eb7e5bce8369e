"""What takes part in a benchmark is found by its place, and tried before any work."""

import textwrap

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from uld_jax import config as config_lib
from uld_jax.evaluation import benchmark_scores
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.training import benchmark, benchmark_entries

EXAMPLES = ROOT / "docs" / "examples"
NETWORK = """
import jax.numpy as jnp
from flax import nnx

class Network(nnx.Module):
    def __init__(self, *, num_nodes, num_sources, outputs_per_axis, num_channels,
                 dtype, rngs, width: int = 3):
        self.outputs = num_channels * outputs_per_axis**2
        self.head = nnx.Linear(self.outputs, self.outputs, rngs=rngs)

    def __call__(self, features, codes, mask=None, rngs=None):
        return self.head(codes.mean(axis=1))[:, None]

class Flat(Network):
    def __call__(self, features, codes, mask=None, rngs=None):
        return codes.mean(axis=1)

class Failing(Network):
    def __call__(self, features, codes, mask=None, rngs=None):
        raise RuntimeError("not today")

class NoDefault(nnx.Module):
    def __init__(self, *, depth, **given):
        pass

class TooFew(nnx.Module):
    def __init__(self, *, num_nodes, rngs):
        pass

class Nothing:
    pass

def make_nothing():
    return Nothing()

def needs_one(argument):
    return Nothing()

number = 5
"""
LABELS = """
import numpy as np
import jax.numpy as jnp
from uld_jax.labels import schemes

class NoPair:
    pass

class OneAxis:
    encode = staticmethod(lambda position, room_size, resolution: jnp.ones(resolution))
    decode = staticmethod(lambda scores, room_size: jnp.zeros(2))

class Untraceable:
    @staticmethod
    def encode(position, room_size, resolution):
        code = np.zeros((resolution, resolution))
        code[int(position[1] > 1), int(position[0] > 1)] = 1.0
        return code
    decode = staticmethod(lambda scores, room_size: jnp.zeros(2))

class Heavy:
    @staticmethod
    def encode(position, room_size, resolution):
        return jnp.ones((resolution, resolution))
    decode = staticmethod(lambda scores, room_size: jnp.zeros(2))

class Lost(Heavy):
    @staticmethod
    def encode(position, room_size, resolution):
        return jnp.ones((resolution, resolution)) / resolution**2
    decode = staticmethod(lambda scores, room_size: jnp.full(2, jnp.nan))

def coded():
    return schemes.SCHEMES["refined_grid"]

one_hot = schemes.SCHEMES["one_hot"]
"""


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Undo what the entries add to the tables."""
    monkeypatch.setattr(build, "NETWORKS", dict(build.NETWORKS))
    monkeypatch.setattr(schemes, "SCHEMES", dict(schemes.SCHEMES))


@pytest.fixture
def place(tmp_path):
    """Write a file, and name what is in it."""
    for name, text in (("network", NETWORK), ("label", LABELS)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    return lambda file, name: f"{tmp_path / file}.py:{name}"


def settled(entry, scheme="uld", **overrides):
    config = config_lib.default("adhoc")
    config.data.name = "simulated/benchmark_tiny:1.0.0"
    config.data.update(source="compact", speech="builtin", nodes_in_training=2)
    config.label.resolution = 3
    config.update_from_flattened_dict(overrides)
    return benchmark.settle(config, entry, scheme)


def test_a_class_becomes_a_network_with_its_own_settings(place):
    entry = benchmark_entries.find_network(place("network", "Network"))
    assert entry.network == "network" and entry.make is None
    assert list(entry.sources) == ["network.py:Network"]
    config = settled(entry)
    assert config.model.width == 3 and config.model.name == "network"
    assert config.data.nodes_in_training is None  # It is built for all nodes.
    described = benchmark_entries.check_network(entry, config, 4, 8000)
    assert described["parameters"] == 16 * 17


def test_names_of_the_package_keep_the_experiments_settings():
    entry = benchmark_entries.find_network("adhoc")
    config = settled(entry, **{"model.width": 8})
    assert config.model.width == 8 and config.data.nodes_in_training == 2
    assert entry.sources == {}


def test_a_method_is_a_regressor():
    entry = benchmark_entries.find_network("srp_phat")
    assert entry.network is None
    assert isinstance(entry.make(), benchmark_entries.Regressor)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoDefault", "'depth' of .* needs a default"),
        ("TooFew", "lacks dtype, num_channels, num_sources, outputs_per_axis"),
        ("Nothing", "neither a class of flax.nnx.Module"),
        ("make_nothing", "returns Nothing, which has no fit and predict"),
        ("needs_one", "cannot be called without arguments: TypeError"),
        ("number", "neither a class of flax.nnx.Module"),
        ("Missing", "has no 'Missing'"),
    ],
)
def test_what_is_no_network_is_refused(place, name, message):
    with pytest.raises(benchmark_scores.BenchmarkError, match=message):
        benchmark_entries.find_network(place("network", name))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adhok", "no network or method 'adhok' .* there are encoder_decoder"),
        (
            "music",
            "'music' for scattered nodes; there are .*srp_phat, tdoa_ls; or name",
        ),
        ("stage_wise", "no network or method 'stage_wise' for scattered nodes"),
        ("directions", "no network or method 'directions' for scattered nodes"),
        ("nowhere.py:Network", "there is no such file"),
        ("no_such_module_at_all:Network", "No module named"),
    ],
)
def test_places_that_do_not_exist_are_refused(given, message):
    with pytest.raises(benchmark_scores.BenchmarkError, match=message):
        benchmark_entries.find_network(given)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Flat", r"has shape \(1, 16\); the label needs \[B, S, E\] = \(1, 1, 16\)"),
        ("Failing", "cannot be built and called: RuntimeError: not today"),
    ],
)
def test_networks_are_called_before_any_work(place, name, message):
    entry = benchmark_entries.find_network(place("network", name))
    with pytest.raises(benchmark_scores.BenchmarkError, match=message):
        benchmark_entries.check_network(entry, settled(entry), 4, 8000)


def test_a_pair_becomes_a_label():
    place = f"{EXAMPLES / 'benchmark_label.py'}:Gaussian"
    name, sources = benchmark_entries.find_label(place, resolution=5)
    assert name == "gaussian" and list(sources) == ["benchmark_label.py:Gaussian"]
    label = schemes.Label(name, 5)
    assert label.shape == (5, 5)
    code = label.encode([2.0, 3.0], [6.0, 5.0])
    np.testing.assert_allclose(code.sum(), 1.0, rtol=1e-5)
    found = label.decode(jnp.log(code).ravel(), [6.0, 5.0])
    np.testing.assert_allclose(found, [2.0, 3.0], atol=0.1)


def test_a_function_may_return_a_scheme(place):
    name, _ = benchmark_entries.find_label(place("label", "coded"), 4)
    assert schemes.Label(name, 4).shape == (3, 4, 4)
    assert benchmark_entries.find_label("soft", 4) == ("soft", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoPair", "has no functions encode"),
        ("OneAxis", r"encodes a position as \[4\]"),
        ("Untraceable", "cannot be used in jax.jit and jax.vmap"),
        ("Heavy", "sum to"),
        ("Lost", "one finite"),
        ("one_hot", "has the name of the label 'one_hot'"),
    ],
)
def test_what_is_no_label_is_refused(place, name, message):
    with pytest.raises(benchmark_scores.BenchmarkError, match=message):
        benchmark_entries.find_label(place("label", name), 4)


def test_other_data_are_refused(place):
    entry = benchmark_entries.find_network("adhoc")
    with pytest.raises(benchmark_scores.BenchmarkError, match="not a data set of the"):
        settled(entry, **{"data.name": "simulated/ad1_tiny:1.0.0"})
    with pytest.raises(benchmark_scores.BenchmarkError, match="splits are fixed"):
        settled(entry, **{"data.source": "fresh"})
