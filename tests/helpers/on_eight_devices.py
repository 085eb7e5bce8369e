"""Computations of test_devices.py in a process with eight virtual CPU devices.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python on_eight_devices.py WHAT OUT ...

A process's devices are counted once, before it computes anything.
"""

import functools
import pathlib
import re
import sys

import jax
import numpy as np
import tiny_networks
from conftest import tiny_config
from tiny_networks import ADAMW, LABEL

from uld_jax.datasets import loader, pipeline
from uld_jax.evaluation import evaluate
from uld_jax.runtime import devices, stopping
from uld_jax.training import reporting, train
from uld_jax.training import step as step_lib

COUNTS = {"l1": (1, 2, 4, 8), "two_talkers": (1, 8), "votes": (1, 8)}
NUM_STEPS, BATCH, HELD_OUT = 3, 8, 13


def divide(team, batch):
    size = len(batch["audio"])
    return team.assemble(
        [
            {key: values[rows.start : rows.stop] for key, values in batch.items()}
            for rows in team.rows(size)
        ]
    )


def losses_and_metrics(out):
    """Train a few steps, and evaluate an odd number of examples, on 1 to 8 devices."""
    told = {}
    for kind, counts in COUNTS.items():
        graph, state = tiny_networks.network(kind)
        first = jax.device_get(state)
        held_out = tiny_networks.batch(kind, HELD_OUT, seed=100)
        for count in counts:
            team = devices.Devices(BATCH, jax.devices()[:count])
            assert team.num == count
            step = step_lib.make_train_step(graph, ADAMW, LABEL, 0, True, team)
            state = team.replicate(first)
            # Of the same parameters: what is evaluated is not to differ at all.
            eval_step = evaluate.make_eval_step(graph, LABEL, True, team)
            judge = functools.partial(eval_step, state.params, state.statistics)
            size = team.round_up(HELD_OUT, evaluate.ROWS)
            padded = np.minimum(np.arange(size), HELD_OUT - 1)
            batch = {key: values[padded] for key, values in held_out.items()}
            result = evaluate.evaluate(judge, [divide(team, batch)], HELD_OUT, "Test")
            name = f"{kind}_{count}"
            told[f"{name}_predicted"] = result.predicted
            told[f"{name}_metrics"] = np.array([*result.metrics.values(), result.loss])
            seen = []
            for number in range(NUM_STEPS):
                batch = divide(team, tiny_networks.batch(kind, BATCH, number))
                if number == 0:
                    text = step.lower(state, batch).compile().as_text()
                    gathers = len(re.findall(r"all-gather|all-to-all", text))
                    told[f"{name}_gathers"] = gathers
                    told[f"{name}_reduces"] = len(re.findall(r"all-reduce", text))
                state = step(state, batch)
                # AdamW turns rounding errors of tiny gradients into full steps.
                sums = {
                    k: float(v) for k, v in state.sums.items() if k != "update_ratio"
                }
                seen.append(list(sums.values()))
            told[f"{name}_sums"] = np.array(seen)
            told[f"{name}_where"] = len(jax.tree.leaves(state.params)[0].devices())
    np.savez(out, **told)


def batches(out, data_dir):
    """Write what two steps of an epoch hold on 1 and 8 devices, however read."""
    told = {}
    for count in (1, 8):
        team = devices.Devices(BATCH, jax.devices()[:count])
        for place in ("device", "disk"):
            config = tiny_config(data_dir, **{"data.held_on": place})
            data = loader.RunData(config, devices=team)
            data.load()
            made = list(data.training_batches(1, 2))[:2]
            size = team.round_up(5)
            order = pipeline.in_order(5, size)
            made.append(next(data.held_out["test"].batches(order)))
            for number, batch in enumerate(made):
                rows = 5 if number == 2 else None
                for key, values in batch.items():
                    name = f"{count}_{place}_{number}_{key}"
                    told[name] = np.asarray(values)[:rows]
    np.savez(out, **told)


def there_and_back(workdir, data_dir):
    """Train an epoch each on 8 devices, on 1, and on 8 again."""
    config = tiny_config(data_dir, **{"train.epochs": 3})
    all_devices = jax.devices()
    jax_devices = jax.devices
    for count in (8, 1, 8):
        jax.devices = lambda count=count: all_devices[:count]
        end_epoch = reporting.Reporter.end_epoch

        def once(self, end_epoch=end_epoch):
            end_epoch(self)
            self._run.stop_flag.reason = lambda: "an epoch is over"

        reporting.Reporter.end_epoch = once
        try:
            train.train_and_evaluate(config, workdir)
        except stopping.Stopped:
            pass
        finally:
            reporting.Reporter.end_epoch, jax.devices = end_epoch, jax_devices
    train.train_and_evaluate(config, workdir)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    globals()[what](*map(pathlib.Path, arguments))
