"""Find places for nodes where a talker will be localized best.

The radius that `planning` predicts is computed on a grid of talkers' places. Nodes are
exchanged one at a time for the best of many candidates, from several random starts, until
none improves (Fedorov's exchange algorithm; V. V. Fedorov, "Theory of Optimal
Experiments", Academic Press, 1972). Information adds up over nodes, so that of all
candidates is computed once.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from uld_jax.localization import clock_planning, localize, planning, recordings

# The worst radius is replaced by a mean of high powers, which has fewer local minima.
_POWERS = {"worst": 10.0, "mean": 1.0}
CRITERIA = tuple(_POWERS)
REGIONS = ("walls", "anywhere", "table")
MARGIN = 0.3  # Meters: talkers are not nearer to a wall.
_FROM_WALL = 0.05  # Meters from a wall to a node on it.
_APART = 0.5  # Meters between nodes, if they have room enough.
_CANDIDATES = 100
_GRID, _MAP = 8, 30  # Places along the longer side: of the search, of the map.
_LINE = 0.05  # Of the nodes' extent: how far from a line they are at least.
_STARTS, _SWEEPS = 4, 12
_LITTLE = 1e-4  # Relative improvement that is none.


class Plan(NamedTuple):
    """Places of nodes, and how well a talker is localized by them.

    Attributes:
        nodes: (x, y, z) in meters, [M, 3]: the fixed ones first.
        num_fixed: How many of them were given.
        places: (x, y) of talkers in meters, cell centers of the map, [R, C, 2]: rows y.
        radii: Predicted 90 % radii in meters there, [R, C]; of calibrated clocks, if they
            can be.
        counts: True for places that a talker can be at, [R, C]: not at a wall.
        one_more: The best place of one more node, [3]; None if there is no room for it.
        radii_with: Radii in meters with it, [R, C]; None likewise.
        calibrated: Probability that clocks can be calibrated; None if that was not asked.
        calibrated_with: The same with one more node.
        radii_without: Radii in meters without calibration, [R, C]; None likewise.

    >>> import uld_jax
    >>> plan = uld_jax.place_nodes([5.0, 4.0], 3, [[0, 0, 1], [5, 0, 1], [2, 4, 1]])
    >>> plan.num_fixed, plan.radii.shape == plan.places.shape[:2]
    (3, True)
    """

    nodes: np.ndarray
    num_fixed: int
    places: np.ndarray
    radii: np.ndarray
    counts: np.ndarray
    one_more: np.ndarray | None
    radii_with: np.ndarray | None
    calibrated: float | None = None
    calibrated_with: float | None = None
    radii_without: np.ndarray | None = None


def place_nodes(
    room_size: ArrayLike,
    num_nodes: int,
    fixed: ArrayLike | None = None,
    *,
    on: str = "walls",
    table: ArrayLike | None = None,
    minimize: str = "worst",
    node_height: int | float = recordings.NODE_HEIGHT,
    clocks: int | float = 0.0,
    calibrate: int = 0,
    positions: int | float = planning.POSITIONS,
    source_height: int | float | None = None,
    t60: int | float = planning.T60,
    seed: int = 0,
) -> Plan:
    """Propose places for nodes, and map the radius that `localize` will have.

    Args:
        room_size: Sides along x and y in meters, and the height or not: [2] or [3].
        num_nodes: Number of nodes M, fixed ones included: 3 to 60.
        fixed: (x, y, z) in meters of nodes that stay where they are, [F, 3].
        on: Where the others may be: "walls", "anywhere" or "table".
        table: x0, y0, x1, y1 in meters, corners of the rectangle for "table".
        minimize: "worst" or "mean": of the 90 % radii at talkers' places, 0.3 m or more
            from the walls.
        node_height: Height of the proposed nodes in meters.
        clocks: Standard deviation of the nodes' clocks in seconds.
        calibrate: Number of talkers' places in a recording by which these clocks are
            calibrated; 0 if they are not. Radii count by how likely that succeeds.
        positions: Standard deviation of the nodes' measured places in meters, each axis.
        source_height: Of the talker's mouth in meters; None for 0.8 to 1.9.
        t60: Reverberation time in seconds.
        seed: Of the random starts; the same gives the same plan.

    Returns:
        A `Plan`.

    Raises:
        PlanningError: If a value is out of its range, a fixed node or the table is
            outside of the room, nodes do not fit, or there are no clocks to calibrate.

    >>> import uld_jax
    >>> plan = uld_jax.place_nodes([6.0, 4.0], 6, [[0.1, 2.0, 1.2]])
    >>> plan.nodes.shape, plan.nodes[0].tolist()
    ((6, 3), [0.1, 2.0, 1.2])
    >>> bool(plan.radii[plan.counts].max() < 0.5)
    True
    """
    planning.check(room_size, clocks, positions, source_height, t60)
    size = np.asarray(room_size, float)
    kept = np.asarray([] if fixed is None else fixed, float)
    kept = kept if kept.size else np.zeros((0, 3))
    _check(size, num_nodes, kept, on, table, minimize, node_height)
    if calibrate and not clocks:
        raise planning.PlanningError(
            f"calibrate is {calibrate} and clocks is 0; say by how much clocks are off, or "
            "give no calibrate"
        )
    facts = (positions, source_height, t60)
    models = [planning.Model.of(size, clocks, *facts)]
    spoken = None
    if calibrate:
        models.insert(0, planning.Model.of(size, 0.0, *facts))
        spoken = clock_planning.draw_recordings(size, calibrate, *facts)
    candidates = _make_candidates(size, on, table, node_height, num_nodes + 1)
    nodes = kept
    if num_nodes > len(kept):
        search = _Search.of(candidates, kept, size, minimize, models, spoken)
        nodes = search.find(num_nodes, np.random.default_rng(seed))
    search = _Search.of(candidates, nodes, size, minimize, models, spoken)
    places, counts = _make_map(size)
    one_more = search.add_best(nodes)
    radii, calibrated = _map(nodes, places, models[0]), _predict(nodes, spoken)
    radii_with = calibrated_with = None
    if one_more is not None:
        more = np.vstack([nodes, one_more])
        radii_with, calibrated_with = (
            _map(more, places, models[0]),
            _predict(more, spoken),
        )
    return Plan(
        *(nodes, len(kept), places, radii, counts, one_more, radii_with),
        *(calibrated, calibrated_with),
        _map(nodes, places, models[1]) if calibrate else None,
    )


def are_on_line(nodes: ArrayLike) -> bool:
    """Check whether nodes are so near to a line that mirror images may be confused.

    Args:
        nodes: Their positions in meters, [M, 2] or [M, 3].

    >>> are_on_line([[0, 0], [1, 1], [2, 2.01]]), are_on_line([[0, 0], [1, 1], [2, 1]])
    (True, False)
    """
    plan = np.asarray(nodes, float)[:, :2]
    extents = np.linalg.svd(plan - plan.mean(axis=0), compute_uv=False)
    return bool(extents[1] < _LINE * extents[0])


def _check(size, num_nodes, fixed, on, table, minimize, node_height) -> None:
    """Check what `planning.check` does not."""
    if not localize.LEAST_NODES <= num_nodes <= recordings.MOST_NODES:
        raise planning.PlanningError(
            f"num_nodes is {num_nodes}; give {localize.LEAST_NODES} to {recordings.MOST_NODES}, best 8 "
            "or more"
        )
    if num_nodes != int(num_nodes):
        raise planning.PlanningError(f"num_nodes is {num_nodes}; give a whole number")
    if not np.isfinite(fixed).all():
        raise planning.PlanningError("fixed holds a value that is not finite")
    if fixed.ndim != 2 or fixed.shape[1] != 3:
        raise planning.PlanningError(f"fixed has shape {fixed.shape}; give [F, 3]")
    if len(fixed) > num_nodes:
        raise planning.PlanningError(
            f"{len(fixed)} nodes are fixed, and num_nodes is {num_nodes}; raise it, or fix "
            "fewer"
        )
    for number, node in enumerate(fixed):
        if not ((node[:2] >= 0) & (node[:2] <= size[:2])).all():
            raise planning.PlanningError(
                f"fixed node {number} at {node.tolist()} m is outside the room of "
                f"{size.tolist()} m; measure from a corner of the floor"
            )
    for name, value, known in (("on", on, REGIONS), ("minimize", minimize, CRITERIA)):
        if value not in known:
            raise planning.PlanningError(
                f"{name} is {value!r}; give one of {', '.join(known)}"
            )
    if not 0 <= node_height <= (size[2] if len(size) > 2 else 10):
        raise planning.PlanningError(
            f"node_height is {node_height}; give meters between the floor and the ceiling"
        )
    if (table is None) != (on != "table"):
        raise planning.PlanningError(
            f"on is {on!r} and table is {table}; give both 'table' and its corners, or "
            "neither"
        )
    if table is not None:
        _check_table(size, np.asarray(table, float))


def _check_table(size, table) -> None:
    if table.shape != (4,) or not (table[:2] < table[2:]).all():
        raise planning.PlanningError(
            f"table is {table.tolist()}; give x0, y0, x1, y1 with x0 < x1 and y0 < y1"
        )
    if not ((table[:2] >= 0) & (table[2:] <= size[:2])).all():
        raise planning.PlanningError(
            f"table {table.tolist()} m reaches out of the room of {size.tolist()} m"
        )


class _Candidates(NamedTuple):
    """Places that a node may have: [C, 3] in meters, and how far nodes must be apart."""

    places: np.ndarray
    apart: float


def _make_candidates(size, on, table, node_height, num_nodes) -> _Candidates:
    """Spread candidates evenly over the walls or an area."""
    if on == "walls":
        low, high = _FROM_WALL, size[:2] - _FROM_WALL
        low, high = np.minimum(low, size[:2] / 4), np.maximum(high, 3 * size[:2] / 4)
        perimeter = 2 * (high - low).sum()
        plan = _walk(low, high, np.arange(_CANDIDATES) * perimeter / _CANDIDATES)
        apart = perimeter / num_nodes / 2
    else:
        low, high = np.full(2, _FROM_WALL), size[:2] - _FROM_WALL
        if on == "table":
            low, high = np.asarray(table[:2], float), np.asarray(table[2:], float)
        plan = _spread(low, high, _CANDIDATES)
        apart = math.sqrt((high - low).prod() / num_nodes) / 2
    heights = np.full(len(plan), node_height)
    return _Candidates(np.column_stack([plan, heights]), min(_APART, apart))


def _walk(low, high, along) -> np.ndarray:
    """Find the points [C, 2] at some distances along a rectangle's outline."""
    width, depth = high - low
    corners = np.cumsum([0.0, width, depth, width, depth])
    x = np.interp(along, corners, [low[0], high[0], high[0], low[0], low[0]])
    y = np.interp(along, corners, [low[1], low[1], high[1], high[1], low[1]])
    return np.column_stack([x, y])


