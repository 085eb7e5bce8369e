"""Recipes of simulated data: how scenes and signals are drawn and rendered.

A recipe is a distribution over scenes. It serves the builder, which stores the rendered
signals, and training on compact data sets or rooms drawn on the fly.
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
from uld_jax.simulation import furniture as furniture_lib
from uld_jax.simulation import rooms as rooms_lib

# From the number of a step and its number of examples B to the nodes of each, [B, k].
ChooseNodes = Callable[[int, int], np.ndarray | None]

_ADHOC_BEFORE = 8000  # Half a second of speech that still reverberates.


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One example before it is rendered.

    Attributes:
        scene: Where everything is.
        speech: An excerpt for each source, from `draw_speech` of `Recipe.draw`.
        noise: An excerpt of noise; None without.
        levels_db: [S], level of each source against the first, float32.
        seed: Seed of the random part of its rendering.
        furniture: What sets its room apart from a bare one; None for nothing.
    """

    scene: scenes.Scene
    speech: tuple[Any, ...]
    noise: Any
    levels_db: np.ndarray
    seed: int
    furniture: furniture_lib.Furniture | None = None

    @classmethod
    def from_stored(cls, example: Mapping[str, Any]) -> "Drawn":
        """Restore the drawn example from a data set's, without its signals."""
        geometry = (
            example[key] for key in ("room_size", "node_positions", "source_positions")
        )
        if "noise_position" not in example:
            scene = scenes.Scene(*geometry)
            return cls(scene, (), None, _no_levels(len(scene.source_positions)), 0)
        scene = scenes.Scene(
            *geometry,
            float(example["t60"]),
            example["noise_position"],
            float(example["snr_db"]),
        )
        return cls(scene, (), None, example["levels_db"], int(example["seed"]))

    def at(self, nodes: np.ndarray) -> "Drawn":
        """Select some of the example's nodes, in the order given."""
        positions = self.scene.node_positions[nodes]
        scene = dataclasses.replace(self.scene, node_positions=positions)
        inside = self.furniture and self.furniture.at(nodes)
        return dataclasses.replace(self, scene=scene, furniture=inside)

    @property
    def believed_size(self) -> np.ndarray:
        """Sides of the room [3] as a localizer is given them, in meters."""
        if self.furniture is None:
            return self.scene.room_size
        return self.furniture.believed(self.scene)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A distribution over scenes, and how their signals are rendered.

    Attributes:
        kind: "anechoic" (L-1) or "reverberant" (Ad-1, Ad-2).
        num_sources: Sources S.
        num_nodes: Nodes M.
        num_samples: Samples N of a segment, at 16 kHz.
        noise: Reverberant: where the noise comes from, one of `rooms.NOISES`.
        rooms: Reverberant: "random" (Ad-1, Ad-2), "any" (any session), "pool:200" for
            200 rooms of each part (the benchmark), or one of `scenes.TWINS`.
        furnishing: Reverberant: what is in the rooms, one of `furniture.FURNISHINGS`.
    """

    kind: Literal["anechoic", "reverberant"]
    num_sources: int
    num_nodes: int
    num_samples: int
    noise: str = "point"
    rooms: str = "random"
    furnishing: str = furniture_lib.BARE

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
    def training_positions(self) -> list[list[float]] | None:
        """Fixed positions (x, y) of a twin's training sources; else None."""
        return scenes.training_positions(self.rooms) if self.in_twin else None

    @property
    def in_twin(self) -> bool:
        """Whether the room is the twin of a real one."""
        return self.rooms in scenes.TWINS

    @property
    def pooled_rooms(self) -> int:
        """Number of rooms of each part of a pool; 0 without a pool."""
        return int(self.rooms.removeprefix(scenes.POOL)) if self.pooled else 0

    @property
    def pooled(self) -> bool:
        """Whether rooms come from a pool, so that tests are in seen ones, too."""
        return self.rooms.startswith(scenes.POOL)

    def group(self, part: str, index: int) -> str:
        """Name the group of an example: that of a pool's test, by turns; else its part."""
        groups = list(scenes.POOL_GROUPS)
        return groups[index % len(groups)] if self.pooled and part == "test" else part

    def speech_of(self, corpus: corpora.Corpus) -> corpora.Corpus:
        """Take the speech of a corpus; a pool holds some of each talker's out."""
        return corpus.held_out if self.pooled else corpus

    def draw_scene(self, rng: np.random.Generator, part: str) -> scenes.Scene:
        """Draw a scene; in training the SNR has a wider range (Sec. 3.1).

        Args:
            rng: The scene's random stream.
            part: The corpus part it belongs to; of a pool's test a group.
        """
        if self.kind == "anechoic":
            return scenes.draw_l1(rng)
        if self.in_twin:
            return scenes.draw_twin(
                rng, self.rooms, part, self.num_sources, num_nodes=self.num_nodes
            )
        if self.rooms == "any":
            return scenes.draw_any(rng, self.num_sources, num_nodes=self.num_nodes)
        snr_range = scenes.TRAIN_SNR_DB if part == "train" else scenes.TEST_SNR_DB
        if self.pooled:
            rooms, _ = scenes.POOL_GROUPS.get(part, (part, part))
            return scenes.draw_pooled(
                rng,
                rooms,
                self.pooled_rooms,
                self.num_sources,
                snr_range,
                num_nodes=self.num_nodes,
            )
        return scenes.draw_adhoc(
            rng, self.num_sources, snr_range, num_nodes=self.num_nodes
        )

    def draw(
        self,
        rng: np.random.Generator,
        part: str,
        draw_speech: Callable[[np.random.Generator, Set[str]], Any],
        draw_noise: Callable[[np.random.Generator], Any] | None,
    ) -> Drawn:
        """Draw one example, whose talkers differ.

        The paper does not say how loud its two talkers are; we give them equal
        power in the segment, up to 2.5 dB either way.

        Args:
            rng: The example's random stream.
            part: The corpus part it belongs to: "train", "dev" or "test".
            draw_speech: Draws an excerpt whose talker, `excerpt.utterance.talker`,
                is not among those given.
            draw_noise: Draws an excerpt of noise; needed only by a noisy recipe.
        """
        scene = self.draw_scene(rng, part)
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
        part: str,
        rng: np.random.Generator,
    ) -> Drawn:
        """Draw one example with excerpts from corpora: see `draw`.

        Args:
            speech: The speech.
            noise: The noise; needed only by a noisy recipe.
            part: Part of both corpora; of a pool's test a group.
            rng: The example's random stream.

        Raises:
            CorpusError: If a corpus has no usable signals.
        """
        length = (self.num_samples, *self.margins)
        is_group = part in scenes.POOL_GROUPS
        of_speech = scenes.POOL_GROUPS[part][1] if is_group else part
        of_noise = "test" if is_group else part
        speech = self.speech_of(speech)
        return self.draw(
            rng,
            part,
            lambda rng, talkers: speech.draw(of_speech, rng, *length, talkers),
            lambda rng: noise.draw_noise(of_noise, rng, *length),
        )

    def settings(self, late: str, deterministic: bool) -> rooms_lib.RenderSettings:
        """Make the renderer's settings for a reverberant recipe."""
        return rooms_lib.RenderSettings(
            num_samples=self.num_samples,
            before=self.margins[0],
            late=late,
            noise=self.noise,
            deterministic=deterministic,
        )

    def describe(self, late: str, deterministic: bool) -> dict[str, Any]:
        """Describe all that the signals depend on, for metadata and records."""
        facts = dataclasses.asdict(self) | {"margins": list(self.margins)}
        if self.furnishing == furniture_lib.BARE:
            del facts["furnishing"]  # Records and data sets from before have none.
        if self.kind == "reverberant":
            facts |= dataclasses.asdict(self.settings(late, deterministic))
        return facts

    def furnish(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """Draw the furniture of examples with all their nodes, from their seeds alone.

        So an example of any data set can be furnished after it was drawn and stored.
        """
        kind = furniture_lib.FURNISHINGS[self.furnishing]
        if kind is None or self.kind != "reverberant":
            return list(drawn)
        return [
            dataclasses.replace(one, furniture=kind.draw(one.seed, one.scene))
            for one in drawn
        ]

    def render(
        self,
        drawn: Sequence[Drawn],
        dry: Float[Array | np.ndarray, "B S D"],
        noise: Float[Array | np.ndarray, "B D"] | None,
        *,
        late: str = "thinned",
        deterministic: bool = False,
    ) -> Float[Array, "B M N"]:
        """Render the signals at the nodes, in rooms furnished by `furnish` or bare.

        Args:
            drawn: The examples.
            dry: Their dry speech; D is `num_dry`.
            noise: Their noise, of the same length.
            late: Reverberant: the late field, see `rooms.RenderSettings`.
            deterministic: Sum so that bits do not depend on the order of additions.
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
        inside = [one.furniture for one in drawn if one.furniture is not None]
        rendered = rendering.render(
            rooms_lib.Rooms.of(batch, inside or None),
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
        """Render a batch for networks: signals at the nodes, and all positions.

        Rooms are furnished first, as the recipe says.

        Args:
            drawn: The examples.
            dry: Their dry speech; D is `num_dry`.
            noise: Their noise, of the same length.
            nodes: Numbers of the nodes to render, from 0 to M - 1; by default all.
                Their speech is the same as among all nodes. The noise has another
                gain, because the SNR is that of the rendered nodes; diffuse and
                independent noise are another part of the recording, too.
            late: Reverberant: the late field, see `rooms.RenderSettings`.
            deterministic: Sum so that bits do not depend on the order of additions.

        Raises:
            rooms_lib.RenderingError: If there is no such node.
        """
        drawn = self.furnish(drawn)
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
            "room_size": np.stack([example.believed_size for example in drawn]),
        }

    def _check_nodes(self, nodes: np.ndarray, num_examples: int) -> None:
        if len(nodes) != num_examples or not nodes.size:
            raise rooms_lib.RenderingError(
                f"nodes have shape {nodes.shape}; it must be [{num_examples}, k], with "
                "k at least 1"
            )
        if nodes.min() < 0 or nodes.max() >= self.num_nodes:
            raise rooms_lib.RenderingError(
                f"nodes are {nodes.min()} to {nodes.max()}; give numbers from 0 to "
                f"{self.num_nodes - 1}"
            )

    def at_levels(
        self,
        dry: Float[Array | np.ndarray, "B S D"],
        levels_db: Float[np.ndarray, "B S"],
    ) -> Float[Array, "B S D"]:
        """Scale dry signals so that their segments have the given levels."""
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
    """Convert signals to the integers that data sets store, and each scene's gain."""
    peak = jnp.abs(signals).max(axis=(1, 2))
    gain = signals_lib.PEAK / jnp.maximum(peak, 1e-9)
    return jnp.round(signals * gain[:, None, None]).astype(jnp.int16), gain


def keys(seeds: Sequence[int]) -> Array:
    """Make a random key for each seed of 32 bits."""
    return jax.vmap(jax.random.key)(jnp.asarray(np.array(seeds, np.uint32)))


@functools.partial(jax.jit, static_argnames=("before", "num_samples"))
def _render_anechoic(dry, paths, *, before, num_samples):
    render = functools.partial(
        anechoic.render_anechoic, before=before, num_samples=num_samples
    )
    return jax.vmap(render)(dry, paths)


def _direct_paths(batch: Sequence[scenes.Scene]) -> anechoic.DirectPaths:
    """Stack the direct paths of several scenes."""
    paths = [
        anechoic.direct_paths(scene.source_positions, scene.node_positions)
        for scene in batch
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *paths)


L1 = Recipe("anechoic", 1, 2 * scenes.L1_NODES_PER_ARRAY, 2560)
AD1 = Recipe("reverberant", 1, scenes.ADHOC_NODES, 32_000)
AD2 = dataclasses.replace(AD1, num_sources=2)
ANY = dataclasses.replace(AD1, rooms="any")
TWIN1 = dataclasses.replace(AD1, rooms="twin")
