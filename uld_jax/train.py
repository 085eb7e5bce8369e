"""Training: epochs, checkpoints, the best network's test, the record (Sec. 3.3)."""

import dataclasses
import datetime
import functools
import math
import pathlib
import time
from collections.abc import Callable

import jax
import tensorboardX

from uld_jax import (
    checkpoints,
    evaluate,
    features,
    initialization,
    input_pipeline,
    locking,
    models,
    optimizer,
    places,
    progress,
    records,
    run_data,
    schemes,
    stopping,
    training_step,
    workdirs,
)
from uld_jax import config as config_lib

_STEPS_BETWEEN_SYNCS = 20
_SHOWN_EXAMPLES = 8


@dataclasses.dataclass
class _History:
    """What is known of a run besides its state; the note beside a checkpoint.

    Attributes:
        epoch: Number of finished epochs.
        plateau: State of the plateau rule.
        best_mae: Least validation MAE so far; None before the first epoch.
        best_epoch: Number of the epoch, from 1, that had it.
        best_step: Step its state was saved under.
        epochs: What the record says of each finished epoch.
        seconds: Time spent on them.
        epoch_seconds: Time spent on the steps of the epoch that is going on.
    """

    epoch: int = 0
    plateau: optimizer.Plateau = dataclasses.field(default_factory=optimizer.Plateau)
    best_mae: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    epochs: list[dict] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    @classmethod
    def from_note(cls, note: dict) -> "_History":
        return cls(**note | {"plateau": optimizer.Plateau(**note["plateau"])})

    def note(self) -> dict:
        return dataclasses.asdict(self)

    def times(self, examples_per_epoch: int) -> dict:
        """Return the record's part on time; the first epoch also compiles."""
        later = [epoch["seconds"] for epoch in self.epochs[1:]]
        return {
            "written": datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            ),
            "seconds": self.seconds,
            "training_seconds": sum(epoch["seconds"] for epoch in self.epochs),
            "examples_per_second": (
                examples_per_epoch * len(later) / sum(later) if later else None
            ),
        }


def train_and_evaluate(
    config: config_lib.ConfigDict,
    workdir: str | pathlib.Path,
    seconds: float | None = None,
) -> dict:
    """Train a network, test the best one, and return the run's record.

    A folder with an unfinished run of the same settings is gone on with: same
    parameters and record as without the break. A finished one is returned.

    Args:
        config: Settings, as `config.resolve` returns them.
        workdir: Folder for checkpoints, record, predictions and TensorBoard.
        seconds: Stop after so much time with the state saved.

    Raises:
        locking.LockedError: If another process runs in the folder.
        stopping.Stopped: If the time was up or a signal to stop came; the state
            is saved.
        workdirs.RunConflictError: If the folder is another run's, or cannot be one.
        input_pipeline.DatasetError: If the data set cannot be used.
    """
    workdir = pathlib.Path(workdir).expanduser()
    settings = config_lib.to_dict(config)
    workdirs.check(workdir, settings)
    if jax.process_count() > 1:
        raise config_lib.ConfigError(
            f"{jax.process_count()} processes started; training runs in one"
        )
    record = workdirs.read_record(workdir)
    if record:
        initialization.check_begun_from(record, config, workdir)
        if record["status"] != "running":
            return record
    # The time limit counts from here: loading and compiling are part of it.
    with stopping.StopFlag(seconds) as stop_flag:
        run = _Run(config, workdir)
        if record and record["data"] != run.data.origin:
            raise workdirs.RunConflictError(
                f"{str(workdir)!r} holds a run on other data: "
                f"{record['data']} -> {run.data.origin}"
            )
        # Only now: what cannot be run leaves no folder behind.
        with locking.hold(workdir / locking.FILE_NAME):
            records.write_json(workdir / workdirs.SETTINGS_FILE, settings)
            with (
                checkpoints.Checkpoints(workdir) as saved,
                tensorboardX.SummaryWriter(str(workdir / "tensorboard")) as board,
            ):
                return run.complete(saved, stop_flag, board)


