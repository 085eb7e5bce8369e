"""New rooms for every training step, rendered on the device from dry signals.

The examples of step n depend on the seed and n alone: a resumed run trains on the
rooms that an unbroken one would have trained on.
"""

import copy
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import uld_jax
from uld_jax.acoustics import constants
from uld_jax.audio import corpora, signals
from uld_jax.datasets import pipeline
from uld_jax.datasets.splits import Batch
from uld_jax.runtime import progress
from uld_jax.simulation import recipes

_ROOMS, _SPEECH, _NOISE = 3, 4, 5  # Random streams; 0 to 2 are those of the splits.
_LONGEST = 2**31 - 1  # Offsets are int32.
_AT_ONCE = 128  # Examples that an accelerator renders at once.


def _at_once() -> int:
    """Choose the number of examples to render at once; CPUs render room by room."""
    return 1 if jax.default_backend() == "cpu" else _AT_ONCE


class BankExcerpt(NamedTuple):
    """The position of an excerpt in a bank.

    Attributes:
        utterance: The utterance that it is cut from.
        offset: Its first sample in the bank, margins included.
    """

    utterance: signals.Utterance
    offset: int


class Bank:
    """Dry signals held on the device, as int16, each with its own peak.

    Args:
        title: Title of the progress bar.
        utterances: Utterances to hold, from the first on, until there are enough.
        prepare: Returns the signal of an utterance as it is held, and the samples
            where excerpts may start; raises `signals.CorpusError` for one of no use.
        length: Samples of an excerpt.
        hours: Hours of signals that are enough.

    Attributes:
        length: Samples of an excerpt.
        utterances: The utterances held.
        hours: Hours of signals held.

    Raises:
        CorpusError: If no utterance is usable.
    """

    def __init__(
        self,
        title: str,
        utterances: Sequence[signals.Utterance],
        prepare: Callable[[signals.Utterance], tuple[np.ndarray, np.ndarray]],
        length: int,
        hours: float,
    ):
        enough = min(int(hours * 3600 * constants.SAMPLE_RATE), _LONGEST)
        self.length = length
        self.utterances: list[signals.Utterance] = []
        self._starts, parts = [], []
        held = 0
        with progress.Progress(title, enough, "samples at most") as bar:
            for utterance in utterances:
                try:
                    signal, starts = prepare(utterance)
                except signals.CorpusError:
                    continue
                if held + len(signal) > enough and held:
                    break
                parts.append(signals.to_int16(signal))
                self.utterances.append(utterance)
                self._starts.append((starts + held).astype(np.int32))
                held += len(signal)
                bar.update(len(signal))
        if not parts:
            raise signals.CorpusError(
                f"{title}: none of {len(utterances)} utterances is usable"
            )
        self.hours: float = held / constants.SAMPLE_RATE / 3600
        self._talkers = {utterance.talker for utterance in self.utterances}
        self._samples = jax.device_put(np.concatenate(parts))
        self._take = jax.jit(
            lambda samples, offsets: signals.to_float(
                samples[offsets[..., None] + jnp.arange(length)]
            )
        )

    def draw(
        self, rng: np.random.Generator, not_talkers: Set[str] = frozenset()
    ) -> BankExcerpt:
        """Draw an excerpt; all utterances of other talkers are equally likely.

        Args:
            rng: Random stream.
            not_talkers: Talkers that are not to be drawn.

        Raises:
            CorpusError: If the bank has no other talkers.
        """
        if self._talkers <= not_talkers:
            raise signals.CorpusError(
                f"the {len(self.utterances)} utterances held have no talker besides "
                f"{sorted(not_talkers)}; raise --config.data.speech_hours"
            )
        while True:
            number = rng.integers(len(self.utterances))
            if self.utterances[number].talker not in not_talkers:
                starts = self._starts[number]
                offset = int(starts[rng.integers(len(starts))])
                return BankExcerpt(self.utterances[number], offset)

    def on(self, device: jax.Device) -> "Bank":
        """Copy the bank to another device."""
        other = copy.copy(self)
        other._samples = jax.device_put(self._samples, device)
        return other

    def describe(self) -> dict[str, Any]:
        """Summarize the signals held, for a run's record."""
        return {
            "hours": round(self.hours, 4),
            "utterances": len(self.utterances),
            "fingerprint": corpora.hash_lines(u.name for u in self.utterances),
        }

    def take(self, offsets: np.ndarray) -> jax.Array:
        """Cut the excerpts [*, D] at offsets [*]."""
        return self._take(self._samples, offsets.astype(np.int32))


def speech_bank(
    corpus: corpora.Corpus, recipe: recipes.Recipe, *, seed: int, hours: float
) -> Bank:
    """Load a bank of training speech, some hours of it drawn at random.

    Raises:
        CorpusError: If no utterance is usable.
    """
    before, after = recipe.margins

    def prepare(utterance):
        signal = signals.load(utterance)
        starts = signals.active_starts(signal, recipe.num_samples)
        return np.pad(signal, (before, after)), starts

    utterances = _shuffled(recipe.speech_of(corpus), [seed, _SPEECH])
    return Bank("Loading speech", utterances, prepare, recipe.num_dry, hours)


