r"""Watch the layers of the paper-like network over its first steps.

    python -m benchmarks.training_dynamics --speech=FOLDER --noise=FOLDER \
        --set train.learning_rate=1e-3 train.warmup_steps=0 train.clip_norm=None \
        --out=FILE.json

Of each layer: norm of its gradient, size of an update relative to its parameters, root
mean square of its output, and the share of that which differs between the examples of a
batch; of the fully connected layers also the share of units that are dead.
Measured every --every steps on one batch of training data; at the end the validation
error. The network and its data are those of `ad1:medium`, at a constant rate: 200 steps
take 80 s on one core.
"""

import argparse
import ast
import contextlib
import functools
import itertools
import json
import sys
import time

from benchmarks import report

_NOTED = ("learning_rate", "warmup_steps", "clip_norm", "batch_size")


def main() -> None:
    """Train for some steps, measuring, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", default="builtin", help="folder, or builtin")
    parser.add_argument("--noise", default="builtin", help="folder, or builtin")
    parser.add_argument("--data", default="datasets", help="folder of data sets")
    parser.add_argument("--size", default="medium", choices=("medium", "tiny"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--set", nargs="*", default=[], help="settings, as KEY=VALUE")
    parser.add_argument(
        "--zero_outputs",
        action="store_true",
        help="begin with zeros in the last layer of each residual branch",
    )
    parser.add_argument("--b2", type=float, default=0.999, help="of AdamW")
    options = parser.parse_args()

    import uld_jax
    from uld_jax.datasets import prepare
    from uld_jax.runtime import jax_setup
    from uld_jax.storage import environment

    jax_setup.configure()
    corpora = {"data.speech": options.speech, "data.noise": options.noise}
    config = uld_jax.load_config(
        f"ad1:{options.size}",
        **corpora,
        **{"data.dir": options.data},
        **dict(map(_setting, options.set)),
    )
    prepare.ensure_prepared(config)
    measured, validation = _measure(config, options)
    # Folders of data and results are places on one machine.
    places = ("--out=", "--data=")
    words = [word for word in sys.argv[1:] if not word.startswith(places)]
    record = {
        "command": " ".join(["python -m benchmarks.training_dynamics", *words]),
        "settings": {
            **{f"train.{key}": config.train[key] for key in _NOTED},
            "label.scheme": config.label.scheme,
            "label.resolution": config.label.resolution,
            "seed": config.seed,
            "zero_outputs": options.zero_outputs,
            "b2": options.b2,
            "steps": options.steps,
        },
        "validation": validation,
        "measured": measured,
        "date": time.strftime("%Y-%m-%d"),
        **environment.collect(),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record) + "\n")


def _setting(text: str) -> tuple[str, object]:
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def _measure(config, options):
    """Train; return what is measured before every so many steps, and validation."""
    import jax

    from uld_jax import config as config_lib
    from uld_jax.datasets import loader
    from uld_jax.labels import schemes
    from uld_jax.networks import build
    from uld_jax.runtime import progress
    from uld_jax.training import step

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
    adamw = _adamw(config.train, options.b2)
    graph, state = step.init_state(model, adamw)
    if options.zero_outputs:
        state = state._replace(params=_with_zero_outputs(state.params))
    train_step = step.make_train_step(graph, adamw, label, config.seed)
    look = jax.jit(functools.partial(_look, graph, label))
    first = next(data.training_batches(0, 0))
    epochs = range(-(-options.steps // data.steps_per_epoch))
    batches = (batch for epoch in epochs for batch in data.training_batches(epoch, 0))
    measured = []
    with progress.Progress("Training", options.steps, "steps") as bar:
        for number, batch in enumerate(itertools.islice(batches, options.steps)):
            if number % options.every:
                state = train_step(state, batch)
            else:
                before = jax.tree.map(lambda array: array.copy(), state.params)
                found = look(state.params, state.statistics, first)
                state = train_step(state, batch)
                found["updates"] = _by_layer(
                    jax.tree.map(lambda a, b: a - b, state.params, before), before
                )
                numbers = jax.tree.map(_short, jax.device_get(found))
                measured.append({"step": number, **numbers})
            bar.update(1, f"loss {numbers['loss']:.3f}")
    return measured, _validate(data, graph, label, state)


def _adamw(rules, b2: float):
    """Make AdamW with warm-up and clipping, after which the rate is constant."""
    import jax.numpy as jnp
    import optax

    def rate(count):
        risen = (count + 1) / max(rules.warmup_steps, 1)
        return rules.learning_rate * jnp.minimum(1.0, risen)

    adamw = optax.adamw(rate, b2=b2, weight_decay=rules.weight_decay)
    if rules.clip_norm is None:
        return adamw
    return optax.chain(optax.clip_by_global_norm(rules.clip_norm), adamw)


def _with_zero_outputs(params: dict) -> dict:
    """Set the last kernel of each residual branch to zero."""
    import jax

    def zero(path, leaf):
        *_, layer, kind = [getattr(key, "key", None) for key in path]
        is_last = kind == "kernel" and layer in ("output", "contract")
        return 0 * leaf if is_last else leaf

    return jax.tree_util.tree_map_with_path(zero, params)


def _validate(data, graph, label, state) -> dict:
    """Compute the loss and the errors on the validation split."""
    from uld_jax.datasets import pipeline
    from uld_jax.evaluation import evaluate

    held_out = data.held_out["validation"]
    eval_step = evaluate.make_eval_step(graph, label)
    result = evaluate.evaluate(
        functools.partial(eval_step, state.params, state.statistics),
        held_out.batches(pipeline.in_order(len(held_out), evaluate.ROWS)),
        len(held_out),
        "Validation",
    )
    return {"loss": result.loss, "kl": result.kl} | result.metrics


def _short(value) -> float:
    """Round to four digits, so that records stay small."""
    return float(f"{float(value):.4g}")


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
