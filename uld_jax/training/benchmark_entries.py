"""Networks, regressors, methods and labels that a benchmark is run for, by name or place.

`module:name` and `path/of/file.py:name` name what is not in the package. Everything is
tried on made-up input before any work.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from uld_jax import config as config_lib
from uld_jax.evaluation import benchmark_scores, predict
from uld_jax.labels import losses, schemes
from uld_jax.localization import methods
from uld_jax.networks import build, objective, spec

_GIVEN = {
    "num_nodes",
    "num_sources",
    "outputs_per_axis",
    "num_channels",
    "dtype",
    "rngs",
}
_KINDS = (bool, int, float, str)  # Of settings.
# Methods of compact arrays do not apply: the benchmark's nodes are scattered.
_METHODS = [name for name, one in methods.METHODS.items() if not one.needs_arrays]
_WITHOUT_ARGUMENTS = "cannot be called without arguments"
_COMPILED = "cannot be used in jax.jit and jax.vmap"
_TRIED_ROOM = (6.0, 4.5)
_TRIED = ((0.0, 0.0), (6.0, 4.5), (1.7, 3.2), (3.0, 2.25))  # Positions, corners too.

Batch = dict[str, np.ndarray]


@runtime_checkable
class Examples(Protocol):
    """Examples to fit a regressor to: each iteration is an epoch of batches.

    A batch has "audio" [B, M, N] float32, "node_positions" [B, M, 3],
    "source_positions" [B, S, 3] and "room_size" [B, 3], in meters. Batches of training are
    in another order each time.
    """

    def __len__(self) -> int:
        """Count the examples of an epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches of an epoch."""
        ...


@runtime_checkable
class Regressor(Protocol):
    """Anything that is fitted to examples and then predicts positions.

    `--network` names a class, or a function without arguments, that makes one for each
    seed. It need not use JAX, nor the label.
    """

    def fit(
        self, train: Examples, validation: Examples, label: schemes.Label, seed: int
    ) -> None:
        """Fit it to training examples."""
        ...

    def predict(self, batch: Batch) -> np.ndarray:
        """Predict positions (x, y) in meters, [B, S, 2]; there are no true ones."""
        ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network, regressor or method that takes part in a benchmark.

    Attributes:
        name: Its name in results.
        network: Name in `build.NETWORKS` of a network that is trained here; or None.
        make: Makes a regressor; None for a network.
        sources: Hash of the file of each part that is not in the package, by its place.
    """

    name: str
    network: str | None
    make: Callable[[], Regressor] | None
    sources: dict[str, str]


class Method:
    """A localization method without training, as a regressor.

    Args:
        name: One of `methods.METHODS`, for scattered nodes.
    """

    def __init__(self, name: str):
        self._name = name

    def fit(
        self, train: Examples, validation: Examples, label: schemes.Label, seed: int
    ) -> None:
        """Do nothing."""

    def predict(self, batch: Batch) -> np.ndarray:
        """Localize one source."""
        return np.asarray(predict.method_predictor(self._name, 1)(batch))


def find_network(place: str) -> Entry:
    """Find a network, a method or a regressor.

    Args:
        place: Name of a network or method of the package, or the place of a class of
            Flax's NNX, of a `NetworkSpec`, or of what makes a `Regressor`.

    Raises:
        BenchmarkError: If there is none, or it is nothing of these.
    """
    if place in _networks():
        return Entry(place, place, None, {})
    if place in _METHODS:
        return Entry(place, None, lambda: Method(place), {})
    if ":" not in place:
        raise benchmark_scores.BenchmarkError(
            f"--network: no network or method {place!r} for scattered nodes; there are "
            f"{', '.join([*_networks(), *_METHODS])}; or name your own as "
            "FILE.py:CLASS or MODULE:CLASS"
        )
    found, sources = _load(place, "--network")
    if isinstance(found, spec.NetworkSpec):
        return _enter(found, place, sources)
    if inspect.isclass(found) and issubclass(found, nnx.Module):
        return _enter(_spec_of(found, place), place, sources)
    makes = inspect.isclass(found) or inspect.isfunction(found)
    if inspect.isclass(found) and not _is_regressor(found):
        makes = False
    if not makes:
        raise benchmark_scores.BenchmarkError(
            f"--network: {place!r} is neither a class of flax.nnx.Module, nor a "
            "NetworkSpec, nor a class with fit and predict, nor a function that returns "
            "such an object"
        )
    return Entry(getattr(found, "__name__", place), None, _maker(found, place), sources)


