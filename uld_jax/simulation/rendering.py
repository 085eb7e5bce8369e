"""Render the signals at the nodes of reverberant rooms, many rooms at once, in JAX.

Shoebox rooms by the image source method, with one code for CPU, GPU and TPU. All pulses
of all images are deposited on a grid (`nonuniform_fft`), transformed, multiplied with the
spectra of the dry signals, summed over sources and transformed back. Impulse responses
are formed only on request. Conventions are those of pyroomacoustics: reflections of
positive gain sqrt(1 - a), amplitude 1 / r, no absorption by the air, omnidirectional
sources and nodes, all walls alike.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.simulation import image_source, nonuniform_fft
from uld_jax.simulation.rooms import (
    LARGEST_ORDER,
    NUM_CANDIDATES,
    NUM_EXACT,
    RenderingError,
    RenderSettings,
    Rooms,
    check_rooms,
    compute_walls,
)

_NUM_WAVES = 64


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
            path of 1 m has amplitude 1; time zero is at sample 40.
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
        # Transforms of two programs must not run at once, either: see `_after`.
        jax.block_until_ready(rendered)
    return rendered


def _arguments(rooms, dry, keys, settings: RenderSettings, noise):
    """Check the arguments of `render`; prepare those of its jitted part."""
    rooms = Rooms(*(None if value is None else np.asarray(value) for value in rooms))
    # Signals on a device stay there.
    dry, noise = (
        value if value is None or isinstance(value, jax.Array) else np.asarray(value)
        for value in (dry, noise)
    )
    check_rooms(rooms, dry, keys, noise, settings)
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
    walls, nodes, sources, noise_source, snr_db, dry, noise, keys = group
    num_fft, first = settings.num_fft, nonuniform_fft.LEAD + settings.before
    segment = slice(first, first + settings.num_samples)
    source_keys, noise_keys = jnp.moveaxis(
        jax.vmap(lambda key: jax.random.split(key, 2))(keys), 1, 0
    )
    speech = _dry_spectra(dry, settings)
    room = walls, _after(speech, nodes), sources
    if settings.late == "full":
        responses = _full_spectra(*room, copies, settings, chunk)
    else:
        responses = _thinned_spectra(source_keys, *room, settings, chunk)
    received = (responses * speech[:, :, None]).sum(axis=1)
    signals = jnp.fft.irfft(received, num_fft)[..., segment]
    speech_power = (signals**2).mean(axis=(1, 2))
    noise_power = jnp.zeros_like(speech_power)
    if noise is not None:
        if settings.noise != "point":
            # Delays are circular, so the noise must fill the whole transform.
            noise = jnp.pad(noise, ((0, 0), (0, num_fft - noise.shape[1])), mode="wrap")
        noise = _dry_spectra(_after(signals, noise), settings)
        nodes = _after(noise, nodes)
        if settings.noise == "point":
            room = walls, nodes, noise_source
            paths = _thinned_spectra(noise_keys, *room, settings, chunk)[:, 0]
        else:
            paths = _diffuse_spectra(noise_keys, nodes, settings)
        received = jnp.fft.irfft(paths * noise[:, None], num_fft)[..., segment]
        noise_power = (received**2).mean(axis=(1, 2))
        wanted = speech_power / 10 ** (snr_db / 10)
        gain = jnp.sqrt(wanted / jnp.maximum(noise_power, jnp.finfo(jnp.float32).tiny))
        signals += gain[:, None, None] * received
    if settings.responses:
        length = settings.response_length + 2 * nonuniform_fft.LEAD
        responses = jnp.fft.irfft(_after(signals, responses), num_fft)[..., :length]
    else:
        responses = None
    return Rendered(signals, speech_power, noise_power, responses)


def _after(done: Array, array: Array) -> Array:
    """Make an array depend on another one, so that it is computed after it."""
    # On CPUs with jax 0.11.2, two Fourier transforms that run at once wait for each
    # other forever. XLA would optimize a barrier away, but not the sum with zero times
    # a value that might be NaN.
    return array + 0.0 * done.ravel()[0].real


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


def _thinned_spectra(keys, walls, nodes, sources, settings: RenderSettings, chunk: int):
    """Compute the spectra [b, S, M, F] of the thinned responses."""
    num_sources = sources.shape[1]
    keys = jax.vmap(lambda key: jax.random.split(key, num_sources))(keys)
    thinned = functools.partial(
        image_source.thinned_images,
        num_late=settings.num_late,
        num_exact=NUM_EXACT,
        num_candidates=NUM_CANDIDATES,
    )
    images = jax.vmap(jax.vmap(thinned, (0, 0, None)))(keys, sources, walls)
    num_images = images.amplitudes.shape[-1]
    padding = -num_images % chunk
    images = image_source.Images(
        jnp.pad(images.positions, ((0, 0), (0, 0), (0, padding), (0, 0)), mode="edge"),
        jnp.pad(images.amplitudes, ((0, 0), (0, 0), (0, padding))),
    )

    def chunk_images(number):
        return jax.tree.map(
            lambda array: jax.lax.dynamic_slice_in_dim(
                array, number * chunk, chunk, axis=2
            ),
            images,
        )

    num_chunks = (num_images + padding) // chunk
    return _spectra(chunk_images, num_chunks, nodes, sources, settings)


def _full_spectra(walls, nodes, sources, copies, settings: RenderSettings, chunk: int):
    """Compute the spectra [b, S, M, F] of the responses with all images."""
    all_images = jax.vmap(
        jax.vmap(image_source.all_images, (None, 0, None)), (None, 0, 0)
    )

    def chunk_images(number):
        some = jax.lax.dynamic_slice_in_dim(copies, number * chunk, chunk, axis=1)
        return all_images(some.T, sources, walls)

    num_images = image_source.num_images(walls.order.max())
    num_chunks = -(-num_images // chunk)
    return _spectra(chunk_images, num_chunks, nodes, sources, settings)


def _spectra(chunk_images, num_chunks, nodes, sources, settings: RenderSettings):
    """Deposit all chunks of images and transform them to spectra [b, S, M, F]."""
    # In the grid the direct sound has amplitude 1 at every node, to use int32 fully.
    batch = (*sources.shape[:2], nodes.shape[1])
    offset = sources[:, :, None] - nodes[:, None]
    direct = jnp.sqrt((offset**2).sum(-1))
    last = float(settings.response_length - 1)

    def add(number, grid):
        # The barrier keeps XLA from computing the images again for every node.
        images = jax.lax.optimization_barrier(chunk_images(number))
        squared = sum(
            (images.positions[:, :, None, :, axis] - nodes[:, None, :, None, axis]) ** 2
            for axis in range(3)
        )
        nearness = jax.lax.rsqrt(squared)
        delays = squared * nearness * (constants.SAMPLE_RATE / constants.SPEED_OF_SOUND)
        gains = images.amplitudes[:, :, None] * direct[..., None] * nearness
        gains = jnp.where(delays <= last, gains, 0.0)
        return nonuniform_fft.deposit(grid, jnp.minimum(delays, last), gains)

    grid = nonuniform_fft.empty(
        batch, settings.num_fft, deterministic=settings.deterministic
    )
    grid = jax.lax.fori_loop(0, num_chunks, add, grid)
    return nonuniform_fft.spectra(grid, batch, settings.num_fft) / direct[..., None]


def _diffuse_spectra(keys, nodes, settings: RenderSettings):
    """Compute the spectra [b, M, F] of the paths of diffuse or independent noise."""
    num_fft, num_nodes = settings.num_fft, nodes.shape[1]
    longest = num_fft - 2 * nonuniform_fft.LEAD - 2
    samples_per_meter = constants.SAMPLE_RATE / constants.SPEED_OF_SOUND

    def delays(key, nodes):
        start_key, turn_key = jax.random.split(key)
        if settings.noise == "independent":
            starts = jax.random.uniform(start_key, (num_nodes, 1)) * longest
            return _after(nodes, starts)
        starts = jax.random.uniform(start_key, (_NUM_WAVES,))
        directions = jax.random.normal(turn_key, (_NUM_WAVES, 3))
        directions /= jnp.linalg.norm(directions, axis=-1, keepdims=True)
        # A sum, because accelerators round the factors of a matrix product.
        ahead = sum(nodes[:, axis, None] * directions[:, axis] for axis in range(3))
        delays = samples_per_meter * ahead
        delays -= delays.min()
        return delays + starts * (longest - delays.max())

    delays = jax.vmap(delays)(keys, nodes)
    batch = delays.shape[:-1]
    grid = nonuniform_fft.empty(batch, num_fft, deterministic=settings.deterministic)
    gain = 1 / math.sqrt(delays.shape[-1])
    grid = nonuniform_fft.deposit(grid, delays, jnp.full_like(delays, gain))
    return nonuniform_fft.spectra(grid, batch, num_fft)
