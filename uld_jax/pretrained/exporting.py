"""A network as one file that runs without this package: a StableHLO program by JAX.

The file is a ZIP archive of two members, which are not compressed: `card.json` says what
goes in and what comes out, and `network.jax_export` is what `jax.export.deserialize`
reads. Parameters are part of it. docs/weights.md shows how it is used.
"""

import contextlib
import importlib.util
import io
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

import uld_jax
from uld_jax.acoustics import stft
from uld_jax.audio import signals
from uld_jax.networks import build
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors, jax_setup
from uld_jax.storage import atomic

PROGRAM, CARD = "network.jax_export", "card.json"
SUFFIX = ".zip"
_FORMAT = 1
_LOCATIONS = "jax_traceback_in_locations_limit"
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_INPUTS = {
    "signals": "recordings of the nodes on one clock, of any level; no NaN",
    "node_positions": "(x, y, z) of the nodes in meters, from a corner of the room",
    "room_size": "sides of the room along x, y, z in meters",
    "node_mask": "whether a node is there; values of absent nodes do not matter",
}
_OUTPUTS = {
    "positions": "(x, y) of each source in meters",
    "distribution": "scores over the plan of the room, rows y and columns x",
    "radius_90": "meters around each position that hold 90 % of the errors",
}


class ExportError(errors.InputError):
    """A network that cannot be exported, with the reason."""


def check_new(out: str | pathlib.Path) -> pathlib.Path:
    """Check that a file can be written; return its path.

    Raises:
        ExportError: If it exists, does not end in .zip, or its folder cannot be written;
            or if the library that writes programs is missing.
    """
    path = pathlib.Path(out).expanduser()
    if path.suffix != SUFFIX:
        raise ExportError(f"--out: {str(path)!r} does not end in {SUFFIX}")
    if path.exists() or path.is_symlink():
        raise ExportError(f"--out: {str(path)!r} exists; name another file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ExportError(
            f"--out: {str(path.parent)!r} is not a writable folder; make it, or name "
            "another"
        )
    if importlib.util.find_spec("flatbuffers") is None:
        raise ExportError(
            "JAX needs the library flatbuffers to write programs: pip install "
            "'uld-jax[export]'"
        )
    return path


def export(folder: str | pathlib.Path, out: str | pathlib.Path) -> str:
    """Write a trained network to a file that needs JAX alone; return a line about it.

    Args:
        folder: Folder of a finished run or of shared weights, or the name of a network
            that comes with the package.
        out: The new file, which ends in .zip.

    Raises:
        ExportError: As `check_new`; or if the network does not take signals of the length
            in its record.
        RecordError, WeightsError, CheckpointError, NetworkError: As
            `loading.load_network`.
    """
    path = check_new(out)
    jax_setup.configure()
    run = weights.read_run(folder, "export")
    function, shapes = _function(run)
    make = jax_export.export(jax.jit(function), platforms=_PLATFORMS)
    try:
        with _without_source_lines():
            program = make(**shapes)
    except ValueError as error:  # A network that does not fit its training data.
        raise ExportError(f"export: {run['folder']!r}: {error}") from None
    card = _card(run, shapes, program)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:  # Each member has a checksum.
        for name, content in (
            (CARD, atomic.to_json(card).encode()),
            (PROGRAM, bytes(program.serialize())),
        ):
            # Without the time, so that a network gives the same bytes each time.
            archive.writestr(zipfile.ZipInfo(name), content)
    atomic.write_bytes(path, data.getvalue())
    takes = "x".join(map(str, card["inputs"]["signals"]["shape"]))
    return (
        f"{path} holds {card['name']} for signals of {takes} at "
        f"{signals.SAMPLE_RATE} Hz, in {len(data.getvalue()) / 1e6:.3g} MB; it needs JAX "
        "and flatbuffers"
    )


@contextlib.contextmanager
def _without_source_lines() -> Iterator[None]:
    """Keep names of source files, which are folders of one's own, out of programs."""
    before = getattr(jax.config, _LOCATIONS)
    jax.config.update(_LOCATIONS, 0)
    try:
        yield
    finally:
        jax.config.update(_LOCATIONS, before)


def _function(run: dict) -> tuple[Callable[..., dict], dict[str, Any]]:
    """Make the function to export, and the shapes of its arguments by name.

    Letters stand for any number. Networks of measured evidence divide batches and pair
    nodes in Python, so that theirs are fixed, and a mask says which nodes there are.
    """
    facts = loading.training_data(run)
    num_nodes, num_sources = facts["num_nodes"], facts["num_sources"]
    graph, params, statistics, label = loading.restore_network(
        run, num_nodes, num_sources
    )
    spec = build.get_spec(run["settings"]["model"]["name"])

    def localize(**batch):
        batch = {"audio": batch.pop("signals"), **batch}
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        found = loading.answer(label, outputs, batch, run.get("radii"))
        return dict(zip(_OUTPUTS, found, strict=True))

    fixed = spec.measure is not None
    if fixed:
        batch, nodes = 1, num_nodes
    elif spec.any_nodes:
        limits = [f"nodes >= {spec.least_nodes}"]
        batch, nodes = jax_export.symbolic_shape("batch, nodes", constraints=limits)
    else:
        (batch,) = jax_export.symbolic_shape("batch")
        nodes = num_nodes
    num_samples = facts.get("num_samples") or signals.SAMPLE_RATE
    stft.num_frames(num_samples)
    shapes = {
        "signals": (batch, nodes, num_samples),
        "node_positions": (batch, nodes, 3),
        "room_size": (batch, 3),
    }
    shaped = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()
    }
    if fixed:
        shaped["node_mask"] = jax.ShapeDtypeStruct((batch, nodes), jnp.bool_)
    return localize, shaped


def _card(run: dict, shapes: dict, program: jax_export.Exported) -> dict[str, Any]:
    """Describe a program: what goes in, what comes out, and what it was made from."""
    shared = run.get("card", {})

    def describe(arrays, meanings):
        return {
            name: {
                "shape": [one if isinstance(one, int) else str(one) for one in a.shape],
                "type": str(a.dtype),
                "meaning": meanings[name],
            }
            for name, a in arrays.items()
        }

    outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
    return {
        "format": _FORMAT,
        "made_by": f"uld_jax {uld_jax.__version__}, jax {jax.__version__}",
        "name": shared.get("name", pathlib.Path(run["folder"]).resolve().name),
        "license": shared.get("license"),
        "parameters": weights.digest(loading.arrays_of(run)),
        "sample_rate": signals.SAMPLE_RATE,
        "label": {
            key: run["settings"]["label"][key] for key in ("scheme", "resolution")
        },
        "radii": run.get("radii"),
        "inputs": describe(shapes, _INPUTS),
        "outputs": describe(outputs, _OUTPUTS),
    }
