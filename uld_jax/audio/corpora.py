"""Corpora of dry speech and noise: LibriSpeech, any folder, built-in signals.

A corpus has three parts: train, dev and test. Files are FLAC, WAV or Ogg; the talker
is the file name up to its first hyphen, as in LibriSpeech.
"""

import collections
import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np

from uld_jax.audio import builtin, signals

PARTS = ("train", "dev", "test")  # Of a corpus; a data set has splits.
LIBRISPEECH_FOLDERS = ("train-clean-360", "dev-clean", "test-clean")
BUILTIN = "builtin"

_SUFFIXES = frozenset({".flac", ".wav", ".ogg", ".opus"})
_MAX_REDRAWS = 200


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A piece of an utterance.

    Attributes:
        samples: [before + N + after] float32. Beyond the utterance's ends, speech
            is zero and noise continues from its other end.
        utterance: What it was cut from.
        start: Where the N samples start in the utterance, in samples.
    """

    samples: np.ndarray
    utterance: signals.Utterance
    start: int


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Usable utterances by part, and the files that were left out.

    Attributes:
        name: "builtin", or the name of the corpus folder.
        utterances: Utterances by part.
        folders: Folders that serve as train, dev and test; empty where a hash divides
            the files.
        skipped: Files left out so far, name to reason.
    """

    name: str
    utterances: dict[str, tuple[signals.Utterance, ...]]
    folders: tuple[str, ...] = PARTS
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def talkers(self) -> dict[str, frozenset[str]]:
        """Talkers by part; for noise, recordings."""
        return {
            part: frozenset(utterance.talker for utterance in utterances)
            for part, utterances in self.utterances.items()
        }

    @functools.cached_property
    def held_out(self) -> "Corpus":
        """The corpus with one utterance of each training talker in a part of its own.

        Of talkers with several, the last by name goes from "train" to "held_out".

        Raises:
            CorpusError: If no talker has several.
        """
        utterances = sorted(self.utterances["train"], key=lambda one: one.name)
        last = {one.talker: one.name for one in utterances}
        count = collections.Counter(one.talker for one in utterances)
        held = {last[talker] for talker, number in count.items() if number > 1}
        if not held:
            raise signals.CorpusError(
                f"no talker of {self.name!r} has several utterances in the training "
                "part, so none can be held out for a test; add some"
            )
        parts = {
            "train": tuple(u for u in self.utterances["train"] if u.name not in held),
            "held_out": tuple(u for u in self.utterances["train"] if u.name in held),
        }
        return dataclasses.replace(self, utterances=self.utterances | parts)

    def fingerprint(self) -> str:
        """Hash which utterances are in which part."""
        return hash_lines(f"{p}/{u.name}" for p in PARTS for u in self.utterances[p])

    def summary(self) -> dict[str, str | int | list[str]]:
        """Summarize the corpus in a few facts, for a data set's metadata."""
        facts = {
            "name": self.name,
            "folders": list(self.folders),
            "fingerprint": self.fingerprint(),
        }
        for part in PARTS:
            facts[f"{part}_utterances"] = len(self.utterances[part])
            facts[f"{part}_talkers"] = len(self.talkers[part])
        return facts

    def draw(
        self,
        part: str,
        rng: np.random.Generator,
        num_samples: int,
        before: int = 0,
        after: int = 0,
        not_talkers: Set[str] = frozenset(),
    ) -> Excerpt:
        """Draw an excerpt of active speech; all utterances are equally likely.

        Its N samples hold at least a thousandth (-30 dB) of the energy of the
        utterance's strongest stretch of that length. The paper does not say how
        its 160 ms segments were chosen; a silent one would not show where the
        talker is. An unusable utterance is noted in `skipped`, and another drawn.

        Args:
            part: One of `PARTS`, or "held_out" of `held_out`.
            rng: The random stream.
            num_samples: Length N.
            before: Samples needed ahead of the N.
            after: Samples needed after the N.
            not_talkers: Talkers to avoid, for a scene of several talkers.

        Raises:
            CorpusError: If no usable utterance was found in 200 draws, or the
                part has no other talkers.
        """

        def cut(utterance: signals.Utterance) -> Excerpt:
            signal = signals.load(utterance)
            starts = signals.active_starts(signal, num_samples)
            start = int(starts[rng.integers(len(starts))])
            samples = signals.cut(signal, start - before, before + num_samples + after)
            return Excerpt(samples, utterance, start)

        return self._first_usable(part, rng, cut, not_talkers)

    def draw_noise(
        self,
        part: str,
        rng: np.random.Generator,
        num_samples: int,
        before: int = 0,
        after: int = 0,
    ) -> Excerpt:
        """Draw an excerpt of noise; all files are equally likely.

        A noise too short for the N samples and their margins is repeated, and may
        start anywhere; a longer one is never joined end to start. In both cases
        sample k is the noise's sample (start - before + k) modulo its length. The N
        samples hold a thousandth of the strongest stretch's energy, as in `draw`.

        Raises:
            CorpusError: If no usable noise was found in 200 draws.
        """
        total = before + num_samples + after

        def cut(utterance: signals.Utterance) -> Excerpt:
            starts = signals.noise_starts(utterance, num_samples, before, after)
            first = int(starts[rng.integers(len(starts))])
            samples = signals.load_noise(utterance, total)[first : first + total].copy()
            start = (first + before) % len(signals.load(utterance))
            return Excerpt(samples, utterance, start)

        return self._first_usable(part, rng, cut)

    def _first_usable(
        self,
        part: str,
        rng: np.random.Generator,
        cut: Callable[[signals.Utterance], Excerpt],
        not_talkers: Set[str] = frozenset(),
    ) -> Excerpt:
        """Draw utterances until one gives an excerpt."""
        pool = self.utterances[part]
        if self.talkers[part] <= not_talkers:
            raise signals.CorpusError(
                f"part {part!r} of {self.name!r} has {len(self.talkers[part])} talkers, "
                "too few for a scene whose sources are different talkers; add talkers"
            )
        for _ in range(_MAX_REDRAWS):
            utterance = pool[rng.integers(len(pool))]
            while utterance.talker in not_talkers:
                utterance = pool[rng.integers(len(pool))]
            try:
                return cut(utterance)
            except signals.CorpusError as error:
                self.skipped[utterance.name] = str(error)
        reasons = collections.Counter(self.skipped.values()).most_common(3)
        raise signals.CorpusError(
            f"no usable utterance in {_MAX_REDRAWS} draws from part {part!r} of "
            f"{self.name!r}; the most frequent reasons: {reasons}"
        )


