"""A step that is not finite changes nothing but what is noted of it."""

import itertools

import jax
import numpy as np
import pytest
import tiny_networks
from tiny_networks import ADAMW, LABEL

from uld_jax.training import step as step_lib

KIND = "l1"


@pytest.fixture(scope="module")
def graph_and_state():
    graph, state = tiny_networks.network(KIND)
    return graph, jax.device_get(state)


@pytest.fixture(scope="module")
def step(graph_and_state):
    graph, _ = graph_and_state
    return step_lib.make_train_step(graph, ADAMW, LABEL, seed=0)


def batch(seed=0, sample=None):
    made = tiny_networks.batch(KIND, 2, seed)
    # The same type for all, so that one step is compiled.
    made["audio"] = made["audio"].astype(np.float32)
    if sample is not None:
        made["audio"][1, 0, 5] = sample
    return made


def after(step, state, *batches):
    for one in batches:
        state = step(state, one)
    return jax.device_get(state)


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def kept(state):
    return state.params, state.statistics, state.opt_state, state.sums


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_is_not_applied(sample, graph_and_state, step):
    _, state = graph_and_state
    good = after(step, state, batch(1))
    skipped = after(step, good, batch(2, sample))
    assert_same(kept(skipped), kept(good))
    assert skipped.step == 2
    assert skipped.skipped["total"] == skipped.skipped["in_a_row"] == 1
    assert skipped.skipped["steps"][0] == 1
    assert not np.isfinite(skipped.skipped["losses"].view(np.float32)[0])
    # And the run goes on.
    later = after(step, skipped, batch(3))
    assert later.skipped["in_a_row"] == 0
    assert later.skipped["total"] == 1
    assert later.sums["applied"] == 2.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(later.params))


def test_after_three_in_a_row_nothing_is_applied_any_more(graph_and_state, step):
    _, state = graph_and_state
    bad = [batch(seed, np.nan) for seed in (1, 2, 3)]
    two = after(step, state, *bad[:2], batch(4))
    assert two.skipped["in_a_row"] == 0
    three = after(step, state, *bad)
    assert three.skipped["in_a_row"] == step_lib.MAX_SKIPPED_IN_A_ROW == 3
    over = after(step, three, batch(4), batch(5, np.nan))
    assert_same(kept(over), kept(state))
    assert_same(over.skipped, three.skipped)


def test_the_notes_are_a_ring_of_the_latest(graph_and_state, step):
    _, state = graph_and_state
    noted = step_lib.NOTED_STEPS
    notes = state.skipped | {"total": np.int32(noted + 1)}
    state = state._replace(skipped=notes, step=np.int32(99))
    done = after(step, state, batch(1, np.nan))
    assert done.skipped["steps"].tolist() == [0, 99] + [0] * (noted - 2)


def test_a_state_survives_its_way_through_items(graph_and_state):
    _, state = graph_and_state
    items = step_lib.to_items(state)
    assert set(items["counts"]) == {"step", "sums", "skipped"}
    assert_same(step_lib.from_items(items), state)


def test_sums_are_those_of_gradients_and_updates(graph_and_state):
    """Against the parameters before and after each step."""
    graph, state = graph_and_state
    told = []
    for clip_norm in (None, 1e-6):
        step = step_lib.make_train_step(
            graph, ADAMW, LABEL, seed=0, clip_norm=clip_norm
        )
        states = [state]
        for seed in (1, 2):
            states.append(after(step, states[-1], batch(seed)))
        told.append(states[-1].sums)
    first = after(step, state, batch(1)).sums
    norms = [first["grad_norm"], told[0]["grad_norm"] - first["grad_norm"]]
    assert told[0][step_lib.LARGEST] == pytest.approx(max(norms), rel=1e-5)
    assert [sums["clipped"] for sums in told] == [0, 2]

    def norm(params):
        squares = [(np.float64(leaf) ** 2).sum() for leaf in jax.tree.leaves(params)]
        return np.sqrt(sum(squares))

    ratios = [
        norm(jax.tree.map(np.subtract, now.params, before.params)) / norm(before.params)
        for before, now in itertools.pairwise(states)
    ]
    assert told[0]["update_ratio"] == pytest.approx(sum(ratios), rel=1e-2)
