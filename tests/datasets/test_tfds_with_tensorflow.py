"""TFDS's own test of the builders; needs TensorFlow (extra `tfds`), else it skips."""

import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install '.[tfds]'")

import made_adhoc40
import tensorflow_datasets as tfds

from uld_jax_data.libri_adhoc40 import libri_adhoc40_dataset_builder as libri_adhoc40
from uld_jax_data.simulated import simulated_dataset_builder as simulated


class SimulatedTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = simulated.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("l1_tiny",)
    SPLITS = {"train": 48, "validation": 12, "test": 20}  # noqa: RUF012
    EXAMPLE_DIR = "tests"
    SKIP_CHECKSUMS = True


# Of the fake recordings, by the end of a configuration's name.
_SIZES = {
    "_dev": {"train": 4, "validation": 4, "test": 5},
    "_test": {"test": 5},
    "": {"train": 10, "validation": 8, "test": 5},
}
_CASES = {}  # By layout.


def _libri_adhoc40_test(layout, config):
    """Return the test of one configuration: TFDS wants the same sizes for all of one."""
    ending = next(ending for ending in _SIZES if config.endswith(ending))
    facts = {
        "DATASET_CLASS": libri_adhoc40.Builder,
        "BUILDER_CONFIG_NAMES_TO_TEST": (config,),
        "SPLITS": _SIZES[ending],
        "SKIP_CHECKSUMS": True,
        "__module__": __name__,
    }
    name = f"LibriAdhoc40{config.title().replace('_', '')}{layout.title()}Test"
    return type(name, (tfds.testing.DatasetBuilderTestCase,), facts)


for _layout in made_adhoc40.LAYOUTS:
    _CASES[_layout] = [
        _libri_adhoc40_test(_layout, config.name)
        for config in libri_adhoc40.Builder.BUILDER_CONFIGS
    ]
    globals().update({case.__name__: case for case in _CASES[_layout]})


@pytest.fixture(scope="module", autouse=True)
def fake_recordings(tmp_path_factory):
    """Give every test of Libri-adhoc40 its folder."""
    for layout, cases in _CASES.items():
        folder = made_adhoc40.write(tmp_path_factory.mktemp(layout), layout)
        for case in cases:
            case.EXAMPLE_DIR = str(folder)
