"""The contestants in PyTorch: tuned, eager, and as the field ships it."""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import torch
import torch._inductor.config
from race import data, networks
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

_MOST_WORKERS = 8


def device() -> torch.device:
    """Return the device that is raced on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_precision(precision: str) -> None:
    """Choose how factors of products in float32 are rounded.

    Args:
        precision: "float32"; "tf32"; or "bfloat16", where what stays in float32 is done
            in TF32, as JAX does it if nothing is said.
    """
    precise = precision == "float32"
    torch.set_float32_matmul_precision("highest" if precise else "high")
    torch.backends.cudnn.allow_tf32 = not precise


def build(folder: pathlib.Path, entry: dict) -> torch.nn.Module:
    """Return the network of an entry, with the weights of the race."""
    network = networks.build(entry["network"]).to(device())
    with np.load(folder / "weights.npz") as weights:
        for name, parameter in network.named_parameters():
            parameter.data.copy_(torch.from_numpy(weights[name]))
    return network


class _Training:
    """A network in training; which batches it has is for others to say."""

    def __init__(self, folder: pathlib.Path, entry: dict):
        torch.manual_seed(0)
        set_precision(entry["precision"])
        self.folder, self.entry, self.device = folder, entry, device()
        self.resolution = entry["network"]["resolution"]
        self.network = build(folder, entry).train()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            entry["learning_rate"],
            weight_decay=entry["weight_decay"],
            fused=True,
        )

    def loss(self, real: Tensor, imaginary: Tensor, places: dict) -> Tensor:
        """Return the loss of spectra, codes and targets made where they are."""
        room, codes = places["room_size"], None
        if self.network.uses_codes:
            codes = networks.codes(places["node_positions"], room, self.resolution)
        targets = networks.codes(places["source_positions"], room, self.resolution)
        with torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.entry["precision"] == "bfloat16",
        ):
            logits = self.network(real, imaginary, codes)
        return networks.mean_loss(logits, targets)

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def device_names(self) -> tuple[str, str]:
        """Return the platform, "cpu" or "gpu", and the device's name."""
        if self.device.type == "cpu":
            return "cpu", "cpu"
        return "gpu", torch.cuda.get_device_name(self.device)

    def device_memory(self) -> int | None:
        """Return the most bytes held on the device at once; None on a CPU."""
        is_cpu = self.device.type == "cpu"
        return None if is_cpu else torch.cuda.max_memory_allocated()


class Eager(_Training):
    """Signals as int16 and STFT on the device, nothing fetched before the end."""

    def __init__(self, folder: pathlib.Path, entry: dict):
        super().__init__(folder, entry)
        # The fastest convolutions, found by trying; shapes never change.
        torch.backends.cudnn.benchmark = self.device.type != "cpu"
        examples = data.load(folder).items()
        self._examples = {k: torch.from_numpy(v).to(self.device) for k, v in examples}
        self._batches = self._endlessly()

    def _endlessly(self) -> Iterator[dict[str, Tensor]]:
        size, number = self.entry["batch_size"], len(self._examples["audio"])
        while True:
            order = torch.randperm(number, device=self.device)
            for rows in order[: number - number % size].split(size):
                yield {key: array[rows] for key, array in self._examples.items()}

    def batch_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(*networks.spectra(batch.pop("audio")), batch)

    def steps(self, count: int) -> float:
        """Do some steps and return their mean loss, once all is done."""
        total = torch.zeros((), device=self.device)
        for _ in range(count):
            loss = self.batch_loss(next(self._batches))
            self.update(loss)
            total += loss.detach()
        return total.item() / count


class Tuned(Eager):
    """The same, compiled: all but the FFT, which is a library's in any case."""

    def __init__(self, folder: pathlib.Path, entry: dict):
        super().__init__(folder, entry)
        # On a CPU the library's random numbers are faster than the compiler's own.
        torch._inductor.config.fallback_random = self.device.type == "cpu"
        self.loss = torch.compile(self.loss, mode=entry["compile_mode"])


class _Utterances(Dataset):
    """One file of features an utterance; the few there are come again and again."""

    def __init__(self, folder: pathlib.Path, length: int):
        self._folder, self._length = folder, length
        self._places = data.load(folder, *data.FIELDS[1:])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        index %= len(self._places["room_size"])
        features = np.load(self._folder / f"features_{index}.npy")
        example = {key: array[index] for key, array in self._places.items()}
        example["features"] = features
        return {key: torch.from_numpy(array) for key, array in example.items()}


def write_features(folder: pathlib.Path) -> None:
    """Write what `Shipped` reads: spectra [M, T, 2F] of each example, float32."""
    for index, audio in enumerate(data.load(folder, "audio")["audio"]):
        parts = networks.spectra(torch.from_numpy(audio)[None])
        np.save(folder / f"features_{index}.npy", torch.cat(parts, -1)[0].numpy())


class Shipped(_Training):
    """Features read by workers, one file an utterance; float32; each loss fetched."""

    def __init__(self, folder: pathlib.Path, entry: dict):
        super().__init__(folder, entry)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            entry["learning_rate"],
            weight_decay=entry["weight_decay"],
        )
        self._loader = DataLoader(
            _Utterances(folder, entry["num_examples"]),
            entry["batch_size"],
            shuffle=True,
            drop_last=True,
            num_workers=min(_MOST_WORKERS, os.cpu_count()),
            persistent_workers=True,
            pin_memory=self.device.type != "cpu",
        )
        self._batches = self._endlessly()

    def _endlessly(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from self._loader

    def steps(self, count: int) -> float:
        """Do some steps and return their mean loss."""
        total = 0.0
        for _ in range(count):
            batch = {
                key: array.to(self.device, non_blocking=True)
                for key, array in next(self._batches).items()
            }
            loss = self.loss(*batch.pop("features").chunk(2, -1), batch)
            self.update(loss)
            total += loss.item()
        return total / count


KINDS = {"torch tuned": Tuned, "torch eager": Eager, "torch shipped": Shipped}
