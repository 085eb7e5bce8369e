"""Fresh mixtures of reverberant speech and noise, with both parts apart.

What a network of speech masks learns from. In each room a talker and a source of noise are
rendered apart, so that the share of speech is known in every bin at every node. Mixture k
depends on the seed and k alone: a resumed run trains on what an unbroken one would have.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

import uld_jax
from uld_jax.audio import corpora, signals
from uld_jax.datasets import prepare
from uld_jax.runtime import errors
from uld_jax.simulation import recipes, rendering
from uld_jax.simulation import rooms as rooms_lib

_STREAM = 6  # Random stream; others have those before.
SNR_DB = (-15.0, 40.0)  # Over all nodes of a room.
# Shares of rooms without a talker; of those, without any sound; and of all, without noise.
_NOBODY, _SILENT, _CLEAN = 0.1, 0.2, 0.05
_TWO_NOISES, _SECOND_DB = 0.3, (-10.0, 10.0)
_SPEED = 1.4  # Noises are played so much faster or slower, at most.
# Deviation of the coloring in dB, and frequencies in Hz between which it is smooth.
_COLORING_DB, _KNOTS = 4.0, (60, 250, 700, 1500, 3000, 5000, 8000)
# A recorder's own noise, in half of the rooms: dB below the mean of all sound.
_HISS, _HISS_DB = 0.5, (-70.0, -25.0)


class MixtureError(errors.InputError):
    """Mixtures that cannot be made, with the reason."""


class Mixtures:
    """Mixtures of a part of speech and noise.

    Args:
        recipe: How rooms are drawn, and how many nodes each has.
        speech: Dry speech.
        noise: Noise.
        part: One of `corpora.PARTS`.
        seed: Seed of all that is drawn.
        rooms: Rooms of a batch.
        snr_db: Range of the SNR.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        speech: corpora.Corpus,
        noise: corpora.Corpus,
        part: str,
        *,
        seed: int,
        rooms: int,
        snr_db: tuple[float, float] = SNR_DB,
    ):
        self._recipe, self._speech, self._noise = recipe, speech, noise
        self._part, self._seed, self._rooms = part, seed, rooms
        self._snr_db = snr_db
        self._settings = recipe.settings("thinned", jax.default_backend() != "cpu")

    def describe(self) -> dict[str, Any]:
        """Summarize the mixtures, for a run's record."""
        return {
            "source": "fresh",
            "simulator": f"uld_jax {uld_jax.__version__}, jax",
            "law": self._recipe.describe("thinned", self._settings.deterministic),
            "corpus": self._speech.summary(),
            "noise": self._noise.summary(),
            "snr_db": list(self._snr_db),
        }

    def batch(self, step: int) -> dict[str, Float[np.ndarray, "C N"]]:
        """Render the mixtures of a step, one for each node of each room.

        Args:
            step: Number of the batch.

        Returns:
            `speech` and `noise` at the nodes, which add up to what they record.
        """
        streams = [
            np.random.default_rng([self._seed, _STREAM, step, row])
            for row in range(self._rooms)
        ]
        drawn = [
            self._recipe.draw_from(self._speech, self._noise, self._part, rng)
            for rng in streams
        ]
        dry = [
            _color(rng, one.speech[0].samples)
            for rng, one in zip(streams, drawn, strict=True)
        ]
        noises = [
            self._dry_noise(rng, one) for rng, one in zip(streams, drawn, strict=True)
        ]
        speech, noise = self._render(drawn, np.stack(dry), np.stack(noises))
        parts = [
            self._mix(rng, *one)
            for rng, *one in zip(streams, speech, noise, strict=True)
        ]
        speech, noise = (np.concatenate(one) for one in zip(*parts, strict=True))
        return {"speech": speech, "noise": noise}

    def _dry_noise(self, rng: np.random.Generator, drawn: recipes.Drawn) -> np.ndarray:
        """Draw the dry noise of a room: one or two recordings, faster or slower."""
        dry = _change_speed(rng, drawn.noise.samples)
        if rng.uniform() < _TWO_NOISES:
            recipe = self._recipe
            length = recipe.num_samples, *recipe.margins
            other = self._noise.draw_noise(self._part, rng, *length).samples
            gain = 10 ** (rng.uniform(*_SECOND_DB) / 20)
            dry = _unit(dry) + gain * _unit(_change_speed(rng, other))
        return _color(rng, dry)

    def _render(self, drawn: Sequence[recipes.Drawn], speech, noise):
        """Render talkers and noises, all as rooms with one source."""
        batch = [one.scene for one in drawn]
        talkers = rooms_lib.Rooms.of(batch)
        size, t60, nodes = talkers.size, talkers.t60, talkers.node_positions
        places = np.stack([scene.noise_position for scene in batch])[:, None]
        both = rooms_lib.Rooms(
            *(np.concatenate([one, one]) for one in (size, t60, nodes)),
            np.concatenate([talkers.source_positions, places]),
        )
        seeds = [one.seed for one in drawn]
        seeds += [(seed + 1) % 2**32 for seed in seeds]
        rendered = rendering.render(
            both,
            np.concatenate([speech, noise])[:, None].astype(np.float32),
            recipes.keys(seeds),
            self._settings,
        )
        found = np.asarray(rendered.signals)
        return found[: len(drawn)], found[len(drawn) :]

    def _mix(self, rng: np.random.Generator, speech, noise):
        """Bring the parts of a room [M, N] to an SNR; some have one or neither."""
        noise = noise * (_rms(speech) / max(_rms(noise), 1e-9))
        noise = noise * 10 ** (-rng.uniform(*self._snr_db) / 20)
        kind, silent = rng.uniform(size=2)
        if kind < _NOBODY:
            speech = 0 * speech
            noise = noise * (silent >= _SILENT)
        elif kind < _NOBODY + _CLEAN:
            noise = 0 * noise
        if rng.uniform() < _HISS:
            level = _rms(speech + noise) * 10 ** (rng.uniform(*_HISS_DB) / 20)
            noise = noise + level * rng.standard_normal(noise.shape, np.float32)
        return np.float32(speech), np.float32(noise)


