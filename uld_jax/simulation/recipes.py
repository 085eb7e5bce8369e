"""Recipes of simulated data: which scenes and signals are drawn, how they are rendered.

One recipe serves the builder, which stores what it renders, and training on fresh
rooms or compact data sets, which does not.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int16

from uld_jax.audio import corpora
from uld_jax.audio import signals as signals_lib
from uld_jax.simulation import anechoic, rendering, scenes
from uld_jax.simulation import rooms as rooms_lib

# From the number of a step and of its examples B to the nodes of each, [B, k].
ChooseNodes = Callable[[int, int], np.ndarray | None]

_ADHOC_BEFORE = 8000  # Half a second of speech that still reverberates.


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One example before it is rendered.

    Attributes:
        scene: Where everything is.
        speech: An excerpt for each source, as `draw` got them.
        noise: An excerpt of noise; None without.
        levels_db: Level of each source against the first, [S], float32.
        seed: Of the random part of its rendering.
    """

    scene: scenes.Scene
    speech: tuple[Any, ...]
    noise: Any
    levels_db: np.ndarray
    seed: int

    @classmethod
    def from_stored(cls, example: Mapping[str, Any]) -> "Drawn":
        """Return an example of a data set as it was drawn, but for its signals."""
        places = (
            example[key] for key in ("room_size", "node_positions", "source_positions")
        )
        if "noise_position" not in example:
            scene = scenes.Scene(*places)
            return cls(scene, (), None, _no_levels(len(scene.source_positions)), 0)
        scene = scenes.Scene(
            *places,
            float(example["t60"]),
            example["noise_position"],
            float(example["snr_db"]),
        )
        return cls(scene, (), None, example["levels_db"], int(example["seed"]))

    def at(self, nodes: np.ndarray) -> "Drawn":
        """Return the example with some of its nodes alone, in an order."""
        places = self.scene.node_positions[nodes]
        scene = dataclasses.replace(self.scene, node_positions=places)
        return dataclasses.replace(self, scene=scene)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A recipe of simulated data.

    Attributes:
        kind: "anechoic" (L-1) or "reverberant" (Ad-1, Ad-2).
        num_sources: Sources S.
        num_nodes: Nodes M.
        num_samples: Samples N of a segment, at 16 kHz.
        noise: How a reverberant recipe's noise comes to the nodes, one of
            `rooms.NOISES`.
        rooms: Of a reverberant recipe: "random" (Ad-1, Ad-2), or one of `scenes.TWINS`.
    """

    kind: Literal["anechoic", "reverberant"]
    num_sources: int
    num_nodes: int
    num_samples: int
    noise: str = "point"
    rooms: str = "random"

    @property
    def noisy(self) -> bool:
        """Whether there is noise besides speech."""
        return self.kind == "reverberant"

    @functools.cached_property
    def margins(self) -> tuple[int, int]:
        """Samples of dry signal needed before and after the segment."""
        if self.kind == "reverberant":
            return _ADHOC_BEFORE, 0
        diagonal = [scenes.L1_SIDE, scenes.L1_SIDE, scenes.HEIGHT]
        return anechoic.excerpt_margins(float(np.linalg.norm(diagonal)))

    @property
    def num_dry(self) -> int:
        """Samples of each dry signal."""
        return sum(self.margins) + self.num_samples

    @property
    def training_places(self) -> list[list[float]] | None:
        """Where training sources of a twin always stand, (x, y); None of other recipes."""
        return scenes.training_places(self.rooms) if self.in_twin else None

    @property
    def in_twin(self) -> bool:
        """Whether the room is the twin of a real one."""
        return self.rooms in scenes.TWINS

    def draw_scene(self, rng: np.random.Generator, split: str) -> scenes.Scene:
        """Draw a scene; in training the SNR has a wider range (Sec. 3.1)."""
        if self.kind == "anechoic":
            return scenes.draw_l1(rng)
        if self.in_twin:
            return scenes.draw_twin(
                rng, self.rooms, split, self.num_sources, num_nodes=self.num_nodes
            )
        return scenes.draw_adhoc(
            rng,
            self.num_sources,
            scenes.TRAIN_SNR_DB if split == "train" else scenes.TEST_SNR_DB,
            num_nodes=self.num_nodes,
        )

    def draw(
        self,
        rng: np.random.Generator,
        split: str,
        draw_speech: Callable[[np.random.Generator, Set[str]], Any],
        draw_noise: Callable[[np.random.Generator], Any] | None,
    ) -> Drawn:
        """Draw one example, whose talkers differ.

        The paper does not say how loud its two talkers are; we give them equal
        power in the segment, up to 2.5 dB either way.

        Args:
            rng: The example's random stream.
            split: What it is for: "train", "dev" or "test".
            draw_speech: Draws an excerpt whose talker, `excerpt.utterance.talker`,
                is not among those given.
            draw_noise: Draws an excerpt of noise; needed by a noisy recipe alone.
        """
        scene = self.draw_scene(rng, split)
        speech, talkers = [], set()
        for _ in range(self.num_sources):
            speech.append(draw_speech(rng, frozenset(talkers)))
            talkers.add(speech[-1].utterance.talker)
        if not self.noisy:
            return Drawn(scene, tuple(speech), None, _no_levels(self.num_sources), 0)
        noise = draw_noise(rng)
        levels = rng.uniform(
            -scenes.LEVEL_RANGE_DB, scenes.LEVEL_RANGE_DB, self.num_sources
        )
        levels[0] = 0.0
        seed = int(rng.integers(2**32))
        return Drawn(scene, tuple(speech), noise, levels.astype(np.float32), seed)

    def draw_from(
        self,
        speech: corpora.Corpus,
        noise: corpora.Corpus | None,
        split: str,
        rng: np.random.Generator,
    ) -> Drawn:
        """Draw one example with excerpts of a split of corpora: see `draw`.

        Args:
            speech: The speech.
            noise: The noise; needed by a noisy recipe alone.
            split: Which split of both.
            rng: The example's random stream.

        Raises:
            CorpusError: If a corpus has no usable signals.
        """
        length = (self.num_samples, *self.margins)
        return self.draw(
            rng,
            split,
            lambda rng, talkers: speech.draw(split, rng, *length, talkers),
            lambda rng: noise.draw_noise(split, rng, *length),
        )

    def settings(self, late: str, deterministic: bool) -> rooms_lib.RenderSettings:
        """Return the settings of the room renderer for a reverberant recipe."""
        return rooms_lib.RenderSettings(
            num_samples=self.num_samples,
            before=self.margins[0],
            late=late,
            noise=self.noise,
            deterministic=deterministic,
        )

    def describe(self, late: str, deterministic: bool) -> dict[str, Any]:
        """Return what a recipe's signals depend on, for a record."""
        facts = dataclasses.asdict(self) | {"margins": list(self.margins)}
        if self.kind == "reverberant":
            facts |= dataclasses.asdict(self.settings(late, deterministic))
        return facts

    def render(
        self,
        drawn: Sequence[Drawn],
        dry: Float[Array | np.ndarray, "B S D"],
        noise: Float[Array | np.ndarray, "B D"] | None,
        *,
        late: str = "thinned",
        deterministic: bool = False,
    ) -> Float[Array, "B M N"]:
        """Return what the nodes hear.

        Args:
            drawn: The examples.
            dry: Their dry speech; D is `num_dry`.
            noise: Their noise, of the same length.
            late: Late field of a reverberant recipe: `rooms.RenderSettings`.
            deterministic: Whether bits must not depend on an order of additions.
        """
        batch = [example.scene for example in drawn]
        if self.kind == "anechoic":
            before = self.margins[0]
            return _render_anechoic(
                jnp.asarray(dry),
                _direct_paths(batch),
                before=before,
                num_samples=self.num_samples,
            )
        rendered = rendering.render(
            rooms_lib.Rooms.of(batch),
            self.at_levels(dry, np.stack([example.levels_db for example in drawn])),
            keys([example.seed for example in drawn]),
            self.settings(late, deterministic),
            noise,
        )
        return rendered.signals

    def batch(
        self,
        drawn: Sequence[Drawn],
        dry: Float[Array | np.ndarray, "B S D"],
        noise: Float[Array | np.ndarray, "B D"] | None,
        *,
        nodes: Int[np.ndarray, "_ k"] | None = None,
        late: str = "thinned",
        deterministic: bool = False,
    ) -> dict[str, Any]:
        """Return a batch as networks take it: what the nodes hear, and where all is.

        Args:
            drawn: The examples.
            dry: Their dry speech; D is `num_dry`.
            noise: Their noise, of the same length.
            nodes: Numbers of the nodes to render, from 0 to M - 1; by default all.
                These hear what they hear among all, but for the gain of the noise:
                the SNR is that of the nodes that are rendered. Diffuse and
                independent noise also is another part of the recording.
            late: Late field of a reverberant recipe: `rooms.RenderSettings`.
            deterministic: Whether bits must not depend on an order of additions.

        Raises:
            rooms_lib.RenderingError: If there is no such node.
        """
        if nodes is not None:
            self._check_nodes(nodes, len(drawn))
            drawn = [one.at(row) for one, row in zip(drawn, nodes, strict=True)]
        batch = [example.scene for example in drawn]
        return {
            "audio": self.render(
                drawn, dry, noise, late=late, deterministic=deterministic
            ),
            "node_positions": np.stack([scene.node_positions for scene in batch]),
            "source_positions": np.stack([scene.source_positions for scene in batch]),
            "room_size": np.stack([scene.room_size for scene in batch]),
        }

    def _check_nodes(self, nodes: np.ndarray, num_examples: int) -> None:
        if len(nodes) != num_examples or not nodes.size:
            raise rooms_lib.RenderingError(
                f"nodes have shape {nodes.shape}; it must be [{num_examples}, k], k "
                "from 1 on"
            )
        if nodes.min() < 0 or nodes.max() >= self.num_nodes:
            raise rooms_lib.RenderingError(
                f"nodes are from {nodes.min()} to {nodes.max()}; there are 0 to "
                f"{self.num_nodes - 1}"
            )

    def at_levels(
        self,
        dry: Float[Array | np.ndarray, "B S D"],
        levels_db: Float[np.ndarray, "B S"],
    ) -> Float[Array, "B S D"]:
        """Return dry signals whose segments have the wanted power."""
        before, _ = self.margins
        dry = jnp.asarray(dry)  # NumPy's means have other last bits.
        segment = dry[..., before : before + self.num_samples]
        rms = jnp.sqrt((segment**2).mean(axis=-1, keepdims=True))
        gain = jnp.asarray(10 ** (levels_db[..., None] / 20), jnp.float32)
        return dry * gain / jnp.maximum(rms, 1e-9)


