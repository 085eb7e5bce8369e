"""Shared weights: a folder of a network's arrays, and a card that tells what they are.

`weights.safetensors` holds the arrays by name, `card.json` the record of the run they
are from and what the other file has to be, and `README.md` tells both to people. The
sums that are checked tell damage, not forgery. docs/sharing.md tells more.
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
from uld_jax.runtime import errors
from uld_jax.storage import atomic, records

FILE_NAME = "weights.safetensors"
README_FILE = "README.md"
FORMAT = 1

_KINDS = "fiub"  # Floating-point numbers, whole ones, and Booleans.
_NEEDED = {
    "card": ("name", "record", "hashes"),
    "hashes": ("parameters", "bytes", "weights", "card"),
}
_AGAIN = "copy the whole folder again"


class WeightsError(errors.InputError):
    """Weights that cannot be shared or used, with the reason."""


def check_new(out: pathlib.Path, flag: str) -> None:
    """Raise unless a folder can be made.

    Raises:
        WeightsError: If there is something already, or no folder to make it in.
    """
    if out.exists() or out.is_symlink():
        raise WeightsError(
            f"{flag}: {str(out)!r} is there already; name another folder"
        )
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise WeightsError(
            f"{flag}: {str(out.parent)!r} is no folder that can be written; make it, "
            "or name another"
        )


def write(
    out: pathlib.Path,
    content: dict[str, Any],
    arrays: dict[str, np.ndarray],
    parameters: str,
    readme: str,
) -> int:
    """Write a folder in one piece, and return its size in bytes.

    A reader sees all of it or nothing. Of the same things the same bytes are made.

    Args:
        out: The folder; it is not there yet.
        content: What the card says besides its format and sums: at least a `name` and
            the `record` of a finished run.
        arrays: The arrays by name.
        parameters: What `initialization.digest` makes of them.
        readme: The same for people.

    Raises:
        WeightsError: If an array cannot be shared.
        OSError: If the folder is there already or cannot be written. Nothing of it is
            left then.
    """
    _check_arrays(out, arrays)
    # Others than contiguous ones would be written in a wrong order.
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    made = {"format": FORMAT, "made_by": f"uld_jax {uld_jax.__version__}"}
    content = made | content
    # One entry alone: the order of several changes from time to time.
    data = safetensors.numpy.save(whole, {"card": _sum(content)})
    hashes = {
        "parameters": parameters,
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
            _write_file(partial / name, text)
        atomic.sync_folder(partial)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    atomic.sync_folder(out.parent)
    return sum(map(len, files.values()))


def read_network(folder: str | pathlib.Path, flag: str) -> dict[str, Any]:
    """Return the record of a network, of a finished run or of shared weights.

    That of shared weights has all else of their card as `card`, for `read`.

    Args:
        folder: Folder of the run, or of the weights.
        flag: What named it, for messages.

    Raises:
        RecordError: If there is no such run, or its record lacks a key.
        WeightsError: If there is a card, and it is damaged or of a newer format.
    """
    path = pathlib.Path(folder).expanduser()
    if not (path / records.CARD_FILE).exists():
        return records.read_trained(folder, flag)
    card = _read_card(path / records.CARD_FILE, flag)
    return card.pop("record") | {"folder": str(path), "card": card}


def read(folder: pathlib.Path, card: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of shared weights by name, once all of them are checked.

    Args:
        folder: The folder.
        card: Its card, as `read_network` returns it.

    Raises:
        WeightsError: If the file is not that of the card, or an array is not finite.
    """
    path, told = folder / FILE_NAME, card["hashes"]
    if not path.is_file():
        raise WeightsError(
            f"{str(folder)!r} holds a {records.CARD_FILE} and no {FILE_NAME}; {_AGAIN}"
        )
    data = path.read_bytes()
    if len(data) != told["bytes"]:
        raise WeightsError(
            f"{str(path)!r} has {len(data):,} bytes, and its card says "
            f"{told['bytes']:,}; it is cut off, or another file: {_AGAIN}"
        )
    if (found := hashlib.sha256(data).hexdigest()) != told["weights"]:
        raise WeightsError(
            f"{str(path)!r} is damaged: its SHA-256 is {found:.16}..., and its card "
            f"says {told['weights']:.16}...; {_AGAIN}"
        )
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError) as error:
        raise WeightsError(
            f"{str(path)!r} cannot be read as safetensors: {error}; let whoever made "
            "it share it anew"
        ) from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    made_for = header.get("__metadata__", {}).get("card")
    if made_for != card["made_for"]:
        raise WeightsError(
            f"{str(path)!r} was made for another {records.CARD_FILE} than the one "
            f"beside it; {_AGAIN}"
        )
    _check_arrays(path, arrays)
    return arrays


def _read_card(path: pathlib.Path, flag: str) -> dict[str, Any]:
    """Return a card, checked, with what its weights are `made_for`."""

    def unless(condition, reason):
        if not condition:
            raise WeightsError(f"{flag}: {str(path)!r} {reason}")

    damaged = f"is damaged: it is not what its sum was made of; {_AGAIN}"
    try:
        data = path.read_bytes()
        card = json.loads(data)
        unless(
            isinstance(card, dict) and "format" in card,
            f"is no card of shared weights: it names no format; {_AGAIN}",
        )
        unless(
            card["format"] == FORMAT,
            f"is of format {card['format']!r:.20}, made by "
            f"{card.get('made_by')!r:.40}; this is uld_jax {uld_jax.__version__}, "
            f"which reads format {FORMAT}: update it",
        )
        hashes = card.get("hashes")
        unless(isinstance(hashes, dict), damaged)
        others = {key: value for key, value in hashes.items() if key != "card"}
        unless(hashes.get("card") == _sum(card | {"hashes": others}), damaged)
        unless(atomic.to_json(card).encode() == data, damaged)
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:
        unless(False, f"is damaged, no JSON: {error}; {_AGAIN}")
    _check_complete(card, path, flag, unless)
    content = {key: value for key, value in card.items() if key != "hashes"}
    return card | {"made_for": _sum(content)}


def _check_complete(card: dict, path: pathlib.Path, flag: str, unless) -> None:
    """Raise if a card lacks what a network is read by."""
    for name, needed in _NEEDED.items():
        part = card if name == "card" else card[name]
        lacking = [key for key in needed if key not in part]
        unless(not lacking, f"is no card of shared weights: no {', '.join(lacking)}")
    records.check_complete(card["record"], f"{flag}: the record in {str(path)!r}")


def _check_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise if there is an array that is not finite, or cannot be stored."""
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
                f"{array.size:,} places; take another run's network"
            )


def _sum(content: dict[str, Any]) -> str:
    return hashlib.sha256(atomic.to_json(content).encode()).hexdigest()


def _write_file(path: pathlib.Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
