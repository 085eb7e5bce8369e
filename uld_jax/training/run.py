"""A training run: its data, network, state, history and checkpoints (Sec. 3.3)."""

import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.datasets import loader, pipeline
from uld_jax.evaluation import evaluate, seen_positions
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import distributed, progress, stopping
from uld_jax.storage import checkpoints, environment
from uld_jax.storage.run_folder import RunFolder
from uld_jax.training import collapse, history, initialization, nonfinite, optimizer
from uld_jax.training import step as step_lib

_SHOWN_EXAMPLES = 8  # Test examples whose predicted distributions are stored.


class Run:
    """A training run; nothing is written before `resume`.

    Args:
        config: Settings.
        folder: Folder of the run.
        devices: Devices to compute on.
        stop_flag: Signals and the time limit.
        place: Where the run held its signals before it was interrupted.
    """

    def __init__(
        self,
        config: config_lib.ConfigDict,
        folder: RunFolder,
        devices: devices_lib.Devices,
        stop_flag: stopping.StopFlag,
        place: str | None = None,
    ):
        self.config: config_lib.ConfigDict = config
        self.folder: RunFolder = folder
        self.devices: devices_lib.Devices = devices
        self.stop_flag: stopping.StopFlag = stop_flag
        self.history: history.History = history.History()
        self.environment: dict[str, Any] = environment.collect(devices_lib.describe())
        self.label: schemes.Label = self._make_label()
        splits = loader.used_splits(config)
        self.data: loader.RunData = loader.RunData(config, splits, devices)
        try:
            model = build.for_label(
                config_lib.to_dict(config.model),
                self.label,
                self.data.num_nodes,
                self.data.num_sources,
                config.seed,
            )
            self.network: dict[str, Any] = build.describe(
                model, self.label, self.data.num_nodes, self.data.num_samples
            )
            self.network |= build.evidence_format(config.model.name)
        except ValueError as error:
            raise config_lib.ConfigError(f"--config.{error}") from None
        rules = config.train
        self.init: dict[str, Any] | None = None
        self._rate = rules.learning_rate
        if config.init.folder is not None:
            self._rate = rules.fine_tuning_rate
        self.optimizer: Any = optimizer.adamw(
            self._rate, rules.weight_decay, rules.clip_norm, rules.warmup_steps
        )
        self.graph, self.state = step_lib.init_state(model, self.optimizer)
        if config.init.folder is not None:
            items, self.init = initialization.load(config, self._network_items())
            self.state = self.state._replace(**items)
        before = self.init["trained_places"] if self.init else {}
        trained_here = config.train.epochs > 0
        self.trained_places: dict[str, Any] = seen_positions.trained_positions(
            before, self.data.origin, trained_here
        )
        self._check_warmup()
        self.input_free_mae: float = None
        if trained_here:
            known = self.data.geometry("validation")
            self.input_free_mae = collapse.input_free_mae(
                known["source_positions"], known["room_size"]
            )
            # To go back to. Copies: on CPUs, arrays of the host may share memory.
            self._initial = jax.tree.map(np.array, self._network_items())
        self.data.load(place)
        self.skipped: nonfinite.SkippedSteps = nonfinite.SkippedSteps(
            folder.path if distributed.is_first() else None,
            config.seed,
            self.data.steps_per_epoch,
            self.data.example_ids,
        )
        self._checkpoints: checkpoints.Checkpoints | None = None

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left, or the validation loss has long stopped falling."""
        rules = self.config.train
        is_stopped = self.history.plateau.stops(rules.stop_patience)
        return self.history.epoch >= rules.epochs or is_stopped

    def _check_warmup(self) -> None:
        """Raise if the learning rate would never reach its value.

        Raises:
            ConfigError: With both numbers of steps.
        """
        rules = self.config.train
        total = rules.epochs * self.data.steps_per_epoch
        if total and rules.warmup_steps > total:
            raise config_lib.ConfigError(
                f"--config.train.warmup_steps is {rules.warmup_steps}, more than the "
                f"{total} steps of the run; lower it, or raise --config.train.epochs"
            )

    def label_of_step(self, number: int) -> schemes.Label:
        """Give the label of a training step, which may have a finer grid."""
        shape = self.data.shape(number)
        if shape is None or shape.times_finer == 1:
            return self.label
        return self._make_label(shape.times_finer)

    def _make_label(self, times_finer: int = 1) -> schemes.Label:
        label, model = self.config.label, self.config.model
        settings = config_lib.to_dict(label), config_lib.to_dict(model)
        return build.make_label(*settings, times_finer)

    def resume(self, saved: checkpoints.Checkpoints | None) -> None:
        """Resume from the last checkpoint, if there is one.

        Args:
            saved: Checkpoints; None in processes other than the first.
        """
        self._checkpoints = saved
        items = step_lib.to_items(self.state)
        restored = distributed.call_in_first(
            lambda: self._restore_last(saved, items), share=False
        )
        note = distributed.broadcast(restored and restored[1])
        if note is not None:
            items = restored[0] if restored else items
            self.history = history.History.from_note(note)
            progress.log(f"{self.folder}: resuming in epoch {self.history.epoch + 1}")
        self.state = self.devices.replicate(step_lib.from_items(items))
        self.skipped.resume(jax.device_get(self.state.skipped))

    def _restore_last(
        self, saved, items: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Restore the newest good state whose best state is good, too.

        Without its best state, a run could not be tested at its end.

        Raises:
            CheckpointError: If there are states but none such.
        """
        restored = saved.restore("last", items)
        newest, *older = saved.steps("last") or [None]
        bad = None
        while restored and (error := self._check_best(saved, restored[1])):
            bad = bad or error
            if not older:
                path = self.folder.path
                raise checkpoints.CheckpointError(
                    f"{bad}\nNo state in {str(path / 'last')!r} has a good best state: "
                    f"copy {str(path / 'best')!r} again from an undamaged copy, or train "
                    "from scratch in another --workdir"
                )
            newest, *older = older
            restored = saved.restore("last", items, newest)
        if bad:
            progress.log(
                f"{bad}\nGoing back to last/{newest}, whose best state is good"
            )
        return restored

    def _check_best(
        self, saved, note: dict[str, Any]
    ) -> checkpoints.CheckpointError | None:
        """Check the best state that a note names; return the error, if any."""
        try:
            if note["best_mae"] is not None:
                saved.restore("best", self._network_items(), note["best_step"])
        except checkpoints.CheckpointError as error:
            return error
        return None

    def _network_items(self) -> dict[str, Any]:
        return {"params": self.state.params, "statistics": self.state.statistics}

    def best(self) -> dict[str, Any]:
        """Restore the parameters and statistics of the best epoch, on all devices."""
        saved, items = self._checkpoints, self._network_items()
        if not self.config.train.epochs and saved:
            saved.save("best", 0, items, {"epoch": 0})  # The network of --init_from.
        restored = distributed.call_in_first(
            lambda: saved.restore("best", items, self.history.best_step), share=False
        )
        return self.devices.replicate(restored[0] if restored else items)

    def begun(self) -> dict | None:
        """Give the network that training began with, to see what it gained.

        None if it is tested as it is, or was not another run's as a whole.
        """
        if not self.init or not self.config.train.epochs or self.init["begun_anew"]:
            return None
        return self.devices.replicate(self._initial)

    def save_last(self) -> None:
        """Save the state to resume from."""
        # A restored state's skipped steps count as noted: note them before saving.
        self.look()
        if self._checkpoints:
            items = step_lib.to_items(self.state)
            note = self.history.note()
            self._checkpoints.save("last", int(self.state.step), items, note)

    def wait_until_saved(self) -> None:
        """Wait until the last state is on disk."""
        if self._checkpoints:
            self._checkpoints.wait()

    def look(self) -> str:
        """Note newly skipped steps, and describe the epoch so far."""
        sums, skipped = jax.device_get((self.state.sums, self.state.skipped))
        self.skipped.look(skipped)
        return f"loss {_mean(sums, 'loss'):.3f}"

    def batches_of(self, split: str) -> tuple[Iterator[dict[str, Any]], int]:
        """Open the batches of a held-out split, and count its examples.

        Padding may follow the last example.
        """
        data, rules = self.data.held_out[split], self.config.train
        size = min(rules.evaluation_batch_size or rules.batch_size, len(data))
        size = self.devices.round_up(size, evaluate.ROWS)
        return data.batches(pipeline.in_order(len(data), size)), len(data)

    def shown_batch(self) -> tuple[dict[str, Any], int]:
        """Load the first test examples, and count them; padding may follow."""
        data = self.data.held_out["test"]
        shown = min(_SHOWN_EXAMPLES, len(data))
        order = pipeline.in_order(shown, self.devices.round_up(shown))
        return next(data.batches(order)), shown

    def end_epoch(
        self,
        validation: evaluate.Evaluation,
        last_step_at: float,
        device_busy: float | None,
    ) -> None:
        """Note an epoch, set the next one's learning rate, and save the state.

        A run that has collapsed goes back to its best state: see `collapse`.

        Args:
            validation: Metrics after the epoch.
            last_step_at: When the last step ended, on the monotonic clock.
            device_busy: See `History.end_epoch`.
        """
        rules, so_far, state = self.config.train, self.history, self.state
        sums = {key: float(value) for key, value in state.sums.items()}
        means = {key: _mean(sums, key) for key in step_lib.SUMMED}
        means[step_lib.LARGEST] = sums[step_lib.LARGEST]
        means["skipped"] = self.data.steps_per_epoch - int(sums["applied"])
        so_far.end_epoch(
            float(state.opt_state.hyperparams["learning_rate"]),
            means,
            {"loss": validation.loss, "kl": validation.kl, **validation.metrics},
            time.monotonic() - last_step_at,
            device_busy,
        )
        so_far.plateau = so_far.plateau.update(validation.loss, rules.plateau_patience)
        if not self._go_back_if_collapsed():
            mae, step = validation.metrics["mae"], int(state.step)
            if so_far.update_best(mae, step) and self._checkpoints:
                items, note = self._network_items(), {"epoch": so_far.epoch}
                self._checkpoints.save("best", so_far.best_step, items, note)
        factor = optimizer.rate_factor(
            rules.schedule,
            so_far.epoch,
            rules.epochs,
            so_far.plateau.lowered,
            rules.plateau_factor,
        )
        state = self.state
        rate, warmup_steps = self._rate_and_warmup
        opt_state = optimizer.with_rate(state.opt_state, rate * factor, warmup_steps)
        # One small transfer: the moments in the optimizer's state stay where they are.
        hyperparams, sums = self.devices.replicate(
            (opt_state.hyperparams, step_lib.no_sums())
        )
        opt_state = opt_state._replace(hyperparams=hyperparams)
        self.state = state._replace(opt_state=opt_state, sums=sums)
        self.save_last()

    @property
    def _rate_and_warmup(self) -> tuple[float, int]:
        """The learning rate before its schedule, and the steps of warm-up."""
        if not self.history.rollbacks:
            return self._rate, self.config.train.warmup_steps
        last = self.history.rollbacks[-1]
        return last["learning_rate"], last["warmup_steps"]

    def _go_back_if_collapsed(self) -> bool:
        """Go back to the best state if the epoch that has just ended collapsed.

        The last epoch has none after it that could do better.

        Returns:
            Whether it did.

        Raises:
            collapse.Collapsed: If that was tried as often as the settings allow.
        """
        rules, so_far = self.config.train, self.history
        since, num_steps = so_far.since_rollback, self.data.steps_per_epoch
        rate, warmup_steps = self._rate_and_warmup
        steps = num_steps * len(since) - warmup_steps
        reason = collapse.find(since, steps, self.input_free_mae)
        left = num_steps * (rules.epochs - so_far.epoch)
        if not reason or not left:
            return False
        if len(so_far.rollbacks) >= rules.rollbacks:
            raise collapse.Collapsed(
                f"training has collapsed after epoch {so_far.epoch}: {reason}; it went "
                f"back {len(so_far.rollbacks)} times. Lower --config.train."
                "learning_rate, or raise --config.train.warmup_steps"
            )
        # What is no better than a position that ignores the input is not kept.
        learned = so_far.best_mae < collapse.NOT_BETTER * self.input_free_mae
        items = self.best() if learned else self.devices.replicate(self._initial)
        rate, warmup_steps = collapse.lower(rate, warmup_steps, left)
        so_far.rollbacks.append(
            {
                "epoch": so_far.epoch,
                "reason": reason,
                "back_to": so_far.best_epoch if learned else 0,
                "learning_rate": rate,
                "warmup_steps": warmup_steps,
            }
        )
        so_far.plateau = optimizer.Plateau()
        opt_state = self.devices.replicate(self.optimizer.init(items["params"]))
        self.state = self.state._replace(**items, opt_state=opt_state)
        return True


def _mean(sums: dict[str, Any], key: str) -> float:
    """Compute a mean over the applied steps of an epoch; NaN without any."""
    return float(sums[key]) / float(sums["applied"]) if sums["applied"] else math.nan
