import numpy as np
import pytest

from uld_jax.labels import codes, soft


@pytest.mark.parametrize("resolution", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("kernel", [soft.KERNEL, (1, 2, 1), (3.0,), [1] * 9])
def test_it_is_a_convolution_between_mirrors(resolution, kernel):
    """Against NumPy's padding, which reflects as often as needed."""
    positions = (np.arange(4 * resolution) + 0.5) / 4  # In cells.
    reach = len(kernel) // 2
    smeared = soft.encode_soft(
        positions[:, None], [float(resolution)], resolution, kernel=kernel
    )
    weights = np.array(kernel) / np.sum(kernel)
    for position, label in zip(positions, smeared, strict=True):
        cells = np.pad(np.arange(resolution), reach, mode="symmetric")
        near = cells[int(position) : int(position) + 2 * reach + 1]
        expected = np.bincount(near, weights, resolution)
        np.testing.assert_allclose(label, expected, atol=1e-12)


def test_axes_are_smeared_apart_and_decode_to_the_cell():
    room, position = [4.0, 6.0, 3.0], [1.2, 5.9, 0.2]
    label = soft.encode_soft(position, room, (5, 4, 3))
    parts = [
        soft.encode_soft([p], [side], count)
        for p, side, count in zip(position, room, (5, 4, 3), strict=True)
    ]
    np.testing.assert_allclose(label, np.einsum("x,y,z->zyx", *parts))
    np.testing.assert_allclose(
        codes.decode_cells(label, room),
        codes.decode_cells(codes.encode_one_hot(position, room, (5, 4, 3)), room),
    )


@pytest.mark.parametrize("kernel", [(0.5, 0.5), (1.0, -1.0, 1.0), (0.0,), (np.inf,)])
def test_refused_kernels(kernel):
    with pytest.raises(ValueError, match="kernel is"):
        soft.encode_soft([1.0], [4.0], 4, kernel=kernel)
