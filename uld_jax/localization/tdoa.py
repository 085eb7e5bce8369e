"""Localization by time differences of arrival and least squares (TDOA-LS).

Each node's delay against the loudest one is the highest peak of their GCC-PHAT. A
closed form turns the differences into a first position: J. O. Smith and J. S. Abel,
"Closed-form least-squares source location estimation from range-difference
measurements", IEEE Trans. Acoust. Speech Signal Process. 35, 1987. Robust
Gauss-Newton steps improve it: P. J. Huber, "Robust estimation of a location
parameter", Ann. Math. Stat. 35, 1964. Nothing is trained. The paper does not say how
such a baseline is made.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import batches
from uld_jax.simulation import scenes

_LEAST_NODES = 4  # Three differences for x, y and the distance of the reference.
_INLIER = 0.02  # Meters, the path of one sample; larger residuals only count linearly.
_NUM_STEPS = 60
_LONGEST_STEP = 1.0  # Meters.
_HIGHEST = jax.lax.Precision.HIGHEST  # A GPU would round the factors to fewer bits.


def tdoa(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
    *,
    source_height: float = scenes.SOURCE_HEIGHT,
    whitening: int | float = correlations_lib.WHITENING,
) -> Float[Array, "B 1 2"]:
    """Localize one source on the plan by time differences of arrival.

    The highest peaks alone do not show which peaks of two nodes belong to the same
    source, so there can be only one.

    Args:
        signals: Recordings at 16 kHz on one clock, of any level, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3]; at least 4 nodes.
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere. What absent nodes
            hold changes nothing.
        num_sources: 1.
        source_height: Height of the source in meters.
        whitening: Power of the magnitudes that spectra are divided by, 0 to 1; see
            `srp_phat`.

    Returns:
        Positions (x, y) in meters, inside the room whatever the signals, even silent.

    Raises:
        RecordingError: If `num_sources` is not 1, shapes do not agree, there are too few
            nodes, `whitening` is not 0 to 1, or a value is not finite.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = np.array([[0.1, 0.1, 0.9], [5.9, 0.2, 0.9], [0.2, 4.4, 0.9], [5.8, 4.3, 0.9]])
    >>> distances = np.linalg.norm(nodes - [2.0, 3.0, 0.95], axis=1)
    >>> delays = np.rint(distances / 343.0 * 16_000).astype(int)
    >>> noise = np.random.default_rng(0).normal(size=5_000)
    >>> signals = [noise[500 - delay : 4_500 - delay] for delay in delays]
    >>> uld_jax.tdoa([signals], [nodes], [[6.0, 4.5, 2.8]]).round(1).tolist()
    [[[2.0, 3.0]]]
    """
    if num_sources != 1:
        raise batches.RecordingError(
            f"num_sources is {num_sources}; time differences localize one source, for "
            "more use srp_phat"
        )
    signals, node_positions, room_size, mask = batches.prepare(
        signals, node_positions, room_size, mask, least_nodes=_LEAST_NODES
    )
    batches.check_whitening(whitening)
    found = _localize_all(
        *(signals, node_positions, room_size, mask),
        *(source_height, whitening),
        max_lag=correlations_lib.lag_bound(node_positions, mask),
    )
    return batches.finish(found)


@functools.partial(jax.jit, static_argnames="max_lag")
def _localize_all(
    signals, nodes, room_size, mask, source_height, whitening, *, max_lag
):
    def locate(signals, nodes, room_size, mask):
        nodes = jnp.where(mask[:, None], nodes, 0.0)
        reference, differences, weights = path_differences(
            signals, nodes, mask, whitening, max_lag
        )
        evidence = nodes, reference, differences, weights, source_height
        start = jnp.clip(closed_form(*evidence), 0.0, room_size[:2])
        return refine(start, *evidence, room_size[:2])[None]

    return batches.in_groups(locate, (signals, nodes, room_size, mask))


def path_differences(
    signals: Float[Array, "M N"],
    node_positions: Float[Array, "M 3"],
    mask: Bool[Array, " M"],
    whitening: float | Float[Array, ""],
    max_lag: int,
) -> tuple[Int[Array, ""], Float[Array, " M"], Float[Array, " M"]]:
    """Measure how much farther from the source each node is than the loudest one.

    Args:
        signals: Signals at 16 kHz.
        node_positions: Node positions in meters.
        mask: True where there is a node.
        whitening: As in `correlations.whiten`.
        max_lag: Largest lag in samples, at least the largest distance between nodes.

    Returns:
        The loudest node's number; differences in meters; weights, which are the
        heights of the peaks, zero for the loudest node and for absent ones.
    """
    num_fft = correlations_lib.transform_length(signals.shape[1], max_lag)
    power = (jnp.where(mask[:, None], signals, 0.0) ** 2).sum(axis=1)
    reference = jnp.where(mask, power, -1.0).argmax()
    spectra = correlations_lib.whiten(signals, mask, num_fft, whitening)
    correlations = correlations_lib.correlate(
        spectra, spectra[reference], num_fft, max_lag
    )
    distances = jnp.sqrt(
        ((node_positions - node_positions[reference]) ** 2).sum(axis=1)
    )
    lags = jnp.arange(-max_lag, max_lag + 1)
    # No difference is larger than the distance between the nodes, up to a sample.
    possible = (
        jnp.abs(lags) <= 1 + correlations_lib.SAMPLES_PER_METER * distances[:, None]
    )
    peaks = jnp.where(possible, correlations, -jnp.inf).argmax(axis=1)
    inner, shift, height = correlations_lib.refine_peaks(correlations, peaks)
    samples = inner - max_lag + shift
    differences = samples / correlations_lib.SAMPLES_PER_METER
    others = mask & (jnp.arange(len(signals)) != reference)
    weights = jnp.where(others, jnp.maximum(height, 0.0), 0.0)
    return reference, jnp.clip(differences, -distances, distances), weights


def closed_form(
    node_positions: Float[Array, "M 3"],
    reference: int | Int[Array, ""],
    differences: Float[Array, " M"],
    weights: Float[Array, " M"],
    source_height: float | Float[Array, ""],
) -> Float[Array, "2"]:
    """Solve for the position on the plan by linear least squares (Smith and Abel).

    With the reference in the origin, a node at p is at the distance r + d from a
    source s at the distance r: |s - p|^2 = (r + d)^2, which leaves
    s p + r d = (|p|^2 - d^2) / 2, linear in s and r. The height of s is known.
    """
    offsets = node_positions - node_positions[reference]
    height = source_height - node_positions[reference, 2]
    unknowns = jnp.concatenate([offsets[:, :2], differences[:, None]], axis=1)
    known = ((offsets**2).sum(axis=1) - differences**2) / 2 - offsets[:, 2] * height
    weighted = weights[:, None] * unknowns
    normal = jnp.matmul(weighted.T, unknowns, precision=_HIGHEST)
    # Regularized: nodes on a line leave one direction undetermined, silent ones all.
    normal += (1e-6 * jnp.trace(normal) + 1e-9) * jnp.eye(3)
    solution = jnp.linalg.solve(normal, (weighted * known[:, None]).sum(axis=0))
    return node_positions[reference, :2] + solution[:2]


def refine(
    start: Float[Array, "2"],
    node_positions: Float[Array, "M 3"],
    reference: int | Int[Array, ""],
    differences: Float[Array, " M"],
    weights: Float[Array, " M"],
    source_height: float | Float[Array, ""],
    sides: Float[Array, "2"],
) -> Float[Array, "2"]:
    """Find the position in the room with the least Huber loss of its residuals.

    Each Gauss-Newton step weighs a residual e by min(1, 0.02 m / |e|), so that a
    reflection mistaken for the direct sound pulls no harder the farther it is off.
    """
    heights = source_height - node_positions[:, 2]

    def step(_, position):
        offsets = position - node_positions[:, :2]
        # The last term keeps a source that is right on a node from a division by zero.
        distances = jnp.sqrt((offsets**2).sum(axis=1) + heights**2 + 1e-12)
        slopes = offsets / distances[:, None]
        slopes -= slopes[reference]
        residuals = distances - distances[reference] - differences
        trust = weights * _INLIER / jnp.maximum(jnp.abs(residuals), _INLIER)
        weighted = trust[:, None] * slopes
        normal = jnp.matmul(weighted.T, slopes, precision=_HIGHEST)
        normal += (1e-3 * jnp.trace(normal) + 1e-9) * jnp.eye(2)
        gradient = (weighted * residuals[:, None]).sum(axis=0)
        change = jnp.linalg.solve(normal, gradient)
        length = jnp.sqrt((change**2).sum())
        change *= _LONGEST_STEP / jnp.maximum(length, _LONGEST_STEP)
        return jnp.clip(position - change, 0.0, sides)

    return jax.lax.fori_loop(0, _NUM_STEPS, step, start)