class _Run:
    """One training run: its data, its network, its state and its history."""

    def __init__(self, config: config_lib.ConfigDict, workdir: pathlib.Path):
        self.config = config
        self.workdir = workdir
        self.history = _History()
        self.environment = evaluate.environment()
        self.label = schemes.Label(config.label.scheme, config.label.resolution)
        self.data = run_data.RunData(config, run_data.needed_splits(config))
        try:
            model = models.for_label(
                config_lib.to_dict(config.model),
                self.label,
                self.data.num_nodes,
                self.data.num_sources,
                config.seed,
            )
        except ValueError as error:
            raise config_lib.ConfigError(f"--config.model: {error}") from None
        self.network = models.overview(
            model,
            self.data.num_nodes,
            features.num_frames(self.data.num_samples),
            self.label.num_outputs,
        )
        rules = config.train
        self.init, self.rate = None, rules.learning_rate
        if config.init.folder is not None:
            self.rate = rules.fine_tuning_rate
        adamw = optimizer.adamw(self.rate, rules.weight_decay)
        self.graph, self.state = training_step.init_state(model, adamw)
        if config.init.folder is not None:
            items, self.init = initialization.load(config, self._best_items())
            self.state = self.state._replace(**items)
        before = (self.init or {}).get("trained_places", {})
        trained_here = config.train.epochs > 0
        self.trained_places = places.trained(before, self.data.origin, trained_here)
        self.data.load()
        invariant = config.train.permutation_invariant
        self.train_step = training_step.make_train_step(
            self.graph, adamw, self.label, config.seed, invariant
        )
        self.eval_step = evaluate.make_eval_step(self.graph, self.label, invariant)

    def complete(self, saved, stop_flag, board) -> dict:
        """Train what is left, test, and return the record."""
        self._tell_network()
        self._restore(saved)
        self._write_record("running")
        save = functools.partial(self._save_last, saved)
        rules, history = self.config.train, self.history
        while history.epoch < rules.epochs and not history.plateau.stops(
            rules.stop_patience
        ):
            self._train_epoch(save, stop_flag)
            if not math.isfinite(float(self.state.sums["loss"])):
                progress.say(f"{self.workdir}: the training loss is no longer finite")
                return self._write_record("diverged")
            try:
                self._end_epoch(saved)
            except FloatingPointError as error:
                progress.say(f"{self.workdir}: {error}")
                return self._write_record("diverged")
            save()
            self._write_board(board)
            self._write_record("running")
            _check_stop(stop_flag, lambda: None)  # It has just been saved.
        if not rules.epochs:  # The network it begins from is tested as it is.
            saved.save("best", 0, self._best_items(), {"epoch": 0})
        best, _ = saved.restore("best", self._best_items(), history.best_step)
        result = self._evaluate("test", **best)
        self._write_predictions(best, result)
        test = result.metrics | {"loss": result.loss, "kl": result.kl}
        room = self.data.origin.get("room")
        test |= places.tell(result, self.trained_places.get(room))
        return self._write_record("done", test)

    def _tell_network(self) -> None:
        """Say how large the network is and what it costs."""
        parts = ", ".join(f"{k} {n:,}" for k, n in self.network["parts"].items())
        flops = self.network["flops"]
        cost = f"; {flops / 1e9:.3g} GFLOP forward an example" if flops else ""
        progress.say(
            f"Network {self.config.model.name}: {self.network['parameters']:,} "
            f"parameters ({parts}){cost}"
        )

    def _restore(self, saved) -> None:
        """Go on from the last checkpoint, if there is one."""
        if restored := saved.restore("last", training_step.to_items(self.state)):
            items, note = restored
            self.state = training_step.from_items(items)
            self.history = _History.from_note(note)
            progress.say(f"{self.workdir}: going on at epoch {self.history.epoch + 1}")

    def _save_last(self, saved) -> None:
        items = training_step.to_items(self.state)
        saved.save("last", int(self.state.step), items, self.history.note())

    def _best_items(self) -> dict:
        return {"params": self.state.params, "statistics": self.state.statistics}

    def _train_epoch(self, save: Callable, stop_flag: stopping.StopFlag) -> None:
        """Do the rest of an epoch, from the state's step on."""
        history = self.history
        num_steps, batch_size = self.data.steps_per_epoch, self.config.train.batch_size
        first = int(self.state.step) - history.epoch * num_steps
        title = f"Epoch {history.epoch + 1} of {self.config.train.epochs}"
        started = time.monotonic() - history.epoch_seconds
        batches = self.data.training_batches(history.epoch, first)
        with progress.Progress(
            title, num_steps * batch_size, "examples", done=first * batch_size
        ) as bar:
            for step, batch in enumerate(batches, start=first + 1):
                self.state = self.train_step(self.state, batch)
                note = ""
                if step % _STEPS_BETWEEN_SYNCS == 0 or step == num_steps:
                    note = f"loss {float(self.state.sums['loss']) / step:.3f}"
                bar.update(batch_size, note)
                history.epoch_seconds = time.monotonic() - started
                if step < num_steps:
                    _check_stop(stop_flag, save)
                    if step % self.config.train.checkpoint_steps == 0:
                        save()

    def _evaluate(self, split: str, params, statistics) -> evaluate.Evaluation:
        data = self.data.held_out[split]
        order = input_pipeline.in_order(
            len(data), min(self.config.train.batch_size, len(data))
        )
        return evaluate.evaluate(
            functools.partial(self.eval_step, params, statistics),
            data.batches(order),
            len(data),
            f"Evaluating {split}",
        )

    def _end_epoch(self, saved) -> None:
        """Validate, note the epoch, save the best, and turn to the next epoch."""
        rules, history, state = self.config.train, self.history, self.state
        started = time.monotonic()
        means = {
            key: float(value) / self.data.steps_per_epoch
            for key, value in state.sums.items()
        }
        validation = self._evaluate("validation", **self._best_items())
        rate = float(state.opt_state.hyperparams["learning_rate"])
        seconds = history.epoch_seconds
        history.epoch += 1
        history.epoch_seconds = 0.0
        history.seconds += seconds + time.monotonic() - started
        history.epochs.append(
            {
                "epoch": history.epoch,
                "learning_rate": rate,
                "train": means,
                "validation": {
                    "loss": validation.loss,
                    "kl": validation.kl,
                    **validation.metrics,
                },
                "seconds": seconds,
            }
        )
        mae = validation.metrics["mae"]
        progress.say(
            f"Epoch {history.epoch}: loss {means['loss']:.3f}, validation loss "
            f"{validation.loss:.3f} ({validation.kl:.3f} above its floor), ACC "
            f"{100 * validation.metrics['accuracy']:.1f} %, MAE {mae:.3f} m; "
            f"rate {rate:.2g}, {seconds:.1f} s"
        )
        history.plateau = history.plateau.update(
            validation.loss, rules.plateau_patience
        )
        factor = optimizer.rate_factor(
            rules.schedule,
            history.epoch,
            rules.epochs,
            history.plateau.lowered,
            rules.plateau_factor,
        )
        opt_state = optimizer.with_learning_rate(state.opt_state, self.rate * factor)
        if history.best_mae is None or mae < history.best_mae:
            history.best_mae, history.best_epoch = mae, history.epoch
            history.best_step = int(state.step)
            note = {"epoch": history.epoch}
            saved.save("best", history.best_step, self._best_items(), note)
        self.state = state._replace(opt_state=opt_state, sums=training_step.no_sums())

    def _write_board(self, board) -> None:
        epoch, step = self.history.epochs[-1], int(self.state.step)
        board.add_scalar("learning_rate", epoch["learning_rate"], step)
        for split in ("train", "validation"):
            for key, value in epoch[split].items():
                board.add_scalar(f"{split}/{key}", value, step)
        board.flush()

    def _write_record(self, status: str, test: dict | None = None) -> dict:
        examples = self.data.steps_per_epoch * self.config.train.batch_size
        record = {
            "status": status,
            "settings": records.without_places(config_lib.to_dict(self.config)),
            "seed": self.config.seed,
            "data": self.data.origin,
            "init": self.init,
            "trained_places": self.trained_places,
            "network": self.network,
            "best_epoch": self.history.best_epoch,
            "epochs": self.history.epochs,
            "test": test,
            "times": self.history.times(examples),
            "converged": self._converged(),
            **self.environment,
        }
        records.write_json(self.workdir / records.FILE_NAME, record)
        return record

    def _converged(self) -> bool | None:
        """Return whether the network does better than chance; None before it is seen.

        The paper does not say when a training "did not converge". We say so of one
        whose best epoch's validation ACC is below twice that of guessing.
        """
        if not self.history.best_epoch:
            return None
        best = self.history.epochs[self.history.best_epoch - 1]
        chance = 1 / self.label.outputs_per_axis**2
        return best["validation"]["accuracy"] >= 2 * chance

    def _write_predictions(self, best: dict, result: evaluate.Evaluation) -> None:
        """Write test positions, predictions and a few distributions, for figures."""
        data = self.data.held_out["test"]
        size = min(_SHOWN_EXAMPLES, len(data))
        batch = next(data.batches(input_pipeline.in_order(size, size)))
        evaluate.write_predictions(
            self.workdir,
            result,
            self.data.facts("test"),
            planes=evaluate.distributions(self.graph, self.label, batch=batch, **best),
        )


def _check_stop(stop_flag: stopping.StopFlag, save: Callable) -> None:
    """Save and raise if it is time to stop."""
    if reason := stop_flag.reason():
        save()
        raise stopping.Stopped(reason)
