"""The command that trains a network again has the settings of its record."""

import pytest

from uld_jax import config as config_lib
from uld_jax.cli import train as train_command
from uld_jax.training import reproduction


@pytest.mark.parametrize(
    ("experiment", "changes", "expected"),
    [
        ("ad1:medium", {}, "--config=ad1:medium"),
        (
            "l1:reduced",
            {"train.epochs": 8, "train.schedule": "cosine", "data.speech": "/mine"},
            "--config=l1:reduced --config.train.epochs=8 --config.train.schedule=cosine "
            "--config.data.speech=SPEECH",
        ),
        (
            "ad1",
            {"label.resolution": 4, "seed": 2, "data.noise": "fan"},
            "--config=ad1 --config.label.resolution=4 --config.seed=2 "
            "--config.data.noise=NOISE",
        ),
        (
            "any_session:medium",
            {"train.clip_norm": None},
            "--config=any_session:medium --config.train.clip_norm=None",
        ),
    ],
)
def test_a_command_has_as_few_flags_as_possible(experiment, changes, expected):
    settings = config_lib.to_dict(config_lib.load_config(experiment, **changes))
    found = reproduction.find_command(settings, "runs/mine")
    assert found == f"uld_jax train {expected} --workdir=runs/mine"


def test_the_gain_of_fine_tuning_is_told_by_place():
    old = {
        "mae": 0.6,
        "unseen": {"places": 2, "mae": 0.7},
        "seen": {"places": 1, "mae": 0.5},
    }
    new = {
        "mae": 0.2,
        "unseen": {"places": 2, "mae": 0.3},
        "seen": {"places": 1, "mae": 0.1},
    }
    assert train_command.describe_gain(new, old) == [
        "Fine-tuning: MAE 0.600 m before, 0.200 m after",
        "  at 2 places unseen in training: MAE 0.700 m before, 0.300 m after",
        "  at 1 place seen in training: MAE 0.500 m before, 0.100 m after",
    ]
    assert train_command.describe_gain(new, None) == []
    alone = {"mae": 0.6, "unseen": None, "seen": None}
    assert len(train_command.describe_gain(alone, alone)) == 1