def _spread(low, high, count) -> np.ndarray:
    """Make a grid of about so many points [C, 2], ends included."""
    sides = high - low
    columns = max(2, round(math.sqrt(count * sides[0] / sides[1])))
    columns = min(columns, count // 2)
    rows = max(2, count // columns)
    x, y = np.meshgrid(
        np.linspace(low[0], high[0], columns), np.linspace(low[1], high[1], rows)
    )
    return np.column_stack([x.ravel(), y.ravel()])


def map_radii(
    nodes: ArrayLike, room_size: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Map the 90 % radius of `localize` over a room with nodes that share a clock.

    Args:
        nodes: (x, y, z) in meters, [M, 3], 3 nodes or more.
        room_size: Sides along x and y in meters, and the height or not.

    Returns:
        As `Plan` has them: places [R, C, 2], radii [R, C], and where a talker can be.

    Raises:
        PlanningError: As `expected_radii`.

    >>> nodes = [[0, 0, 1.2], [6, 0, 1.2], [0, 4, 1.2], [6, 4, 1.2], [3, 0, 1.2]]
    >>> places, radii, counts = map_radii(nodes, [6.0, 4.0])
    >>> radii.shape, bool(radii[10, 15] < radii[0, 0])
    ((20, 30), True)
    """
    places, counts = _make_map(np.asarray(room_size, float))
    radii = planning.expected_radii(nodes, places.reshape(-1, 2), room_size)
    return places, radii.reshape(counts.shape), counts


def _make_map(size) -> tuple[np.ndarray, np.ndarray]:
    """Make the cell centers of the map, and say which a talker can be at."""
    plan = size[:2]
    columns, rows = np.maximum(np.rint(_MAP * plan / plan.max()).astype(int), 4)
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    places = np.stack(np.meshgrid(x * plan[0], y * plan[1]), axis=-1)
    margin = np.minimum(MARGIN, plan / 4) - 1e-9
    return places, ((places >= margin) & (places <= plan - margin)).all(axis=-1)


def _map(nodes, places, model) -> np.ndarray:
    found = planning.radii_of(
        np.float32(nodes), np.float32(places.reshape(-1, 2)), model, np.float32(0.9)
    )
    return np.asarray(found).reshape(places.shape[:2])


def _predict(nodes, spoken: clock_planning.Recordings | None) -> float | None:
    """Predict the probability that clocks are calibrated; None if that was not asked."""
    if spoken is None:
        return None
    return clock_planning.predict(np.asarray(nodes, float), spoken)


class _Search(NamedTuple):
    """A search among candidates, whose information is known at all talkers' places.

    Attributes:
        candidates: The candidates.
        fixed: Nodes that stay, [F, 3].
        own: Information of each candidate, in one row [C, L].
        base: Information of the fixed nodes, [L].
        cost: From summed information [C, L] and a number of nodes to costs [C].
    """

    candidates: _Candidates
    fixed: np.ndarray
    own: np.ndarray
    base: np.ndarray
    cost: Callable[..., Any]

    @classmethod
    def of(cls, candidates, fixed, size, minimize, models, spoken) -> "_Search":
        """Measure the information of candidates and fixed nodes.

        Args:
            candidates: The candidates.
            fixed: Nodes that stay, [F, 3].
            size: Of the room.
            minimize: Which radius.
            models: The errors; with recordings, those of calibrated clocks first.
            spoken: Recordings by which clocks are calibrated; None if they are not.
        """
        margin = np.minimum(MARGIN, size[:2] / 4)
        low, high = margin, size[:2] - margin
        talkers = np.float32(_spread(low, high, round(_GRID**2 * 0.75)))
        power = np.float32(_POWERS[minimize])

        def measure(nodes):
            found = np.asarray(_measure(np.float32(nodes), talkers, models[0]))
            rows = [found.reshape(len(nodes), -1)]
            if spoken is not None:
                found = clock_planning.measure(np.asarray(nodes, float), spoken)
                rows.append(found.reshape(len(nodes), -1))
            return np.concatenate(rows, axis=1)

        def cost(information, num_nodes):
            of_times = information[:, : 32 * len(talkers)].astype(np.float32)
            of_times = of_times.reshape(-1, len(talkers), 2, 4, 4)
            costs = [
                np.asarray(_cost(of_times, np.float32(num_nodes), model, power))
                for model in models
            ]
            if spoken is None:
                return costs[0]
            of_clocks = information[:, 32 * len(talkers) :]
            of_clocks = of_clocks.reshape(len(information), len(spoken.talkers), -1)
            share = clock_planning.find_probability(of_clocks, spoken)
            return share * costs[0] + (1 - share) * costs[1]

        own = measure(candidates.places)
        base = measure(fixed).sum(axis=0) if len(fixed) else np.zeros_like(own[0])
        return cls(candidates, fixed, own, base, cost)

    def allowed(self, taken) -> np.ndarray:
        """Find candidates that are far enough from all nodes but one, [C]."""
        apart = np.linalg.norm(self.candidates.places[:, None] - taken, axis=-1)
        return (apart >= self.candidates.apart).all(axis=1)

    def find(self, num_nodes: int, rng: np.random.Generator) -> np.ndarray:
        """Find places for all nodes: the best of some starts, [M, 3]."""
        drawn = [self.start(num_nodes, rng) for _ in range(len(self.own))]
        totals = np.stack([self.base + self.own[one].sum(axis=0) for one in drawn])
        order = np.argsort(self.cost(totals, num_nodes), kind="stable")
        best, least = None, math.inf
        for number in order[:_STARTS]:
            chosen, cost = self.exchange(drawn[number], num_nodes)
            if cost < least:
                best, least = chosen, cost
        found = self.candidates.places[best]
        around = found[:, :2] - found[:, :2].mean(axis=0)
        order = np.argsort(np.arctan2(around[:, 1], around[:, 0]), kind="stable")
        return np.vstack([self.fixed, found[order]])

    def start(self, num_nodes: int, rng: np.random.Generator) -> list[int]:
        """Draw candidates at random, far enough from each other."""
        chosen: list[int] = []
        for _ in range(num_nodes - len(self.fixed)):
            free = np.flatnonzero(self.allowed(self.taken(chosen)))
            if not len(free):
                raise planning.PlanningError(
                    f"{num_nodes} nodes, {self.candidates.apart:.2f} m apart, do not fit "
                    "beside the fixed ones; fix fewer, or place fewer"
                )
            chosen.append(int(rng.choice(free)))
        return chosen

    def taken(self, chosen) -> np.ndarray:
        """Collect the places of the fixed and the chosen nodes."""
        return np.vstack([self.fixed, self.candidates.places[chosen]])

    def costs(self, others, num_nodes: int) -> np.ndarray:
        """Compute the cost of each candidate beside the fixed and some other nodes."""
        total = self.base + self.own[np.array(others, int)].sum(axis=0)
        return np.asarray(self.cost(total + self.own, num_nodes))

    def exchange(self, chosen: list[int], num_nodes: int) -> tuple[list[int], float]:
        """Move one node at a time to its best candidate until none gets better."""
        last = math.inf
        for _ in range(_SWEEPS):
            for _ in range(len(chosen)):
                now, *others = chosen
                free = self.allowed(self.taken(others))
                costs = np.where(free, self.costs(others, num_nodes), math.inf)
                if costs.min() < costs[now] * (1 - _LITTLE):
                    now = int(costs.argmin())
                chosen = [*others, now]  # The next one's turn.
            if costs[now] > last * (1 - _LITTLE):
                break
            last = costs[now]
        return chosen, float(costs[now])

    def add_best(self, nodes: np.ndarray) -> np.ndarray | None:
        """Find the best candidate besides the fixed nodes; None if none is free."""
        free = self.allowed(nodes)
        if not free.any() or len(nodes) >= recordings.MOST_NODES:
            return None
        costs = np.where(free, self.costs([], len(nodes) + 1), math.inf)
        return self.candidates.places[costs.argmin()]


_measure = jax.jit(planning.measure)


@jax.jit
def _cost(information, num_nodes, model, power):
    """Compute a mean of radii that is nearer to their largest for a higher power."""
    radii = planning.find_radii(information, num_nodes, model, 0.9)
    largest = radii.max(axis=-1, keepdims=True)
    mean = ((radii / largest) ** power).mean(axis=-1) ** (1 / power)
    return largest[..., 0] * mean