def hash_lines(lines: Iterable[str]) -> str:
    """Hash some lines, in 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def open_speech(
    folder: str | pathlib.Path,
    subfolders: Sequence[str] = LIBRISPEECH_FOLDERS,
    min_samples: int = 1,
) -> Corpus:
    """Open the speech corpus in a folder, or the built-in one for "builtin".

    Args:
        folder: LibriSpeech in its published layout, or any folder with
            sub-folders train, dev and test; files at any depth.
        subfolders: Sub-folders that serve as train, dev and test. Where they do not
            exist, train, dev and test themselves are taken.
        min_samples: Files with fewer samples at 16 kHz are left out.

    Raises:
        CorpusError: If the folder or a part is missing or has no usable file,
            or a talker is in two parts.
    """
    if str(folder) == BUILTIN:
        return _builtin(builtin.speech_names(), _talker)
    folder = _existing_folder(
        folder,
        "corpus",
        f"{', '.join(LIBRISPEECH_FOLDERS)} (LibriSpeech, openslr.org/12) or train, dev "
        "and test (--config.data.speech)",
    )
    folders = _part_folders(folder, subfolders)
    corpus = _scan(
        folder,
        {part: _audio_files(path) for part, path in folders.items()},
        min_samples,
        _talker,
    )
    _check_disjoint(corpus)
    names = tuple(folders[part].name for part in PARTS)
    return dataclasses.replace(corpus, folders=names)


def open_noise(folder: str | pathlib.Path, min_samples: int = 1) -> Corpus:
    """Open the noise corpus in a folder, or the built-in one for "builtin".

    Sub-folders train, dev and test are its parts. Without them, a hash of their
    recording divides the files 8 : 1 : 1, so that pieces of one recording stay
    together: files alike but for an ending -A, -B, ... as in ESC-10, and the channels
    ch01, ch02, ... of one folder, as in DEMAND.

    Raises:
        CorpusError: If the folder is missing or a part has no usable file.
    """
    if str(folder) == BUILTIN:
        return _builtin(builtin.noise_names(), _recording)
    folder = _existing_folder(
        folder, "noise", "train, dev and test, or any audio files (--config.data.noise)"
    )
    folders = PARTS if all((folder / name).is_dir() for name in PARTS) else ()
    if folders:
        files = {part: _audio_files(folder / part) for part in PARTS}
    else:
        files = {part: [] for part in PARTS}
        for path in _audio_files(folder):
            recording = _recording(path.relative_to(folder).as_posix())
            tenth = int(hashlib.sha256(recording.encode()).hexdigest(), 16)
            files[{8: "dev", 9: "test"}.get(tenth % 10, "train")].append(path)
    corpus = _scan(folder, files, min_samples, _recording)
    return dataclasses.replace(corpus, folders=folders)


def _builtin(
    names: dict[str, tuple[str, ...]], talker_of: Callable[[str], str]
) -> Corpus:
    return Corpus(
        BUILTIN,
        {
            part: tuple(
                signals.Utterance(name, talker_of(name)) for name in names[part]
            )
            for part in PARTS
        },
    )


def _talker(name: str) -> str:
    return pathlib.PurePath(name).stem.split("-", 1)[0]


def _recording(name: str) -> str:
    path = pathlib.PurePath(name)
    if re.fullmatch(r"ch\d+", path.stem):
        return path.parent.as_posix()
    return re.sub(r"-[A-Z]$", "", path.with_suffix("").as_posix())


def _existing_folder(
    folder: str | pathlib.Path, kind: str, wanted: str
) -> pathlib.Path:
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "does not exist"
        raise signals.CorpusError(
            f"{kind} folder {str(folder)!r} {wrong}; give a folder that holds "
            f"{wanted}, or {BUILTIN!r} for the built-in signals"
        )
    return folder


def _part_folders(
    folder: pathlib.Path, subfolders: Sequence[str]
) -> dict[str, pathlib.Path]:
    if len(subfolders) != len(PARTS) or len(set(subfolders)) != len(PARTS):
        raise signals.CorpusError(
            f"speech_splits is {subfolders}; name one folder for each of {PARTS}"
        )
    for names in (tuple(subfolders), PARTS):
        folders = [folder / name for name in names]
        if all(path.is_dir() for path in folders):
            return dict(zip(PARTS, folders, strict=True))
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise signals.CorpusError(
        f"{str(folder)!r} has neither the folders {', '.join(subfolders)} nor "
        f"{', '.join(PARTS)}; it has {found or 'no folders'}"
    )


def _audio_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)


def _scan(folder, files, min_samples, talker_of) -> Corpus:
    """Make the corpus of all files with a valid header and enough samples."""
    import soundfile

    utterances, skipped = {}, {}
    for part, paths in files.items():
        kept = []
        for path in paths:
            name = path.relative_to(folder).as_posix()
            try:
                info = soundfile.info(path)
            except (OSError, RuntimeError):
                skipped[name] = "unreadable"
                continue
            if info.frames * signals.SAMPLE_RATE < min_samples * info.samplerate:
                skipped[name] = f"shorter than {min_samples} samples"
                continue
            kept.append(signals.Utterance(name, talker_of(name), path))
        if not kept:
            found = f"{len(paths)} audio files found, all unreadable or too short"
            if not paths:
                found = f"no {', '.join(sorted(_SUFFIXES))} files found"
            raise signals.CorpusError(
                f"part {part!r} of {str(folder)!r} has no usable file: {found}"
            )
        utterances[part] = tuple(kept)
    return Corpus(folder.resolve().name, utterances, skipped=skipped)


def _check_disjoint(corpus: Corpus) -> None:
    """Check that no talker is in two parts."""
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(corpus.talkers[one] & corpus.talkers[other])
        if shared:
            raise signals.CorpusError(
                f"{len(shared)} talkers are in both {one} and {other} of "
                f"{corpus.name!r} ({', '.join(shared[:5])}), so a network would be "
                "tested on voices it was trained on; move each talker's files into one"
            )
