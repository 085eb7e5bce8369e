"""One training run: epochs, checkpoints, the best network's test, the record (Sec. 3.3)."""

import math
import pathlib
import time
from collections.abc import Iterator

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.acoustics import stft
from uld_jax.datasets import loader, pipeline
from uld_jax.evaluation import evaluate, seen_positions
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import distributed, progress, stopping
from uld_jax.storage import checkpoints, records
from uld_jax.training import history, initialization, nonfinite, optimizer
from uld_jax.training import step as step_lib

_SHOWN_EXAMPLES = 8


class Run:
    """One training run: its data, its network, its state and its history.

    Args:
        config: Settings.
        workdir: Folder of the run.
        devices: What it computes on.
        stop_flag: What says when to stop.
    """

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
        splits = loader.needed_splits(config)
        self.data = loader.RunData(config, splits, devices)
        try:
            model = build.for_label(
                config_lib.to_dict(config.model),
                self.label,
                self.data.num_nodes,
                self.data.num_sources,
                config.seed,
            )
        except ValueError as error:
            raise config_lib.ConfigError(f"--config.{error}") from None
        self.network = build.describe(
            model,
            self.data.num_nodes,
            stft.num_frames(self.data.num_samples),
            self.label.num_outputs,
        )
        rules = config.train
        self.init, self.rate = None, rules.learning_rate
        if config.init.folder is not None:
            self.rate = rules.fine_tuning_rate
        self.adamw = optimizer.adamw(self.rate, rules.weight_decay)
        self.graph, self.state = step_lib.init_state(model, self.adamw)
        if config.init.folder is not None:
            items, self.init = initialization.load(config, self._best_items())
            self.state = self.state._replace(**items)
        before = self.init["trained_places"] if self.init else {}
        trained_here = config.train.epochs > 0
        self.trained_places = seen_positions.trained(
            before, self.data.origin, trained_here
        )
        self.data.load()
        self.skipped = nonfinite.SkippedSteps(
            workdir if distributed.is_first() else None,
            config.seed,
            self.data.steps_per_epoch,
            self.data.example_ids,
        )

    def begin(self, saved) -> None:
        """Go on from what is saved, or begin; note that it runs.

        Args:
            saved: Checkpoints; None in other processes than the first.
        """
        self._tell_network()
        self._restore(saved)
        self._write_record("running")

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left, or further ones would be in vain."""
        rules, so_far = self.config.train, self.history
        return so_far.epoch >= rules.epochs or so_far.plateau.stops(rules.stop_patience)

    def end_epoch(
        self,
        saved,
        board,
        validation: evaluate.Evaluation,
        started: float,
    ) -> None:
        """Note an epoch, save the state, and turn to the next epoch.

        Args:
            saved: Checkpoints.
            board: TensorBoard's writer.
            validation: How the network does now.
            started: When the last step was done, on the monotonic clock.
        """
        self._end_epoch(saved, validation, started)
        self.save_last(saved)
        self._write_board(board)
        self._write_record("running")

    def diverge(self, error: Exception) -> dict:
        """Note that training cannot go on, and return the record.

        Args:
            error: Diverged or FloatingPointError: the loss, or what the network says,
                is not finite any more.
        """
        progress.log(f"{self.workdir}: {error}")
        return self._write_record("diverged", reason=str(error))

    def end(self, result: evaluate.Evaluation, planes: np.ndarray) -> dict:
        """Note how the best network does, and return the record.

        Args:
            result: What it makes of the test split.
            planes: What it says of the first of it, as `predict.distributions`.
        """
        if distributed.is_first():
            facts = self.data.facts("test")
            shown = planes[: self._num_shown]
            evaluate.write_predictions(self.workdir, result, facts, planes=shown)
        test = result.metrics | {"loss": result.loss, "kl": result.kl}
        room = self.data.origin.get("room")
        test |= seen_positions.tell(result, self.trained_places.get(room))
        return self._write_record("done", test)

    def _tell_network(self) -> None:
        """Say how large the network is and what it costs."""
        parts = ", ".join(f"{k} {n:,}" for k, n in self.network["parts"].items())
        flops = self.network["flops"]
        cost = f"; {flops / 1e9:.3g} GFLOP forward an example" if flops else ""
        progress.log(
            f"Network {self.config.model.name}: {self.network['parameters']:,} "
            f"parameters ({parts}){cost}"
        )

    def _restore(self, saved) -> None:
        """Go on from the last checkpoint, if there is one."""
        items = step_lib.to_items(self.state)
        restored = distributed.call_in_first(
            lambda: self._last_with_best(saved, items), share=False
        )
        note = distributed.broadcast(restored and restored[1])
        if note is not None:
            items = restored[0] if restored else items
            self.history = history.History.from_note(note)
            progress.log(f"{self.workdir}: going on at epoch {self.history.epoch + 1}")
        self.state = self.devices.replicate(step_lib.from_items(items))
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
            progress.log(f"{bad}\nGoing back to last/{newest}, which speaks of another")
        return restored

    def _bad_best(self, saved, note: dict) -> checkpoints.CheckpointError | None:
        """Return what is wrong with the best state that a note speaks of, if so."""
        try:
            if note["best_mae"] is not None:
                saved.restore("best", self._best_items(), note["best_step"])
        except checkpoints.CheckpointError as error:
            return error
        return None

    def best(self, saved) -> dict:
        """Return the best network, on all devices."""
        if not self.config.train.epochs and saved:  # It is tested as it is.
            saved.save("best", 0, self._best_items(), {"epoch": 0})
        like = self._best_items()
        restored = distributed.call_in_first(
            lambda: saved.restore("best", like, self.history.best_step), share=False
        )
        return self.devices.replicate(restored[0] if restored else like)

    def _best_items(self) -> dict:
        return {"params": self.state.params, "statistics": self.state.statistics}

    def save_last(self, saved) -> None:
        """Save the state, to go on from."""
        self.look()  # Or what was skipped since the last look would be taken as noted.
        if saved:
            items = step_lib.to_items(self.state)
            saved.save("last", int(self.state.step), items, self.history.note())

    def look(self) -> str:
        """Return how the epoch goes; note the steps that were skipped."""
        sums, skipped = jax.device_get((self.state.sums, self.state.skipped))
        self.skipped.look(skipped)
        return f"loss {_mean(sums, 'loss'):.3f}"

    def batches_of(self, split: str) -> tuple[Iterator[dict], int]:
        """Return batches of a held-out split, and how many examples of them count."""
        data, rules = self.data.held_out[split], self.config.train
        size = min(rules.evaluation_batch_size or rules.batch_size, len(data))
        size = self.devices.round_up(size, evaluate.ROWS)
        return data.batches(pipeline.in_order(len(data), size)), len(data)

    @property
    def _num_shown(self) -> int:
        return min(_SHOWN_EXAMPLES, len(self.data.held_out["test"]))

    def shown_batch(self) -> dict:
        """Return the examples of the test split of which all that is said is kept."""
        shown = self._num_shown
        order = pipeline.in_order(shown, self.devices.round_up(shown))
        return next(self.data.held_out["test"].batches(order))

    def _end_epoch(
        self, saved, validation: evaluate.Evaluation, started: float
    ) -> None:
        """Note the epoch, save the best, and turn to the next epoch."""
        rules, so_far, state = self.config.train, self.history, self.state
        sums = {key: float(value) for key, value in state.sums.items()}
        means = {key: _mean(sums, key) for key in sums if key != "applied"}
        means["skipped"] = self.data.steps_per_epoch - int(sums["applied"])
        rate = float(state.opt_state.hyperparams["learning_rate"])
        told = {"loss": validation.loss, "kl": validation.kl, **validation.metrics}
        after = time.monotonic() - started
        noted = so_far.end_epoch(rate, means, told, after)
        mae = validation.metrics["mae"]
        progress.log(
            f"Epoch {so_far.epoch}: loss {means['loss']:.3f}, validation "
            f"loss {validation.loss:.3f} ({validation.kl:.3f} above its floor), ACC "
            f"{100 * validation.metrics['accuracy']:.1f} %, MAE {mae:.3f} m; "
            f"rate {rate:.2g}, {noted['seconds']:.1f} s"
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
            (opt_state.hyperparams, step_lib.no_sums())
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
        if distributed.is_first():
            records.write_json(self.workdir / records.FILE_NAME, record)
        return record


def _mean(sums: dict, key: str) -> float:
    """Return a mean over the applied steps of an epoch; NaN without any."""
    return float(sums[key]) / float(sums["applied"]) if sums["applied"] else math.nan
