r"""Speech mask: which bins of a node's spectrogram are speech, and whether there is any.

One small network for every node by itself. From the log powers x of its spectrogram it
estimates the ratio mask of each bin, the share of speech in the power:

    m = |S|^2 / (|S|^2 + |N|^2),    logit m = log |S|^2 - log |N|^2

with S the reverberant speech and N the noise at the node, and the logit that a talker is
there at all. What the layers add to a x is a floor that bins are compared with. It is
smooth, while the fine structure of voices is in x already:

    logits[t, f] = a[f] x[t, f] + (W h[t])[f]

h is one vector for each frame: residual blocks look farther and farther in time. Loudness
is removed; bins are seen relative to the whole clip, to their own mean over time, and with
their mean and deviation over time, so that a steady hum does not look like a voice.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import stft
from uld_jax.networks import spec as spec_lib

NAME = "speech_mask"
_TAPS = 5  # Frames that a block looks at, `dilation` apart.
_FLOOR = 1e-8  # Of the mean power; keeps silence finite.
_SCALE = 4.0  # Nepers of power.
_FIRST_SLOPE = 0.5  # Of logits over log powers, before training.
# Whether a talker is there is not asked where one is fainter, relative to the noise.
_FAINT_DB = -10.0


def ratio_mask(
    speech: Float[Array, "*B"], noise: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """Compute the share of speech in the power of each bin; 0 where both are silent.

    Args:
        speech: Powers of the speech.
        noise: Powers of the noise.

    >>> ratio_mask(jnp.array([1.0, 3.0, 0.0]), jnp.array([1.0, 1.0, 0.0])).tolist()
    [0.5, 0.75, 0.0]
    """
    return speech / jnp.maximum(speech + noise, jnp.finfo(speech.dtype).tiny)


class _Block(nnx.Module):
    """Residual block: some frames of each channel, then all channels of a frame.

    Args:
        width: Channels.
        dilation: Frames between those that are looked at.
        dtype: Type of the computation.
        rngs: Random streams of the parameters.
    """

    def __init__(self, width: int, dilation: int, *, dtype, rngs: nnx.Rngs):
        self.dilation = dilation
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        taps = jax.random.normal(rngs.params(), (_TAPS, width)) / np.sqrt(_TAPS)
        self.taps = nnx.Param(taps)
        hidden = 3 * width // 2
        self.first = nnx.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.second = nnx.Linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T C"]:
        h = self.norm(x)
        h = _over_time(h, self.taps[...].astype(h.dtype), self.dilation)
        return x + self.second(nnx.gelu(self.first(h)))


class SpeechMask(nnx.Module):
    """Network of speech masks: powers in; logits of the mask and of a talker out.

    Args:
        width: Channels of a frame's vector.
        num_blocks: Residual blocks; the n-th looks 2^n frames apart.
        dtype: Type of the computation; the logits are float32.
        rngs: Random streams of the parameters.
    """

    def __init__(
        self, *, width: int, num_blocks: int, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        bins, layer = stft.NUM_BINS, {"dtype": dtype, "rngs": rngs}
        self.embed = nnx.Linear(2 * bins, width, **layer)
        self.over_time = nnx.Linear(2 * bins, width, **layer)
        self.blocks = nnx.List(
            [_Block(width, 2**number, **layer) for number in range(num_blocks)]
        )
        self.norm = nnx.LayerNorm(width, **layer)
        self.slopes = nnx.Param(jnp.full(bins, _FIRST_SLOPE * _SCALE))
        zeros = nnx.initializers.zeros_init()
        self.to_floor = nnx.Linear(width, bins, kernel_init=zeros, **layer)
        self.to_talker = nnx.Linear(2 * width, 1, **layer)

    def __call__(
        self, powers: Float[Array, "B T 256"]
    ) -> tuple[Float[Array, "B T 256"], Float[Array, " B"]]:
        """Compute the logits of each bin's mask, and of a talker being there.

        Args:
            powers: Of the bins of `stft.stft`, of any level.
        """
        of_clip, of_bin, over_time = features(powers)
        h = self.embed(jnp.concatenate([of_clip, of_bin], axis=-1))
        h += self.over_time(over_time)[:, None]
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        mask = self.slopes[...] * of_clip + self.to_floor(h).astype(jnp.float32)
        # Not `h.max`, whose gradient compares h with it: where XLA computes h twice, by
        # other last bits, it is NaN.
        highest = jnp.take_along_axis(h, h.argmax(axis=1, keepdims=True), axis=1)
        seen = jnp.concatenate([h.mean(axis=1), highest[:, 0]], axis=-1)
        return mask, self.to_talker(seen)[:, 0].astype(jnp.float32)


def features(
    powers: Float[Array, "B T 256"],
) -> tuple[Float[Array, "B T 256"], Float[Array, "B T 256"], Float[Array, "B 512"]]:
    """Compute log powers relative to those of the clip, and to those of the same bin.

    A gain changes nothing.

    Returns:
        Both; and of each bin, the mean of the first over time and its deviation.
    """
    level = powers.mean(axis=(1, 2), keepdims=True)
    tiny = jnp.finfo(powers.dtype).tiny
    logs = jnp.log(powers / jnp.maximum(level, tiny) + _FLOOR) / _SCALE
    of_clip = logs - logs.mean(axis=(1, 2), keepdims=True)
    means = of_clip.mean(axis=1, keepdims=True)
    of_bin = of_clip - means
    # Its gradient is never asked for.
    spread = jnp.sqrt((of_bin**2).mean(axis=1))
    return of_clip, of_bin, jnp.concatenate([means[:, 0], spread], axis=-1)


def losses(
    outputs: tuple[Float[Array, "B T 256"], Float[Array, " B"]],
    speech: Float[Array, "B T 256"],
    noise: Float[Array, "B T 256"],
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Compute each clip's loss of the mask, and that of the talker's logit.

    Cross entropies. All bins count alike, since all do where spectra are whitened.

    Args:
        outputs: Of the network, for the mixture.
        speech: Powers of the speech in it.
        noise: Powers of the noise in it.
    """
    mask, talker = outputs
    of_mask = _cross_entropy(mask, ratio_mask(speech, noise)).mean(axis=(1, 2))
    talks = (speech.mean(axis=(1, 2)) > 0).astype(jnp.float32)
    of_talker = _cross_entropy(talker, talks)
    return of_mask, jnp.where(is_asked(speech, noise), of_talker, 0.0)


