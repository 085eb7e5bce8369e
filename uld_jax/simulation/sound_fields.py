"""Spectra of the paths from sources to nodes: of rooms, plane waves, independent noise.

Pulses are deposited on a grid and transformed (`nonuniform_fft`). Where sources face a
direction or walls absorb by frequency, pulses have two amplitudes, below and above 1 kHz.
Those above are deposited as ever. What they lack below goes to a second grid of an eighth of
the rate, and is added to the lowest frequencies after its transform.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from uld_jax.acoustics import constants
from uld_jax.simulation import image_source, nonuniform_fft, thinning
from uld_jax.simulation.rooms import NUM_CANDIDATES, NUM_EXACT, RenderSettings

_NUM_WAVES = 64
_SAMPLES_PER_METER = constants.SAMPLE_RATE / constants.SPEED_OF_SOUND
# An echo that was displaced to before the direct sound comes with it. Less than 1, so that
# the direct sound itself stays to the bit.
_NEAREST = 1 - 1e-6
_STANDS_FOR = 4  # Late images that one of a low grid stands for.


def after(done: Array, array: Array) -> Array:
    """Make an array depend on another one, so that it is computed after it."""
    # On CPUs with jax 0.11.2, two Fourier transforms that run at once wait for each
    # other forever. XLA would optimize a barrier away, but not the sum with zero times
    # a value that might be NaN.
    return array + 0.0 * done.ravel()[0].real


def thinned_spectra(
    keys: Array,
    walls: image_source.Walls,
    nodes: Array,
    sources: Array,
    disturbance: image_source.Disturbance | None,
    settings: RenderSettings,
    chunk: int,
):
    """Compute the spectra [b, S, M, F] of the thinned responses.

    Args:
        keys: [b], random keys.
        walls: The rooms, each array with a leading axis b.
        nodes: [b, M, 3] in meters from the rooms' centers.
        sources: [b, S, 3].
        disturbance: Of the images, each array with leading axes b, S; None for nothing.
        settings: How to render.
        chunk: Images to deposit at once.
    """
    num_sources = sources.shape[1]
    keys = jax.vmap(lambda key: jax.random.split(key, num_sources))(keys)
    thinned = functools.partial(
        thinning.thinned_images,
        num_late=settings.num_late,
        num_exact=NUM_EXACT,
        num_candidates=NUM_CANDIDATES,
    )
    images = jax.vmap(jax.vmap(thinned, (0, 0, None, 0)))(
        keys, sources, walls, disturbance
    )
    few = None
    if images.low_amplitudes is not None:
        few = _chunks(*_few_of(images), chunk)
    many = _chunks(images, 1.0, chunk)
    return _spectra(many, few, nodes, sources, disturbance, settings)


def _few_of(images: image_source.Images) -> tuple[image_source.Images, Array]:
    """Choose images for a low grid: the early ones, and one group of late ones in four.

    Also returns of how many each one is. A band of 1 kHz needs no more pulses.
    """
    early = jnp.arange(NUM_EXACT)
    blocks = jnp.arange(NUM_EXACT, images.amplitudes.shape[-1]).reshape(
        -1, thinning.LARGEST_GROUP
    )
    late = blocks[::_STANDS_FOR].ravel()
    chosen = jnp.concatenate([early, late])
    counts = jnp.concatenate([early * 0 + 1.0, late * 0 + float(_STANDS_FOR)])
    return jax.tree.map(lambda values: values[:, :, chosen], images), counts


class _Chunks(NamedTuple):
    """Images chunk by chunk: a function of the chunk's number, and their count."""

    take: Callable[[Array], tuple[image_source.Images, Array | float]]
    count: int | Array


