"""The recordings of Libri-adhoc40: found, checked, read.

Its archives are unpacked below one folder, as `adhoc40-train`, `adhoc40-dev` and
`adhoc40-test`. There are two layouts, and a part may lie one folder deeper:

    adhoc40-test/pos 1/<talker>/<chapter>/<utterance>-ch-<1 to 40>.wav
    adhoc40-test/pos1/<talker>/<chapter>/<utterance>/<utterance>-ch-<1 to 40>.wav

An utterance is called talker-chapter-number, as in LibriSpeech. What lies beside its
40 files, such as its anechoic recording, is left alone. Everything is checked from
names and headers before anything is made of it.
"""

import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import corpora, libri_adhoc40
from uld_jax.audio import signals as signals_lib
from uld_jax.runtime import errors, progress

HEAD, TAIL = 4_000, 8_000  # Samples at the ends of a recording that are never used.
CHANNELS = range(1, libri_adhoc40.NUM_NODES + 1)

_LEAST_FRAMES = HEAD + 32_000 + TAIL  # 2.75 s.
_REMEDY = "unpack the archive anew, or remove that utterance"
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
class Utterance:
    """What 40 nodes recorded of one utterance.

    Attributes:
        name: talker-chapter-number.
        talker: Who speaks.
        position: Number of the loudspeaker's position.
        frames: Samples of each file, at 16 kHz.
        place: Its folder, below that of the material.
    """

    name: str
    talker: str
    position: int
    frames: int
    place: str

    def file(self, node: int | str) -> str:
        """Return the path of a node's file below the folder of the material."""
        return f"{self.place}/{self.name}-ch-{node}.wav"

    @property
    def usable(self) -> tuple[int, int]:
        """The first sample that may be used, and the one after the last.

        The paper does not say what it leaves out. We leave out 0.25 s at the head and
        0.5 s at the tail, where the loudspeaker may be silent.
        """
        return HEAD, self.frames - TAIL


@dataclasses.dataclass(frozen=True)
class Material:
    """The recordings of some parts of the corpus, all checked.

    Attributes:
        folder: Where the parts are.
        utterances: Utterances long enough to be used, by part.
        num_short: How many others there are, by part.
    """

    folder: pathlib.Path
    utterances: dict[str, tuple[Utterance, ...]]
    num_short: dict[str, int]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    def talkers(self, part: str) -> frozenset[str]:
        """Return the talkers of a part of whom there is something to use."""
        return frozenset(u.talker for u in self.utterances[part])

    def fingerprint(self, parts: Iterable[str] | None = None) -> str:
        """Return a short hash of what is there; it is the same in both layouts.

        Args:
            parts: Of which parts; by default of all.
        """
        return corpora.hash_lines(
            f"{part}/{u.position}/{u.name} {u.frames}"
            for part in sorted(parts or self.utterances)
            for u in self.utterances[part]
        )

    def summary(self) -> dict[str, str | int]:
        """Return the material in a few facts, for a data set's metadata."""
        facts = {"name": self.name, "fingerprint": self.fingerprint()}
        for part, utterances in self.utterances.items():
            facts[f"{part}_utterances"] = len(utterances)
            facts[f"{part}_talkers"] = len(self.talkers(part))
            facts[f"{part}_short"] = self.num_short[part]
        return facts

    def shortfall(self) -> list[str]:
        """Return a sentence for each part that lacks talkers of the corpus."""
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
        utterance: Utterance,
        nodes: Sequence[int] | np.ndarray,
        first: int,
        last: int,
    ) -> np.ndarray:
        """Return [M, N] float32 of what nodes recorded, without its means.

        Args:
            utterance: One of these.
            nodes: Numbers M of nodes, from 1 to 40.
            first: The first of the N samples.
            last: The sample after the last.

        Raises:
            SignalError: If a file is unreadable by now.
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
            raise ArchiveError(f"{error}; {_REMEDY}") from None
        return signals - signals.mean(axis=1, keepdims=True)


class _Found(NamedTuple):
    """Where an utterance's files are, which position that is, and their numbers."""

    place: pathlib.Path
    position: int
    channels: set[int]


