"""Speed and memory of training steps of an experiment, data on device and on disk.

    python benchmarks/reading.py --config=experiments/l1.py --steps=20

The data set must be prepared. Prints examples per second, the largest memory use,
and the ratio of both ways of reading, measured in one run.
"""

import resource
import time

import jax
from absl import flags

from uld_jax import commands, input_pipeline, models, optimizer, schemes, training_step
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_STEPS = flags.DEFINE_integer("steps", 20, "Steps to measure, after two.", 1)


def _memory() -> str:
    """Return the largest memory use so far, of the process and of the device."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    stats = jax.local_devices()[0].memory_stats() or {}
    device = stats.get("peak_bytes_in_use")
    return f"{host:.2f} GiB on the host" + (
        f", {device / 2**30:.2f} GiB on the device" if device else ""
    )


def _steps_per_second(config, train_step, state, data) -> tuple[float, object]:
    order = input_pipeline.epoch_order(
        len(data), config.train.batch_size, seed=config.seed, epoch=0
    )
    batches = data.batches(order)
    for _ in range(2):  # Compile, and fill the buffers.
        state = train_step(state, next(batches))
    jax.block_until_ready(state)
    started = time.monotonic()
    for _ in range(_STEPS.value):
        state = train_step(state, next(batches))
    jax.block_until_ready(state)
    return _STEPS.value / (time.monotonic() - started), state


def main(_) -> None:
    """Measure both ways of reading, disk first, while nothing is loaded."""
    config = config_lib.resolve(_CONFIG.value)
    label = schemes.Label(config.label.scheme, config.label.resolution)
    path = input_pipeline.dataset_path(config.data.name, config.data.dir)
    split = input_pipeline.Split(path, "train")
    model = models.for_label(
        config_lib.to_dict(config.model),
        label,
        split.num_nodes,
        split.num_sources,
        config.seed,
    )
    adamw = optimizer.adamw(config.train.learning_rate, config.train.weight_decay)
    graph, state = training_step.init_state(model, adamw)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    train_step = training_step.make_train_step(graph, adamw, label, config.seed)
    batch_size = config.train.batch_size
    print(
        f"{config.data.name}, {len(split):,} examples, {label.scheme} at I = "
        f"{label.resolution}, {parameters:,} parameters, batch {batch_size}, "
        f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    disk = input_pipeline.DiskData(
        split,
        prefetch_batches=config.data.prefetch_batches,
        read_threads=config.data.read_threads,
    )
    from_disk, state = _steps_per_second(config, train_step, state, disk)
    print(f"From disk: {from_disk * batch_size:.0f} examples/s, {_memory()}")
    started = time.monotonic()
    device = input_pipeline.DeviceData(split)
    print(f"Loaded onto the device in {time.monotonic() - started:.0f} s")
    from_device, state = _steps_per_second(config, train_step, state, device)
    print(f"On the device: {from_device * batch_size:.0f} examples/s, {_memory()}")
    print(f"On the device / from disk: {from_device / from_disk:.2f}")


if __name__ == "__main__":
    commands.run(main)
