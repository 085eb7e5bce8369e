"""Rooms to render, and the settings; on the host, in NumPy."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.acoustics import constants
from uld_jax.runtime import errors
from uld_jax.simulation import (
    image_source,
    nonuniform_fft,
    scenes,
    thinning,
    walls,
)
from uld_jax.simulation.furniture import Furniture

LATE_FIELDS = ("thinned", "full")
NOISES = ("point", "diffuse", "independent")

# Static shapes, large enough for every room and T60 of Sec. 3.1.
LARGEST_ORDER = 146  # Of reflections.
NUM_EXACT = 2816  # Thinned: early images.
NUM_CANDIDATES = 8192  # Thinned: room copies to search for early images.

_LAST_RADIUS = 1.25  # Of the distance sound travels in T60; later, -54 dB or less.
_RINGING = 2.56  # Periods of the high-pass.


class RenderingError(errors.InputError):
    """A room or a signal that cannot be rendered, with the reason."""


@dataclasses.dataclass(frozen=True)
class RenderSettings:
    """How to render rooms; each value is compiled once.

    The defaults suit every room and T60 of Sec. 3.1. Dry signals have `before` +
    `num_samples` samples, because speech before the segment still reverberates in it.

    Attributes:
        num_samples: Length N of the segment.
        before: Samples of the dry signals ahead of it.
        late: "full": every image up to the order that T60 requires. "thinned":
            every early image and a random share of the late ones, see
            `thinning.thinned_images`; the noise source always gets this one.
        noise: Where the noise comes from. "point": a source in the room. "diffuse":
            64 plane waves from all around, each another part of the noise.
            "independent": another part of the noise at every node.
        deterministic: Sum in int32, which gives the same bits in whatever order an
            accelerator adds. Otherwise in float32.
        responses: Also return the impulse responses.
        highpass: Remove what is below this frequency, in Hz, from dry signals and
            noise; 0 for none. All pulses are positive, so the lowest frequencies would
            otherwise dominate the reverberation.
        response_length: Samples R of a response, at least T60; images that arrive
            later are left out.
        num_late: Thinned: number of late images drawn, a multiple of 16.

    Raises:
        RenderingError: If a value is out of its range.

    >>> import uld_jax
    >>> uld_jax.RenderSettings(num_samples=16_000, before=4_000).num_dry
    20000
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

    def __post_init__(self) -> None:
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
        if self.num_late % thinning.LARGEST_GROUP or not self.num_late:
            raise RenderingError(
                f"num_late is {self.num_late}; it must be a multiple of "
                f"{thinning.LARGEST_GROUP}, the most images that are drawn together"
            )

    @property
    def num_dry(self) -> int:
        """Samples of each dry signal."""
        return self.before + self.num_samples

    @property
    def num_fft(self) -> int:
        """Length of the transforms."""
        # Long enough that what wraps around falls before the segment.
        received = self.num_samples + max(self.before, self.response_length)
        ringing = (
            _RINGING * constants.SAMPLE_RATE / self.highpass if self.highpass else 0
        )
        needed = received + 2 * nonuniform_fft.LEAD + math.ceil(ringing)
        return 2 * scipy.fft.next_fast_len((needed + 1) // 2, real=True)


class Rooms(NamedTuple):
    """A batch of B rooms with M nodes and S sources each, in meters.

    Takes NumPy arrays, lists and JAX arrays; the origin is a corner of the floor.

    Attributes:
        size: [B, 3], sides along x, y, z.
        t60: [B], reverberation time by Sabine's formula in seconds; 0 for none.
        node_positions: [B, M, 3].
        source_positions: [B, S, 3].
        noise_position: [B, 3], for a point source of noise; else None.
        snr_db: [B], power of all speech over that of the noise, means over the nodes
            and the segment, in dB; needed with noise.
        furniture: What sets the rooms apart from bare ones; None for nothing. Where it
            has absorptions, the T60 says only how long responses are rendered.

    >>> import uld_jax
    >>> rooms = uld_jax.Rooms(
    ...     size=[[6.0, 4.5, 3.0]],
    ...     t60=[0.5],
    ...     node_positions=[[[1.0, 1.0, 0.9], [5.0, 4.0, 0.9]]],
    ...     source_positions=[[[2.0, 3.0, 1.5]]],
    ... )
    >>> rooms.t60
    [0.5]
    """

    size: ArrayLike
    t60: ArrayLike
    node_positions: ArrayLike
    source_positions: ArrayLike
    noise_position: ArrayLike | None = None
    snr_db: ArrayLike | None = None
    furniture: Furniture | None = None

    @classmethod
    def of(
        cls,
        batch: Sequence[scenes.Scene],
        furnished: Sequence[Furniture] | None = None,
    ) -> "Rooms":
        """Stack scenes with equal numbers of nodes and sources.

        Args:
            batch: The scenes.
            furnished: The furniture of each; None for bare rooms.

        Raises:
            RenderingError: If there are no scenes, or their numbers differ.
        """
        if not batch:
            raise RenderingError("no scenes to render")
        for name in ("node_positions", "source_positions"):
            counts = {len(getattr(scene, name)) for scene in batch}
            if len(counts) > 1:
                raise RenderingError(
                    f"scenes have {sorted(counts)} {name}; give the same number in all "
                    "scenes of a batch"
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
            furniture=furnished and Furniture.of(furnished),
        )

    def as_arrays(self) -> "Rooms":
        """Convert all fields to NumPy arrays."""

        def convert(fields):
            return (None if value is None else np.asarray(value) for value in fields)

        inside = self.furniture
        if inside is not None:
            inside = Furniture(*convert(inside))
        return Rooms(*convert(self[:-1]), inside)


def compute_walls(rooms: Rooms, settings: RenderSettings) -> image_source.Walls:
    """Compute what the images of rooms depend on, [B] or [B, 3] each.

    Raises:
        RenderingError: If the rooms need more images than there may be.
        absorption.AcousticsError: If no absorption gives a room's T60.
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
            f"needs images up to order {order[worst]}, more than {LARGEST_ORDER}; "
            'lower the T60, or use late="thinned"'
        )
    if (long := t60 * constants.SAMPLE_RATE > settings.response_length).any():
        raise RenderingError(
            f"T60 {t60[long.argmax()]:.3g} s is longer than the responses of "
            f"{settings.response_length} samples at 16 kHz; raise response_length"
        )
    last = _LAST_RADIUS * t60 * constants.SPEED_OF_SOUND
    first, exact = thinning.thinning(size, np.maximum(last, 1.0), settings.num_late)
    # Without reflections there is the direct sound alone.
    first, exact = (
        np.where(some, r, np.linalg.norm(size, axis=-1)) for r in (first, exact)
    )
    last = np.maximum(last, first + 1.0)
    thinned = settings.late == "thinned" or rooms.noise_position is not None
    for needed, most, name in (
        (thinning.largest_num_exact(size, exact), NUM_EXACT, "images"),
        (thinning.num_candidates(size, exact), NUM_CANDIDATES, "room copies"),
    ):
        if thinned and needed > most:
            raise RenderingError(
                f"the early sound of these rooms needs {needed} {name}, and a thinned "
                f'field has at most {most}; use smaller rooms, or late="full" without '
                "noise from a point"
            )
    floats = (size, np.sqrt(1 - absorption), exact, first, last)
    size, reflection, exact, first, last = (a.astype(np.float32) for a in floats)
    return image_source.Walls(
        size,
        reflection,
        order.astype(np.int32),
        exact,
        first,
        last,
        _log_gains(rooms.furniture, absorption),
    )


def _log_gains(inside: Furniture | None, alike: np.ndarray) -> np.ndarray | None:
    """Compute the gains [B, 2, 6] of the walls' reflections; None with one band."""
    if inside is None or (inside.absorption is None and inside.facing is None):
        return None
    absorption, poles = inside.absorption, inside.poles
    if absorption is None:
        absorption, poles = np.repeat(alike[:, None], 6, axis=1), None
    if poles is None:
        poles = np.zeros_like(absorption)
    # Of walls that absorb all, a hundred thousandth of the amplitude is left.
    absorption = np.minimum(np.asarray(absorption, np.float64), 1 - 1e-10)
    return walls.log_gains(absorption, np.float64(poles)).astype(np.float32)
