"""Reports of a run: lines of the log, TensorBoard, the record and predictions."""

from typing import Any

import numpy as np
import tensorboardX

from uld_jax import config as config_lib
from uld_jax.evaluation import evaluate, seen_positions
from uld_jax.pretrained import uncertainty
from uld_jax.runtime import distributed, progress
from uld_jax.storage import settings as settings_lib
from uld_jax.training import run as run_lib


class Reporter:
    """Writes what a run reports; in several processes, only the first writes files.

    Use as a context manager, which closes TensorBoard's file.

    Args:
        run: The run.
    """

    def __init__(self, run: run_lib.Run):
        self._run, self._writes = run, distributed.is_first()
        self._board = tensorboardX.SummaryWriter(
            str(run.folder.path / "tensorboard"), write_to_disk=self._writes
        )

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: Any) -> None:
        self._board.close()

    def start(self) -> None:
        """Log the size of the network and its cost, and write the record."""
        network = self._run.network
        parts = ", ".join(f"{k} {n:,}" for k, n in network["parts"].items())
        flops = network["flops"]
        cost = f"; {flops / 1e9:.3g} GFLOP forward per example" if flops else ""
        progress.log(
            f"Network {self._run.config.model.name}: {network['parameters']:,} "
            f"parameters ({parts}){cost}"
        )
        run = self._run
        truth = run.data.geometry("test")["source_positions"]
        trained = run.trained_places.get(run.data.origin.get("room"))
        if warning := seen_positions.describe_seen(truth, trained):
            progress.log(warning)
        self._write_record("running")

    def end_epoch(self) -> None:
        """Report the epoch that has just ended."""
        so_far = self._run.history
        epoch = so_far.epochs[-1]
        train, validation = epoch["train"], epoch["validation"]
        busy = epoch["device_busy"]
        progress.log(
            f"Epoch {epoch['epoch']}: loss {train['loss']:.3f}, validation "
            f"loss {validation['loss']:.3f} ({validation['kl']:.3f} above its floor), "
            f"ACC {100 * validation['accuracy']:.1f} %, MAE {validation['mae']:.3f} m; "
            f"rate {epoch['learning_rate']:.2g}, gradient {train['grad_norm']:.2g} "
            f"(largest {train['largest_grad_norm']:.2g}, clipped "
            f"{100 * train['clipped']:.0f} %), update {train['update_ratio']:.1e}; "
            f"{epoch['seconds']:.1f} s"
            + ("" if busy is None else f", device busy {100 * busy:.0f} %")
        )
        step = int(self._run.state.step)
        self._board.add_scalar("learning_rate", epoch["learning_rate"], step)
        if busy is not None:
            self._board.add_scalar("device_busy", busy, step)
        for split in ("train", "validation"):
            for key, value in epoch[split].items():
                self._board.add_scalar(f"{split}/{key}", value, step)
        self._board.add_scalar("rollbacks", len(so_far.rollbacks), step)
        last = so_far.rollbacks[-1] if so_far.rollbacks else {}
        if last.get("epoch") == epoch["epoch"]:
            place = f"epoch {last['back_to']}" if last["back_to"] else "the start"
            progress.log(
                f"Training has collapsed: {last['reason']}. Going back to {place}, with "
                f"rate {last['learning_rate']:.2g} and {last['warmup_steps']} steps of "
                f"warm-up (rollback {len(so_far.rollbacks)} of "
                f"{self._run.config.train.rollbacks})"
            )
        self._board.flush()
        self._write_record("running")

    def fail(self, status: str, error: Exception) -> dict[str, Any]:
        """Report that training cannot continue, and return the record.

        Args:
            status: "diverged": the loss or an output is not finite; or "collapsed".
            error: What happened.
        """
        progress.log(f"{self._run.folder}: {error}")
        return self._write_record(status, reason=str(error))

    def end(
        self, results: dict[str, evaluate.Evaluation], planes: np.ndarray
    ) -> dict[str, Any]:
        """Report the test of the best network, and return the record.

        Args:
            results: Metrics and predictions on the split `test`; on `validation`, if
                there is one; and on the test split by the network that training began
                with, `before`, if that was another run's.
            planes: Predicted distributions of the first test examples [B, S, K, K].
        """
        run, result = self._run, results["test"]
        if self._writes:
            facts = run.data.geometry("test")
            evaluate.write_predictions(
                run.folder.predictions, result, facts, planes=planes
            )
        radii = (run.init or {}).get("radii") if not run.config.train.epochs else None
        if held_out := results.get("validation"):
            radii = uncertainty.fit(held_out.spread.ravel(), held_out.errors.ravel())
        test = self._scores(result)
        if radii:
            found = np.asarray(uncertainty.radius(result.spread, radii))
            test["radius_90"] = float(np.median(found))
            test["radius_coverage_90"] = float((result.errors <= found).mean())
        before = results.get("before")
        return self._write_record(
            "done", test, radii=radii, before=before and self._scores(before)
        )

    def _scores(self, result: evaluate.Evaluation) -> dict[str, Any]:
        """Collect the scores of a test, by position where positions are few."""
        run = self._run
        trained = run.trained_places.get(run.data.origin.get("room"))
        scores = result.metrics | {"loss": result.loss, "kl": result.kl}
        return scores | seen_positions.score_by_position(result, trained)

    def _write_record(
        self,
        status: str,
        test: dict[str, Any] | None = None,
        reason: str | None = None,
        radii: dict[str, Any] | None = None,
        before: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        run = self._run
        examples = round(run.data.steps_per_epoch * run.data.examples_per_step)
        record = {
            "status": status,
            "settings": settings_lib.without_paths(config_lib.to_dict(run.config)),
            "seed": run.config.seed,
            "data": run.data.origin,
            "init": run.init,
            "trained_places": run.trained_places,
            "network": run.network,
            "best_epoch": run.history.best_epoch,
            "epochs": run.history.epochs,
            "test": test,
            "radii": radii,
            "test_before": before,
            "times": run.history.times(examples),
            "input_free_mae": run.input_free_mae,
            "rollbacks": run.history.rollbacks,
            "converged": run.history.converged(run.input_free_mae),
            "reason": reason,
            **run.environment,
        }
        if self._writes:
            run.folder.write_record(record)
        return record
