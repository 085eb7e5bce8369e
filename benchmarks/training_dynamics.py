r"""Watch the layers of the paper-like network over its first steps.

    python -m benchmarks.training_dynamics --speech=FOLDER --noise=FOLDER \
        --set train.learning_rate=1e-3 train.warmup_steps=0 --out=FILE.json

Of each layer: norm of its gradient, size of an update relative to its parameters, root
mean square of what it puts out, and the share of that which differs between the
examples of a batch; of the fully connected layers also the share of units that are dead.
Measured every --every steps on one batch of training data. The network is Ad-1's in
width and depth, with frames, nodes and examples that two cores can bear: 200 steps take
80 s on one of them.
"""

import argparse
import ast
import contextlib
import functools
import json
import sys
import time

from benchmarks import report

# Of `ad1:reduced`, unless --set says otherwise.
_SETTINGS = {
    "label.resolution": 16,
    "model.width": 256,
    "model.frames_per_step": 18,
    "model.num_temporal_blocks": 2,
    "data.nodes_in_training": 8,
    "train.batch_size": 16,
}


def main() -> None:
    """Train for some steps, measuring, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", default="builtin", help="folder, or builtin")
    parser.add_argument("--noise", default="builtin", help="folder, or builtin")
    parser.add_argument("--data", default="datasets", help="folder of data sets")
    parser.add_argument("--size", default="reduced", choices=("reduced", "tiny"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--set", nargs="*", default=[], help="settings, as KEY=VALUE")
    options = parser.parse_args()

    import uld_jax
    from uld_jax.datasets import prepare
    from uld_jax.runtime import jax_setup
    from uld_jax.storage import environment

    jax_setup.configure()
    corpora = {"data.speech": options.speech, "data.noise": options.noise}
    changes = _SETTINGS if options.size == "reduced" else {}
    config = uld_jax.load_config(
        f"ad1:{options.size}",
        **corpora,
        **{"data.dir": options.data},
        **(changes | dict(map(_setting, options.set))),
    )
    prepare.ensure_prepared(config)
    measured = list(_measure(config, options.steps, options.every))
    words = [word for word in sys.argv[1:] if not word.startswith("--out=")]
    record = {
        "command": " ".join(["python -m benchmarks.training_dynamics", *words]),
        "settings": dict(map(_setting, options.set)),
        "measured": measured,
        "date": time.strftime("%Y-%m-%d"),
        **environment.collect(),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def _setting(text: str) -> tuple[str, object]:
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def _measure(config, steps: int, every: int):
    """Train, and yield what is measured before every so many steps."""
    import jax

    from uld_jax import config as config_lib
    from uld_jax.datasets import loader
    from uld_jax.labels import schemes
    from uld_jax.networks import build
    from uld_jax.runtime import progress
    from uld_jax.training import optimizer, step

    data = loader.RunData(config)
    data.load()
    label = schemes.Label(config.label.scheme, config.label.resolution)
    model = build.for_label(
        config_lib.to_dict(config.model),
        label,
        data.num_nodes,
        data.num_sources,
        config.seed,
    )
    rules = config.train
    adamw = optimizer.adamw(
        rules.learning_rate, rules.weight_decay, rules.clip_norm, rules.warmup_steps
    )
    graph, state = step.init_state(model, adamw)
    train_step = step.make_train_step(graph, adamw, label, config.seed)
    look = jax.jit(functools.partial(_look, graph, label))
    first = next(data.training_batches(0, 0))
    number = 0
    with progress.Progress("Training", steps, "steps") as bar:
        for epoch in range(-(-steps // data.steps_per_epoch)):
            for batch in data.training_batches(epoch, 0):
                if number == steps:
                    return
                before = None
                if number % every == 0:
                    before = jax.tree.map(lambda array: array.copy(), state.params)
                    found = look(state.params, state.statistics, first)
                state = train_step(state, batch)
                if before is not None:
                    found["updates"] = _by_layer(
                        jax.tree.map(lambda a, b: a - b, state.params, before), before
                    )
                    numbers = jax.tree.map(float, jax.device_get(found))
                    yield {"step": number, **numbers}
                number += 1
                bar.update(1, f"loss {numbers['loss']:.3f}")


def _look(graph, label, params, statistics, batch):
    """Measure gradients and outputs by layer, for one batch, without dropout."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from uld_jax.networks import objective

    network = nnx.merge(graph, params, statistics)
    inputs = objective.inputs_of(network, label, batch)
    num_examples = len(batch["room_size"])

    def mean_loss(params):
        model = nnx.merge(graph, params, statistics)
        model.eval()
        with _watched(model) as outputs:
            logits = model(*inputs)
        loss, _ = objective.losses(label, logits, batch)
        return loss.mean(), outputs

    (loss, outputs), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)

    def spread(x):
        x = x.astype(jnp.float32).reshape(num_examples, -1)
        rms = jnp.sqrt((x**2).mean())
        return {"rms": rms, "spread": jnp.sqrt(((x - x.mean(0)) ** 2).mean()) / rms}

    dead = {
        name: (outputs[name] <= 0).all(axis=tuple(range(outputs[name].ndim - 1))).mean()
        for name in ("first", "second")
        if name in outputs
    }
    return {
        "loss": loss,
        "gradients": _by_layer(grads),
        "outputs": {name: spread(x) for name, x in outputs.items()},
        "dead": dead,
    }


@contextlib.contextmanager
def _watched(model):
    """Note what attention and fully connected layers put out, by name."""
    from flax import nnx

    from uld_jax.networks import ad_hoc, layers

    names = {
        id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)
    }
    outputs, kept = {}, {}

    def noting(call):
        def noted(self, *arguments, **options):
            result = call(self, *arguments, **options)
            name = names.get(id(self), "")
            if isinstance(self, ad_hoc.Attention) or name in _FULLY_CONNECTED:
                outputs[name] = result
            return result

        return noted

    for kind in (ad_hoc.Attention, layers.Linear):
        kept[kind] = kind.__call__
        kind.__call__ = noting(kind.__call__)
    try:
        yield outputs
    finally:
        for kind, call in kept.items():
            kind.__call__ = call


_FULLY_CONNECTED = ("first", "second", "third")


def _by_layer(tree: dict, relative_to: dict | None = None) -> dict:
    """Compute the norms of a tree's layers, or relative to those of another tree."""
    import optax

    def norms(tree):
        found = {}
        for name, part in tree.items():
            inner = name in ("blocks", "temporal_blocks")
            for key, layer in part.items() if inner else [("", part)]:
                found[f"{name}.{key}" if inner else name] = optax.tree.norm(layer)
        return found

    own = norms(tree)
    if relative_to is None:
        return own
    others = norms(relative_to)
    return {name: norm / (others[name] + 1e-12) for name, norm in own.items()}


if __name__ == "__main__":
    main()
