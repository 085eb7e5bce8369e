"""Rooms to be rendered, how, and whether they can be; on the host, in NumPy."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.acoustics import constants
from uld_jax.runtime import errors
from uld_jax.simulation import image_source, nonuniform_fft, scenes

LATE_FIELDS = ("thinned", "full")
NOISES = ("point", "diffuse", "independent")

# Static shapes that suit every room and T60 of Sec. 3.1.
LARGEST_ORDER = 146  # Of reflections.
NUM_EXACT = 2560  # Thinned: early images.
NUM_CANDIDATES = 8192  # Thinned: room copies to search for early images.

_LAST_RADIUS = 1.25  # Of the way sound goes in T60; -54 dB or less is later.
_RINGING = 2.56  # Periods of the high-pass.
_LEAST_DISTANCE = 1e-3  # Meters from a source to a node.


class RenderingError(errors.InputError):
    """A room or a signal that cannot be rendered, with the reason."""


@dataclasses.dataclass(frozen=True)
class RenderSettings:
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
        num_late: Thinned: drawn late images.
    """

    num_samples: int = 32_000
    before: int = 8_000
    late: str = "thinned"
    noise: str = "point"
    deterministic: bool = False
    responses: bool = False
    highpass: float = 80.0
    response_length: int = 24_000
    num_late: int = 16_384

    def __post_init__(self):
        for name, known in (("late", LATE_FIELDS), ("noise", NOISES)):
            if getattr(self, name) not in known:
                raise RenderingError(
                    f"{name} is {getattr(self, name)!r}; there are {', '.join(known)}"
                )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not value >= 0:
                raise RenderingError(f"{field.name} is {value}; it cannot be negative")
        for name in ("num_samples", "response_length"):
            if getattr(self, name) == 0:
                raise RenderingError(f"{name} is 0; it must be positive")
        if self.num_late % image_source.LARGEST_GROUP or not self.num_late:
            raise RenderingError(
                f"num_late is {self.num_late}; it must be a multiple of "
                f"{image_source.LARGEST_GROUP}, the most images that are drawn together"
            )

    @property
    def num_dry(self) -> int:
        """Samples of each dry signal."""
        return self.before + self.num_samples

    @property
    def num_fft(self) -> int:
        """Length of the transforms: what wraps around falls before the segment."""
        heard = self.num_samples + max(self.before, self.response_length)
        ringing = (
            _RINGING * constants.SAMPLE_RATE / self.highpass if self.highpass else 0
        )
        needed = heard + 2 * nonuniform_fft.LEAD + math.ceil(ringing)
        return 2 * scipy.fft.next_fast_len((needed + 1) // 2, real=True)


class Rooms(NamedTuple):
    """A batch of B rooms with M nodes and S sources, in meters, on the host.

    Sequences are taken as arrays.

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
        noisy = all(scene.noise_position is not None for scene in batch)
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


def compute_walls(rooms: Rooms, settings: RenderSettings) -> image_source.Walls:
    """Return what the images of rooms depend on, [B] or [B, 3] each.

    Raises:
        absorption[some] = absorption_lib.sabine_absorption(size[some], t60[some])
        order[some] = absorption_lib.image_order(size[some], t60[some])
    if settings.late == "full" and order.max() > LARGEST_ORDER:
    """
    size = np.asarray(rooms.size, np.float64)
    t60 = np.asarray(rooms.t60, np.float64)
    absorption, order = np.ones(len(t60)), np.zeros(len(t60), int)
    if (some := t60 != 0).any():
        absorption[some] = absorption_lib.sabine_absorption(size[some], t60[some])
        order[some] = absorption_lib.image_order(size[some], t60[some])
    if settings.late == "full" and order.max() > LARGEST_ORDER:
        worst = order.argmax()
        raise RenderingError(
            f"T60 {t60[worst]:.3g} s in a room of {size[worst].round(3).tolist()} m "
            f"needs images up to order {order[worst]}; at most {LARGEST_ORDER} are "
            "possible: lower the T60"
        )
    if (long := t60 * constants.SAMPLE_RATE > settings.response_length).any():
        raise RenderingError(
            f"T60 {t60[long.argmax()]:.3g} s is longer than the responses, which end "
            f"after response_length = {settings.response_length} samples"
        )
    last = _LAST_RADIUS * t60 * constants.SPEED_OF_SOUND
    first, exact = image_source.thinning(size, np.maximum(last, 1.0), settings.num_late)
    # The direct sound alone.
    first, exact = (
        np.where(some, r, np.linalg.norm(size, axis=-1)) for r in (first, exact)
    )
    last = np.maximum(last, first + 1.0)
    thinned = settings.late == "thinned" or rooms.noise_position is not None
    for needed, most, name in (
        (image_source.largest_num_exact(size, exact), NUM_EXACT, "images"),
        (image_source.num_candidates(size, exact), NUM_CANDIDATES, "room copies"),
    ):
        if thinned and needed > most:
            raise RenderingError(
                f"the early sound of these rooms needs {needed} {name}; a thinned field "
                f'has at most {most}: use late="full", and no noise from a point'
            )
    floats = (size, np.sqrt(1 - absorption), exact, first, last)
    size, reflection, exact, first, last = (a.astype(np.float32) for a in floats)
    return image_source.Walls(
        size, reflection, order.astype(np.int32), exact, first, last
    )


def check_rooms(
    rooms: Rooms, dry: Any, keys: Any, noise: Any, settings: RenderSettings
) -> None:
    """Raise unless everything has the right shape and is where it can be.

    Raises:
        RenderingError: With the first thing that is wrong, and where.
    """
    _check_shapes(rooms, dry, keys, noise, settings)
    positions = {"nodes": rooms.node_positions, "sources": rooms.source_positions}
    values = {"size": rooms.size, "t60": rooms.t60}
    if noise is not None:
        values["snr_db"] = rooms.snr_db
        if settings.noise == "point":
            positions["noise"] = rooms.noise_position[:, None]
    # Signals on a device are not waited for.
    signals = {"dry": dry, "noise": noise}
    values |= {k: v for k, v in signals.items() if isinstance(v, np.ndarray)}
    for name, value in {**values, **positions}.items():
        finite = value > -np.inf if name == "snr_db" else np.isfinite(value)
        if not finite.all():
            where = np.argwhere(~finite)[0].tolist()
            raise RenderingError(f"{name} holds {value[tuple(where)]} at {where}")
    if not (rooms.size > 0).all():
        raise RenderingError(f"size is {rooms.size.tolist()} m; sides must be positive")
    for name, value in positions.items():
        outside = (value < 0) | (value > rooms.size[:, None])
        if outside.any():
            room, number, _ = np.argwhere(outside)[0]
            raise RenderingError(
                f"{name} {number} of room {room} is at "
                f"{value[room, number].round(4).tolist()}, outside its "
                f"{rooms.size[room].round(4).tolist()} m"
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


def _check_shapes(rooms: Rooms, dry, keys, noise, settings: RenderSettings) -> None:
    """Raise unless all shapes agree."""
    for name in ("node_positions", "source_positions"):
        shape = np.shape(getattr(rooms, name))
        if len(shape) != 3 or shape[2] != 3 or not shape[1]:
            raise RenderingError(
                f"{name} has shape {shape}; it must be [B, number, 3], at least one"
            )
    num_rooms, num_sources, _ = np.shape(rooms.source_positions)
    if not num_rooms:
        raise RenderingError("an empty batch of rooms")
    if noise is not None and rooms.snr_db is None:
        raise RenderingError("noise is given without snr_db")
    if noise is not None and settings.noise == "point" and rooms.noise_position is None:
        raise RenderingError("noise from a point needs noise_position")
    wanted = {
        "size": (rooms.size, (num_rooms, 3)),
        "t60": (rooms.t60, (num_rooms,)),
        "node_positions": (rooms.node_positions[..., 0, :], (num_rooms, 3)),
        "noise_position": (rooms.noise_position, (num_rooms, 3)),
        "snr_db": (rooms.snr_db, (num_rooms,)),
        "keys": (keys, (num_rooms,)),
        "dry": (dry, (num_rooms, num_sources, settings.num_dry)),
        "noise": (noise, (num_rooms, settings.num_dry)),
    }
    for name, (value, shape) in wanted.items():
        if value is not None and np.shape(value) != shape:
            raise RenderingError(
                f"{name} has shape {np.shape(value)}; it must be {shape}"
            )
