"""Training: one jitted step, epochs, checkpoints, the record (Sec. 3.3)."""

import dataclasses
import datetime
import functools
import json
import math
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorboardX
from flax import nnx

from uld_jax import (
    checkpoints,
    evaluate,
    input_pipeline,
    models,
    objective,
    optimizer,
    progress,
    records,
    schemes,
)
from uld_jax import config as config_lib

SETTINGS_FILE = "settings.json"
PREDICTIONS_FILE = "predictions.npz"

_STEPS_BETWEEN_SYNCS = 20
_SHOWN_EXAMPLES = 8


class RunConflictError(ValueError):
    """A working folder that holds another run."""


class Stopped(Exception):
    """A run that ended before it was done, with its state saved."""


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


def _no_sums() -> dict[str, jax.Array]:
    return {key: jnp.zeros(()) for key in ("loss", "kl", "grad_norm")}


def init_state(
    model: nnx.Module, adamw: optax.GradientTransformation
) -> tuple[nnx.GraphDef, TrainState]:
    """Return a network's graph and the state before the first step."""
    graph, params, statistics = nnx.split(model, nnx.Param, ...)
    params, statistics = nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
    state = TrainState(
        jnp.zeros((), jnp.int32), params, statistics, adamw.init(params), _no_sums()
    )
    return graph, state


def make_train_step(
    graph: nnx.GraphDef,
    adamw: optax.GradientTransformation,
    label: schemes.Label,
    seed: int,
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
            loss, kl = objective.losses(label, logits, batch)
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


class _StopFlag:
    """Notes the signals to stop, and the deadline, without breaking a step."""

    def __init__(self, seconds: float | None):
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._signal = None

    def __enter__(self):
        def note(number, _):
            # A second signal ends the process as it would have.
            self._signal = signal.Signals(number).name
            self._restore()

        self._old = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, note)
        return self

    def _restore(self):
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def __exit__(self, *_):
        self._restore()

    def reason(self) -> str | None:
        """Return why to stop now, if so."""
        if time.monotonic() > self._deadline:
            return "the time given is up"
        return self._signal and f"{self._signal} received"


@dataclasses.dataclass
class _Run:
    """A run in progress: what the note beside each checkpoint holds."""

    epoch: int = 0
    plateau: optimizer.Plateau = dataclasses.field(default_factory=optimizer.Plateau)
    best_mae: float = math.inf
    best_epoch: int = -1
    epochs: list[dict] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    @classmethod
    def from_note(cls, note: dict) -> "_Run":
        plateau = note["plateau"] | {"best": _number(note["plateau"]["best"])}
        return cls(
            **note
            | {
                "plateau": optimizer.Plateau(**plateau),
                "best_mae": _number(note["best_mae"]),
            }
        )

    def note(self) -> dict:
        note = dataclasses.asdict(self)
        # JSON has no infinity.
        note["best_mae"] = _finite(note["best_mae"])
        note["plateau"]["best"] = _finite(note["plateau"]["best"])
        return note


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.inf if value is None else value


def check_workdir(workdir: str | pathlib.Path, settings: dict) -> None:
    """Raise if a folder holds a run with other settings.

    Raises:
        RunConflictError: With the differences, key by key.
    """
    path = pathlib.Path(workdir) / SETTINGS_FILE
    if not path.exists():
        return
    lines = config_lib.differences(json.loads(path.read_text()), settings)
    if lines:
        raise RunConflictError(
            f"{str(workdir)!r} holds a run with other settings:\n  "
            + "\n  ".join(lines)
            + "\nGive the old settings to go on with it, or another --workdir."
        )


