r"""Learned multilateration: every node votes for a ring, every pair for a hyperbola.

The log posterior of the talker's position g is a sum of votes of the nodes and of the
pairs of nodes:

    rings(g)      = sum_m sum_k a_mk phi_k(log |g - p_m|)
    hyperbolas(g) = mean_mn W2 gelu(W1 e_mn(g) + U h_m + U h_n + v peak_mn)
    e_mn(g)       = log envelope_mn((|g - p_m| - |g - p_n|) / c - (o_m - o_n))
    score(g)      = s rings(g) + t MLP(hyperbolas(g) over the grid, rings(g), context)

p_m is the position of node m, h_m a vector of its level statistics, a_mk its
log-likelihood of a distance, phi_k one of 24 Gaussians in the logarithm of the distance;
envelope_mn is that of the pair's cross-correlation, blurred by 3, 10 and 30 samples, and
o_m by how much training makes the clock of node m late. The MLP sees each vote relative
to its mean over the grid, in units of its deviation, and the largest of these: whether
the pairs agree, that is, whether their clocks can be believed. The same decides s and t,
0 to 2, how far rings and hyperbolas are trusted: rings of 30 nodes that are misled
together would outvote pairs that agree.

Distances are in three dimensions. A talker's unknown height is summed over. Positions
enter by distances alone, so that the answer turns and mirrors with the room, and the
grid may be any: a network that was trained on one is evaluated on others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from uld_jax.acoustics import correlations, envelopes, levels
from uld_jax.labels import schemes
from uld_jax.networks import evidence as evidence_lib
from uld_jax.networks import spec as spec_lib

_RINGS = 24
_DISTANCES = (0.1, 20.0)  # Meters, of the first and the last ring.
_LEVEL_SCALE = 8.0  # dB.
_FAINTEST = -40.0  # dB, relative to a scene's mean level.
_CONTEXT = 32
_HEAD = 32
# Numbers of pairs or rings that are computed at once.
_AT_ONCE = 2**22
# From so many points on, pairs vote for all lags first, and each point reads the votes
# of its lags: 64 x 64 cells take a twelfth of the time, and 16 x 16 a third.
_MANY_POINTS = 100
# Sound reaches two nodes at most their distance apart. A pair is read at so many lags on
# either side: every 3 cm of nodes 6 m apart.
_LAGS = 192
# A node votes for so many distances first, from and to in meters, and each point reads
# the votes of its own.
_VOTED = (512, 0.1, 40.0)
ABLATIONS = ("nothing", "rings", "hyperbolas", "pair_votes", "context", "trust")


class _Votes(NamedTuple):
    """Votes of nodes and pairs for some points."""

    rings: Float[Array, "B P"]
    pairs: Float[Array, "B P V"]


class _Shared(NamedTuple):
    """Parts of the votes that are the same at all points."""

    rings: Float[Array, "B M 24"]
    pairs: Float[Array, "B Q W"]
    context: Float[Array, "B C"]


def ring_basis(distances: Float[Array, "*P"]) -> Float[Array, "*P 24"]:
    """Compute 24 Gaussians of equal width in the logarithm of a distance in meters."""
    low, high = map(math.log, _DISTANCES)
    spacing = (high - low) / (_RINGS - 1)
    centers = low + spacing * jnp.arange(_RINGS)
    logs = jnp.log(jnp.maximum(distances, _DISTANCES[0]))
    return jnp.exp(-0.5 * ((logs[..., None] - centers) / spacing) ** 2)


class _Head(nnx.Module):
    """Layers that score points by how their votes stand out over the grid."""

    def __init__(self, num_inputs: int, num_shared: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(num_inputs, _HEAD, rngs=rngs)
        self.shared = nnx.Linear(num_shared, _HEAD, use_bias=False, rngs=rngs)
        self.second = nnx.Linear(_HEAD, 1, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B P D"], shared: Float[Array, "B C"]
    ) -> Float[Array, "B P"]:
        hidden = self.first(x) + self.shared(shared)[:, None]
        return self.second(nnx.gelu(hidden))[..., 0]


class Multilateration(nnx.Module):
    """Network of votes: levels, correlations and positions in meters to logits.

    With two sources, the first is near the likeliest point of a common posterior, and
    the second elsewhere: each adds its own rings around that point.

    Args:
        num_nodes: Not used: the network takes any number of nodes, in any order.
        num_sources: Sources S, one or two.
        outputs_per_axis: Not used: the label of each call decides.
        num_channels: Not used, likewise.
        width: Width of a node's vector.
        pair_width: Hidden units of a pair's vote.
        num_votes: Numbers of a pair's vote.
        cells: Least cells per axis of the grid on which votes are counted. A label of
            fewer gets its code from the posterior there, by `Label.expect`.
        source_heights: Heights of talkers in meters, summed over as equally likely.
        without: What is left out, one of `ABLATIONS`, to show what it is worth. Without
            "pair_votes", envelopes are averaged over the pairs first.
        dtype: Type of the computation of nodes; points are always float32.
        rngs: Random streams of the parameters.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        num_sources: int,
        outputs_per_axis: int,
        num_channels: int,
        width: int,
        pair_width: int,
        num_votes: int,
        cells: int,
        source_heights: Sequence[float],
        without: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.cells: int = cells
        self.source_heights: tuple[float, ...] = tuple(source_heights)
        self.without: str = without
        self.num_sources: int = num_sources
        layer = {"dtype": jnp.dtype(dtype), "rngs": rngs}
        self.node_first: nnx.Linear = nnx.Linear(
            levels.NUM_STATISTICS, 2 * width, **layer
        )
        self.node_second: nnx.Linear = nnx.Linear(2 * width, width, **layer)
        self.context: nnx.Linear = nnx.Linear(
            width + 2 + levels.NUM_STATISTICS, _CONTEXT, **layer
        )
        self.mix_first: nnx.Linear = nnx.Linear(
            width + _CONTEXT + 1, 2 * width, **layer
        )
        self.mix_second: nnx.Linear = nnx.Linear(2 * width, width, **layer)
        self.rings: nnx.Linear = nnx.Linear(width, _RINGS, **layer)
        self.pair_of_node: nnx.Linear = nnx.Linear(width, pair_width, **layer)
        self.pair_of_peak: nnx.Linear = nnx.Linear(
            1, pair_width, use_bias=False, **layer
        )
        self.pair_first: nnx.Linear = nnx.Linear(
            len(envelopes.BLURS), pair_width, rngs=rngs
        )
        self.pair_second: nnx.Linear = nnx.Linear(pair_width, num_votes, rngs=rngs)
        num_inputs, num_shared = 2 * num_votes + 1, num_votes + _CONTEXT
        self.head = _Head(num_inputs, num_shared, rngs=rngs)
        # Zero, so that both are believed as they are at first.
        zeros = nnx.initializers.zeros_init()
        self.trust: nnx.Linear = nnx.Linear(num_shared, 2, kernel_init=zeros, rngs=rngs)
        if num_sources > 1:
            self.heads: nnx.List[Any] = nnx.List(
                [
                    _Head(num_inputs + _RINGS + 1, num_shared, rngs=rngs)
                    for _ in range(num_sources)
                ]
            )
            # The first begins near the likeliest point, the second away from it.
            near = np.exp(-0.5 * (np.arange(_RINGS) / 8) ** 2)
            self.around: nnx.Param[Any] = nnx.Param(
                jnp.asarray(np.stack([3.0 * near, -3.0 * near]), jnp.float32)
            )

    @staticmethod
    def inputs(
        label: schemes.Label,
        batch: dict[str, Array],
        by_rows: Callable[..., Any] = lambda function: function,
    ) -> tuple[schemes.Label, evidence_lib.Evidence]:
        """Collect the arguments of a call from a batch: see `objective.inputs_of`."""
        return label, evidence_lib.collect(batch, by_rows)

    def __call__(
        self,
        label: schemes.Label,
        evidence: evidence_lib.Evidence,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S D"]:
        """Compute the logits of a label, of any resolution."""
        fine = label.posterior_resolution(self.cells)
        posteriors = self.log_posteriors(evidence, fine)
        return jax.vmap(jax.vmap(label.expect))(posteriors)

    def log_posteriors(
        self, evidence: evidence_lib.Evidence, resolution: int
    ) -> Float[Array, "B S F F"]:
        """Compute log posteriors of the sources at grid points, not normalized.

        Args:
            evidence: Of a batch.
            resolution: Cells per axis, F - 1; rows y, columns x.
        """
        points = grid_points(evidence.room_size, resolution, self.source_heights)
        summed = self._sum_over_heights(self._scores(evidence, points))
        return summed.reshape(*summed.shape[:2], resolution + 1, resolution + 1)

    def log_posteriors_at(
        self,
        evidence: evidence_lib.Evidence,
        plan: Float[Array, "B P 2"],
        resolution: int = 16,
    ) -> Float[Array, "B S P"]:
        """Compute log posteriors of the sources at any points of the plan, in meters.

        Args:
            evidence: Of a batch.
            plan: The points.
            resolution: Cells per axis of the grid that votes are seen relative to.
        """
        points = at_heights(plan, self.source_heights)
        return self._sum_over_heights(self.scores_at(evidence, points, resolution))

    def _sum_over_heights(self, scores):
        """Sum over the talker's heights, [B, S, H P] to [B, S, P]."""
        B, S, _ = scores.shape
        scores = scores.reshape(B, S, len(self.source_heights), -1)
        return jax.nn.logsumexp(scores, axis=2)

    def scores_at(
        self,
        evidence: evidence_lib.Evidence,
        points: Float[Array, "B P 3"],
        resolution: int = 16,
    ) -> Float[Array, "B S P"]:
        """Compute the scores of any points, in meters.

        Votes are seen relative to those on a grid, so that a point's score does not
        depend on the other points.

        Args:
            evidence: Of a batch.
            points: The points.
            resolution: Cells per axis of the grid.
        """
        grid = grid_points(evidence.room_size, resolution, self.source_heights)
        both = self._scores(evidence, jnp.concatenate([grid, points], 1), grid.shape[1])
        return both[:, :, grid.shape[1] :]

    def votes(
        self, evidence: evidence_lib.Evidence, resolution: int
    ) -> tuple[Float[Array, "B M F F"], Float[Array, "B Q F F"]]:
        """Compute the ring of each node and the hyperbola of each pair, for pictures.

        Args:
            evidence: Of a batch.
            resolution: Cells per axis, F - 1; rows y, columns x.

        Returns:
            Each node's log-likelihood of its distance, and each pair's least blurred
            log envelope, at the first of the talker's heights.
        """
        points = grid_points(evidence.room_size, resolution, self.source_heights[:1])
        shared, tables = self._share(evidence)
        distances = _distances(evidence, points)
        rings = _read_rings(shared.rings, distances)
        lags = _lags(evidence, distances)
        hyperbolas = jnp.take_along_axis(tables[0], lags, axis=-1)
        shape = (resolution + 1, resolution + 1)
        return (
            rings.reshape(*rings.shape[:2], *shape),
            hyperbolas.reshape(*hyperbolas.shape[:2], *shape),
        )

    def _scores(self, evidence, points, num_grid: int | None = None):
        """Compute the scores [B, S, P]; the first `num_grid` points are the grid."""
        shared, tables = self._share(evidence)
        votes = self._count(evidence, shared, tables, points)
        features, largest = self._stand_out(votes, num_grid)
        about = jnp.concatenate([largest, shared.context], axis=-1)
        trust = 2 * nnx.sigmoid(self.trust(about))[:, :, None]
        if self.without == "trust":
            trust = jnp.ones_like(trust)
        scores = trust[:, 0] * self.head(features, about)
        if self.without != "rings":
            scores = scores + trust[:, 1] * votes.rings
        if self.num_sources == 1:
            return scores[:, None]
        return self._separate(scores, features, about, points, num_grid)

    def _share(self, evidence):
        """Compute the parts of the votes that are the same at all points."""
        mask = evidence.mask[..., None].astype(jnp.float32)
        count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
        x = evidence.levels.reshape(*evidence.levels.shape[:2], -1)
        mean_levels = (mask * x).sum(axis=1) / count[:, 0]
        x = (x - mean_levels[:, None]) / _LEVEL_SCALE
        one, other = correlations.node_pairs(mask.shape[1])
        pairs = (mask[:, one] * mask[:, other])[..., 0]
        peaks = pairs * _peaks(evidence)
        if self.without == "hyperbolas":
            peaks = jnp.zeros_like(peaks)
        node_peaks = jnp.zeros(mask.shape[:2])
        node_peaks = node_peaks.at[:, one].add(peaks).at[:, other].add(peaks)
        node_peaks = node_peaks[..., None] / jnp.maximum(count - 1, 1.0)
        h = self.node_second(nnx.gelu(self.node_first(x)))
        mean = (mask * jnp.tanh(h)).sum(axis=1) / count[:, 0]
        about = [mean, jnp.log(count[:, 0]), _mean(peaks, pairs)[:, None]]
        about.append(_profile(mean_levels))
        context = nnx.gelu(self.context(jnp.concatenate(about, axis=-1)))
        if self.without == "context":
            context = jnp.zeros_like(context)
        repeated = jnp.broadcast_to(context[:, None], (*h.shape[:2], _CONTEXT))
        mixed = jnp.concatenate([h, repeated, node_peaks], axis=-1)
        h = h + self.mix_second(nnx.gelu(self.mix_first(mixed)))
        own = self.pair_of_node(h)
        own_pairs = own[:, one] + own[:, other] + self.pair_of_peak(peaks[..., None])
        f32 = jnp.float32
        return (
            _Shared((mask * self.rings(h)).astype(f32), own_pairs.astype(f32), context),
            read_lags(evidence),
        )

    def _count(self, evidence, shared: _Shared, tables, points) -> _Votes:
        """Count the votes for all points."""
        B, M = evidence.mask.shape
        rings = _in_parts(
            lambda some: _read_rings(shared.rings, _distances(evidence, some)).sum(1),
            points,
            B * M,
        )
        if self.without == "hyperbolas":
            # Not constants: the compiler would spend minutes on folding what follows.
            zeros = 0.0 * rings[..., None]
            return _Votes(rings, jnp.tile(zeros, self.pair_second.out_features))
        one, other = correlations.node_pairs(M)
        weights = (evidence.mask[:, one] & evidence.mask[:, other]).astype(jnp.float32)
        weights /= jnp.maximum(weights.sum(axis=1, keepdims=True), 1.0)

        if points.shape[1] >= _MANY_POINTS and self.without != "pair_votes":
            distances = _distances(evidence, points)
            apart = _apart(evidence)
            found = self._read_tables(shared, tables, distances, apart, weights)
            return _Votes(rings, found)
        mean = _in_parts(
            jax.checkpoint(
                lambda some: self._mean_of_points(
                    shared, tables, _lags(evidence, _distances(evidence, some)), weights
                )
            ),
            points,
            B * max(len(one), 1),
        )
        return _Votes(rings, self.pair_second(mean))

    def _mean_of_points(self, shared: _Shared, tables, lags, weights):
        """Average the hidden units over the pairs, point by point: [B, P, W]."""
        seen = [
            jnp.take_along_axis(table, lags, axis=-1, mode="promise_in_bounds")
            for table in tables
        ]
        pairs = shared.pairs
        if self.without == "pair_votes":
            seen = [(weights[..., None] * x).sum(1, keepdims=True) for x in seen]
            pairs = (weights[..., None] * pairs).sum(1, keepdims=True)
            weights = jnp.ones((len(pairs), 1))
        kernel, bias = self.pair_first.kernel[...], self.pair_first.bias[...]
        hidden = (pairs + bias)[..., None]  # [B, Q, W, 1]
        for x, row in zip(seen, kernel, strict=True):
            hidden = hidden + x[:, :, None] * row[:, None]
        mean = (weights[..., None, None] * nnx.gelu(hidden)).sum(axis=1)
        return mean.swapaxes(1, 2)

    def _read_tables(self, shared: _Shared, tables, distances, apart, weights):
        """Average the votes over the pairs, pair by pair: [B, P, V]."""
        one, other = correlations.node_pairs(distances.shape[1])
        kernel, bias = self.pair_first.kernel[...], self.pair_first.bias[...]
        to_votes = self.pair_second.kernel[...]

        @jax.checkpoint
        def add(total, pair):
            m, n, far, own, weight, *envelopes_of_pair = pair
            hidden = (own + bias)[:, None]  # [B, L, W]
            for x, row in zip(envelopes_of_pair, kernel, strict=True):
                hidden = hidden + x[..., None] * row
            votes = weight[:, None, None] * nnx.gelu(hidden) @ to_votes
            lags = _nearest(distances[:, m] - distances[:, n], far[:, None])
            read = jnp.take_along_axis(
                votes, lags[..., None], axis=1, mode="promise_in_bounds"
            )
            return total + read, None

        start = jnp.zeros((*distances.shape[::2], self.pair_second.out_features))
        by_pair = (apart, shared.pairs, weights, *tables)
        by_pair = [array.swapaxes(0, 1) for array in by_pair]
        total, _ = jax.lax.scan(add, start, (one, other, *by_pair))
        return total + self.pair_second.bias[...]

    def _stand_out(self, votes: _Votes, num_grid: int | None):
        """Describe how votes stand out over the grid, [B, P, D], and most, [B, V]."""
        grid = votes.pairs[:, :num_grid]
        mean = grid.mean(axis=1, keepdims=True)
        deviation = jnp.sqrt(grid.var(axis=1, keepdims=True) + 1e-6)
        relative = votes.pairs - mean
        scaled = relative / deviation
        # By its place: the gradient of a maximum is NaN where the compiler computes the
        # values again, in other last bits, and finds none equal to it.
        places = jnp.argmax(scaled[:, :num_grid], axis=1, keepdims=True)
        largest = jnp.take_along_axis(scaled, places, axis=1)
        rings = votes.rings - votes.rings[:, :num_grid].mean(axis=1, keepdims=True)
        if self.without == "rings":
            rings = jnp.zeros_like(rings)
        parts = [relative, scaled, rings[..., None] / 4]
        return jnp.concatenate(parts, axis=-1), largest[:, 0]

    def _separate(self, scores, features, about, points, num_grid: int | None):
        """Share the scores of one posterior between the sources: [B, S, P]."""
        likeliest = jnp.argmax(scores[:, :num_grid], axis=1)
        peak = jnp.take_along_axis(points, likeliest[:, None, None], axis=1)
        apart = jnp.sqrt(((points - peak)[..., :2] ** 2).sum(axis=-1))
        rings = ring_basis(apart)
        highest = jnp.take_along_axis(scores, likeliest[:, None], axis=1)
        own = (scores - highest)[..., None]
        inputs = jnp.concatenate([features, rings, own / 8], axis=-1)
        return jnp.stack(
            [
                scores + head(inputs, about) + (rings * around).sum(axis=-1)
                for head, around in zip(self.heads, self.around[...], strict=True)
            ],
            axis=1,
        )


def grid_points(
    room_size: Float[Array, "B 3"], resolution: int, heights: tuple[float, ...]
) -> Float[Array, "B P 3"]:
    """Compute grid points in meters, at all heights: height by height, row by row."""
    axis = jnp.arange(resolution + 1) / resolution
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    plan = jnp.stack([x.ravel(), y.ravel()], axis=-1) * room_size[:, None, :2]
    return at_heights(plan, heights)


def at_heights(
    plan: Float[Array, "B P 2"], heights: tuple[float, ...]
) -> Float[Array, "B _ 3"]:
    """Put points of the plan at each of some heights, height by height."""
    z = jnp.repeat(jnp.asarray(heights, jnp.float32), plan.shape[1])
    plan = jnp.tile(plan, (1, len(heights), 1))
    z = jnp.broadcast_to(z[:, None], (*plan.shape[:2], 1))
    return jnp.concatenate([plan, z], axis=-1)


def _in_parts(
    function: Callable[..., Any], points: Float[Array, "B P 3"], numbers: int
):
    """Compute a function of points [B, P, ...] for some of them at a time.

    Args:
        function: The function.
        points: The points.
        numbers: Numbers that it computes for each point.
    """
    B, P, _ = points.shape
    num_parts = -(-P // max(1, _AT_ONCE // numbers))
    if num_parts == 1:
        return function(points)
    size = -(-P // num_parts)
    padding = ((0, 0), (0, num_parts * size - P), (0, 0))
    padded = jnp.pad(points, padding, mode="edge")
    parts = padded.reshape(B, num_parts, size, 3).swapaxes(0, 1)
    found = jax.lax.map(function, parts).swapaxes(0, 1)
    return found.reshape(B, -1, *found.shape[3:])[:, :P]


def _distances(evidence, points: Float[Array, "B P 3"]) -> Float[Array, "B M P"]:
    offset = points[:, None] - evidence.node_positions[:, :, None]
    return jnp.sqrt((offset**2).sum(axis=-1))


def _read_rings(
    rings: Float[Array, "B M 24"], distances: Float[Array, "B M P"]
) -> Float[Array, "B M P"]:
    """Read the votes of nodes for distances, linearly between those voted for."""
    count, low, high = _VOTED
    votes = rings @ ring_basis(jnp.geomspace(low, high, count)).T
    logs = jnp.log(jnp.clip(distances, low, high) / low)
    place = logs * ((count - 1) / math.log(high / low))
    left = jnp.minimum(place.astype(jnp.int32), count - 2)
    below = jnp.take_along_axis(votes, left, axis=-1, mode="promise_in_bounds")
    above = jnp.take_along_axis(votes, left + 1, axis=-1, mode="promise_in_bounds")
    return below + (place - left) * (above - below)


def _apart(evidence) -> Float[Array, "B Q"]:
    """Compute the distance of the nodes of each pair."""
    one, other = correlations.node_pairs(evidence.mask.shape[1])
    offset = evidence.node_positions[:, one] - evidence.node_positions[:, other]
    return jnp.sqrt((offset**2).sum(axis=-1))


def read_lags(evidence: evidence_lib.Evidence) -> list[Float[Array, "B Q 385"]]:
    """Read log envelopes, for each blur, at the lags that a pair's distance allows.

    Entry 192 + k is that of a sound whose ways to the two nodes differ by k / 192 of
    their distance. The peaks of a late node are at larger lags than the kept ones.
    """
    one, other = correlations.node_pairs(evidence.mask.shape[1])
    late = evidence.clock_offsets[:, one] - evidence.clock_offsets[:, other]
    share = np.arange(-_LAGS, _LAGS + 1, dtype=np.float32) / _LAGS
    farthest = correlations.SAMPLES_PER_METER * _apart(evidence)
    lags = farthest[..., None] * share - late[..., None]
    return envelopes.read(evidence.envelopes, lags)


def _lags(evidence, distances: Float[Array, "B M P"]) -> Int[Array, "B Q P"]:
    """Find the entries of `read_lags` for points at these distances."""
    one, other = correlations.node_pairs(distances.shape[1])
    differences = distances[:, one] - distances[:, other]
    return _nearest(differences, _apart(evidence)[..., None])


def _nearest(
    differences: Float[Array, "*Q P"], apart: Float[Array, "*Q 1"]
) -> Int[Array, "*Q P"]:
    lags = differences * (_LAGS / jnp.maximum(apart, 1e-3))
    return jnp.round(jnp.clip(lags, -_LAGS, _LAGS)).astype(jnp.int32) + _LAGS


def _peaks(evidence) -> Float[Array, "B Q"]:
    """Find the highest entry of each pair that its clocks leave within the lags."""
    one, other = correlations.node_pairs(evidence.mask.shape[1])
    late = evidence.clock_offsets[:, one] - evidence.clock_offsets[:, other]
    lags = np.arange(envelopes.NUM_LAGS) - envelopes.NUM_LAGS // 2
    seen = jnp.abs(lags + late[..., None] / envelopes.STEP) <= envelopes.NUM_LAGS // 2
    log = envelopes.to_log(evidence.envelopes)[0]
    # The mean, where none is left.
    return jnp.where(seen, log, log.mean(axis=-1, keepdims=True)).max(axis=-1)


def _profile(mean_levels: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """Describe what the scene sounds like, however loud: mean level statistics."""
    profile = mean_levels.reshape(-1, len(levels.STATISTICS), levels.NUM_BANDS)
    loudness = profile[:, : levels.NUM_LEVELS].mean(axis=(1, 2), keepdims=True)
    profile = profile.at[:, : levels.NUM_LEVELS].add(-loudness)
    profile = jnp.maximum(profile, _FAINTEST) / (2 * _LEVEL_SCALE)
    return profile.reshape(mean_levels.shape)


def _mean(values: Float[Array, "B Q"], weights: Float[Array, "B Q"]):
    return (weights * values).sum(axis=1) / jnp.maximum(weights.sum(axis=1), 1.0)


def _check_heights(settings: Mapping[str, Any], num_nodes: int | None) -> None:
    heights = settings["source_heights"]
    if not heights or not all(0 <= height <= 100 for height in heights):
        raise ValueError(
            f"model.source_heights is {heights}; give one or more heights in meters, "
            "as in (0.95,)"
        )


SPEC = spec_lib.NetworkSpec(
    name="multilateration",
    network=Multilateration,
    settings={
        # Of a node's vector, of a pair's hidden units, and of its vote.
        "width": 64,
        "pair_width": 16,
        "num_votes": 8,
        # Least cells per axis of the grid on which votes are counted.
        "cells": 16,
        # Talkers' heights in meters, equally likely.
        "source_heights": (0.95,),
        # What is left out in an ablation: see `multilateration.ABLATIONS`.
        "without": "nothing",
    },
    any_label=True,
    free_settings=frozenset({"cells", "source_heights"}),
    any_nodes=True,
    least_nodes=3,
    max_sources=2,
    measure=evidence_lib.measure,
    ranges={
        "width": (1, spec_lib.LARGEST),
        "pair_width": (1, spec_lib.LARGEST),
        "num_votes": (1, spec_lib.LARGEST),
        "cells": (1, 1000),
    },
    choices={"without": ABLATIONS},
    rule=_check_heights,
)
