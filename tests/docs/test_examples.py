"""Pages: their code is that of docs/examples, and does what they claim."""

import importlib.util
import re

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.networks import build

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def load(monkeypatch):
    """Import examples; their entries in the tables are gone after the test."""
    for module, name in (
        (build, "NETWORKS"),
        (schemes, "SCHEMES"),
        (methods, "METHODS"),
    ):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))

    def load(name):
        path = EXAMPLES / f"{name}.py"
        found = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module

    return load


def test_the_page_shows_the_examples():
    page = (ROOT / "docs" / "extending.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    files = sorted(EXAMPLES.glob("add_*.py"))
    assert all(f"(examples/{path.name})" in page for path in files)
    code = "\n".join(path.read_text() for path in files)
    assert len(shown) >= 2 * len(files)
    for block in shown:
        assert block in code


def test_the_page_of_the_benchmark_shows_its_examples():
    page = (ROOT / "docs" / "benchmark.md").read_text()
    files = sorted(EXAMPLES.glob("benchmark_*.py"))
    assert len(files) == 2 and all(f"(examples/{one.name})" in page for one in files)
    code = "\n".join(path.read_text() for path in files)
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 2 and all(block in code for block in shown)


def test_a_network_is_one_class_and_one_spec(load, tiny_data_dir, tmp_path):
    example = load("add_network")
    record = example.main(str(tiny_data_dir), str(tmp_path / "run"))
    assert record["status"] == "done"
    assert record["network"]["parts"].keys() == {"from_code", "from_level", "to_logits"}
    first, last = (epoch["train"]["loss"] for epoch in record["epochs"])
    assert last < first
    # Absent nodes have no influence, as `any_nodes` promises.
    settings = {"name": "levels", "width": 4, "dtype": "float32"}
    model = build.for_label(settings, schemes.Label("uld", 2), 3, 2, seed=0)
    features = np.random.default_rng(0).normal(size=(1, 3, 5, 512))
    mask = jnp.array([[True, True, False]])
    inputs = jnp.asarray(features, jnp.float32), jnp.ones((1, 3, 9))
    np.testing.assert_allclose(
        model(*inputs, mask), model(*(one[:, :2] for one in inputs)), rtol=1e-5
    )


def test_a_label_scheme_is_a_code_a_loss_and_an_entry(load, tiny_data_dir, tmp_path):
    example = load("add_label_scheme")
    record = example.main(str(tiny_data_dir), str(tmp_path / "run"))
    assert record["status"] == "done"
    assert record["settings"]["label"]["scheme"] == "gaussian"
    label = schemes.Label("gaussian", 8)
    target = label.encode([1.7, 3.2], [6.0, 6.0])
    np.testing.assert_allclose(target.sum(), 1.0, rtol=1e-5)
    found = label.decode(jnp.log(target).ravel(), [6.0, 6.0])
    np.testing.assert_allclose(found, [1.7, 3.2], atol=0.05)


def test_a_method_is_a_function_and_an_entry(load):
    (found,) = load("add_method").main()
    assert np.linalg.norm(found[0] - np.array([1.7, 3.2])) < 1.0


@pytest.mark.parametrize("library", ["jax", "pytorch"])
def test_keypoints_are_found_between_grid_points(load, library):
    if library == "pytorch":
        pytest.importorskip("torch", exc_type=ImportError)
    errors = load(f"keypoints_{library}").main(steps=200)
    assert errors["decode_wad"] < 1.0
    assert errors["decode_wad"] < errors["decode_argmax"] / 1.5
    page = (ROOT / "docs" / "labels.md").read_text()
    assert f"(examples/keypoints_{library}.py)" in page
