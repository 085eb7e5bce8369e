"""Perturbed nodes in training, from every source of examples."""

import numpy as np
import pytest
from tiny_rooms import open_run_data

from uld_jax.datasets import perturbations


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("rooms"))


FRESH = {"data.epoch_examples": 4, "data.speech_hours": 0.01}


@pytest.mark.parametrize("source", ["prepared", "compact", "fresh"])
def test_each_step_has_nodes_of_its_own_that_a_resumed_epoch_draws_again(
    source, data_dir, monkeypatch
):
    """Drawn by seed, step since the beginning of the run and row, and by no more."""
    asked = []
    draw_step = perturbations.Perturbation.draw_step

    def noted(self, *of_rows):
        asked.append(of_rows)
        return draw_step(self, *of_rows)

    monkeypatch.setattr(perturbations.Perturbation, "draw_step", noted)
    settings = {"seed": 3, "data.position_error": 0.1, **FRESH}
    data = open_run_data(data_dir, source, **settings)
    assert data.steps_per_epoch == 2
    places = [
        np.asarray(batch["node_positions"])[..., :2]
        for epoch in (0, 1)
        for batch in data.training_batches(epoch, 0)
    ]
    num_nodes = data.num_nodes
    assert asked == [(3, step, range(2), num_nodes) for step in range(4)]
    for one, batch in enumerate(places):
        assert batch.shape == (2, 2, 2)
        assert not any((batch == other).any() for other in places[:one])
    (resumed,) = data.training_batches(1, 1)
    np.testing.assert_array_equal(resumed["node_positions"][..., :2], places[3])
    assert asked[4:] == [(3, 3, range(2), num_nodes)]
