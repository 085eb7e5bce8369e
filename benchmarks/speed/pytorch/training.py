"""The training step in PyTorch, with and without its compiler."""

from collections.abc import Callable

import torch
import torch._inductor.config
from torch import Tensor

from benchmarks.speed.pytorch import networks


def device() -> torch.device:
    """Choose the device to train on: the GPU, if PyTorch finds one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Look up the device's name."""
    where = device()
    return "cpu" if where.type == "cpu" else torch.cuda.get_device_name(where)


def set_precision(precision: str) -> None:
    """Choose how factors of float32 products are rounded.

    Args:
        precision: "float32", "tf32" or "bfloat16". In the last, what stays in float32
            is done in TF32, as JAX does by default.
    """
    precise = precision == "float32"
    torch.set_float32_matmul_precision("highest" if precise else "high")
    torch.backends.cudnn.allow_tf32 = not precise


def make_step(
    network: torch.nn.Module,
    batch: dict,
    *,
    resolution: int,
    learning_rate: float,
    weight_decay: float,
    bfloat16: bool,
    compile_mode: str | None,
) -> Callable[[int], float]:
    """Make a function that runs a number of training steps and waits for them.

    The batch stays on the device, signals as int16, and nothing is fetched before the
    last step. The update is PyTorch's fused AdamW. The FFT is not compiled: it is a
    library's in any case.

    Args:
        network: Network on its device, in training mode.
        batch: Examples, NumPy arrays.
        resolution: Cells per axis.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        bfloat16: Whether to use autocast.
        compile_mode: Mode of `torch.compile` for loss and gradient; None for neither.
    """
    torch.manual_seed(0)
    where = device()
    on_cpu = where.type == "cpu"
    # The fastest convolutions, found by trying; shapes never change.
    torch.backends.cudnn.benchmark = not on_cpu
    optimizer = torch.optim.AdamW(
        network.parameters(), learning_rate, weight_decay=weight_decay, fused=True
    )
    arrays = {key: torch.from_numpy(array).to(where) for key, array in batch.items()}
    audio = arrays.pop("audio")

    def loss_of(real: Tensor, imaginary: Tensor, arrays: dict) -> Tensor:
        room, codes = arrays["room_size"], None
        if network.uses_codes:
            codes = networks.codes(arrays["node_positions"], room, resolution)
        targets = networks.codes(arrays["source_positions"], room, resolution)
        with torch.autocast(where.type, torch.bfloat16, enabled=bfloat16):
            logits = network(real, imaginary, codes)
        return networks.mean_loss(logits, targets)

    if compile_mode is not None:
        # On a CPU the library's random numbers are faster than the compiler's own.
        torch._inductor.config.fallback_random = on_cpu
        loss_of = torch.compile(loss_of, mode=compile_mode)

    def run(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(*networks.spectra(audio), arrays)
            loss.backward()
            optimizer.step()
        return loss.item()

    return run
