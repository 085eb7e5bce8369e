"""Time differences and least squares against exact geometry and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from free_field import (
    free_field,
    free_field_rooms,
    random_places,
)

from uld_jax.localization import batches, tdoa
from uld_jax.simulation import scenes

path_differences = jax.jit(tdoa.path_differences, static_argnums=4)
closed_form, refine = jax.jit(tdoa.closed_form), jax.jit(tdoa.refine)

NUM_NODES = 8
ROOM = np.array([10.0, 6.2])


def distances(found, sources):
    return np.linalg.norm(np.asarray(found) - sources[..., :2], axis=-1)


def geometry(seed):
    """Return nodes at many heights, a source, and differences to the third node."""
    rng = np.random.default_rng(seed)
    nodes = random_places(rng, ROOM, NUM_NODES, 0.0)
    nodes[:, 2] = rng.uniform(0.5, 2.5, NUM_NODES)
    source = random_places(rng, ROOM, 1, scenes.SOURCE_HEIGHT)[0]
    ways = np.linalg.norm(nodes - source, axis=1)
    weights = (np.arange(NUM_NODES) != 2).astype(float)
    return nodes, source, ways - ways[2], weights


def evidence(nodes, differences, weights):
    """Make the arguments of the package's functions."""
    floats = (jnp.asarray(v, jnp.float32) for v in (nodes, differences, weights))
    nodes, differences, weights = floats
    return nodes, 2, differences, weights, scenes.SOURCE_HEIGHT


def test_exact_delays_give_the_source_to_a_centimeter():
    signals, nodes, rooms, sources = free_field_rooms()
    assert distances(tdoa.tdoa(signals, nodes, rooms), sources).max() < 0.01


def test_differences_are_those_of_the_paths_to_the_loudest_node():
    (signals, *_), (nodes, *_), _, (source, *_) = free_field_rooms()
    gains = np.ones((NUM_NODES, 1), np.float32)
    gains[4] = 100.0
    everywhere = jnp.ones(NUM_NODES, bool)
    found = path_differences(
        jnp.asarray(signals * gains), jnp.asarray(nodes), everywhere, 1.0, 768
    )
    reference, differences, weights = map(np.asarray, found)
    assert reference == 4
    ways = np.linalg.norm(nodes - source, axis=1)
    np.testing.assert_allclose(differences, ways - ways[4], atol=3e-3)
    assert weights[4] == 0
    assert (np.delete(weights, 4) > 0.1).all()


def test_a_peak_at_an_impossible_lag_is_passed_over():
    """An echo after 200 samples, where 1 m between nodes is 47."""
    rng = np.random.default_rng(2)
    nodes = np.array([[1.0, 1.0, 0.9], [2.0, 1.0, 0.9]])
    source = np.array([[2.0, 3.5, 0.95]])
    direct = free_field(rng, source, nodes, 4000)
    signals = direct.copy()
    signals[0, 200:] += 2 * direct[0, :-200]
    found = path_differences(
        *(jnp.asarray(signals), jnp.asarray(nodes, jnp.float32)),
        *(jnp.array([True, True]), 1.0, 256),
    )
    reference, differences, _ = map(np.asarray, found)
    ways = np.linalg.norm(nodes - source, axis=1)
    expected = ways - ways[reference]
    np.testing.assert_allclose(differences, expected, atol=0.01)


def test_the_closed_form_is_that_of_least_squares():
    """Exact where differences are; else NumPy's solution of the same equations."""
    for seed in range(5):
        nodes, source, differences, weights = geometry(seed)
        exact = closed_form(*evidence(nodes, differences, weights))
        np.testing.assert_allclose(exact, source[:2], atol=0.02)
        rng = np.random.default_rng(seed)
        wrong = differences + rng.normal(size=NUM_NODES) * 0.1 * weights
        weights = weights * rng.uniform(0.5, 1.0, NUM_NODES)
        origin = nodes[2]
        known = ((nodes - origin) ** 2).sum(axis=1) - wrong**2
        known = known / 2 - (nodes - origin)[:, 2] * (source - origin)[2]
        unknowns = np.column_stack([(nodes - origin)[:, :2], wrong])
        root = np.sqrt(weights)
        solution, *_ = np.linalg.lstsq(root[:, None] * unknowns, root * known)
        found = closed_form(*evidence(nodes, wrong, weights))
        np.testing.assert_allclose(found, origin[:2] + solution[:2], atol=5e-3)


def test_steps_end_at_the_least_huber_loss():
    """SciPy finds the same place; two differences are wrong by meters."""
    for seed in range(5):
        nodes, source, differences, weights = geometry(seed)
        rng = np.random.default_rng(seed)
        wrong = differences + rng.normal(size=NUM_NODES) * 0.01 * weights
        wrong[[0, 5]] += [2.0, 1.5]

        def residuals(place, nodes=nodes, wrong=wrong):
            ways = np.linalg.norm(nodes - [*place, scenes.SOURCE_HEIGHT], axis=1)
            return np.delete(ways - ways[2] - wrong, 2)

        best = scipy.optimize.least_squares(
            residuals,
            source[:2],
            loss="huber",
            f_scale=0.02,
            bounds=([0, 0], ROOM),
            xtol=1e-12,
            ftol=1e-14,
        )
        start = jnp.asarray(source[:2] * 0.9, jnp.float32)
        found = refine(
            start, *evidence(nodes, wrong, weights), jnp.asarray(ROOM, jnp.float32)
        )
        np.testing.assert_allclose(found, best.x, atol=1e-4)
        assert np.linalg.norm(best.x - source[:2]) < 0.1


def test_silence_is_somewhere_in_the_room():
    signals, nodes, rooms, sources = free_field_rooms()
    one_silent = signals.copy()
    one_silent[:, 2] = 0.0
    found = tdoa.tdoa(one_silent, nodes, rooms)
    assert distances(found, sources).max() < 0.01
    in_line = np.stack([np.arange(NUM_NODES)] * 3, axis=-1).astype(np.float32) / 10
    for places in (nodes, np.stack([in_line] * 2), np.ones_like(nodes)):
        nowhere = np.asarray(tdoa.tdoa(0 * signals, places, rooms))
        assert ((nowhere >= 0) & (nowhere <= rooms[:, None, :2])).all()


def test_it_can_be_part_of_a_larger_program():
    signals, nodes, rooms, sources = free_field_rooms()
    found = jax.jit(tdoa.tdoa)(signals, nodes, rooms)
    assert distances(found, sources).max() < 0.01


def test_bad_input_is_named():
    signals, nodes, rooms, _ = free_field_rooms()
    with pytest.raises(batches.RecordingError, match="num_sources is 2; time"):
        tdoa.tdoa(signals, nodes, rooms, num_sources=2)
    with pytest.raises(batches.RecordingError, match="whitening is -1; give 0"):
        tdoa.tdoa(signals, nodes, rooms, whitening=-1)
    with pytest.raises(batches.RecordingError, match="0 has 3 nodes; this"):
        tdoa.tdoa(signals[:, :3], nodes[:, :3], rooms)
