"""Calibration of radii, on a toy of known distribution."""

import numpy as np
import pytest

from uld_jax.localization import radii


def draw(rng, count):
    """Draw radii that hold too little where they are small, and too much elsewhere."""
    given = np.exp(rng.uniform(np.log(0.01), np.log(1.0), count))
    true = np.where(given < 0.1, 2.0, 0.7) * given
    # 90 % of a normal distribution on the plan are within its true radius.
    errors = true * np.linalg.norm(rng.normal(size=(count, 2)), axis=1) / 2.1460
    return given, errors


def test_nine_of_ten_are_within_the_calibrated_radius(monkeypatch):
    rng = np.random.default_rng(0)
    group = radii.fit(*draw(rng, 4_000), num_groups=10)
    assert group["factors"][0] == pytest.approx(2.0, rel=0.1)
    assert group["factors"][-1] == pytest.approx(0.7, rel=0.1)
    monkeypatch.setattr(radii, "_load", lambda: [{"least_nodes": 3, **group}])
    given, errors = draw(rng, 4_000)
    within = errors <= [radii.calibrate(radius, 8) for radius in given]
    assert within.mean() == pytest.approx(0.9, abs=0.02)
    for small in (given < 0.05, given > 0.2):
        assert within[small].mean() == pytest.approx(0.9, abs=0.04)


def test_few_scenes_give_the_largest_of_them():
    group = radii.fit(np.ones(5), np.array([0.5, 1.0, 2.0, 0.1, 0.2]), num_groups=1)
    assert group["factors"] == [2.0]


def test_groups_go_by_nodes(monkeypatch):
    table = [
        {"least_nodes": 3, "radii": [0.1, 1.0], "factors": [2.0, 1.0]},
        {"least_nodes": 8, "radii": [0.1, 1.0], "factors": [0.5, 0.5]},
    ]
    monkeypatch.setattr(radii, "_load", lambda: table)
    assert radii.calibrate(0.1, 7) == pytest.approx(0.2)
    assert radii.calibrate(0.01, 7) == pytest.approx(0.02)  # As the least one.
    assert radii.calibrate(np.sqrt(0.1), 7) == pytest.approx(np.sqrt(0.1) * np.sqrt(2))
    assert radii.calibrate(1.0, 8) == radii.calibrate(1.0, 60) == pytest.approx(0.5)
    # What reaches another place does not become smaller.
    assert radii.calibrate(1.0, 8, one_place=False) == pytest.approx(1.0)
    assert radii.calibrate(0.1, 7, one_place=False) == pytest.approx(0.2)


def test_the_table_of_the_package_is_whole():
    groups = radii._load()
    assert [group["least_nodes"] for group in groups] == [3, 8, 16]
    for group in groups:
        assert group["scenes"] > 50
        assert (np.diff(group["radii"]) > 0).all()
        assert 0.3 <= min(group["factors"]) <= max(group["factors"]) <= 6.0
