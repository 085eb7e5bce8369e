"""Experiments are found by path, and by name wherever one is."""

from uld_jax.runtime import experiments


def test_experiments_are_found_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = experiments.find("experiments/l1.py")
    assert found != "experiments/l1.py"
    assert found.endswith("l1.py")
    assert experiments.find("l1.py") == experiments.find("l1") == found
    assert experiments.find("l1:reduced") == f"{found}:reduced"
    for wrong in ("experiments/no.py", "experimnts/l1.py", "mine/experiments/l1.py"):
        assert experiments.find(wrong) == wrong


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l1.py").write_text("")
    assert experiments.find("l1.py") == "l1.py"
    assert {"ad1", "l1", "own"} <= set(experiments.installed())
