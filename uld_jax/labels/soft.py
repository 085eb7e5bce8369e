"""Soft label coding: a one-hot label that is smeared over the cells nearby.

Feng, Gong and Zhang, "Soft Label Coding for End-to-end Sound Source Localization with
Ad-hoc Microphone Arrays", ICASSP 2023 (reference 14): what its static label does is soften
one-hot by the distance between cells. The paper does not say by how much; we take the
kernel of the author's published code in one dimension, along each axis.
"""

import numpy as np

from uld_jax.labels import arrays, axes, codes
from uld_jax.labels.arrays import Array

KERNEL = (0.1, 0.2, 0.4, 0.2, 0.1)


def encode_soft(
    position: Array,
    room_size: Array | None = None,
    resolution: codes.Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: codes.Outside = "raise",
    kernel: Array = KERNEL,
) -> Array:
    """Encode positions as one-hot labels that are smeared over the cells nearby.

    What falls beyond a wall is reflected, as by a mirror on the wall.

    Its decoder is that of one-hot, `codes.decode_cells`, and so is its quantization error:
    the label of all positions in a cell is the same.

    Args:
        position: As `codes.encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.
        kernel: Weights of the cells around the position's, along each axis: an odd
            number, not negative; they are scaled to sum to one.

    Returns:
        Distributions [..., Iy, Ix], [..., Iz, Iy, Ix] and so on, that sum to one.

    Raises:
        ValueError: As `codes.encode_uld`, or if the kernel is none.

    >>> import uld_jax
    >>> print(uld_jax.encode_soft([1.0], room_size=[8.0], resolution=4).round(1))
    [0.6 0.3 0.1 0. ]
    """
    weights = np.asarray(kernel, np.float64)
    if weights.ndim != 1 or len(weights) % 2 == 0 or not (weights >= 0).all():
        raise ValueError(
            f"kernel is {list(kernel)}; it must be an odd number of weights >= 0"
        )
    if not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"kernel is {list(kernel)}; its sum must be finite and above 0"
        )
    cells, _, each = codes.read_positions(
        position, room_size, resolution, low, high, outside
    )
    xp = arrays.namespace(cells)
    marginals = []
    for part, count in zip(axes.occupied(cells, each), each, strict=True):
        labels = arrays.like(smear(count, weights / weights.sum()), cells)
        # A sum, not a dot product: accelerators round the factors of dot products.
        marginals.append(xp.sum(arrays.like(part, cells)[..., None] * labels, axis=-2))
    return axes.outer(marginals)


def smear(resolution: int, kernel: Array = KERNEL) -> np.ndarray:
    """Compute the label of each cell along one axis, with mirrors at both walls.

    Args:
        resolution: Number of cells I.
        kernel: Weights that sum to one.

    Returns:
        For each cell its label, [I, I].
    """
    found = np.zeros((resolution, resolution))
    reach = len(kernel) // 2
    for cell in range(resolution):
        for offset, weight in zip(range(-reach, reach + 1), kernel, strict=True):
            image = (cell + offset) % (2 * resolution)
            found[cell, min(image, 2 * resolution - 1 - image)] += weight
    return found
