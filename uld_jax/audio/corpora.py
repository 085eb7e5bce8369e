"""Dry speech and noise by split: LibriSpeech, any folder, built-in signals.

Three splits, always called train, dev and test here. Files are FLAC, WAV or
Ogg; the talker is the file name up to its first hyphen, as in LibriSpeech.
Whatever a file's rate, its signal comes at 16 kHz, without its mean.
"""

import collections
import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np

from uld_jax.audio import builtin_noise, builtin_speech, signals

SPLITS = ("train", "dev", "test")
LIBRISPEECH_SPLITS = ("train-clean-360", "dev-clean", "test-clean")
BUILTIN = "builtin"

_SUFFIXES = frozenset({".flac", ".wav", ".ogg", ".opus"})
_MAX_REDRAWS = 200


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A piece of an utterance.

    Attributes:
        samples: [before + N + after] float32. Beyond the utterance's ends speech
            is zero and noise goes on from its other end.
        utterance: What it was cut from.
        start: Where the N samples start in the utterance, in samples.
    """

    samples: np.ndarray
    utterance: signals.Utterance
    start: int


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Usable utterances of three splits, and what was left out.

    Attributes:
        name: "builtin", or the name of the corpus folder.
        utterances: Utterances by split.
        folders: The folders that serve as train, dev and test; none where a hash
            divides the files.
        skipped: Files left out so far, name to reason.
    """

    name: str
    utterances: dict[str, tuple[signals.Utterance, ...]]
    folders: tuple[str, ...] = SPLITS
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def talkers(self) -> dict[str, frozenset[str]]:
        """Talkers by split; for noise, recordings."""
        return {s: frozenset(u.talker for u in self.utterances[s]) for s in SPLITS}

    def fingerprint(self) -> str:
        """Return a short hash of which utterances are in which split."""
        return hash_lines(f"{s}/{u.name}" for s in SPLITS for u in self.utterances[s])

    def summary(self) -> dict[str, str | int | list[str]]:
        """Return the corpus in a few facts, for a data set's metadata."""
        facts = {
            "name": self.name,
            "folders": list(self.folders),
            "fingerprint": self.fingerprint(),
        }
        for split in SPLITS:
            facts[f"{split}_utterances"] = len(self.utterances[split])
            facts[f"{split}_talkers"] = len(self.talkers[split])
        return facts

    def draw(
        self,
        split: str,
        rng: np.random.Generator,
        num_samples: int,
        before: int = 0,
        after: int = 0,
        not_talkers: Set[str] = frozenset(),
    ) -> Excerpt:
        """Draw an excerpt of active speech; all utterances are equally likely.

        Its N samples hold at least a thousandth (-30 dB) of the energy of the
        utterance's strongest stretch of that length. The paper does not say how
        its 160 ms segments were chosen; silent ones would say nothing about
        where the talker is. Utterances that turn out to be unusable are drawn
        anew, and noted in `skipped`.

        Args:
            split: One of `SPLITS`.
            rng: The random stream.
            num_samples: Length N.
            before: Samples wanted ahead of the N.
            after: Samples wanted after the N.
            not_talkers: Talkers whose utterances are drawn anew, for a scene of
                several talkers.

        Raises:
            CorpusError: If no usable utterance was found in 200 draws, or the
                split has no other talkers.
        """

        def cut(utterance: signals.Utterance) -> Excerpt:
            signal = signals.load(utterance)
            starts = signals.active_starts(signal, num_samples)
            start = int(starts[rng.integers(len(starts))])
            samples = signals.cut(signal, start - before, before + num_samples + after)
            return Excerpt(samples, utterance, start)

        return self._first_usable(split, rng, cut, not_talkers)

    def draw_noise(
        self,
        split: str,
        rng: np.random.Generator,
        num_samples: int,
        before: int = 0,
        after: int = 0,
    ) -> Excerpt:
        """Draw an excerpt of noise; all files are equally likely.

        A noise too short for the N samples and their margins is repeated, and may
        start anywhere; a longer one is never cut and joined. In either, sample k
        is the noise's sample (start - before + k) modulo its length. The N samples
        hold a thousandth of the energy of the strongest such stretch, as in `draw`.

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

        return self._first_usable(split, rng, cut)

    def _first_usable(
        self,
        split: str,
        rng: np.random.Generator,
        cut: Callable[[signals.Utterance], Excerpt],
        not_talkers: Set[str] = frozenset(),
    ) -> Excerpt:
        """Return the excerpt of the first utterance drawn that has one."""
        pool = self.utterances[split]
        if self.talkers[split] <= not_talkers:
            raise signals.CorpusError(
                f"split {split!r} of {self.name!r} has {len(self.talkers[split])} "
                "talkers, too few for a scene in which each source is another one"
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
            f"no usable utterance in {_MAX_REDRAWS} draws from split {split!r} of "
            f"{self.name!r}; the most frequent reasons: {reasons}"
        )


def hash_lines(lines: Iterable[str]) -> str:
    """Return a short hash of some lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def open_speech(
    folder: str | pathlib.Path,
    splits: Sequence[str] = LIBRISPEECH_SPLITS,
    min_samples: int = 1,
) -> Corpus:
    """Return the speech corpus in a folder, or the built-in one for "builtin".

    Args:
        folder: LibriSpeech in its published layout, or any folder with
            sub-folders train, dev and test; files at any depth.
        splits: The sub-folders that serve as train, dev and test. Where they
            do not exist, train, dev and test themselves are taken.
        min_samples: Files with fewer samples at 16 kHz are left out.

    Raises:
        CorpusError: If the folder or a split is missing or has no usable file,
            or a talker is in two splits.
    """
    if str(folder) == BUILTIN:
        return _builtin(builtin_speech.utterance_names(), _talker)
    folder = _existing_folder(
        folder,
        "corpus",
        f"{', '.join(LIBRISPEECH_SPLITS)} (LibriSpeech, openslr.org/12) or train, dev "
        "and test (--config.data.speech)",
    )
    folders = _split_folders(folder, splits)
    corpus = _scan(
        folder,
        {split: _audio_files(path) for split, path in folders.items()},
        min_samples,
        _talker,
    )
    _check_disjoint(corpus)
    names = tuple(folders[split].name for split in SPLITS)
    return dataclasses.replace(corpus, folders=names)