def noise_bank(
    corpus: corpora.Corpus, recipe: recipes.Recipe, *, seed: int, hours: float
) -> Bank:
    """Load a bank of training noise; short recordings are repeated.

    Raises:
        CorpusError: If no recording is usable.
    """

    def prepare(utterance):
        starts = signals.noise_starts(utterance, recipe.num_samples, *recipe.margins)
        return signals.load_noise(utterance, recipe.num_dry), starts

    utterances = _shuffled(corpus, [seed, _NOISE])
    return Bank("Loading noise", utterances, prepare, recipe.num_dry, hours)


def _shuffled(corpus: corpora.Corpus, stream: list[int]) -> list[signals.Utterance]:
    """Put the training utterances into the random order of a stream."""
    utterances = corpus.utterances["train"]
    order = np.random.default_rng(stream).permutation(len(utterances))
    return [utterances[number] for number in order]


class OnTheFlyData:
    """Training examples that never come again: a `pipeline.Source`.

    Example k is row k % batch_size of the run's step k // batch_size. Its random
    stream is that of seed, step and row.

    Args:
        recipe: How examples are drawn and rendered.
        speech: Dry speech.
        noise: Noise; None for a recipe without.
        seed: Seed of the run.
        batch_size: Examples a step, over all devices.
        size: Examples called an epoch.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        speech: Bank,
        noise: Bank | None,
        *,
        seed: int,
        batch_size: int,
        size: int,
    ):
        self._recipe, self._speech, self._noise = recipe, speech, noise
        # Accelerators add in no fixed order, and some add floats more slowly than the
        # integers of deterministic sums.
        self._deterministic = jax.default_backend() != "cpu"
        self._seed, self._batch_size, self._size = seed, batch_size, size
        self._device = None

    def __len__(self) -> int:
        return self._size

    def on(self, device: jax.Device) -> "OnTheFlyData":
        """Copy the data, to be rendered on another device."""
        other = copy.copy(self)
        other._device, other._speech = device, self._speech.on(device)
        other._noise = self._noise and self._noise.on(device)
        return other

    def describe(self) -> dict[str, Any]:
        """Summarize the examples, for a run's record."""
        summary = {
            "source": "fresh",
            "simulator": f"uld_jax {uld_jax.__version__}, jax",
            "law": self._recipe.describe("thinned", self._deterministic),
            "speech": self._speech.describe(),
        }
        if self._noise:
            summary["noise"] = self._noise.describe()
        return summary | {"examples_per_epoch": self._size}

    def draw(self, step: int, row: int) -> recipes.Drawn:
        """Draw one example of one step, not rendered yet."""
        return self._recipe.draw(
            np.random.default_rng([self._seed, _ROOMS, step, row]),
            "train",
            self._speech.draw,
            self._noise.draw if self._noise else None,
        )

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`.

        The late field is thinned, and only the chosen nodes are rendered: see
        `recipes.Recipe.batch`. An accelerator renders several steps ahead, and drawing
        their examples overlaps with its work on the steps before.
        """
        pipeline.refuse(changes)
        return self._batches(order, first_step, nodes)

    def _batches(self, order, first_step, nodes):
        for group in _groups(order, first_step, nodes):
            rows, chosen = zip(*group, strict=True)
            together = np.concatenate(chosen) if nodes else None
            with jax.default_device(self._device):
                batch = self._render(np.concatenate(rows), together)
            size = len(rows[0])
            for first in range(0, size * len(rows), size):
                some = {
                    key: value[first : first + size] for key, value in batch.items()
                }
                yield pipeline.finished(some)

    def _render(self, numbers: np.ndarray, nodes: np.ndarray | None) -> Batch:
        drawn = [self.draw(*divmod(int(k), self._batch_size)) for k in numbers]
        offsets = [[excerpt.offset for excerpt in example.speech] for example in drawn]
        noise = None
        if self._noise:
            noise = self._noise.take(
                np.array([example.noise.offset for example in drawn])
            )
        return self._recipe.batch(
            drawn,
            self._speech.take(np.array(offsets)),
            noise,
            nodes=nodes,
            deterministic=self._deterministic,
        )


def _groups(
    order: pipeline.Order, first_step: int, nodes: pipeline.ChooseNodes | None
) -> Iterator[list[tuple[np.ndarray, np.ndarray | None]]]:
    """Group the rows and nodes of successive steps that can be rendered together.

    Groups are full or of a single step: each size is another program.
    """
    group = []
    for step in range(first_step, len(order)):
        rows, chosen = order[step], nodes(step) if nodes else None
        if group and np.shape(chosen) != np.shape(group[0][1]):
            yield from ([one] for one in group)
            group = []
        group.append((rows, chosen))
        if (len(group) + 1) * len(rows) > _at_once():
            yield group
            group = []
    yield from ([one] for one in group)
