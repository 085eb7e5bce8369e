"""Localize talkers throughout a long recording and calibrate its clocks.

Each window of 2 s is localized on its own. If talkers spoke from three places or more, the
clock offset and drift of each node are estimated, signals are corrected, and all windows
are localized again.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Float, Num
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import (
    answers,
    batches,
    calibration,
    doubts,
    localize,
    posterior,
    recordings,
)
from uld_jax.localization import clocks as clocks_lib
from uld_jax.runtime import progress

# Windows that clocks are calibrated with. More take longer and add little.
CALIBRATED_WITH = 24
_ONE_PLACE = 0.5  # Meters from a place where errors of clocks move positions alike.
# A place that clocks are fitted to has odds of exp(3), or more, to be right.
_TRUSTED = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class LocalizedSession:
    """Positions of talkers in a long recording, and the clock of each node.

    Attributes:
        starts: When each window begins, in seconds.
        localizations: One for each window, after clocks were corrected if these are
            determined; `node_offsets` are then the offsets that are left.
        clocks: Of the nodes. Its `late_at` takes seconds from the recording's beginning.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> noise = np.random.default_rng(0).normal(size=(4, 32_000))
    >>> found = uld_jax.localize_session(noise, 16_000, nodes, [6.0, 4.5])
    >>> found.positions.shape, found.localizations[0].determined
    ((1, 2), False)
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

    def plot(self, axes: Any = None) -> Any:
        """Draw the nodes, and the position of each determined window with its radius.

        Args:
            axes: Axes of matplotlib to draw on; None for those of a new figure.

        Returns:
            The axes.

        Raises:
            ImportError: If there are no axes, and matplotlib is not installed.
        """
        return answers.plot_several(self.localizations, axes)

    def __str__(self) -> str:
        lines = [
            f"{start:7.1f} s: {str(one).splitlines()[0]}"
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
    clocks: calibration.Calibration | None = None,
) -> LocalizedSession:
    """Localize talkers window by window after calibrating the clocks of a long recording.

    Args:
        signals: [M, N] of M nodes, in which one talker speaks at a time, and each stays
            in place for some seconds. Clocks may be up to 50 ms off, drift included.
        sample_rate: In Hz, as for `uld_jax.localize`.
        node_positions: In meters, likewise.
        room_size: In meters, likewise.
        source_height: Of the talkers' mouths in meters; None for 0.8 to 1.9.
        clocks: What `uld_jax.calibrate_clocks` found, if clocks are known already.

    Returns:
        Positions in all windows of 2 s with sound, and the clocks. If talkers were at
        fewer than three places, `clocks.determined` is False, and positions are those of
        `uld_jax.localize`.

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
    signals = recordings.to_array(signals)
    if signals.ndim != 2:
        raise batches.RecordingError(
            f"signals has shape {signals.shape}; it must be [M, N] of one recording"
        )
    recordings.check(signals, sample_rate, node_positions, source_height)
    starts, powers, windows = _cut(signals, sample_rate)
    seconds = starts / sample_rate
    found = [None] * len(windows)
    if clocks is None:
        chosen = strongest(powers, CALIBRATED_WITH)
        clocks = calibrate_with_windows(
            [windows[number] for number in chosen],
            sample_rate,
            node_positions,
            room_size,
            times=seconds[chosen],
            source_height=source_height,
        )
        if not clocks.determined:
            for number, one in zip(chosen, clocks.localizations, strict=True):
                found[number] = one
    with progress.Progress("Localizing", len(windows), "windows") as bar:
        for number, window in enumerate(windows):
            if found[number] is None:
                found[number] = localize_window(
                    window,
                    sample_rate,
                    node_positions,
                    room_size,
                    source_height,
                    start=seconds[number],
                    clocks=clocks,
                )
            bar.update()
    return LocalizedSession(seconds, tuple(found), clocks)


def localize_window(
    window: Num[np.ndarray, "M N"],
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None,
    source_height: int | float | None = None,
    *,
    start: float,
    clocks: calibration.Calibration | None,
    late: Float[np.ndarray, " M"] | None = None,
) -> answers.Localization:
    """Localize a window of 2 s by known clocks, with their errors.

    Args:
        window: Its signals.
        sample_rate: In Hz, as for `uld_jax.localize`.
        node_positions: In meters, likewise.
        room_size: In meters, likewise.
        source_height: In meters, likewise.
        start: When it begins, in seconds.
        clocks: Of the nodes, used if they are determined; None for unknown.
        late: Seconds by which nodes are later than by these clocks; None for 0.
    """
    middle = start + recordings.WINDOW_SECONDS / 2
    known = clocks is not None and clocks.determined
    if known:
        own = clocks.late_at([middle])[0]
        late = own if late is None else late + own
    found = localize.localize_one(
        window, sample_rate, node_positions, room_size, source_height, late=late
    )
    return _with_clocks(found, clocks, middle) if known else found


def _with_clocks(
    found: answers.Localization, clocks: calibration.Calibration, middle: float
) -> answers.Localization:
    """Take the errors of clocks into account, by which an answer was found.

    A window that they were fitted to has the joint posterior of its place and the clocks:
    errors of both are not independent. Of one at the same place as such a window, the
    clocks move the position as they move that.
    """
    if clocks.joint is not None and clocks.fitted.any():
        number = _find_window(clocks, middle)
        if number is not None:
            return move_to_place(found, clocks.positions[number], clocks.joint[number])
        apart = np.linalg.norm(clocks.positions - found.position, axis=1)
        apart[~clocks.fitted] = np.inf
        nearest = int(apart.argmin())
        within = np.hypot(found.radius_90, clocks.radii_90[nearest])
        if apart[nearest] <= min(within, _ONE_PLACE):
            return _add(found, clocks.of_clocks[nearest])
    return widen(found, clocks.covariance_at(middle))


def _find_window(clocks: calibration.Calibration, middle: float) -> int | None:
    """Find the window at a time among those that clocks were fitted to."""
    if clocks.moments is None:
        return None
    same = np.flatnonzero(clocks.fitted & (np.abs(clocks.moments - middle) < 1e-6))
    return int(same[0]) if len(same) else None


def move_to_place(
    found: answers.Localization,
    position: Float[np.ndarray, "2"],
    covariance: Float[np.ndarray, "2 2"],
) -> answers.Localization:
    """Replace an answer by the place that times of all windows say together.

    Args:
        found: The answer of the window alone.
        position: (x, y) in meters.
        covariance: Of its joint posterior with the clocks, in square meters.
    """
    radius = posterior.WITHIN_90 * float(np.sqrt(np.linalg.eigvalsh(covariance)[-1]))
    determined, reasons = _judge(radius, doubts.without_doubts(found.reasons))
    sides, before = found.room_size, found.probability
    nothing = posterior.Cloud(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)))
    normal = posterior.add(nothing, [(position - found.origin, covariance, 1.0)])
    there = posterior.encode(normal, sides, len(before) - 1)

    def paths(place):
        away = found.node_positions - np.append(place, found.height)
        return np.linalg.norm(away, axis=1)

    # What nodes are late by, from another position.
    moved = (paths(found.position) - paths(position)) / constants.SPEED_OF_SOUND
    offsets = found.node_offsets + moved
    if np.isfinite(offsets).any():
        offsets -= np.nanmedian(offsets) - np.nanmedian(found.node_offsets)
    return dataclasses.replace(
        found,
        position=position,
        covariance=covariance,
        radius_90=radius,
        modes=(posterior.Mode(position, covariance, _TRUSTED),),
        determined=determined,
        reasons=reasons,
        node_offsets=offsets,
        probability=_TRUSTED * there + (1 - _TRUSTED) * before,
    )


def _judge(radius: float, reasons: tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
    """Judge whether a position is determined by its radius, and say so if not."""
    if radius <= doubts.SURE_RADIUS:
        return True, reasons
    return False, (f"Errors of clocks make the radius {radius:.2f} m", *reasons)


def widen(
    found: answers.Localization, covariance: Float[np.ndarray, "M M"]
) -> answers.Localization:
    """Add the errors of clocks to those of an answer that was found with them.

    Args:
        found: The answer.
        covariance: Of the errors of all clocks, in square seconds; 0 where not known.
    """
    known = np.diag(covariance) > 0
    if known.sum() < localize.LEAST_NODES or not np.isfinite(found.height):
        return found
    moved = clocks_lib.position_covariance(
        found.node_positions[known],
        np.append(found.position, found.height),
        covariance[np.ix_(known, known)],
    )
    return _add(found, moved)


def _add(
    found: answers.Localization, moved: Float[np.ndarray, "2 2"]
) -> answers.Localization:
    """Add what errors of clocks move a position, as a covariance in square meters."""
    further = posterior.WITHIN_90 * np.sqrt(max(np.linalg.eigvalsh(moved)[-1], 0.0))
    cells = (
        np.sqrt(np.maximum(np.diag(moved), 0.0))
        / found.room_size
        * (len(found.probability) - 1)
    )
    blurred = scipy.ndimage.gaussian_filter(
        found.probability, cells[::-1], mode="nearest"
    )
    radius = float(np.hypot(found.radius_90, further))
    determined, reasons = found.determined, found.reasons
    if determined:
        determined, reasons = _judge(radius, reasons)
    return dataclasses.replace(
        found,
        covariance=found.covariance + moved,
        radius_90=radius,
        determined=determined,
        reasons=reasons,
        modes=tuple(
            dataclasses.replace(one, covariance=one.covariance + moved)
            for one in found.modes
        ),
        probability=blurred / blurred.sum(),
    )


def calibrate_with_windows(windows: list[np.ndarray], *given: Any, **rest: Any) -> Any:
    """Calibrate clocks, and say of how many windows times do not fit, not of which."""
    clocks = calibration.calibrate_clocks(windows, *given, **rest)
    left = int((~clocks.fitted).sum())
    if not clocks.determined or not left:
        return clocks
    reason = f"Times of {left} of {len(windows)} windows do not fit these clocks"
    return dataclasses.replace(clocks, reasons=(reason,))


def strongest_windows(
    signals: np.ndarray, sample_rate: int | float, count: int
) -> list[np.ndarray]:
    """Cut out the strongest windows of 2 s of some stretches as long as each other.

    Args:
        signals: [M, N].
        sample_rate: In Hz.
        count: Windows, at most.
    """
    _, powers, windows = _cut(signals, sample_rate)
    return [windows[number] for number in strongest(powers, count)]


def _cut(signals: np.ndarray, sample_rate: int | float):
    """Find the starts and the powers of windows with sound, and cut these, as views."""
    starts, powers = recordings.windows_with_sound(signals, sample_rate)
    length = round(recordings.WINDOW_SECONDS * sample_rate)
    return starts, powers, [signals[:, start : start + length] for start in starts]


def strongest(powers: np.ndarray, count: int) -> list[int]:
    """Find the strongest window of each of some stretches.

    Args:
        powers: Of all windows, in their order.
        count: Stretches, at most.
    """
    parts = np.array_split(np.arange(len(powers)), min(count, len(powers)))
    return [int(part[powers[part].argmax()]) for part in parts]
