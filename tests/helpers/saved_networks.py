"""Finished runs of tiny networks whose parameters are as they were initialized."""

import numpy as np
from conftest import tiny_settings

from uld_jax import config as config_lib
from uld_jax.networks import build
from uld_jax.storage import atomic, checkpoints, records
from uld_jax.training import optimizer
from uld_jax.training import step as step_lib
from uld_jax_experiments import ad1_multilateration, l1_azimuth, own

MAE, BEST_MAE = 0.4321, 0.8765


def settings(name):
    """Return settings of a tiny network before they are resolved."""
    if name == "encoder_decoder":
        return tiny_settings("/datasets/of/mine")
    if name == "multilateration":
        config = ad1_multilateration.get_config("tiny")
        config.update_from_flattened_dict({"model.width": 8, "label.resolution": 3})
        return config
    if name == "directions":
        return l1_azimuth.get_config("tiny")
    config = own.get_config("tiny")
    tiny = {"model.frames_per_step": 12, "model.num_blocks": 1}
    tiny |= {"model.num_temporal_blocks": 0, "label.resolution": 3}
    config.update_from_flattened_dict(tiny | {"data.speech": "/speech/of/mine"})
    return config


def items_of(name, seed):
    """Return settings and the items of a network, running means as if trained."""
    config = config_lib.resolve(settings(name))
    of_model = config_lib.to_dict(config.model)
    label = build.make_label(config_lib.to_dict(config.label), of_model)
    model = build.for_label(of_model, label, 8, 1, seed)
    _, state = step_lib.init_state(model, optimizer.adamw(1e-3, 0.0))
    rng = np.random.default_rng(seed)
    statistics = step_lib.jax.tree.map(
        lambda leaf: leaf * 0.8 + rng.uniform(0, 0.1, leaf.shape).astype(np.float32),
        state.statistics,
    )
    return config, {"params": state.params, "statistics": statistics}


def make_run(folder, name):
    """Write a finished run whose network is as it began; return its folder."""
    config, items = items_of(name, seed=5)
    with checkpoints.Checkpoints(folder) as saved:
        saved.save("best", 7, items, {"epoch": 2})
    epoch = {"validation": {"mae": 9.0, "accuracy": 0.1}}
    best = {"validation": {"mae": BEST_MAE, "accuracy": 0.25}}
    law = {"num_sources": 1, "num_nodes": 8, "num_samples": 2560}
    record = {
        "status": "done",
        "settings": config_lib.to_dict(config),
        "seed": 5,
        "data": {
            "name": config.data.name,
            "sizes": {"train": 1234, "validation": 12, "test": 20},
            "corpus": {"name": "builtin", "fingerprint": "f"},
            "law": law,
        },
        "init": None,
        "trained_places": {},
        "best_epoch": 2,
        "epochs": [epoch, best, epoch],
        "test": {"mae": MAE, "accuracy": 0.5},
        "times": {"written": "2026-11-24T01:29:34+00:00"},
        "converged": True,
        "versions": {"uld-jax": "0.0.7"},
        "commit": "8fbc8e4",
        "hardware": {"processor": "abacus"},
    }
    atomic.write_json(folder / records.FILE_NAME, record)
    return folder
