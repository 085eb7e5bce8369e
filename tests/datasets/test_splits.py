"""One split of a prepared data set, and checks of its content."""

import jax
import numpy as np
import pytest

from uld_jax.datasets import files, held, splits


def test_a_split_loads_as_one_array(tiny_path):
    split = splits.Split(tiny_path, "validation")
    arrays = split.load()
    assert arrays["audio"].shape == (12, 8, 2560)
    np.testing.assert_array_equal(arrays["audio"][7], split[7]["audio"])


def test_a_loaded_split_is_used_in_place_on_a_cpu(tiny_path):
    loaded = splits.Split(tiny_path, "test").load()
    cpu = jax.devices("cpu")[0]
    on_device = held.DeviceData(loaded, cpu).arrays
    for key, array in loaded.items():
        assert on_device[key].unsafe_buffer_pointer() == array.ctypes.data


def test_positions_outside_the_room_are_noticed(tiny_path, monkeypatch):
    split = splits.Split(tiny_path, "test")
    example = split._source[0] | {"source_positions": np.float32([[7, 1, 1]])}

    class Source:
        def __len__(self):
            return 1

        def __getitems__(self, _):
            return [example]

    monkeypatch.setattr(split, "_source", Source())
    with pytest.raises(files.DatasetError, match=r"source_.*\[7\.0, 1\.0\]"):
        split.load()


def examples(node_positions, node_mask=None):
    """Return two examples of three nodes in rooms of 6 m by 4 m."""
    arrays = {
        "node_positions": np.asarray(node_positions, np.float32),
        "source_positions": np.ones((2, 1, 3), np.float32),
        "room_size": np.tile(np.float32([6, 4, 3]), (2, 1)),
    }
    return arrays | ({} if node_mask is None else {"node_mask": np.array(node_mask)})


NODES = np.ones((2, 3, 3))
NOWHERE = np.where(np.arange(3)[:, None] == 2, np.nan, NODES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (examples(NODES[:, :0]), "split 'dev' have no nodes"),
        (examples(NODES, [[True] * 3, [False] * 3]), "example 1 .* its nodes masked"),
        (examples(NOWHERE), "number 2 of example 0 has no position"),
        (examples(5 * NODES), r"node_positions .*\[5\.0, 5\.0\]"),
    ],
    ids=["no nodes", "all masked", "without a position", "outside"],
)
def test_nodes_that_cannot_be_are_reported(arrays, message):
    with pytest.raises(files.DatasetError, match=message):
        splits.check_geometry("dev", arrays)


def test_where_masked_nodes_are_does_not_matter():
    masked = [[True, True, False]] * 2
    splits.check_geometry("dev", examples(NOWHERE, masked))


def test_a_missing_data_set_is_reported(tiny_path, tmp_path):
    with pytest.raises(files.DatasetError, match="no prepared data set"):
        splits.Split(tmp_path, "train")
    with pytest.raises(files.DatasetError, match="'dev'; it has"):
        splits.Split(tiny_path, "dev")
