"""Times of arrival at nodes with clocks of their own: what is expected, and misfits.

In window w, at the time T_w, node m receives sound that traveled

    a_wm = |p_k - n_m| + o_m + d_m T_w + b_w

in meters of path from the place k of this window: o_m is the offset of its clock, d_m by
how much that changes in a unit of time, and b_w the start of the window. Unknowns are the
places p (x, y, z), then b, o, d. `clock_fit` has one window a place, `clock_lines` several.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int

Unknowns = Float[np.ndarray, " U"]


@dataclasses.dataclass(frozen=True, eq=False)
class ClockModel:
    """Times of W windows at K places and M nodes, with normal priors.

    Attributes:
        starts: Rough positions of the places in meters, [K, 3]; the third is the mean of
            heights.
        covariances: Of these, as far as they are known, [K, 3, 3].
        arrivals: Meters of path at which sound arrived, [W, M]; NaN where unknown.
        nodes: In meters, [M, 3].
        times: Of windows, in any unit, [W].
        offset_spread: Standard deviation of offsets in meters of path.
        drift_spread: Standard deviation of changes of offsets in a unit of time; 0 for
            clocks that do not drift.
        of_window: The number of each window's place, [W]; None for one window a place.

    >>> model = ClockModel(np.ones((1, 3)), np.eye(3)[None], np.ones((1, 2)),
    ...                    np.zeros((2, 3)), np.zeros(1), 1.0, 0.0)
    >>> model.num_places, model.num_windows, model.num_nodes
    (1, 1, 2)
    """

    starts: Float[np.ndarray, "K 3"]
    covariances: Float[np.ndarray, "K 3 3"]
    arrivals: Float[np.ndarray, "W M"]
    nodes: Float[np.ndarray, "M 3"]
    times: Float[np.ndarray, " W"]
    offset_spread: float
    drift_spread: float
    of_window: Int[np.ndarray, " W"] | None = None

    @property
    def num_places(self) -> int:
        """The number of places K."""
        return len(self.starts)

    @property
    def num_windows(self) -> int:
        """The number of windows W."""
        return len(self.arrivals)

    @property
    def num_nodes(self) -> int:
        """The number of nodes M."""
        return self.arrivals.shape[1]

    @functools.cached_property
    def place(self) -> Int[np.ndarray, " W"]:
        """The number of each window's place."""
        return np.arange(self.num_places) if self.of_window is None else self.of_window

    @functools.cached_property
    def measured(self) -> Bool[np.ndarray, "W M"]:
        """Where there is a time."""
        return np.isfinite(self.arrivals)

    @functools.cached_property
    def precisions(self) -> Float[np.ndarray, "K 3 3"]:
        """Inverses of `covariances`."""
        return np.linalg.inv(self.covariances)

    @functools.cached_property
    def roots(self) -> Float[np.ndarray, "K 3 3"]:
        """Factors that make errors of rough positions normal with unit variance."""
        return np.linalg.inv(np.linalg.cholesky(self.covariances))

    def columns(
        self, places: Int[np.ndarray, " P"], nodes: Int[np.ndarray, " N"]
    ) -> Int[np.ndarray, " C"]:
        """Find the unknowns of some places and nodes: drifts only where clocks drift."""
        clocks, M = 3 * self.num_places + self.num_windows, self.num_nodes
        coordinates = (3 * places[:, None] + np.arange(3)).ravel()
        windows = np.flatnonzero(np.isin(self.place, places))
        found = [coordinates, 3 * self.num_places + windows, clocks + nodes]
        if self.drifts:
            found.append(clocks + M + nodes)
        return np.concatenate(found)

    @property
    def drifts(self) -> bool:
        """Whether clocks drift."""
        return self.drift_spread > 0

    def split(self, unknowns: Unknowns) -> tuple[np.ndarray, ...]:
        """Split unknowns into places [K, 3], starts [W], offsets [M] and drifts [M]."""
        ends = [3 * self.num_places, 3 * self.num_places + self.num_windows]
        places, begin, of_nodes = np.split(unknowns, ends)
        return places.reshape(-1, 3), begin, *of_nodes.reshape(2, self.num_nodes)

    def join(
        self,
        offsets: Float[np.ndarray, " M"],
        drifts: Float[np.ndarray, " M"],
    ) -> Unknowns:
        """Join clocks with rough positions, and the starts that follow from these."""
        late = self.arrivals - self._paths(self.starts)
        late = late - offsets - np.outer(self.times, drifts)
        begin = np.nanmedian(late, axis=1)
        return np.concatenate([self.starts.ravel(), begin, offsets, drifts])

    def guess(self, used: Bool[np.ndarray, " W"] | None = None) -> Unknowns:
        """Guess the unknowns from rough positions and medians.

        Args:
            used: Windows from which offsets are guessed; None for offsets of 0.
        """
        offsets = np.zeros(self.num_nodes)
        if used is not None:
            some = (self.arrivals - self._paths(self.starts))[used]
            some = some - np.nanmedian(some, axis=1, keepdims=True)
            known = np.isfinite(some).any(axis=0)
            offsets[known] = np.nanmedian(some[:, known], axis=0)
        return self.join(offsets, np.zeros(self.num_nodes))

    def misfits(self, unknowns: Unknowns) -> Float[np.ndarray, "W M"]:
        """Compute by how many meters of path times are later than expected."""
        places, begin, offsets, drifts = self.split(unknowns)
        clocks = offsets + self.times[:, None] * drifts
        return self.arrivals - self._paths(places) - clocks - begin[:, None]

    def slopes(self, unknowns: Unknowns) -> Float[np.ndarray, "W M U"]:
        """Compute the derivatives of expected times by the unknowns."""
        W, M = self.arrivals.shape
        starts = 3 * self.num_places
        places, *_ = self.split(unknowns)
        toward = places[self.place, None] - self.nodes
        toward /= np.linalg.norm(toward, axis=-1, keepdims=True) + 1e-9
        found = np.zeros((W, M, len(unknowns)))
        window, node = np.arange(W)[:, None], np.arange(M)
        for axis in range(3):
            found[window, node, 3 * self.place[:, None] + axis] = toward[..., axis]
        found[window, node, starts + window] = 1.0
        found[window, node, starts + W + node] = 1.0
        found[window, node, starts + W + M + node] = self.times[:, None]
        return found

    def normal_equations(
        self,
        unknowns: Unknowns,
        misfits: Float[np.ndarray, "W M"],
        weights: Float[np.ndarray, "W M"],
        of_places: Float[np.ndarray, "K 3 3"],
        of_others: Float[np.ndarray, " V"],
    ) -> tuple[Float[np.ndarray, "U U"], Float[np.ndarray, " U"]]:
        """Set up the normal equations of all times and priors.

        Args:
            unknowns: Around which it is linear.
            misfits: There; 0 where there is no time.
            weights: Inverse variances of times; 0 for those that do not count.
            of_places: Inverse covariances of places, around rough positions.
            of_others: Inverse variances of starts, offsets and drifts, around 0.
        """
        slopes = self.slopes(unknowns).reshape(-1, len(unknowns))
        weighted = slopes * weights.ravel()[:, None]
        precision, gradient = weighted.T @ slopes, weighted.T @ misfits.ravel()
        places, *_ = self.split(unknowns)
        for k, own in enumerate(of_places):
            columns = slice(3 * k, 3 * k + 3)
            precision[columns, columns] += own
            gradient[columns] -= own @ (places[k] - self.starts[k])
        own = np.concatenate([np.zeros(3 * self.num_places), of_others])
        return precision + np.diag(own), gradient - own * unknowns

    def moved(self, unknowns: Unknowns) -> Float[np.ndarray, "K 3"]:
        """Compute how far places are from rough positions, in standard deviations."""
        places, *_ = self.split(unknowns)
        return np.einsum("kij,kj->ki", self.roots, places - self.starts)

    def log_priors(self, unknowns: Unknowns) -> Float[np.ndarray, " K"]:
        """Compute the logarithms of the prior densities of places."""
        errors = self.moved(unknowns)
        half_logs = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return half_logs - 0.5 * (errors**2).sum(axis=1) - 1.5 * np.log(2 * np.pi)

    def _paths(self, places: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "W M"]:
        """Compute the meters from the place of each window to each node."""
        return np.linalg.norm(places[self.place, None] - self.nodes, axis=-1)
