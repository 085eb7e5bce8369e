"""Votes of the network that comes with the package, for windows of any session.

It was trained on sessions of every kind: 3 to 30 nodes at any heights, clocks up to 50 ms
off, positions up to 0.4 m, gains up to 8 dB, noise from -10 to 30 dB.
"""

import functools
import pathlib
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from uld_jax.localization import posterior
from uld_jax.networks import evidence as evidence_lib
from uld_jax.pretrained import loading, weights

RESOLUTION = 64  # Cells per axis of the whole posterior.
# Of the talkers that the network was trained with: mean and deviation in meters.
MIDDLE_HEIGHT = 1.35
HEIGHT = (MIDDLE_HEIGHT, 0.3)
KNOWN_SPREAD = 0.01  # Meters: the deviation of a height that is given.
_VOTES_ON = 16  # Cells on whose points finer votes are seen relative to.
# Nodes are padded to one of these numbers, so that few programs are compiled.
_SIZES = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60)
_WINDOWS = (1, 2, 4, 8, 15)  # Numbers of windows, likewise.


@functools.cache
def load_network(all_heights: bool):
    """Load the network that comes with the package: graph, parameters and statistics.

    Args:
        all_heights: Whether to sum over the talker's heights; else only the middle one
            is looked at, and nodes are moved up or down for others.
    """
    folder = pathlib.Path(weights.__file__).with_name("any_session")
    run = weights.read_run(folder, "localize")
    facts = loading.training_data(run)
    graph, params, statistics, _ = loading.restore_network(
        run, facts["num_nodes"], facts["num_sources"]
    )
    model = nnx.merge(graph, params, statistics)
    if not all_heights:
        model.source_heights = (MIDDLE_HEIGHT,)
    graph, *_ = nnx.split(model, nnx.Param, ...)
    return graph, params, statistics


@functools.partial(jax.jit, static_argnames="graph")
def vote(graph, params, statistics, batch):
    """Compute the evidence in a window, and its log posterior [K, K]."""
    model = nnx.merge(graph, params, statistics)
    evidence = evidence_lib.collect(batch)
    return evidence, model.log_posteriors(evidence, RESOLUTION)[0, 0]


@functools.partial(jax.jit, static_argnames="graph")
def vote_at(graph, params, statistics, evidence, plan: Float[Array, "P 2"]):
    """Compute the log posterior [P] of a window at some points of the plan."""
    model = nnx.merge(graph, params, statistics)
    return model.log_posteriors_at(evidence, plan[None], _VOTES_ON)[0, 0]


def compute_posterior(
    padded: list[dict[str, Any]], plan: Float[np.ndarray, "2"], all_heights: bool
) -> tuple[Float[np.ndarray, "K K"], posterior.Cloud, Float[np.ndarray, "P 2"]]:
    """Compute the posterior of one talker in some windows.

    Args:
        padded: Windows, from `pad`.
        plan: Sides of the room along x and y, in meters.
        all_heights: See `load_network`.

    Returns:
        The posterior at the grid points; the same, finer around its peaks; and these.
    """
    network = load_network(all_heights)
    voted = [vote(*network, batch) for batch in padded]
    logs = np.mean([np.float64(logs) for _, logs in voted], axis=0)
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    peaks = posterior.find_peaks(probability, plan)
    starts = np.resize(peaks, (posterior.MAX_MODES, 2))
    patches = np.concatenate(
        [posterior.patch(one, plan, RESOLUTION) for one in starts]
    ).astype(np.float32)
    fine = np.mean(
        [np.float64(vote_at(*network, found, patches)) for found, _ in voted], axis=0
    )
    fine = fine.reshape(len(starts), -1)[: len(peaks)]
    return probability, posterior.combine(probability, plan, peaks, fine), peaks


def pad(window: np.ndarray, nodes: np.ndarray, sides: np.ndarray) -> dict[str, Any]:
    """Make a batch of one window, with absent nodes up to one of few sizes."""
    missing = min(size for size in _SIZES if size >= len(nodes)) - len(nodes)
    mask = np.append(np.ones(len(nodes), bool), np.zeros(missing, bool))
    absent = ((0, missing), (0, 0))
    batch = {
        "audio": np.pad(window, absent),
        "node_positions": np.float32(np.pad(nodes, absent)),
        "node_mask": mask,
        "room_size": np.float32(sides),
    }
    return {key: array[None] for key, array in batch.items()}


def nodes_of(padded: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Look up the positions and the mask of the nodes, with absent ones."""
    return padded[0]["node_positions"][0], padded[0]["node_mask"][0]


def signals_of(padded: list[dict[str, Any]]) -> np.ndarray:
    """Collect the windows [W, M, N], with silent ones up to one of few numbers."""
    signals = np.concatenate([batch["audio"] for batch in padded])
    missing = min(size for size in _WINDOWS if size >= len(signals)) - len(signals)
    return np.pad(signals, ((0, missing), (0, 0), (0, 0)))
