"""Shared weights: a folder with the arrays of a network and a card that describes them.

`weights.safetensors` holds the arrays by name, `card.json` the record of their run and
the checksums of both files, and `README.md` a description for people. The checksums
reveal damage, not forgery. Arrays in half precision are widened when they are read.
docs/sharing.md describes the format.
"""

import hashlib
import json
import os
import pathlib
import secrets
import shutil
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

import uld_jax
from uld_jax.pretrained import shipped
from uld_jax.runtime import errors
from uld_jax.storage import atomic, integrity, records

FILE_NAME = "weights.safetensors"
README_FILE = "README.md"
FORMATS = (1, 2)  # The second has arrays in half precision.

_KINDS = "fiub"  # NumPy's letters of floats, integers and Booleans.
_NEEDED = {
    "card": ("name", "record", "hashes"),
    "hashes": ("parameters", "bytes", "weights", "card"),
}
_AGAIN = "copy the whole folder again"


class WeightsError(errors.InputError):
    """Weights that cannot be shared or loaded, with the reason."""


def check_new(out: pathlib.Path, flag: str) -> None:
    """Check that a folder can be created.

    Raises:
        WeightsError: If the path exists, or the folder above cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise WeightsError(f"{flag}: {str(out)!r} exists; name another folder")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise WeightsError(
            f"{flag}: {str(out.parent)!r} is not a writable folder; make it, or name "
            "another"
        )


def write_folder(
    out: pathlib.Path,
    content: dict[str, Any],
    arrays: dict[str, np.ndarray],
    readme: str,
    half: bool = False,
) -> int:
    """Write a folder of shared weights in one piece; return its size in bytes.

    The same input gives the same bytes.

    Args:
        out: The folder, which must not exist.
        content: The card without its format and checksums: at least a `name` and the
            `record` of a finished run.
        arrays: The arrays by name.
        readme: The description for people.
        half: Whether to store arrays of float32 as float16. They are read as float32
            again, with 11 bits left of 24.

    Raises:
        WeightsError: If an array cannot be shared, or is too large for float16.
        OSError: If the folder exists or cannot be written. Nothing is left behind.
    """
    _check_arrays(out, arrays)
    # The library writes memory as it lies, so rows must be contiguous.
    arrays = {name: np.array(array, order="C") for name, array in arrays.items()}
    if half:
        arrays = _narrow(out, arrays)
    made = {
        "format": FORMATS[half],
        "made_by": f"uld_jax {uld_jax.__version__}",
        **({"precision": "float16"} if half else {}),
    }
    content = made | content
    # A single metadata entry, because the library does not keep the order of several.
    data = safetensors.numpy.save(arrays, {"card": _sum(content)})
    hashes = {
        "parameters": digest(_widen(arrays)),
        "bytes": len(data),
        "weights": hashlib.sha256(data).hexdigest(),
    }
    hashes["card"] = _sum(content | {"hashes": hashes})
    card = atomic.to_json(content | {"hashes": hashes}).encode()
    files = {FILE_NAME: data, records.CARD_FILE: card, README_FILE: readme.encode()}
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        partial.mkdir()
        for name, text in files.items():
            atomic.write_bytes(partial / name, text)
        atomic.sync_folder(partial)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    atomic.sync_folder(out.parent)
    return sum(map(len, files.values()))


def round_to_half(
    out: pathlib.Path, arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Round arrays as storing them in half precision does.

    Args:
        out: The folder, for errors.
        arrays: The arrays by name.

    Raises:
        WeightsError: If an entry is too large for float16.
    """
    return _widen(_narrow(out, arrays))


def _narrow(out: pathlib.Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    narrow = {}
    for name, array in arrays.items():
        if array.dtype == np.float32:
            largest = float(np.abs(array).max(initial=0.0))
            if largest > float(np.finfo(np.float16).max):
                raise WeightsError(
                    f"{str(out)!r}: the array {name} has entries up to {largest:.3g}, "
                    "too large for half precision; share it without --half"
                )
            array = array.astype(np.float16)
        narrow[name] = array
    return narrow


def _widen(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in arrays.items()
    }


def digest(items: dict[str, Any]) -> str:
    """Hash a tree of arrays to 16 digits: names, types, shapes and bits."""
    total = hashlib.sha256()
    for name, leaf in sorted(integrity.by_name(items).items()):
        array = np.asarray(leaf)
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:16]


