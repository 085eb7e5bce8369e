"""Directions by multiple signal classification (MUSIC), and where they meet.

Source: R. Schmidt, "Multiple emitter location and signal parameter estimation", IEEE
Trans. Antennas Propag. 34, 1986 (reference 8). Of the covariance of an array's spectra at
one frequency, the eigenvectors of the least eigenvalues span the noise; a direction whose
steering vector is orthogonal to them is that of a source. Schmidt has one frequency. The
paper does not say how those of speech are joined; we divide each frequency's spectrum by
its largest value and average them, as pyroomacoustics' `NormMUSIC` does (D. Salvati,
C. Drioli and G. L. Foresti, "Incoherent frequency fusion for broadband steered response
power algorithms in noisy environments", IEEE Signal Process. Lett. 21, 2014). Sounds are
taken to be plane waves. Nothing is trained.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.acoustics import stft as stft_lib
from uld_jax.labels import bearings
from uld_jax.localization import batches, compact_arrays

# Hertz. Speech has little below; above, it has little, and the side lobes of arrays with
# nodes some centimeters apart are as high as their main lobes.
BAND = (300.0, 4000.0)
_DIRECTIONS = 720  # Around the circle, before interpolation.
_PARTS = 8  # Of the band, each with a direction of its own, for its spread.
_LEAST_DEVIATION = 0.002  # Radians.
_TINY = 1e-7  # Of a steering vector's power: what rounding leaves in the noise.


def music(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
) -> tuple[Float[Array, "B 1 2"], Float[Array, "B 1"]]:
    """Localize one source on the plan by the MUSIC directions of compact arrays.

    The nodes are divided into compact arrays by their positions, as `compact_arrays.find`
    does. The direction at each is the highest peak; they meet where
    `bearings.triangulate` finds. How much the directions of interleaved parts of the band
    differ gives the deviation of each, and so the radius.

    Args:
        signals: Recordings at 16 kHz on one clock, of any level, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3], the same in all recordings;
            at least two compact arrays.
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere.
        num_sources: 1.

    Returns:
        Positions (x, y) in meters, inside the room whatever the signals, even silent;
        and the radii in meters that hold 90 %, if errors of frequencies are independent.

    Raises:
        RecordingError: If `num_sources` is not 1, shapes do not agree, nodes are not in
            compact arrays or are not the same in all recordings, signals are too short,
            or a value is not finite.
    """
    if num_sources != 1:
        raise batches.RecordingError(
            f"num_sources is {num_sources}; directions of arrays localize one source, "
            "for more use srp_phat"
        )
    signals, node_positions, room_size, mask = batches.prepare(
        signals, node_positions, room_size, mask, least_nodes=4
    )
    arrays = compact_arrays.find_in_batch(node_positions, room_size, mask)
    if stft_lib.num_frames(signals.shape[-1]) < 4:
        raise batches.RecordingError(
            f"signals have {signals.shape[-1]} samples; MUSIC needs at least "
            f"{3 * stft_lib.HOP_LENGTH}"
        )
    found = batches.finish(_localize_all(signals, room_size, arrays=arrays))
    return found[:, None, :2], found[:, None, 2]


@functools.partial(jax.jit, static_argnames="arrays")
def _localize_all(signals, room_size, *, arrays):
    centers = compact_arrays.centers(arrays)

    def locate(signals, room_size):
        found = [find_direction(signals[np.array(one.nodes)], one) for one in arrays]
        azimuths, deviations = map(jnp.stack, zip(*found, strict=True))
        fix = bearings.triangulate(azimuths, deviations, centers, room_size[:2])
        return jnp.append(fix.position, compact_arrays.radius(fix.covariance))

    return batches.in_groups(locate, (jnp.asarray(signals), room_size))


def find_direction(
    signals: Float[Array, "M N"], array: compact_arrays.CompactArray
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Find the azimuth of a sound at an array, and its standard deviation, in rad.

    Args:
        signals: Signals of the array's nodes.
        array: The array.
    """
    # The first and the last frame hold a mirror of the signal, whose delays are wrong.
    spectra = stft_lib.stft(signals)[:, 1:-1]
    low, high = (
        round(edge * stft_lib.WINDOW_LENGTH / constants.SAMPLE_RATE) for edge in BAND
    )
    azimuths = np.arange(_DIRECTIONS, dtype=np.float32) * (2 * np.pi / _DIRECTIONS)
    parts = music_spectra(
        *(spectra[..., low - 1 : high], np.array(array.offsets), low),
        jnp.asarray(azimuths),
    )
    parts = parts / parts.max(axis=-1, keepdims=True)
    kept = len(parts) // _PARTS * _PARTS
    by_part = parts[:kept].reshape(-1, _PARTS, _DIRECTIONS).mean(axis=0)
    faced = array.faces(jnp.asarray(azimuths))
    whole = _find_peak(parts.mean(axis=0), faced)
    offsets = bearings.wrap(jax.vmap(_find_peak, (0, None))(by_part, faced) - whole)
    # Half of the parts are right where one or two have another peak.
    deviation = 1.4826 * jnp.median(jnp.abs(offsets)) / np.sqrt(_PARTS)
    return whole, jnp.maximum(deviation, _LEAST_DEVIATION)


