import json

import numpy as np
import pytest

from uld_jax.training import nonfinite
from uld_jax.training import step as step_lib


def noted(steps, in_a_row=0):
    """Return a training state's notes after skipping some steps."""
    size = step_lib.NOTED_STEPS
    arrays = {"steps": np.zeros(size, np.int32), "losses": np.zeros(size, np.float32)}
    arrays["grad_norms"] = np.zeros(size, np.float32)
    for number, step in enumerate(steps):
        arrays["steps"][number % size] = step
        arrays["losses"][number % size] = np.nan
        arrays["grad_norms"][number % size] = np.inf
    arrays = {key: values.view(np.int32) for key, values in arrays.items()}
    return arrays | {"total": np.int32(len(steps)), "in_a_row": np.int32(in_a_row)}


@pytest.fixture
def watch(tmp_path):
    return nonfinite.SkippedSteps(
        tmp_path, 7, 10, lambda epoch, step: [[epoch, step, row] for row in range(2)]
    )


def written(tmp_path):
    return json.loads((tmp_path / nonfinite.FILE_NAME).read_text())


def test_a_skipped_batch_is_written_with_its_examples_and_the_seed(
    watch, tmp_path, capsys
):
    watch.look(noted([]))
    assert not list(tmp_path.iterdir())
    watch.look(noted([23], in_a_row=1))
    assert written(tmp_path) == {
        "23": {
            "epoch": 3,
            "step": 4,
            "seed": 7,
            "loss": "nan",
            "grad_norm": "inf",
            "examples": [[2, 3, 0], [2, 3, 1]],
        }
    }
    assert "Epoch 3: step 4 is skipped: its loss is nan" in capsys.readouterr().out
    watch.look(noted([23]))
    assert not capsys.readouterr().out
    watch.look(noted([23, 31, 32]))
    assert list(written(tmp_path)) == ["23", "31", "32"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" is skipped")[0] for line in lines] == [
        f"Epoch 4: step {step}" for step in (2, 3)
    ]


def test_what_is_noted_twice_after_a_kill_is_there_once(watch, tmp_path):
    watch.look(noted([4, 5]))
    watch.resume(noted([4]))
    watch.look(noted([4, 5]))
    assert list(written(tmp_path)) == ["4", "5"]


def test_of_more_steps_than_the_state_remembers_the_latest_are_noted(watch, tmp_path):
    size = step_lib.NOTED_STEPS
    watch.look(noted(range(0, 2 * (size + 3), 2)))
    assert list(map(int, written(tmp_path))) == list(range(6, 2 * (size + 3), 2))


def test_three_in_a_row_end_the_run_with_what_to_do(watch, tmp_path):
    watch.look(noted([1, 2], in_a_row=2))
    with pytest.raises(nonfinite.Diverged, match=r"3 steps in a row .*rate.*nans"):
        watch.look(noted([1, 2, 3], in_a_row=3))
    assert list(written(tmp_path)) == ["1", "2", "3"]


def test_other_processes_write_nothing(tmp_path):
    watch = nonfinite.SkippedSteps(None, 7, 10, lambda epoch, step: [])
    watch.look(noted([1]))
    assert not list(tmp_path.iterdir())
