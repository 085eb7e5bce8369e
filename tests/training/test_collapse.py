"""A training that collapses goes back, at most as often as it may."""

import json
import math

import jax
import numpy as np
import pytest
from conftest import tiny_config

from uld_jax.cli import train as train_command
from uld_jax.runtime import errors
from uld_jax.training import collapse, history, loop, optimizer, run, train


def entries(norms, losses, maes):
    return [
        {"train": {"grad_norm": norm, "kl": loss}, "validation": {"mae": mae}}
        for norm, loss, mae in zip(norms, losses, maes, strict=True)
    ]


# Ad-1 at full size, at a rate of 1e-3 without warm-up, on an H100.
COLLAPSED = (
    [4.08, 7.75, 17.93, 31.26, 48.84, 130.98],
    [4.11, 3.35, 3.28, 3.40, 3.47, 3.65],
    [1.31, 1.21, 1.08, 1.60, 1.71, 1.58],
)
# Rates that learn at once, after three epochs, and a room learned by heart.
HEALTHY = (
    ([5.3, 8.2, 9.3, 10.2], [3.72, 2.99, 2.63, 2.27], [1.48, 1.09, 0.98, 0.79]),
    ([2.4, 2.3, 5.9, 6.9], [2.14, 2.07, 1.43, 0.97], [2.66, 2.32, 1.12, 0.91]),
    ([6.4, 4.6, 3.2, 3.1], [0.94, 0.19, 0.10, 0.11], [2.8, 2.8, 2.8, 2.8]),
    ([9.5, 6.1, 5.6, 6.2], [5.20, 3.58, 3.52, 3.70], [0.09, 0.05, 0.05, 0.06]),
    ([1.2, 0.5, 0.1, 0.6], [0.25, 0.03, 0.02, 0.02], [0.15, 0.07, 0.12, 0.08]),
)


@pytest.mark.parametrize("scale", [(1, 1), (0, 1), (1, 0)])
def test_a_collapse_is_found_by_gradients_or_by_the_loss_within_two_epochs(scale):
    norms, losses, maes = np.array(COLLAPSED)
    norms = norms if scale[0] else np.full(6, 4.0)
    losses = losses if scale[1] else np.array([4.0, 3.9, 3.7, 3.8, 3.8, 3.8])
    found = [
        collapse.find(entries(norms[:n], losses[:n], maes[:n]), 1125 * n, 2.8)
        for n in range(1, 7)
    ]
    first = next(number for number, reason in enumerate(found, 1) if reason)
    assert first in (4, 5)
    words = "gradient norm" if scale[0] else "loss has risen"
    assert words in found[first - 1]


@pytest.mark.parametrize("epochs", HEALTHY)
def test_a_training_that_learns_is_left_alone(epochs):
    for n in range(1, 5):
        some = entries(*(values[:n] for values in epochs))
        assert collapse.find(some, 1125 * n, 2.8) is None


def test_what_ignores_its_input_is_found_in_the_second_epoch():
    never = entries([2.0, 1.5], [2.14, 2.12], [2.86, 2.91])
    assert "ignores the input" in collapse.find(never, 2000, 2.8)
    assert collapse.find(never[:1], 2000, 2.8) is None
    assert collapse.find(never, 99, 2.8) is None
    assert collapse.find(never, 2000, 3.2) is None


