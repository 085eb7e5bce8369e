"""Short-time spectra of the signals of all nodes: network inputs (Sec. 3.3)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Real
from numpy.typing import ArrayLike

WINDOW_LENGTH = 512
HOP_LENGTH = 256
NUM_BINS = WINDOW_LENGTH // 2  # Without the DC bin.


def num_frames(num_samples: int) -> int:
    """Compute the number of STFT frames T of a signal of N samples.

    Raises:
        ValueError: If the signal is too short to be mirrored at its ends.
    """
    if num_samples <= WINDOW_LENGTH // 2:
        raise ValueError(
            f"a signal of {num_samples} samples is too short for the STFT; "
            f"it needs more than {WINDOW_LENGTH // 2}"
        )
    return num_samples // HOP_LENGTH + 1


def scene_level(
    signals: Real[Array, "M N"], mask: Bool[Array, " M"] | None = None
) -> Float[Array, ""]:
    """Compute one level for a whole scene: the RMS over its nodes and time.

    One number for all nodes, because the level differences between nodes carry
    distance. The paper does not say how levels are normalized.
    """
    powers = (_as_float(signals) ** 2).mean(axis=1)
    if mask is None:
        return jnp.sqrt(powers.mean())
    return jnp.sqrt((powers * mask).sum() / jnp.maximum(mask.sum(), 1))


def stft(signals: ArrayLike) -> Complex[Array, "*M T F"]:
    """Compute the centered STFT of real signals, without the DC bin (Sec. 3.3).

    Window 512 (Hann), hop 256, FFT 512. The paper does not say how frames are
    aligned, which Hann window is meant, or what becomes of the DC bin; we
    center frame t on sample 256 t by mirroring the ends, take the periodic
    window, and keep F = 256 bins. No scaling.

    Args:
        signals: Real signals [..., N], floats or integers, N samples each.

    Returns:
        Complex spectra [..., T, F], T = N // 256 + 1 frames.

    Raises:
        ValueError: If a signal has fewer than 257 samples.

    >>> import numpy as np
    >>> import uld_jax
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)  # 1 kHz.
    >>> spectrum = uld_jax.stft(tone)
    >>> spectrum.shape
    (63, 256)
    >>> int(abs(spectrum[31]).argmax() + 1) * 16000 / 512  # Hertz.
    1000.0
    """
    return _stft(jnp.asarray(signals))


@jax.jit
def _stft(signals: Real[Array, "*M N"]) -> Complex[Array, "*M T F"]:
    return all_bins(signals)[..., 1:]


def all_bins(signals: Real[Array, "*M N"]) -> Complex[Array, "*M T 257"]:
    """Compute the STFT of `stft` with the DC bin, which `invert` needs.

    Raises:
        ValueError: If a signal has fewer than 257 samples.
    """
    frames_per_signal = num_frames(signals.shape[-1])
    margin = WINDOW_LENGTH // 2
    padding = [(0, 0)] * (signals.ndim - 1) + [(margin, margin)]
    padded = jnp.pad(signals, padding, mode="reflect")
    # Windows overlap by half, so frames are pairs of neighboring hops. Integers stay as
    # they are until then, which takes less memory.
    needed = padded[..., : (frames_per_signal + 1) * HOP_LENGTH]
    hops = needed.reshape(*signals.shape[:-1], frames_per_signal + 1, HOP_LENGTH)
    # Stacked, not concatenated: XLA fuses it into one loop on CPUs.
    pairs = _as_float(jnp.stack([hops[..., :-1, :], hops[..., 1:, :]], axis=-2))
    window = jnp.asarray(_window(), pairs.dtype)
    frames = (pairs * window.reshape(2, HOP_LENGTH)).reshape(
        *signals.shape[:-1], frames_per_signal, WINDOW_LENGTH
    )
    return jnp.fft.rfft(frames)


def invert(
    spectra: Complex[Array, "*M T 257"], num_samples: int
) -> Float[Array, "*M N"]:
    """Synthesize signals from their short-time spectra, by weighted overlap-add.

    The least-squares inverse (D. W. Griffin and J. S. Lim, "Signal estimation from
    modified short-time Fourier transform", IEEE Trans. Acoust. Speech Signal Process.
    32, 1984): frames are windowed again, added, and divided by the sum of the squared
    windows. Spectra of `all_bins` give back their signals.

    Args:
        spectra: With the DC bin; may have been changed.
        num_samples: Length N of the signals, less than 256 T. Only the falling half of a
            window covers samples beyond 256 (T - 1), the last of them hardly: append zeros
            to signals whose length is no multiple of 256.
    """
    frames = jnp.fft.irfft(spectra, WINDOW_LENGTH)
    window = jnp.asarray(_window(), frames.dtype)
    frames = (frames * window).reshape(*frames.shape[:-1], 2, HOP_LENGTH)
    around = [(0, 0)] * (frames.ndim - 3)
    # Hop h is the first half of frame h and the second half of the frame before.
    first = jnp.pad(frames[..., 0, :], [*around, (0, 1), (0, 0)])
    second = jnp.pad(frames[..., 1, :], [*around, (1, 0), (0, 0)])
    squares = (_window() ** 2).reshape(2, HOP_LENGTH)
    weights = np.tile(squares.sum(axis=0), (first.shape[-2], 1))
    weights[0], weights[-1] = squares
    total = (first + second) / jnp.asarray(np.maximum(weights, 1e-10), frames.dtype)
    signals = total.reshape(*total.shape[:-2], -1)
    return signals[..., WINDOW_LENGTH // 2 : WINDOW_LENGTH // 2 + num_samples]


def _window() -> Float[np.ndarray, " 512"]:
    """Make the periodic Hann window."""
    phase = 2 * np.pi * np.arange(WINDOW_LENGTH) / WINDOW_LENGTH
    return 0.5 - 0.5 * np.cos(phase)


def spectral_features(
    signals: Real[Array, "M N"], mask: Bool[Array, " M"] | None = None
) -> Float[Array, "M T 512"]:
    """Compute real and imaginary parts of a scene's spectra, stacked (Sec. 3.3).

    The whole scene is divided by its one level; a silent scene stays zero.

    Args:
        signals: Signals of the nodes, floats or integers.
        mask: True where a node is present; None for all. Absent nodes have no
            influence on the level.
    """
    level = scene_level(signals, mask)
    gain = 1 / jnp.maximum(level, jnp.finfo(level.dtype).tiny)
    spectra = stft(signals)
    return jnp.concatenate([spectra.real * gain, spectra.imag * gain], axis=-1)


def _as_float(signals: Real[Array, "*M N"]) -> Float[Array, "*M N"]:
    is_float = jnp.issubdtype(signals.dtype, jnp.floating)
    return signals if is_float else signals.astype(jnp.float32)
