"""Find, check and read the recordings of Libri-adhoc40.

Its archives are unpacked below one folder, as `adhoc40-train`, `adhoc40-dev` and
`adhoc40-test`. There are two layouts, and a part may be one folder deeper:

    adhoc40-test/pos 1/<talker>/<chapter>/<utterance>-ch-<1 to 40>.wav
    adhoc40-test/pos1/<talker>/<chapter>/<utterance>/<utterance>-ch-<1 to 40>.wav

An utterance is called talker-chapter-number, as in LibriSpeech. Other files beside its
40, such as its anechoic recording, are ignored. Names and headers of all files are
checked before any is read.
"""

import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from uld_jax.audio import corpora, libri_adhoc40
from uld_jax.audio import signals as signals_lib
from uld_jax.runtime import errors, progress

HEAD, TAIL = 4_000, 8_000  # Samples at a recording's ends that are not used.
CHANNELS = range(1, libri_adhoc40.NUM_NODES + 1)

_LEAST_FRAMES = HEAD + 32_000 + TAIL  # 2.75 s.
_FIX = "unpack the archive again, or remove that utterance"
_PACKED = frozenset({".rar", ".zip"})
_FILE = re.compile(r"((\d+)-\d+-\d+)-ch-([1-9]\d*)\.wav")
_POSITION = re.compile(r"pos[ _-]*(\d+)[ _-]*(u|d|up|down)?", re.IGNORECASE)
_LINKED = (
    "download {archive} (linked in the README of github.com/ISmallFish/Libri-adhoc40) "
    "and unpack it into {folder}"
)
_TO_GET = {
    "train": "the training part had no public link in April 2023: ask the authors of "
    "Libri-adhoc40 for it and unpack it into {folder}, or choose a data set whose name "
    "ends in _dev or _test",
    "dev": _LINKED,
    "test": _LINKED,
}


class ArchiveError(errors.InputError):
    """Recordings of Libri-adhoc40 that cannot be used, with the reason."""


@dataclasses.dataclass(frozen=True)
class RecordedUtterance:
    """One utterance, recorded by 40 nodes.

    Attributes:
        name: talker-chapter-number.
        talker: Who speaks.
        position: Number of the loudspeaker's position.
        frames: Samples of each file, at 16 kHz.
        folder: Folder of its files, below that of the material.
    """

    name: str
    talker: str
    position: int
    frames: int
    folder: str

    def file(self, node: int | str) -> str:
        """Compose the path of a node's file, below the folder of the material."""
        return f"{self.folder}/{self.name}-ch-{node}.wav"

    @property
    def usable(self) -> tuple[int, int]:
        """First usable sample, and the one after the last.

        The paper does not say what it leaves out. We leave out 0.25 s at the head and
        0.5 s at the tail, where the loudspeaker may be silent.
        """
        return HEAD, self.frames - TAIL


@dataclasses.dataclass(frozen=True)
class Material:
    """The checked recordings of some parts of the corpus.

    Attributes:
        folder: Folder of the parts.
        utterances: Utterances long enough to be used, by part.
        num_short: Number of the others, by part.
    """

    folder: pathlib.Path
    utterances: dict[str, tuple[RecordedUtterance, ...]]
    num_short: dict[str, int]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    def talkers(self, part: str) -> frozenset[str]:
        """List the talkers of a part who have usable utterances."""
        return frozenset(u.talker for u in self.utterances[part])

    def fingerprint(self, parts: Iterable[str] | None = None) -> str:
        """Hash positions, names and lengths; both layouts give the same hash.

        Args:
            parts: Parts to include; by default all.
        """
        return corpora.hash_lines(
            f"{part}/{u.position}/{u.name} {u.frames}"
            for part in sorted(parts or self.utterances)
            for u in self.utterances[part]
        )

    def summary(self) -> dict[str, str | int]:
        """Summarize the material in a few facts, for a data set's metadata."""
        facts = {"name": self.name, "fingerprint": self.fingerprint()}
        for part, utterances in self.utterances.items():
            facts[f"{part}_utterances"] = len(utterances)
            facts[f"{part}_talkers"] = len(self.talkers(part))
            facts[f"{part}_short"] = self.num_short[part]
        return facts

    def shortfall(self) -> list[str]:
        """Describe the missing talkers of each part, one sentence each."""
        sentences = []
        for part in self.utterances:
            everyone = libri_adhoc40.part(part).position_of
            if missing := sorted(everyone.keys() - self.talkers(part), key=int):
                sentences.append(
                    f"{_folder_name(part)} has {len(everyone) - len(missing)} of its "
                    f"{len(everyone)} talkers; missing: {_named(missing)}"
                )
        return sentences

    def read(
        self,
        utterance: RecordedUtterance,
        nodes: Sequence[int] | np.ndarray,
        first: int,
        last: int,
    ) -> np.ndarray:
        """Read signals [M, N], float32, of some nodes, without their means.

        Args:
            utterance: One of the material's utterances.
            nodes: Numbers of the M nodes, from 1 to 40.
            first: First of the N samples.
            last: Sample after the last.

        Raises:
            SignalError: If a file has become unreadable.
            ArchiveError: If a signal holds NaN, or is constant.
        """
        paths = [self.folder / utterance.file(int(node)) for node in nodes]
        signals = np.concatenate(
            [signals_lib.read_recording(p, first, last - first) for p in paths]
        )
        what = repr(str(self.folder / utterance.file("*")))
        try:
            signals_lib.check_recording(
                signals, [int(n) for n in nodes], what, clipping=False
            )
        except signals_lib.SignalError as error:
            raise ArchiveError(f"{error}; {_FIX}") from None
        return signals - signals.mean(axis=1, keepdims=True)


