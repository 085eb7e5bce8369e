"""What else a training step could be, each against the step as it is, by turns.

    python benchmarks/variants.py --small --out=docs/variants_cpu.md
    python benchmarks/variants.py --out=$OUT/variants_gpu.md         # With a GPU.

Some were tried and dropped, some are what stood there before; `docs/speed.md` says what
was expected of each and what became of it. Where the table says more than 1, the step as
it is takes less.
"""

import argparse
import contextlib
import ctypes
from collections.abc import Callable, Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import report
import trainings
from flax import nnx

from uld_jax import (
    adhoc,
    dropout,
    encoder_decoder,
    features,
    front_ends,
    grid_convs,
    host_memory,
    linear,
    lstm,
)

_STEPS_AT_ONCE = 10
_ALL = ("l1", "ad1", "ad2")
_WITH_NODES = ("ad1", "ad2")


# --- What is put in the place of what, while a step is compiled ----------------------


def _stft_by_product(signals):
    """Return the STFT by a product with cosines and sines, windowed."""
    frames = features.num_frames(signals.shape[-1])
    margin = [(0, 0)] * (signals.ndim - 1) + [(features.HOP_LENGTH,) * 2]
    padded = jnp.pad(signals, margin, mode="reflect").astype(jnp.float32)
    hops = padded[..., : (frames + 1) * features.HOP_LENGTH]
    hops = hops.reshape(*signals.shape[:-1], frames + 1, features.HOP_LENGTH)
    pairs = jnp.stack([hops[..., :-1, :], hops[..., 1:, :]], axis=-2)
    n = np.arange(features.WINDOW_LENGTH)
    turns = np.outer(n, np.arange(1, features.NUM_BINS + 1)) / features.WINDOW_LENGTH
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / features.WINDOW_LENGTH)
    waves = window[:, None] * np.exp(-2j * np.pi * turns)
    both = np.float32(np.concatenate([waves.real, waves.imag], axis=1))
    flat = pairs.reshape(*signals.shape[:-1], frames, features.WINDOW_LENGTH)
    real, imaginary = jnp.split(flat @ both, 2, axis=-1)
    return jax.lax.complex(real, imaginary)


def _with_powers(spectra):
    real, imaginary = spectra
    floor, exponent = front_ends._FLOOR, (front_ends._COMPRESSION - 1) / 2
    gain = (real**2 + imaginary**2 + floor) ** exponent
    return real * gain, imaginary * gain


def _one_by_one(networks, inputs, dtype):
    half = networks[0].forward_rnn.cell.hidden_features
    zeros = (jnp.zeros((len(inputs), half), dtype),) * 2
    said = [network(inputs, initial_carry=(zeros, zeros)) for network in networks]
    return jnp.stack(said, axis=1)


def _joined(layer, parts):
    return nnx.Linear.__call__(layer, jnp.concatenate(parts, axis=-1))


def _cudnn(q, k, v, mask=None):
    return jax.nn.dot_product_attention(q, k, v, mask=mask, implementation="cudnn")


