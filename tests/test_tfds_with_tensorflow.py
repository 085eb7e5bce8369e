"""TFDS's own test of a builder; needs TensorFlow (extra `tfds`), else it skips."""

import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install '.[tfds]'")

import tensorflow_datasets as tfds

from uld_jax_data.simulated import simulated_dataset_builder as simulated


class SimulatedTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = simulated.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("l1_tiny",)
    SPLITS = {"train": 48, "validation": 12, "test": 20}  # noqa: RUF012
    EXAMPLE_DIR = "tests"
    SKIP_CHECKSUMS = True