def train_and_evaluate(
    config, workdir: str | pathlib.Path, seconds: float | None = None
) -> dict:
    """Train a network, test the best one, and return the run's record.

    A folder with an unfinished run of the same settings is gone on with: same
    parameters and record as without the break. A finished one is returned.

    Args:
        config: Settings, as `config.resolve` returns them.
        workdir: Folder for checkpoints, record, predictions and TensorBoard.
        seconds: Stop after so much time with the state saved.

    Raises:
        Stopped: If the time was up or a signal to stop came; the state is saved.
        RunConflictError: If the folder holds a run with other settings.
        input_pipeline.DatasetError: If the data set cannot be used.
    """
    workdir = pathlib.Path(workdir)
    settings = config_lib.to_dict(config)
    check_workdir(workdir, settings)
    record_path = workdir / records.FILE_NAME
    if record_path.exists():
        record = json.loads(record_path.read_text())
        if record["status"] != "running":
            progress.say(f"{workdir}: this run is {record['status']} already")
            return record

    label = schemes.Label(config.label.scheme, config.label.resolution)
    data_path = input_pipeline.dataset_path(config.data.name, config.data.dir)
    splits = {
        name: input_pipeline.Split(data_path, name)
        for name in ("train", "validation", "test")
    }
    order = functools.partial(
        input_pipeline.epoch_order,
        len(splits["train"]),
        config.train.batch_size,
        seed=config.seed,
    )
    order(epoch=0)  # Raises if there is no whole batch.
    model = models.build(
        config.model.name,
        num_nodes=splits["train"].shape[0],
        num_sources=1,
        outputs_per_axis=label.outputs_per_axis,
        num_channels=label.num_channels,
        rngs=nnx.Rngs(config.seed),
        **{k: v for k, v in settings["model"].items() if k != "name"},
    )
    adamw = optimizer.adamw(config.train.learning_rate, config.train.weight_decay)
    graph, state = init_state(model, adamw)
    data = {
        name: input_pipeline.open_data(split, config.data)
        for name, split in splits.items()
    }

    workdir.mkdir(parents=True, exist_ok=True)
    records.write_json(workdir / SETTINGS_FILE, settings)
    eval_step = evaluate.make_eval_step(graph, label)

    def evaluate_split(name, params, statistics):
        size = len(data[name])
        batch_size = min(config.train.batch_size, size)
        return evaluate.evaluate(
            eval_step,
            params,
            statistics,
            data[name].batches(input_pipeline.in_order(size, batch_size)),
            size,
            f"Evaluating {name}",
        )

    with (
        checkpoints.Checkpoints(workdir) as saved,
        _StopFlag(seconds) as stop_flag,
        tensorboardX.SummaryWriter(str(workdir / "tensorboard")) as board,
    ):
        run = _Run()
        if restored := saved.restore("last", checkpoint_items(state)):
            items, note = restored
            counts = items.pop("counts")
            state, run = TrainState(**items, **counts), _Run.from_note(note)
            progress.say(f"{workdir}: going on at epoch {run.epoch + 1}")

        def write_record(status: str, test: dict | None = None) -> dict:
            record = {
                "status": status,
                "settings": settings,
                "seed": config.seed,
                "data": input_pipeline.describe(data_path),
                "network": {
                    "parameters": sum(x.size for x in jax.tree.leaves(state.params))
                },
                "best_epoch": run.best_epoch + 1,
                "epochs": run.epochs,
                "test": test,
                "times": _times(run, len(order(epoch=0)) * config.train.batch_size),
                **_environment(),
            }
            records.write_json(record_path, record)
            return record

        write_record("running")
        train_step = make_train_step(graph, adamw, label, config.seed)
        while run.epoch < config.train.epochs and not run.plateau.stops(
            config.train.stop_patience
        ):
            state = _train_epoch(
                config,
                order(epoch=run.epoch),
                data["train"],
                train_step,
                state,
                run,
                saved,
                stop_flag,
            )
            if not math.isfinite(float(state.sums["loss"])):
                record = write_record("diverged")
                progress.say(f"{workdir}: the training loss is no longer finite")
                return record
            state = _end_epoch(
                config, evaluate_split, state, len(order(epoch=0)), run, saved
            )
            _write_board(board, run.epochs[-1], int(state.step))
            write_record("running")
            _check_stop(stop_flag, saved, state, run)

        best, _ = saved.restore(
            "best", {"params": state.params, "statistics": state.statistics}
        )
        result = evaluate_split("test", best["params"], best["statistics"])
        _write_predictions(workdir, config, label, graph, best, data["test"], result)
        test = result.metrics | {"loss": result.loss, "kl": result.kl}
        return write_record("done", test)


def checkpoint_items(state: TrainState) -> dict:
    """Return a state as the items of a checkpoint, which are never single arrays."""
    items = state._asdict()
    return items | {"counts": {key: items.pop(key) for key in ("step", "sums")}}


def _check_stop(stop_flag, saved, state, run) -> None:
    """Save and raise if it is time to stop."""
    if reason := stop_flag.reason():
        saved.save("last", int(state.step), checkpoint_items(state), run.note())
        raise Stopped(reason)