def _batch_norm(self, x):
    """Return batch normalization as one multiplication and one addition."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    variance = jnp.maximum((x * x).mean(axes) - mean**2, 0)
    gain = jax.lax.rsqrt(variance + self.epsilon) * self.scale[...]
    for kept, now in ((self.mean, mean), (self.var, variance)):
        kept[...] = self.momentum * kept[...] + (1 - self.momentum) * now
    return x * gain + (self.bias[...] - mean * gain)


def _partial_taps(self, x):
    """Return a convolution as a sum of products, its taps not joined."""
    span = self.stride * (self.num_outputs(x.shape[-2]) - 1) + 1
    taps = [x[..., k : k + span : self.stride, :] for k in range(self.kernel)]
    return linear.concatenated(self.linear, tuple(taps))


_PATCHES = {
    "STFT by a matrix product": (_ALL, [(features, "stft", _stft_by_product)]),
    "powers in place of the logarithm": (
        _WITH_NODES,
        [(front_ends, "_compressed", _with_powers)],
    ),
    "front end's pieces joined": (_WITH_NODES, [(linear, "concatenated", _joined)]),
    "the library's dropout": (
        _WITH_NODES,
        [(adhoc.dropout_lib, "Dropout", nnx.Dropout)],
    ),
    "no dropout": (
        _WITH_NODES,
        [(dropout.Dropout, "__call__", lambda self, x, **_: x)],
    ),
    "the library's linear layers": (
        _ALL,
        [(linear.Linear, "__call__", nnx.Linear.__call__)],
    ),
    "LSTMs one by one": (("ad2",), [(lstm, "run", _one_by_one)]),
    "the library's convolutions in the decoder": (
        ("l1",),
        [
            (grid_convs.Conv, "__call__", nnx.Conv.__call__),
            (grid_convs.Doubling, "__call__", nnx.ConvTranspose.__call__),
        ],
    ),
    "batch norm as one multiply-add": (
        ("l1",),
        [(nnx.BatchNorm, "__call__", _batch_norm)],
    ),
    "taps not joined": (
        ("l1",),
        [(encoder_decoder.FrequencyConv, "__call__", _partial_taps)],
    ),
}
_CUDNN = [(jax.nn, "dot_product_attention", _cudnn)]


@contextlib.contextmanager
def _patched(patches: list[tuple]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for place, name, value in patches:
            stack.enter_context(mock.patch.object(place, name, value))
        yield


# --- Steps ------------------------------------------------------------------------


def _training(name: str, small: bool, patches=(), **changes) -> trainings.Training:
    # Of jax's caches, what was traced before must not come back.
    jax.clear_caches()
    with _patched(list(patches)):
        return trainings.Training(name, small, **changes)


def _scanned(training: trainings.Training) -> Callable[[], None]:
    """Return a function that does ten steps in one program, each with its batch."""
    batches = jax.tree.map(
        lambda array: jnp.stack([array] * _STEPS_AT_ONCE), training.batch
    )

    @jax.jit
    def steps(state, batches):
        def one(state, batch):
            return training.function(state, batch), None

        return jax.lax.scan(one, state, batches)[0]

    holder = [jax.tree.map(jnp.array, training.state)]

    def run():
        holder[0] = jax.block_until_ready(steps(holder[0], batches))

    return run


def _fetched(training: trainings.Training) -> Callable[[], None]:
    def run():
        training.step()
        jax.device_get(training.state.sums)

    return run


def _undonated(training: trainings.Training) -> Callable[[], None]:
    step = jax.jit(training.function.__wrapped__)
    holder = [jax.tree.map(jnp.array, training.state)]

    def run():
        holder[0] = jax.block_until_ready(step(holder[0], training.batch))

    return run


def _given_back(training: trainings.Training) -> Callable[[], None]:
    """Return a step with the memory given back after it, as without `host_memory`."""
    mallopt = ctypes.CDLL(None).mallopt

    def run():
        mallopt(-4, 65_536), mallopt(-3, 131_072), mallopt(-1, 131_072)
        try:
            training.step()
        finally:
            host_memory.keep()

    return run


def _as_float(training: trainings.Training) -> Callable[[], None]:
    audio = training.batch["audio"].astype(jnp.float32)
    batch, holder = training.batch | {"audio": audio}, [training.state]

    def run():
        holder[0] = jax.block_until_ready(training.function(holder[0], batch))

    return run


def variants(name: str, small: bool) -> Iterator[tuple[str, Callable, float, int]]:
    """Yield what is tried on a network: its name, a function, and steps in a call."""
    plain = _training(name, small)
    yield "as it is", plain.step, 1
    for title, (networks, patches) in _PATCHES.items():
        if name in networks:
            yield title, _training(name, small, patches).step, 1
    if name in _WITH_NODES:
        with jax.default_prng_impl("unsafe_rbg"):
            yield "random bits of the device's own", _training(name, small).step, 1
    yield "float32 signals on the device", _as_float(_training(name, small)), 1
    yield f"{_STEPS_AT_ONCE} steps a program", _scanned(plain), _STEPS_AT_ONCE
    yield "the state not donated", _undonated(plain), 1
    yield "metrics fetched every step", _fetched(plain), 1
    if jax.default_backend() == "cpu":
        yield "memory given back after each step", _given_back(plain), 1
    bfloat16 = {"dtype": "bfloat16"}
    yield "bfloat16", _training(name, small, **bfloat16).step, 1
    if jax.default_backend() != "cpu":
        chosen = [(linear, "on_cpu", lambda: True)]
        yield "what suits CPUs", _training(name, small, chosen).step, 1
    if jax.default_backend() == "gpu" and name in _WITH_NODES:
        trained = _training(name, small, _CUDNN, **bfloat16)
        yield "bfloat16, attention by cuDNN", trained.step, 1


def _table(name: str, small: bool, turns: int) -> tuple:
    titles, functions, counts = zip(*variants(name, small), strict=True)
    for function in functions:
        function()
    seconds = trainings.by_both_clocks(functions, turns) / counts
    ratios = np.percentile(seconds / seconds[..., :1], (25, 50, 75), axis=1)
    rows = []
    for number, title in enumerate(titles):
        low, middle, high = ratios[:, 0, number]
        rows.append(
            {
                "step": title,
                "ms": 1e3 * float(np.median(seconds[0, :, number])),
                "times as long": f"{middle:.3f} ({low:.3f} to {high:.3f})",
                "processor time": f"{ratios[1, 1, number]:.3f}",
            }
        )
    size = "reduced" if small else "full size"
    note = (
        "Medians over turns of the ratios to the step as it is, with the quartiles; "
        "processor time is less disturbed by other work on the machine."
    )
    return (f"Variants: {name}, {size}.", note, rows)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    trainings.add_flags(parser)
    parser.add_argument("--networks", default=",".join(_ALL), help="by commas")
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    trainings.set_up()
    names = options.networks.split(",")
    tables = [_table(name, options.small, options.turns) for name in names]
    report.write("variants.py", tables, options.out)


if __name__ == "__main__":
    main()
