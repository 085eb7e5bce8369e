"""Sessions: folders of a user's own recordings, checked before any work.

Three tables (`session_tables`) give the room, the positions of its nodes, and the
recordings; docs/own_recordings.md shows them. Nothing is repaired silently: an error
names what is wrong, where, and the fix.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from uld_jax.audio import corpora, session_tables
from uld_jax.audio import signals as signals_lib
from uld_jax.audio.session_tables import SPLITS, SessionError
from uld_jax.runtime import progress

NUM_SAMPLES = 2 * signals_lib.SAMPLE_RATE
LOWEST_RATE = 8000

_OUT = f"record it again, or remove it from {session_tables.RECORDINGS}"
_ENDINGS = (".wav", ".flac", ".ogg")


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One recording by all nodes, in which the talkers do not move.

    Attributes:
        name: Path below the session's folder, as in its table.
        split: One of `SPLITS`.
        source_positions: [S, 3] in meters; None if unknown.
        files: One file of all nodes, or one of each.
        frames: Samples of each node.
        rate: Sample rate in hertz.
    """

    name: str
    split: str
    source_positions: np.ndarray | None
    files: tuple[pathlib.Path, ...]
    frames: int
    rate: int


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """A room, its nodes and their recordings.

    Attributes:
        folder: Folder of the tables and recordings.
        room_size: [3], sides along x, y, z in meters.
        nodes: Names of the M nodes, in the order of channels.
        node_positions: [M, 3] in meters.
        recordings: The recordings, in the order of the table.
        num_samples: Length N of an example, at 16 kHz.
        starts: Starts of each labeled recording's examples, by its name; None until
            `listed`.
    """

    folder: pathlib.Path
    room_size: np.ndarray
    nodes: tuple[str, ...]
    node_positions: np.ndarray
    recordings: tuple[Recording, ...]
    num_samples: int = NUM_SAMPLES
    starts: Mapping[str, tuple[int, ...]] | None = None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def num_sources(self) -> int | None:
        """Number of talkers S in the labeled recordings; None if there are none."""
        for recording in self.labeled():
            return len(recording.source_positions)
        return None

    def labeled(self, split: str | None = None) -> tuple[Recording, ...]:
        """List the recordings with known positions, of one split or of all."""
        return tuple(
            recording
            for recording in self.recordings
            if recording.source_positions is not None
            and split in (None, recording.split)
        )

    def fingerprint(self) -> str:
        """Hash the tables' content, and names and sizes of the files."""
        lines = [str(self.room_size.tolist())]
        for node, position in zip(self.nodes, self.node_positions, strict=True):
            lines.append(f"{node} {position.tolist()}")
        for recording in self.recordings:
            positions = recording.source_positions
            known = None if positions is None else positions.tolist()
            lines.append(f"{recording.name} {recording.split} {known}")
            for path in recording.files:
                name = path.relative_to(self.folder).as_posix()
                lines.append(f"{name} {path.stat().st_size}")
        return corpora.hash_lines(lines)

    def summary(self) -> dict[str, str | int]:
        """Summarize the session in a few facts, for a data set's metadata."""
        facts = {"name": self.name, "fingerprint": self.fingerprint()}
        facts["nodes"] = len(self.nodes)
        for split in SPLITS:
            facts[f"{split}_recordings"] = len(self.labeled(split))
        facts["unlabeled_recordings"] = len(self.recordings) - len(self.labeled())
        return facts

    def shortfall(self) -> list[str]:
        """Describe the recordings that no data set can hold, if there are any."""
        unlabeled = len(self.recordings) - len(self.labeled())
        if not unlabeled:
            return []
        return [
            f"{unlabeled} recordings of {self.name} have no positions of talkers and are "
            "left out of the data set"
        ]

    def load(self, recording: Recording) -> NDArray[np.float32]:
        """Load a recording's signals, [M, N] at 16 kHz, without their means.

        Raises:
            signals.SignalError: If a file is truncated, or a node's signal cannot be
                right.
        """
        signals = _read(recording, len(self.nodes))
        signals_lib.check_recording(
            signals, self.nodes, f"recording {recording.name!r}"
        )
        at_16_khz = np.stack(
            [signals_lib.resample(signal, recording.rate) for signal in signals]
        )
        return at_16_khz - at_16_khz.mean(axis=1, keepdims=True)

    def listed(
        self, left_out: list[str] | None = None, labeled_only: bool = True
    ) -> "Session":
        """List the session's examples, which reads the recordings once.

        Args:
            left_out: Receives the problems of unusable recordings, which are then left
                out; by default they are errors.
            labeled_only: List only recordings with known positions, as a data set
                needs them.

        Returns:
            The session with `starts`.

        Raises:
            SessionError: If there is nothing to list, or a recording cannot be used.
        """
        if self.starts is not None:
            return self
        chosen, starts = self.labeled() if labeled_only else self.recordings, {}
        problems: list[str] = []
        if not chosen:
            raise SessionError(
                f"no recording of {str(self.folder)!r} has positions of talkers; fill "
                f"in x, y, z in {session_tables.RECORDINGS} to make a data set of it"
            )
        with progress.Progress("Listing", len(chosen), "recordings") as bar:
            for recording in chosen:
                try:
                    found = windows(self.load(recording), self.num_samples)
                    starts[recording.name] = tuple(map(int, found))
                except SessionError as error:
                    problems.append(f"recording {recording.name!r} {error}")
                except signals_lib.SignalError as error:
                    problems.append(f"{error}; {_OUT}")
                bar.update()
        if left_out is None or not starts:
            session_tables.raise_any(self.folder, problems)
        else:
            left_out += problems
        kept = tuple(
            recording
            for recording in self.recordings
            if recording.name in starts or recording not in chosen
        )
        return dataclasses.replace(self, recordings=kept, starts=starts)

    def examples(self, split: str) -> list[tuple[Recording, int]]:
        """List a split's examples: the recording, and the start in samples at 16 kHz.

        Raises:
            ValueError: If the session is not `listed`.
        """
        if self.starts is None:
            raise ValueError("the session's examples are not listed; call listed()")
        return [
            (recording, start)
            for recording in self.labeled(split)
            for start in self.starts[recording.name]
        ]


