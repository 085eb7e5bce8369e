"""Train the network of speech masks: fresh mixtures, epochs, the test of the best.

It knows neither rooms nor labels, so that it has a loop of its own. Folder, settings,
checkpoints and record are those of other runs, and a resumed run equals an unbroken one.
"""

import contextlib
import datetime
import itertools
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from uld_jax import config as config_lib
from uld_jax.acoustics import stft
from uld_jax.datasets import mixtures
from uld_jax.networks import speech_mask
from uld_jax.runtime import devices, distributed, errors, jax_setup, progress, stopping
from uld_jax.storage import checkpoints, environment
from uld_jax.storage import settings as settings_lib
from uld_jax.storage.run_folder import RunFolder
from uld_jax.training import nonfinite, optimizer

_TALKER_WEIGHT = 0.1  # Of the logit's loss: it is learned long before the mask.
_HELD_OUT = {"validation": ("dev", 48), "test": ("test", 96)}  # Part, and rooms.
_HELD_OUT_SEED = 2**31  # The seeds of runs are smaller.
_SNR_BANDS = (-15.0, -5.0, 5.0, 15.0, 40.0)  # dB, of clips: the test is by these.
_STEPS_BETWEEN_LOOKS = 20
# Better than always the mean mask by so much, or training has not converged.
_CONVERGED = 0.8


class SpeechMaskError(errors.InputError):
    """A training of speech masks that cannot be done, with the reason."""


class _State(NamedTuple):
    """All that a step changes."""

    step: Array
    params: dict
    opt_state: Any
    sums: dict[str, Array]


def train_and_evaluate(
    config: config_lib.ConfigDict,
    workdir: str | pathlib.Path,
    seconds: float | None = None,
) -> dict:
    """Train the network of speech masks, test its best epoch, and return the record.

    An unfinished run with the same settings is resumed, the record of a finished one is
    returned as it is. One device is used.

    Args:
        config: Settings of experiments/speech_mask.py, resolved.
        workdir: Folder of the run.
        seconds: Save the state and stop after this time.

    Returns:
        The record, as `record.json` holds it: `test` has the mean cross entropy of a
        bin's mask, its mean absolute error, and how often the logit is right.

    Raises:
        SpeechMaskError: If settings are not those of speech masks.
        LockedError: If another process runs in the folder.
        Stopped: If the time is up or a signal to stop came; the state is saved.
        RunConflictError: If the folder is another run's, or cannot be one.
        MixtureError: If mixtures cannot be made.
        CheckpointError: If no saved state is good, or it does not fit.
    """
    _check(config)
    jax_setup.configure()
    folder, settings = RunFolder(workdir), config_lib.to_dict(config)
    folder.check(settings)
    if (record := folder.read_record()) and record["status"] != "running":
        progress.log(f"{folder}: this run is {record['status']} already")
        return record
    with contextlib.ExitStack() as stack:
        stop_flag = stack.enter_context(stopping.StopFlag(seconds))
        run = _Run(config, folder, stop_flag)
        stack.enter_context(folder.lock())
        saved = stack.enter_context(folder.open_checkpoints())
        folder.write_settings(settings)
        return run.complete(saved)


def describe(record: dict) -> str:
    """Describe the test of a finished run in a line."""
    test = record["test"]
    more = "" if record["converged"] else "; it has not converged, train it longer"
    return (
        f"Test: cross entropy {test['loss']:.3f} (always the mean mask: "
        f"{record['input_free_loss']:.3f}), mean error of masks "
        f"{test['mask_error']:.3f}, presence of a talker right in {100 * test['talker_accuracy']:.1f} %{more}"
    )


