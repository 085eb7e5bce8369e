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
from .evaluation.metrics import highest_density_region as highest_density_region
from .evaluation.metrics import mae as mae
from .evaluation.metrics import quantization_error as quantization_error
from .labels.circular import decode_circular as decode_circular
from .labels.circular import encode_circular as encode_circular
from .labels.codes import decode_cells as decode_cells
from .labels.codes import decode_marginals as decode_marginals
from .labels.codes import decode_refined_grid as decode_refined_grid
from .labels.codes import decode_wad as decode_wad
from .labels.codes import encode_heat_map as encode_heat_map
from .labels.codes import encode_marginals as encode_marginals
from .labels.codes import encode_one_hot as encode_one_hot
from .labels.codes import encode_refined_grid as encode_refined_grid
from .labels.codes import encode_uld as encode_uld
from .labels.decoders import Modes as Modes
from .labels.decoders import decode_argmax as decode_argmax
from .labels.decoders import decode_covariance as decode_covariance
from .labels.decoders import decode_local_mean as decode_local_mean
from .labels.decoders import decode_mean as decode_mean
from .labels.decoders import decode_modes as decode_modes
from .labels.losses import cross_entropy as cross_entropy
from .labels.losses import entropy as entropy
from .labels.losses import factorized_cross_entropy as factorized_cross_entropy
from .labels.losses import permutation_invariant as permutation_invariant
from .labels.quantization import box_quantization_error as box_quantization_error
from .labels.quantization import (
    circular_quantization_error as circular_quantization_error,
)
from .labels.quantization import (
    spherical_quantization_error as spherical_quantization_error,
)
from .labels.schemes import SCHEMES as SCHEMES
from .labels.schemes import Label as Label
from .labels.soft import encode_soft as encode_soft
from .labels.spherical import decode_spherical as decode_spherical
from .labels.spherical import encode_spherical as encode_spherical
from .labels.spherical import make_spherical_grid as make_spherical_grid
from .localization.answers import Localization as Localization
from .localization.calibration import Calibration as Calibration
from .localization.calibration import calibrate_clocks as calibrate_clocks
from .localization.clock_planning import expected_calibration as expected_calibration
from .localization.localize import localize as localize
from .localization.placement import Plan as Plan
from .localization.placement import place_nodes as place_nodes
from .localization.planning import expected_radii as expected_radii
from .localization.session import LocalizedSession as LocalizedSession
from .localization.session import localize_session as localize_session
from .localization.srp_phat import srp_phat as srp_phat
from .localization.stream import Stream as Stream
from .localization.tdoa import tdoa as tdoa
from .pretrained.loading import Network as Network
from .pretrained.loading import Prediction as Prediction
from .pretrained.loading import load_network as load_network
from .simulation.furniture import Furniture as Furniture
from .simulation.rendering import render as render
from .simulation.rooms import RenderSettings as RenderSettings
from .simulation.rooms import Rooms as Rooms
from .storage.records import read_records as read_records
from .training.train import train_and_evaluate as train_and_evaluate

__version__: str
