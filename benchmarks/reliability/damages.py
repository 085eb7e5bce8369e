"""Flip bits in checkpoints and data sets, and count which reader notices.

    python -m benchmarks.reliability.damages --flips=200

One bit at a time, in a random file and at a random offset; each file is equally likely,
so that small files with metadata have their share. The same damage is read by the
underlying libraries (Orbax; TFDS with ArrayRecord) and by this project. "Silent" is a
read that returns other values without an error.
"""

import argparse
import contextlib
import functools
import io
import pathlib
import random
import shutil
import tempfile
from collections import Counter

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorflow_datasets as tfds

from uld_jax.audio import corpora
from uld_jax.datasets import splits
from uld_jax.runtime import errors
from uld_jax.storage import checkpoints

SPLITS = ("train", "validation", "test")


def flip(folder: pathlib.Path, rng: random.Random) -> None:
    """Flip one bit of one file at or below a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def same(actual, expected) -> bool:
    """Check if two trees are equal bit for bit."""
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype
        and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in pairs
    )


def outcome(read, expected, refusals=Exception) -> str:
    """Classify a read: "noticed", "silent", or "harmless"."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = read()
    except refusals:
        return "noticed"
    return "harmless" if same(found, expected) else "silent"


def state_of(seed: int) -> dict:
    """Make a training state of about 100 KB."""
    rng = np.random.default_rng(seed)
    params = {f"layer{n}": rng.normal(size=(32, 64)) for n in range(6)}
    params = {name: np.float32(value) for name, value in params.items()}
    moments = {name: np.float32(value**2) for name, value in params.items()}
    return {"params": params, "opt_state": moments, "counts": {"step": np.array(seed)}}


def of_checkpoints(base: pathlib.Path, flips: int, seed: int) -> dict[str, Counter]:
    """Count how Orbax and we read flips in the newer of two steps."""
    whole, states = base / "whole", {step: state_of(step) for step in (1, 2)}
    with checkpoints.Checkpoints(whole) as saved:
        for step, state in states.items():
            saved.save("last", step, state, {"epoch": step})
    counts = {"Orbax": Counter(), "uld_jax": Counter()}
    for number in range(flips + 1):
        run = base / "run"
        shutil.copytree(whole, run)
        if number:  # The first stays undamaged, to check that it can be read.
            flip(run / "last" / "2", random.Random(f"{seed} {number}"))

        def by_orbax(step=run / "last" / "2"):
            # As Orbax's manager does.
            reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
            likes = {
                name: jax.tree.map(ocp.utils.to_shape_dtype_struct, item)
                for name, item in states[2].items()
            }
            args = {k: ocp.args.StandardRestore(like) for k, like in likes.items()}
            read = reader.restore(step.resolve(), args=ocp.args.Composite(**args))
            read = {name: read[name] for name in states[2]}
            return read

        found = outcome(by_orbax, states[2])
        assert number or found == "harmless", "undamaged files cannot be read"
        if not number:
            shutil.rmtree(run)
            continue
        counts["Orbax"][found] += 1
        with (
            contextlib.redirect_stdout(io.StringIO()),
            checkpoints.Checkpoints(run) as saved,
        ):
            state, note = saved.restore("last", states[2])
        if not same(state, states[note["epoch"]]):
            kind = "silent"
        elif note["epoch"] == 1:
            kind = "noticed"
        else:
            kind = "harmless"
        counts["uld_jax"][kind] += 1
        shutil.rmtree(run)
    return counts


def of_data(base: pathlib.Path, flips: int, seed: int) -> dict[str, Counter]:
    """Count how TFDS and we read flips in a data set."""
    from uld_jax_data import shards
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    def make_builder():
        return simulated.Builder(
            config="l1_tiny",
            data_dir=str(base),
            file_format="array_record",
            corpus=corpora.open_speech("builtin"),
        )

    def write_here(make, missing, bar):
        builder = make()
        for shard in missing:
            shards.write_shard(builder, shard)
            bar.update(shard.num_examples)
        return {}

    whole = shards.prepare(make_builder, write_here)
    fields = splits.FIELDS

    def by_tfds(path):
        source = tfds.builder_from_directory(path)
        return [
            [example[field] for field in fields]
            for split in SPLITS
            for example in source.as_data_source(split)
        ]

    def by_us(path):
        read = []
        for split in SPLITS:
            arrays = splits.Split(path, split).load()
            rows = range(len(arrays["audio"]))
            read += [[arrays[field][row] for field in fields] for row in rows]
        return read

    expected = by_tfds(whole)
    counts = {"TFDS and ArrayRecord": Counter(), "uld_jax": Counter()}
    for number in range(flips):
        path = base / "damaged" / "1.0.0"
        shutil.copytree(whole, path)
        flip(path, random.Random(f"{seed} {number}"))
        found = outcome(functools.partial(by_tfds, path), expected)
        counts["TFDS and ArrayRecord"][found] += 1
        found = outcome(functools.partial(by_us, path), expected, errors.InputError)
        counts["uld_jax"][found] += 1
        shutil.rmtree(path)
    return counts


def main() -> None:
    """Print the counts as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flips", type=int, default=200, help="flips of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the random flips")
    arguments = parser.parse_args()
    print("| one bit flipped in | read by | noticed | harmless | silent |")
    print("|---|---|---|---|---|")
    for what, count in (("a checkpoint", of_checkpoints), ("a data set", of_data)):
        with tempfile.TemporaryDirectory() as folder:
            counts = count(pathlib.Path(folder), arguments.flips, arguments.seed)
        for reader, found in counts.items():
            numbers = (found[key] for key in ("noticed", "harmless", "silent"))
            print(
                f"| {what} | {reader} | {' | '.join(map(str, numbers))} |", flush=True
            )


if __name__ == "__main__":
    main()
