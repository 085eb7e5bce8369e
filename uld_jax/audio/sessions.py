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

from uld_jax.audio import (
    corpora,
    session_files,
    session_problems,
    session_tables,
    surveys,
)
from uld_jax.audio import signals as signals_lib
from uld_jax.audio.session_problems import SessionError
from uld_jax.audio.session_tables import SPLITS
from uld_jax.runtime import progress

NUM_SAMPLES = 2 * signals_lib.SAMPLE_RATE

_OUT = "record it again, or remove it"
_LOUDEST = 0.9  # Quantile of windows' powers that others are compared with.
_SILENCE = 1e-12  # Mean square of all nodes.


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One recording by all nodes, in which the talkers do not move.

    Attributes:
        name: Path below the session's folder, as in its table.
        split: One of `SPLITS`.
        source_positions: [S, 3] in meters; None if unknown.
        channels: Where the signal of each node is.
    """

    name: str
    split: str
    source_positions: np.ndarray | None
    channels: tuple[session_files.Channel, ...]

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """The files, each once, in the order of the nodes."""
        return tuple(dict.fromkeys(channel.path for channel in self.channels))

    @property
    def num_samples(self) -> int:
        """Samples at 16 kHz of the longest signal."""
        return max(channel.num_samples for channel in self.channels)


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """A room, its nodes and their recordings.

    Attributes:
        folder: Folder of the tables and recordings.
        room_size: Sides along x, y, z in meters, [3], or [2] without the height; None if
            unknown.
        nodes: Names of the M nodes, in the order of channels.
        node_positions: In meters, [M, 3], or [M, 2] without heights.
        recordings: The recordings, in the order of the table.
        num_samples: Length N of an example, at 16 kHz.
        starts: Starts of each labeled recording's examples, by its name; None until
            `listed`.
        surveyed: What one pass over each of these recordings found, likewise.
    """

    folder: pathlib.Path
    room_size: np.ndarray | None
    nodes: tuple[str, ...]
    node_positions: np.ndarray
    recordings: tuple[Recording, ...]
    num_samples: int = NUM_SAMPLES
    starts: Mapping[str, tuple[int, ...]] | None = None
    surveyed: Mapping[str, surveys.Survey] | None = None

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
        room = self.room_size
        lines = [str(None if room is None else room.tolist())]
        for node, position in zip(self.nodes, self.node_positions, strict=True):
            lines.append(f"{node} {position.tolist()}")
        for recording in self.recordings:
            positions = recording.source_positions
            known = None if positions is None else positions.tolist()
            lines.append(f"{recording.name} {recording.split} {known}")
            for path in recording.files:
                name = path.relative_to(self.folder).as_posix()
                numbers = [c.number for c in recording.channels if c.path == path]
                chosen = "" if numbers == [*range(len(numbers))] else f" {numbers}"
                lines.append(f"{name} {path.stat().st_size}{chosen}")
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

        They begin with the first recorder's start; where others had not begun yet, or
        had ended, they are zero. Unless the session is `listed`, they are checked.

        Raises:
            signals.SignalError: If a file is truncated, or a node's signal cannot be
                right.
        """
        if self.surveyed is None:
            survey = surveys.survey(recording.channels)
            self._check(recording, survey)
        else:
            survey = self.surveyed[recording.name]
        return self._read(recording, survey, 0, survey.num_samples)

    def load_window(self, recording: Recording, start: int) -> NDArray[np.float32]:
        """Load a window of `num_samples` of a recording, [M, N], as `load` does.

        Args:
            recording: Of a session that is `listed`.
            start: Samples at 16 kHz after the first recorder's start.
        """
        survey = self.surveyed[recording.name]
        return self._read(recording, survey, start, self.num_samples)

    def _read(self, recording, survey, start, length) -> NDArray[np.float32]:
        signals = np.empty((len(self.nodes), length), np.float32)
        for begin in range(0, length, surveys.BLOCK):  # For memory.
            part = signals[:, begin : begin + surveys.BLOCK]
            own = start + begin - survey.starts
            part[:] = session_files.read_block(
                recording.channels, own.tolist(), part.shape[1]
            )
            part -= np.float32(survey.means[:, None])
            part[~np.isfinite(part)] = 0.0
            for signal, first, count in zip(part, own, survey.lengths, strict=True):
                signal[: max(-first, 0)] = 0.0
                signal[max(count - first, 0) :] = 0.0
        return signals

    def _check(self, recording, survey) -> None:
        """Raise if a node's signal cannot be right, or recorders have no time in common."""
        what = f"recording {recording.name!r}"
        signals_lib.raise_faults(survey.faults, self.nodes, what)
        first, last = survey.common
        if last - first < self.num_samples:
            raise signals_lib.SignalError(
                f"{what}: there are not {self.num_samples} samples "
                f"at 16 kHz, {self.num_samples / signals_lib.SAMPLE_RATE:g} s, in which "
                "all nodes recorded"
            )

    def listed(
        self,
        left_out: list[str] | None = None,
        labeled_only: bool = True,
        strict: bool = True,
    ) -> "Session":
        """List the session's examples, which reads the recordings once.

        Args:
            left_out: Receives the problems of unusable recordings, which are then left
                out; by default they are errors.
            labeled_only: List only recordings with known positions, as a data set
                needs them.
            strict: Whether a node without a signal that can be right is a problem, and
                only windows that all nodes recorded are listed.

        Returns:
            The session with `starts` and `surveyed`.

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
        if labeled_only:
            self.require_heights("a data set")
        surveyed = {}
        with progress.Progress("Listing", len(chosen), "recordings") as bar:
            for recording in chosen:
                try:
                    survey = surveys.survey(recording.channels)
                    if strict:
                        self._check(recording, survey)
                    found = self._windows(survey, strict)
                    starts[recording.name] = found
                    surveyed[recording.name] = survey
                except SessionError as error:
                    problems.append(f"recording {recording.name!r} {error}")
                except signals_lib.SignalError as error:
                    problems.append(f"{error}; {_OUT}")
                bar.update()
        if left_out is None or not starts:
            session_problems.raise_any(self.folder, problems)
        else:
            left_out += problems
        kept = tuple(
            recording
            for recording in self.recordings
            if recording.name in starts or recording not in chosen
        )
        return dataclasses.replace(
            self, recordings=kept, starts=starts, surveyed=surveyed
        )

    def _windows(self, survey: surveys.Survey, strict: bool) -> tuple[int, ...]:
        """Find the windows with enough energy, end to end, in samples at 16 kHz.

        Over all nodes, a window holds at least a thousandth (-30 dB) of the energy of the
        strongest tenth of windows, one knock among them or not. The paper does not say
        how it chose its 2 s.
        """
        first, last = survey.common if strict else (0, survey.num_samples)
        starts = np.arange(first, last - self.num_samples + 1, self.num_samples)
        powers = survey.window_powers(starts, self.num_samples)
        if not len(starts) or powers.max() <= _SILENCE:
            if all(survey.faults):
                faults = " or ".join(dict.fromkeys(survey.faults))
                raise SessionError(
                    f"has no signal that can be used: every node {faults}; {_OUT}"
                )
            raise SessionError(
                f"has no sound in whole windows of {self.num_samples} samples at 16 kHz; "
                f"{_OUT}"
            )
        loudest = np.quantile(powers, _LOUDEST, method="higher")
        active = powers >= loudest * 10 ** (signals_lib.ACTIVE_DB / 10)
        return tuple(map(int, starts[active]))

    def require_heights(self, what: str) -> None:
        """Raise a SessionError unless room and nodes have three coordinates."""
        if self.room_size is None or len(self.room_size) < 3:
            raise SessionError(
                f"{what} needs the room: add {session_tables.ROOM} with x,y,z to "
                f"{str(self.folder)!r}"
            )
        if self.node_positions.shape[1] < 3:
            raise SessionError(
                f"{what} needs the heights of nodes: add a column z to "
                f"{session_tables.NODES} in {str(self.folder)!r}"
            )

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


def open_session(folder: str | pathlib.Path, num_samples: int = NUM_SAMPLES) -> Session:
    """Open the session in a folder; check its tables and the headers of its files.

    Args:
        folder: Folder of nodes.csv and recordings, with room.csv if the room is known, and
            recordings.csv unless nodes.csv names the files.
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
    room_size, nodes, rows = session_tables.read_tables(folder)
    recordings, problems = [], []
    if rows:
        with progress.Progress("Scanning", len(rows), "recordings") as bar:
            for row in rows:
                with session_problems.noting(problems, row.where):
                    channels = session_files.find_channels(folder, row.name, nodes)
                    _check_length(channels, num_samples)
                    recordings.append(Recording(*row[1:], channels))
                bar.update()
    else:
        channels = session_files.find_named(folder, nodes, problems)
        session_problems.raise_any(folder, problems)
        with session_problems.noting(problems, str(folder / session_tables.NODES)):
            _check_length(channels, num_samples)
        name = folder.resolve().name
        recordings.append(Recording(name, "test", None, channels))
    session_problems.raise_any(folder, problems)
    positions = np.stack([node.position for node in nodes.values()])
    return Session(
        *(folder, room_size, tuple(nodes), positions, tuple(recordings), num_samples)
    )


def _check_length(channels: Sequence[session_files.Channel], num_samples: int) -> None:
    longest = max(channel.num_samples for channel in channels)
    if longest < num_samples:
        raise SessionError(
            f"the recording is {longest / signals_lib.SAMPLE_RATE:.3g} s long, less than "
            f"the {num_samples / signals_lib.SAMPLE_RATE:.3g} s of an example; record a "
            "longer one, or remove it"
        )
