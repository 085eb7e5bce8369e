"""A benchmark for networks and labels: fixed tests in seen and new rooms, by all talkers.

A network of Flax is trained by the training loop, as any experiment; a regressor or a
method is fitted and asked for positions. Each seed has a folder of its own, so that what
is finished is not done again.
"""

import functools
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.datasets import loader, pipeline
from uld_jax.datasets import prepare as prepare_lib
from uld_jax.evaluation import benchmark_scores
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import errors, progress
from uld_jax.storage import atomic, dataset_names, environment, locking, run_folder
from uld_jax.storage import settings as settings_lib
from uld_jax.training import benchmark_entries, train

FILE_NAME = "benchmark.json"
_ENTRY_FILE = "entry.json"
_PREDICTIONS_FILE = "predictions.npz"
_DATA_SETS = "benchmark"  # How their names start.
_FULL_SCALE = 2**15  # Of the signals, which are stored as int16.
_DIGITS = 4  # Of errors in meters.


def settle(
    config: config_lib.ConfigDict, entry: benchmark_entries.Entry, label: str
) -> config_lib.ConfigDict:
    """Set the network and the label of a benchmark's experiment.

    Settings of the data stay; those that another network cannot use are unset.

    Args:
        config: Settings of the experiment, not resolved.
        entry: What takes part.
        label: Name of the label's scheme.

    Returns:
        The settings, resolved.

    Raises:
        BenchmarkError: If the data set is not one of the benchmark, or not fixed.
        config_lib.ConfigError: If a setting cannot be used.
    """
    config = config_lib.copy(config)
    name = dataset_names.DatasetName.parse(config.data.name)
    if name.builder != "simulated" or name.base.split("_")[0] != _DATA_SETS:
        raise benchmark_scores.BenchmarkError(
            f"--config.data.name is {config.data.name!r}, which is not a data set of the "
            "benchmark; pass --config=benchmark:reduced, or benchmark:full"
        )
    if config.data.source == "fresh":
        raise benchmark_scores.BenchmarkError(
            "--config.data.source is 'fresh'; the benchmark's splits are fixed: leave it "
            "out"
        )
    config.label.scheme = label
    if entry.network != config.model.name:
        own = build.NETWORKS.get(entry.network or "")
        if own is not None:
            config.unlock()
            config.model = config_lib.default(own.name).model
            config.lock()
        if own is None or not own.any_nodes:
            config.data.nodes_in_training = None
        if own is None or own.measure is None:
            config.data.update(coloring=0.0, noisier_copies=0)
            config.train.step_shapes = ""
    return config_lib.resolve(config)


def run(
    config: config_lib.ConfigDict,
    entry: benchmark_entries.Entry,
    sources: dict[str, str],
    seeds: Sequence[int],
    workdir: str | pathlib.Path,
    seconds: float | None = None,
    prepare: bool = True,
) -> dict[str, Any]:
    """Run a benchmark, or what is left of it, and write its result.

    Args:
        config: Settings, as `settle` returns them.
        entry: What takes part.
        sources: Hash of the label's file by its place, if it has one.
        seeds: Seeds, one run each.
        workdir: Folder of the runs and of the result, `benchmark.json`.
        seconds: Save and stop after this time.
        prepare: Whether to prepare a missing data set.

    Returns:
        The result: docs/benchmark.md describes it.

    Raises:
        BenchmarkError: If the folder holds another benchmark, the network or the label
            cannot be used, or a position it predicts is not one.
        errors.Failed: If a training diverged or collapsed.
        stopping.Stopped: If the time is up, or a signal to stop came.
    """
    folder = pathlib.Path(workdir).expanduser()
    builder = prepare_lib.find_builder(config.data.name)
    recipe = builder.config.recipe
    network = None
    if entry.network:
        network = benchmark_entries.check_network(
            entry, config, recipe.num_nodes, recipe.num_samples
        )
    facts = _identity(config, entry, sources, seeds)
    _check_folder(folder, facts)
    prepare_lib.ensure_prepared(
        config, allowed=prepare, splits=loader.needed_splits(config)
    )
    deadline = None if seconds is None else time.monotonic() + seconds
    with locking.hold(folder / "lock"):
        atomic.write_json(folder / _ENTRY_FILE, facts)
        runs, began = [], time.monotonic()
        for number, seed in enumerate(seeds, 1):
            progress.log(f"[{number}/{len(seeds)}] {entry.name}, seed {seed}")
            changed = config_lib.copy(config)
            changed.seed = seed
            changed = config_lib.resolve(changed)
            part = folder / f"seed{seed}"
            if entry.network:
                left = None if deadline is None else deadline - time.monotonic()
                record = train.train_and_evaluate(changed, part, left, prepare=False)
                if record["status"] != "done":
                    raise errors.Failed(
                        f"the training of seed {seed} has {record['status']}: "
                        f"{record.get('reason')}"
                    )
            else:
                _fit_and_predict(changed, entry, part)
            runs.append(part / _PREDICTIONS_FILE)
        result = _summarize(config, entry, recipe, runs, seeds)
        result |= {"sources": facts["sources"], "parameters": None}
        if network is not None:
            result["parameters"] = network["parameters"]
        result["seconds"] = round(time.monotonic() - began, 1)
        atomic.write_json(folder / FILE_NAME, result)
    return result


def _identity(config, entry, sources, seeds) -> dict[str, Any]:
    """Collect what two calls of one benchmark have in common."""
    settings = settings_lib.identity(config_lib.to_dict(config))
    settings.pop("seed")
    return {
        "network": entry.name,
        "sources": entry.sources | sources,
        "seeds": list(seeds),
        "settings": settings,
    }


