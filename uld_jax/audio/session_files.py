"""The files of a session's recordings: which channel of which file is a node's, and blocks.

Recorders may differ in sample rate, length, number of channels and start.
"""

import math
import pathlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uld_jax.audio import file_headers, session_problems, session_tables
from uld_jax.audio import signals as signals_lib
from uld_jax.audio.file_headers import ENDINGS
from uld_jax.audio.session_problems import SessionError

_MARGIN = 1600  # Samples at 16 kHz, read around a block that is resampled.


class Channel(NamedTuple):
    """Where the signal of a node is.

    Attributes:
        path: The file.
        number: Of the channel in it, from 0.
        frames: Samples, at the file's rate.
        rate: Sample rate in hertz.
        missing: Samples that the file's header names, and it does not have.
    """

    path: pathlib.Path
    number: int
    frames: int
    rate: int
    missing: int = 0

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
    channels = file_headers.read(path).channels
    if channels < len(nodes) or (
        channels > len(nodes) and not any(node.channel for node in nodes.values())
    ):
        raise SessionError(
            f"{str(path)!r} has {channels} channels; expected {len(nodes)} for "
            f"{len(nodes)} nodes in {session_tables.NODES}: correct the table or the file"
        )
    numbers = [node.channel for node in nodes.values()]
    if not any(numbers):
        numbers = range(1, len(nodes) + 1)
    elif not all(numbers):
        raise SessionError(
            f"{session_tables.NODES} names the channels of some nodes alone; name those "
            f"of all in {path.name}, or of none"
        )
    return _choose([(path, number) for number in numbers])


def find_named(
    folder: pathlib.Path, nodes: Mapping[str, session_tables.Node], problems: list[str]
) -> tuple[Channel, ...]:
    """Find the channels of a recording whose files are named in the table of nodes.

    Args:
        folder: Folder of the session.
        nodes: The nodes by name.
        problems: Receives what is wrong, node by node, as `find_channels` raises it.
    """
    channels = []
    for node in nodes.values():
        with session_problems.noting(problems, node.where):
            channels += _choose([(folder / node.file, node.channel)])
    return tuple(channels)


def read_block(
    channels: Sequence[Channel],
    starts: Sequence[int],
    length: int,
    watch: Callable[[list[int], np.ndarray], None] | None = None,
) -> NDArray[np.float32]:
    """Read a block of all nodes' signals at 16 kHz, with zeros where there are none.

    Args:
        channels: Of the M nodes.
        starts: First sample of each at 16 kHz, which may be before its recording.
        length: Samples.
        watch: Called with numbers of nodes and their samples [k, n] as they are in the
            file, with some around the block where they are resampled.

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
        if first >= last:
            continue
        read, skipped = _read(some, first, last)
        if watch:
            watch(rows, read)
        for row, signal in zip(rows, read, strict=True):
            at_16_khz = signals_lib.resample(signal, some[0].rate)
            block[row, first - start : last - start] = signals_lib.cut(
                at_16_khz, skipped, last - first
            )
    return block


def _read(channels: list[Channel], first: int, last: int) -> tuple[np.ndarray, int]:
    """Read some channels of one file from one sample at 16 kHz to another.

    Returns:
        Samples at the file's rate, and how many at 16 kHz are before the first.
    """
    path, _, frames, rate, _ = channels[0]
    numbers = [channel.number for channel in channels]
    if rate == signals_lib.SAMPLE_RATE:
        return signals_lib.read_recording(path, first, last - first)[numbers], 0
    # Blocks begin where a sample at 16 kHz coincides with one of the file.
    common = math.gcd(rate, signals_lib.SAMPLE_RATE)
    step, own_step = signals_lib.SAMPLE_RATE // common, rate // common
    begin = max(first - _MARGIN, 0) // step
    end = min(-(-(last + _MARGIN) // step) * own_step, frames)
    count = end - begin * own_step
    read = signals_lib.read_recording(path, begin * own_step, count)[numbers]
    return read, first - begin * step


def _choose(wanted: list[tuple[pathlib.Path, int | None]]) -> tuple[Channel, ...]:
    """Look up the channels in their files' headers, and check them.

    Args:
        wanted: The file of each node, and the number of its channel, from 1; None for the
            only one.
    """
    headers = {path: file_headers.read(path) for path in dict(wanted)}
    channels = []
    for path, number in wanted:
        frames, rate, count, missing = headers[path]
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
        channel = Channel(path, (number or 1) - 1, frames, rate, missing)
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
        if others := _similar(path):
            raise SessionError(
                f"there is no recording {str(path)!r}, but {', '.join(others)}; write the "
                f"whole name of a file that ends in {', '.join(ENDINGS)}, and convert others"
            )
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
        parent = path if path.is_dir() else path.parent
        for file in sorted(parent.iterdir()):
            if (
                file.stem in (missing[0], f"{path.name}-{missing[0]}")
                and file.is_file()
            ):
                raise SessionError(
                    f"{str(file)!r} cannot be read; convert it to one of "
                    f"{', '.join(ENDINGS)}, with ffmpeg for example"
                )
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


def _similar(path: pathlib.Path) -> list[str]:
    """List files with the name of a recording, or its beginning, of any ending."""
    folder = path.parent
    if not folder.is_dir():
        return []
    names = [file.name for file in sorted(folder.iterdir()) if file.is_file()]
    beginning = path.stem if path.suffix else path.name
    return [
        name
        for name in names
        if pathlib.PurePath(name).stem == beginning or name.startswith(f"{beginning}-")
    ][:3]


def _files_by_node(
    path: pathlib.Path, nodes: Sequence[str]
) -> dict[str, list[pathlib.Path]]:
    """Find the files in a folder, or with a prefix, by their possible node."""
    parent, prefix = (path, "") if path.is_dir() else (path.parent, f"{path.name}-")
    found: dict[str, list[pathlib.Path]] = {}
    for file in sorted(parent.iterdir()) if parent.is_dir() else ():
        if file.name.startswith(".") or file.suffix.lower() not in ENDINGS:
            continue
        stem = unicodedata.normalize("NFC", file.stem)  # As tables have it.
        node = stem.removeprefix(prefix)
        # NAME-b-NODE.wav belongs to another recording, NAME-b.
        other = prefix and node.endswith(tuple(f"-{n}" for n in nodes))
        if stem.startswith(prefix) and (node in nodes or not other):
            found.setdefault(node, []).append(file)
    return found
