"""The training step: state in, state out, all of it jitted (Sec. 3.3)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from uld_jax import objective, schemes


class TrainState(NamedTuple):
    """Everything that a step changes, as plain dictionaries of arrays.

    Attributes:
        step: Number of steps done.
        params: Parameters of the network.
        statistics: Its other variables, such as running means.
        opt_state: State of the optimizer, the learning rate in it.
        sums: Sums over the steps of this epoch.
    """

    step: jax.Array
    params: dict
    statistics: dict
    opt_state: Any
    sums: dict[str, jax.Array]


def no_sums() -> dict[str, jax.Array]:
    """Return the sums before the first step of an epoch."""
    return {key: jnp.zeros(()) for key in ("loss", "kl", "grad_norm")}


def init_state(
    model: nnx.Module, adamw: optax.GradientTransformation
) -> tuple[nnx.GraphDef, TrainState]:
    """Return a network's graph and the state before the first step."""
    graph, params, statistics = nnx.split(model, nnx.Param, ...)
    params, statistics = nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
    state = TrainState(
        jnp.zeros((), jnp.int32), params, statistics, adamw.init(params), no_sums()
    )
    return graph, state


def make_train_step(
    graph: nnx.GraphDef,
    adamw: optax.GradientTransformation,
    label: schemes.Label,
    seed: int,
    permutation_invariant: bool = True,
) -> Callable[[TrainState, objective.Batch], TrainState]:
    """Return the training step: STFT, network, loss, gradient and update, jitted.

    The state is donated. Whatever is random in a step depends on the seed and
    the step's number alone, so that a resumed run equals an unbroken one.
    """

    @functools.partial(jax.jit, donate_argnames="state")
    def train_step(state: TrainState, batch: objective.Batch) -> TrainState:
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)
        inputs = objective.network_inputs(label, batch)

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
        updates, opt_state = adamw.update(grads, state.opt_state, state.params)
        new = {"loss": loss, "kl": kl, "grad_norm": optax.tree.norm(grads)}
        return TrainState(
            state.step + 1,
            optax.apply_updates(state.params, updates),
            statistics,
            opt_state,
            {key: state.sums[key] + value for key, value in new.items()},
        )

    return train_step


def to_items(state: TrainState) -> dict:
    """Return a state as the items of a checkpoint, none of them a single array."""
    items = state._asdict()
    return items | {"counts": {key: items.pop(key) for key in ("step", "sums")}}


def from_items(items: dict) -> TrainState:
    """Return the state that `to_items` took apart."""
    return TrainState(
        **{key: item for key, item in items.items() if key != "counts"},
        **items["counts"],
    )
