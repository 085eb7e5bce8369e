"""Records and predictions made by hand, for the tests of tables and figures."""

import copy
import pathlib

import numpy as np

from uld_jax.storage import atomic, records

_RECORD = {
    "status": "done",
    "seed": 0,
    "folder": "runs/a",
    "settings": {
        "seed": 0,
        "label": {"scheme": "uld", "resolution": 5, "outputs_per_axis": 6},
        "model": {"name": "encoder_decoder", "width": 64},
        "data": {
            "name": "simulated/l1:1.0.0",
            "dir": "datasets",
            "engine": "jax",
            "noise_field": "point",
        },
        "train": {"epochs": 3, "permutation_invariant": True},
        "init": {"folder": None, "data": None, "partial": False},
    },
    "data": {
        "name": "simulated/l1:1.0.0",
        "sizes": {"train": 1000, "validation": 200, "test": 300},
        "corpus": {"name": "builtin"},
    },
    "init": None,
    "trained_places": {},
    "network": {"parameters": 12345},
    "best_epoch": 0,
    "epochs": [{}, {}],
    "converged": None,
    "hardware": {"devices": ["cpu"], "processor": "abacus", "cores": 2},
    "times": {"seconds": 120.0},
    "test": {
        "mae": 0.1,
        "accuracy": 0.9,
        "cell_accuracy": 0.8,
        "median": 0.05,
        "rmse": 0.2,
        "p90": 0.3,
        "quantization_error": 0.459,
    },
}


def record(scheme, seed=0, resolution=6, **test):
    """Return a record of a run on L-1."""
    one = copy.deepcopy(_RECORD)
    one["settings"]["label"] |= {"scheme": scheme, "resolution": resolution}
    one["seed"] = one["settings"]["seed"] = seed
    one["test"] |= test
    one["folder"] = f"runs/{scheme}_I{resolution}_seed{seed}"
    return one


def room_record(scheme, seed=0, resolution=4, source="prepared", name="ad1", **test):
    """Return a record of a run on Ad-1 or Ad-2, with epochs and their losses."""
    # Near a hat's mean over a cell; what counts is that all runs agree.
    test.setdefault("quantization_error", 2.7 / resolution)
    one = record(scheme, seed, resolution, **test)
    one["settings"]["label"]["outputs_per_axis"] = resolution + (scheme == "uld")
    one["settings"]["data"]["source"] = source
    one["settings"]["train"]["batch_size"] = 32
    ending = {"prepared": "", "compact": "_compact", "fresh": "_held_out"}[source]
    one["settings"]["data"]["name"] = f"simulated/{name}:1.0.0"
    one["data"] |= {
        "name": f"simulated/{name}{ending}:1.0.0",
        "noise": {"name": "hum", "fingerprint": "n"},
    }
    if source == "fresh":
        del one["data"]["sizes"]["train"]
        one["data"]["training"] = {"source": "fresh", "examples_per_epoch": 1000}
    one["folder"] += f"_{source}"
    mae = one["test"]["mae"]
    one["epochs"] = [
        {
            "epoch": k,
            "train": {"loss": 3.0 / k, "kl": 2.0 / k},
            "validation": {"loss": 4.0 / k, "kl": 3.0 / k, "mae": mae + 1.0 / k},
        }
        for k in (1, 2, 3)
    ]
    one["best_epoch"] = 3
    one["converged"] = True
    return one


def baseline_record(method="srp_phat", name="ad1", **test):
    """Return a record of a baseline on Ad-1 or Ad-2."""
    one = room_record("uld", name=name)
    one |= {
        "method": method,
        "settings": {"method": method, "data": one["settings"]["data"]},
        "folder": f"runs/{method}",
        "test": {"mae": 0.01, "median": 0.004, "rmse": 0.02, "p90": 0.03} | test,
    }
    one["test"]["by_resolution"] = {
        str(i): {"cell_accuracy": 1 - i / 100, "quantization_error": 2.7 / i}
        for i in (1, 2, 4, 8, 16, 32)
    }
    of_networks = ("seed", "init", "trained_places", "network")
    for key in (*of_networks, "epochs", "best_epoch", "converged"):
        del one[key]
    return one


def write(folder: pathlib.Path, run, predictions=None, conditions=None):
    """Write a run's files, and its folder into its record."""
    path = folder / pathlib.Path(run["folder"]).name
    path.mkdir(parents=True)
    run["folder"] = str(path)
    atomic.write_json(path / records.FILE_NAME, run)
    if predictions is not None:
        np.savez(path / records.PREDICTIONS_FILE, **predictions)
    if conditions is not None:
        atomic.write_json(path / records.CONDITIONS_FILE, conditions)
    return run


def rooms(n=80, num_sources=1, off=0.3, seed=0):
    """Return predictions in rooms that differ, `off` meters along x from the truth."""
    rng = np.random.default_rng(seed)
    room_size = np.concatenate(
        [rng.uniform(4, 10, (n, 2)), np.full((n, 1), 4.2)], axis=1
    )
    places = rng.uniform(size=(n, num_sources + 6, 2)) * room_size[:, None, :2]
    positions = places[:, :num_sources]
    nodes = np.concatenate([places[:, num_sources:], np.full((n, 6, 1), 0.9)], axis=2)
    return {
        "positions": positions,
        "predicted": positions + np.array([off, 0.0]),
        "room_size": room_size,
        "node_positions": nodes,
        "t60": rng.uniform(0.2, 1.2, n),
        "snr_db": rng.uniform(10, 20, n),
    }


def conditions(mae=0.1, examples=80, num_nodes=30):
    """Make the content of `conditions.json`, with a MAE that depends on the value."""
    values = {
        "none": [0.0],
        "clock_offset": [0.0005, 0.05],
        "position_error": [0.1],
        "num_nodes": [20, 5],
        "snr_db": [-10.0, 20.0],
    }
    found = [
        {"name": name, "value": value, "mae": mae + abs(value) / 1000}
        for name, many in values.items()
        for value in many
    ]
    return {
        "examples": examples,
        "seed": 1,
        "conditions": found,
        "data": {"law": {"num_nodes": num_nodes}},
    }
