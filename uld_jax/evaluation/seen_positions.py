"""What a method makes of sources at the few places of a room, seen in training or not.

In Table 4 three of the four places that are tested at are trained at, too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from uld_jax.evaluation import evaluate, metrics
from uld_jax.simulation import scenes

_SAME = 0.01  # Meters.


def tell(
    result: evaluate.Evaluation,
    trained: Sequence[Sequence[float]] | None,
    of_cells: bool = True,
) -> dict[str, Any]:
    """Return the part of a record's test on places, if there are few of them.

    Args:
        result: What was predicted.
        trained: The places (x, y) that training sources stood at; None of data that
            have too many to be told.
        of_cells: Whether the method has classes, and so an accuracy.

    Returns:
        Nothing, or `places`: a list with `place`, whether it was `seen` in training,
        the number of its `sources`, and their error statistics and accuracy; and
        `seen` and `unseen`: the same of all such sources together, with the number of
        places; None where there is none.
    """
    if trained is None:
        return {}
    truth = np.asarray(result.positions, np.float64).reshape(-1, 2)
    found = np.asarray(result.predicted, np.float64).reshape(-1, 2)
    known, place_of = np.unique(np.round(truth, 3), axis=0, return_inverse=True)
    if len(known) > scenes.MOST_PLACES:
        return {}
    errors = np.linalg.norm(found - truth, axis=-1)
    correct = {"cell_accuracy": result.cell_correct, "accuracy": result.correct}
    shares = {name: np.ravel(values) for name, values in correct.items()}

    def statistics(chosen):
        facts: dict[str, Any] = {"sources": int(chosen.sum())}
        facts |= metrics.error_statistics(errors[chosen].astype(np.float32))
        if of_cells:
            facts |= {name: float(v[chosen].mean()) for name, v in shares.items()}
        return facts

    near = np.asarray(trained, np.float64).reshape(-1, 2)
    seen = [bool((np.linalg.norm(near - at, axis=1) < _SAME).any()) for at in known]
    place_of = place_of.ravel()
    told = [
        {"place": at.tolist(), "seen": was, **statistics(place_of == number)}
        for number, (at, was) in enumerate(zip(known, seen, strict=True))
    ]
    results: dict[str, Any] = {"places": told}
    for name, wanted in (("seen", True), ("unseen", False)):
        numbers = [number for number, was in enumerate(seen) if was == wanted]
        results[name] = None
        if numbers:
            chosen = np.isin(place_of, numbers)
            results[name] = {"places": len(numbers), **statistics(chosen)}
    return results


def trained(
    before: dict[str, list | None], origin: dict[str, Any], trained_here: bool
) -> dict[str, list | None]:
    """Return the places that a network was trained at, by the name of the room.

    None of a room in which they are too many to be told.

    Args:
        before: The same of the network that it began from.
        origin: Facts of the data set: its `room`, if that is one room, and the
            `training_places` (x, y) there, if they are few.
        trained_here: Whether it was trained on these data.
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