def find_label(place: str, resolution: int) -> tuple[str, dict[str, str]]:
    """Find a label, try it, and enter one from elsewhere among the schemes.

    Args:
        place: Name of a scheme, or the place of a `Scheme`, of an object or class with
            `encode` and `decode`, or of a function that returns one of these.
        resolution: Cells per axis I to try it at.

    Returns:
        The name of the scheme, and the hash of its file by its place, if it has one.

    Raises:
        BenchmarkError: If there is none, or it is not a label.
    """
    if place in schemes.SCHEMES:
        return place, {}
    if ":" not in place:
        raise benchmark_scores.BenchmarkError(
            f"--label: no label {place!r}; there are {', '.join(schemes.SCHEMES)}; or "
            "name your own as FILE.py:NAME or MODULE:NAME"
        )
    found, sources = _load(place, "--label")
    name = place.rpartition(":")[2].lower()
    if inspect.isfunction(found):
        found = _call(found, f"--label: {place!r} {_WITHOUT_ARGUMENTS}")
    if name in schemes.SCHEMES:
        raise benchmark_scores.BenchmarkError(
            f"--label: {place!r} has the name of the label {name!r} of the package; "
            "rename it"
        )
    scheme = (
        found if isinstance(found, schemes.Scheme) else _pair(found, place, resolution)
    )
    _try_label(scheme, place, resolution)
    schemes.SCHEMES[name] = scheme
    return name, sources


def check_network(
    entry: Entry, config: config_lib.ConfigDict, num_nodes: int, num_samples: int
) -> dict[str, Any]:
    """Build a network and compute the shape of its output, before any data are made.

    Args:
        entry: With a network.
        config: Settings, resolved.
        num_nodes: Nodes M of the data.
        num_samples: Samples N of a signal.

    Returns:
        As `build.describe`.

    Raises:
        BenchmarkError: If it cannot be built or called, or its output has another shape.
    """
    label = schemes.Label(config.label.scheme, config.label.resolution)
    settings = config_lib.to_dict(config.model)
    shapes = {"audio": (1, num_nodes, num_samples), "room_size": (1, 3)}
    shapes["node_positions"] = (1, num_nodes, 3)
    batch = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()
    }
    try:
        model = build.for_label(settings, label, num_nodes, 1, seed=0)
        inputs = jax.eval_shape(
            lambda one: objective.inputs_of(model, label, one), batch
        )
        found = nnx.eval_shape(lambda network, given: network(*given), model, inputs)
        described = build.describe(model, label, num_nodes, num_samples)
    except Exception as error:  # Whatever somebody else's code raises.
        raise benchmark_scores.BenchmarkError(
            f"--network: {entry.name!r} cannot be built and called: "
            f"{type(error).__name__}: {error}"
        ) from error
    expected = (1, 1, label.num_outputs)
    if getattr(found, "shape", None) != expected:
        raise benchmark_scores.BenchmarkError(
            f"--network: the output of {entry.name!r} has shape "
            f"{getattr(found, 'shape', None)}; the label needs [B, S, E] = {expected}"
        )
    return described


def _networks() -> list[str]:
    """List the networks for scattered nodes: those without settings of arrays."""
    return [
        name for name, one in build.NETWORKS.items() if "arrays" not in one.settings
    ]


def _enter(found: spec.NetworkSpec, place: str, sources: dict[str, str]) -> Entry:
    """List a network among those of the package, for this process."""
    if found.name in build.NETWORKS and build.NETWORKS[found.name] != found:
        raise benchmark_scores.BenchmarkError(
            f"--network: {place!r} has the name of the network {found.name!r} of the "
            "package; rename it"
        )
    build.NETWORKS[found.name] = found
    return Entry(found.name, found.name, None, sources)


def _spec_of(network: type[nnx.Module], place: str) -> spec.NetworkSpec:
    """Make the specification of a class from the arguments of its constructor."""
    parameters = dict(inspect.signature(network.__init__).parameters)
    parameters.pop("self", None)
    settings = {}
    for name, parameter in parameters.items():
        if name in _GIVEN or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if not isinstance(parameter.default, _KINDS):
            raise benchmark_scores.BenchmarkError(
                f"--network: the argument {name!r} of {place!r} needs a default that is a "
                f"number, a text, True or False; {', '.join(sorted(_GIVEN))} are given"
            )
        settings[name] = parameter.default
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if missing := sorted(_GIVEN - parameters.keys()) if not takes_any else []:
        raise benchmark_scores.BenchmarkError(
            f"--network: the constructor of {place!r} lacks {', '.join(missing)}"
        )
    return spec.NetworkSpec(network.__name__.lower(), network, settings)


def _is_regressor(found: object) -> bool:
    return all(callable(getattr(found, name, None)) for name in ("fit", "predict"))


