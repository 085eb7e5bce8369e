import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from uld_jax.training import optimizer


def test_the_plateau_rule_is_that_of_optax():
    rng = np.random.default_rng(0)
    reference = optax.contrib.reduce_on_plateau(
        factor=0.1, patience=3, rtol=0.0, atol=1e-12, min_scale=0.1
    )
    update = jax.jit(lambda state, loss: reference.update({}, state, value=loss)[1])
    for _ in range(20):
        losses = np.round(5 + np.cumsum(rng.normal(-0.05, 0.3, 15)), 2)
        state = reference.init({})
        rule = optimizer.Plateau()
        for loss in losses:
            state = update(state, jnp.asarray(loss))
            rule = rule.update(float(loss), patience=3)
            assert rule.lowered == (float(state.scale) < 0.5)


def test_the_rate_is_lowered_in_the_third_epoch_without_progress():
    rule, lowered = optimizer.Plateau(), []
    for loss in (5.0, 4.0, 4.0, 4.1, 4.2, 3.0):
        rule = rule.update(loss, patience=3)
        lowered.append(rule.lowered)
    assert lowered == [False, False, False, False, True, True]
    assert rule.best == 3.0


@pytest.mark.parametrize("lowered", [False, True])
def test_the_cosine_is_that_of_optax_and_the_plateau_lowers_once(lowered):
    reference = optax.cosine_decay_schedule(1.0, decay_steps=10)
    for epoch in range(11):
        factor = optimizer.rate_factor("cosine", epoch, 10, lowered, 0.2)
        np.testing.assert_allclose(factor, reference(epoch), atol=1e-6)
        factor = optimizer.rate_factor("plateau", epoch, 10, lowered, 0.2)
        assert factor == (0.2 if lowered else 1.0)


def test_training_stops_after_ten_epochs_without_progress():
    rule = optimizer.Plateau().update(1.0, 3)
    for _ in range(9):
        rule = rule.update(1.0, 3)
    assert not rule.stops(10)
    assert rule.update(1.0, 3).stops(10)


def test_a_loss_that_is_no_number_is_no_progress():
    assert optimizer.Plateau(best=2.0).update(float("nan"), 3).epochs_since_best == 1


def test_adamw_is_written_out():
    """Loshchilov and Hutter: decay is apart from the adaptive step."""
    adamw = optimizer.adamw(1e-3, 0.01)
    params = {"w": jnp.array([1.0, -2.0])}
    state = adamw.init(params)
    w, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 6):
        grads = np.array([0.1 * t, -0.3])
        updates, state = adamw.update({"w": jnp.asarray(grads)}, state, params)
        params = optax.apply_updates(params, updates)
        m, v = 0.9 * m + 0.1 * grads, 0.999 * v + 0.001 * grads**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - 1e-3 * (step + 0.01 * w)
    np.testing.assert_allclose(params["w"], w, rtol=1e-5)


def test_a_new_rate_acts_without_a_new_compilation():
    adamw = optimizer.adamw(1e-3, 0.0)
    params = {"w": jnp.zeros(1)}
    state = adamw.init(params)
    traces = []

    @jax.jit
    def update(state):
        traces.append(1)
        return adamw.update({"w": jnp.ones(1)}, state, params)

    first, state = update(state)
    second, _ = update(optimizer.with_rate(state, 1e-4, 0))
    np.testing.assert_allclose(second["w"] / first["w"], 0.1, rtol=1e-3)
    assert len(traces) == 1


def test_the_gradient_is_clipped_and_the_rate_rises():
    """Against AdamW in NumPy, of the clipped gradient and a tenth of the rate a step."""
    rate, decay, grad = 0.1, 0.01, np.array([3.0, 4.0])
    tx = optimizer.adamw(rate, decay, clip_norm=1.0, warmup_steps=10)
    params = jnp.array([1.0, -2.0])
    state = tx.init(params)
    expected, first, second = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for step in range(1, 14):
        updates, state = tx.update(jnp.asarray(grad), state, params)
        params = params + updates
        first = 0.9 * first + 0.1 * grad / 5
        second = 0.999 * second + 0.001 * (grad / 5) ** 2
        direction = (
            first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        )
        now = rate * min(1.0, step / 10)
        expected = expected - now * (direction + decay * expected)
        np.testing.assert_allclose(params, expected, rtol=1e-4)
    state = optimizer.with_rate(state, 0.0, 10)
    updates, _ = tx.update(jnp.asarray(grad), state, params)
    np.testing.assert_array_equal(updates, 0.0)