def test_the_input_free_position_is_off_by_the_closed_form():
    """The mean distance of a square's points from its center."""
    axis = (np.arange(200) + 0.5) / 200
    plan = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)
    places = np.concatenate([5 * plan, np.ones((len(plan), 1, 1))], axis=-1)
    rooms = np.tile([5.0, 5.0, 3.0], (len(plan), 1))
    expected = 5 * (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 6
    assert collapse.input_free_mae(places, rooms) == pytest.approx(expected, rel=1e-4)
    # The same share of other rooms' sides is no error.
    rooms = np.array([[4.0, 6.0, 3.0], [8.0, 5.0, 3.0]])
    assert collapse.input_free_mae(0.3 * rooms[:, None], rooms) < 1e-12


def test_of_two_talkers_each_is_given_its_own_of_two_positions():
    """Talkers in opposite corners, in either order; and all over a square."""
    places = np.array([[0.5, 0.5, 1], [4.5, 4.5, 1]])
    both = np.stack([places, places[::-1]])
    rooms = np.tile([5.0, 5.0, 3.0], (2, 1))
    assert collapse.input_free_mae(both, rooms) < 1e-12
    rng = np.random.default_rng(0)
    places = np.pad(rng.uniform(0, 5, (4000, 2, 2)), ((0, 0), (0, 0), (0, 1)))
    rooms = np.tile([5.0, 5.0, 3.0], (4000, 1))
    one = collapse.input_free_mae(places[:, :1], rooms)
    assert 0.85 * one < collapse.input_free_mae(places, rooms) < 0.92 * one


@pytest.mark.parametrize(
    ("maes", "expected"),
    [
        ([2.5, 1.0, 0.5, 0.6], True),
        ([2.5, 1.0, 1.6, 1.55, 1.6], False),  # Worse at its end.
        ([2.5, 2.45, 2.4], False),  # Hardly better than the input-free position.
        ([0.5, 2.6], False),
        ([math.nan, math.nan], False),
    ],
)
def test_convergence_asks_for_the_best_and_the_last_epochs(maes, expected):
    assert collapse.converged(maes, 2.8) is expected


def test_rates_fall_and_warmup_grows():
    assert collapse.lower(1e-3, 0, 9000) == (pytest.approx(4e-4), 400)
    assert collapse.lower(4e-4, 400, 9000) == (pytest.approx(1.6e-4), 800)
    assert collapse.lower(4e-4, 400, 300)[1] == 150


@pytest.fixture
def collapse_after(monkeypatch):
    """Return a function that makes trainings collapse after some epochs."""

    def of(*epochs):
        def find(since, steps, input_free):
            assert input_free > 0
            found = since[-1]["epoch"] in epochs
            return "it was told to" if found else None

        monkeypatch.setattr(collapse, "find", find)

    return of


@pytest.mark.parametrize("learned", [True, False])
def test_a_run_goes_back_with_a_lower_rate(
    collapse_after, learned, tiny_data_dir, tmp_path, monkeypatch, capsys
):
    """To its first epoch, or to the start if that is no better than chance."""
    collapse_after(2, 3)  # The last has none after it.
    monkeypatch.setattr(collapse, "NOT_BETTER", math.inf if learned else 0.0)
    states, save_last, train_epoch = {}, run.Run.save_last, loop.Training._train_epoch

    def note(key, state):
        states.setdefault(key, jax.tree.map(np.array, state.params))

    def save(self):
        note(self.history.epoch, self.state)
        save_last(self)

    def begin(self):
        note("start", self._run.state)
        return train_epoch(self)

    monkeypatch.setattr(run.Run, "save_last", save)
    monkeypatch.setattr(loop.Training, "_train_epoch", begin)
    record = train.train_and_evaluate(
        tiny_config(tiny_data_dir, **{"train.epochs": 3}), tmp_path
    )
    assert record["status"] == "done"
    (told,) = record["rollbacks"]
    steps = 48 // 8
    assert told == {
        "epoch": 2,
        "reason": "it was told to",
        "back_to": 1 if learned else 0,
        "learning_rate": pytest.approx(0.4 * record["epochs"][0]["learning_rate"]),
        "warmup_steps": steps // 2,
    }
    expected = states[1 if learned else "start"]
    jax.tree.map(np.testing.assert_array_equal, states[2], expected)
    first = jax.tree.leaves(states[1])
    assert any(
        (one != other).any()
        for one, other in zip(first, jax.tree.leaves(states["start"]), strict=True)
    )
    rates = [epoch["learning_rate"] for epoch in record["epochs"]]
    np.testing.assert_allclose(np.divide(rates, rates[0]), [1, 1, 0.4], rtol=1e-6)
    printed = capsys.readouterr().out
    place = "epoch 1" if learned else "the start"
    assert f"it was told to. Going back to {place}, with rate 0.0004" in printed
    assert "(rollback 1 of 3)" in printed


def test_a_run_killed_while_it_goes_back_ends_in_the_same_bits(
    collapse_after, tiny_data_dir, tmp_path, monkeypatch
):
    collapse_after(2)
    config = tiny_config(tiny_data_dir, **{"train.epochs": 4})
    whole = train.train_and_evaluate(config, tmp_path / "whole")
    save_last = run.Run.save_last

    def killed(self):
        if self.history.rollbacks:
            raise RuntimeError("killed")
        save_last(self)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "save_last", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train.train_and_evaluate(config, tmp_path / "killed")
    resumed = train.train_and_evaluate(config, tmp_path / "killed")
    assert resumed["rollbacks"] == whole["rollbacks"]
    assert len(whole["rollbacks"]) == 1
    for one, other in zip(whole["epochs"], resumed["epochs"], strict=True):
        for split in ("train", "validation"):
            assert one[split] == other[split]
    assert whole["test"] == resumed["test"]


def test_a_run_that_may_not_go_back_ends_with_a_code_of_its_own(
    collapse_after, tiny_data_dir, tmp_path
):
    collapse_after(1)
    config = tiny_config(tiny_data_dir, **{"train.epochs": 2, "train.rollbacks": 0})
    record = train.train_and_evaluate(config, tmp_path)
    assert (record["status"], record["test"]) == ("collapsed", None)
    assert "after epoch 1: it was told to; it went back 0 times" in record["reason"]
    assert len(record["epochs"]) == 1
    with pytest.raises(errors.Failed, match="has collapsed") as failed:
        train_command.check(record, tmp_path)
    assert failed.value.code == errors.EXIT_COLLAPSED
    written = json.loads((tmp_path / "record.json").read_text())
    assert written["reason"] == record["reason"]


def test_a_warmup_longer_than_the_run_is_refused(tiny_data_dir, tmp_path):
    config = tiny_config(tiny_data_dir, **{"train.warmup_steps": 10_000})
    with pytest.raises(errors.InputError, match=r"warmup_steps is 10000, more than"):
        train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_restarted_optimizer_warms_up_anew():
    tx = optimizer.adamw(0.1, 0.0)
    params = {"w": np.ones(1, np.float32)}
    state = optimizer.with_rate(tx.init(params), 0.1, 4)
    steps = []
    for _ in range(6):
        updates, state = tx.update({"w": np.ones(1, np.float32)}, state, params)
        steps.append(-float(updates["w"][0]))
    np.testing.assert_allclose(steps, 0.1 * np.minimum(1, np.arange(1, 7) / 4), 1e-4)


def test_epochs_since_the_last_rollback_are_judged():
    so_far = history.History(epochs=[{"epoch": n} for n in (1, 2, 3)])
    assert len(so_far.since_rollback) == 3
    so_far.rollbacks.append({"epoch": 2})
    assert so_far.since_rollback == [{"epoch": 3}]
