"""Training and evaluation steps of several runs in one program.

The runs differ in seed and, where the network allows it, in resolution. A group has
one network, that of the largest resolution, and parameters stacked on a first axis and
padded (`padding`). The network is vectorized over the runs; what is longer or shorter by
resolution, codes and losses, stands one after the other.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from uld_jax import evaluate, objective, schemes, training_step


@dataclasses.dataclass(frozen=True)
class Group:
    """What tells the runs of a group apart.

    Attributes:
        labels: Scheme and resolution of each run.
        seeds: Seed of each; those of one seed stand together.
    """

    labels: tuple[schemes.Label, ...]
    seeds: tuple[int, ...]

    @property
    def distinct_seeds(self) -> list[int]:
        """The seeds, each once: runs of one seed see the same batches."""
        return list(dict.fromkeys(self.seeds))

    @property
    def batch_of(self) -> list[int]:
        """The number of each run's batch, that of its seed."""
        return [self.distinct_seeds.index(seed) for seed in self.seeds]


def make_train_step(
    graph: nnx.GraphDef,
    adamw: optax.GradientTransformation,
    group: Group,
    permutation_invariant: bool = True,
) -> Callable:
    """Return a jitted function of the stacked states and a batch for each seed.

    It does for each run what `training_step.make_train_step` does: loss, gradient,
    update, each skipped for itself. The states are donated.

    Args:
        graph: Graph of the network of the largest resolution.
        adamw: Optimizer; rates are in the states.
        group: The runs.
        permutation_invariant: See `objective.losses`.
    """
    labels, batch_of = group.labels, group.batch_of

    def one_network(params, statistics, codes, key, spectra, mask):
        model = nnx.merge(graph, params, statistics)
        model.train()
        logits = model(spectra, codes, mask, rngs=nnx.Rngs(dropout=key))
        _, _, statistics = nnx.split(model, nnx.Param, ...)
        return logits, nnx.to_pure_dict(statistics)

    def train_step(state, batches):
        keys = jax.vmap(training_step.dropout_key)(jnp.array(group.seeds), state.step)
        batch_of_run = [batches[number] for number in batch_of]
        heard = _stacked([objective.heard(batch) for batch in batches])
        codes = _codes(labels, batch_of_run)

        def total_loss(params):
            own = params, state.statistics, codes, keys
            logits, statistics = _over_runs(one_network, batch_of, own, heard)
            pairs = [
                objective.losses(label, one, batch, permutation_invariant)
                for label, one, batch in zip(
                    labels, _cut(labels, logits), batch_of_run, strict=True
                )
            ]
            loss = jnp.stack([loss.mean() for loss, _ in pairs])
            kl = jnp.stack([kl.mean() for _, kl in pairs])
            # Of the sum each run's parameters have the gradient of its own loss.
            return loss.sum(), (loss, kl, statistics)

        (_, (loss, kl, statistics)), grads = jax.value_and_grad(
            total_loss, has_aux=True
        )(state.params)
        update = functools.partial(training_step.apply_gradient, adamw, True)
        return jax.vmap(update)(state, grads, statistics, loss, kl)

    return jax.jit(train_step, donate_argnames="state")


def make_eval_step(
    graph: nnx.GraphDef, group: Group, permutation_invariant: bool = True
) -> Callable:
    """Return a jitted function (params, statistics, batch) to each run's results.

    Args:
        graph: Graph of the network of the largest resolution.
        group: The runs; all hear the same batch.
        permutation_invariant: See `objective.losses`.
    """

    def some_rows(params, statistics, batch):
        return [
            evaluate.judge_logits(label, logits, batch, permutation_invariant)
            for label, logits in zip(
                group.labels,
                _logits(graph, group.labels, params, statistics, batch),
                strict=True,
            )
        ]

    def eval_step(params, statistics, batch):
        judge_rows = functools.partial(some_rows, params, statistics)
        return evaluate.in_groups(judge_rows, batch)

    return jax.jit(eval_step)


def distributions(
    graph: nnx.GraphDef, group: Group, params: dict, statistics: dict, batch: dict
) -> list[np.ndarray]:
    """Return each run's predicted planes [B, S, K, K] of a batch, rows y."""

    @jax.jit
    def planes(params, statistics, batch):
        return [
            jax.vmap(jax.vmap(lambda one, label=label: label.plane(label.scores(one))))(
                logits
            )
            for label, logits in zip(
                group.labels,
                _logits(graph, group.labels, params, statistics, batch),
                strict=True,
            )
        ]

    return [np.asarray(one) for one in planes(params, statistics, batch)]


def _logits(graph, labels, params, statistics, batch) -> list[Float[Array, "B S D"]]:
    """Return what each network says of a batch, all of the same one."""

    def one_network(params, statistics, codes, spectra, mask):
        model = nnx.merge(graph, params, statistics)
        model.eval()
        return model(spectra, codes, mask)

    own = params, statistics, _codes(labels, [batch] * len(labels))
    heard = _stacked([objective.heard(batch)])
    return _cut(labels, _over_runs(one_network, [0] * len(labels), own, heard))


def _codes(labels, batches) -> Float[Array, "R B M D"]:
    """Return the codes of nodes for each run, padded to the longest."""
    made = {}
    for label, batch in zip(labels, batches, strict=True):
        if (label, id(batch)) not in made:
            made[label, id(batch)] = objective.node_codes(label, batch)
    longest = max(label.num_outputs for label in labels)
    return jnp.stack(
        [
            jnp.pad(
                made[label, id(batch)],
                ((0, 0), (0, 0), (0, longest - label.num_outputs)),
            )
            for label, batch in zip(labels, batches, strict=True)
        ]
    )


def _cut(labels, logits: Float[Array, "R B S D"]) -> list[Float[Array, "B S _"]]:
    """Return the logits of each run that mean anything."""
    return [
        one[..., : label.num_outputs] for label, one in zip(labels, logits, strict=True)
    ]


def _stacked(trees: list):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _over_runs(function: Callable, batch_of: list[int], own: tuple, heard: tuple):
    """Return a function of what each run has and hears, for all runs.

    What several hear is not copied for each, where all seeds have as many runs.

    Args:
        function: Of the parts of `own`, then those of `heard`.
        batch_of: Number in `heard` of what each run hears, ascending.
        own: Stacked by run.
        heard: Stacked by batch.
    """
    num_runs, num_batches = len(batch_of), len(set(batch_of))
    each = num_runs // num_batches
    mine, shared = (0,) * len(own), (None,) * len(heard)
    if num_batches == 1:
        first = jax.tree.map(lambda leaf: leaf[0], heard)
        return jax.vmap(function, (*mine, *shared))(*own, *first)
    if each > 1 and batch_of == [run // each for run in range(num_runs)]:
        by_seed = jax.tree.map(
            lambda leaf: leaf.reshape(num_batches, each, *leaf.shape[1:]), own
        )
        results = jax.vmap(jax.vmap(function, (*mine, *shared)))(*by_seed, *heard)
        return jax.tree.map(
            lambda leaf: leaf.reshape(num_runs, *leaf.shape[2:]), results
        )
    if each > 1 or num_runs > num_batches:
        heard = jax.tree.map(lambda leaf: leaf[np.array(batch_of)], heard)
    return jax.vmap(function)(*own, *heard)
