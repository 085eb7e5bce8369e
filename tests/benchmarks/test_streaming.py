"""The benchmark of streams: delays with waiting, and that it measures answers."""

import types

import numpy as np
import pytest

from benchmarks.speed import streaming


def test_a_block_that_arrives_meanwhile_waits():
    costs = np.array([0.0, 0.5, 0.1, 0.1, 0.0, 0.0, 0.0])
    expected = [0.0, 0.5, 0.4, 0.3, 0.1, 0.0, 0.0]
    np.testing.assert_allclose(streaming.delays(costs, 0.2), expected, atol=1e-12)


def test_each_block_is_pushed_once_and_answers_are_counted(monkeypatch):
    clock = iter(np.arange(1000) * 0.004)  # Each call takes 4 ms.
    monkeypatch.setattr(streaming.time, "perf_counter", lambda: next(clock))
    processor = iter([1.0, 3.0])
    monkeypatch.setattr(streaming.time, "process_time", lambda: next(processor))
    pushed = []

    def push(block):
        pushed.append(block)
        sure = types.SimpleNamespace(determined=len(pushed) == 50)
        return [types.SimpleNamespace(localization=sure)] * (len(pushed) % 25 == 0)

    signals = np.arange(2 * 16_000).reshape(2, -1)
    found = streaming.measure(types.SimpleNamespace(push=push), signals)
    np.testing.assert_array_equal(np.concatenate(pushed, axis=1), signals)
    assert found["answers"] == 4
    assert found["determined"] == 1
    assert found["real-time factor"] == pytest.approx(0.4)
    assert found["processor per answer"] == pytest.approx(500.0)
    assert found["max"] == pytest.approx(4.0)


def test_sounds_are_of_all_kinds():
    nodes = np.random.default_rng(0).uniform(1, 4, (3, 3))
    made = streaming.sounds(np.random.default_rng(1), nodes, 1.0)
    assert len(made) == 4
    for name, signals in made.items():
        assert signals.shape == (3, 16_000)
        assert signals.dtype == np.int16
        assert bool(signals.any()) == (name != "silence")
