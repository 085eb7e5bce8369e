"""Scores of a benchmark: errors by group with bootstrap intervals, and paired differences.

Examples of one room are alike, so rooms are drawn again, not examples; and so are seeds,
whose differences are part of what a figure may be off by. No result needs JAX.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from uld_jax.runtime import errors as errors_lib

FORMAT = 1
GROUPS_TOGETHER = "all"
_REPLICATES = 2000
_LEVELS = (2.5, 97.5)  # Percent.
_STATISTICS = {"mae": np.mean, "median": np.median}
# Keys that a result must have, to be compared.
_NEEDED = ("format", "network", "label", "data", "seeds", "groups", "errors", "rooms")
# What two data sets have in common if their tests are the same.
_SAME_DATA = ("name", "corpus", "noise", "law")


class BenchmarkError(errors_lib.InputError):
    """A benchmark that cannot be run or compared, with the reason."""


def number_rooms(room_sizes: np.ndarray, node_positions: np.ndarray) -> np.ndarray:
    """Assign a number to each room; examples with the same sides and nodes share one.

    Args:
        room_sizes: [n, 3].
        node_positions: [n, M, 3].

    Returns:
        Whole numbers from 0, [n].
    """
    facts = np.concatenate([room_sizes, node_positions.reshape(len(room_sizes), -1)], 1)
    return np.unique(facts, axis=0, return_inverse=True)[1].ravel()


def summarize(
    errors: np.ndarray, groups: Sequence[str], rooms: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Compute error statistics with 95 % intervals, by group and of all together.

    Args:
        errors: Distance of each example for each seed, [seeds, n], in meters.
        groups: Group of each example, n.
        rooms: Number of each example's room, [n].

    Returns:
        By group the numbers of `examples` and `rooms`, and "mae" and "median", each with
        its `value`, `low` and `high`, and the values `by_seed`.
    """
    found = {}
    for name, chosen in _by_group(groups):
        part, where = errors[:, chosen], rooms[chosen]
        drawn = np.array(
            [
                [
                    statistic(part[np.ix_(seeds, picked)])
                    for statistic in _STATISTICS.values()
                ]
                for picked, seeds in _resamples(where, len(part))
            ]
        )
        low, high = np.percentile(drawn, _LEVELS, axis=0)
        found[name] = {
            "examples": int(chosen.sum()),
            "rooms": len(np.unique(where)),
        } | {
            key: {
                "value": float(statistic(part)),
                "low": float(low[number]),
                "high": float(high[number]),
                "by_seed": [float(statistic(one)) for one in part],
            }
            for number, (key, statistic) in enumerate(_STATISTICS.items())
        }
    return found


def read(path: str | pathlib.Path) -> dict[str, Any]:
    """Read the result of a benchmark.

    Raises:
        BenchmarkError: If it is none, or of another version.
    """
    content = read_object(path)
    if missing := [key for key in _NEEDED if key not in content]:
        raise BenchmarkError(
            f"{str(path)!r} is not the result of a benchmark; it lacks "
            f"{', '.join(missing)}"
        )
    if content["format"] != FORMAT:
        raise BenchmarkError(
            f"{str(path)!r} has the format {content['format']}; this version reads "
            f"{FORMAT}: run the benchmark again"
        )
    return content


def read_object(path: str | pathlib.Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        BenchmarkError: If it is none, or cannot be read.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{str(path)!r} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise BenchmarkError(f"{str(path)!r} holds {content!r:.40}, not an object")
    return content


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Compare two results example by example.

    Args:
        first: A result, as `read` returns it.
        second: Another on the same data.

    Returns:
        For each group: its name as `group`, `examples`, the mean errors `first` and
        `second`, their `difference`, first minus second, with `low` and `high`, its 95 %
        interval, and `closer`, the share of examples in which the first is closer.

    Raises:
        BenchmarkError: If their test examples are not the same.
    """
    for key in _SAME_DATA:
        one, other = (result["data"].get(key) for result in (first, second))
        if one != other:
            raise BenchmarkError(
                f"the results are not on the same data: {key} is {one} and {other}; run "
                "the benchmark of both with the same --config"
            )
    if first["rooms"] != second["rooms"]:
        raise BenchmarkError("the results are not on the same test examples")
    groups = [name for name in first["errors"] for _ in first["rooms"][name]]
    rooms = np.concatenate([first["rooms"][name] for name in first["errors"]])
    a, b = (
        np.concatenate([result["errors"][name] for name in first["errors"]], axis=1)
        for result in (first, second)
    )
    rows = []
    for name, chosen in _by_group(groups):
        where = rooms[chosen]
        drawn = [
            a[np.ix_(seeds, np.flatnonzero(chosen)[picked])].mean()
            - b[np.ix_(others, np.flatnonzero(chosen)[picked])].mean()
            for (picked, seeds), (_, others) in zip(
                _resamples(where, len(a)), _resamples(where, len(b), 1), strict=True
            )
        ]
        mean_a, mean_b = a[:, chosen].mean(axis=0), b[:, chosen].mean(axis=0)
        low, high = np.percentile(drawn, _LEVELS)
        rows.append(
            {
                "group": name,
                "examples": int(chosen.sum()),
                "first": float(mean_a.mean()),
                "second": float(mean_b.mean()),
                "difference": float(mean_a.mean() - mean_b.mean()),
                "low": float(low),
                "high": float(high),
                "closer": float((mean_a < mean_b).mean()),
            }
        )
    return rows


def _by_group(groups: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each group with which examples are in it, and last all together."""
    names = np.array(groups)
    for name in dict.fromkeys(groups):
        yield name, names == name
    yield GROUPS_TOGETHER, np.ones(len(names), bool)


def _resamples(
    rooms: np.ndarray, num_seeds: int, stream: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw rooms and seeds again: indices of examples, and of seeds.

    The rooms are the same each time, so that differences are paired; the seeds of two
    results are not.
    """
    of_rooms = np.random.default_rng(0)
    of_seeds = np.random.default_rng([stream, num_seeds])
    members = [np.flatnonzero(rooms == room) for room in np.unique(rooms)]
    for _ in range(_REPLICATES):
        picked = of_rooms.integers(len(members), size=len(members))
        seeds = of_seeds.integers(num_seeds, size=num_seeds)
        yield np.concatenate([members[one] for one in picked]), seeds
