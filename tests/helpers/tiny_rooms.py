"""The tiny Ad-1 as the data of a run."""

from uld_jax import config as config_lib
from uld_jax.datasets import loader, prepare


def open_run_data(data_dir, source, **changes):
    """Prepare it where it is missing, and load it with these settings."""
    config = config_lib.default("adhoc")
    config.update_from_flattened_dict(
        {
            "data.name": "simulated/ad1_tiny:1.0.0",
            "data.dir": str(data_dir),
            "data.speech": "builtin",
            "data.source": source,
            "data.nodes_in_training": 2,
            "train.batch_size": 2,
            **changes,
        }
    )
    config = config_lib.resolve(config)
    prepare.ensure_prepared(config, processes=1)
    data = loader.RunData(config)
    data.load()
    return data