def _chunks(images: image_source.Images, counts, chunk: int) -> _Chunks:
    """Cut images into chunks, with how many each image stands for."""
    num_images = images.amplitudes.shape[-1]
    padding = -num_images % chunk

    def pad(values: Array, mode: str = "constant") -> Array:
        widths = [(0, 0)] * values.ndim
        widths[2] = (0, padding)
        return jnp.pad(values, widths, mode=mode)

    images = jax.tree.map(pad, images)._replace(positions=pad(images.positions, "edge"))

    def take(number):
        def cut(array, axis):
            first = number * chunk
            return jax.lax.dynamic_slice_in_dim(array, first, chunk, axis=axis)

        some = jax.tree.map(lambda array: cut(array, 2), images)
        if isinstance(counts, float):
            return some, counts
        return some, cut(jnp.pad(counts, (0, padding), constant_values=1.0), 0)

    return _Chunks(take, (num_images + padding) // chunk)


def full_spectra(
    walls: image_source.Walls,
    nodes: Array,
    sources: Array,
    disturbance: image_source.Disturbance | None,
    copies: Array,
    settings: RenderSettings,
    chunk: int,
):
    """Compute the spectra [b, S, M, F] of the responses with all images.

    Args:
        walls: The rooms, each array with a leading axis b.
        nodes: [b, M, 3] in meters from the rooms' centers.
        sources: [b, S, 3].
        disturbance: Of the images, each array with leading axes b, S; None for nothing.
        copies: [3, n], room copies by number of reflections.
        settings: How to render.
        chunk: Images to deposit at once.
    """
    all_images = jax.vmap(
        jax.vmap(image_source.all_images, (None, 0, None, 0)), (None, 0, 0, 0)
    )

    def take(number):
        some = jax.lax.dynamic_slice_in_dim(copies, number * chunk, chunk, axis=1)
        return all_images(some.T, sources, walls, disturbance), 1.0

    num_images = image_source.num_images(walls.order.max())
    chunks = _Chunks(take, -(-num_images // chunk))
    low = None if walls.log_gains is None else chunks
    return _spectra(chunks, low, nodes, sources, disturbance, settings)


def _spectra(
    chunks: _Chunks,
    low_chunks: _Chunks | None,
    nodes,
    sources,
    disturbance: image_source.Disturbance | None,
    settings: RenderSettings,
):
    """Deposit all chunks of images and transform them to spectra [b, S, M, F].

    The chunks for the low grid are None with one band.
    """
    # In the grid the direct sound has amplitude 1 at every node, to use int32 fully.
    batch = (*sources.shape[:2], nodes.shape[1])
    offset = sources[:, :, None] - nodes[:, None]
    direct = jnp.sqrt((offset**2).sum(-1))
    last = float(settings.response_length - 1)

    def fill(chunks: _Chunks, low: bool) -> Array:
        decimation = nonuniform_fft.low_decimation(settings.num_fft) if low else 1

        def add(number, grid):
            # The barrier keeps XLA from computing the images again for every node.
            images, counts = jax.lax.optimization_barrier(chunks.take(number))
            ways = [
                images.positions[:, :, None, :, axis] - nodes[:, None, :, None, axis]
                for axis in range(3)
            ]
            squared = sum(way**2 for way in ways)
            if disturbance is not None:
                nearest = _NEAREST * direct[..., None] ** 2
                squared = jnp.where(squared < nearest, nearest, squared)
            nearness = jax.lax.rsqrt(squared)
            delays = squared * nearness * _SAMPLES_PER_METER
            amplitudes = images.amplitudes[:, :, None]
            if low_chunks is not None:
                amplitudes *= _directed(images, ways, nearness, disturbance)
            if low:
                more = images.low_amplitudes[:, :, None]
                amplitudes = _lacking(amplitudes, more, counts)
            gains = amplitudes * direct[..., None] * nearness
            gains = jnp.where(delays <= last, gains, 0.0)
            # Not a minimum: with what it does for NaN, it takes as long as all the rest.
            delays = jnp.where(delays <= last, delays, last)
            return nonuniform_fft.deposit(grid, delays, gains, decimation)

        grid = nonuniform_fft.empty(
            batch,
            settings.num_fft,
            deterministic=settings.deterministic,
            decimation=decimation,
        )
        return jax.lax.fori_loop(0, chunks.count, add, grid)

    grid = fill(chunks, low=False)
    spectra = nonuniform_fft.spectra(grid, batch, settings.num_fft)
    if low_chunks is not None:
        low = after(spectra, fill(low_chunks, low=True).astype(jnp.float32))
        spectra = nonuniform_fft.add_low(
            spectra, low, settings.num_fft, deterministic=settings.deterministic
        )
    return spectra / direct[..., None]


def _directed(images: image_source.Images, ways, nearness, disturbance) -> Array:
    """Compute the gains above 1 kHz of sources that face a direction."""
    lost = jnp.sqrt((disturbance.facing**2).sum(-1))[:, :, None, None]
    ahead = -sum(
        way * images.facing[:, :, None, :, axis] for axis, way in enumerate(ways)
    )
    return 1 - lost + ahead * nearness


def _lacking(high: Array, low: Array, counts: Array | float) -> Array:
    """Compute what pulses lack below 1 kHz, where each stands for several.

    Those it stands for have but their amplitude `high` in either grid. It makes up for
    them, so that the energy below 1 kHz is right on average.
    """
    wanted = counts * low**2 - (counts - 1) * high**2
    return jnp.sign(high) * (jnp.sqrt(wanted) - jnp.abs(high))


def diffuse_spectra(keys, nodes, settings: RenderSettings):
    """Compute the spectra [b, M, F] of the paths of diffuse or independent noise."""
    num_fft, num_nodes = settings.num_fft, nodes.shape[1]
    longest = num_fft - 2 * nonuniform_fft.LEAD - 2

    def delays(key, nodes):
        start_key, turn_key = jax.random.split(key)
        if settings.noise == "independent":
            starts = jax.random.uniform(start_key, (num_nodes, 1)) * longest
            return after(nodes, starts)
        starts = jax.random.uniform(start_key, (_NUM_WAVES,))
        directions = jax.random.normal(turn_key, (_NUM_WAVES, 3))
        directions /= jnp.linalg.norm(directions, axis=-1, keepdims=True)
        # A sum, because accelerators round the factors of a matrix product.
        ahead = sum(nodes[:, axis, None] * directions[:, axis] for axis in range(3))
        delays = _SAMPLES_PER_METER * ahead
        delays -= delays.min()
        return delays + starts * (longest - delays.max())

    delays = jax.vmap(delays)(keys, nodes)
    batch = delays.shape[:-1]
    grid = nonuniform_fft.empty(batch, num_fft, deterministic=settings.deterministic)
    gain = 1 / math.sqrt(delays.shape[-1])
    grid = nonuniform_fft.deposit(grid, delays, jnp.full_like(delays, gain))
    return nonuniform_fft.spectra(grid, batch, num_fft)
