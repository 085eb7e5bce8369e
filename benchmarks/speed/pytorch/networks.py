"""The networks of `uld_jax` in PyTorch.

They compute the same numbers from the same weights (`weights.copy`) with PyTorch's own
fast functions: its convolutions, `scaled_dot_product_attention`, `torch.stft`. Batches
have no mask of nodes, and only the default settings are supported.

Shape letters as in the package: B batch, M nodes, N samples, T frames, U steps of
time, F bins, S sources, K grid points per axis, E = K K outputs.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WINDOW, _HOP = 512, 256
NUM_BINS = _WINDOW // 2  # Without the DC bin.
_FLOOR, _COMPRESSION = 1e-4, 0.3
_EPSILON = 1e-6  # Of layer norms in Flax; PyTorch's is 1e-5.
_KNOWN = {
    "front_end": "level_compressed",
    "remat": False,
}


def spectra(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Compute spectra, real and imaginary [B, M, T, F], of scenes [B, M, N] at unit level."""
    audio = audio.float()
    level = audio.square().mean(dim=(1, 2), keepdim=True).sqrt()
    audio = audio / level.clamp_min(torch.finfo(torch.float32).tiny)
    window = torch.hann_window(_WINDOW, device=audio.device)
    bins = torch.stft(
        audio.flatten(0, 1), _WINDOW, _HOP, window=window, return_complex=True
    )
    parts = torch.view_as_real(bins.transpose(1, 2)[:, :, 1:])
    return parts.unflatten(0, audio.shape[:2]).unbind(-1)


