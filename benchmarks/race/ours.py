"""The contestant `uld_jax`: its own training step, on data held on the device."""

import pathlib
from collections.abc import Iterator

import jax
from race import data

from uld_jax import input_pipeline, models, optimizer, schemes, training_step

# What stays in float32 beside bfloat16 is done in TF32 on a GPU, JAX's own choice;
# `theirs.set_precision` makes it PyTorch's.
_MATMULS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}


class _Made(input_pipeline.Split):
    """Examples of the race in the place of a prepared split."""

    def __init__(self, arrays: dict):
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays["audio"])

    def load(self) -> dict:
        return self._arrays


def build(entry: dict) -> tuple:
    """Return the label and the network of an entry, of seed 0."""
    network = dict(entry["network"])
    facts = [network.pop(key) for key in ("resolution", "num_nodes", "num_sources")]
    resolution, num_nodes, num_sources = facts
    if entry["precision"] == "bfloat16":
        network["dtype"] = "bfloat16"
    label = schemes.Label("uld", resolution)
    return label, models.for_label(network, label, num_nodes, num_sources, seed=0)


class Training:
    """A network in training, as the commands train it.

    Args:
        folder: With what `data.save` wrote.
        entry: What is raced: see `run.entry`.
    """

    def __init__(self, folder: pathlib.Path, entry: dict):
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        jax.config.update("jax_default_matmul_precision", _MATMULS[entry["precision"]])
        self._batch_size = entry["batch_size"]
        self._data = input_pipeline.DeviceData(_Made(data.load(folder)))
        label, model = build(entry)
        adamw = optimizer.adamw(entry["learning_rate"], entry["weight_decay"])
        graph, self._state = training_step.init_state(model, adamw)
        self._step = training_step.make_train_step(graph, adamw, label, seed=0)
        self._batches = self._endlessly()

    def _endlessly(self) -> Iterator[dict]:
        epoch = 0
        while True:
            order = input_pipeline.epoch_order(
                len(self._data), self._batch_size, seed=0, epoch=epoch
            )
            yield from self._data.batches(order)
            epoch += 1

    def steps(self, count: int) -> float:
        """Do some steps and return their mean loss, once all is done."""
        before = jax.device_get(self._state.sums) if count else None
        for _ in range(count):
            self._state = self._step(self._state, next(self._batches))
        after = jax.device_get(jax.block_until_ready(self._state).sums)
        return float(after["loss"] - before["loss"]) / count

    def device_names(self) -> tuple[str, str]:
        """Return the platform, "cpu" or "gpu", and the device's name."""
        device = jax.local_devices()[0]
        return device.platform, device.device_kind

    def device_memory(self) -> int | None:
        """Return the most bytes held on the device at once; None if it does not say."""
        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
