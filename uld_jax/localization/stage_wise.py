"""Stage-wise localization: directions by networks, their intersections, and a cluster.

Source: S. Liu, Y. Gong and X.-L. Zhang, "Deep learning based two-dimensional speaker
localization with large ad-hoc microphone arrays", arXiv 2210.10265 (reference 12). Each
array's network gives the azimuth in each part of a recording; the bearings of two arrays
meet in a point; and mean shift finds where these points are densest (K. Fukunaga and
L. Hostetler, "The estimation of the gradient of a density function", IEEE Trans. Inf.
Theory 21, 1975). It also chooses the nodes whose bearings are used; with the two arrays
of L-1 there is nothing to choose, so ours takes all pairs. The paper does not say how
long the parts are or how wide the kernel is: ours are 7 frames, as the input of the
author's published network, one frame apart, and a standard deviation of 0.1 m.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from uld_jax.labels import bearings, circular, schemes
from uld_jax.localization import batches, compact_arrays
from uld_jax.networks import objective
from uld_jax.pretrained import loading, weights

PART = 7  # Frames.
BANDWIDTH = 0.1  # Meters.
_NUM_SHIFTS = 50
_LEAST_DEVIATION = 0.002  # Radians.
_MOVED = 0.05  # Meters from the centers of training: more is another array.
# Sine of the angle between two bearings, below which they do not meet.
_PARALLEL = 1e-3


def load(folder: str, num_nodes: int) -> Callable:
    """Load the networks of a run, and make a method of them, as those of `methods`.

    Args:
        folder: Folder of a finished run of networks of directions, or of shared weights.
        num_nodes: Nodes of the recordings.

    Raises:
        RecordError: If there is no finished run of a network.
        RecordingError: If it is a run of another kind of network, or for another number
            of nodes.
        CheckpointError, WeightsError, NetworkError: As `loading.load_network`.
    """
    run = weights.read_run(folder, "--run")
    name = run["settings"]["model"]["name"]
    if run["settings"]["label"]["scheme"] not in schemes.OF_ARRAYS:
        raise batches.RecordingError(
            f"--run: {str(folder)!r} is a run of the network {name!r}; stage_wise needs "
            "one of directions: train it by --config=l1_azimuth"
        )
    expected = loading.training_data(run)["num_nodes"]
    if num_nodes != expected:
        raise batches.RecordingError(
            f"--run: the networks in {str(folder)!r} have {expected} nodes, and the "
            f"recordings {num_nodes}: train others by --config=l1_azimuth"
        )
    graph, params, statistics, label = loading.restore_network(run, num_nodes, 1)
    return make(nnx.merge(graph, params, statistics), label)


def make(model: nnx.Module, label: schemes.Label) -> Callable:
    """Make a method of networks of directions, as those of `methods`.

    It gives positions [B, 1, 2] and the radii [B, 1] that hold 90 %, both in meters.

    Args:
        model: A network of `networks.directions`.
        label: Its label.
    """
    model.eval()
    graph, state = nnx.split(model)
    arrays = np.asarray(label.arrays, np.float32)

    @jax.jit
    def locate_all(state, batch):
        model = nnx.merge(graph, state)
        found = find_directions(model, label, batch)
        gather = jax.vmap(cluster, (0, 0, None, 0))
        fix = gather(*found, arrays, batch["room_size"][:, :2])
        return fix.position[:, None], compact_arrays.radius(fix.covariance)[:, None]

    def localize(
        signals: Any,
        node_positions: Any,
        room_size: Any,
        mask: Any = None,
        num_sources: int = 1,
    ) -> tuple[Float[Array, "B 1 2"], Float[Array, "B 1"]]:
        if num_sources != 1:
            raise batches.RecordingError(
                f"num_sources is {num_sources}; these networks find one source"
            )
        signals, node_positions, room_size, _ = batches.prepare(
            signals, node_positions, room_size, mask, least_nodes=4
        )
        _check_centers(np.asarray(node_positions), arrays)
        batch = {"audio": signals, "node_positions": node_positions}
        batch |= {"room_size": room_size} | (
            {} if mask is None else {"node_mask": mask}
        )
        return jax.block_until_ready(locate_all(state, batch))

    return localize


def _check_centers(
    node_positions: Float[np.ndarray, "B M 3"], arrays: Float[np.ndarray, "A 2"]
) -> None:
    """Raise unless the arrays are where they were in training: bearings start there."""
    each = np.array_split(node_positions[..., :2], len(arrays), axis=1)
    centers = np.stack([nodes.mean(axis=1) for nodes in each], axis=1)
    moved = np.linalg.norm(centers - arrays, axis=-1) > _MOVED
    if moved.any():
        recording, number = np.argwhere(moved)[0]
        at, trained = centers[recording, number], arrays[number]
        raise batches.RecordingError(
            f"array {number} of recording {recording} is at ({at[0]:.2f}, {at[1]:.2f}) "
            f"m, and was at ({trained[0]:.2f}, {trained[1]:.2f}) m in training: train "
            "networks for its place"
        )


def find_directions(
    model: nnx.Module, label: schemes.Label, batch: dict[str, Any]
) -> tuple[Float[Array, "B P A"], Float[Array, "B P A"]]:
    """Find the azimuths in the parts of recordings, and their deviations, in rad.

    The deviation is by how much a distribution is wider than the label of its azimuth.

    Args:
        model: A network of directions, for evaluation.
        label: Its label.
        batch: A batch of recordings with P + 6 frames; shorter ones are one part.
    """
    spectra, mask = objective.inputs_of(model, label, batch)
    length = min(PART, spectra.shape[2])

    def find(first):
        part = jax.lax.dynamic_slice_in_dim(spectra, first, length, axis=2)
        scores = jax.vmap(label.scores)(model(part, mask)[:, 0])
        azimuths = circular.decode_circular(scores)
        return bearings.wrap(azimuths), jax.vmap(bearings.spread)(scores, azimuths)

    # One after another, so that long recordings compile no longer.
    found = jax.lax.map(find, jnp.arange(spectra.shape[2] - length + 1))
    azimuths, deviations = (values.transpose(1, 0, 2) for values in found)
    return azimuths, deviations


def intersect(
    azimuths: Float[Array, "P A"],
    arrays: Float[Array | np.ndarray, "A 2"],
    room_size: Float[Array, "2"],
) -> tuple[Float[Array, "P Q 2"], Bool[Array, "P Q"]]:
    """Intersect the bearings of all pairs of arrays in each part of a recording.

    Args:
        azimuths: In rad.
        arrays: (x, y) of the arrays' centers in meters.
        room_size: Sides along x and y in meters.

    Returns:
        Points in meters, of Q pairs; and whether the two rays meet there, in the room.
    """
    one, other = np.triu_indices(len(arrays), 1)
    ways = jnp.stack([jnp.cos(azimuths), jnp.sin(azimuths)], axis=-1)
    first, second = ways[:, one], ways[:, other]
    between = jnp.asarray(arrays[other] - arrays[one], ways.dtype)

    def cross(left, right):
        return left[..., 0] * right[..., 1] - left[..., 1] * right[..., 0]

    sine = cross(first, second)
    meets = jnp.abs(sine) > _PARALLEL
    safe = jnp.where(meets, sine, 1.0)
    along, along_other = cross(between, second) / safe, cross(between, first) / safe
    points = arrays[one] + along[..., None] * first
    inside = ((points >= 0) & (points <= room_size)).all(axis=-1)
    return points, meets & (along > 0) & (along_other > 0) & inside


def cluster(
    azimuths: Float[Array, "P A"],
    deviations: Float[Array, "P A"],
    arrays: Float[Array | np.ndarray, "A 2"],
    room_size: Float[Array, "2"],
) -> bearings.Fix:
    """Find the densest place of the intersections, by mean shift from all of them.

    Where no two bearings meet in the room, it is where `bearings.triangulate` puts the
    mean bearings. The covariance is that of the mean bearings, whose variances are those
    between the parts and within them: parts share their frames and their networks, so
    they are not divided by their number.

    Args:
        azimuths: Of each part, in rad.
        deviations: Their standard deviations, in rad.
        arrays: (x, y) of the arrays' centers in meters.
        room_size: Sides along x and y in meters.
    """
    mean = jnp.arctan2(jnp.sin(azimuths).mean(axis=0), jnp.cos(azimuths).mean(axis=0))
    variances = bearings.wrap(azimuths - mean) ** 2 + deviations**2
    spread = jnp.sqrt(variances.mean(axis=0))
    fix = bearings.triangulate(
        mean, jnp.maximum(spread, _LEAST_DEVIATION), arrays, room_size
    )
    points, meet = intersect(azimuths, arrays, room_size)
    points, meet = points.reshape(-1, 2), meet.ravel()
    points = jnp.where(meet[:, None], points, 0.0)

    def density(centers):
        squares = ((centers[:, None] - points) ** 2).sum(axis=-1)
        return jnp.where(meet, jnp.exp(-squares / (2 * BANDWIDTH**2)), 0.0)

    def shift(_, centers):
        near = density(centers)
        total = jnp.maximum(near.sum(axis=1, keepdims=True), 1e-9)
        return near @ points / total

    centers = jax.lax.fori_loop(0, _NUM_SHIFTS, shift, points)
    weights = jnp.where(meet, density(centers).sum(axis=1), -1.0)
    best = centers[weights.argmax()]
    return fix._replace(position=jnp.where(meet.any(), best, fix.position))
