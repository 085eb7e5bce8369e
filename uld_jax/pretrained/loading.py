"""Load trained networks, of a run or from shared weights, and localize with them."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

import uld_jax
from uld_jax.labels import boxes, schemes
from uld_jax.networks import build, objective
from uld_jax.pretrained import uncertainty, weights
from uld_jax.runtime import errors, jax_setup
from uld_jax.storage import checkpoints, integrity

_ARGUMENTS = {"audio": "signals", "node_mask": "mask"}  # Of fields of a batch.
_ITEMS = ("params", "statistics")
# The experiment L-1, whose data sets store no recipe.
_ANECHOIC = {"num_nodes": 8, "num_sources": 1, "num_samples": 2560}


class NetworkError(errors.InputError):
    """A trained network that cannot be loaded or cannot process its input."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Positions of sources, how sure they are, and the distributions they are from.

    Attributes:
        positions: (x, y) of S sources in meters, [S, 2], or [B, S, 2] for a batch.
        distribution: Scores of K x K cells or grid points for each source, rows y and
            columns x: [S, K, K] or [B, S, K, K]. With one-hot and ULD labels they are
            probabilities that sum to one; with the others, each is within 0 and 1.
        radius_90: Meters around each position that hold 90 % of the errors in rooms like
            those the network was validated in, [S] or [B, S]. Of a network whose record
            does not say how large errors are, those of its distribution.

    >>> import numpy as np
    >>> import uld_jax
    >>> label = uld_jax.Label("uld", resolution=2)
    >>> distribution = np.asarray(label.encode(np.array([1.0, 2.0]), np.array([4.0, 4.0])))
    >>> found = uld_jax.Prediction(
    ...     np.array([[1.0, 2.0]]), distribution[None], np.array([0.3])
    ... )
    >>> found.distribution[0].round(2).tolist()  # Halfway between two grid points.
    [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    >>> print(found)
    (1.00, 2.00) m, 90 % within 0.30 m
    """

    positions: Float[Array | np.ndarray, "*B S 2"]
    distribution: Float[Array | np.ndarray, "*B S K K"]
    radius_90: Float[Array | np.ndarray, "*B S"]

    def __str__(self):
        places = np.asarray(self.positions).reshape(-1, 2)
        return "\n".join(
            f"({x:.2f}, {y:.2f}) m, 90 % within {radius:.2f} m"
            for (x, y), radius in zip(places, np.ravel(self.radius_90), strict=True)
        )


class Network:
    """A trained network: call it with the signals of a room's nodes.

    Get one from `load_network`; or give it a module of your own, trained or not.

    Args:
        model: A network of `networks.build`.
        label: The label that it predicts.
        num_nodes: Nodes of its training examples.
        num_sources: Sources that it finds.
        record: The record of its run.

    Attributes:
        record: The record of its run: settings, data, test results.
        label: Its label: scheme and resolution.
        num_nodes: Nodes of its training examples.
        num_sources: Sources that it finds.

    >>> import numpy as np
    >>> import uld_jax
    >>> from uld_jax.networks import build
    >>> settings = dict(uld_jax.load_config("ad1:tiny").model)
    >>> label = uld_jax.Label("uld", resolution=4)
    >>> model = build.for_label(settings, label, num_nodes=3, num_sources=1, seed=0)
    >>> network = uld_jax.Network(model, label, num_nodes=3, num_sources=1)
    >>> signals = np.random.default_rng(0).normal(size=(3, 8000))
    >>> nodes = [[0.5, 0.5, 0.9], [5.5, 0.5, 0.9], [3.0, 4.0, 0.9]]
    >>> found = network(signals, nodes, room_size=[6.0, 4.5, 2.8])
    >>> found.positions.shape, found.distribution.shape, found.radius_90.shape
    ((1, 2), (1, 5, 5), (1,))
    """

    def __init__(
        self,
        model: nnx.Module,
        label: schemes.Label,
        num_nodes: int,
        num_sources: int,
        record: dict[str, Any] | None = None,
    ):
        self.record: dict[str, Any] = record or {}
        self.label: schemes.Label = label
        self.num_nodes: int = num_nodes
        self.num_sources: int = num_sources
        spec = build.spec_of(model)
        self._least_nodes = spec.least_nodes if spec else 1
        graph, *parts = nnx.split(model, nnx.Param, ...)
        self._arrays = tuple(map(nnx.to_pure_dict, parts))

        table = self.record.get("radii")

        def predict(params, statistics, batch):
            outputs = compute_outputs(graph, label, params, statistics, batch)
            return answer(label, outputs, batch, table)

        self._predict = jax.jit(predict)

    def __call__(
        self,
        signals: ArrayLike,
        node_positions: ArrayLike,
        room_size: ArrayLike,
        mask: ArrayLike | None = None,
    ) -> Prediction:
        """Localize the sources of one recording or of a batch.

        Args:
            signals: Recordings at 16 kHz on one clock, of any level: [M, N] of M nodes,
                or [B, M, N]. The closer N is to the length in training, the better.
            node_positions: Node positions in meters, [M, 3] or [B, M, 3].
            room_size: Sides along x, y, z in meters, [3] or [B, 3].
            mask: True where a node is present, [M] or [B, M]; None for all. Signals and
                positions of absent nodes have no influence.

        Returns:
            Positions, distributions and radii, with an axis B if `signals` has one.

        Raises:
            NetworkError: If shapes do not agree, the network needs another number of
                nodes or nodes at different positions, a node is outside the room,
                signals are too short, or a value is not finite.
        """
        batch = {
            "audio": np.asarray(signals),
            "node_positions": np.asarray(node_positions, np.float32),
            "room_size": np.asarray(room_size, np.float32),
        }
        if mask is not None:
            batch["node_mask"] = np.asarray(mask, bool)
        single = batch["audio"].ndim == 2
        if single:
            batch = {name: array[None] for name, array in batch.items()}
        _check(batch)
        _check_nodes(batch, self._least_nodes)
        if batch["audio"].dtype.kind == "f":
            batch["audio"] = batch["audio"].astype(np.float32)
        try:
            found = self._predict(*self._arrays, batch)
        except ValueError as error:  # Too short signals, or another number of nodes.
            raise NetworkError(str(error)) from None
        return Prediction(*(array[0] if single else array for array in found))


def _check(batch: dict[str, np.ndarray]) -> None:
    """Raise unless a batch has consistent shapes and finite values."""
    shape, mask = batch["audio"].shape, batch.get("node_mask")
    if len(shape) != 3 or 0 in shape:
        raise NetworkError(f"signals has shape {shape}; it must be [M, N] or [B, M, N]")
    size, num_nodes, _ = shape
    expected = {"node_positions": (size, num_nodes, 3), "room_size": (size, 3)}
    expected |= {} if mask is None else {"node_mask": (size, num_nodes)}
    for name, shape in expected.items():
        if batch[name].shape != shape:
            raise NetworkError(
                f"{_ARGUMENTS.get(name, name)} has shape {batch[name].shape}; with "
                f"these signals it must be {shape}"
            )
    present = np.ones((size, num_nodes), bool) if mask is None else mask
    for name in ("audio", "node_positions"):
        if not np.isfinite(batch[name][present]).all():
            raise NetworkError(
                f"{_ARGUMENTS.get(name, name)} has values that are not finite"
            )
    if not (np.isfinite(batch["room_size"]) & (batch["room_size"] > 0)).all():
        raise NetworkError(
            f"room_size is {batch['room_size'].tolist()}; sides must be above 0"
        )


def _check_nodes(batch: dict[str, np.ndarray], least_nodes: int) -> None:
    """Raise unless nodes are in their rooms, and enough of them at different positions."""
    positions, sides = batch["node_positions"], batch["room_size"]
    mask = batch.get("node_mask", np.ones(positions.shape[:2], bool))
    for index, (present, points) in enumerate(zip(mask, positions, strict=True)):
        try:
            boxes.check_positions(points[present, :2], sides[index, :2])
        except ValueError as error:
            raise NetworkError(
                f"node_positions of recording {index}: {error}"
            ) from None
        count = len(np.unique(points[present], axis=0))
        if count < least_nodes:
            raise NetworkError(
                f"recording {index} has nodes at {count} positions; this network needs "
                f"at least {least_nodes}"
            )


def load_network(folder: str | pathlib.Path) -> Network:
    """Load the trained network of a finished run or of shared weights.

    Args:
        folder: Folder of the run, or of the weights that `uld_jax share` wrote; or the
            name of a network that comes with the package, as `uld_jax weights list` has
            them, where there is no such folder.

    Returns:
        The network of the run's best epoch.

    Raises:
        RecordError: If there is no finished run of a network.
        WeightsError: If shared weights are damaged or of a newer format, or if nothing
            has this name.
        CheckpointError: If the run's checkpoint is damaged.
        NetworkError: If only the record was kept, or the network cannot be built.

    >>> import uld_jax
    >>> network = uld_jax.load_network("l1_uld")
    >>> network.num_nodes, network.label.scheme, network.label.resolution
    (8, 'uld', 5)
    >>> try:
    ...     network = uld_jax.load_network("runs/ad1")
    ... except ValueError as error:  # There is no such folder here.
    ...     print(error)
    load_network: 'runs/ad1' is not the folder of a run; it does not exist
    """
    jax_setup.configure()
    run = weights.read_run(folder, "load_network")
    facts = training_data(run)
    num_nodes, num_sources = facts["num_nodes"], facts["num_sources"]
    *parts, label = restore_network(run, num_nodes, num_sources)
    return Network(nnx.merge(*parts), label, num_nodes, num_sources, run)


def training_data(run: dict[str, Any]) -> dict[str, Any]:
    """Look up `num_nodes`, `num_sources` and `num_samples` of a run's training data.

    Args:
        run: A record of a network's run.
    """
    data = run["data"]
    return data.get("rendering", data).get("law") or _ANECHOIC


def restore_network(
    run: dict[str, Any], num_nodes: int, num_sources: int
) -> tuple[nnx.GraphDef, dict[str, Any], dict[str, Any], schemes.Label]:
    """Restore the network of a run's best epoch.

    Args:
        run: A record, as `weights.read_run` returns it.
        num_nodes: Nodes of the data it was trained on.
        num_sources: Sources of the data it is to be used on.

    Returns:
        Its graph, parameters, running means and label.

    Raises:
        NetworkError: If only the record was kept, if the network is for another number
            of sources, if it cannot be built, or if it was trained on other evidence
            (records of before formats were noted are not checked).
        CheckpointError: If it is damaged.
        WeightsError: If shared weights are damaged.
    """
    folder, settings = run["folder"], run["settings"]
    arrays = arrays_of(run)
    if arrays is None:
        raise NetworkError(
            f"{folder!r} holds no network of epoch {run['best_epoch']}, its best; only "
            "its record was kept"
        )
    try:
        label = build.make_label(settings["label"], settings["model"])
        # Shapes alone, because drawing parameters only to replace them takes time.
        model = nnx.eval_shape(
            lambda: build.for_label(
                settings["model"], label, num_nodes, num_sources, seed=0
            )
        )
    except (TypeError, ValueError) as error:
        made_by = run.get("versions", {}).get("uld-jax")
        raise NetworkError(
            f"the network in {folder!r} cannot be built: {error}; this is uld_jax "
            f"{uld_jax.__version__}, the network was trained with {made_by}, with the "
            "schemes and networks that its experiment may have added"
        ) from None
    expected = build.evidence_format(settings["model"]["name"])
    given = run.get("network", {}).get("evidence_format")
    if given is not None and given not in expected.values():
        raise NetworkError(
            f"the network in {folder!r} was trained on evidence of format {given}; "
            f"uld_jax {uld_jax.__version__} measures format "
            f"{expected.get('evidence_format')}: train it again"
        )
    graph, *parts = nnx.split(model, nnx.Param, ...)
    like = dict(zip(_ITEMS, map(nnx.to_pure_dict, parts), strict=True))
    items, misfits, unused = put(like, arrays)
    if lines := misfits + [f"{name}: not in this network" for name in unused]:
        raise NetworkError(
            f"the network in {folder!r} does not fit {num_sources} sources and its "
            f"settings in {len(lines)} arrays, as {lines[0]}"
        )
    return graph, items["params"], items["statistics"], label


def compute_outputs(
    graph: nnx.GraphDef,
    label: schemes.Label,
    params: dict[str, Any],
    statistics: dict[str, Any],
    batch: dict[str, Any],
    by_rows: Callable[..., Any] = lambda function: function,
) -> Float[Array, "B S D"]:
    """Compute a network's outputs for a batch, without dropout.

    Args:
        graph: Graph of the network.
        label: Scheme and resolution.
        params: Parameters.
        statistics: Running means.
        batch: A batch.
        by_rows: See `objective.inputs_of`.
    """
    model = nnx.merge(graph, params, statistics)
    model.eval()
    return model(*objective.inputs_of(model, label, batch, by_rows))


def decode(
    label: schemes.Label, outputs: Float[Array, "B S D"], batch: dict[str, Any]
) -> Float[Array, "B S 2"]:
    """Decode a network's outputs for a batch to positions in meters."""
    sources = jax.vmap(label.decode, (0, None))
    return jax.vmap(sources)(outputs, batch["room_size"][:, :2])


def planes(
    label: schemes.Label, outputs: Float[Array, "B S D"], batch: dict[str, Any]
) -> Float[Array, "B S K K"]:
    """Compute the distributions over the plan that a network's outputs mean, rows y."""

    def draw(one, room_size):
        return label.plane(label.scores(one), room_size)

    sources = jax.vmap(draw, (0, None))
    return jax.vmap(sources)(outputs, batch["room_size"][:, :2])


def answer(
    label: schemes.Label,
    outputs: Float[Array, "B S D"],
    batch: dict[str, Any],
    table: dict[str, Any] | None,
) -> tuple[Float[Array, "B S 2"], Float[Array, "B S K K"], Float[Array, "B S"]]:
    """Compute positions, distributions and radii from a network's outputs for a batch.

    Args:
        label: Scheme and resolution.
        outputs: Outputs of the network.
        batch: The batch.
        table: How large errors are, `radii` of the network's record; or None.
    """
    positions, distribution = (
        decode(label, outputs, batch),
        planes(label, outputs, batch),
    )
    spreads = spreads_of(label, distribution, positions, batch)
    return positions, distribution, uncertainty.radius(spreads, table)


def spreads_of(
    label: schemes.Label,
    distribution: Float[Array, "B S K K"],
    positions: Float[Array, "B S 2"],
    batch: dict[str, Any],
) -> Float[Array, "B S"]:
    """Compute how far distributions are spread around their positions, in meters."""

    def one_source(plane, position, room_size):
        return uncertainty.spread(label, plane, position, room_size)

    sources = jax.vmap(one_source, (0, 0, None))
    return jax.vmap(sources)(distribution, positions, batch["room_size"][:, :2])


def arrays_of(run: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Read the arrays of a run's best network, by name.

    Args:
        run: A record, as `weights.read_run` returns it.

    Returns:
        NumPy arrays; None if only the run's record was kept.

    Raises:
        CheckpointError: If the checkpoint is damaged.
        WeightsError: If shared weights are damaged.
    """
    folder = pathlib.Path(run["folder"])
    if "card" in run:
        return weights.read_arrays(folder, run["card"])
    saved = checkpoints.read_arrays(folder, run["best_epoch"], _ITEMS)
    return None if saved is None else integrity.by_name(saved)


def put(
    items: dict[str, Any],
    arrays: dict[str, np.ndarray],
    skip: Collection[str] = (),
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Replace a network's arrays by those of the same names, types and shapes.

    Args:
        items: "params" and "statistics" of a network, or their shapes alone.
        arrays: Arrays of another network by name.
        skip: Parts of the network that keep their arrays.

    Returns:
        The items; a line on each array that was kept, with the reason; and the names
        of the other network's arrays that this one lacks.
    """
    values, kept, others = [], [], dict(arrays)
    for name, leaf in integrity.by_name(items).items():
        other = others.pop(name, None)
        if reason := _misfit(other, leaf):
            kept.append(f"{name}: {reason}")
        elif name.split("/")[1] in skip:
            kept.append(f"{name}: of another label")
        else:
            leaf = other
        is_shape = isinstance(leaf, jax.ShapeDtypeStruct)
        values.append(leaf if is_shape else jax.numpy.array(leaf))
    whole = jax.tree.unflatten(jax.tree.structure(items), values)
    return whole, kept, sorted(others)


def _misfit(
    other: np.ndarray | None, leaf: jax.Array | np.ndarray | jax.ShapeDtypeStruct
) -> str:
    """Explain why an array cannot replace another; "" if it can."""
    if other is None:
        return f"not there -> {list(leaf.shape)}"
    if other.dtype != leaf.dtype:
        return f"{other.dtype} {list(other.shape)} -> {leaf.dtype} {list(leaf.shape)}"
    if other.shape != leaf.shape:
        return f"{list(other.shape)} -> {list(leaf.shape)}"
    return ""