def _no_levels(num_sources: int) -> np.ndarray:
    return np.zeros(num_sources, np.float32)


@jax.jit
def to_stored(
    signals: Float[Array, "B M N"],
) -> tuple[Int16[Array, "B M N"], Float[Array, " B"]]:
    """Return signals as data sets store them, each scene with a gain, and the gains."""
    peak = jnp.abs(signals).max(axis=(1, 2))
    gain = signals_lib.PEAK / jnp.maximum(peak, 1e-9)
    return jnp.round(signals * gain[:, None, None]).astype(jnp.int16), gain


def keys(seeds: Sequence[int]) -> Array:
    """Return a random key for each seed of 32 bits."""
    return jax.vmap(jax.random.key)(jnp.asarray(np.array(seeds, np.uint32)))


@functools.partial(jax.jit, static_argnames=("before", "num_samples"))
def _render_anechoic(dry, paths, *, before, num_samples):
    render = functools.partial(
        anechoic.render_anechoic, before=before, num_samples=num_samples
    )
    return jax.vmap(render)(dry, paths)


def _direct_paths(batch: Sequence[scenes.Scene]) -> anechoic.DirectPaths:
    """Return the direct paths of several scenes, stacked."""
    paths = [
        anechoic.direct_paths(scene.source_positions, scene.node_positions)
        for scene in batch
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *paths)


L1 = Recipe("anechoic", 1, 2 * scenes.L1_NODES_PER_ARRAY, 2560)
AD1 = Recipe("reverberant", 1, scenes.ADHOC_NODES, 32_000)
AD2 = dataclasses.replace(AD1, num_sources=2)
TWIN1 = dataclasses.replace(AD1, rooms="twin")
