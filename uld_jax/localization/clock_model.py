"""Times of arrival at nodes with clocks of their own: what is expected, and misfits.

At place k, at the time T_k, node m receives sound that traveled

    a_km = |p_k - n_m| + o_m + w_m T_k / span + b_k

in meters of path: o_m is the offset of its clock, w_m by how much that changes over all
times, and b_k the start at this place. Unknowns are the places p (x, y, z), then b, o, w.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int

Unknowns = Float[np.ndarray, " U"]


@dataclasses.dataclass(frozen=True, eq=False)
class ClockModel:
    """Times of K places and M nodes, with normal priors.

    Attributes:
        starts: Rough positions of the places in meters, [K, 3]; the third is the mean of
            heights.
        covariances: Of these, as far as they are known, [K, 3, 3].
        arrivals: Meters of path at which sound arrived, [K, M]; NaN where unknown.
        nodes: In meters, [M, 3].
        times: Of places, in units of the time between the first and the last, [K].
        offset_spread: Standard deviation of offsets in meters of path.
        drift_spread: Standard deviation of changes of offsets, likewise; 0 for clocks
            that do not drift.

    >>> model = ClockModel(np.ones((1, 3)), np.eye(3)[None], np.ones((1, 2)),
    ...                    np.zeros((2, 3)), np.zeros(1), 1.0, 0.0)
    >>> model.num_places, model.num_nodes
    (1, 2)
    """

    starts: Float[np.ndarray, "K 3"]
    covariances: Float[np.ndarray, "K 3 3"]
    arrivals: Float[np.ndarray, "K M"]
    nodes: Float[np.ndarray, "M 3"]
    times: Float[np.ndarray, " K"]
    offset_spread: float
    drift_spread: float

    @property
    def num_places(self) -> int:
        """The number of places K."""
        return self.arrivals.shape[0]

    @property
    def num_nodes(self) -> int:
        """The number of nodes M."""
        return self.arrivals.shape[1]

    @functools.cached_property
    def measured(self) -> Bool[np.ndarray, "K M"]:
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
        K, M = self.num_places, self.num_nodes
        coordinates = (3 * places[:, None] + np.arange(3)).ravel()
        found = [coordinates, 3 * K + places, 4 * K + nodes]
        if self.drifts:
            found.append(4 * K + M + nodes)
        return np.concatenate(found)

    @property
    def drifts(self) -> bool:
        """Whether clocks drift."""
        return self.drift_spread > 0

    def split(self, unknowns: Unknowns) -> tuple[np.ndarray, ...]:
        """Split unknowns into places [K, 3], starts [K], offsets [M] and drifts [M]."""
        K, M = self.num_places, self.num_nodes
        places, begin, of_nodes = np.split(unknowns, [3 * K, 4 * K])
        return places.reshape(K, 3), begin, *of_nodes.reshape(2, M)

    def guess(self, used: Bool[np.ndarray, " K"] | None = None) -> Unknowns:
        """Guess the unknowns from rough positions and medians.

        Args:
            used: Places from which offsets are guessed; None for offsets of 0.
        """
        late = self.arrivals - _paths(self.starts, self.nodes)
        offsets = np.zeros(self.num_nodes)
        if used is not None:
            some = late[used] - np.nanmedian(late[used], axis=1, keepdims=True)
            known = np.isfinite(some).any(axis=0)
            offsets[known] = np.nanmedian(some[:, known], axis=0)
        begin = np.nanmedian(late - offsets, axis=1)
        return np.concatenate(
            [self.starts.ravel(), begin, offsets, np.zeros(self.num_nodes)]
        )

    def misfits(self, unknowns: Unknowns) -> Float[np.ndarray, "K M"]:
        """Compute by how many meters of path times are later than expected."""
        places, begin, offsets, drifts = self.split(unknowns)
        clocks = offsets + self.times[:, None] * drifts
        return self.arrivals - _paths(places, self.nodes) - clocks - begin[:, None]

    def slopes(self, unknowns: Unknowns) -> Float[np.ndarray, "K M U"]:
        """Compute the derivatives of expected times by the unknowns."""
        K, M = self.num_places, self.num_nodes
        places, *_ = self.split(unknowns)
        toward = places[:, None] - self.nodes
        toward /= np.linalg.norm(toward, axis=-1, keepdims=True) + 1e-9
        found = np.zeros((K, M, len(unknowns)))
        place, node = np.arange(K)[:, None], np.arange(M)
        for axis in range(3):
            found[place, node, 3 * place + axis] = toward[..., axis]
        found[place, node, 3 * K + place] = 1.0
        found[place, node, 4 * K + node] = 1.0
        found[place, node, 4 * K + M + node] = self.times[:, None]
        return found

    def moved(self, unknowns: Unknowns) -> Float[np.ndarray, "K 3"]:
        """Compute how far places are from rough positions, in standard deviations."""
        places, *_ = self.split(unknowns)
        return np.einsum("kij,kj->ki", self.roots, places - self.starts)

    def log_priors(self, unknowns: Unknowns) -> Float[np.ndarray, " K"]:
        """Compute the logarithms of the prior densities of places."""
        errors = self.moved(unknowns)
        half_logs = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return half_logs - 0.5 * (errors**2).sum(axis=1) - 1.5 * np.log(2 * np.pi)


def _paths(places, nodes) -> np.ndarray:
    return np.linalg.norm(places[:, None] - nodes, axis=-1)