def read_run(folder: str | pathlib.Path, flag: str) -> dict[str, Any]:
    """Read the record of a network, of a finished run or from shared weights.

    Args:
        folder: Folder of the run, or of the weights; or the name of a network that comes
            with the package, where there is no such folder.
        flag: The flag that named it, for errors.

    Returns:
        The record with its `folder`; for shared weights also the rest of their `card`.

    Raises:
        RecordError: If there is no such run, or its record lacks a key.
        WeightsError: If there is a card, and it is damaged or of a newer format; or if
            neither a folder nor a network has this name.
    """
    path = shipped.find(folder)
    if not path.exists() and str(folder) == path.name:
        raise WeightsError(
            f"{flag}: no folder {path.name!r}, and {shipped.explain(path.name)}"
        )
    if not (path / records.CARD_FILE).exists():
        return records.read_trained(folder, flag)
    card = _read_card(path / records.CARD_FILE, flag)
    run = card.pop("record") | {"folder": str(path), "card": card}
    # A later test of the same network may say more of how large its errors are.
    return run | {key: card["tested"][key] for key in ("radii",) if "tested" in card}


def identify_run(run: dict[str, Any]) -> str:
    """Hash the record of a run to 16 digits, wherever it lies.

    Args:
        run: As `read_run` returns it.
    """
    facts = {key: value for key, value in run.items() if key != "folder"}
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_arrays(folder: pathlib.Path, card: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the arrays of shared weights by name, and verify all of them.

    Args:
        folder: The folder.
        card: Its card, as `read_run` returns it.

    Raises:
        WeightsError: If the file is not the one that the card describes, or an array
            is not finite.
    """
    path, hashes = folder / FILE_NAME, card["hashes"]
    if not path.is_file():
        raise WeightsError(
            f"{str(folder)!r} holds a {records.CARD_FILE} and no {FILE_NAME}; {_AGAIN}"
        )
    data = path.read_bytes()
    if len(data) != hashes["bytes"]:
        raise WeightsError(
            f"{str(path)!r} has {len(data):,} bytes; its card expects "
            f"{hashes['bytes']:,}; it is cut off, or another file: {_AGAIN}"
        )
    if (found := hashlib.sha256(data).hexdigest()) != hashes["weights"]:
        raise WeightsError(
            f"{str(path)!r} is damaged: its SHA-256 is {found:.16}...; its card expects "
            f"{hashes['weights']:.16}...; {_AGAIN}"
        )
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError) as error:
        raise WeightsError(
            f"{str(path)!r} cannot be read as safetensors: {error}; ask its author to "
            "share it again"
        ) from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    made_for = header.get("__metadata__", {}).get("card")
    if made_for != card["made_for"]:
        raise WeightsError(
            f"{str(path)!r} belongs to another {records.CARD_FILE} than the one "
            f"beside it; {_AGAIN}"
        )
    _check_arrays(path, arrays)
    if "precision" in card:
        arrays = _widen(arrays)
    if (found := digest(arrays)) != hashes["parameters"]:
        raise WeightsError(
            f"{str(path)!r} has the parameters {found}; its card expects "
            f"{hashes['parameters']}; ask its author to share it again"
        )
    return arrays


def _read_card(path: pathlib.Path, flag: str) -> dict[str, Any]:
    """Read and verify a card; add the checksum that its weights name, `made_for`."""

    def require(condition, problem):
        if not condition:
            raise WeightsError(f"{flag}: {str(path)!r} {problem}")

    damaged = f"is damaged: its checksum differs; {_AGAIN}"
    try:
        data = path.read_bytes()
        card = json.loads(data)
        require(
            isinstance(card, dict) and "format" in card,
            f"is not a card of shared weights: it has no format; {_AGAIN}",
        )
        require(
            card["format"] in FORMATS,
            f"is of format {card['format']!r:.20}, made by "
            f"{card.get('made_by')!r:.40}; this is uld_jax {uld_jax.__version__}, "
            f"which reads format {FORMATS[-1]}: update it",
        )
        hashes = card.get("hashes")
        require(isinstance(hashes, dict), damaged)
        others = {key: value for key, value in hashes.items() if key != "card"}
        require(hashes.get("card") == _sum(card | {"hashes": others}), damaged)
        require(atomic.to_json(card).encode() == data, damaged)
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:
        require(False, f"is damaged, not JSON: {error}; {_AGAIN}")
    for name, needed in _NEEDED.items():
        part = card if name == "card" else card[name]
        lacking = ", ".join(key for key in needed if key not in part)
        require(not lacking, f"is not a card of shared weights: it lacks {lacking}")
    records.check_complete(card["record"], f"{flag}: the record in {str(path)!r}")
    content = {key: value for key, value in card.items() if key != "hashes"}
    return card | {"made_for": _sum(content)}


def _check_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise if an array is not finite, or of a type that safetensors cannot store."""
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
            raise WeightsError(
                f"{str(path)!r}: the array {name} is of {array.dtype}; those of "
                "networks are float32"
            )
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise WeightsError(
                f"{str(path)!r}: the array {name} is not finite in {count:,} of "
                f"{array.size:,} entries; take another run's network"
            )


def _sum(content: dict[str, Any]) -> str:
    return hashlib.sha256(atomic.to_json(content).encode()).hexdigest()
