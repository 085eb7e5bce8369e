"""Find where talkers are in a room from many scattered microphones, in JAX.

The contents, by what one wants to do:

- Encode and decode positions: `encode_uld`, `decode_wad`, the baselines' codes, `Label`.
- Train with them: `cross_entropy`, `entropy`, `permutation_invariant`.
- Score positions: `mae`, `accuracy`, `error_statistics`, `quantization_error`, ...
- Transform signals: `stft`. Render rooms: `render`, `Rooms`, `RenderSettings`.
- Localize without training: `srp_phat`, `tdoa`. With a trained network: `load_network`.
- Run experiments: `load_config`, `train_and_evaluate`, `read_records`.

Sub-packages hold the rest. Everything is loaded when it is first used.
"""

import typing

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "acoustics",
        "audio",
        "config",
        "datasets",
        "evaluation",
        "labels",
        "localization",
        "networks",
        "pretrained",
        "report",
        "runtime",
        "simulation",
        "storage",
        "training",
    ],
    submod_attrs={
        "labels": [
            "SCHEMES",
            "Label",
            "cross_entropy",
            "decode_cells",
            "decode_refined_grid",
            "decode_wad",
            "encode_heat_map",
            "encode_one_hot",
            "encode_refined_grid",
            "encode_uld",
            "entropy",
            "permutation_invariant",
        ],
        "evaluation": [
            "accuracy",
            "best_permutation",
            "distances",
            "error_statistics",
            "mae",
            "quantization_error",
        ],
        "acoustics.stft": ["stft"],
        "simulation": ["RenderSettings", "Rooms", "render"],
        "localization.srp_phat": ["srp_phat"],
        "localization.tdoa": ["tdoa"],
        "pretrained": ["Network", "Prediction", "load_network"],
        "training": ["train_and_evaluate"],
        "config": ["load_config"],
        "storage": ["read_records"],
    },
)

if typing.TYPE_CHECKING:  # For editors and type checkers; the table above is what runs.
    from uld_jax import acoustics as acoustics
    from uld_jax import audio as audio
    from uld_jax import config as config
    from uld_jax import datasets as datasets
    from uld_jax import evaluation as evaluation
    from uld_jax import labels as labels
    from uld_jax import localization as localization
    from uld_jax import networks as networks
    from uld_jax import pretrained as pretrained
    from uld_jax import report as report
    from uld_jax import runtime as runtime
    from uld_jax import simulation as simulation
    from uld_jax import storage as storage
    from uld_jax import training as training
    from uld_jax.acoustics.stft import stft as stft
    from uld_jax.config import load_config as load_config
    from uld_jax.evaluation.metrics import accuracy as accuracy
    from uld_jax.evaluation.metrics import best_permutation as best_permutation
    from uld_jax.evaluation.metrics import distances as distances
    from uld_jax.evaluation.metrics import error_statistics as error_statistics
    from uld_jax.evaluation.metrics import mae as mae
    from uld_jax.evaluation.metrics import quantization_error as quantization_error
    from uld_jax.labels.codes import decode_cells as decode_cells
    from uld_jax.labels.codes import decode_refined_grid as decode_refined_grid
    from uld_jax.labels.codes import decode_wad as decode_wad
    from uld_jax.labels.codes import encode_heat_map as encode_heat_map
    from uld_jax.labels.codes import encode_one_hot as encode_one_hot
    from uld_jax.labels.codes import encode_refined_grid as encode_refined_grid
    from uld_jax.labels.codes import encode_uld as encode_uld
    from uld_jax.labels.losses import cross_entropy as cross_entropy
    from uld_jax.labels.losses import entropy as entropy
    from uld_jax.labels.losses import permutation_invariant as permutation_invariant
    from uld_jax.labels.schemes import SCHEMES as SCHEMES
    from uld_jax.labels.schemes import Label as Label
    from uld_jax.localization.srp_phat import srp_phat as srp_phat
    from uld_jax.localization.tdoa import tdoa as tdoa
    from uld_jax.pretrained.loading import Network as Network
    from uld_jax.pretrained.loading import Prediction as Prediction
    from uld_jax.pretrained.loading import load_network as load_network
    from uld_jax.simulation.rendering import render as render
    from uld_jax.simulation.rooms import RenderSettings as RenderSettings
    from uld_jax.simulation.rooms import Rooms as Rooms
    from uld_jax.storage.records import read_records as read_records
    from uld_jax.training.train import train_and_evaluate as train_and_evaluate
