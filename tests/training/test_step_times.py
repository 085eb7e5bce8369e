import types

import jax.numpy as jnp
import pytest

from uld_jax.training import step_times


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that steps set forward."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(step_times.time, "monotonic", lambda: now.seconds)
    return now


def do(times, clock, size, seconds, grid=16):
    with times.measure(grid, {}, {"audio": jnp.zeros((size, 2))}) as measured:
        clock.seconds += seconds
    return measured


def test_the_second_step_of_each_shape_is_measured(clock):
    times = step_times.StepTimes(each=False)
    # The first of a shape may compile.
    assert not do(times, clock, 8, 60.0)
    assert times.share(100.0) is None
    assert do(times, clock, 8, 2.0)
    assert not do(times, clock, 8, 50.0)  # Not waited for: not known.
    assert times.share(12.0) == pytest.approx(3 * 2.0 / 12.0)
    assert not do(times, clock, 4, 9.0)
    assert times.share(12.0) is None
    assert do(times, clock, 4, 1.0)
    assert times.share(16.0) == pytest.approx((3 * 2.0 + 2 * 1.0) / 16.0)
    assert not do(times, clock, 4, 9.0, grid=64)  # Another program.
    times.clear()
    assert times.share(1.0) is None


def test_every_step_is_measured_where_each_is_waited_for(clock):
    times = step_times.StepTimes(each=True)
    assert all(do(times, clock, 8, seconds) for seconds in (3.0, 1.0))
    assert times.share(5.0) == pytest.approx(0.8)
    assert times.share(2.0) == 1.0
