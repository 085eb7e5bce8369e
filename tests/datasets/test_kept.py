"""Evidence that is kept: the same bits as measured ones, measured once."""

import collections
import types

import jax
import numpy as np
import pytest
from made_splits import AUDIO, GEOMETRY, NUM, M, Source, Split

from uld_jax.datasets import files, kept, pipeline
from uld_jax.networks import evidence

FACTS = {"name": "simulated/mine:1.0.0"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(kept, "_EXAMPLES_PER_PART", 3)
    monkeypatch.setattr(kept, "_BATCH", 2)


def open_kept(folder, source=None, copies=0, facts=FACTS):
    source = source or Source()
    return kept.open_kept(
        lambda: source, Split(), evidence.measure, folder, facts, copies
    )


def measured(rows):
    audio = jax.numpy.asarray(AUDIO[rows].astype(np.float32))
    return jax.device_get(jax.jit(evidence.measure)({"audio": audio}))


def test_kept_evidence_is_the_measured_bit_for_bit(tmp_path):
    data = open_kept(tmp_path)
    assert isinstance(data, pipeline.Source)
    assert len(data) == NUM
    order = pipeline.epoch_order(NUM, 3, seed=1, epoch=0)
    for step, batch in enumerate(data.batches(order)):
        rows = np.asarray(order[step])
        for key, values in measured(rows).items():
            np.testing.assert_array_equal(batch[key], values, strict=True)
        for key, values in GEOMETRY.items():
            np.testing.assert_array_equal(batch[key], values[rows])
    (last,) = data.batches(order, first_step=1)
    np.testing.assert_array_equal(last["levels"], batch["levels"])


def test_some_nodes_have_their_own_pairs(tmp_path):
    nodes = np.array([[0, 2, 3], [1, 2, 3]])
    order = pipeline.in_order(2, 2)
    (batch,) = open_kept(tmp_path).batches(order, nodes=lambda step: nodes)
    whole = measured(np.arange(2))
    names = list(zip(*np.triu_indices(M, 1), strict=True))
    for row, some in enumerate(nodes):
        np.testing.assert_array_equal(batch["levels"][row], whole["levels"][row][some])
        pairs = [(some[a], some[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        wanted = [names.index(pair) for pair in pairs]
        np.testing.assert_array_equal(
            batch["envelopes"][row], whole["envelopes"][row][wanted]
        )
        np.testing.assert_array_equal(
            batch["node_positions"][row], GEOMETRY["node_positions"][row][some]
        )


def test_it_is_measured_once_and_for_these_facts_alone(tmp_path):
    open_kept(tmp_path)
    again = Source(batches_before_failure=0)
    open_kept(tmp_path, again)
    assert not again.given
    other = Source()
    open_kept(tmp_path, other, facts=FACTS | {"noise": "other"})
    assert len(other.given) >= NUM


def test_an_interrupted_measurement_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        open_kept(tmp_path, Source(batches_before_failure=3))
    rest = Source()
    data = open_kept(tmp_path, rest)
    assert {row for row, _ in rest.given} == {3, 4, 5, 6}  # The first part is there.
    (batch,) = data.batches(pipeline.in_order(NUM, NUM))
    np.testing.assert_array_equal(batch["levels"], measured(np.arange(NUM))["levels"])


def test_a_damaged_part_is_measured_again(tmp_path):
    data = open_kept(tmp_path)
    (before,) = data.batches(pipeline.in_order(NUM, NUM))
    before = jax.device_get(before)
    path = next(tmp_path.rglob("train-0-3.npy"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    source = Source()
    (after,) = open_kept(tmp_path, source).batches(pipeline.in_order(NUM, NUM))
    assert {row for row, _ in source.given} == {3, 4, 5}
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_copies_are_noisier_and_follow_the_split(tmp_path):
    source = Source()
    data = open_kept(tmp_path, source, copies=2)
    assert len(data) == 3 * NUM
    counts = collections.Counter(changes for _, changes in source.given)
    assert len(counts) == 3
    assert counts[None] == NUM + 2  # A part's last batch repeats its last example.
    row, copy = 5, 2
    (batch,) = data.batches(pipeline.in_order(3 * NUM, 3 * NUM))
    snr_db = kept.NoisierSnr(copy)(row)
    assert -10 <= snr_db <= 20
    audio = AUDIO[[row]].astype(np.float32)
    audio[:, 0] *= snr_db
    expected = jax.jit(evidence.measure)({"audio": jax.numpy.asarray(audio)})
    found = batch["levels"][copy * NUM + row]
    np.testing.assert_allclose(found, expected["levels"][0], atol=0.1)
    np.testing.assert_array_equal(batch["room_size"][NUM:], np.ones((2 * NUM, 3)))


def test_a_full_disk_is_reported_before_the_work(tmp_path, monkeypatch):
    full = types.SimpleNamespace(free=1000)
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda path: full)
    source = Source()
    with pytest.raises(
        files.DatasetError, match=r"no room for evidence of train, .* GB"
    ):
        open_kept(tmp_path, source)
    assert not source.given


def test_kept_evidence_cannot_be_rendered_otherwise(tmp_path):
    data = open_kept(tmp_path)
    with pytest.raises(files.DatasetError, match="cannot be rendered otherwise"):
        data.batches(
            pipeline.in_order(2, 2), changes=pipeline.Changes(snr_db=0.0)
        ).__next__()
