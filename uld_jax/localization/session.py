"""Localize talkers throughout a long recording, with the clocks that it shows.

Windows of 2 s in which somebody speaks are localized each for itself. Where talkers were
at three places or more, these show how late every node's clock is and how it drifts; all
windows are localized again by clocks that are right then.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from uld_jax.audio import sessions
from uld_jax.localization import answers, batches, calibration, localize, recordings
from uld_jax.runtime import progress

# Windows that clocks are calibrated with, from the beginning to the end: more take longer
# and hardly tell more.
_CALIBRATED_WITH = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """Where talkers were in a long recording, and how late its clocks are.

    Attributes:
        starts: When each window begins, in seconds.
        localizations: Of each window, by common clocks if these are determined.
            `node_offsets` are what is left then.
        clocks: Of the nodes; `times` are seconds from the recording's beginning.
    """

    starts: Float[np.ndarray, " W"]
    localizations: tuple[answers.Localization, ...]
    clocks: calibration.Calibration

    @property
    def positions(self) -> Float[np.ndarray, "W 2"]:
        """Of the talker in each window, (x, y) in meters."""
        return np.array([one.position for one in self.localizations])

    @property
    def radii_90(self) -> Float[np.ndarray, " W"]:
        """Meters around each that hold 90 %."""
        return np.array([one.radius_90 for one in self.localizations])

    def __str__(self):
        lines = [
            f"{start:7.1f} s: {str(one).partition(chr(10))[0]}"
            for start, one in zip(self.starts, self.localizations, strict=True)
        ]
        return "\n".join([*lines, str(self.clocks)])


def localize_session(
    signals: ArrayLike,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None = None,
    *,
    source_height: int | float | None = None,
) -> Session:
    """Localize talkers window by window, after the clocks of a long recording.

    Args:
        signals: [M, N] of M nodes, in which talkers speak in turn or walk around. Clocks
            may be up to 50 ms off and drift.
        sample_rate: In Hz, as for `uld_jax.localize`.
        node_positions: In meters, likewise.
        room_size: In meters, likewise.
        source_height: Of the talkers' mouths in meters; None for 0.8 to 1.9.

    Returns:
        Positions of all windows of 2 s with sound, and the clocks. Where talkers were at
        fewer than three places, clocks are not determined, and say so; positions are those
        of `uld_jax.localize` then.

    Raises:
        RecordingError: As `uld_jax.localize`, or if signals are shorter than 2 s or silent.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> noise = np.random.default_rng(0).normal(size=(4, 64_000))
    >>> found = uld_jax.localize_session(noise, 16_000, nodes, [6.0, 4.5])
    >>> found.starts.tolist(), found.clocks.determined
    ([0.0, 2.0], False)
    """
    signals = np.asarray(signals)
    recordings.check(signals, sample_rate, node_positions, source_height)
    length = round(recordings.WINDOW_SECONDS * sample_rate)
    try:
        starts = sessions.windows(signals, length)
    except sessions.SessionError:
        raise batches.RecordingError(
            f"signals have {signals.shape[1] / sample_rate:.3g} s and no window of "
            f"{recordings.WINDOW_SECONDS:g} s with sound; for a shorter one use localize"
        ) from None
    rest = (sample_rate, node_positions, room_size)

    def window(number: int) -> np.ndarray:
        return signals[:, starts[number] : starts[number] + length]

    seconds = starts / sample_rate
    count = min(_CALIBRATED_WITH, len(starts))
    chosen = np.linspace(0, len(starts) - 1, count).round().astype(int).tolist()
    clocks = calibration.calibrate_clocks(
        *([window(number) for number in chosen], *rest),
        times=seconds[chosen],
        source_height=source_height,
    )
    found = {}
    if not clocks.determined:
        found = dict(zip(chosen, clocks.localizations, strict=True))
    late = clocks.late_at(seconds)
    with progress.Progress("Localizing", len(starts), "windows") as bar:
        bar.update(len(found))
        for number in range(len(starts)):
            if number in found:
                continue
            sound = window(number)
            if clocks.determined:
                _, used, _ = recordings.look_at_nodes(sound, sample_rate)
                sound = calibration.advance(sound, late[number], used, sample_rate)
            found[number] = localize.localize_one(sound, *rest, source_height)
            bar.update()
    answers_in_order = tuple(found[number] for number in range(len(starts)))
    return Session(seconds, answers_in_order, clocks)
