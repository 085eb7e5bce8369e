r"""Directions of L-1's arrays, and where they meet (references 12 and 15; Table 1).

    uld_jax train --config=l1_azimuth --workdir=runs/l1/azimuth_I36_seed0
    uld_jax baseline --config=l1 --method=stage_wise --run=runs/l1/azimuth_I36_seed0 \
        --workdir=runs/l1/stage_wise
    uld_jax train --config=l1_azimuth:tiny --workdir=runs/l1_azimuth_tiny

The data, training and encoders of `l1`, but each array has a network of its own, which
labels 36 directions around the array: 10 degrees from one to the next. The paper does not
say how many its references 12 and 15 have.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.audio import corpora


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of the directions' networks.

    Args:
        size: "full", "reduced" or "tiny", of the same data and width as in `l1`;
            "reduced" is trained for 8 epochs instead of 20, with a cosine schedule.
    """
    config_lib.check_size(size, ("full", "reduced", "tiny"))
    config = config_lib.default("directions")
    config.data.name = "simulated/l1:1.0.0"
    config.label.resolution = 36
    if size == "reduced":
        config.data.name = "simulated/l1_reduced:1.0.0"
        config.model.width = 64
        config.model.num_blocks = 2
        config.train.epochs = 8
        config.train.schedule = "cosine"
        config.train.warmup_steps = 100
    if size == "tiny":
        config.data.name = "simulated/l1_tiny:1.0.0"
        config.data.speech = corpora.BUILTIN
        config.model.width = 4
        config.model.num_blocks = 1
        config.train.batch_size = 8
        config.train.epochs = 2
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the overrides of the one run."""
    yield {"label.scheme": "azimuth"}
