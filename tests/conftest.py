"""Shape checks for the whole package, and the data the tests share."""

import functools
import gc
import importlib.metadata
import os
import pathlib

# Most of a tiny run's time is compilation, which so takes a third of it. Later
# versions of XLA do not know the second flag. It costs some equalities in last bits.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    if importlib.metadata.version("jaxlib").startswith("0.10.")
    else "--xla_backend_optimization_level=0",
)

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest

jaxtyping.install_import_hook("uld_jax", "beartype.beartype")
# The same examples each time, and nothing kept between runs.
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("same")

ROOT = pathlib.Path(__file__).resolve().parents[1]
_MOST_MEMORY = 3e9  # Bytes of a process that runs tests.
SHARED_AUDIO = ROOT.parent / "shared" / "audio"


def prepare_tiny(data_dir, processes=1):
    """Prepare the smallest data set in a folder; return the data set's folder."""
    from uld_jax.audio import corpora
    from uld_jax_data import pool, shards
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    return shards.prepare(
        functools.partial(
            simulated.Builder,
            config="l1_tiny",
            data_dir=str(data_dir),
            file_format="array_record",
            corpus=corpora.open_speech("builtin"),
        ),
        pool.executor(processes),
    )


_LONGEST = ("resumption", "end_to_end", "devices", "real_rooms", "initialization")
_LONGEST += ("simulated", "libri_adhoc40_builder", "compact", "rendering_accuracy")
_LONGEST += ("workers", "robustness", "sound_training", "card", "locate", "app")
_LONGEST += ("commands", "public_api", "verify", "localize", "calibration", "cluster")
_LONGEST += ("votes_training", "multilateration", "ad_hoc")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that none is left to one process."""
    first = {f"test_{name}.py" for name in _LONGEST}
    items.sort(key=lambda item: item.path.name not in first)
    if "xla_cpu_use_fusion_emitters=false" in os.environ["XLA_FLAGS"]:
        apart = pytest.mark.skip(reason="compares last bits: `make test-slow` runs it")
        for item in items:
            if item.get_closest_marker("exact"):
                item.add_marker(apart)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory, worker_id):
    """Let the tests, and the commands that they start, share what they compile.

    Most of a tiny run's time is compilation. A developer who sets
    JAX_COMPILATION_CACHE_DIR keeps the compiled programs for the next run.
    """
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # Of both processes.
    kept = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    settings = {
        "jax_compilation_cache_dir": kept or str(folder / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_go():
    """Forget compiled programs, which are on disk, before a process holds gigabytes."""
    yield
    held = pathlib.Path("/proc/self/statm")  # Of Linux alone.
    pages = int(held.read_text().split()[1]) if held.exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > _MOST_MEMORY:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory):
    """Return a folder with simulated/l1_tiny in it, built by two processes."""
    data_dir = tmp_path_factory.mktemp("datasets")
    prepare_tiny(data_dir, processes=2)
    return data_dir


@pytest.fixture(scope="session")
def tiny_path(tiny_data_dir):
    return tiny_data_dir / "simulated" / "l1_tiny" / "1.0.0"


@pytest.fixture(scope="session")
def shared_audio():
    if not SHARED_AUDIO.is_dir():
        pytest.skip("needs ../shared/audio")
    return SHARED_AUDIO


def decibels(actual, expected):
    """Return the energy of the difference below that of what is expected, in dB."""
    wide = np.result_type(actual, expected, np.float64)
    actual, expected = np.asarray(actual, wide), np.asarray(expected, wide)
    error = max((np.abs(actual - expected) ** 2).sum(), 1e-30)
    return 10 * np.log10(error / (np.abs(expected) ** 2).sum())


def tiny_settings(data_dir, **overrides):
    """Return settings of a run of seconds on the tiny data set, to be resolved."""
    from uld_jax import config as config_lib

    config = config_lib.default()
    config.update_from_flattened_dict(
        {
            "data.name": "simulated/l1_tiny:1.0.0",
            "data.dir": str(data_dir),
            "data.speech": "builtin",
            "model.width": 4,
            "model.num_blocks": 1,
            "train.batch_size": 8,
            "train.epochs": 2,
            **overrides,
        }
    )
    return config


def tiny_config(data_dir, **overrides):
    """Return the same settings, resolved."""
    from uld_jax import config as config_lib

    return config_lib.resolve(tiny_settings(data_dir, **overrides))
