"""The public API: what `uld_jax` offers, and where it is defined."""

from . import acoustics as acoustics
from . import audio as audio
from . import config as config
from . import datasets as datasets
from . import evaluation as evaluation
from . import labels as labels
from . import localization as localization
from . import networks as networks
from . import pretrained as pretrained
from . import report as report
from . import runtime as runtime
from . import simulation as simulation
from . import storage as storage
from . import training as training
from .acoustics.stft import stft as stft
from .config import load_config as load_config
from .evaluation.metrics import accuracy as accuracy
from .evaluation.metrics import best_permutation as best_permutation
from .evaluation.metrics import distances as distances
from .evaluation.metrics import error_statistics as error_statistics
from .evaluation.metrics import mae as mae
from .evaluation.metrics import quantization_error as quantization_error
from .labels.codes import decode_cells as decode_cells
from .labels.codes import decode_refined_grid as decode_refined_grid
from .labels.codes import decode_wad as decode_wad
from .labels.codes import encode_heat_map as encode_heat_map
from .labels.codes import encode_one_hot as encode_one_hot
from .labels.codes import encode_refined_grid as encode_refined_grid
from .labels.codes import encode_uld as encode_uld
from .labels.losses import cross_entropy as cross_entropy
from .labels.losses import entropy as entropy
from .labels.losses import permutation_invariant as permutation_invariant
from .labels.schemes import SCHEMES as SCHEMES
from .labels.schemes import Label as Label
from .localization.srp_phat import srp_phat as srp_phat
from .localization.tdoa import tdoa as tdoa
from .pretrained.loading import Network as Network
from .pretrained.loading import Prediction as Prediction
from .pretrained.loading import load_network as load_network
from .simulation.rendering import render as render
from .simulation.rooms import RenderSettings as RenderSettings
from .simulation.rooms import Rooms as Rooms
from .storage.records import read_records as read_records
from .training.train import train_and_evaluate as train_and_evaluate

__version__: str