def snr_db(
    speech: Float[Array, "B T F"], noise: Float[Array, "B T F"]
) -> Float[Array, " B"]:
    """Compute the SNR of each clip from the powers of its parts; infinite without noise."""
    means = speech.mean(axis=(1, 2)), noise.mean(axis=(1, 2))
    return 10 * (jnp.log10(means[0]) - jnp.log10(means[1]))


def is_asked(
    speech: Float[Array, "B T F"], noise: Float[Array, "B T F"]
) -> Bool[Array, " B"]:
    """Check in which clips it is clear whether there is a talker.

    There is none, or one that is not far below the noise.
    """
    means = speech.mean(axis=(1, 2)), noise.mean(axis=(1, 2))
    return (means[0] == 0) | (means[0] >= 10 ** (_FAINT_DB / 10) * means[1])


def _cross_entropy(logits: Float[Array, "*B"], target: Float[Array, "*B"]):
    return jax.nn.softplus(logits) - target * logits


def _over_time(
    x: Float[Array, "B T C"], taps: Float[Array, "K C"], dilation: int
) -> Float[Array, "B T C"]:
    """Convolve each channel over time, with zeros around."""
    num_frames, reach = x.shape[1], dilation * (len(taps) // 2)
    padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
    return sum(
        padded[:, k * dilation : k * dilation + num_frames] * tap
        for k, tap in enumerate(taps)
    )


def build(settings: Mapping[str, Any], seed: int) -> SpeechMask:
    """Build the network with fresh parameters.

    Args:
        settings: The configuration's `model`.
        seed: Seed of the parameters.

    Raises:
        ValueError: If it cannot have these settings.
    """
    SPEC.check(settings)
    own = {key: value for key, value in settings.items() if key != "name"}
    return SpeechMask(**own, rngs=nnx.Rngs(seed))


SPEC = spec_lib.NetworkSpec(
    name=NAME,
    network=SpeechMask,
    settings={
        # Channels of a frame's vector.
        "width": 128,
        # Residual blocks; the n-th looks 2^n frames apart.
        "num_blocks": 5,
    },
    any_label=True,
    any_nodes=True,
    ranges={"width": (1, 4096), "num_blocks": (1, 10)},
)
