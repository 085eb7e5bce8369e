import jax
import jax.numpy as jnp
import numpy as np

from uld_jax import checkpoints


def state_of(value):
    return {"params": {"w": jnp.full((2, 3), value)}, "counts": {"step": jnp.int32(1)}}


def test_the_newest_state_and_its_note_come_back(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert saved.restore("last", state_of(0.0)) is None
        for step in (1, 2, 3):
            saved.save("last", step, state_of(float(step)), {"epoch": step})
    with checkpoints.Checkpoints(tmp_path) as saved:
        state, note = saved.restore("last", state_of(0.0))
    assert note == {"epoch": 3}
    jax.tree.map(np.testing.assert_array_equal, state, state_of(3.0))


def test_the_best_is_kept_beside_the_last(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 1, state_of(10.0), {})
        for step in (1, 2, 3, 4):
            saved.save("last", step, state_of(float(step)), {})
        best, _ = saved.restore("best", {"params": state_of(0.0)["params"]})
    np.testing.assert_array_equal(best["params"]["w"], 10.0)


def test_an_older_state_comes_back_by_its_step(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step in (1, 2, 3):
            saved.save("best", step, state_of(float(step)), {"epoch": step})
        _, note = saved.restore("best", state_of(0.0), step=2)
    assert note == {"epoch": 2}


def test_a_repeated_step_replaces_what_a_killed_run_left(tmp_path):
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 6, state_of(1.0), {})
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 6, state_of(2.0), {})
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save("best", 4, state_of(3.0), {})
        state, _ = saved.restore("best", state_of(0.0))
    np.testing.assert_array_equal(state["params"]["w"], 3.0)
