"""Steps of several runs in one program are those of each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_networks

from uld_jax import config as config_lib
from uld_jax import (
    evaluate,
    models,
    padding,
    schemes,
    together_step,
    training_step,
)

# As a group has them: those of one seed together; the largest is not the last.
RUNS = ((3, 2), (3, 4), (5, 3), (5, 2))  # Seed, resolution.
LABELS = tuple(schemes.Label("refined_grid", i) for _, i in RUNS)
GROUP = together_step.Group(LABELS, tuple(seed for seed, _ in RUNS))
STEPS = 3
# By a larger epsilon than ours a gradient of nothing but rounding moves nothing.
ADAMW = optax.inject_hyperparams(optax.adamw)(1e-2, eps=1e-3, weight_decay=0.1)


@pytest.fixture(scope="module", autouse=True)
def compiled_fast():
    """Compilation is most of what this takes."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def network(label, seed):
    name, num_nodes, num_sources, _, changes = tiny_networks.TINY["one_talker"]
    more = {"num_blocks": 0, "num_temporal_blocks": 0, "front_end": "log_magnitude"}
    more |= {"dropout": 0.3}
    settings = config_lib.to_dict(config_lib.default(name).model) | changes | more
    model = models.for_label(settings, label, num_nodes, num_sources, seed)
    return training_step.init_state(model, ADAMW)


def batch(seed, step):
    """Return a batch of which one node is not there, and holds no numbers."""
    made = tiny_networks.batch("one_talker", 2, 100 * seed + step)
    made["audio"] = made["audio"].astype(np.float32)
    made["audio"][1, 2] = np.nan
    made["node_mask"] = np.array([[True] * 3, [True, True, False]])
    return made


@pytest.fixture(scope="module")
def networks():
    """Return each run's graph, and its first state on the host."""
    made = [
        network(label, seed) for label, seed in zip(LABELS, GROUP.seeds, strict=True)
    ]
    return [(graph, jax.device_get(state)) for graph, state in made]


@pytest.fixture(scope="module")
def step(networks):
    return together_step.make_train_step(networks[1][0], ADAMW, GROUP)


@pytest.fixture(scope="module")
def after(networks, step):
    """Return the stacked states after some steps."""
    state = padding.stack([state for _, state in networks])
    for number in range(STEPS):
        state = step(state, [batch(seed, number) for seed in GROUP.distinct_seeds])
    return jax.device_get(state)


def assert_close(actual, expected, tolerance=2e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance),
        actual,
        expected,
    )


@pytest.mark.parametrize("run", [0, 2])
def test_each_run_is_trained_as_if_it_were_alone(run, networks, after):
    graph, state = networks[run]
    alone = training_step.make_train_step(graph, ADAMW, LABELS[run], GROUP.seeds[run])
    before = state.params
    for number in range(STEPS):
        state = alone(state, batch(GROUP.seeds[run], number))
    state = jax.device_get(state)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, before)
    assert max(jax.tree.leaves(moved)) > 1e-3
    mine = padding.unstack(after, [state for _, state in networks])[run]
    assert_close(mine, state)
    assert mine.step == STEPS
    assert mine.sums["applied"] == STEPS


def test_what_is_padded_stays_zero(networks, after):
    largest = max(label.num_outputs for label in LABELS)
    for number, label in enumerate(LABELS):
        states = after.params, after.opt_state.inner_state
        for path, leaf in jax.tree_util.tree_leaves_with_path(states):
            for axis in range(1, leaf.ndim):
                if leaf.shape[axis] == largest:
                    padded = np.moveaxis(leaf[number], axis - 1, 0)[label.num_outputs :]
                    assert not padded.any(), path


def test_a_loss_that_is_not_finite_is_skipped_in_its_run_alone(networks, step, after):
    states = [state for _, state in networks]
    params = states[3].params
    bad = params["third"] | {"bias": np.full_like(params["third"]["bias"], np.inf)}
    states[3] = states[3]._replace(params=params | {"third": bad})
    state = padding.stack(states)
    for number in range(STEPS):
        state = step(state, [batch(seed, number) for seed in GROUP.distinct_seeds])
    state = jax.device_get(state)
    assert state.skipped["total"].tolist() == [0, 0, 0, STEPS]
    assert state.sums["applied"].tolist() == [STEPS] * 3 + [0]
    for run in range(3):
        others = jax.tree.map(lambda leaf, run=run: leaf[run], (state, after))
        jax.tree.map(np.testing.assert_array_equal, *others)
    kept = padding.unstack(state, states)[3]
    jax.tree.map(np.testing.assert_array_equal, kept.params, states[3].params)


def test_each_run_is_evaluated_as_if_it_were_alone(networks):
    """All on the same batch, of fewer rows than are judged at once."""
    states = padding.stack([state for _, state in networks])
    heard = batch(1, 0)
    found = together_step.make_eval_step(networks[1][0], GROUP)(
        states.params, states.statistics, heard
    )
    run, (graph, state) = 2, networks[2]
    alone = evaluate.make_eval_step(graph, LABELS[run])
    expected = alone(state.params, state.statistics, heard)
    assert_close(jax.device_get(found[run]), jax.device_get(expected))


@pytest.mark.parametrize("batch_of", [(0, 0), (0, 1), (0, 0, 1, 1), (0, 0, 1)])
def test_every_run_hears_the_batch_of_its_seed(batch_of):
    """However many runs a seed has."""
    own = (jnp.arange(1.0, 1 + len(batch_of)), jnp.ones((len(batch_of), 2)))
    heard = (jnp.array([10.0, 100.0])[: 1 + max(batch_of)], None)
    made = together_step._over_runs(
        lambda a, b, c, d: (a * c, b), list(batch_of), own, heard
    )
    expected = [(1 + run) * 10.0 ** (1 + of) for run, of in enumerate(batch_of)]
    assert made[0].tolist() == expected
    assert made[1].shape == own[1].shape


def test_what_is_stacked_comes_back_as_it_was():
    small = {"a": np.arange(6.0).reshape(2, 3), "b": np.int32(7)}
    large = {"a": np.full((4, 3), 9.0), "b": np.int32(8)}
    stacked = padding.stack([small, large])
    assert stacked["a"].shape == (2, 4, 3)
    assert not stacked["a"][0, 2:].any()
    back = padding.unstack(stacked, [small, large])
    jax.tree.map(np.testing.assert_array_equal, back, [small, large])
    back[0]["a"][:] = 1.0  # It is a copy: a device's buffers are given away.
    assert stacked["a"][0, 0, 0] == 0.0
    with pytest.raises(ValueError, match=r"cannot be stacked: float64 .* int32 "):
        padding.stack([{"a": np.ones(2)}, {"a": np.ones(2, np.int32)}])
