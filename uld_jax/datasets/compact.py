"""Compact data sets: dry excerpts and geometry, rendered on the device per batch.

An example is stored as it was drawn, so that a batch is what the rendered form of
the data set has stored, on the same kind of machine bit for bit, in a twentieth of
the space. It can also be rendered otherwise: at some nodes, at another SNR.
"""

import dataclasses
import pathlib
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

import uld_jax
from uld_jax.audio import signals
from uld_jax.datasets import files, pipeline
from uld_jax.simulation import recipes

# Of an example, where a recipe has no noise and where it has. The signals come first.
_FIELDS = ("dry", "node_positions", "source_positions", "room_size")
_NOISE_FIELDS = ("noise_position", "noise", "noise_start")
_NOISE_FIELDS += ("t60", "snr_db", "levels_db", "seed")


def noise_file(split: str) -> str:
    """Return the name of the file in which a data set keeps the noises of a split."""
    return f"noise-{split}.npz"


def write_noises(path: pathlib.Path, utterances: Iterable[signals.Utterance]) -> None:
    """Write whole recordings of noise to one file, each with its own peak.

    Those that cannot be read are left out, as they are where excerpts are drawn.
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
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    with partial.open("wb") as file:
        np.savez(
            file,
            names=np.array(names, np.bytes_),
            lengths=np.array(lengths, np.int64),
            samples=np.concatenate(parts),
        )
    partial.rename(path)


class Noises:
    """The noises of one split, as 16-bit integers on the host.

    Raises:
        files.DatasetError: If their file is missing or damaged.
    """

    def __init__(self, path: pathlib.Path):
        remedy = files.REMEDY
        if path.exists():
            files.check_files(path.parent, (path.name,))
        try:
            # NumPy stops short of a file's own sums where its header is damaged.
            with zipfile.ZipFile(path) as file:
                if bad := file.testzip():
                    raise ValueError(f"Bad CRC of {bad}")
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in ("names", "lengths", "samples")}
        except FileNotFoundError:
            raise files.DatasetError(
                f"the noises {str(path)!r} are missing; {remedy}"
            ) from None
        except Exception as error:  # Whatever NumPy and zipfile make of damage.
            raise files.DatasetError(
                f"the noises {str(path)!r} are damaged ({error}); {remedy}"
            ) from None
        self._path, self._samples = path, arrays["samples"]
        firsts = np.cumsum(arrays["lengths"]) - arrays["lengths"]
        self._places = {
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
        """Return excerpts [B, D] of recordings that are repeated without end.

        Raises:
            files.DatasetError: If there is no such recording.
        """
        excerpts = []
        for name, start in zip(names, starts, strict=True):
            if name not in self._places:
                raise files.DatasetError(
                    f"{str(self._path)!r} has no noise {name.decode()!r}; remove the "
                    "data set's folder and prepare it anew"
                )
            first, length = self._places[name]
            places = (int(start) + np.arange(num_samples)) % length
            excerpts.append(self._samples[first + places])
        return np.stack(excerpts)


class CompactData:
    """A split of a compact data set, whose batches are rendered on the device.

    Audio comes as the rendered form stores it: int16, each scene with a gain of its
    own. Whatever the batch, an example is the same.

    Args:
        split: What to read, as `open_split` opens it.
        recipe: What its examples are drawn by, and how noise comes to the nodes.
        noises: Its noises; None for a recipe without.
        late: The late field of reverberant rooms.
        on_device: Hold the dry speech on the device; otherwise Grain reads it.
        keep: Also keep there what was rendered of whole examples, if there is room
            for all of them, so that it is rendered once.
        prefetch_batches: Batches that Grain reads ahead.
        read_threads: Threads that read.
        device: Where to render; by default on the first.
        arrays: Its examples, where they are loaded already.
    """

    def __init__(
        self,
        split: pipeline.Split,
        recipe: recipes.Recipe,
        noises: Noises | None,
        *,
        late: str,
        on_device: bool = True,
        keep: bool = False,
        prefetch_batches: int = 4,
        read_threads: int = 4,
        device: jax.Device | None = None,
        arrays: pipeline.Batch | None = None,
    ):
        self._device = device
        self._recipe, self._noises, self._late = recipe, noises, late
        self._size = len(split)
        self._take = jax.jit(lambda array, rows: array[rows])
        self._put = jax.jit(
            lambda array, rows, values: array.at[rows].set(values), donate_argnums=0
        )
        self._keep, self._kept = keep and on_device, None
        self._is_kept = np.zeros(self._size, bool)
        self._stored = self._disk = None
        if on_device:
            self._stored = dict(arrays or split.load())
            self._dry = jax.device_put(self._stored.pop("dry"), device)
        else:
            self._disk = pipeline.DiskData(
                split, prefetch_batches=prefetch_batches, read_threads=read_threads
            )

    def __len__(self) -> int:
        return self._size

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[pipeline.Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`.

        The nodes chosen are all that is rendered: see `recipes.Recipe.batch`.

        Raises:
            files.DatasetError: If the data set is damaged, or has no noise to be
                given an SNR.
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
        for step, (rows, stored) in enumerate(
            self._read(order, first_step), first_step
        ):
            if as_drawn and rows is not None and self._is_kept[rows].all():
                fields = {key: stored[key] for key in pipeline.FIELDS[1:]}
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
    ) -> Iterator[tuple[np.ndarray | None, dict[str, np.ndarray]]]:
        """Yield each batch's rows of what the device holds, and all else of it."""
        if self._disk:
            for stored in self._disk.on_host(order, first_step):
                yield None, stored
            return
        for step in range(first_step, len(order)):
            rows = np.asarray(order[step])
            yield rows, {key: values[rows] for key, values in self._stored.items()}

    def _render(self, rows, stored, nodes, changes) -> pipeline.Batch:
        recipe = self._recipe
        if changes.snr_db is not None:
            snr_db = np.full_like(stored["snr_db"], changes.snr_db)
            stored = stored | {"snr_db": snr_db}
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
            self._kept = jax.numpy.zeros(shape, audio.dtype)
        self._kept = self._put(self._kept, rows, audio)
        self._is_kept[rows] = True