class _Found(NamedTuple):
    """Folder, position and channels of an utterance's files."""

    folder: pathlib.Path
    position: int
    channels: set[int]


def open_material(folder: str | os.PathLike[str], parts: Sequence[str]) -> Material:
    """Open the recordings of some parts, and check all of their files.

    The paper does not say why its test set has 2,468 of the 2,620 utterances; we leave
    out those shorter than 2.75 s, with less than 2 s between head and tail.

    Args:
        folder: Folder of the unpacked archives, `adhoc40-test` and so on.
        parts: The parts needed, of `libri_adhoc40.PARTS`.

    Raises:
        ArchiveError: If a file is missing, damaged, or in the wrong folder.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise ArchiveError(
            f"folder {str(folder)!r} does not exist or is a file; give the folder that "
            f"holds {', '.join(map(_folder_name, parts))} of Libri-adhoc40"
        )
    for part in parts:
        _check_unpacked(folder, part)
    found = {part: _find(folder, part) for part in parts}
    num_files = len(CHANNELS) * sum(map(len, found.values()))
    utterances, num_short = {}, {}
    with progress.Progress("Checking recordings", num_files, "files") as bar:
        for part, names in found.items():
            scanned = []
            for name in sorted(names):
                scanned.append(_scan(folder, name, names[name]))
                bar.update(len(CHANNELS))
            usable = tuple(u for u in scanned if u.frames >= _LEAST_FRAMES)
            utterances[part], num_short[part] = usable, len(scanned) - len(usable)
    return Material(folder, utterances, num_short)


def _folder_name(part: str) -> str:
    return f"adhoc40-{part}"


def _named(values: Iterable[Any]) -> str:
    values = list(values)
    more = " and others" if len(values) > 5 else ""
    return ", ".join(str(value) for value in values[:5]) + more


def _check_unpacked(folder: pathlib.Path, part: str) -> None:
    """Check that the folder of a part exists."""
    root = folder / _folder_name(part)
    if root.is_dir():
        return
    if folder.resolve().name == root.name:
        raise ArchiveError(
            f"{str(folder)!r} is the folder of one part; give the one above it, "
            f"{str(folder.resolve().parent)!r}"
        )
    if packed := _still_packed(folder, part):
        raise ArchiveError(
            f"{packed!r} is still packed; unpack it to get {str(root)!r}"
        )
    to_get = _TO_GET[part].format(archive=root.name, folder=repr(str(folder)))
    raise ArchiveError(f"there is no folder {str(root)!r}; {to_get}")


def _still_packed(folder: pathlib.Path, part: str) -> str:
    """Find the path of a part's packed archive; empty if there is none."""
    name = _folder_name(part)
    files = [*folder.glob(f"{name}*"), *(folder / name).glob("*")]
    return next((str(p) for p in sorted(files) if p.suffix.lower() in _PACKED), "")


def _find(folder: pathlib.Path, part: str) -> dict[str, _Found]:
    """Find the utterances of a part from the names of files and folders."""
    found = {}
    for where, folders, files in os.walk(folder / _folder_name(part), followlinks=True):
        folders.sort()
        own = pathlib.Path(where)
        for match in filter(None, map(_FILE.fullmatch, sorted(files))):
            name, talker, channel = match[1], match[2], int(match[3])
            if name not in found:
                found[name] = _Found(own, _position(folder, own, part, talker), set())
            elif found[name].folder != own:
                raise ArchiveError(
                    f"utterance {name} is in {str(found[name].folder)!r} and in "
                    f"{where!r}; remove one of them"
                )
            if channel not in CHANNELS:
                raise ArchiveError(
                    f"{str(own / match[0])!r} has channel {channel}, and Libri-adhoc40 "
                    "has channels 1 to 40; remove it"
                )
            found[name].channels.add(channel)
    _check_whole(folder, part, found)
    return found


