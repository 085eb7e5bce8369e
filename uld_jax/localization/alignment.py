"""Align nodes whose clocks are wrong, and measure how loud direct sound is at each.

Where clocks cannot be believed, times say nothing about a position. But the correlations
of the nodes still say by how much the signal of each must be moved to agree with all
others: an alignment. Nodes that are aligned add up, and what each has in common with their
sum is the sound that reached it first. Its amplitude falls as 1 / distance:

    log a_m = alpha - log |p - p_m| + error_m

whatever the clocks, with alpha unknown. The error is a node's gain and what reverberation
and noise add, c sqrt(P_m) / a_m, with P_m the power of all that the node receives; it has a
Student t distribution with 3 degrees of freedom.

An alignment is found by coordinate ascent: each node in turn is moved to the highest sum of
its envelopes of correlation with the others. It starts from each node as the reference
(blind), or from the delays that a position predicts (guided).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from uld_jax.acoustics import constants, correlations
from uld_jax.acoustics import envelopes as envelopes_lib

WHITENING = envelopes_lib.WHITENINGS[0]
# Lags of an envelope, at half the sample rate: a circle of 0.5 s.
NUM_LAGS = 4000
_LAGS = (np.arange(NUM_LAGS) + NUM_LAGS // 2) % NUM_LAGS - NUM_LAGS // 2
_BLIND_STARTS = 3  # References whose first guess fits best.
_SWEEPS = 5
# A guided delay may be far from what the position predicts: Cauchy, its scale in lags (17
# cm) and its weight in units of an envelope's mean.
_SPREAD, _HOLD = 8.0, 4.0
_REFINED_WITHIN, _REFINEMENTS = 16, 3  # Samples to either side; times.
_SMOOTHING = 10.0  # Hz, of the spectrum that all nodes have in common.
_FACTOR_STEPS = 60
# Standard deviations of the logarithm of gains, equally likely: 0.7, 1.7, 4 and 8 dB.
_GAINS = (0.08, 0.2, 0.45, 0.9)
_REVERBERATION = 0.04  # c above.
_WORST = 0.5  # Relative error beyond which a node says nothing.
_UNRELATED = 0.8  # Deviation of log amplitudes that no position explains.
_T_STEPS = 5
_LEAST_AMPLITUDE = 1e-6
_TINY = 1e-30
_HIGHEST = jax.lax.Precision.HIGHEST


class Alignment(NamedTuple):
    """How the signals of nodes must be moved to agree, in several ways.

    Attributes:
        delays: Seconds by which the sound reaches each node, up to a common one.
        amplitudes: Of the direct sound at each node, up to a common factor.
        powers: Of all that the node receives, in squares of the same unit.
    """

    delays: Float[Array, "*H M"]
    amplitudes: Float[Array, "*H M"]
    powers: Float[Array, "*H M"]


def correlate(
    signals: Float[Array, "W M N"], mask: Bool[Array, " M"]
) -> Float[Array, "M M 4000"]:
    """Compute the envelopes of the correlations of all nodes with all others.

    Entry [a, b, lag] is high where a is later than b by so many lags of 1 / 8000 s; lags
    are on a circle of half a second. The mean of an envelope is 1, or 0 of a node with
    itself and of absent nodes.

    Args:
        signals: Windows of signals at 16 kHz, of the same nodes and clocks.
        mask: True where there is a node.
    """
    num_fft = _transform_length(signals.shape[-1])
    spectra = _spectra(signals, mask, num_fft)
    flat = correlations.flatten(spectra, WHITENING)
    # Sums of neighboring bins have the lags of a shorter circle.
    bins = flat[..., : num_fft // 2].reshape(*flat.shape[:2], NUM_LAGS, -1)

    def with_one(one):  # [W, 4000, k]
        cross = jnp.einsum("wlk,wmlk->ml", one, bins.conj(), precision=_HIGHEST)
        envelope = jnp.abs(jnp.fft.ifft(cross, axis=-1))
        return envelope / jnp.maximum(envelope.mean(axis=-1, keepdims=True), _TINY)

    envelopes = jax.lax.map(with_one, bins.swapaxes(0, 1))
    return envelopes * (1 - jnp.eye(len(mask)))[..., None]


def align_blind(envelopes: Float[Array, "M M 4000"]) -> Int[Array, " M"]:
    """Align nodes from their correlations alone.

    Returns:
        Each node's delay in lags of 1 / 8000 s, up to a common one.
    """
    num_nodes = len(envelopes)
    each = jnp.asarray(_LAGS)[envelopes.argmax(axis=-1)].T  # By reference.
    each = each * (1 - jnp.eye(num_nodes, dtype=int))
    agreement = jax.lax.map(lambda delays: _agreement(envelopes, delays), each)
    _, best = jax.lax.top_k(agreement, min(_BLIND_STARTS, num_nodes))
    free = jnp.zeros((num_nodes, 1))

    def ascend(delays):
        def sweep(_, delays):
            return _sweep(envelopes, delays, free)

        return jax.lax.fori_loop(0, _SWEEPS, sweep, delays)

    found = jax.lax.map(ascend, each[best])
    agreement = jax.lax.map(lambda delays: _agreement(envelopes, delays), found)
    return found[agreement.argmax()]


def align_guided(
    envelopes: Float[Array, "M M 4000"],
    node_positions: Float[Array, "M 3"],
    mask: Bool[Array, " M"],
    position: Float[Array, "3"],
) -> Int[Array, " M"]:
    """Align nodes from the delays that a position predicts: see `align_blind`.

    Args:
        envelopes: From `correlate`.
        node_positions: In meters.
        mask: True where there is a node.
        position: In meters.
    """
    paths = correlations.path_lengths(position, node_positions)
    expected = paths * (correlations.SAMPLES_PER_METER / 2)
    away = (jnp.asarray(_LAGS) - expected[:, None]) / _SPREAD
    prior = -_HOLD * jnp.log1p(away**2)

    def step(delays, _):
        delays = _sweep(envelopes, delays, prior)
        late = jnp.where(mask, delays - expected, jnp.nan)
        return jnp.round(delays - jnp.nanmedian(late)).astype(int), None

    start = jnp.round(expected).astype(int)
    return jax.lax.scan(step, start, None, length=_SWEEPS)[0]


def measure(
    signals: Float[Array, "W M N"], mask: Bool[Array, " M"], lags: Int[Array, "H M"]
) -> Alignment:
    """Refine alignments to parts of a sample, and measure the amplitudes of each.

    Args:
        signals: As `correlate` has them.
        mask: True where there is a node.
        lags: Delays in lags of 1 / 8000 s.
    """
    num_fft = _transform_length(signals.shape[-1])
    spectra = _spectra(signals, mask, num_fft)
    flat = correlations.flatten(spectra, WHITENING)
    # The same filter for all nodes keeps their levels.
    mean = (jnp.abs(spectra) ** 2).mean(axis=(0, 1))
    width = max(1, round(_SMOOTHING * num_fft / constants.SAMPLE_RATE))
    mean = jnp.convolve(mean, jnp.full(width, 1 / width), mode="same")
    common = spectra * jax.lax.rsqrt(jnp.maximum(mean, _TINY))

    def one(lags):
        def refine(_, delays):
            moved = _move(flat, delays, num_fft)
            return delays + _find_shifts(moved, mask, num_fft, _REFINED_WITHIN)[0]

        delays = jax.lax.fori_loop(0, _REFINEMENTS, refine, 2.0 * lags)
        moved = _move(common, delays, num_fft)
        gram = jnp.einsum("waf,wbf->ab", moved, moved.conj(), precision=_HIGHEST).real
        amplitudes, powers = factor(gram / (len(signals) * num_fft / 2))
        return Alignment(delays / constants.SAMPLE_RATE, amplitudes, powers)

    return jax.lax.map(one, lags)


def factor(
    gram: Float[Array, "M M"],
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """Fit the product of two amplitudes to each entry of a matrix but the diagonal.

    Args:
        gram: Products of aligned signals.

    Returns:
        Amplitudes; and powers, the diagonal.
    """
    powers = jnp.diag(gram)
    known = jnp.maximum(powers, _TINY)

    def step(amplitudes, _):
        weights = jnp.where(powers > 0, amplitudes / known, 0.0)
        with_others = jnp.matmul(gram, weights, precision=_HIGHEST) - powers * weights
        of_others = (weights * amplitudes).sum() - weights * amplitudes
        fitted = with_others / jnp.maximum(of_others, 1e-9)
        return 0.5 * (amplitudes + jnp.maximum(fitted, 0.0)), None

    start = 0.3 * jnp.sqrt(jnp.maximum(powers, 0.0))
    return jax.lax.scan(step, start, None, length=_FACTOR_STEPS)[0], powers


def log_likelihoods(
    points: Float[Array, "P 3"],
    node_positions: Float[Array, "M 3"],
    mask: Bool[Array, " M"],
    alignment: Alignment,
) -> Float[Array, "H P"]:
    """Compute how much likelier amplitudes are with a talker at each point.

    Args:
        points: In meters.
        node_positions: In meters.
        mask: True where there is a node.
        alignment: From `measure`.

    Returns:
        For each of the alignments, the logarithm of the amplitudes' likelihood with the
        talker at each point, less that of amplitudes that no position explains. It is 0
        with fewer than three nodes of which anything is known.
    """
    distances = jax.vmap(
        lambda point: correlations.path_lengths(point, node_positions)
    )(points)
    spreading = jnp.log(jnp.maximum(distances, 0.1))

    def one(alignment):
        error = _errors(alignment)
        used = find_known(alignment, mask)
        measured = jnp.log(jnp.maximum(alignment.amplitudes, _LEAST_AMPLITUDE))
        sources = spreading + measured

        def density(values, scales):
            # Of all used nodes, with their common part fitted to them.
            def step(number, center):
                # Wide at first, so that no few nodes decide.
                wide = jnp.where(number == 0, jnp.hypot(scales, 1.0), scales)
                weights = 4 / (3 + ((values - center) / wide) ** 2) / wide**2
                weights = jnp.where(used, weights, 0.0)
                total = weights.sum(axis=-1, keepdims=True)
                center = (weights * values).sum(axis=-1, keepdims=True)
                return center / jnp.maximum(total, _TINY)

            start = jnp.zeros((*values.shape[:-1], 1))
            center = jax.lax.fori_loop(0, _T_STEPS, step, start)
            logs = -2 * jnp.log1p(((values - center) / scales) ** 2 / 3)
            return jnp.where(used, logs - jnp.log(scales), 0.0).sum(axis=-1)

        logs = jax.lax.map(
            lambda gain: density(sources, jnp.hypot(error, gain)), jnp.array(_GAINS)
        )
        found = jax.nn.logsumexp(logs, axis=0) - np.log(len(_GAINS))
        found = found - density(measured, jnp.hypot(error, _UNRELATED))
        return jnp.where(used.sum() >= 3, found, 0.0)

    return jax.lax.map(one, alignment)


def find_known(alignment: Alignment, mask: Bool[Array, " M"]) -> Bool[Array, "*H M"]:
    """Find the nodes whose direct sound stands out enough to be measured.

    Args:
        alignment: From `measure`, or one of its alignments.
        mask: True where there is a node.
    """
    return mask & (alignment.powers > 0) & (_errors(alignment) < _WORST)


def _errors(alignment: Alignment) -> Float[Array, "*H M"]:
    """Compute the errors of the logarithms of amplitudes, but for those of gains."""
    amplitudes = jnp.maximum(alignment.amplitudes, _LEAST_AMPLITUDE)
    return _REVERBERATION * jnp.sqrt(alignment.powers) / amplitudes


def find_late(
    signals: Float[Array, "W M N"],
    mask: Bool[Array, " M"],
    trusted: Bool[Array, " M"],
    delays: Float[Array, " M"],
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """Find by how much each node is later than it should be, up to 0.25 s.

    Args:
        signals: As `correlate` has them.
        mask: True where there is a node.
        trusted: True for nodes whose delays are right. Each node is compared with the
            sum of these, without itself.
        delays: Seconds by which the sound should reach each node.

    Returns:
        Seconds, and how far the correlation stands out there: its value, relative to its
        root mean square over all lags. It is 0 for absent and silent nodes.
    """
    num_fft = _transform_length(signals.shape[-1])
    flat = correlations.flatten(_spectra(signals, mask, num_fft), WHITENING)
    moved = _move(flat, constants.SAMPLE_RATE * delays, num_fft)
    late, heights, rows = _find_shifts(moved, trusted, num_fft, NUM_LAGS)
    level = jnp.sqrt((rows**2).mean(axis=1))
    contrast = jnp.where(level > 0, heights / jnp.maximum(level, _TINY), 0.0)
    return late / constants.SAMPLE_RATE, contrast


def _transform_length(num_samples: int) -> int:
    """Compute a length whose bins can be summed to those of a circle of half a second."""
    per_lag = 2 * NUM_LAGS
    return per_lag * -(-(num_samples + NUM_LAGS) // per_lag)


def _spectra(signals, mask, num_fft: int):
    """Compute the spectra [W, M, F] of present nodes, within the band of speech."""
    frequencies = np.fft.rfftfreq(num_fft, 1 / constants.SAMPLE_RATE)
    low, high = envelopes_lib.BAND
    band = (frequencies >= low) & (frequencies <= high)
    signals = jnp.where(mask[:, None], signals, 0.0)
    return jnp.fft.rfft(signals, num_fft) * band


def _move(spectra, delays: Float[Array, " M"], num_fft: int):
    """Move signals so that sounds with these delays in samples come at once."""
    frequencies = np.float32(2 * np.pi * np.fft.rfftfreq(num_fft))
    return spectra * jnp.exp(1j * frequencies * delays[:, None])


def _find_shifts(moved, trusted, num_fft: int, reach: int):
    """Find by how many samples each node is later than the sum of trusted others.

    Returns:
        The samples, up to `reach`; and the correlations' values there and all of them.
    """
    kept = jnp.where(trusted[:, None], moved, 0.0)
    others = kept.sum(axis=1, keepdims=True) - kept
    cross = (moved * others.conj()).sum(axis=0)
    rows = correlations.to_lags(cross, num_fft, reach)
    places, beyond, heights = correlations.refine_peaks(rows, rows.argmax(axis=1))
    return places - reach + beyond, heights, rows


def _agreement(envelopes, delays) -> Float[Array, ""]:
    """Sum the envelopes of all pairs at the differences of these delays."""
    each = jnp.arange(len(delays))
    lags = (delays[:, None] - delays) % NUM_LAGS
    return envelopes[each[:, None], each, lags].sum() / 2


def _sweep(envelopes, delays, prior) -> Int[Array, " M"]:
    """Move each node in turn to where its envelopes with all others are highest."""

    def move(node, delays):
        # A slice of two turns of the circle is quicker than a gather.
        twice = jnp.concatenate([envelopes[node]] * 2, axis=-1)

        def at_delay(row, delay):
            return jax.lax.dynamic_slice(row, ((-delay) % NUM_LAGS,), (NUM_LAGS,))

        total = jax.vmap(at_delay)(twice, delays).sum(axis=0) + prior[node]
        return delays.at[node].set(jnp.asarray(_LAGS)[total.argmax()])

    return jax.lax.fori_loop(0, len(delays), move, delays)