def windows(signals: np.ndarray, num_samples: int) -> NDArray[np.integer]:
    """Find the windows with enough energy, end to end from the signals' start.

    Over all nodes, a window holds at least a thousandth (-30 dB) of the strongest one's
    energy. The paper does not say how it chose its 2 s.

    Args:
        signals: [M, N].
        num_samples: Length of a window.

    Returns:
        The starts of the windows, in samples.

    Raises:
        SessionError: If the signals are shorter, or silent in all windows.
    """
    starts = np.arange(0, signals.shape[1] - num_samples + 1, num_samples)
    energy = np.array(
        [
            np.square(signals[:, start : start + num_samples], dtype=np.float64).sum()
            for start in starts
        ]
    )
    if not len(starts) or energy.max() <= 1e-12 * num_samples:
        raise SessionError(
            f"has no sound in whole windows of {num_samples} samples at 16 kHz; {_OUT}"
        )
    return starts[energy >= energy.max() * 10 ** (signals_lib.ACTIVE_DB / 10)]


def _read(recording: Recording, num_nodes: int) -> np.ndarray:
    """Read all nodes' signals into one array [M, N], so that memory holds them once."""
    signals, row = np.empty((num_nodes, recording.frames), np.float32), 0
    for path in recording.files:
        channels = signals_lib.read_recording(path, 0, recording.frames)
        signals[row : row + len(channels)] = channels
        row += len(channels)
    return signals


