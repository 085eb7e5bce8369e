import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.evaluation import metrics, score
from uld_jax.labels import schemes
from uld_jax.simulation import scenes


def test_mae_is_eq_7():
    rng = np.random.default_rng(0)
    true, predicted = rng.uniform(0, 5, (2, 100, 2))
    total = 0.0
    for (x, y), (px, py) in zip(true, predicted, strict=True):
        total += np.sqrt((x - px) ** 2 + (y - py) ** 2)
    errors = metrics.distances(jnp.asarray(predicted), jnp.asarray(true))
    np.testing.assert_allclose(metrics.mae(errors), total / 100, rtol=1e-5)


def test_accuracy_is_eq_6():
    assert metrics.accuracy(jnp.array([True, True, False, True])) == 0.75


def test_statistics_are_those_of_numpy():
    errors = np.random.default_rng(1).exponential(size=501).astype(np.float32)
    result = metrics.error_statistics(jnp.asarray(errors))
    assert list(result) == ["mae", "median", "rmse", "p90"]
    np.testing.assert_allclose(result["mae"], errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(result["median"], np.sort(errors)[250], rtol=1e-5)
    np.testing.assert_allclose(
        result["rmse"], np.sqrt((errors.astype(float) ** 2).mean()), rtol=1e-5
    )
    np.testing.assert_allclose(result["p90"], np.sort(errors)[450], rtol=1e-5)


def test_statistics_refuse_what_is_no_number():
    with pytest.raises(ValueError, match="1 of the errors"):
        metrics.error_statistics(jnp.array([1.0, float("nan")]))
    with pytest.raises(ValueError, match="no errors"):
        metrics.error_statistics(jnp.zeros(0))


def test_quantization_error_of_l1_scenes_is_the_papers():
    """Table 1 prints 0.381 m; the exact value for 1 m cells is 0.38260 m."""
    stream = np.random.default_rng(2)
    scene = [scenes.draw_l1(stream) for _ in range(40_000)]
    positions = jnp.asarray(
        np.stack([s.source_positions[0, :2] for s in scene]), jnp.float32
    )
    room = jnp.asarray(scene[0].room_size[:2], jnp.float32)
    errors = jax.vmap(metrics.quantization_error, (0, None, None))(positions, room, 6)
    assert abs(metrics.mae(errors) - 0.3825) < 0.004
    exact = (np.sqrt(2) + np.arcsinh(1)) / 6  # Mean distance to the center, side 1.
    assert abs(metrics.mae(errors) - exact) < 0.003


def test_quantization_error_of_adhoc_scenes_is_the_papers():
    """Tables 2 and 3 print two samples of these, which are of 4 million scenes."""
    rng = np.random.default_rng(3)
    drawn = [
        scenes.draw_adhoc(rng, 12, scenes.TEST_SNR_DB, num_nodes=1)
        for _ in range(15_000)
    ]
    positions = jnp.asarray(np.stack([s.source_positions[:, :2] for s in drawn]))
    rooms = jnp.asarray(np.stack([s.room_size[:2] for s in drawn]))
    errors = jax.vmap(
        jax.vmap(metrics.quantization_error, (0, None, None)), (0, 0, None)
    )
    expected = {1: 2.703, 2: 1.352, 4: 0.676, 8: 0.338, 16: 0.169}
    for resolution, error in expected.items():
        actual = metrics.mae(errors(positions, rooms, resolution).ravel())
        np.testing.assert_allclose(actual, error, rtol=0.005)


@pytest.mark.parametrize("num_sources", [1, 2, 3])
def test_the_best_permutation_is_found(num_sources):
    rng = np.random.default_rng(num_sources)
    for _ in range(20):
        true, predicted = rng.uniform(0, 5, (2, num_sources, 2))
        order = metrics.best_permutation(jnp.asarray(predicted), jnp.asarray(true))
        best = min(
            np.linalg.norm(predicted[list(p)] - true, axis=1).sum()
            for p in itertools.permutations(range(num_sources))
        )
        found = np.linalg.norm(predicted[np.asarray(order)] - true, axis=1).sum()
        np.testing.assert_allclose(found, best, rtol=1e-6)


def test_the_best_permutation_undoes_a_shuffle():
    true = jnp.array([[0.0, 0.0], [1.0, 3.0], [4.0, 2.0]])
    order = metrics.best_permutation(true[jnp.array([2, 0, 1])], true)
    np.testing.assert_array_equal(true[jnp.array([2, 0, 1])][order], true)


def test_the_region_is_the_smallest_that_holds_the_share():
    rng = np.random.default_rng(0)
    for share in (0.5, 0.9):
        values = rng.exponential(size=(7, 7)) ** 3
        values /= values.sum()
        inside = np.asarray(metrics.highest_density_region(values, share))
        assert values[inside].sum() >= share
        assert values[inside].sum() - values[inside].min() < share
        assert values[inside].min() >= values[~inside].max()


def test_coverage_is_the_share_of_the_true_code_inside():
    label = schemes.Label("uld", 4)
    room = jnp.array([8.0, 4.0])
    target = label.encode([3.0, 1.5], room)  # Four points: 0.25, 0.25, 0.25, 0.25.
    predicted = (
        jnp.zeros((5, 5)).at[1, 1].set(0.6).at[1, 2].set(0.35).at[4, 4].set(0.05)
    )
    found = score.score_region(predicted, target, room)
    np.testing.assert_allclose(found["coverage"], target[1, 1] + target[1, 2])
    np.testing.assert_allclose(found["area"], 2 / 25 * 32, rtol=1e-6)