def codes(positions: Tensor, room_size: Tensor, resolution: int) -> Tensor:
    """Encode positions [B, P, 3] in rooms [B, 3] by ULD, flat [B, P, E]."""
    chi = positions[..., :2] * resolution / room_size[:, None, :2]
    points = torch.arange(resolution + 1, device=chi.device)
    x, y = F.relu(1 - (points - chi[..., None]).abs()).unbind(-2)
    return (y[..., :, None] * x[..., None, :]).flatten(-2)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy with codes [B, S, E] in the best order of sources."""
    pairs = -logits.log_softmax(-1) @ targets.mT
    sources = range(logits.shape[1])
    orders = [
        sum(pairs[:, output, source] for output, source in enumerate(order))
        for order in itertools.permutations(sources)
    ]
    return torch.stack(orders).amin(dim=0).mean() / len(sources)


def build(settings: dict) -> nn.Module:
    """Build a network.

    Args:
        settings: A configuration's `model`, and `resolution`, `num_nodes` and
            `num_sources`.

    Raises:
        ValueError: If a setting is not the supported one.
    """
    for key, value in _KNOWN.items():
        if settings.get(key, value) != value:
            raise ValueError(
                f"{key} is {settings[key]!r}; only {value!r} is supported in PyTorch"
            )
    kinds = {"adhoc": AdHoc, "encoder_decoder": EncoderDecoder}
    return kinds[settings["name"]](settings)


# --- Scattered nodes ------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention of [A, L, D] and a feed-forward layer, pre-norm."""

    def __init__(self, width: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add attention and the feed-forward layer to x."""
        h = self.queries_keys_values(self.attention_norm(x))
        h = h.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(*h.unbind(0)).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.output(h))
        h = F.gelu(self.expand(self.forward_norm(x)), approximate="tanh")
        return x + self.dropout(self.contract(h))


class Block(nn.Module):
    """Attention among the frames of each node, then among the nodes of each frame."""

    def __init__(self, *arguments):
        super().__init__()
        self.over_frames = Attention(*arguments)
        self.over_nodes = Attention(*arguments)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to [B, M, U, D]; the shape stays."""
        B, M, U, _ = x.shape
        x = self.over_frames(x.flatten(0, 1)).unflatten(0, (B, M)).transpose(1, 2)
        x = self.over_nodes(x.flatten(0, 1)).unflatten(0, (B, U))
        return x.transpose(1, 2)


class Splitter(nn.Module):
    """Masks over time, one per source, from bidirectional LSTMs."""

    def __init__(self, width: int, num_sources: int):
        super().__init__()
        self.networks = nn.ModuleList(
            nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
            for _ in range(num_sources)
        )
        for name, bias in self.named_parameters():
            if "bias_ih" in name:  # Flax has only the other one.
                nn.init.zeros_(bias).requires_grad_(False)

    def forward(self, h: Tensor) -> Tensor:
        """Average [B, U, D] over time by the masks, to [B, S, D]."""
        odds = torch.stack([network(h)[0] for network in self.networks], dim=1)
        return len(self.networks) * (odds.float().sigmoid() * h[:, None]).mean(dim=2)


class FrontEnd(nn.Module):
    """Relative levels and compressed spectra, projected and averaged."""

    def __init__(self, width: int, frames_per_step: int):
        super().__init__()
        self.frames_per_step = frames_per_step
        self.project = nn.Linear(3 * NUM_BINS, width)
        self.mix = nn.Linear(width, width) if frames_per_step > 1 else None

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Compute the vectors [B, M, U, D] from spectra."""
        steps = real.shape[2] // self.frames_per_step
        used = slice(steps * self.frames_per_step)
        real, imaginary = real[:, :, used], imaginary[:, :, used]
        levels = 0.5 * (real.square() + imaginary.square() + _FLOOR).log()
        gain = ((_COMPRESSION - 1) * levels).exp()
        levels = levels - levels.mean(dim=1, keepdim=True)
        h = self.project(torch.cat([levels, real * gain, imaginary * gain], dim=-1))
        if self.mix is None:
            return h
        h = F.gelu(h, approximate="tanh").unflatten(2, (steps, self.frames_per_step))
        return self.mix(h.mean(dim=3))


class AdHoc(nn.Module):
    """The network for scattered nodes: spectra and positions to logits."""

    uses_codes = True

    def __init__(self, settings: dict):
        super().__init__()
        width, outputs = settings["width"], (settings["resolution"] + 1) ** 2
        block = (width, settings["num_heads"], settings["dropout"])
        self.front_end = FrontEnd(width, settings["frames_per_step"])
        self.embed_position = nn.Linear(outputs, width)
        self.input_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.blocks = nn.Sequential(
            *(Block(*block) for _ in range(settings["num_blocks"]))
        )
        self.fusion_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.temporal_blocks = nn.Sequential(
            *(Attention(*block) for _ in range(settings["num_temporal_blocks"]))
        )
        self.first = nn.Linear(width, width)
        alone = settings["num_sources"] == 1
        self.second = nn.Linear(width, width) if alone else None
        self.splitter = None if alone else Splitter(width, settings["num_sources"])
        self.third = nn.Linear(width, outputs)
        self.dropout = nn.Dropout(settings["dropout"])

    def forward(self, real: Tensor, imaginary: Tensor, codes: Tensor) -> Tensor:
        """Compute the logits [B, S, E]."""
        h = self.front_end(real, imaginary) + self.embed_position(codes)[:, :, None]
        h = self.input_norm(h + _time_code(*h.shape[2:], h.device).to(h.dtype))
        h = self.fusion_norm(self.blocks(h)).mean(dim=1)
        h = self.temporal_blocks(h)
        h = self.dropout(F.relu(self.first(h)))
        if self.splitter is None:
            h = F.relu(self.second(h)).mean(dim=1, keepdim=True)
        else:
            h = self.splitter(h)
        with torch.autocast(h.device.type, enabled=False):
            return self.third(h.float())


def _time_code(num_steps: int, width: int, device: torch.device) -> Tensor:
    """Compute sines and cosines [U, D] of the step's number."""
    rates = torch.exp(-math.log(1e4) * torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(num_steps, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


# --- Arrays at fixed positions ------------------------------------------------------


class ResidualBlock(nn.Module):
    """x + f(x), f a bottleneck of 1, 3 and 1 taps along frequency."""

    def __init__(self, width: int):
        super().__init__()
        kernels = (1, 3, 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to [B, D, F]; the shape stays."""
        h = F.relu(self.norms[0](self.convs[0](x)))
        h = F.relu(self.norms[1](self.convs[1](h)))
        return F.relu(x + self.norms[2](self.convs[2](h)))


class SpectrumEncoder(nn.Module):
    """Spectra [B, 2M, T, F] of a few nodes to one vector."""

    def __init__(self, num_nodes: int, width: int, num_blocks: int):
        super().__init__()
        self.first = nn.Conv2d(2 * num_nodes, width // 2, (1, 7), stride=(1, 3))
        self.second = nn.Conv2d(width // 2, width, (1, 5), stride=(1, 2))
        self.first_norm = nn.BatchNorm2d(width // 2)
        self.second_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(num_blocks)))
        bands = ((NUM_BINS - 7) // 3 + 1 - 5) // 2 + 1
        self.code = nn.Linear(width * bands, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Compute one code per scene."""
        h = F.relu(self.first_norm(self.first(x)))
        h = F.relu(self.second_norm(self.second(h)))
        return F.relu(self.code(self.blocks(h.mean(dim=2)).flatten(1)))


class EncoderDecoder(nn.Module):
    """The network of L-1: spectra to a vector to a map of the room."""

    uses_codes = False

    def __init__(self, settings: dict):
        super().__init__()
        width, self.outputs_per_axis = settings["width"], settings["resolution"] + 1
        num_encoders = settings["num_encoders"]
        each = settings["num_nodes"] // num_encoders
        self.encoders = nn.ModuleList(
            SpectrumEncoder(each, width, settings["num_blocks"])
            for _ in range(num_encoders)
        )
        self.start = -(-self.outputs_per_axis // 2)
        self.plan = nn.Linear(4 * width * num_encoders, width * self.start**2)
        self.grow = nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1)
        self.grow_norm = nn.BatchNorm2d(width // 2)
        self.refine = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.refine_norm = nn.BatchNorm2d(width // 2)
        self.head = nn.Conv2d(width // 2, 1, 1)

    def forward(self, real: Tensor, imaginary: Tensor, codes: None = None) -> Tensor:
        """Compute the logits [B, 1, E]."""
        # Channels: real and imaginary part of each node in turn.
        x = torch.stack([real, imaginary], dim=2)
        parts = x.chunk(len(self.encoders), dim=1)
        h = torch.cat(
            [
                encode(part.flatten(1, 2))
                for encode, part in zip(self.encoders, parts, strict=True)
            ],
            dim=1,
        )
        h = F.relu(self.plan(h)).unflatten(1, (self.start, self.start, -1))
        h = h.permute(0, 3, 1, 2)  # Channels come last in memory.
        h = F.relu(self.grow_norm(self.grow(h)))
        K = self.outputs_per_axis
        h = F.relu(self.refine_norm(self.refine(h[:, :, :K, :K])))
        with torch.autocast(h.device.type, enabled=False):
            return self.head(h.float()).flatten(2)