def _check_folder(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Raise unless a folder is free or holds this benchmark."""
    there = atomic.nearest_existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise benchmark_scores.BenchmarkError(
            f"--workdir: {str(there)!r} is not a folder that can be written; name another"
        )
    path = folder / _ENTRY_FILE
    if not path.exists():
        run_folder.RunFolder(folder).check_for_runs()
        return
    before = benchmark_scores.read_object(path)
    changed = errors.describe_changes(
        settings_lib.identity(before), settings_lib.identity(facts)
    )
    if changed:
        raise benchmark_scores.BenchmarkError(
            f"{str(folder)!r} holds another benchmark:\n  "
            + "\n  ".join(changed)
            + "\nName another --workdir, or do as before to resume it."
        )


class _Split:
    """A split for a regressor: see `benchmark_entries.Examples`."""

    def __init__(self, data: loader.RunData, name: str, batch_size: int):
        self._data, self._name, self._batch_size = data, name, batch_size
        self._epoch = 0

    def __len__(self) -> int:
        if self._name == "train":
            return self._data.steps_per_epoch * self._batch_size
        return len(self._data.held_out[self._name])

    def __iter__(self) -> Iterator[benchmark_entries.Batch]:
        if self._name == "train":
            batches = self._data.training_batches(self._epoch, 0)
            self._epoch += 1
            yield from map(_for_regressor, batches)
            return
        split, left = self._data.held_out[self._name], len(self)
        for batch in split.batches(
            pipeline.in_order(left, min(self._batch_size, left))
        ):
            size = min(len(batch["room_size"]), left)
            left -= size
            yield {key: value[:size] for key, value in _for_regressor(batch).items()}


def _for_regressor(batch: dict[str, Any]) -> benchmark_entries.Batch:
    """Convert a batch to NumPy, with signals from -1 to 1."""
    fields = ("node_positions", "source_positions", "room_size")
    found = {key: np.asarray(batch[key], np.float32) for key in fields}
    return {"audio": np.asarray(batch["audio"], np.float32) / _FULL_SCALE} | found


def _fit_and_predict(
    config: config_lib.ConfigDict, entry: benchmark_entries.Entry, folder: pathlib.Path
) -> None:
    """Fit a regressor, predict the test split, and keep the predictions."""
    path = folder / _PREDICTIONS_FILE
    if path.exists():
        progress.log(f"{folder}: done already")
        return
    data = loader.RunData(config, signals=True)
    data.load()
    size = config.train.batch_size
    train_split, validation, test = (
        _Split(data, name, size) for name in ("train", "validation", "test")
    )
    label = schemes.Label(config.label.scheme, config.label.resolution)
    regressor = entry.make()
    regressor.fit(train_split, validation, label, config.seed)
    predicted, positions = [], []
    with progress.Progress("Predicting test", len(test), "examples") as bar:
        for batch in test:
            truth = batch.pop("source_positions")[..., :2]
            found = np.asarray(regressor.predict(batch), np.float32)
            if found.shape != truth.shape or not np.isfinite(found).all():
                raise benchmark_scores.BenchmarkError(
                    f"--network: {entry.name!r} predicts positions of shape "
                    f"{list(found.shape)}; they must be finite, of shape "
                    f"{list(truth.shape)}: (x, y) in meters"
                )
            predicted.append(found)
            positions.append(truth)
            bar.update(len(found))
    facts = data.geometry("test")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replace(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            predicted=np.concatenate(predicted),
            positions=np.concatenate(positions),
            room_size=facts["room_size"],
            node_positions=facts["node_positions"],
        )


def _summarize(config, entry, recipe, runs, seeds) -> dict[str, Any]:
    """Score the predictions of all seeds: the result, but for the last facts."""
    found = []
    for path in runs:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found.append({key: file[key] for key in file.files if key != "planes"})
    facts = found[0]
    positions = facts["positions"]
    errors_of = np.stack(
        [
            np.linalg.norm(one["predicted"] - positions, axis=-1).mean(axis=-1)
            for one in found
        ]
    ).astype(np.float64)
    groups = [recipe.group("test", index) for index in range(len(positions))]
    rooms = benchmark_scores.number_rooms(facts["room_size"], facts["node_positions"])
    label = schemes.Label(config.label.scheme, config.label.resolution)
    lost = _quantization_errors(label, positions[:, 0], facts["room_size"][:, :2])
    chosen = {
        name: [index for index, group in enumerate(groups) if group == name]
        for name in dict.fromkeys(groups)
    }
    return {
        "format": benchmark_scores.FORMAT,
        "network": entry.name,
        "label": {
            "scheme": label.scheme,
            "resolution": label.resolution,
            "quantization_error": float(lost.mean()),
        },
        "data": loader.RunData(config, ("test",), signals=True).origin,
        "settings": settings_lib.without_paths(config_lib.to_dict(config)),
        "seeds": list(seeds),
        "groups": benchmark_scores.summarize(errors_of, groups, rooms),
        "errors": {
            name: errors_of[:, some].round(_DIGITS).tolist()
            for name, some in chosen.items()
        },
        "rooms": {name: rooms[some].tolist() for name, some in chosen.items()},
        **environment.collect(devices_lib.describe()),
    }


def _quantization_errors(
    label: schemes.Label, positions: np.ndarray, room_size: np.ndarray
) -> np.ndarray:
    """Encode and decode true positions: the errors of a network that is always right."""
    scheme = schemes.SCHEMES[label.scheme]

    @jax.jit
    @functools.partial(jax.vmap)
    def decode(position, sides):
        code = scheme.encode(position, sides, label.resolution)
        return scheme.decode(code, sides)

    return np.linalg.norm(np.asarray(decode(positions, room_size)) - positions, axis=-1)
