"""Training and evaluation are lowered for accelerators that are not at hand."""

import jax
import pytest
import tiny_networks
from tiny_networks import ADAMW, LABEL, TINY

from uld_jax.evaluation import evaluate
from uld_jax.training import step as step_lib


def shapes_of(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", TINY)
def test_a_training_step_is_lowered_for_tpu_and_cuda(kind, dtype):
    graph, state = tiny_networks.network(kind, dtype=dtype)
    step = step_lib.make_train_step(graph, ADAMW, LABEL, seed=0)
    batch = tiny_networks.batch(kind, 2)
    lowered = jax.export.export(step, platforms=("tpu", "cuda"))(
        shapes_of(state), shapes_of(batch)
    )
    assert lowered.platforms == ("tpu", "cuda")
    assert len(lowered.out_avals) == len(jax.tree.leaves(state))


@pytest.mark.parametrize("kind", TINY)
def test_an_evaluation_step_is_lowered_for_tpu_and_cuda(kind):
    graph, state = tiny_networks.network(kind)
    step = evaluate.make_eval_step(graph, LABEL)
    lowered = jax.export.export(step, platforms=("tpu", "cuda"))(
        *shapes_of((state.params, state.statistics, tiny_networks.batch(kind, 2)))
    )
    assert lowered.platforms == ("tpu", "cuda")


def test_what_an_accelerator_cannot_do_is_not_lowered():
    """The export does not accept everything."""

    @jax.jit
    def eigenvalues(matrix):
        return jax.numpy.linalg.eigvals(matrix)

    shape = jax.ShapeDtypeStruct((2, 2), jax.numpy.float32)
    with pytest.raises(NotImplementedError, match="tpu"):
        jax.export.export(eigenvalues, platforms=("tpu",))(shape)
