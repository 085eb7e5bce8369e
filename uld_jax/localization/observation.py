"""A recording as the localizer looks at it: by the nodes it can use, in the room's corner."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from uld_jax.localization import recordings, times, votes
from uld_jax.localization import speech_masks as masks_lib

LEAST_NODES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Observation:
    """A recording by the nodes that are used, in the room's coordinates.

    Attributes:
        windows: Of 2 s at 16 kHz, [W, M, n]; none if too few nodes can be used.
        padded: The same, as batches.
        nodes: Relative to the corner of the room, and lifted, [M, 3].
        numbers: Of the nodes, as the user counts them, [M].
        room: The room.
        height: Mean and deviation of the talker's height, lifted.
        lift: Meters by which heights are lifted. A known height of the talker is
            brought to the one that is looked at: distances alone matter.
        all_heights: Whether the talker's height is not known.
        given: All nodes as they were given, in meters.
        levels: Of all nodes in dB.
        used: Which of them are used.
        reasons: What is to be known of nodes and room, in sentences.
        spoken: What times are read from, as batches: the windows, or what is speech in
            them.
        whitening: Of these, before they are correlated.
    """

    windows: Float[np.ndarray, "W M n"]
    padded: list[dict[str, Any]]
    nodes: Float[np.ndarray, "M 3"]
    numbers: Int[np.ndarray, " M"]
    room: recordings.Room
    height: tuple[float, float]
    lift: float
    all_heights: bool
    given: Float[np.ndarray, "A 3"]
    levels: Float[np.ndarray, " A"]
    used: Bool[np.ndarray, " A"]
    reasons: tuple[str, ...]
    spoken: list[dict[str, Any]]
    whitening: float

    @property
    def plan(self) -> np.ndarray:
        """Sides of the room along x and y."""
        return self.room.sides[:2]

    @property
    def usable(self) -> bool:
        """Whether there are nodes enough to determine anything."""
        return len(self.nodes) >= LEAST_NODES


def observe(
    signals: np.ndarray,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None,
    source_height: int | float | None,
    late: Float[np.ndarray, " A"] | None = None,
    speech_masks: bool = False,
) -> Observation:
    """Check a recording, leave out nodes that cannot be used, and cut it into windows.

    Args:
        signals: [A, N].
        sample_rate: In Hz.
        node_positions: In meters.
        room_size: In meters, or None.
        source_height: In meters, or None.
        late: Seconds by which each node's clock is known to be late; None for unknown.
        speech_masks: Whether to take out what is not speech, for the times, whitened bin
            by bin.

    Raises:
        RecordingError: As `uld_jax.localize`.
    """
    given = recordings.check(signals, sample_rate, node_positions, source_height)
    room = recordings.Room.around(given, room_size)
    levels, used, reasons = recordings.look_at_nodes(signals, sample_rate)
    unknown = source_height is None
    lift = 0.0 if unknown else votes.MIDDLE_HEIGHT - source_height
    moved = (given - np.append(room.origin, -lift))[used]
    windows = np.zeros((0, len(moved), 0), np.float32)
    if len(moved) >= LEAST_NODES:
        sound = signals[used]
        if late is not None:
            sound = recordings.advance(sound, late[used], sample_rate)
        windows = recordings.cut(sound, sample_rate)
    padded = [votes.pad(window, moved, room.sides) for window in windows]
    spoken, whitening = padded, times.WHITENING
    if speech_masks and padded:
        spoken, whitening = _extract_speech(padded), 0.0
    return Observation(
        windows,
        padded,
        moved,
        np.flatnonzero(used),
        room,
        votes.HEIGHT if unknown else (votes.MIDDLE_HEIGHT, votes.KNOWN_SPREAD),
        lift,
        unknown,
        given,
        levels,
        used,
        tuple(room.reasons + reasons),
        spoken,
        whitening,
    )


def _extract_speech(padded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out of windows what is not speech."""
    # Without the silent windows that they are padded with.
    audio = np.asarray(masks_lib.extract(votes.signals_of(padded)))[: len(padded)]
    return [
        batch | {"audio": one[None]} for batch, one in zip(padded, audio, strict=True)
    ]