def open_noise(folder: str | pathlib.Path, min_samples: int = 1) -> Corpus:
    """Return the noise corpus in a folder, or the built-in one for "builtin".

    A folder with sub-folders train, dev and test is taken as it is. Otherwise its
    files are divided 8 : 1 : 1 by a hash of their recording, so that its pieces
    stay together: files alike but for an ending -A, -B, ... as in ESC-10, and the
    channels ch01, ch02, ... of one folder, as in DEMAND.

    Raises:
        CorpusError: If the folder is missing or a split has no usable file.
    """
    if str(folder) == BUILTIN:
        return _builtin(builtin_noise.noise_names(), _recording)
    folder = _existing_folder(
        folder, "noise", "train, dev and test, or any audio files (--config.data.noise)"
    )
    folders = SPLITS if all((folder / name).is_dir() for name in SPLITS) else ()
    if folders:
        files = {split: _audio_files(folder / split) for split in SPLITS}
    else:
        files = {split: [] for split in SPLITS}
        for path in _audio_files(folder):
            recording = _recording(path.relative_to(folder).as_posix())
            tenth = int(hashlib.sha256(recording.encode()).hexdigest(), 16)
            split = {8: "dev", 9: "test"}.get(tenth % 10, "train")
            files[split].append(path)
    corpus = _scan(folder, files, min_samples, _recording)
    return dataclasses.replace(corpus, folders=folders)


def _builtin(
    names: dict[str, tuple[str, ...]], talker_of: Callable[[str], str]
) -> Corpus:
    """Return the corpus of signals made by their names."""
    return Corpus(
        BUILTIN,
        {
            split: tuple(
                signals.Utterance(name, talker_of(name)) for name in names[split]
            )
            for split in SPLITS
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
            f"{kind} folder {str(folder)!r} {wrong}; give the folder that holds "
            f"{wanted}, or {BUILTIN!r} for the built-in signals"
        )
    return folder


def _split_folders(
    folder: pathlib.Path, splits: Sequence[str]
) -> dict[str, pathlib.Path]:
    if len(splits) != len(SPLITS) or len(set(splits)) != len(SPLITS):
        raise signals.CorpusError(
            f"splits are {splits}; name one folder for each of {SPLITS}"
        )
    for names in (tuple(splits), SPLITS):
        folders = [folder / name for name in names]
        if all(path.is_dir() for path in folders):
            return dict(zip(SPLITS, folders, strict=True))
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise signals.CorpusError(
        f"{str(folder)!r} has neither the folders {', '.join(splits)} nor "
        f"{', '.join(SPLITS)}; it has {found or 'no folders'}"
    )


def _audio_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)


def _scan(folder, files, min_samples, talker_of) -> Corpus:
    """Return the corpus of all files whose headers are right."""
    soundfile = signals.require_soundfile()
    utterances, skipped = {}, {}
    for split, paths in files.items():
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
                f"split {split!r} of {str(folder)!r} has no usable file: {found}"
            )
        utterances[split] = tuple(kept)
    return Corpus(folder.resolve().name, utterances, skipped=skipped)


def _check_disjoint(corpus: Corpus) -> None:
    """Raise if a talker is in two splits."""
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(corpus.talkers[one] & corpus.talkers[other])
        if shared:
            raise signals.CorpusError(
                f"{len(shared)} talkers are in both {one} and {other} of "
                f"{corpus.name!r} ({', '.join(shared[:5])}); results on them would "
                "mean nothing: move each talker's files into one split"
            )
