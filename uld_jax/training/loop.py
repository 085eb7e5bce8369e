"""The training loop: epochs, step by step, and the test of the best (Sec. 3.3)."""

import functools
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from uld_jax.evaluation import evaluate, predict
from uld_jax.runtime import distributed, profiling, progress, stopping
from uld_jax.training import collapse, nonfinite, reporting, step_times
from uld_jax.training import run as run_lib
from uld_jax.training import step as step_lib

# Steps between two looks at the loss, each of which waits for the device.
_STEPS_BETWEEN_SYNCS = 20
# Steps whose inputs are drawn together, and of which one call does as many as take
# about so many seconds: it cannot be interrupted. The state notes as many skipped ones.
_BLOCK = step_lib.NOTED_STEPS
_SECONDS_OF_CALL = 0.3


class Training:
    """The compiled programs of a run, and the loop that calls them.

    Args:
        run: The run.
        reporter: Log, TensorBoard and record.
        profiler: Tracer of some steps.
    """

    def __init__(
        self,
        run: run_lib.Run,
        reporter: reporting.Reporter,
        profiler: profiling.Profiler,
    ):
        self._run, self._reporter = run, reporter
        self._profiler = profiler
        # On CPUs the next batch must not be rendered meanwhile: `jax_setup.configure`.
        on_cpu = jax.default_backend() == "cpu"
        # To find a NaN, --debug_nans needs steps of their own.
        self._resident = None if jax.config.jax_debug_nans else run.data.resident
        # A CPU's cores compile the training step.
        kept = bool(jax.config.jax_compilation_cache_dir)
        self._compiles_ahead = kept and not on_cpu and run.devices.num == 1
        waits = on_cpu or self._resident is not None
        self._times = step_times.StepTimes(each=waits)
        self._steps_of_call = 1
        invariant = run.config.train.permutation_invariant
        network = run.graph, run.label
        self._make_train_step = functools.cache(
            lambda label: step_lib.make_train_step(
                run.graph,
                run.optimizer,
                label,
                run.config.seed,
                invariant,
                run.devices,
                run.config.train.clip_norm,
            )
        )
        self._train_steps = step_lib.make_train_steps(
            run.graph,
            run.optimizer,
            run.label,
            run.config.seed,
            run.data.batch_of,
            invariant,
            run.config.train.clip_norm,
        )
        self._eval_step = evaluate.make_eval_step(*network, invariant, run.devices)
        self._distributions = functools.partial(
            predict.distributions, *network, devices=run.devices
        )

    def complete(self) -> dict[str, Any]:
        """Train the epochs that are left, test, and return the record."""
        run, reporter = self._run, self._reporter
        reporter.start()
        compiling = None
        if self._compiles_ahead and not run.is_trained:
            compiling = self._compile_evaluation()
        try:
            while not run.is_trained:
                busy = self._train_epoch()
                last_step_at, state = time.monotonic(), run.state
                validation = self._evaluate(
                    "validation", params=state.params, statistics=state.statistics
                )
                run.end_epoch(validation, last_step_at, busy)
                reporter.end_epoch()
                self._check_stop(is_saved=True)
        except (nonfinite.Diverged, FloatingPointError) as error:
            if jax.config.jax_debug_nans:  # Its traceback shows where it arises.
                raise
            return reporter.fail("diverged", error)
        except collapse.Collapsed as error:
            return reporter.fail("collapsed", error)
        finally:
            if compiling:  # Python must not end meanwhile.
                compiling.join()
        best = run.best()
        results = {"test": self._evaluate("test", **best)}
        if "validation" in run.data.held_out:
            results["validation"] = self._evaluate("validation", **best)
        if begun := run.begun():
            results["before"] = self._evaluate("test", **begun)
        batch, shown = run.shown_batch()
        planes = self._distributions(batch=batch, **best)
        return reporter.end(results, planes[:shown])

    def _compile_evaluation(self) -> threading.Thread:
        """Compile the evaluation for JAX's cache on disk, while an epoch is trained."""
        batch = next(self._run.batches_of("validation")[0])
        state = self._run.state
        shapes = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype),
            (state.params, state.statistics, batch),
        )

        def compile_it():
            self._eval_step.lower(*shapes).compile()

        thread = threading.Thread(target=compile_it, daemon=True)
        thread.start()
        return thread

    def _train_epoch(self) -> float | None:
        """Do the steps that are left of an epoch; a resumed one may have done some.

        Returns:
            The share of the time in which devices computed steps, if known.
        """
        run, rules = self._run, self._run.config.train
        so_far, num_steps = run.history, run.data.steps_per_epoch
        before = so_far.epoch * num_steps
        first = int(run.state.step) - before
        title = f"Epoch {so_far.epoch + 1} of {rules.epochs}"
        began = time.monotonic()
        started = began - so_far.epoch_seconds
        self._times.clear()
        calls = self._calls if self._resident is None else self._shared_calls
        size = round(run.data.examples_per_step)
        done = first
        with progress.Progress(
            title, num_steps * size, "examples", done=first * size
        ) as bar:
            for steps, in_step in calls(so_far.epoch, first):
                done += steps
                bar.update(steps * size, run.look() if in_step else "")
                so_far.epoch_seconds = time.monotonic() - started
                if done < num_steps:
                    self._check_stop(in_step=in_step)
                    if done % rules.checkpoint_steps == 0:
                        run.save_last()
        return self._times.share(time.monotonic() - began)

    def _calls(self, epoch: int, first: int) -> Iterator[tuple[int, bool]]:
        """Do the steps of an epoch one by one.

        Yields:
            After each the number of steps done, 1, and whether to look at the state.
        """
        run, num_steps = self._run, self._run.data.steps_per_epoch
        start = epoch * num_steps
        for step, batch in enumerate(run.data.training_batches(epoch, first), first):
            with self._profiler.steps(start + step + 1):
                run.state = self._step(batch, start + step)
            done = step + 1
            yield 1, done % _STEPS_BETWEEN_SYNCS == 0 or done == num_steps

    def _shared_calls(self, epoch: int, first: int) -> Iterator[tuple[int, bool]]:
        """Do the steps of an epoch, several with each call: see `_calls`.

        How many depends on how long they take; it changes no bit.
        """
        run, num_steps = self._run, self._run.data.steps_per_epoch
        saves = run.config.train.checkpoint_steps

        def draw(start: int):
            if start >= num_steps:
                return None
            # Always as many: another number would compile another program.
            steps = np.minimum(np.arange(start, start + _BLOCK), num_steps - 1)
            return jax.device_put(run.data.training_block(epoch, steps.tolist()))

        start = first // _BLOCK * _BLOCK
        block, following, step = draw(start), None, first
        while step < num_steps:
            if step == start + _BLOCK:
                start, block, following = start + _BLOCK, following, None
            ends = (start + _BLOCK, num_steps, (step // saves + 1) * saves)
            count = min(self._steps_of_call, *(end - step for end in ends))
            began = time.monotonic()
            before = epoch * num_steps + step + 1
            with (
                self._profiler.steps(before, count),
                self._times.measure(run.label, None, {}, count),
            ):
                run.state = self._train_steps(
                    run.state, self._resident, block, step - start, step - start + count
                )
                if following is None:  # While the device computes.
                    following = draw(start + _BLOCK)
                jax.block_until_ready(run.state)
            step += count
            self._steps_of_call = self._pace(count, time.monotonic() - began)
            yield count, True

    def _pace(self, count: int, seconds: float) -> int:
        """Choose the number of steps of the next call by the time of the last."""
        fitting = int(_SECONDS_OF_CALL * count / max(seconds, 1e-9))
        # The first call compiles.
        return max(1, min(fitting, 4 * count, _BLOCK))

    def _step(self, batch, number: int) -> step_lib.TrainState:
        """Do one training step; note its batch if --debug_nans ends it."""
        try:
            label = self._run.label_of_step(number)
            train_step = self._make_train_step(label)
            with self._times.measure(label, self._run.state, batch) as measured:
                state = train_step(self._run.state, batch)
                if measured:
                    jax.block_until_ready(state)
            return state
        except FloatingPointError:
            self._run.skipped.note(number, math.nan, math.nan)
            raise

    def _evaluate(self, split: str, params, statistics) -> evaluate.Evaluation:
        step = functools.partial(self._eval_step, params, statistics)
        batches, num_examples = self._run.batches_of(split)
        return evaluate.evaluate(step, batches, num_examples, f"Evaluating {split}")

    def _check_stop(self, is_saved: bool = False, in_step: bool = True) -> None:
        """Save and raise if it is time to stop.

        Args:
            is_saved: Whether the checkpoints hold the state already.
            in_step: Whether all processes call this after the same step: several can
                agree only then.
        """
        if not distributed.is_one_of_many() or in_step:
            reason = distributed.agree(self._run.stop_flag.reason())
            if reason:
                if not is_saved:
                    self._run.save_last()
                self._run.wait_until_saved()  # Other processes leave after this one.
                raise stopping.Stopped(reason)
