"""Render the signals at the nodes of reverberant rooms, many rooms at once, in JAX.

Shoebox rooms by the image source method, with one code for CPU, GPU and TPU. All pulses
of all images are deposited on a grid (`nonuniform_fft`), transformed, multiplied with the
spectra of the dry signals, summed over sources and transformed back. Impulse responses
are formed only on request. Conventions are those of pyroomacoustics: reflections of
positive gain sqrt(1 - a), amplitude 1 / r, no absorption by the air; and, unless rooms are
furnished, omnidirectional sources, exact nodes, and all walls alike.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.simulation import (
    furnished,
    image_source,
    node_clocks,
    nonuniform_fft,
    room_checks,
    sound_fields,
)
from uld_jax.simulation.rooms import (
    LARGEST_ORDER,
    RenderingError,
    RenderSettings,
    Rooms,
    compute_walls,
)


class _Sizes(NamedTuple):
    """Numbers computed at once, whatever the batch.

    They do not follow the batch, so that its size does not change a room's bits.

    Attributes:
        rooms: Rooms.
        images: Images of each source.
    """

    rooms: int
    images: int


def _sizes() -> _Sizes:
    """Choose the sizes that suit the device."""
    return _Sizes(1, 256) if jax.default_backend() == "cpu" else _Sizes(16, 4096)


class Rendered(NamedTuple):
    """The signals at the nodes of B rooms.

    Attributes:
        signals: [B, M, N], speech and noise, all nodes on one clock.
        speech: [B], mean power of the speech over nodes and segment.
        noise: [B], the same of the noise, before it is scaled to the SNR.
        responses: [B, S, M, R + 80] if requested, else None. The direct sound of a
            path of 1 m has amplitude 1; time zero is at sample 40. Without the gains
            and clocks of nodes.
    """

    signals: jax.Array
    speech: jax.Array
    noise: jax.Array
    responses: jax.Array | None


def render(
    rooms: Rooms,
    dry: ArrayLike,
    keys: Array,
    settings: RenderSettings,
    noise: ArrayLike | None = None,
) -> Rendered:
    """Render the signals of many rooms' sources, and of noise, at their nodes.

    A room, its signals and its key give the same result in a batch of any size.

    Args:
        rooms: The B rooms, with S sources and M nodes each.
        dry: Dry signals [B, S, D] of the sources at 16 kHz, D = before + N.
        keys: [B], a random key for each room.
        settings: How to render.
        noise: Dry noise [B, D]; None for none.

    Returns:
        The signals [B, M, N], with the powers of speech and noise.

    Raises:
        RenderingError: If shapes do not agree, something is outside its room or
            on top of a node, not finite, or beyond what the settings allow.
        absorption.AcousticsError: If no absorption gives a room's T60.

    >>> import jax
    >>> import numpy as np
    >>> import uld_jax
    >>> rooms = uld_jax.Rooms(
    ...     size=[[6.0, 4.5, 3.0]],
    ...     t60=[0.2],
    ...     node_positions=[[[1.0, 1.0, 0.9], [5.0, 1.0, 0.9], [3.0, 4.0, 0.9]]],
    ...     source_positions=[[[2.0, 3.0, 1.5]]],
    ... )
    >>> settings = uld_jax.RenderSettings(
    ...     num_samples=1600, before=0, response_length=4000
    ... )
    >>> click = np.zeros((1, 1, 1600))
    >>> click[..., 0] = 1.0
    >>> keys = jax.random.split(jax.random.key(0), 1)
    >>> uld_jax.render(rooms, click, keys, settings).signals.shape
    (1, 3, 1600)
    """
    arguments, sizes = _arguments(rooms, dry, keys, settings, noise)
    rendered = _render(*arguments, settings=settings, sizes=sizes)
    if jax.default_backend() == "cpu":
        # Transforms of two programs must not run at once: see `sound_fields.after`.
        jax.block_until_ready(rendered)
    return rendered


def _arguments(rooms, dry, keys, settings: RenderSettings, noise):
    """Check the arguments of `render`; prepare those of its jitted part."""
    rooms = rooms.as_arrays()
    # Signals on a device stay there.
    dry, noise = (
        value if value is None or isinstance(value, jax.Array) else np.asarray(value)
        for value in (dry, noise)
    )
    room_checks.check_rooms(rooms, dry, keys, noise, settings)
    walls = compute_walls(rooms, settings)
    sizes = _sizes()
    num_fields = sizes.rooms * rooms.source_positions.shape[1]
    grid_size = num_fields * rooms.node_positions.shape[1] * 2 * settings.num_fft
    if grid_size >= 2**31:
        raise RenderingError(
            f"{sizes.rooms} rooms at once with {num_fields} fields of "
            f"{rooms.node_positions.shape[1]} nodes exceed an int32 index; render fewer "
            "nodes or sources"
        )

    def centered(positions):
        middle = rooms.size[:, None].astype(np.float64) / 2
        return (positions.astype(np.float64) - middle).astype(np.float32)

    point = noise is not None and settings.noise == "point"
    per_room = (
        walls,
        centered(rooms.node_positions),
        centered(rooms.source_positions),
        centered(rooms.noise_position[:, None]) if point else None,
        None if noise is None else rooms.snr_db.astype(np.float32),
        dry,
        noise,
        furnished.prepare(rooms.furniture, rooms.source_positions.shape[:2]),
        keys,
    )
    copies = _copies(sizes.images) if settings.late == "full" else None
    return (per_room, copies), sizes


@functools.lru_cache(maxsize=2)
def _copies(chunk: int) -> jax.Array:
    copies = image_source.copies(LARGEST_ORDER)
    # The last chunk is filled with copies of too high an order to sound.
    filling = np.full((-len(copies) % chunk, 3), LARGEST_ORDER + 1, np.int16)
    return jnp.asarray(np.concatenate([copies, filling]).T)


@functools.partial(jax.jit, static_argnames=("settings", "sizes"))
def _render(per_room, copies, *, settings: RenderSettings, sizes: _Sizes) -> Rendered:
    """Render group by group of rooms."""
    num_rooms, at_once = len(per_room[-1]), sizes.rooms
    rows = jnp.minimum(jnp.arange(-(-num_rooms // at_once) * at_once), num_rooms - 1)
    groups = jax.tree.map(
        lambda array: array[rows].reshape(-1, at_once, *array.shape[1:]), per_room
    )
    rendered = jax.lax.map(
        lambda group: _render_group(group, copies, settings, sizes.images), groups
    )
    return jax.tree.map(
        lambda array: array.reshape(-1, *array.shape[2:])[:num_rooms], rendered
    )


def _render_group(group, copies, settings: RenderSettings, chunk: int) -> Rendered:
    """Render b rooms together, `chunk` images at once.

    Every array of the group has a leading axis b.
    """
    walls, nodes, sources, noise_source, snr_db, dry, noise, inside, keys = group
    after = sound_fields.after
    num_fft, first = settings.num_fft, nonuniform_fft.LEAD + settings.before
    num_samples = settings.num_samples
    clocks = inside is not None and inside.drifts_ppm is not None
    beside = node_clocks.reach(num_samples) if clocks else 0

    def to_signals(received):
        """Transform spectra back, and cut the segment with what is beside it."""
        signals = jnp.fft.irfft(received, num_fft)
        return _cut(signals, first - beside, first + num_samples + beside)

    def power(signals):
        segment = signals[..., beside : beside + num_samples]
        return (segment**2).mean(axis=(1, 2))

    source_keys, noise_keys = jnp.moveaxis(
        jax.vmap(lambda key: jax.random.split(key, 2))(keys), 1, 0
    )
    of_speech, of_noise = furnished.disturbances(keys, inside, sources)
    speech = _dry_spectra(dry, settings)
    room = walls, after(speech, nodes), sources, of_speech
    if settings.late == "full":
        responses = sound_fields.full_spectra(*room, copies, settings, chunk)
    else:
        responses = sound_fields.thinned_spectra(source_keys, *room, settings, chunk)
    signals = to_signals((responses * speech[:, :, None]).sum(axis=1))
    speech_power = power(signals)
    noise_power = jnp.zeros_like(speech_power)
    if noise is not None:
        if settings.noise != "point":
            # Delays are circular, so the noise must fill the whole transform.
            noise = jnp.pad(noise, ((0, 0), (0, num_fft - noise.shape[1])), mode="wrap")
        noise = _dry_spectra(after(signals, noise), settings)
        nodes = after(noise, nodes)
        if settings.noise == "point":
            room = walls, nodes, noise_source, of_noise
            paths = sound_fields.thinned_spectra(noise_keys, *room, settings, chunk)
            paths = paths[:, 0]
        else:
            paths = sound_fields.diffuse_spectra(noise_keys, nodes, settings)
        received = to_signals(paths * noise[:, None])
        noise_power = power(received)
        wanted = speech_power / 10 ** (snr_db / 10)
        gain = jnp.sqrt(wanted / jnp.maximum(noise_power, jnp.finfo(jnp.float32).tiny))
        signals += gain[:, None, None] * received
    if clocks:
        signals = jax.vmap(
            lambda *one: node_clocks.read_by_clocks(*one, beside, num_samples)
        )(signals, inside.drifts_ppm, inside.offsets)
    if inside is not None and inside.gains is not None:
        signals *= inside.gains[..., None]
    if settings.responses:
        length = settings.response_length + 2 * nonuniform_fft.LEAD
        responses = jnp.fft.irfft(after(signals, responses), num_fft)[..., :length]
    else:
        responses = None
    return Rendered(signals, speech_power, noise_power, responses)


def _cut(signals: Float[Array, "*B D"], start: int, stop: int) -> Float[Array, "*B N"]:
    """Cut samples out of signals, with zeros where they have none."""
    length = signals.shape[-1]
    inside = signals[..., max(start, 0) : min(stop, length)]
    widths = [(0, 0)] * (signals.ndim - 1)
    return jnp.pad(inside, [*widths, (max(-start, 0), max(stop - length, 0))])


def _dry_spectra(dry: Float[Array, "*B D"], settings: RenderSettings):
    """Transform dry signals and high-pass them with zero phase.

    The filter is a Butterworth filter of order 2, run forward and backward.
    """
    spectra = jnp.fft.rfft(dry, settings.num_fft)
    if not settings.highpass:
        return spectra
    frequencies = np.fft.rfftfreq(settings.num_fft, 1 / constants.SAMPLE_RATE)
    relative = (frequencies / settings.highpass) ** 4
    return spectra * jnp.asarray(relative / (1 + relative), jnp.float32)