def open_split(path: pathlib.Path, name: str) -> pipeline.Split:
    """Return a split of the compact data set in a folder, to be opened as data.

    Raises:
        files.DatasetError: If the data set or the split is not there.
    """
    if not files.is_prepared(path):
        return pipeline.Split(path, name)  # Which raises.
    noisy = _recipe(files.describe(path)).noisy
    return pipeline.Split(path, name, _FIELDS + (_NOISE_FIELDS if noisy else ()))


def open_data(
    split: pipeline.Split, data_config, devices: Sequence[jax.Device | None]
) -> list[CompactData]:
    """Return a split for each of some devices, in the way the settings ask for.

    Raises:
        files.DatasetError: If the data set is damaged.
    """
    recipe = _recipe(split.metadata, data_config.noise_field)
    noises = Noises(split.path / noise_file(split.name)) if recipe.noisy else None
    arrays = split.load() if data_config.on_device else None
    return [
        CompactData(
            split,
            recipe,
            noises,
            late=split.metadata["late_fields"][split.name],
            on_device=data_config.on_device,
            keep=split.name != "train",
            prefetch_batches=data_config.prefetch_batches,
            read_threads=max(1, data_config.read_threads // len(devices)),
            device=device,
            arrays=arrays,
        )
        for device in devices
    ]


def describe(path: pathlib.Path, noise_field: str) -> dict[str, Any]:
    """Return a data set's name, sizes and origin, and how it is rendered."""
    facts = files.describe(path)
    recipe = _recipe(facts, noise_field)
    rendering = {
        "simulator": f"uld_jax {uld_jax.__version__}, jax",
        "law": recipe.describe("thinned", deterministic=True),
    }
    return facts | {"rendering": rendering}


def _recipe(metadata: dict, noise_field: str = "point") -> recipes.Recipe:
    """Return the recipe that a data set's metadata name."""
    return recipes.Recipe(**metadata["law"], noise=noise_field)
