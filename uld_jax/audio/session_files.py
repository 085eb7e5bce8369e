"""The files of a session's recordings: which channel of which file is a node's, and blocks.

Recorders may differ in sample rate, length, number of channels and start.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uld_jax.audio import session_tables
from uld_jax.audio import signals as signals_lib
from uld_jax.audio.session_tables import SessionError

LOWEST_RATE = 8000
ENDINGS = (".wav", ".flac", ".ogg")

_LEAST_SECONDS = 0.01
_MARGIN = 1600  # Samples at 16 kHz, read around a block that is resampled.


class Channel(NamedTuple):
    """Where the signal of a node is.

    Attributes:
        path: The file.
        number: Of the channel in it, from 0.
        frames: Samples, at the file's rate.
        rate: Sample rate in hertz.
    """

    path: pathlib.Path
    number: int
    frames: int
    rate: int

    @property
    def num_samples(self) -> int:
        """Samples at 16 kHz."""
        return self.frames * signals_lib.SAMPLE_RATE // self.rate


def find_channels(
    folder: pathlib.Path, name: str, nodes: Mapping[str, session_tables.Node]
) -> tuple[Channel, ...]:
    """Find the channel of each node in the files of a recording.

    Args:
        folder: Folder of the session.
        name: Of a file with a channel for each node; or of a folder with a file for each,
            or the beginning of their names.
        nodes: The nodes by name.

    Raises:
        SessionError: If a file is missing, or has other channels, or too low a rate.
    """
    path = folder / name
    if path.suffix.lower() not in ENDINGS:
        files = _locate(path, list(nodes))
        return _choose([(files[node], nodes[node].channel) for node in nodes])
    if not path.is_file():
        raise SessionError(f"there is no file {str(path)!r}; correct the name")
    channels = signals_lib.read_header(path).channels
    if channels < len(nodes) or (
        channels > len(nodes) and not any(node.channel for node in nodes.values())
    ):
        raise SessionError(
            f"{str(path)!r} has {channels} channels; expected {len(nodes)} for "
            f"{len(nodes)} nodes in {session_tables.NODES}: correct the table or the file"
        )
    numbers = [node.channel for node in nodes.values()]
    if not all(numbers):
        numbers = range(1, len(nodes) + 1)
    return _choose([(path, number) for number in numbers])


def find_named(
    folder: pathlib.Path, nodes: Mapping[str, session_tables.Node]
) -> tuple[Channel, ...]:
    """Find the channels of a recording whose files are named in the table of nodes.

    Raises:
        SessionError: As `find_channels`.
    """
    for node in nodes.values():
        if not (folder / node.file).is_file():
            raise SessionError(
                f"there is no file {str(folder / node.file)!r}; correct the name"
            )
    return _choose([(folder / node.file, node.channel) for node in nodes.values()])


def read_block(
    channels: Sequence[Channel], starts: Sequence[int], length: int
) -> NDArray[np.float32]:
    """Read a block of all nodes' signals at 16 kHz, with zeros where there are none.

    Args:
        channels: Of the M nodes.
        starts: First sample of each at 16 kHz, which may be before its recording.
        length: Samples.

    Returns:
        [M, length].

    Raises:
        SignalError: If a file is unreadable or truncated.
    """
    block = np.zeros((len(channels), length), np.float32)
    together: dict[tuple[pathlib.Path, int], list[int]] = {}
    for row, (channel, start) in enumerate(zip(channels, starts, strict=True)):
        together.setdefault((channel.path, start), []).append(row)
    for (_, start), rows in together.items():
        some = [channels[row] for row in rows]
        first, last = max(start, 0), min(start + length, some[0].num_samples)
        if first < last:
            part = slice(first - start, last - start)
            block[rows, part] = _read(some, first, last)
    return block


def _read(channels: list[Channel], first: int, last: int) -> np.ndarray:
    """Read some channels of one file from one sample at 16 kHz to another."""
    path, _, frames, rate = channels[0]
    numbers = [channel.number for channel in channels]
    if rate == signals_lib.SAMPLE_RATE:
        return signals_lib.read_recording(path, first, last - first)[numbers]
    # Blocks begin where a sample at 16 kHz coincides with one of the file.
    common = math.gcd(rate, signals_lib.SAMPLE_RATE)
    step, own_step = signals_lib.SAMPLE_RATE // common, rate // common
    begin = max(first - _MARGIN, 0) // step
    end = min(-(-(last + _MARGIN) // step) * own_step, frames)
    begin_frame = begin * own_step
    read = signals_lib.read_recording(path, begin_frame, end - begin_frame)[numbers]
    skipped, length = first - begin * step, last - first
    return np.stack(
        [
            signals_lib.cut(signals_lib.resample(signal, rate), skipped, length)
            for signal in read
        ]
    )


def _choose(wanted: list[tuple[pathlib.Path, int | None]]) -> tuple[Channel, ...]:
    """Look up the channels in their files' headers, and check them.

    Args:
        wanted: The file of each node, and the number of its channel, from 1; None for the
            only one.
    """
    headers = {path: signals_lib.read_header(path) for path, _ in wanted}
    for path, header in headers.items():
        if header.rate < LOWEST_RATE:
            raise SessionError(
                f"{str(path)!r} has a sample rate of {header.rate} Hz; record at "
                f"{LOWEST_RATE} Hz or more"
            )
        if header.frames < _LEAST_SECONDS * header.rate:
            raise SessionError(
                f"{str(path)!r} has {header.frames} samples; record it again, or remove it"
            )
    channels = []
    for path, number in wanted:
        frames, rate, count = headers[path]
        if number is None and count != 1:
            raise SessionError(
                f"{str(path)!r} has {count} channels; name the one to use in a column "
                f"channel of {session_tables.NODES}, or write a file with one"
            )
        if number is not None and number > count:
            raise SessionError(
                f"{str(path)!r} has {count} channel{'s'[: count - 1]}, and "
                f"{session_tables.NODES} names channel {number}; correct the table"
            )
        channel = Channel(path, (number or 1) - 1, frames, rate)
        if channel in channels:
            raise SessionError(
                f"{str(path)!r}: two nodes have its channel {channel.number + 1}; name "
                f"another in {session_tables.NODES}"
            )
        channels.append(channel)
    return tuple(channels)


def _locate(path: pathlib.Path, nodes: Sequence[str]) -> dict[str, pathlib.Path]:
    """Find the file of each node in a folder, or by the beginning of their names."""
    found = _files_by_node(path, nodes)
    if not found:
        raise SessionError(
            f"there is neither a folder {str(path)!r} with NODE.wav for each node nor "
            f"{path.name}-NODE.wav; add one of them, with files ending in "
            f"{', '.join(ENDINGS)}"
        )
    if unknown := [node for node in found if node not in nodes]:
        raise SessionError(
            f"{str(found[unknown[0]][0])!r} belongs to node {unknown[0]!r}, which is not "
            f"in {session_tables.NODES}; add it there, or move the file away"
        )
    if missing := [node for node in nodes if node not in found]:
        raise SessionError(
            f"there is no file of node {', '.join(map(repr, missing[:5]))}"
            f"{' and others' if len(missing) > 5 else ''}; add it, or remove the node "
            f"from {session_tables.NODES}"
        )
    for node, files in found.items():
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            raise SessionError(f"node {node!r} has {names}; keep one of them")
    return {node: files[0] for node, files in found.items()}


def _files_by_node(
    path: pathlib.Path, nodes: Sequence[str]
) -> dict[str, list[pathlib.Path]]:
    """Find the files in a folder, or with a prefix, by their possible node."""
    parent, prefix = (path, "") if path.is_dir() else (path.parent, f"{path.name}-")
    found: dict[str, list[pathlib.Path]] = {}
    for file in sorted(parent.iterdir()) if parent.is_dir() else ():
        if file.name.startswith(".") or file.suffix.lower() not in ENDINGS:
            continue
        node = file.stem.removeprefix(prefix)
        # NAME-b-NODE.wav belongs to another recording, NAME-b.
        other = prefix and node.endswith(tuple(f"-{n}" for n in nodes))
        if file.stem.startswith(prefix) and (node in nodes or not other):
            found.setdefault(node, []).append(file)
    return found
