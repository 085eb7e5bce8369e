"""Compact data sets: dry excerpts and geometry, rendered on the device per batch.

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
import jax.numpy as jnp
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
            samples = (int(start) + np.arange(num_samples)) % length
            excerpts.append(self._samples[first + samples])
        return np.stack(excerpts)


class CompactData:
    """A split of a compact data set, rendered batch by batch: a `pipeline.Source`.

    Audio comes as the rendered form stores it: int16, each scene with a gain of its
    own. An example is the same in every batch.

    Args:
        examples: All examples of the split, whose dry speech is then held on the
            device; or their data on disk, which Grain reads.
        recipe: How its examples were drawn, and how noise comes to the nodes.
        noises: Its noises; None for a recipe without.
        late: The late field of reverberant rooms.
        keep: Whether to keep rendered examples on the device as well, if all of them
            fit, so that each is rendered once.
        device: Where to render; by default on the first.
    """

    def __init__(
        self,
        examples: Batch | pipeline.DiskData,
        recipe: recipes.Recipe,
        noises: Noises | None,
        *,
        late: str,
        keep: bool = False,
        device: jax.Device | None = None,
    ):
        self._device = device
        self._recipe, self._noises, self._late = recipe, noises, late
        self._take = jax.jit(lambda array, rows: array[rows])
        self._put = jax.jit(
            lambda array, rows, values: array.at[rows].set(values), donate_argnums=0
        )
        self._stored = self._disk = None
        if isinstance(examples, pipeline.DiskData):
            self._disk, self._size = examples, len(examples)
        else:
            self._stored = dict(examples)
            self._dry = jax.device_put(self._stored.pop("dry"), device)
            self._size = len(self._dry)
        self._keep, self._kept = keep and self._disk is None, None
        self._is_kept = np.zeros(self._size, bool)

    def __len__(self) -> int:
        return self._size

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
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
        if changes.late is None:
            changes = dataclasses.replace(changes, late=self._late)
        return self._batches(order, first_step, nodes, changes)

    def _batches(self, order, first_step, nodes, changes):
        as_drawn = nodes is None and changes == pipeline.Changes(late=self._late)
        read = self._read(order, first_step)
        for step, (rows, stored) in enumerate(read, first_step):
            if changes.snr_db is not None:
                stored = stored | {"snr_db": _snr_db(changes.snr_db, order[step])}
            if as_drawn and rows is not None and self._is_kept[rows].all():
                fields = {key: stored[key] for key in splits.FIELDS[1:]}
                yield {"audio": self._take(self._kept, rows)} | fields
                continue
            with jax.default_device(self._device):
                chosen = nodes(step) if nodes else None
                batch = self._render(rows, stored, chosen, changes)
                if as_drawn and self._keep:
                    self._keep_rows(rows, batch["audio"])
            yield pipeline.finished(batch)

    def _read(
        self, order: pipeline.Order, first_step: int
    ) -> Iterator[tuple[np.ndarray | None, Batch]]:
        """Yield each batch's rows in the device's arrays, and its fields on the host.

        Where the device holds no dry speech, rows are None, and fields include it.
        """
        if self._disk:
            for stored in self._disk.on_host(order, first_step):
                yield None, stored
            return
        for step in range(first_step, len(order)):
            rows = np.asarray(order[step])
            yield rows, {key: values[rows] for key, values in self._stored.items()}

    def _render(self, rows, stored, nodes, changes) -> Batch:
        recipe = self._recipe
        examples = [
            {key: values[row] for key, values in stored.items()}
            for row in range(len(stored["room_size"]))
        ]
        drawn = [recipes.Drawn.from_stored(example) for example in examples]
        dry = stored["dry"] if rows is None else self._take(self._dry, rows)
        noise = None
        if self._noises:
            starts = stored["noise_start"] - recipe.margins[0]
            noise = self._noises.cut(stored["noise"], starts, recipe.num_dry)
            noise = signals.to_float(jax.device_put(noise, self._device))
        batch = recipe.batch(
            drawn,
            signals.to_float(jax.device_put(dry, self._device)),
            noise,
            nodes=nodes,
            late=changes.late,
            deterministic=True,
        )
        return batch | {"audio": recipes.to_stored(batch["audio"])[0]}

    def _keep_rows(self, rows: np.ndarray, audio: jax.Array) -> None:
        if self._kept is None:
            shape = (self._size, *audio.shape[1:])
            if not pipeline.fits(2 * int(np.prod(shape, dtype=np.int64))):
                self._keep = False
                return
            self._kept = jnp.zeros(shape, audio.dtype)
        self._kept = self._put(self._kept, rows, audio)
        self._is_kept[rows] = True


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
    split: splits.Split, data_config, devices: Sequence[jax.Device | None]
) -> list[CompactData]:
    """Open a split for each of some devices, as the settings' `data` asks for.

    Raises:
        files.DatasetError: If the data set is damaged.
    """
    recipe = _recipe(split.metadata, data_config.noise_field)
    noises = Noises(split.path / noise_file(split.name)) if recipe.noisy else None
    if data_config.on_device:
        examples = split.load()
    else:
        examples = pipeline.DiskData(
            split,
            prefetch_batches=data_config.prefetch_batches,
            read_threads=max(1, data_config.read_threads // len(devices)),
        )
    return [
        CompactData(
            examples,
            recipe,
            noises,
            late=split.metadata["late_fields"][split.name],
            # Examples of training are rendered at other nodes in each epoch.
            keep=split.name != "train",
            device=device,
        )
        for device in devices
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


def _recipe(metadata: dict, noise_field: str = "point") -> recipes.Recipe:
    # Stored as "law" since the first version of the format.
    return recipes.Recipe(**metadata["law"], noise=noise_field)