def open_mixtures(
    config: Any, part: str, seed: int, rooms: int, **more: Any
) -> Mixtures:
    """Open the mixtures that an experiment's settings ask for.

    Args:
        config: Settings of the network of speech masks, resolved.
        part: Part of the corpora.
        seed: Seed of all that is drawn.
        rooms: Rooms of a batch.
        **more: Further arguments of `Mixtures`.

    Raises:
        MixtureError: If the data set has no reverberant rooms, or no noise would be
            left.
        CorpusError: If a corpus cannot be used.
        files.DatasetError: If there is no such data set.
    """
    recipe = prepare.find_builder(config.data.name).config.recipe
    if not recipe.noisy:
        raise MixtureError(
            f"--config.data.name is {config.data.name!r}, whose rooms have no noise; "
            "speech masks need some: take simulated/any:1.0.0"
        )
    nodes = config.data.nodes_in_training or recipe.num_nodes
    recipe = dataclasses.replace(recipe, num_sources=1, num_nodes=nodes)
    speech = corpora.open_speech(
        config.data.speech, tuple(config.data.speech_splits), recipe.num_samples
    )
    noise = corpora.open_noise(config.data.noise)
    noise = leave_out(noise, tuple(config.mixtures.noises_left_out))
    return Mixtures(recipe, speech, noise, part, seed=seed, rooms=rooms, **more)


def leave_out(noise: corpora.Corpus, kinds: Sequence[str]) -> corpora.Corpus:
    """Leave out the noises of some kinds, to test a network on what it never met.

    Args:
        noise: Noises.
        kinds: What their names start with.

    Raises:
        MixtureError: If no name starts so, or no noise is left.
    """
    names = [one.name for part in corpora.PARTS for one in noise.utterances[part]]
    for kind in kinds:
        if not any(name.startswith(kind) for name in names):
            raise MixtureError(
                f"--config.mixtures.noises_left_out has {kind!r}; no noise of "
                f"{noise.name!r} has a name that starts so"
            )
    kept = {
        part: tuple(one for one in all_of_it if not one.name.startswith(tuple(kinds)))
        for part, all_of_it in noise.utterances.items()
    }
    for part, left in kept.items():
        if not left:
            raise MixtureError(
                f"--config.mixtures.noises_left_out leaves no noise in {part!r} of "
                f"{noise.name!r}; name fewer kinds"
            )
    return dataclasses.replace(noise, utterances=kept)


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def _unit(signal: np.ndarray) -> np.ndarray:
    return signal / max(_rms(signal), 1e-9)


def _change_speed(rng: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """Play a noise faster or slower, as a whole; it starts over where it ends."""
    factor = _SPEED ** rng.uniform(-1.0, 1.0)
    places = factor * np.arange(len(noise))
    return np.interp(places, np.arange(len(noise)), noise, period=len(noise))


def _color(rng: np.random.Generator, dry: np.ndarray) -> np.ndarray:
    """Color a dry signal smoothly, as another microphone or mouth would."""
    spectrum = np.fft.rfft(dry)
    frequencies = np.linspace(0, signals.SAMPLE_RATE / 2, len(spectrum))
    gains = _COLORING_DB * rng.normal(size=len(_KNOTS))
    curve = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(_KNOTS), gains)
    return np.fft.irfft(spectrum * 10 ** (curve / 20), len(dry))
