"""The training step: state in, state out, all of it jitted (Sec. 3.3).

A step whose loss or gradient is not finite is skipped: it changes no parameter, and is
noted in the state.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from uld_jax.labels import schemes
from uld_jax.networks import objective
from uld_jax.runtime import devices as devices_lib

MAX_SKIPPED_IN_A_ROW = 3  # With so many a run ends.
# Skipped steps that the state remembers. The loop looks at them every 20 steps.
NOTED_STEPS = 32
# Of each step: mean loss, and above the labels' entropy; norm of the gradient, whether
# clipping shortened it, and norm of the update relative to that of the parameters.
SUMMED = ("loss", "kl", "grad_norm", "clipped", "update_ratio")
LARGEST = "largest_grad_norm"


class TrainState(NamedTuple):
    """All that a step changes, as plain dictionaries of arrays.

    Attributes:
        step: Number of steps done.
        params: Parameters of the network.
        statistics: Its other variables, such as running means.
        opt_state: State of the optimizer, including the learning rate.
        sums: Sums over the applied steps of this epoch, and the `LARGEST` of a key.
        skipped: Skipped steps: the counts `total` and `in_a_row`, and, of the latest,
            the ring buffers `steps`, `losses` and `grad_norms`. The last two hold the
            bits as integers, as --debug_nans would stop at a float NaN.
    """

    step: jax.Array
    params: dict[str, Any]
    statistics: dict[str, Any]
    opt_state: Any
    sums: dict[str, jax.Array]
    skipped: dict[str, jax.Array]


def no_sums() -> dict[str, jax.Array]:
    """Make the sums before the first step of an epoch."""
    return {key: jnp.zeros(()) for key in (*SUMMED, LARGEST, "applied")}


def nothing_skipped() -> dict[str, jax.Array]:
    """Make the notes before the first skipped step."""
    counts = {key: jnp.zeros((), jnp.int32) for key in ("total", "in_a_row")}
    noted = ("steps", "losses", "grad_norms")
    return counts | {key: jnp.zeros(NOTED_STEPS, jnp.int32) for key in noted}


def init_state(
    model: nnx.Module, optimizer: optax.GradientTransformation
) -> tuple[nnx.GraphDef, TrainState]:
    """Split a network into its graph and the state before the first step."""
    graph, params, statistics = nnx.split(model, nnx.Param, ...)
    params, statistics = nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
    state = TrainState(
        jnp.zeros((), jnp.int32),
        params,
        statistics,
        optimizer.init(params),
        no_sums(),
        nothing_skipped(),
    )
    return graph, state


def make_train_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    label: schemes.Label,
    seed: int,
    permutation_invariant: bool = True,
    devices: devices_lib.Devices | None = None,
    clip_norm: float | None = None,
) -> Callable[[TrainState, objective.Batch], TrainState]:
    """Make the training step: STFT, network, loss, gradient and update, jitted.

    The step takes a state, which it donates, and a batch, and returns the next state.
    Its dropout depends on the seed and the step's number alone, so that a resumed run
    equals an unbroken one.

    Args:
        graph: Graph of the network.
        optimizer: Optimizer.
        label: Scheme and resolution.
        seed: Seed of dropout.
        permutation_invariant: See `objective.losses`.
        devices: Devices that share each batch; by default one.
        clip_norm: Norm to which the optimizer shortens gradients, to count them.
    """
    # With --debug_nans, JAX runs a step with a NaN again on the same state, which must
    # not have been donated.
    donated = () if jax.config.jax_debug_nans else ("state",)
    devices = devices or devices_lib.one()
    train_step = _train_step(
        graph, optimizer, label, seed, permutation_invariant, devices, clip_norm
    )
    return devices.jit(train_step, donate_argnames=donated)


def make_train_steps(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    label: schemes.Label,
    seed: int,
    batch_of: Callable[[Any, Any], objective.Batch],
    permutation_invariant: bool = True,
    clip_norm: float | None = None,
) -> Callable[[TrainState, Any, Any, int, int], TrainState]:
    """Make many training steps that are one call of one program.

    The function takes a state, which it donates, what batches are made of, the inputs
    of T steps with a leading axis T, and the numbers of the first step to do and of
    the one after the last. How many steps share a call changes no bit.

    Args:
        graph: Graph of the network.
        optimizer: Optimizer.
        label: Scheme and resolution.
        seed: Seed of dropout.
        batch_of: Makes a batch of what batches are made of and the inputs of a step.
        permutation_invariant: See `objective.losses`.
        clip_norm: See `make_train_step`.
    """
    train_step = _train_step(
        graph, optimizer, label, seed, permutation_invariant, None, clip_norm
    )

    def train_steps(state: TrainState, data, inputs, first, end) -> TrainState:
        def do(number, state):
            now = jax.tree.map(lambda values: values[number], inputs)
            return train_step(state, batch_of(data, now))

        return jax.lax.fori_loop(first, end, do, state)

    return jax.jit(train_steps, donate_argnames="state")


def _train_step(
    graph, optimizer, label, seed, permutation_invariant, devices, clip_norm
) -> Callable[[TrainState, objective.Batch], TrainState]:
    # To find the origin of a NaN, --debug_nans must see it, not a skipped step.
    guarded = not jax.config.jax_debug_nans
    devices = devices or devices_lib.one()

    def train_step(state: TrainState, batch: objective.Batch) -> TrainState:
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)
        network = nnx.merge(graph, state.params, state.statistics)
        inputs = objective.inputs_of(network, label, batch, devices.by_rows)

        def mean_loss(params):
            model = nnx.merge(graph, params, state.statistics)
            model.train()
            logits = model(*inputs, rngs=nnx.Rngs(dropout=dropout_key))
            loss, kl = objective.losses(label, logits, batch, permutation_invariant)
            _, _, statistics = nnx.split(model, nnx.Param, ...)
            return loss.mean(), (kl.mean(), nnx.to_pure_dict(statistics))

        (loss, (kl, statistics)), grads = jax.value_and_grad(mean_loss, has_aux=True)(
            state.params
        )
        new = {"loss": loss, "kl": kl, "grad_norm": optax.tree.norm(grads)}
        finite = jnp.isfinite(loss) & jnp.isfinite(new["grad_norm"]) | (not guarded)
        # After too many in a row nothing is applied any more: the run ends with the
        # same state however late the loop looks.
        applied = finite & (state.skipped["in_a_row"] < MAX_SKIPPED_IN_A_ROW)

        def apply():
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            norm, ratio = new["grad_norm"], _ratio(updates, state.params)
            clipped = norm > (math.inf if clip_norm is None else clip_norm)
            values = new | {"applied": 1.0, "clipped": clipped, "update_ratio": ratio}
            sums = {key: state.sums[key] + value for key, value in values.items()}
            sums[LARGEST] = jnp.maximum(state.sums[LARGEST], norm)
            return params, statistics, opt_state, sums

        def keep():
            return state.params, state.statistics, state.opt_state, state.sums

        after = jax.lax.cond(applied, apply, keep)
        return TrainState(
            state.step + 1, *after, _note(state.skipped, state.step, finite, new)
        )

    return train_step


def _ratio(updates: dict[str, Any], params: dict[str, Any]) -> jax.Array:
    """Compute the norm of an update relative to that of the parameters."""
    tiny = jnp.finfo(jnp.float32).tiny
    return optax.tree.norm(updates) / jnp.maximum(optax.tree.norm(params), tiny)


def _note(
    skipped: dict[str, Any], step: jax.Array, finite: jax.Array, new: dict[str, Any]
) -> dict[str, Any]:
    """Add a step to the notes if it is skipped."""
    over = skipped["in_a_row"] >= MAX_SKIPPED_IN_A_ROW
    place = skipped["total"] % NOTED_STEPS
    bits = functools.partial(jax.lax.bitcast_convert_type, new_dtype=jnp.int32)
    values = {"losses": bits(new["loss"]), "grad_norms": bits(new["grad_norm"])}
    values |= {"steps": step}
    noted = {key: skipped[key].at[place].set(value) for key, value in values.items()}
    noted |= {key: skipped[key] + 1 for key in ("total", "in_a_row")}
    good = skipped | {"in_a_row": jnp.zeros((), jnp.int32)}
    noted = jax.tree.map(functools.partial(jnp.where, finite), good, noted)
    return jax.tree.map(functools.partial(jnp.where, over), skipped, noted)


def to_items(state: TrainState) -> dict[str, Any]:
    """Convert a state to the items of a checkpoint; Orbax wants trees, not arrays."""
    items = state._asdict()
    counts = {key: items.pop(key) for key in ("step", "sums", "skipped")}
    return items | {"counts": counts}


def from_items(items: dict[str, Any]) -> TrainState:
    """Convert a checkpoint's items to a state: the inverse of `to_items`."""
    return TrainState(
        **{key: item for key, item in items.items() if key != "counts"},
        **items["counts"],
    )