def _check(config) -> None:
    """Raise unless a run can have these settings.

    Raises:
        SpeechMaskError: With the first that it cannot.
    """
    if "mixtures" not in config:
        raise SpeechMaskError(
            "--config has no section mixtures; take experiments/speech_mask.py for the "
            f"network {speech_mask.NAME!r}"
        )
    if config.init.folder is not None:
        raise SpeechMaskError("--init_from: speech masks are trained from scratch")
    if distributed.is_one_of_many():
        raise SpeechMaskError("speech masks are trained in one process, not several")
    rooms, size = config.data.epoch_examples, config.train.batch_size
    if not config.train.epochs or not rooms or rooms < size:
        raise SpeechMaskError(
            f"--config.train.epochs is {config.train.epochs} and "
            f"--config.data.epoch_examples {rooms}; give at least one epoch, and "
            f"examples for one step of {size} (--config.train.batch_size)"
        )


class _Run:
    """A run in its folder; nothing is written before `complete`."""

    def __init__(self, config, folder: RunFolder, stop_flag: stopping.StopFlag):
        self._config, self._folder, self._stop_flag = config, folder, stop_flag
        self._environment = environment.collect(devices.describe())
        rules = config.train
        self._steps = config.data.epoch_examples // rules.batch_size
        self._mixtures = mixtures.open_mixtures(
            config, "train", config.seed, rules.batch_size
        )
        self._optimizer = optimizer.adamw(
            rules.learning_rate, rules.weight_decay, rules.clip_norm, rules.warmup_steps
        )
        model = speech_mask.build(config_lib.to_dict(config.model), config.seed)
        self._graph, params = nnx.split(model, nnx.Param)
        params = nnx.to_pure_dict(params)
        self._state = _State(
            jnp.zeros((), jnp.int32), params, self._optimizer.init(params), _no_sums()
        )
        self._train_step = make_train_step(self._graph, self._optimizer)
        self._scores = jax.jit(make_scores(self._graph))
        self._note = {"epochs": [], "best_epoch": 0, "best_loss": None, "best_step": 0}

    def complete(self, saved: checkpoints.Checkpoints) -> dict:
        """Train the epochs that are left, test, and return the record."""
        self._resume(saved)
        parts = sum(leaf.size for leaf in jax.tree.leaves(self._state.params))
        progress.log(f"Network {speech_mask.NAME}: {parts:,} parameters")
        validation = self._held_out("validation")
        input_free = _input_free_loss(validation)
        self._write_record("running", input_free)
        try:
            while len(self._note["epochs"]) < self._config.train.epochs:
                self._train_epoch(saved)
                self._end_epoch(saved, validation)
                self._write_record("running", input_free)
                self._check_stop(saved, is_saved=True)
        except nonfinite.Diverged as error:
            progress.log(f"{self._folder}: {error}")
            return self._write_record("diverged", input_free, reason=str(error))
        best = saved.restore(
            "best", {"params": self._state.params}, self._note["best_step"]
        )
        test = self._score(best[0]["params"], self._held_out("test"))
        return self._write_record("done", input_free, test)

    def _resume(self, saved: checkpoints.Checkpoints) -> None:
        items = self._items()
        if restored := saved.restore("last", items):
            items, self._note = restored
            counts = items.pop("counts")
            self._state = jax.tree.map(jnp.asarray, _State(**items, **counts))
            done = len(self._note["epochs"])
            progress.log(f"{self._folder}: resuming in epoch {done + 1}")

    def _items(self) -> dict:
        items = self._state._asdict()
        counts = {key: items.pop(key) for key in ("step", "sums")}
        return items | {"counts": counts}

    def _held_out(self, split: str) -> list[dict[str, np.ndarray]]:
        """Render the mixtures of a held-out split, the same for every run."""
        part, rooms = _HELD_OUT[split]
        size = min(self._config.train.batch_size, self._config.data.epoch_examples)
        count = max(1, min(rooms, self._config.data.epoch_examples) // size)
        made = mixtures.open_mixtures(self._config, part, _HELD_OUT_SEED, size)
        with progress.Progress(f"Rendering {split}", count, "batches") as bar:
            batches = []
            for step in range(count):
                batches.append(made.batch(step))
                bar.update()
                stopping.check()
        return batches

    def _train_epoch(self, saved: checkpoints.Checkpoints) -> None:
        """Do the steps that are left of an epoch."""
        done = len(self._note["epochs"])
        first = int(self._state.step) - done * self._steps
        title = f"Epoch {done + 1} of {self._config.train.epochs}"
        began = time.monotonic() - self._note.get("seconds", 0.0)
        with progress.Progress(title, self._steps, "steps", first) as bar:
            for number in range(first, self._steps):
                batch = self._mixtures.batch(int(self._state.step))
                self._state = self._train_step(self._state, batch)
                self._note["seconds"] = time.monotonic() - began
                note = ""
                if (number + 1) % _STEPS_BETWEEN_LOOKS == 0:
                    note = f"loss {self._means()['loss']:.3f}"
                bar.update(1, note)
                if (number + 1) % self._config.train.checkpoint_steps == 0:
                    saved.save("last", int(self._state.step), self._items(), self._note)
                if number + 1 < self._steps:
                    self._check_stop(saved)

    def _means(self) -> dict[str, float]:
        """Compute the means of the epoch so far.

        Raises:
            Diverged: If the loss is not finite.
        """
        sums = {key: float(value) for key, value in self._state.sums.items()}
        count = max(sums.pop("steps"), 1.0)
        means = {key: value / count for key, value in sums.items()}
        if not math.isfinite(means["loss"] + means["grad_norm"]):
            raise nonfinite.Diverged(
                "a loss or gradient is not finite; lower --config.train.learning_rate, "
                "in another --workdir"
            )
        return means

    def _end_epoch(self, saved: checkpoints.Checkpoints, validation: list) -> None:
        note, rules, state = self._note, self._config.train, self._state
        train, scores = self._means(), self._score(state.params, validation)
        number = len(note["epochs"]) + 1
        if not math.isfinite(scores["loss"]):
            raise nonfinite.Diverged(
                f"the validation loss of epoch {number} is {scores['loss']}"
            )
        rate = float(state.opt_state.hyperparams["learning_rate"])
        entry = {
            "epoch": number,
            "learning_rate": rate,
            "train": train,
            "validation": scores,
            "seconds": note.pop("seconds", 0.0),
            "device_busy": None,
        }
        note["epochs"] = [*note["epochs"], entry]
        if note["best_loss"] is None or scores["loss"] < note["best_loss"]:
            step = int(state.step)
            note |= {"best_loss": scores["loss"], "best_epoch": number}
            note |= {"best_step": step}
            saved.save("best", step, {"params": state.params}, {"epoch": number})
        progress.log(
            f"Epoch {number}: loss {train['loss']:.3f}, validation {scores['loss']:.3f}, "
            f"mean error of masks {scores['mask_error']:.3f}, presence of a talker right "
            f"in {100 * scores['talker_accuracy']:.1f} %; {entry['seconds']:.0f} s"
        )
        factor = optimizer.rate_factor(
            rules.schedule, number, rules.epochs, False, rules.plateau_factor
        )
        opt_state = optimizer.with_rate(
            state.opt_state, rules.learning_rate * factor, rules.warmup_steps
        )
        self._state = state._replace(opt_state=opt_state, sums=_no_sums())
        saved.save("last", int(state.step), self._items(), note)

    def _score(self, params, batches: list[dict]) -> dict[str, Any]:
        """Average the scores of all clips, and those of some SNRs."""
        found = [jax.device_get(self._scores(params, batch)) for batch in batches]
        scores = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
        snr_db, asked = scores.pop("snr_db"), scores.pop("asked")
        right = scores.pop("talker_right")
        means = {
            key: float(np.mean(value, dtype=np.float64))
            for key, value in scores.items()
        }
        means["talker_accuracy"] = (
            float(right[asked].mean()) if asked.any() else math.nan
        )
        bands = itertools.pairwise(_SNR_BANDS)
        means["by_snr"] = [
            {"from_db": low, "to_db": high, "clips": int(some.sum())}
            | {key: float(value[some].mean()) for key, value in scores.items()}
            for low, high in bands
            if (some := (snr_db >= low) & (snr_db < high)).any()
        ]
        return means

    def _check_stop(self, saved: checkpoints.Checkpoints, is_saved=False) -> None:
        if reason := self._stop_flag.reason():
            if not is_saved:
                saved.save("last", int(self._state.step), self._items(), self._note)
            saved.wait()
            raise stopping.Stopped(reason)

    def _write_record(
        self, status: str, input_free: float, test=None, reason=None
    ) -> dict:
        note, params = self._note, self._state.params
        epochs, best = note["epochs"], note["best_loss"]
        data = self._mixtures.describe()
        record = {
            "status": status,
            "settings": settings_lib.without_paths(config_lib.to_dict(self._config)),
            "seed": self._config.seed,
            "data": {"name": self._config.data.name} | data,
            "init": None,
            "trained_places": {},
            "network": {
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
                "parts": {
                    str(name): sum(leaf.size for leaf in jax.tree.leaves(part))
                    for name, part in params.items()
                },
            },
            "best_epoch": note["best_epoch"],
            "epochs": epochs,
            "test": test,
            "times": {
                "written": _now(),
                "training_seconds": sum(epoch["seconds"] for epoch in epochs),
            },
            "input_free_loss": input_free,
            "converged": None if best is None else best < _CONVERGED * input_free,
            "reason": reason,
            **self._environment,
        }
        self._folder.write_record(record)
        return record


def make_train_step(
    graph: nnx.GraphDef, optimizer: optax.GradientTransformation
) -> Callable[[_State, dict[str, Array]], _State]:
    """Make the jitted training step, which donates its state.

    Args:
        graph: Graph of the network.
        optimizer: Optimizer.
    """

    def train_step(state: _State, batch: dict[str, Array]) -> _State:
        speech, noise, mixture = _powers(batch)

        def mean_loss(params):
            outputs = nnx.merge(graph, params)(mixture)
            mask, talker = speech_mask.losses(outputs, speech, noise)
            loss = mask.mean() + _TALKER_WEIGHT * talker.mean()
            return loss, {"loss": mask.mean(), "talker_loss": talker.mean()}

        grads, new = jax.grad(mean_loss, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new |= {"grad_norm": optax.tree.norm(grads), "steps": 1.0}
        sums = {key: state.sums[key] + value for key, value in new.items()}
        return _State(state.step + 1, params, opt_state, sums)

    return jax.jit(train_step, donate_argnames="state")


def make_scores(graph: nnx.GraphDef) -> Callable[[dict, dict], dict[str, Array]]:
    """Make a function of parameters and a batch to the scores of its clips.

    Args:
        graph: Graph of the network.
    """

    def scores(params, batch):
        speech, noise, mixture = _powers(batch)
        mask, talker = nnx.merge(graph, params)(mixture)
        loss, _ = speech_mask.losses((mask, talker), speech, noise)
        error = jnp.abs(jax.nn.sigmoid(mask) - speech_mask.ratio_mask(speech, noise))
        talks = speech.mean(axis=(1, 2)) > 0
        return {
            "loss": loss,
            "mask_error": error.mean(axis=(1, 2)),
            "talker_right": (talker > 0) == talks,
            "asked": speech_mask.is_asked(speech, noise),
            "snr_db": speech_mask.snr_db(speech, noise),
        }

    return scores


def _powers(
    batch: dict[str, Array | np.ndarray],
) -> tuple[Float[Array, "C T 256"], ...]:
    """Compute the powers of the bins of speech, noise and their sum."""
    speech, noise = (stft.stft(batch[key]) for key in ("speech", "noise"))
    return tuple(one.real**2 + one.imag**2 for one in (speech, noise, speech + noise))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _no_sums() -> dict[str, Array]:
    return {key: jnp.zeros(()) for key in ("loss", "talker_loss", "grad_norm", "steps")}


def _input_free_loss(batches: list[dict]) -> float:
    """Compute the loss of always the mean mask of each bin."""
    total, count = 0.0, 0
    for batch in batches:
        speech, noise, _ = _powers(batch)
        target = speech_mask.ratio_mask(speech, noise)
        total = total + np.asarray(target.sum(axis=(0, 1)), np.float64)
        count += target.shape[0] * target.shape[1]
    mean = np.clip(total / count, 1e-6, 1 - 1e-6)
    return float(-(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)).mean())
