"""Compact data sets: dry excerpts and geometry, rendered on the device.

An example is stored as it was drawn, in a twentieth of the space. On the same kind of
machine, its audio is bit for bit that of the rendered form. It can also be rendered
otherwise: at some nodes, with another SNR or late field.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

import uld_jax
from uld_jax.audio import signals
from uld_jax.datasets import files, pipeline, splits
from uld_jax.datasets.splits import Batch
from uld_jax.simulation import recipes
from uld_jax.storage import atomic

# Of every example, and of those with noise. The signals come first.
_FIELDS = ("dry", "node_positions", "source_positions", "room_size")
_NOISE_FIELDS = ("noise_position", "noise", "noise_start")
_NOISE_FIELDS += ("t60", "snr_db", "levels_db", "seed")


def noise_file(split: str) -> str:
    """Name the file that holds the noises of a split."""
    return f"noise-{split}.npz"


def write_noises(path: pathlib.Path, utterances: Iterable[signals.Utterance]) -> None:
    """Write whole recordings of noise to one file, each with its own peak.

    Recordings that cannot be read are left out, as they are where excerpts are drawn.
    """
    names, lengths, parts = [], [], [np.zeros(0, np.int16)]
    for utterance in utterances:
        try:
            signal = signals.load(utterance)
        except signals.CorpusError:
            continue
        names.append(utterance.name.encode())
        lengths.append(len(signal))
        parts.append(signals.to_int16(signal))
    with atomic.replace(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            names=np.array(names, np.bytes_),
            lengths=np.array(lengths, np.int64),
            samples=np.concatenate(parts),
        )


class Noises:
    """The noises of one split, as 16-bit integers on the host.

    Raises:
        files.DatasetError: If their file is missing or damaged.
    """

    def __init__(self, path: pathlib.Path):
        if path.exists():
            files.check_files(path.parent, (path.name,))
        try:
            # NumPy does not check a file's own sums where its header is damaged.
            with zipfile.ZipFile(path) as file:
                if bad := file.testzip():
                    raise ValueError(f"Bad CRC of {bad}")
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in ("names", "lengths", "samples")}
        except FileNotFoundError:
            raise files.DatasetError(
                f"the noises {str(path)!r} are missing; {files.REMEDY}"
            ) from None
        except Exception as error:  # NumPy and zipfile raise many kinds for damage.
            raise files.DatasetError(
                f"the noises {str(path)!r} are damaged ({error}); {files.REMEDY}"
            ) from None
        self._path, self._samples = path, arrays["samples"]
        firsts = np.cumsum(arrays["lengths"]) - arrays["lengths"]
        self._extents = {
            name: (int(first), int(length))
            for name, first, length in zip(
                arrays["names"].tolist(), firsts, arrays["lengths"], strict=True
            )
        }

    def cut(
        self,
        names: Iterable[bytes],
        starts: Iterable[int | np.integer],
        num_samples: int,
    ) -> np.ndarray:
        """Cut excerpts [B, D] out of recordings that are repeated without end.

        Raises:
            files.DatasetError: If there is no such recording.
        """
        excerpts = []
        for name, start in zip(names, starts, strict=True):
            if name not in self._extents:
                raise files.DatasetError(
                    f"{str(self._path)!r} has no noise {name.decode()!r}; remove the "
                    "data set's folder and prepare it again"
                )
            first, length = self._extents[name]
            whole = self._samples[first : first + length]
            start = int(start) % length
            excerpt = whole[start : start + num_samples]
            if len(excerpt) < num_samples:
                excerpt = np.resize(np.roll(whole, -start), num_samples)
            excerpts.append(excerpt)
        return np.stack(excerpts)


class CompactData:
    """A split of a compact data set, rendered batch by batch: a `pipeline.Source`.

    Audio comes as the rendered form stores it: int16, each scene with a gain of its
    own. An example is the same in every batch.

    Args:
        examples: The split's examples on disk.
        recipe: How its examples were drawn, and how noise comes to the nodes.
        noises: Its noises; None for a recipe without.
        late: The late field of reverberant rooms.
        device: Where to render; by default on the first.
    """

    def __init__(
        self,
        examples: pipeline.DiskData,
        recipe: recipes.Recipe,
        noises: Noises | None,
        *,
        late: str,
        device: jax.Device | None = None,
    ):
        self._examples, self._device = examples, device
        self._recipe, self._noises, self._late = recipe, noises, late

    def __len__(self) -> int:
        return len(self._examples)

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`.

        Only the chosen nodes are rendered: see `recipes.Recipe.batch`.

        Raises:
            files.DatasetError: If the data set is damaged, or if its SNR is to change
                and it has no noise.
            rooms.RenderingError: If there is no such node.
        """
        changes = changes or pipeline.Changes()
        if changes.snr_db is not None and self._noises is None:
            raise files.DatasetError(
                f"snr_db is {changes.snr_db}; this data set has no noise"
            )
        return self._batches(order, first_step, nodes, changes)

    def _batches(self, order, first_step, nodes, changes):
        read = self._examples.on_host(order, first_step)
        for step, stored in enumerate(read, first_step):
            if changes.snr_db is not None:
                stored = stored | {"snr_db": _snr_db(changes.snr_db, order[step])}
            with jax.default_device(self._device):
                chosen = nodes(step) if nodes else None
                batch = self._render(stored, chosen, changes)
            yield pipeline.finished(batch)

    def _render(self, stored: Batch, nodes, changes: pipeline.Changes) -> Batch:
        recipe = self._recipe
        if changes.furnishing is not None:
            recipe = dataclasses.replace(recipe, furnishing=changes.furnishing)
        examples = [
            {key: values[row] for key, values in stored.items()}
            for row in range(len(stored["room_size"]))
        ]
        drawn = [recipes.Drawn.from_stored(example) for example in examples]
        noise = None
        if self._noises:
            starts = stored["noise_start"] - recipe.margins[0]
            noise = self._noises.cut(stored["noise"], starts, recipe.num_dry)
            noise = signals.to_float(jax.device_put(noise, self._device))
        batch = recipe.batch(
            drawn,
            signals.to_float(jax.device_put(stored["dry"], self._device)),
            noise,
            nodes=nodes,
            late=changes.late or self._late,
            deterministic=True,
        )
        return batch | {"audio": recipes.to_stored(batch["audio"])[0]}


