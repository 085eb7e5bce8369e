"""The answer of the localizer: a position, how sure it is, and what nodes say."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from uld_jax.acoustics import constants
from uld_jax.localization import posterior

_FAINTEST = 1e-4  # Of the posterior in a plot, relative to its highest value.


@dataclasses.dataclass(frozen=True, eq=False)
class Localization:
    """Where a talker is, and how sure that is.

    Attributes:
        position: (x, y) in meters: the mean of the heaviest mode.
        covariance: [2, 2] in square meters, of that mode.
        radius_90: Meters around `position` that hold 90 % of the whole posterior.
        modes: All places that hold a hundredth of it or more, the heaviest first.
        determined: Whether the answer can be trusted: one mode holds nearly all, within
            a meter, and the nodes' times or levels fit it.
        reasons: Why not, and what else is to be known, in sentences.
        node_levels: Of each node, in dB, relative to the mean of those used; -inf if
            silent.
        node_weights: 1 for the nodes that were used, and 0 for those left out.
        height: Of the talker in meters, as far as times show it; else the given one, or
            the mean of talkers'.
        node_offsets: Seconds by which the sound reached each node later than from
            `position` and `height` by the other nodes' clocks: its clock is off, or its
            position. NaN where that is not known.
        node_offset_errors: Their standard errors in seconds, from that of the position.
        probability: The posterior at 65 x 65 grid points, rows y: a ULD code.
        room_size: Sides along x and y of the area it spans, in meters.
        origin: Its corner (x, y): zero unless the room was not given.
        node_positions: (x, y, z) of the nodes in meters, with the assumed height if none
            was given.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3]]
    >>> found = uld_jax.localize(np.ones((2, 8_000)), 16_000, nodes, [6.0, 4.5])
    >>> found.determined, found.reasons[0]
    (False, 'Not determined: no nodes can be used, and 3 are needed')
    """

    position: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    radius_90: float
    modes: tuple[posterior.Mode, ...]
    determined: bool
    reasons: tuple[str, ...]
    node_levels: Float[np.ndarray, " M"]
    node_weights: Float[np.ndarray, " M"]
    height: float
    node_offsets: Float[np.ndarray, " M"]
    node_offset_errors: Float[np.ndarray, " M"]
    probability: Float[np.ndarray, "K K"]
    room_size: Float[np.ndarray, "2"]
    origin: Float[np.ndarray, "2"]
    node_positions: Float[np.ndarray, "M 3"]

    @property
    def node_residuals(self) -> Float[np.ndarray, " M"]:
        """Meters of path that `node_offsets` are: what positions alone would explain."""
        return self.node_offsets * constants.SPEED_OF_SOUND

    def plot(self, axes: Any = None) -> Any:
        """Draw the floor plan: posterior, position with its radius, modes, and nodes.

        Args:
            axes: Axes of matplotlib to draw on; None for those of a new figure.

        Returns:
            The axes.

        Raises:
            ImportError: If there are no axes, and matplotlib is not installed.
        """
        axes = _new_axes() if axes is None else axes
        self._draw_posterior(axes)
        self._draw_nodes(axes)
        for mode in self.modes[1:]:
            axes.plot(*mode.position, "x", color="tab:orange")
            axes.annotate(f" {mode.mass:.0%}", mode.position, color="tab:orange")
        axes.plot(*self.position, "o", color="tab:red", label="talker")
        axes.plot(*self._circle(), color="tab:red", label="90 % within")
        axes.set_title(str(self).partition("\n")[0], fontsize="medium")
        axes.legend(fontsize="small")
        return axes

    def _circle(self) -> np.ndarray:
        """Compute the circle that holds 90 %, [2, 100]."""
        angles = np.linspace(0.0, 2 * np.pi, 100)
        circle = self.radius_90 * np.stack([np.cos(angles), np.sin(angles)])
        return circle + self.position[:, None]

    def _draw_nodes(self, axes) -> None:
        """Draw the nodes, and the limits and names of the axes."""
        used = self.node_weights > 0
        marks = {"color": "black", "marker": "^", "linestyle": "", "clip_on": False}
        for some, label, filled in (
            (used, "nodes", "full"),
            (~used, "nodes left out", "none"),
        ):
            if some.any():
                x, y = self.node_positions[some, :2].T
                axes.plot(x, y, label=label, fillstyle=filled, **marks)
        (left, bottom), (right, top) = self.origin, self.origin + self.room_size
        axes.set(
            xlim=(left, right),
            ylim=(bottom, top),
            xlabel="x in m",
            ylabel="y in m",
            aspect="equal",
        )

    def _draw_posterior(self, axes) -> None:
        """Draw the posterior in shades of its logarithm."""
        low, high = self.origin, self.origin + self.room_size
        # Points of the grid lie on the walls, so that pixels reach beyond them.
        half = self.room_size / (len(self.probability) - 1) / 2
        left, bottom = low - half
        right, top = high + half
        shares = self.probability / self.probability.max()
        axes.imshow(
            np.log10(np.clip(shares, _FAINTEST, 1.0)),
            origin="lower",
            extent=(left, right, bottom, top),
            cmap="Blues",
            vmin=np.log10(_FAINTEST),
            vmax=0.0,
        )

    def __str__(self) -> str:
        digits = 2 if self.radius_90 > 0.05 else 3
        x, y, radius = (
            f"{value:.{digits}f}" for value in (*self.position, self.radius_90)
        )
        answer = f"({x}, {y}) m, 90 % within {radius} m"
        if not self.determined:
            answer = f"not determined; best guess {answer}"
        return "\n  ".join([answer, *self.reasons])

    def _repr_html_(self):
        rows = "".join(
            f"<tr><td>({mode.position[0]:.2f}, {mode.position[1]:.2f}) m</td>"
            f"<td>{mode.mass:.0%}</td></tr>"
            for mode in self.modes
        )
        first, *others = str(self).split("\n  ")
        notes = "".join(f"<li>{reason}</li>" for reason in others)
        return f"<b>{first}</b><table>{rows}</table><ul>{notes}</ul>"


def plot_several(found: Sequence[Localization], axes: Any = None) -> Any:
    """Draw nodes, and each determined position with its radius, in one room.

    Args:
        found: Answers in the same room, with the same nodes.
        axes: Axes of matplotlib to draw on; None for those of a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: If there are no axes, and matplotlib is not installed.
    """
    axes = _new_axes() if axes is None else axes
    found[0]._draw_nodes(axes)
    sure = [one for one in found if one.determined]
    for number, one in enumerate(sure):
        label = "talker, 90 % within" if number == 0 else None
        axes.plot(*one._circle(), color="tab:red", linewidth=1.0, label=label)
        axes.plot(*one.position, ".", color="tab:red")
    axes.set_title(f"{len(sure)} of {len(found)} determined", fontsize="medium")
    axes.legend(fontsize="small")
    return axes


def _new_axes() -> Any:
    from matplotlib import pyplot

    _, axes = pyplot.subplots(layout="constrained")
    return axes