def _train_epoch(
    config, order, data, train_step, state, run, saved, stop_flag
) -> TrainState:
    """Return the state after the rest of an epoch, from the state's step on."""
    num_steps = len(order)
    first = int(state.step) - run.epoch * num_steps
    title = f"Epoch {run.epoch + 1} of {config.train.epochs}"
    started, before = time.monotonic(), run.epoch_seconds
    batch_size = config.train.batch_size
    with progress.Progress(
        title, num_steps * batch_size, "examples", done=first * batch_size
    ) as bar:
        for step, batch in enumerate(data.batches(order, first), start=first + 1):
            state = train_step(state, batch)
            note = ""
            if step % _STEPS_BETWEEN_SYNCS == 0 or step == num_steps:
                note = f"loss {float(state.sums['loss']) / step:.3f}"
            bar.update(batch_size, note)
            run.epoch_seconds = before + time.monotonic() - started
            if step < num_steps:
                _check_stop(stop_flag, saved, state, run)
                if step % config.train.checkpoint_steps == 0:
                    saved.save(
                        "last", int(state.step), checkpoint_items(state), run.note()
                    )
    return state


def _end_epoch(config, evaluate_split, state, num_steps, run, saved) -> TrainState:
    """Validate, note the epoch, save, and return the state of the next epoch."""
    started = time.monotonic()
    means = {key: float(value) / num_steps for key, value in state.sums.items()}
    validation = evaluate_split("validation", state.params, state.statistics)
    rate = float(state.opt_state.hyperparams["learning_rate"])
    run.plateau = run.plateau.update(validation.loss, config.train.plateau_patience)
    training_seconds = run.epoch_seconds
    run.seconds += training_seconds + time.monotonic() - started
    run.epochs.append(
        {
            "epoch": run.epoch + 1,
            "learning_rate": rate,
            "train": means,
            "validation": {
                "loss": validation.loss,
                "kl": validation.kl,
                **validation.metrics,
            },
            "seconds": training_seconds,
        }
    )
    progress.say(
        f"Epoch {run.epoch + 1}: loss {means['loss']:.3f}, validation loss "
        f"{validation.loss:.3f} ({validation.kl:.3f} above its floor), ACC "
        f"{100 * validation.metrics['accuracy']:.1f} %, MAE "
        f"{validation.metrics['mae']:.3f} m; rate {rate:.0e}, {training_seconds:.1f} s"
    )
    if run.plateau.lowered:
        state = state._replace(
            opt_state=optimizer.with_learning_rate(
                state.opt_state,
                config.train.learning_rate * config.train.plateau_factor,
            )
        )
    run.epoch += 1
    run.epoch_seconds = 0.0
    if validation.metrics["mae"] < run.best_mae:
        run.best_mae, run.best_epoch = validation.metrics["mae"], run.epoch - 1
        best = {"params": state.params, "statistics": state.statistics}
        saved.save("best", int(state.step), best, {"epoch": run.epoch})
    state = state._replace(sums=_no_sums())
    saved.save("last", int(state.step), checkpoint_items(state), run.note())
    return state


def _write_board(board, epoch: dict, step: int) -> None:
    board.add_scalar("learning_rate", epoch["learning_rate"], step)
    for split in ("train", "validation"):
        for key, value in epoch[split].items():
            board.add_scalar(f"{split}/{key}", value, step)
    board.flush()


def _write_predictions(workdir, config, label, graph, best, data, result) -> None:
    """Write test positions, predictions and a few distributions, for figures."""
    size = min(_SHOWN_EXAMPLES, len(data))
    batch = next(data.batches(input_pipeline.in_order(size, size)))
    planes = evaluate.distributions(
        graph, label, best["params"], best["statistics"], batch
    )
    np.savez_compressed(
        workdir / PREDICTIONS_FILE,
        positions=result.positions,
        predicted=result.predicted,
        planes=planes,
        node_positions=np.asarray(batch["node_positions"]),
        room_size=np.asarray(batch["room_size"]),
    )


def _times(run: _Run, examples_per_epoch: int) -> dict:
    training = sum(epoch["seconds"] for epoch in run.epochs)
    # The first epoch also compiles.
    later = [epoch["seconds"] for epoch in run.epochs[1:]]
    return {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "training_seconds": training,
        "examples_per_second": (
            examples_per_epoch * len(later) / sum(later) if later else None
        ),
    }


def _environment() -> dict:
    environment = records.environment()
    devices = jax.devices()
    environment["hardware"] |= {
        "backend": devices[0].platform,
        "devices": [device.device_kind for device in devices],
    }
    return environment
