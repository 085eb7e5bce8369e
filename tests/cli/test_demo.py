"""The demonstration of a located session, from one command."""

import pytest
from whole_runs import call

from uld_jax.cli import demo
from uld_jax.runtime import errors


def test_it_makes_a_table_and_a_page(tmp_path, capsys):
    call(demo, out=tmp_path / "shown")
    printed = capsys.readouterr().out
    assert "Node desk started 0.30 s after the first" in printed
    assert "The talker was at (1.4, 3.3), (4.6, 1.2), (1.6, 1.3) m" in printed
    assert "positions.html in a browser" in printed
    made = {path.name for path in (tmp_path / "shown").iterdir()}
    assert made == {"session", "positions.csv", "positions.html", "positions.json"}
    with pytest.raises(errors.InputError, match="holds files; name another folder"):
        call(demo, out=tmp_path / "shown")
    with pytest.raises(errors.InputError, match="is a file; name a folder"):
        call(demo, out=tmp_path / "shown" / "positions.csv")
