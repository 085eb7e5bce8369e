"""Signals at the nodes of reverberant rooms, many rooms at once, in JAX.

Shoebox rooms by the image source method, the same on CPU, GPU and TPU: all
pulses of all images are deposited on a grid (`gridding`), transformed, multiplied
with the spectra of the dry signals, summed over sources and transformed back. No
impulse response is formed unless one asks for it. Conventions are those of
pyroomacoustics: reflections of positive gain sqrt(1 - a), amplitude 1 / r, no
absorption by the air, omnidirectional sources and nodes, walls all alike.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

from uld_jax import acoustics, errors, gridding, image_source, scenes

LATE_FIELDS = ("thinned", "full")
NOISES = ("point", "diffuse", "independent")

_LAST_RADIUS = 1.25  # Of the way sound goes in T60; what is later is below -60 dB.
_NUM_WAVES = 64
_FILTER_RINGING = 512  # Samples.
_LEAST_DISTANCE = 1e-3  # Meters from a source to a node.


class RenderingError(errors.InputError):
    """A room or a signal that cannot be rendered, with the reason."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How rooms are rendered; one compilation for each value.

    The defaults suit every room and T60 of Sec. 3.1. The dry signals have
    `before` + `num_samples` samples: what is said before the segment still
    reverberates in it.

    Attributes:
        num_samples: Length N of the segment.
        before: Samples of the dry signals ahead of it.
        late: "full": every image up to the order that T60 asks for. "thinned":
            every early image and a random share of the late ones, in
            `image_source.thinned_images`; the noise source always gets this one.
        noise: How the noise comes to the nodes. "point": from a source in the
            room. "diffuse": by 64 plane waves from all around, each a part of the
            signal of its own. "independent": a part of its own at every node.
        deterministic: Sums in int32, which are bit-identical in whatever order an
            accelerator adds. Otherwise in float32.
        responses: Also return the impulse responses.
        highpass: Dry signals and noise lose what is below this frequency, in Hz;
            0 for none. Their lowest frequencies would otherwise dominate the
            reverberation, since all its pulses are positive.
        response_length: Samples of a response; images that arrive later are left
            out.
        largest_order: Largest order of reflections.
        num_late: Thinned: drawn late images.
        num_exact: Thinned: room for early images.
        num_candidates: Thinned: room copies to look through for early images.
        chunk: Images handled at once; by default what suits the device.
        rooms_at_once: Rooms handled at once; by default one on a CPU, else 32.
    """

    num_samples: int = 32_000
    before: int = 8_000
    late: str = "thinned"
    noise: str = "point"
    deterministic: bool = False
    responses: bool = False
    highpass: float = 80.0
    response_length: int = 24_000
    largest_order: int = 146
    num_late: int = 16_384
    num_exact: int = 2560
    num_candidates: int = 8192
    chunk: int | None = None
    rooms_at_once: int | None = None

    def __post_init__(self):
        for name, known in (("late", LATE_FIELDS), ("noise", NOISES)):
            if getattr(self, name) not in known:
                raise RenderingError(
                    f"{name} is {getattr(self, name)!r}; there are {', '.join(known)}"
                )
        if self.num_samples < 1 or self.before < 0 or self.response_length < 1:
            raise RenderingError(
                f"lengths must be positive: num_samples {self.num_samples}, before "
                f"{self.before}, response_length {self.response_length}"
            )

    @property
    def num_dry(self) -> int:
        """Samples of each dry signal."""
        return self.before + self.num_samples

    @property
    def num_fft(self) -> int:
        """Length of the transforms: what wraps around falls before the segment."""
        heard = self.num_samples + max(self.before, self.response_length)
        needed = heard + 2 * gridding.LEAD + _FILTER_RINGING
        return 2 * scipy.fft.next_fast_len((needed + 1) // 2, real=True)


class Rooms(NamedTuple):
    """A batch of B rooms with M nodes and S sources, in meters, on the host.

    Attributes:
        size: [B, 3].
        t60: Reverberation time by Sabine's formula, [B] in seconds; 0 for none.
        node_positions: [B, M, 3].
        source_positions: [B, S, 3].
        noise_position: [B, 3], for a point source of noise; else None.
        snr_db: Power of all speech over that of the noise, means over the nodes and
            the segment, [B] in dB.
    """

    size: np.ndarray
    t60: np.ndarray
    node_positions: np.ndarray
    source_positions: np.ndarray
    noise_position: np.ndarray | None = None
    snr_db: np.ndarray | None = None

    @classmethod
    def of(cls, batch: Sequence[scenes.Scene]) -> "Rooms":
        """Return the rooms of scenes with equal numbers of nodes and sources.

        Raises:
            RenderingError: If there are none or their numbers differ.
        """
        if not batch:
            raise RenderingError("no scenes to render")
        for name in ("node_positions", "source_positions"):
            counts = {len(getattr(scene, name)) for scene in batch}
            if len(counts) > 1:
                raise RenderingError(
                    f"scenes of one batch have {sorted(counts)} {name}; they must agree"
                )
        noisy = batch[0].noise_position is not None
        return cls(
            size=np.stack([scene.room_size for scene in batch]),
            t60=np.array([scene.t60 for scene in batch]),
            node_positions=np.stack([scene.node_positions for scene in batch]),
            source_positions=np.stack([scene.source_positions for scene in batch]),
            noise_position=(
                np.stack([scene.noise_position for scene in batch]) if noisy else None
            ),
            snr_db=np.array([scene.snr_db for scene in batch]),
        )


class Rendered(NamedTuple):
    """What the nodes hear.

    Attributes:
        signals: [B, M, N], speech and noise, all nodes on one clock.
        speech: Mean power of the speech over nodes and segment, [B].
        noise: The same of the noise, before it is scaled to the SNR, [B].
        responses: [B, S, M, R + 80] where asked for, from a source at unit
            distance 1 to a node; time zero is at sample 40. Else None.
    """

    signals: jax.Array
    speech: jax.Array
    noise: jax.Array
    responses: jax.Array | None


def walls(rooms: Rooms, settings: Settings) -> image_source.Walls:
    """Return what the images of rooms depend on, [B] or [B, 3] each.

    Raises:
        RenderingError: If the settings leave no room for the images, naming the
            one to raise.
        acoustics.AcousticsError: If no absorption gives a room's T60.
    """
    size = np.asarray(rooms.size, np.float64)
    t60 = np.asarray(rooms.t60, np.float64)
    absorption, order = np.ones(len(t60)), np.zeros(len(t60), int)
    if (some := t60 != 0).any():
        absorption[some] = acoustics.sabine_absorption(size[some], t60[some])
        order[some] = acoustics.image_order(size[some], t60[some])
    if settings.late == "full" and order.max() > settings.largest_order:
        worst = order.argmax()
        raise RenderingError(
            f"T60 {t60[worst]:.3g} s in a room of {size[worst].round(3).tolist()} m "
            f"needs images up to order {order[worst]}; largest_order is "
            f"{settings.largest_order}"
        )
    last = np.maximum(_LAST_RADIUS * t60 * acoustics.SPEED_OF_SOUND, 1.0)
    first, exact = image_source.thinning(size, last, settings.num_late)
    for needed, name in (
        (image_source.largest_num_exact(size, exact), "num_exact"),
        (image_source.num_candidates(size, exact), "num_candidates"),
    ):
        if needed > getattr(settings, name):
            raise RenderingError(
                f"the early images of these rooms need {name} of {needed}; it is "
                f"{getattr(settings, name)}"
            )
    floats = (size, np.sqrt(1 - absorption), exact, first, last)
    size, reflection, exact, first, last = (a.astype(np.float32) for a in floats)
    return image_source.Walls(
        size, reflection, order.astype(np.int32), exact, first, last
    )


def _check(rooms: Rooms, dry, noise, settings: Settings) -> None:
    """Raise unless everything has the right shape and is where it can be."""
    if not len(rooms.size):
        raise RenderingError("an empty batch of rooms")
    num_rooms, num_sources = np.shape(rooms.source_positions)[:2]
    for name, actual, wanted in (
        ("dry", np.shape(dry), (num_rooms, num_sources, settings.num_dry)),
        ("noise", np.shape(noise), (num_rooms, settings.num_dry)),
        ("t60", np.shape(rooms.t60), (num_rooms,)),
        ("snr_db", np.shape(rooms.snr_db), (num_rooms,)),
    ):
        given = {"noise": noise, "snr_db": rooms.snr_db}.get(name, dry) is not None
        if given and actual != wanted:
            raise RenderingError(f"{name} has shape {actual}; it must be {wanted}")
    if noise is not None and rooms.snr_db is None:
        raise RenderingError("noise is given without snr_db")
    positions = {"nodes": rooms.node_positions, "sources": rooms.source_positions}
    if noise is not None and settings.noise == "point":
        if rooms.noise_position is None:
            raise RenderingError("noise from a point needs noise_position")
        positions["noise"] = rooms.noise_position[:, None]
    for name, value in {"size": rooms.size, "t60": rooms.t60, **positions}.items():
        if not np.isfinite(value).all():
            raise RenderingError(f"{name} holds NaN or infinity")
    if noise is not None and np.isnan(rooms.snr_db).any():
        raise RenderingError("snr_db holds NaN")
    for name, value in positions.items():
        outside = (value < 0) | (value > rooms.size[:, None])
        if outside.any():
            room, number, _ = np.argwhere(outside)[0]
            raise RenderingError(
                f"{name} {number} of room {room} is at {value[room, number].tolist()}, "
                f"outside its {rooms.size[room].tolist()} m"
            )
        if name != "nodes":
            offset = value[:, :, None] - rooms.node_positions[:, None]
            near = np.linalg.norm(offset, axis=-1) < _LEAST_DISTANCE
            if near.any():
                room, number, node = np.argwhere(near)[0]
                raise RenderingError(
                    f"{name} {number} of room {room} is less than "
                    f"{_LEAST_DISTANCE} m from node {node}"
                )


def render(
    rooms: Rooms,
    dry: Float[Array | np.ndarray, "B S D"],
    keys: Array,
    settings: Settings,
    noise: Float[Array | np.ndarray, "_ _"] | None = None,
) -> Rendered:
    """Return what the nodes of many rooms hear of their sources and of noise.

    The same room, signals and key give the same result in a batch of any size.

    Args:
        rooms: The rooms.
        dry: Dry signals of all sources at 16 kHz, D = before + N.
        keys: A random key for each room, [B].
        settings: How to render.
        noise: Dry noise, [B, D]; None for none.

    Raises:
        RenderingError: If shapes do not agree, something is outside its room or
            on top of a node, not finite, or beyond what the settings allow.
        acoustics.AcousticsError: If no absorption gives a room's T60.
    """
    _check(rooms, dry, noise, settings)
    rooms_walls = walls(rooms, settings)
    cpu = jax.default_backend() == "cpu"
    at_once = settings.rooms_at_once or (1 if cpu else 32)
    settings = dataclasses.replace(
        settings,
        chunk=settings.chunk or (256 if cpu else 4096),
        rooms_at_once=min(at_once, len(rooms.size)),
    )

    def centered(positions):
        middle = np.asarray(rooms.size, np.float64)[:, None] / 2
        return (np.asarray(positions, np.float64) - middle).astype(np.float32)

    point = noise is not None and settings.noise == "point"
    return _render(
        rooms_walls,
        centered(rooms.node_positions),
        centered(rooms.source_positions),
        centered(rooms.noise_position[:, None]) if point else None,
        None if noise is None else np.asarray(rooms.snr_db, np.float32),
        dry,
        noise,
        keys,
        _copies(settings) if settings.late == "full" else None,
        settings=settings,
    )


@functools.lru_cache(maxsize=2)
def _copies_on_device(order: int, chunk: int) -> jax.Array:
    copies = image_source.copies(order)
    # What fills the last chunk is of too high an order to sound.
    filling = np.full((-len(copies) % chunk, 3), order + 1, np.int16)
    return jnp.asarray(np.concatenate([copies, filling]).T)


def _copies(settings: Settings) -> jax.Array:
    return _copies_on_device(settings.largest_order, settings.chunk)


@functools.partial(jax.jit, static_argnames="settings")
def _render(
    walls, nodes, sources, noise_source, snr_db, dry, noise, keys, copies, *, settings
) -> Rendered:
    """Render group by group of rooms."""
    per_room = (walls, nodes, sources, noise_source, snr_db, dry, noise, keys)
    num_rooms, at_once = len(nodes), settings.rooms_at_once
    rows = jnp.minimum(jnp.arange(-(-num_rooms // at_once) * at_once), num_rooms - 1)
    groups = jax.tree.map(
        lambda array: array[rows].reshape(-1, at_once, *array.shape[1:]), per_room
    )
    rendered = jax.lax.map(
        lambda group: _render_group(*group, copies, settings), groups
    )
    return jax.tree.map(
        lambda array: array.reshape(-1, *array.shape[2:])[:num_rooms], rendered
    )


def _render_group(
    walls, nodes, sources, noise_source, snr_db, dry, noise, keys, copies, settings
) -> Rendered:
    """Render b rooms together; every array has a leading axis b."""
    num_fft, first = settings.num_fft, gridding.LEAD + settings.before
    segment = slice(first, first + settings.num_samples)
    source_keys, noise_keys = jnp.moveaxis(
        jax.vmap(lambda key: jax.random.split(key, 2))(keys), 1, 0
    )
    if settings.late == "full":
        responses = _full_spectra(walls, nodes, sources, copies, settings)
    else:
        responses = _thinned_spectra(source_keys, walls, nodes, sources, settings)
    heard = (responses * _dry_spectra(dry, settings)[:, :, None]).sum(axis=1)
    signals = jnp.fft.irfft(heard, num_fft)[..., segment]
    speech_power = (signals**2).mean(axis=(1, 2))
    noise_power = jnp.zeros_like(speech_power)
    if noise is not None:
        if settings.noise == "point":
            paths = _thinned_spectra(noise_keys, walls, nodes, noise_source, settings)
            paths = paths[:, 0]
        else:
            # Delays go round in a circle, so the noise must fill it.
            noise = jnp.pad(noise, ((0, 0), (0, num_fft - noise.shape[1])), mode="wrap")
            paths = _diffuse_spectra(noise_keys, nodes, settings)
        heard = paths * _dry_spectra(noise, settings)[:, None]
        received = jnp.fft.irfft(heard, num_fft)[..., segment]
        noise_power = (received**2).mean(axis=(1, 2))
        wanted = speech_power / 10 ** (snr_db / 10)
        gain = jnp.sqrt(wanted / jnp.maximum(noise_power, jnp.finfo(jnp.float32).tiny))
        signals += gain[:, None, None] * received
    if settings.responses:
        length = settings.response_length + 2 * gridding.LEAD
        responses = jnp.fft.irfft(responses, num_fft)[..., :length]
    else:
        responses = None
    return Rendered(signals, speech_power, noise_power, responses)


def _dry_spectra(dry: Float[Array, "*B D"], settings: Settings):
    """Return spectra of dry signals, high-passed with zero phase.

    The filter is that of a Butterworth filter of order 2 run forth and back.
    """
    spectra = jnp.fft.rfft(dry, settings.num_fft)
    if not settings.highpass:
        return spectra
    frequencies = np.fft.rfftfreq(settings.num_fft, 1 / acoustics.SAMPLE_RATE)
    relative = (frequencies / settings.highpass) ** 4
    return spectra * jnp.asarray(relative / (1 + relative), jnp.float32)


def _thinned_spectra(keys, walls, nodes, sources, settings: Settings):
    """Return the spectra [b, S, M, F] of the thinned responses."""
    num_sources = sources.shape[1]
    keys = jax.vmap(lambda key: jax.random.split(key, num_sources))(keys)
    thinned = functools.partial(
        image_source.thinned_images,
        num_late=settings.num_late,
        num_exact=settings.num_exact,
        num_candidates=settings.num_candidates,
    )
    images = jax.vmap(jax.vmap(thinned, (0, 0, None)))(keys, sources, walls)
    num_images = images.amplitudes.shape[-1]
    chunk = settings.chunk
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


def _full_spectra(walls, nodes, sources, copies, settings: Settings):
    """Return the spectra [b, S, M, F] of the responses with all images."""
    all_images = jax.vmap(
        jax.vmap(image_source.all_images, (None, 0, None)), (None, 0, 0)
    )

    def chunk_images(number):
        chunk = jax.lax.dynamic_slice_in_dim(
            copies, number * settings.chunk, settings.chunk, axis=1
        )
        return all_images(chunk.T, sources, walls)

    order = walls.order.max()
    num_images = (2 * order + 1) * (2 * order**2 + 2 * order + 3) // 3
    num_chunks = -(-num_images // settings.chunk)
    return _spectra(chunk_images, num_chunks, nodes, sources, settings)


def _spectra(chunk_images, num_chunks, nodes, sources, settings: Settings):
    """Deposit all chunks of images and return the spectra [b, S, M, F].

    In the grid the direct sound has amplitude 1 at every node, which makes the best
    of int32.
    """
    batch = (*sources.shape[:2], nodes.shape[1])
    offset = sources[:, :, None] - nodes[:, None]
    direct = jnp.sqrt((offset**2).sum(-1))
    last = float(settings.response_length - 1)

    def add(number, grid):
        # The barrier keeps XLA from computing the images anew for every node.
        images = jax.lax.optimization_barrier(chunk_images(number))
        squared = sum(
            (images.positions[:, :, None, :, axis] - nodes[:, None, :, None, axis]) ** 2
            for axis in range(3)
        )
        nearness = jax.lax.rsqrt(squared)
        delays = squared * nearness * (acoustics.SAMPLE_RATE / acoustics.SPEED_OF_SOUND)
        gains = images.amplitudes[:, :, None] * direct[..., None] * nearness
        gains = jnp.where(delays <= last, gains, 0.0)
        return gridding.deposit(grid, jnp.minimum(delays, last), gains)

    grid = gridding.empty(batch, settings.num_fft, deterministic=settings.deterministic)
    grid = jax.lax.fori_loop(0, num_chunks, add, grid)
    return gridding.spectra(grid, batch, settings.num_fft) / direct[..., None]


def _diffuse_spectra(keys, nodes, settings: Settings):
    """Return the spectra [b, M, F] of noise that comes from everywhere."""
    num_fft, num_nodes = settings.num_fft, nodes.shape[1]
    longest = num_fft - 2 * gridding.LEAD - 2
    samples_per_meter = acoustics.SAMPLE_RATE / acoustics.SPEED_OF_SOUND

    def delays(key, nodes):
        start_key, turn_key = jax.random.split(key)
        if settings.noise == "independent":
            return jax.random.uniform(start_key, (num_nodes, 1)) * longest
        starts = jax.random.uniform(start_key, (_NUM_WAVES,))
        directions = jax.random.normal(turn_key, (_NUM_WAVES, 3))
        directions /= jnp.linalg.norm(directions, axis=-1, keepdims=True)
        delays = samples_per_meter * nodes @ directions.T
        delays -= delays.min()
        return delays + starts * (longest - delays.max())

    delays = jax.vmap(delays)(keys, nodes)
    batch = delays.shape[:-1]
    grid = gridding.empty(batch, num_fft, deterministic=settings.deterministic)
    grid = gridding.deposit(grid, delays, jnp.ones_like(delays))
    return gridding.spectra(grid, batch, num_fft)