def open_material(folder: str | os.PathLike[str], parts: Sequence[str]) -> Material:
    """Return the recordings of some parts, once all of their files are checked.

    The paper does not say why its test set has 2,468 of the 2,620 utterances; we leave
    out those shorter than 2.75 s, in which no 2 s are left between head and tail.

    Args:
        folder: It holds the unpacked archives, `adhoc40-test` and so on.
        parts: Which of them are needed, of `libri_adhoc40.PARTS`.

    Raises:
        ArchiveError: If something is missing, damaged, or belongs elsewhere.
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


def _named(values: Iterable) -> str:
    values = list(values)
    more = " and others" if len(values) > 5 else ""
    return ", ".join(str(value) for value in values[:5]) + more


def _check_unpacked(folder: pathlib.Path, part: str) -> None:
    """Raise unless the folder of a part is there."""
    root = folder / _folder_name(part)
    if root.is_dir():
        return
    if folder.resolve().name == root.name:
        raise ArchiveError(
            f"{str(folder)!r} is the folder of a part; give the one above it, "
            f"{str(folder.resolve().parent)!r}"
        )
    if packed := _still_packed(folder, part):
        raise ArchiveError(
            f"{packed!r} is still packed; unpack it, so that there is {str(root)!r}"
        )
    to_get = _TO_GET[part].format(archive=root.name, folder=repr(str(folder)))
    raise ArchiveError(f"there is no folder {str(root)!r}; {to_get}")


def _still_packed(folder: pathlib.Path, part: str) -> str:
    """Return the path of an archive of a part, or nothing."""
    name = _folder_name(part)
    files = [*folder.glob(f"{name}*"), *(folder / name).glob("*")]
    return next((str(p) for p in sorted(files) if p.suffix.lower() in _PACKED), "")


def _find(folder: pathlib.Path, part: str) -> dict[str, _Found]:
    """Return the utterances of a part, by the names of files and folders alone."""
    found = {}
    for where, folders, files in os.walk(folder / _folder_name(part), followlinks=True):
        folders.sort()
        place = pathlib.Path(where)
        for match in filter(None, map(_FILE.fullmatch, sorted(files))):
            name, talker, channel = match[1], match[2], int(match[3])
            if name not in found:
                found[name] = _Found(
                    place, _position(folder, place, part, talker), set()
                )
            elif found[name].place != place:
                raise ArchiveError(
                    f"utterance {name} is there twice, in {str(found[name].place)!r} "
                    f"and in {where!r}; remove one of them"
                )
            if channel not in CHANNELS:
                raise ArchiveError(
                    f"{str(place / match[0])!r} is of channel {channel}; Libri-adhoc40 "
                    "has channels 1 to 40: remove it"
                )
            found[name].channels.add(channel)
    _check_whole(folder, part, found)
    return found


def _position(folder: pathlib.Path, place: pathlib.Path, part: str, talker: str) -> int:
    """Return the number of the position that a folder of recordings belongs to.

    Raises:
        ArchiveError: If there is none, or the talker does not speak there.
    """
    facts, name = libri_adhoc40.part(part), _folder_name(part)
    first, last = min(facts.positions), max(facts.positions)
    inner = place.relative_to(folder).parts
    matches = [match for n in inner if (match := _POSITION.fullmatch(n))]
    if not matches:
        raise ArchiveError(
            f"{str(place)!r} is in no folder of a position, such as 'pos {first}', and "
            f"holds recordings; unpack {name} anew"
        )
    position = int(matches[0][1])
    if position not in facts.positions:
        raise ArchiveError(
            f"{str(place)!r} is of position {position}; {name} has positions {first} "
            f"to {last}: move it to the part it belongs to, or remove it"
        )
    if (right := facts.position_of.get(talker)) != position:
        speaks = f"speaks at position {right}" if right else _whose(talker)
        raise ArchiveError(
            f"{str(place)!r} holds talker {talker} at position {position} of {name}, "
            f"who {speaks}: move these recordings where they belong, or remove them"
        )
    return position


def _whose(talker: str) -> str:
    for part in libri_adhoc40.PARTS:
        if talker in libri_adhoc40.part(part).position_of:
            return f"is one of {_folder_name(part)}"
    return "is not in Libri-adhoc40"


def _check_whole(folder: pathlib.Path, part: str, found: dict[str, _Found]) -> None:
    """Raise unless a part has recordings at all positions, by all nodes."""
    root = folder / _folder_name(part)
    anew = f"unpack {root.name} anew"
    if not found:
        packed = _still_packed(folder, part)
        raise ArchiveError(
            f"{str(root)!r} holds no recording <talker>-<chapter>-<number>-ch-<1 to "
            f"40>.wav; " + (f"unpack {packed!r} into it" if packed else anew)
        )
    there = {utterance.position for utterance in found.values()}
    if missing := sorted(libri_adhoc40.part(part).positions.keys() - there):
        raise ArchiveError(
            f"{str(root)!r} has no recordings at position {_named(missing)}; it is not "
            f"whole: {anew}"
        )
    every = set(CHANNELS)
    if lacking := sorted(n for n, f in found.items() if f.channels != every):
        name, first = lacking[0], found[lacking[0]]
        raise ArchiveError(
            f"{str(first.place / f'{name}-ch-*.wav')!r} lacks channel "
            f"{_named(sorted(every - first.channels))}; {len(lacking)} of {len(found)} "
            f"utterances of {root.name} lack some: {anew}, or remove them"
        )


def _scan(folder: pathlib.Path, name: str, found: _Found) -> Utterance:
    """Return an utterance whose files all have the right headers."""
    files = {c: found.place / f"{name}-ch-{c}.wav" for c in CHANNELS}
    frames = {c: _frames(file) for c, file in files.items()}
    usual = collections.Counter(frames.values()).most_common(1)[0][0]
    if odd := [c for c in CHANNELS if frames[c] != usual]:
        raise ArchiveError(
            f"{str(files[odd[0]])!r} has {frames[odd[0]]} samples, and other channels "
            f"of that utterance have {usual}: a file is cut short; {_REMEDY}"
        )
    place = found.place.relative_to(folder).as_posix()
    return Utterance(name, name.split("-")[0], found.position, usual, place)


def _frames(path: pathlib.Path) -> int:
    """Return the number of samples of a file, if its header is right."""
    try:
        header = signals_lib.read_header(path)
    except signals_lib.SignalError as error:
        raise ArchiveError(f"{error}; {_REMEDY}") from None
    wrong = None
    if header.frames == 0:
        wrong = "is empty"
    elif header.rate != signals_lib.SAMPLE_RATE:
        wrong = f"has {header.rate} samples a second, not {signals_lib.SAMPLE_RATE}"
    elif header.channels != 1:
        wrong = f"has {header.channels} channels, not one"
    if wrong:
        raise ArchiveError(f"{str(path)!r} {wrong}; {_REMEDY}")
    return header.frames
