import io

import pytest

from uld_jax.runtime import progress


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_there_are_plain_lines_with_the_time_left(clock, capsys):
    with progress.Progress("Counting", 100, "sheep", done=20) as bar:
        bar.update(10)
        assert capsys.readouterr().out == ""  # Not a line for every sheep.
        clock[0] += 30.0
        bar.update(30, "loss 0.5")
        line = capsys.readouterr().out
    assert line == ("Counting: 60 of 100 sheep, 1.33 per second, 30 s left, loss 0.5\n")
    assert bar.left == 40


def test_short_work_says_nothing(clock, capsys):
    with progress.Progress("Counting", 3, "sheep") as bar:
        bar.update(3)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with progress.Progress("Counting", 10, "sheep") as bar:
        bar.update(5, "half")
        bar.update(5)
    assert "Counting" in terminal.getvalue()
    assert "sheep" in terminal.getvalue()
