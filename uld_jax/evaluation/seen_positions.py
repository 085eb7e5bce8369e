"""Scores at the few source positions of one room, seen in training or not.

In Table 4, three of the four test positions are training positions, too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from uld_jax.evaluation import evaluate, metrics
from uld_jax.simulation import scenes

_SAME = 0.01  # Meters.
_MOST_SHOWN = 5


def score_by_position(
    result: evaluate.Evaluation, trained: Sequence[Sequence[float]] | None
) -> dict[str, Any]:
    """Score the sources at each position on its own, if there are few positions.

    Args:
        result: Evaluation of the test split.
        trained: Positions (x, y) of training sources; None if there are too many to
            list.

    Returns:
        A part of a record's test, empty if there are too many positions. `places`: a
        list with `place`, whether it was `seen` in training, the number of its
        `sources`, and their error statistics and, of a network, accuracies. `seen` and
        `unseen`: the same for all such sources together, with the number of places;
        None without any.
    """
    if trained is None:
        return {}
    truth = np.asarray(result.positions, np.float64).reshape(-1, 2)
    found = np.asarray(result.predicted, np.float64).reshape(-1, 2)
    positions, number_of = np.unique(np.round(truth, 3), axis=0, return_inverse=True)
    if len(positions) > scenes.MOST_POSITIONS:
        return {}
    errors = np.linalg.norm(found - truth, axis=-1)
    correct = {"cell_accuracy": result.cell_correct, "accuracy": result.correct}
    if result.correct is None:  # A method has no classes.
        correct = {}

    def statistics(chosen):
        facts: dict[str, Any] = {"sources": int(chosen.sum())}
        facts |= metrics.error_statistics(errors[chosen].astype(np.float32))
        return facts | {
            name: float(values.ravel()[chosen].mean())
            for name, values in correct.items()
        }

    seen = _are_seen(positions, trained)
    number_of = number_of.ravel()
    results: dict[str, Any] = {
        "places": [
            {
                "place": at.tolist(),
                "seen": bool(seen[number]),
                **statistics(number_of == number),
            }
            for number, at in enumerate(positions)
        ]
    }
    for name, wanted in (("seen", seen), ("unseen", ~seen)):
        results[name] = None
        if wanted.any():
            chosen = wanted[number_of]
            results[name] = {"places": int(wanted.sum()), **statistics(chosen)}
    return results


def _are_seen(positions: np.ndarray, trained: Sequence[Sequence[float]]) -> np.ndarray:
    """Check which positions [N, 2] are training positions."""
    near = np.asarray(trained, np.float64).reshape(-1, 2)
    return np.array(
        [(np.linalg.norm(near - at, axis=1) < _SAME).any() for at in positions], bool
    )


def describe_seen(
    positions: np.ndarray, trained: Sequence[Sequence[float]] | None
) -> str | None:
    """Warn of test positions that a network was trained at.

    Args:
        positions: True positions of the test sources in meters, [..., 2 or 3].
        trained: Positions (x, y) of training sources; None if there are too many to
            list.

    Returns:
        The warning; None if there is nothing to warn of, or that is unknown.
    """
    if not trained:
        return None
    truth = np.asarray(positions, np.float64)[..., :2].reshape(-1, 2)
    places = np.unique(np.round(truth, 3), axis=0)
    seen = places[_are_seen(places, trained)]
    if not len(seen):
        return None
    shown = ", ".join(f"({x:.2f}, {y:.2f})" for x, y in seen[:_MOST_SHOWN])
    more = ", ..." if len(seen) > _MOST_SHOWN else ""
    return (
        f"Warning: {len(seen)} of {len(places)} test places are training places, at "
        f"{shown}{more} m. A network may know these by heart: errors there say nothing "
        "of other places, and are listed apart"
    )


def trained_positions(
    before: dict[str, list[Any] | None], origin: dict[str, Any], trained_here: bool
) -> dict[str, list[Any] | None]:
    """List the source positions that a network was trained at, by name of the room.

    None for a room in which there are too many to list.

    Args:
        before: The same for the network that it starts from.
        origin: Facts of the data set: its `room`, if that is one room, and the
            `training_places` (x, y) there, if they are few.
        trained_here: Whether it is trained on this data set.
    """
    rooms = dict(before)
    if room := origin.get("room"):
        here, earlier = origin.get("training_places"), rooms.get(room, [])
        if not trained_here:
            rooms[room] = earlier
        elif here is None or earlier is None:
            rooms[room] = None
        else:
            rooms[room] = earlier + [at for at in here if at not in earlier]
    return rooms
