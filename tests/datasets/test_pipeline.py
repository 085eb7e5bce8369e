import jax
import numpy as np
import pytest

from uld_jax.datasets import files, held, pipeline, splits


def order_of(*arguments, **options):
    order = pipeline.epoch_order(*arguments, **options)
    return np.stack([order[step] for step in range(len(order))])


def test_an_epoch_holds_every_example_once():
    order = order_of(103, 10, seed=0, epoch=0)
    assert order.shape == (10, 10)
    assert len(np.unique(order)) == 100
    assert (np.sort(order.ravel()) != order.ravel()).any()


def test_the_order_follows_from_seed_and_epoch_alone():
    first = order_of(50, 5, seed=3, epoch=2)
    np.testing.assert_array_equal(first, order_of(50, 5, seed=3, epoch=2))
    assert (first != order_of(50, 5, seed=3, epoch=3)).any()
    assert (first != order_of(50, 5, seed=4, epoch=2)).any()


def test_devices_share_one_order():
    whole = order_of(50, 8, seed=0, epoch=0)
    order = pipeline.epoch_order(50, 8, seed=0, epoch=0)
    parts = [pipeline.rows_of(order, range(first, first + 2)) for first in (0, 2, 4, 6)]
    for step, rows in enumerate(whole):
        together = np.concatenate([part[step] for part in parts])
        np.testing.assert_array_equal(together, rows)


def test_what_makes_no_batch_is_refused():
    with pytest.raises(ValueError, match="batch size 64 is larger than the 48"):
        pipeline.epoch_order(48, 64, seed=0, epoch=0)


def test_disk_and_device_give_the_same_batches_from_any_step(tiny_path):
    split = splits.Split(tiny_path, "train")
    disk = pipeline.DiskData(split, prefetch_batches=2, read_threads=2)
    device = held.DeviceData(split.load())
    order = pipeline.epoch_order(len(split), 8, seed=1, epoch=1)
    for first in (0, 4):
        pairs = zip(
            disk.batches(order, first), device.batches(order, first), strict=True
        )
        count = 0
        for step, (one, other) in enumerate(pairs, start=first):
            count += 1
            assert one["audio"].dtype == np.int16
            for field in splits.FIELDS:
                assert isinstance(one[field], jax.Array)
                np.testing.assert_array_equal(one[field], other[field])
                for row, index in enumerate(order[step]):
                    np.testing.assert_array_equal(
                        one[field][row], split[int(index)][field]
                    )
        assert count == 6 - first


@pytest.mark.parametrize("on_disk", [True, False])
def test_some_nodes_can_be_chosen_and_rendering_cannot(tiny_path, on_disk):
    split = splits.Split(tiny_path, "train")
    data = held.DeviceData(split.load())
    if on_disk:
        data = pipeline.DiskData(split, prefetch_batches=2, read_threads=1)
    order = pipeline.epoch_order(len(split), 16, seed=0, epoch=0)
    chosen = np.random.default_rng(0).permuted(
        np.tile(np.arange(8), (3, 16, 1)), axis=2
    )
    batches = data.batches(order, 1, nodes=lambda step: chosen[step, :, :3])
    for step, batch in enumerate(batches, 1):
        assert batch["audio"].shape == (16, 3, 2560)
        for row, index in enumerate(order[step]):
            for field in ("audio", "node_positions"):
                expected = split[int(index)][field][chosen[step, row, :3]]
                np.testing.assert_array_equal(batch[field][row], expected)
    assert step == 2
    with pytest.raises(files.DatasetError, match=r"late='full'.*only compact data"):
        data.batches(order, changes=pipeline.Changes(late="full"))


def test_evaluation_reads_everything_in_order(tiny_path):
    order = pipeline.in_order(20, 8)
    rows = np.concatenate([order[step] for step in range(len(order))])
    np.testing.assert_array_equal(rows, [*range(20), 19, 19, 19, 19])
