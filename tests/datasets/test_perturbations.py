import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.datasets import perturbations, pipeline
from uld_jax.datasets.perturbations import Perturbation

STREAMS = [(7, 3, row) for row in range(400)]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        "audio": jnp.asarray(rng.integers(-99, 99, (4, 6, 1000)), jnp.int16),
        "node_positions": jnp.asarray(rng.uniform(0, 4, (4, 6, 3)), jnp.float32),
        "room_size": jnp.full((4, 3), 4.0),
    }


def test_nodes_are_drawn_without_repetition_and_all_alike():
    draws = Perturbation(num_nodes=3).draw(STREAMS, 6)
    assert draws.nodes.shape == (400, 3)
    assert all(len(set(nodes)) == 3 for nodes in draws.nodes)
    counts = np.bincount(draws.nodes.ravel(), minlength=6)
    np.testing.assert_allclose(counts, 200, atol=4 * np.sqrt(400 * 0.25))


def test_spreads_are_as_asked():
    law = Perturbation(clock_offset=0.002, position_error=0.3)
    draws = law.draw(STREAMS, 10)
    np.testing.assert_allclose(draws.delays.std(), 0.002 * 16_000, rtol=0.05)
    np.testing.assert_allclose(draws.position_errors.std(axis=(0, 1)), 0.3, rtol=0.05)
    assert abs(draws.delays.mean()) < 2


def test_an_example_depends_on_its_stream_alone():
    law = Perturbation(num_nodes=2, clock_offset=0.01, position_error=0.1)
    together = law.draw(STREAMS[:5], 6)
    alone = law.draw(STREAMS[4:5], 6)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], other[4])
    again = law.draw([(7, 4, 4)], 6)  # Another step, another draw.
    assert (again.delays != alone.delays).any()


def test_a_nodes_draw_does_not_depend_on_how_many_are_kept():
    some = Perturbation(num_nodes=4, clock_offset=0.01).draw(STREAMS[:3], 6)
    all_nodes = Perturbation(clock_offset=0.01).draw(STREAMS[:3], 6)
    for row in range(3):
        expected = all_nodes.delays[row, some.nodes[row]]
        np.testing.assert_array_equal(some.delays[row], expected)


def test_a_batch_is_perturbed_as_drawn(batch):
    law = Perturbation(num_nodes=3, clock_offset=0.003, position_error=0.2)
    draws = law.draw(STREAMS[:4], 6)
    batch_of_nodes = pipeline.pick_nodes(batch, draws.nodes)
    found = perturbations.apply(law, batch_of_nodes, draws)
    for b in range(4):
        for k, node in enumerate(draws.nodes[b]):
            expected = np.roll(batch["audio"][b, node], round(draws.delays[b, k]))
            np.testing.assert_array_equal(found["audio"][b, k], expected)
            place = np.asarray(batch["node_positions"][b, node], np.float64)
            place[:2] = np.clip(place[:2] + draws.position_errors[b, k], 0, 4)
            np.testing.assert_allclose(found["node_positions"][b, k], place, atol=1e-6)


def test_gains_and_colorings_are_as_asked():
    draws = Perturbation(gain_error=3.0, coloring=2.0).draw(STREAMS, 10)
    gains = draws.gains_db
    assert gains.shape == (400, 10, 24)
    np.testing.assert_allclose((gains**2).mean(), 3.0**2 + 2.0**2, rtol=0.05)
    common = gains.mean(axis=-1)
    np.testing.assert_allclose(common.std(), 3.0, rtol=0.05)
    # Smooth over the bands: neighbors differ by little.
    assert np.diff(gains, axis=-1).std() < 0.5 * 2.0


def test_spreads_are_drawn_for_each_example():
    law = Perturbation(
        clock_offset=0.05, position_error=0.4, gain_error=8.0, drawn=True
    )
    draws = law.draw(STREAMS, 30)
    spreads = draws.delays.std(axis=1) / 16_000
    happens = spreads > 0
    assert 0.5 < happens.mean() < 0.7
    logs = np.log(spreads[happens])
    # Log-uniform from 0.1 to 50 ms.
    np.testing.assert_allclose(logs.mean(), np.log([1e-4, 5e-2]).mean(), atol=0.4)
    assert 0.4 < (draws.position_errors != 0).any(axis=(1, 2)).mean() < 0.6
    assert draws.position_errors.std(axis=(1, 2)).max() < 0.6
    assert not Perturbation(drawn=True)


def test_evidence_is_disturbed_as_its_signals_are(batch):
    law = Perturbation(clock_offset=0.003, gain_error=3.0)
    draws = law.draw(STREAMS[:4], 6)
    audio = perturbations.apply(law, batch, draws)["audio"]
    rms = np.sqrt((np.asarray(audio, np.float64) ** 2).mean(axis=-1))
    before = np.sqrt((np.asarray(batch["audio"], np.float64) ** 2).mean(axis=-1))
    gains = draws.gains_db[..., 0]
    np.testing.assert_allclose(20 * np.log10(rms / before), gains, atol=1e-4)
    evidence = {"envelopes": None, "room_size": batch["room_size"]}
    found = perturbations.apply(law, evidence, draws)
    np.testing.assert_array_equal(found["clock_offsets"], draws.delays)
    np.testing.assert_array_equal(found["gains_db"], draws.gains_db)


def test_no_perturbation_is_none():
    assert not Perturbation()
    assert Perturbation(num_nodes=2)


def test_more_nodes_than_there_are_cannot_be_kept():
    Perturbation(num_nodes=6).check(6)
    with pytest.raises(perturbations.PerturbationError, match=r"is 7; .* has 6 nodes"):
        Perturbation(num_nodes=7).check(6)


STEP = Perturbation(
    num_nodes=4, clock_offset=0.01, position_error=0.3, gain_error=3.0, drawn=True
)


def test_a_row_of_a_step_depends_on_neither_its_size_nor_its_devices():
    whole = STEP.draw_step(7, 3, range(32), 6)
    for rows in (range(5), range(8, 16), range(31, 32)):
        some = STEP.draw_step(7, 3, rows, 6)
        for part, all_rows in zip(some, whole, strict=True):
            np.testing.assert_array_equal(part, all_rows[rows.start : rows.stop])
    for other in (
        STEP.draw_step(7, 4, range(32), 6),
        STEP.draw_step(8, 3, range(32), 6),
    ):
        assert (other.delays != whole.delays).any()


def test_steps_are_drawn_as_examples_are():
    """The same distribution, by its quantiles over 20,000 draws."""
    law = Perturbation(
        clock_offset=0.01, position_error=0.3, gain_error=3.0, drawn=True
    )
    steps = law.draw_step(7, 0, range(2000), 10)
    examples = law.draw([(7, 1, row) for row in range(2000)], 10)
    for one, other in zip(steps[1:], examples[1:], strict=True):
        shares = np.linspace(0.1, 0.9, 9)
        found, expected = (np.quantile(part, shares) for part in (one, other))
        np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max())
    assert (steps.nodes == np.arange(10)).all()
    kept = dataclasses.replace(law, num_nodes=3).draw_step(7, 0, range(2000), 10).nodes
    assert (np.diff(kept, axis=1) > 0).all()
    counts = np.bincount(kept.ravel(), minlength=10) / 2000
    np.testing.assert_allclose(counts, 0.3, atol=0.05)
