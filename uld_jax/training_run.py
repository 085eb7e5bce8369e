"""One training run: epochs, checkpoints, the best network's test, the record (Sec. 3.3)."""

import functools
import math
import pathlib
import time

import jax

from uld_jax import (
    checkpoints,
    evaluate,
    features,
    history,
    initialization,
    input_pipeline,
    models,
    optimizer,
    places,
    profiling,
    progress,
    records,
    run_data,
    schemes,
    skipped_steps,
    stopping,
    training_step,
)
from uld_jax import config as config_lib
from uld_jax import devices as devices_lib

_STEPS_BETWEEN_SYNCS = 20
_SHOWN_EXAMPLES = 8


class Run:
    """One training run: its data, its network, its state and its history."""

    def __init__(
        self,
        config: config_lib.ConfigDict,
        workdir: pathlib.Path,
        devices: devices_lib.Devices,
        stop_flag: stopping.StopFlag,
    ):
        self.config, self.workdir = config, workdir
        self.devices, self.stop_flag = devices, stop_flag
        self.history = history.History()
        self.environment = evaluate.environment()
        self.label = schemes.Label(config.label.scheme, config.label.resolution)
        splits = run_data.needed_splits(config)
        self.data = run_data.RunData(config, splits, devices)
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
            self.graph, adamw, self.label, config.seed, invariant, devices
        )
        self.eval_step = evaluate.make_eval_step(
            self.graph, self.label, invariant, devices
        )
        self.skipped = skipped_steps.SkippedSteps(
            workdir if devices.is_first else None,
            config.seed,
            self.data.steps_per_epoch,
            self.data.example_ids,
        )

    def complete(self, saved, board, profiler) -> dict:
        """Train what is left, test, and return the record.

        Args:
            saved: Checkpoints; None in other processes than the first.
            board: TensorBoard's writer.
            profiler: What traces some steps.
        """
        self._tell_network()
        self._restore(saved)
        self._write_record("running")
        try:
            self._train(saved, board, profiler)
        except (skipped_steps.Diverged, FloatingPointError) as error:
            if jax.config.jax_debug_nans:  # To be seen where it arises.
                raise
            progress.say(f"{self.workdir}: {error}")
            return self._write_record("diverged", reason=str(error))
        if not self.config.train.epochs and saved:  # It is tested as it is.
            saved.save("best", 0, self._best_items(), {"epoch": 0})
        best = self._best(saved)
        result = self._evaluate("test", **best)
        self._write_predictions(best, result)
        test = result.metrics | {"loss": result.loss, "kl": result.kl}
        room = self.data.origin.get("room")
        test |= places.tell(result, self.trained_places.get(room))
        return self._write_record("done", test)

    def _train(self, saved, board, profiler) -> None:
        """Train the epochs that are left.

        Raises:
            Diverged, FloatingPointError: If the loss, or what the network says, is not
                finite any more.
        """
        rules, so_far = self.config.train, self.history
        while so_far.epoch < rules.epochs and not so_far.plateau.stops(
            rules.stop_patience
        ):
            self._train_epoch(saved, profiler)
            self._end_epoch(saved)
            self._save_last(saved)
            self._write_board(board)
            self._write_record("running")
            self._check_stop(saved, is_saved=True)

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
        items = training_step.to_items(self.state)
        restored = self.devices.by_first(
            lambda: self._last_with_best(saved, items), told=False
        )
        note = self.devices.told_by_first(restored and restored[1])
        if note is not None:
            items = restored[0] if restored else items
            self.history = history.History.from_note(note)
            progress.say(f"{self.workdir}: going on at epoch {self.history.epoch + 1}")
        self.state = self.devices.replicate(training_step.from_items(items))
        self.skipped.begin(jax.device_get(self.state.skipped))

    def _last_with_best(self, saved, items: dict) -> tuple[dict, dict] | None:
        """Return the newest state that is good, as the best one it speaks of is.

        Raises:
            CheckpointError: If there are states and none is.
        """
        restored = saved.restore("last", items)
        newest, *older = saved.steps("last") or [None]
        bad = None
        while restored and (error := self._bad_best(saved, restored[1])):
            bad = bad or error
            if not older:
                raise checkpoints.CheckpointError(
                    f"{bad}\nNo state in {str(self.workdir / 'last')!r} speaks of a good "
                    f"best one: copy {str(self.workdir / 'best')!r} again from where it "
                    "is whole, or train anew in another --workdir"
                )
            newest, *older = older
            restored = saved.restore("last", items, newest)
        if bad:
            progress.say(f"{bad}\nGoing back to last/{newest}, which speaks of another")
        return restored

    def _bad_best(self, saved, note: dict) -> checkpoints.CheckpointError | None:
        """Return what is wrong with the best state that a note speaks of, if so."""
        try:
            if note["best_mae"] is not None:
                saved.restore("best", self._best_items(), note["best_step"])
        except checkpoints.CheckpointError as error:
            return error
        return None

    def _best(self, saved) -> dict:
        """Return the best network, on all devices."""
        like = self._best_items()
        restored = self.devices.by_first(
            lambda: saved.restore("best", like, self.history.best_step), told=False
        )
        return self.devices.replicate(restored[0] if restored else like)

    def _save_last(self, saved) -> None:
        self._look()  # Or what was skipped since the last look would be taken as noted.
        if saved:
            items = training_step.to_items(self.state)
            saved.save("last", int(self.state.step), items, self.history.note())

    def _best_items(self) -> dict:
        return {"params": self.state.params, "statistics": self.state.statistics}

    def _train_epoch(self, saved, profiler: profiling.Profiler) -> None:
        """Do the rest of an epoch, from the state's step on."""
        so_far = self.history
        num_steps, batch_size = self.data.steps_per_epoch, self.config.train.batch_size
        before = so_far.epoch * num_steps
        first = int(self.state.step) - before
        title = f"Epoch {so_far.epoch + 1} of {self.config.train.epochs}"
        started = time.monotonic() - so_far.epoch_seconds
        batches = self.data.training_batches(so_far.epoch, first)
        with progress.Progress(
            title, num_steps * batch_size, "examples", done=first * batch_size
        ) as bar:
            for step, batch in enumerate(batches, start=first + 1):
                with profiler.step(before + step):
                    self.state = self._step(batch, before + step - 1)
                saves = step % self.config.train.checkpoint_steps == 0
                in_step = step % _STEPS_BETWEEN_SYNCS == 0 or step == num_steps
                note = self._look() if in_step else ""
                bar.update(batch_size, note)
                so_far.epoch_seconds = time.monotonic() - started
                if step < num_steps:
                    self._check_stop(saved, in_step=in_step)
                    if saves:
                        self._save_last(saved)

    def _step(self, batch, number: int) -> training_step.TrainState:
        """Return the state after one more step; note the batch if it cannot be done."""
        try:
            return self.train_step(self.state, batch)
        except FloatingPointError:  # By --debug_nans, which tells where.
            self.skipped.note(number, math.nan, math.nan)
            raise

    def _look(self) -> str:
        """Return how the epoch goes; note the steps that were skipped."""
        sums, skipped = jax.device_get((self.state.sums, self.state.skipped))
        self.skipped.look(skipped)
        return f"loss {_mean(sums, 'loss'):.3f}"

    def _check_stop(self, saved, is_saved: bool = False, in_step: bool = True) -> None:
        """Save and raise if it is time to stop.

        Args:
            saved: Checkpoints.
            is_saved: Whether they hold the state already.
            in_step: Whether all processes ask after the same step.
        """
        if self.devices.is_only or in_step:
            reason = self.devices.agree(self.stop_flag.reason())
            if reason:
                if not is_saved:
                    self._save_last(saved)
                if saved:
                    saved.wait()  # The other processes leave after this one.
                raise stopping.Stopped(reason)

    def _evaluate(self, split: str, params, statistics) -> evaluate.Evaluation:
        data = self.data.held_out[split]
        rules = self.config.train
        size = min(rules.evaluation_batch_size or rules.batch_size, len(data))
        size = self.devices.whole(size, evaluate.ROWS)
        order = input_pipeline.in_order(len(data), size)
        return evaluate.evaluate(
            functools.partial(self.eval_step, params, statistics),
            data.batches(order),
            len(data),
            f"Evaluating {split}",
        )

    def _end_epoch(self, saved) -> None:
        """Validate, note the epoch, save the best, and turn to the next epoch."""
        rules, so_far, state = self.config.train, self.history, self.state
        started = time.monotonic()
        sums = {key: float(value) for key, value in state.sums.items()}
        means = {key: _mean(sums, key) for key in sums if key != "applied"}
        means["skipped"] = self.data.steps_per_epoch - int(sums["applied"])
        validation = self._evaluate("validation", **self._best_items())
        rate = float(state.opt_state.hyperparams["learning_rate"])
        seconds = so_far.epoch_seconds
        so_far.epoch += 1
        so_far.epoch_seconds = 0.0
        so_far.seconds += seconds + time.monotonic() - started
        so_far.epochs.append(
            {
                "epoch": so_far.epoch,
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
            f"Epoch {so_far.epoch}: loss {means['loss']:.3f}, validation loss "
            f"{validation.loss:.3f} ({validation.kl:.3f} above its floor), ACC "
            f"{100 * validation.metrics['accuracy']:.1f} %, MAE {mae:.3f} m; "
            f"rate {rate:.2g}, {seconds:.1f} s"
        )
        so_far.plateau = so_far.plateau.update(validation.loss, rules.plateau_patience)
        factor = optimizer.rate_factor(
            rules.schedule,
            so_far.epoch,
            rules.epochs,
            so_far.plateau.lowered,
            rules.plateau_factor,
        )
        opt_state = optimizer.with_learning_rate(state.opt_state, self.rate * factor)
        if so_far.best_mae is None or mae < so_far.best_mae:
            so_far.best_mae, so_far.best_epoch = mae, so_far.epoch
            so_far.best_step = int(state.step)
            note = {"epoch": so_far.epoch}
            if saved:
                saved.save("best", so_far.best_step, self._best_items(), note)
        hyperparams, sums = self.devices.replicate(
            (opt_state.hyperparams, training_step.no_sums())
        )
        opt_state = opt_state._replace(hyperparams=hyperparams)
        self.state = state._replace(opt_state=opt_state, sums=sums)

    def _write_board(self, board) -> None:
        epoch, step = self.history.epochs[-1], int(self.state.step)
        board.add_scalar("learning_rate", epoch["learning_rate"], step)
        for split in ("train", "validation"):
            for key, value in epoch[split].items():
                board.add_scalar(f"{split}/{key}", value, step)
        board.flush()

    def _write_record(
        self, status: str, test: dict | None = None, reason: str | None = None
    ) -> dict:
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
            "converged": self.history.converged(self.label.outputs_per_axis**2),
            "reason": reason,
            **self.environment,
        }
        if self.devices.is_first:
            records.write_json(self.workdir / records.FILE_NAME, record)
        return record

    def _write_predictions(self, best: dict, result: evaluate.Evaluation) -> None:
        """Write test positions, predictions and a few distributions, for figures."""
        data = self.data.held_out["test"]
        shown = min(_SHOWN_EXAMPLES, len(data))
        order = input_pipeline.in_order(shown, self.devices.whole(shown))
        planes = evaluate.distributions(
            self.graph,
            self.label,
            batch=next(data.batches(order)),
            devices=self.devices,
            **best,
        )
        if self.devices.is_first:
            facts = self.data.facts("test")
            evaluate.write_predictions(
                self.workdir, result, facts, planes=planes[:shown]
            )


def _mean(sums: dict, key: str) -> float:
    """Return a mean over the applied steps of an epoch; NaN without any."""
    return float(sums[key]) / float(sums["applied"]) if sums["applied"] else math.nan