def _snr_db(snr_db, indices: np.ndarray) -> Float[np.ndarray, " B"]:
    """Give the SNR of each example of a batch, from one value or a function."""
    if callable(snr_db):
        snr_db = [snr_db(int(index)) for index in indices]
    return np.full(len(indices), snr_db, np.float32)


def open_split(path: pathlib.Path, name: str) -> splits.Split:
    """Open a split of the compact data set in a folder.

    Raises:
        files.DatasetError: If the data set or the split is not there or damaged.
    """
    noisy = _recipe(files.describe(path)).noisy
    return splits.Split(path, name, _FIELDS + (_NOISE_FIELDS if noisy else ()))


def open_data(
    split: splits.Split, data_config: Any, devices: Sequence[jax.Device | None]
) -> list[CompactData]:
    """Open a split for each of some devices, as the settings' `data` asks for.

    Its rooms are furnished as they ask for where it is the training split.

    Raises:
        files.DatasetError: If the data set is damaged.
    """
    recipe = _recipe(split.metadata, data_config.noise_field)
    if split.name == "train":
        recipe = dataclasses.replace(recipe, furnishing=data_config.furnishing)
    noises = Noises(split.path / noise_file(split.name)) if recipe.noisy else None
    examples = pipeline.open_data(split, data_config, [None] * len(devices))
    late = split.metadata["late_fields"][split.name]
    return [
        CompactData(one, recipe, noises, late=late, device=device)
        for one, device in zip(examples, devices, strict=True)
    ]


def describe(path: pathlib.Path, noise_field: str) -> dict[str, Any]:
    """Collect the name, sizes and origin of a data set, and how it is rendered.

    Raises:
        files.DatasetError: If it is not there or damaged.
    """
    described = files.describe(path)
    recipe = _recipe(described, noise_field)
    rendering = {
        "simulator": f"uld_jax {uld_jax.__version__}, jax",
        "law": recipe.describe("thinned", deterministic=True),
    }
    return described | {"rendering": rendering}


def _recipe(metadata: dict[str, Any], noise_field: str = "point") -> recipes.Recipe:
    # Stored as "law" since the first version of the format.
    return recipes.Recipe(**metadata["law"], noise=noise_field)
