"""Fresh rooms for every training step, rendered on the device from dry signals.

What step n trains on depends on the seed and n alone: a resumed run sees the rooms
that an unbroken one would have seen.
"""

import copy
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import uld_jax
from uld_jax.acoustics import constants
from uld_jax.audio import corpora, signals
from uld_jax.datasets import pipeline
from uld_jax.runtime import progress
from uld_jax.simulation import recipes

_ROOMS, _SPEECH, _NOISE = 3, 4, 5  # Random streams beside those of the splits.
_LONGEST = 2**31 - 1  # Offsets are int32.


class BankExcerpt(NamedTuple):
    """Where an excerpt is in a bank.

    Attributes:
        utterance: What it is cut from.
        offset: Where it starts, margins included.
    """

    utterance: signals.Utterance
    offset: int


class Bank:
    """Dry signals held on the device, as int16 with each its own peak.

    Args:
        title: What is loaded, for the progress bar.
        utterances: What to hold, in order, until there is enough.
        prepare: Returns an utterance's signal as it is held, and where in it
            excerpts may start; raises `signals.CorpusError` for a useless one.
        length: Samples of an excerpt.
        hours: How much is enough.

    Raises:
        CorpusError: If no utterance is usable.
    """

    def __init__(self, title, utterances, prepare, length: int, hours: float):
        enough = min(int(hours * 3600 * constants.SAMPLE_RATE), _LONGEST)
        self.length = length
        self.utterances, self._starts, parts = [], [], []
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
        self.hours = held / constants.SAMPLE_RATE / 3600
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
        """Return the same bank, held on another device."""
        other = copy.copy(self)
        other._samples = jax.device_put(self._samples, device)
        return other

    def describe(self) -> dict[str, Any]:
        """Return what is held in a few facts."""
        return {
            "hours": round(self.hours, 4),
            "utterances": len(self.utterances),
            "fingerprint": corpora.hash_lines(u.name for u in self.utterances),
        }

    def take(self, offsets: np.ndarray) -> jax.Array:
        """Return the excerpts [*, D] at offsets [*]."""
        return self._take(self._samples, offsets.astype(np.int32))


def speech_bank(
    corpus: corpora.Corpus, recipe: recipes.Recipe, *, seed: int, hours: float
) -> Bank:
    """Return a bank of training speech, some hours of it drawn at random."""
    before, after = recipe.margins

    def prepare(utterance):
        signal = signals.load(utterance)
        starts = signals.active_starts(signal, recipe.num_samples)
        return np.pad(signal, (before, after)), starts

    utterances = _shuffled(corpus, [seed, _SPEECH])
    return Bank("Loading speech", utterances, prepare, recipe.num_dry, hours)


def noise_bank(
    corpus: corpora.Corpus, recipe: recipes.Recipe, *, seed: int, hours: float
) -> Bank:
    """Return a bank of training noise; short recordings are repeated."""

    def prepare(utterance):
        starts = signals.noise_starts(utterance, recipe.num_samples, *recipe.margins)
        return signals.load_noise(utterance, recipe.num_dry), starts

    utterances = _shuffled(corpus, [seed, _NOISE])
    return Bank("Loading noise", utterances, prepare, recipe.num_dry, hours)


def _shuffled(corpus: corpora.Corpus, stream: list[int]) -> list[signals.Utterance]:
    """Return the utterances to train on in the random order of a stream."""
    utterances = corpus.utterances["train"]
    order = np.random.default_rng(stream).permutation(len(utterances))
    return [utterances[number] for number in order]


class OnTheFlyData:
    """Training examples that were never seen before, rendered batch by batch.

    Example k, of however many, is row k % batch_size of the run's step
    k // batch_size, which are what its random stream is named by.

    Args:
        recipe: What is drawn and how it sounds.
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
        # Accelerators add in no fixed order, and some add floats slowly.
        self._deterministic = jax.default_backend() != "cpu"
        self._seed, self._batch_size, self._size = seed, batch_size, size
        self._device = None

    def __len__(self) -> int:
        return self._size

    def on(self, device: jax.Device) -> "OnTheFlyData":
        """Return the same data, rendered on another device."""
        other = copy.copy(self)
        other._device, other._speech = device, self._speech.on(device)
        other._noise = self._noise and self._noise.on(device)
        return other

    def describe(self) -> dict[str, Any]:
        """Return what is trained on in a few facts, for a run's record."""
        facts = {
            "source": "fresh",
            "simulator": f"uld_jax {uld_jax.__version__}, jax",
            "law": self._recipe.describe("thinned", self._deterministic),
            "speech": self._speech.describe(),
        }
        if self._noise:
            facts["noise"] = self._noise.describe()
        return facts | {"examples_per_epoch": self._size}

    def draw(self, step: int, row: int) -> recipes.Drawn:
        """Draw one example of one step."""
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
    ) -> Iterator[pipeline.Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`.

        The late field is thinned, and the nodes chosen are all that is rendered: see
        `recipes.Recipe.batch`. On an accelerator, what is drawn for one step overlaps
        with the device's work on the one before.
        """
        pipeline.refuse(changes)
        return self._batches(order, first_step, nodes)

    def _batches(self, order, first_step, nodes):
        for step in range(first_step, len(order)):
            with jax.default_device(self._device):
                batch = self._render(order[step], nodes(step) if nodes else None)
            yield pipeline.finished(batch)

    def _render(self, numbers: np.ndarray, nodes: np.ndarray | None) -> pipeline.Batch:
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