def _maker(found: Callable[[], Any], place: str) -> Callable[[], Regressor]:
    """Check that a regressor is made, once, and return what makes one."""

    def make() -> Regressor:
        made = _call(found, f"--network: {place!r} {_WITHOUT_ARGUMENTS}")
        if not _is_regressor(made):
            raise benchmark_scores.BenchmarkError(
                f"--network: {place!r} returns {type(made).__name__}, which has no fit "
                "and predict"
            )
        return made

    make()
    return make


def _call(found: Callable[[], Any], complaint: str) -> Any:
    try:
        return found()
    except Exception as error:  # Whatever somebody else's code raises.
        raise benchmark_scores.BenchmarkError(
            f"{complaint}: {type(error).__name__}: {error}"
        ) from error


def _pair(found: Any, place: str, resolution: int) -> schemes.Scheme:
    """Make a scheme of an encoder and a decoder: a distribution with cross entropy."""
    encode, decode = (getattr(found, name, None) for name in ("encode", "decode"))
    if not (callable(encode) and callable(decode)):
        raise benchmark_scores.BenchmarkError(
            f"--label: {place!r} has no functions encode(position, room_size, resolution) "
            "and decode(scores, room_size)"
        )
    shape = np.shape(
        _call(
            lambda: encode(jnp.array(_TRIED[2]), jnp.array(_TRIED_ROOM), resolution),
            f"--label: {place!r} {_COMPILED}",
        )
    )
    if len(shape) != 2 or shape[0] != shape[1]:
        raise benchmark_scores.BenchmarkError(
            f"--label: {place!r} encodes a position as {list(shape)}; a pair of encode "
            "and decode needs [K, K], rows y and columns x: give a schemes.Scheme for "
            "another shape"
        )
    return schemes.Scheme(
        encode=encode,
        activation=schemes.softmax,
        loss=losses.cross_entropy,
        decode=decode,
        extra_points=shape[0] - resolution,
        soft=True,
    )


def _try_label(scheme: schemes.Scheme, place: str, resolution: int) -> None:
    """Encode and decode some positions as training does: compiled, many at once."""
    positions = jnp.array(_TRIED)
    room_size = jnp.array(_TRIED_ROOM)

    def encode(position):
        return scheme.encode(position, room_size, resolution)

    complaint = f"--label: {place!r} {_COMPILED}"
    code = _call(lambda: jax.jit(jax.vmap(encode))(positions), complaint)
    K = resolution + scheme.extra_points
    expected = (K, K) if scheme.channels == 1 else (scheme.channels, K, K)
    if code.shape[1:] != expected:
        raise benchmark_scores.BenchmarkError(
            f"--label: {place!r} encodes a position as {list(code.shape[1:])}; its scheme "
            f"says {list(expected)}"
        )
    decode = jax.jit(jax.vmap(lambda one: scheme.decode(one, room_size)))
    found = _call(lambda: decode(code), complaint)
    if found.shape != (len(_TRIED), 2) or not jnp.isfinite(found).all():
        raise benchmark_scores.BenchmarkError(
            f"--label: {place!r} decodes its own labels of {list(map(list, _TRIED))} to "
            f"{np.asarray(found).tolist()}; it must be one finite (x, y) each"
        )
    sums = np.asarray(code.reshape(len(_TRIED), -1).sum(axis=-1))
    if scheme.soft and not np.allclose(sums, 1.0, atol=1e-4):
        raise benchmark_scores.BenchmarkError(
            f"--label: the labels of {place!r} sum to {sums.round(4).tolist()}; those of a "
            "distribution must sum to 1"
        )


def _load(place: str, flag: str) -> tuple[Any, dict[str, str]]:
    """Load what a place names, and hash its file."""
    where, _, name = place.rpartition(":")
    try:
        module = _module(where)
    except ModuleNotFoundError as error:
        raise benchmark_scores.BenchmarkError(f"{flag}: {where!r}: {error}") from error
    except Exception as error:  # Whatever somebody else's code raises.
        raise benchmark_scores.BenchmarkError(
            f"{flag}: {where!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, name):
        raise benchmark_scores.BenchmarkError(f"{flag}: {where!r} has no {name!r}")
    hashes = {}
    if file := getattr(module, "__file__", None):
        content = pathlib.Path(file).read_bytes()
        hashes[f"{pathlib.Path(file).name}:{name}"] = hashlib.sha256(
            content
        ).hexdigest()
    return getattr(module, name), hashes


def _module(where: str) -> ModuleType:
    """Import a file or a module."""
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = pathlib.Path(where).expanduser()
    if not path.is_file():
        raise ModuleNotFoundError("there is no such file")
    name = f"uld_jax_benchmark_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # Before it runs: dataclasses look their module up.
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