def _position(folder: pathlib.Path, own: pathlib.Path, part: str, talker: str) -> int:
    """Get the number of the position that a folder of recordings belongs to.

    Raises:
        ArchiveError: If there is none, or the talker does not speak there.
    """
    facts, name = libri_adhoc40.part(part), _folder_name(part)
    first, last = min(facts.positions), max(facts.positions)
    inner = own.relative_to(folder).parts
    matches = [match for n in inner if (match := _POSITION.fullmatch(n))]
    if not matches:
        raise ArchiveError(
            f"{str(own)!r} holds recordings outside a folder of a position, such as "
            f"'pos {first}'; unpack {name} again"
        )
    position = int(matches[0][1])
    if position not in facts.positions:
        raise ArchiveError(
            f"{str(own)!r} has position {position}, and {name} has positions {first} "
            f"to {last}; move it to the part it belongs to, or remove it"
        )
    if (right := facts.position_of.get(talker)) != position:
        speaks = f"speaks at position {right}" if right else _whose(talker)
        raise ArchiveError(
            f"{str(own)!r} holds talker {talker} at position {position} of {name}, "
            f"who {speaks}; move these recordings where they belong, or remove them"
        )
    return position


def _whose(talker: str) -> str:
    for part in libri_adhoc40.PARTS:
        if talker in libri_adhoc40.part(part).position_of:
            return f"belongs to {_folder_name(part)}"
    return "is not in Libri-adhoc40"


def _check_whole(folder: pathlib.Path, part: str, found: dict[str, _Found]) -> None:
    """Check that a part has recordings at all positions, by all nodes."""
    root = folder / _folder_name(part)
    again = f"unpack {root.name} again"
    if not found:
        packed = _still_packed(folder, part)
        raise ArchiveError(
            f"{str(root)!r} holds no recording <talker>-<chapter>-<number>-ch-<1 to "
            f"40>.wav; " + (f"unpack {packed!r} into it" if packed else again)
        )
    positions = {utterance.position for utterance in found.values()}
    if missing := sorted(libri_adhoc40.part(part).positions.keys() - positions):
        raise ArchiveError(
            f"{str(root)!r} is incomplete: it has no recordings at position "
            f"{_named(missing)}; {again}"
        )
    every = set(CHANNELS)
    if lacking := sorted(n for n, f in found.items() if f.channels != every):
        name, first = lacking[0], found[lacking[0]]
        raise ArchiveError(
            f"{str(first.folder / f'{name}-ch-*.wav')!r} lacks channel "
            f"{_named(sorted(every - first.channels))}, and {len(lacking)} of "
            f"{len(found)} utterances of {root.name} lack some; {again}, or remove them"
        )


def _scan(folder: pathlib.Path, name: str, found: _Found) -> RecordedUtterance:
    """Check the headers of an utterance's files."""
    files = {c: found.folder / f"{name}-ch-{c}.wav" for c in CHANNELS}
    frames = {c: _frames(file) for c, file in files.items()}
    usual = collections.Counter(frames.values()).most_common(1)[0][0]
    if odd := [c for c in CHANNELS if frames[c] != usual]:
        raise ArchiveError(
            f"{str(files[odd[0]])!r} has {frames[odd[0]]} samples, and other channels "
            f"of that utterance have {usual}: a file is truncated; {_FIX}"
        )
    own = found.folder.relative_to(folder).as_posix()
    return RecordedUtterance(name, name.split("-")[0], found.position, usual, own)


def _frames(path: pathlib.Path) -> int:
    """Count the samples of a file; check its header."""
    try:
        header = signals_lib.read_header(path)
    except signals_lib.SignalError as error:
        raise ArchiveError(f"{error}; {_FIX}") from None
    wrong = None
    if header.frames == 0:
        wrong = "is empty"
    elif header.rate != signals_lib.SAMPLE_RATE:
        wrong = (
            f"has a sample rate of {header.rate} Hz, not {signals_lib.SAMPLE_RATE} Hz"
        )
    elif header.channels != 1:
        wrong = f"has {header.channels} channels, not one"
    if wrong:
        raise ArchiveError(f"{str(path)!r} {wrong}; {_FIX}")
    return header.frames
