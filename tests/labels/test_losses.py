import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from uld_jax.labels import codes, losses

ROOM = jnp.array([5.0, 8.0])


def test_cross_entropy_is_that_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(6, 6)), rng.dirichlet(np.ones(36)).reshape(6, 6)
    expected = -(target * scipy.special.log_softmax(logits)).sum()
    actual = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(target))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_cross_entropy_minus_entropy_is_the_kl_divergence():
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=36), rng.dirichlet(np.ones(36))
    kl = scipy.stats.entropy(target, scipy.special.softmax(logits))
    target = jnp.asarray(target)
    actual = losses.cross_entropy(jnp.asarray(logits), target) - losses.entropy(target)
    np.testing.assert_allclose(actual, kl, rtol=1e-4)


def test_a_uniform_source_has_a_floor_of_one_nat():
    """Each axis: the integral of -w log w - (1 - w) log(1 - w) is 1/2."""
    positions = jax.random.uniform(jax.random.key(0), (40_000, 2)) * ROOM
    joints = jax.vmap(lambda p: codes.encode_uld(p, ROOM, 5))(positions)
    np.testing.assert_allclose(jax.vmap(losses.entropy)(joints).mean(), 1.0, atol=0.005)


def test_entropy_of_a_certain_label_is_zero_and_has_a_gradient():
    certain = codes.encode_one_hot(jnp.array([1.0, 1.0]), ROOM, 4)
    assert losses.entropy(certain) == 0.0
    logits = jnp.zeros((4, 4))
    assert jnp.isfinite(jax.grad(losses.cross_entropy)(logits, certain)).all()


def test_heat_map_loss_is_a_sum_of_squares():
    rng = np.random.default_rng(2)
    logits, target = rng.normal(size=(4, 4)), rng.uniform(size=(4, 4))
    expected = ((scipy.special.expit(logits) - target) ** 2).sum()
    actual = losses.squared_error(jnp.asarray(logits), jnp.asarray(target))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_refined_grid_loss_is_presence_plus_weighted_ratios():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(3, 4, 4))
    target = np.zeros((3, 4, 4))
    target[:, 2, 1] = 1.0, 0.3, 0.8
    scores = scipy.special.expit(logits)
    detection = -np.where(target[0] > 0, np.log(scores[0]), np.log(1 - scores[0])).sum()
    ratios = (scores[1, 2, 1] - 0.3) ** 2 + (scores[2, 2, 1] - 0.8) ** 2
    actual = losses.refined_grid(jnp.asarray(logits), jnp.asarray(target))
    np.testing.assert_allclose(actual, detection + 5.0 * ratios, rtol=1e-5)


def test_refined_grid_loss_ignores_ratios_of_empty_cells():
    target = np.zeros((3, 4, 4))
    target[:, 0, 0] = 1.0, 0.5, 0.5
    logits = jnp.zeros((3, 4, 4))
    logits = logits.at[1:, 0, 0].set(1.0)
    gradient = jax.grad(losses.refined_grid)(logits, jnp.asarray(target))
    assert (gradient[1:] != 0).sum() == 2