def open_session(folder: str | pathlib.Path, num_samples: int = NUM_SAMPLES) -> Session:
    """Open the session in a folder; check its tables and the headers of its files.

    Args:
        folder: Folder of room.csv, nodes.csv, recordings.csv and the recordings.
        num_samples: Length N of an example, at 16 kHz; no recording may be shorter.

    Raises:
        SessionError: With all that is wrong, where, and how to fix it.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "does not exist"
        raise SessionError(
            f"session folder {str(folder)!r} {wrong}; give the folder of "
            f"{session_tables.ROOM}, {session_tables.NODES} and "
            f"{session_tables.RECORDINGS}"
        )
    signals_lib.require_soundfile()
    room_size, node_positions, rows = session_tables.read_tables(folder)
    recordings, problems, nodes = [], [], tuple(node_positions)
    with progress.Progress("Scanning", len(rows), "recordings") as bar:
        for row in rows:
            with session_tables.noting(problems, row.where):
                recording = _recording(folder, row, nodes)
                _check_length(recording, num_samples)
                _check_rate(recording, recordings[:1])
                recordings.append(recording)
            bar.update()
    session_tables.raise_any(folder, problems)
    positions = np.stack(list(node_positions.values()))
    return Session(folder, room_size, nodes, positions, tuple(recordings), num_samples)


def _recording(
    folder: pathlib.Path, row: session_tables.Row, nodes: Sequence[str]
) -> Recording:
    """Find a recording's files, and check that their headers agree."""
    files = _locate(folder, row.name, nodes)
    first = signals_lib.read_header(files[0])
    channels = len(nodes) // len(files)
    for path in files:
        header = signals_lib.read_header(path)
        if header.channels != channels:
            raise SessionError(
                f"{str(path)!r} has {header.channels} channels; expected {channels} for "
                f"{len(nodes)} nodes in {session_tables.NODES}: correct the table or the "
                "file"
            )
        if header.rate != first.rate:
            raise SessionError(
                f"{str(path)!r} has a sample rate of {header.rate} Hz, and "
                f"{files[0].name} {first.rate} Hz; convert all files to one rate"
            )
        if header.frames != first.frames:
            raise SessionError(
                f"{str(path)!r} has {header.frames} samples, and {files[0].name} "
                f"{first.frames}; cut them to the same start and end"
            )
    return Recording(
        row.name, row.split, row.source_positions, files, first.frames, first.rate
    )


def _check_length(recording: Recording, num_samples: int) -> None:
    if recording.frames * signals_lib.SAMPLE_RATE < num_samples * recording.rate:
        raise SessionError(
            f"is {recording.frames / recording.rate:.3g} s long, less than the "
            f"{num_samples / signals_lib.SAMPLE_RATE:.3g} s of an example; remove it from "
            f"{session_tables.RECORDINGS}"
        )


def _check_rate(recording: Recording, others: Sequence[Recording]) -> None:
    if recording.rate < LOWEST_RATE:
        raise SessionError(
            f"has a sample rate of {recording.rate} Hz; record at {LOWEST_RATE} Hz or "
            "more"
        )
    for other in others:
        if other.rate != recording.rate:
            raise SessionError(
                f"has a sample rate of {recording.rate} Hz, and recording "
                f"{other.name!r} {other.rate} Hz; convert all files to one rate"
            )


def _locate(
    folder: pathlib.Path, name: str, nodes: Sequence[str]
) -> tuple[pathlib.Path, ...]:
    """Find the file of a recording, or those of its nodes in their order."""
    path = folder / name
    if path.suffix.lower() in _ENDINGS:
        if not path.is_file():
            raise SessionError(f"there is no file {str(path)!r}; correct the name")
        return (path,)
    found = _files_by_node(path, nodes)
    if not found:
        raise SessionError(
            f"there is neither a folder {str(path)!r} with NODE.wav for each node nor "
            f"{path.name}-NODE.wav; add one of them, with files ending in "
            f"{', '.join(_ENDINGS)}"
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
    return tuple(found[node][0] for node in nodes)


def _files_by_node(
    path: pathlib.Path, nodes: Sequence[str]
) -> dict[str, list[pathlib.Path]]:
    """Find the files in a folder, or with a prefix, by their possible node."""
    parent, prefix = (path, "") if path.is_dir() else (path.parent, f"{path.name}-")
    found: dict[str, list[pathlib.Path]] = {}
    for file in sorted(parent.iterdir()) if parent.is_dir() else ():
        if file.name.startswith(".") or file.suffix.lower() not in _ENDINGS:
            continue
        node = file.stem.removeprefix(prefix)
        # NAME-b-NODE.wav belongs to another recording, NAME-b.
        other = prefix and node.endswith(tuple(f"-{n}" for n in nodes))
        if file.stem.startswith(prefix) and (node in nodes or not other):
            found.setdefault(node, []).append(file)
    return found