def music_spectra(
    spectra: Complex[Array, "M T F"],
    offsets: Float[Array | np.ndarray, "M 2"],
    first_bin: int,
    azimuths: Float[Array, " G"],
    num_sources: int = 1,
) -> Float[Array, "F G"]:
    """Compute the MUSIC spectrum of each frequency: one over what the noise space holds.

    Args:
        spectra: Short-time spectra of the nodes, successive bins of `stft`.
        offsets: (x, y) of the nodes from the array's center, in meters.
        first_bin: Number of the first bin, counted from 0 for a constant.
        azimuths: Directions in rad.
        num_sources: Sources, less than there are nodes.
    """
    num_frames = spectra.shape[1]
    covariances = jnp.einsum("mtf,ntf->fmn", spectra, spectra.conj()) / num_frames
    # Of any level: the decomposition does not depend on it, but rounding does.
    power = jnp.trace(covariances, axis1=1, axis2=2).real[:, None, None]
    covariances = covariances / jnp.maximum(power, jnp.finfo(power.dtype).tiny)
    _, vectors = jnp.linalg.eigh(covariances)
    noise = vectors[..., : len(offsets) - num_sources]
    frequencies = (first_bin + np.arange(spectra.shape[-1])) * (
        constants.SAMPLE_RATE / stft_lib.WINDOW_LENGTH
    )
    ways = jnp.stack([jnp.cos(azimuths), jnp.sin(azimuths)])
    early = jnp.asarray(offsets, ways.dtype) @ ways / constants.SPEED_OF_SOUND
    turns = 2 * np.pi * jnp.asarray(frequencies, ways.dtype)[:, None, None] * early
    steering = jax.lax.complex(jnp.cos(turns), jnp.sin(turns))
    held = jnp.abs(jnp.einsum("fmk,fmg->fkg", noise.conj(), steering)) ** 2
    return 1 / (held.sum(axis=1) + _TINY * len(offsets))


def _find_peak(spectrum: Float[Array, " G"], faced) -> Float[Array, ""]:
    """Find the direction of the highest value, between those of the grid, in rad."""
    peak = jnp.where(faced, spectrum, -1.0).argmax()
    around = jnp.log(spectrum[(peak + jnp.arange(-1, 2)) % len(spectrum)])
    bend = around[0] - 2 * around[1] + around[2]
    shift = jnp.where(bend < 0, (around[0] - around[2]) / (2 * bend), 0.0)
    steps = peak + jnp.clip(shift, -0.5, 0.5)
    return bearings.wrap(steps * (2 * np.pi / len(spectrum)))
