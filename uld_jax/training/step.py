"""The training step: state in, state out, all of it jitted (Sec. 3.3).

A step whose loss or gradient is not finite is not applied, but counted and noted.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from uld_jax.labels import schemes
from uld_jax.networks import objective
from uld_jax.runtime import devices as devices_lib

MOST_IN_A_ROW = 3  # Skipped steps, with which a run ends.
NOTED_STEPS = 32  # Skipped steps that are remembered; more than come between two looks.


class TrainState(NamedTuple):
    """Everything that a step changes, as plain dictionaries of arrays.

    Attributes:
        step: Number of steps done.
        params: Parameters of the network.
        statistics: Its other variables, such as running means.
        opt_state: State of the optimizer, the learning rate in it.
        sums: Sums over the applied steps of this epoch.
        skipped: Which steps were not applied: `total` and `in_a_row`, and of the
            latest, as a ring, their `steps`, `losses` and `grad_norms`, these as the
            integers of the same bits: --debug_nans looks for NaN in all there is.
    """

    step: jax.Array
    params: dict
    statistics: dict
    opt_state: Any
    sums: dict[str, jax.Array]
    skipped: dict[str, jax.Array]


def no_sums() -> dict[str, jax.Array]:
    """Return the sums before the first step of an epoch."""
    return {key: jnp.zeros(()) for key in ("loss", "kl", "grad_norm", "applied")}


def nothing_skipped() -> dict[str, jax.Array]:
    """Return what is noted of skipped steps before there is one."""
    counts = {key: jnp.zeros((), jnp.int32) for key in ("total", "in_a_row")}
    noted = ("steps", "losses", "grad_norms")
    return counts | {key: jnp.zeros(NOTED_STEPS, jnp.int32) for key in noted}


def init_state(
    model: nnx.Module, adamw: optax.GradientTransformation
) -> tuple[nnx.GraphDef, TrainState]:
    """Return a network's graph and the state before the first step."""
    graph, params, statistics = nnx.split(model, nnx.Param, ...)
    params, statistics = nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
    state = TrainState(
        jnp.zeros((), jnp.int32),
        params,
        statistics,
        adamw.init(params),
        no_sums(),
        nothing_skipped(),
    )
    return graph, state


def make_train_step(
    graph: nnx.GraphDef,
    adamw: optax.GradientTransformation,
    label: schemes.Label,
    seed: int,
    permutation_invariant: bool = True,
    devices: devices_lib.Devices | None = None,
) -> Callable[[TrainState, objective.Batch], TrainState]:
    """Return the training step: STFT, network, loss, gradient and update, jitted.

    The state is donated. Whatever is random in a step depends on the seed and
    the step's number alone, so that a resumed run equals an unbroken one.

    Args:
        graph: Graph of the network.
        adamw: Optimizer.
        label: Scheme and resolution.
        seed: Of dropout.
        permutation_invariant: See `objective.losses`.
        devices: What a batch is divided among; by default one device.
    """
    # What looks for the origin of a NaN has to see it, and runs a step again with what
    # it was given.
    guarded = not jax.config.jax_debug_nans
    donated = ("state",) if guarded else ()
    devices = devices or devices_lib.one()

    def train_step(state: TrainState, batch: objective.Batch) -> TrainState:
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)
        inputs = objective.network_inputs(label, batch, devices.by_rows)

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
        # Too many in a row end the run, at the same state whenever that is noticed.
        applied = finite & (state.skipped["in_a_row"] < MOST_IN_A_ROW)

        def apply():
            updates, opt_state = adamw.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            values = new | {"applied": 1.0}
            sums = {key: state.sums[key] + value for key, value in values.items()}
            return params, statistics, opt_state, sums

        def keep():
            return state.params, state.statistics, state.opt_state, state.sums

        after = jax.lax.cond(applied, apply, keep)
        return TrainState(
            state.step + 1, *after, _note(state.skipped, state.step, finite, new)
        )

    return devices.jit(train_step, donate_argnames=donated)


def _note(skipped: dict, step: jax.Array, finite: jax.Array, new: dict) -> dict:
    """Return what is noted of skipped steps after one more step."""
    over = skipped["in_a_row"] >= MOST_IN_A_ROW
    place = skipped["total"] % NOTED_STEPS
    bits = functools.partial(jax.lax.bitcast_convert_type, new_dtype=jnp.int32)
    values = {"losses": bits(new["loss"]), "grad_norms": bits(new["grad_norm"])}
    values |= {"steps": step}
    noted = {key: skipped[key].at[place].set(value) for key, value in values.items()}
    noted |= {key: skipped[key] + 1 for key in ("total", "in_a_row")}
    good = skipped | {"in_a_row": jnp.zeros((), jnp.int32)}
    noted = jax.tree.map(functools.partial(jnp.where, finite), good, noted)
    return jax.tree.map(functools.partial(jnp.where, over), skipped, noted)


def to_items(state: TrainState) -> dict:
    """Return a state as the items of a checkpoint, none of them a single array."""
    items = state._asdict()
    counts = {key: items.pop(key) for key in ("step", "sums", "skipped")}
    return items | {"counts": counts}


def from_items(items: dict) -> TrainState:
    """Return the state that `to_items` took apart."""
    return TrainState(
        **{key: item for key, item in items.items() if key != "counts"},
        **items["counts"],
    )
