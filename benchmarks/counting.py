"""Operations and bytes of a training step, counted by hand.

Floating-point operations: a product of matrices [m, k] and [k, n] has 2 m k n. In the
backward pass it has as many for its parameters, and as many for its input if gradients
go on from there; spectra and position codes get none. Elementwise work is counted
roughly, transcendental functions as one operation.

Bytes are the least that there can be: inputs, parameters, gradients and the optimizer's
moments, and what the backward pass needs of the forward pass, written once and read once.
"""

import dataclasses
import math
from collections.abc import Mapping

WINDOW, HOP, BINS = 512, 256, 256
_FED = {  # Inputs of the front end's first layer, a frame.
    "real_imaginary": 2 * BINS,
    "log_magnitude": BINS,
    "relative_level": BINS,
    "compressed": 2 * BINS,
    "level_compressed": 3 * BINS,
    "cross_spectrum": 3 * BINS,
}
_ADAMW = 16  # Operations a parameter.
_ADAMW_WORDS = 10  # Parameters twice read; gradients, and three in and out.
_LAYER_NORM, _BATCH_NORM, _GELU, _SOFTMAX = 8, 8, 10, 5  # Operations a number.


@dataclasses.dataclass(frozen=True)
class Work:
    """What a part of the step has to do.

    Attributes:
        part: Name of the part.
        kind: "matrix", "elementwise" or "FFT".
        forward: Operations of the forward pass.
        backward: Operations of the backward pass, or of the update.
        stored: Numbers kept for the backward pass.
        loop: Steps of the loop it is in, whose body XLA counts once.
    """

    part: str
    kind: str
    forward: float
    backward: float
    stored: float = 0.0
    loop: int = 1

    @property
    def flops(self) -> float:
        """Operations in all."""
        return self.forward + self.backward


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Sizes of a training's batch and of its network's outputs.

    Attributes:
        batch: Examples B.
        nodes: Nodes M.
        samples: Samples N of a signal.
        sources: Sources S.
        channels: Channels C of the code.
        per_axis: Outputs K per axis.
        parameters: Parameters of the network.
    """

    batch: int
    nodes: int
    samples: int
    sources: int
    channels: int
    per_axis: int
    parameters: int

    @property
    def frames(self) -> int:
        """Frames T of the STFT."""
        return self.samples // HOP + 1

    @property
    def outputs(self) -> int:
        """Outputs E of a source, C K K."""
        return self.channels * self.per_axis**2


def step(model: Mapping, shapes: Shapes) -> list[Work]:
    """Return all work of a training step.

    Args:
        model: Settings of the network, its `name` among them.
        shapes: Sizes.
    """
    network = {"adhoc": adhoc, "encoder_decoder": encoder_decoder}[model["name"]]
    update = Work("optimizer", "elementwise", 0, _ADAMW * shapes.parameters)
    return [*spectra(shapes), *network(model, shapes), update]


def spectra(shapes: Shapes) -> list[Work]:
    """Return the work of level and STFT."""
    signals = shapes.batch * shapes.nodes
    samples, frames = signals * shapes.samples, signals * shapes.frames
    fft = 2.5 * WINDOW * math.log2(WINDOW)
    return [
        Work("spectra: level, window", "elementwise", 3 * samples + WINDOW * frames, 0),
        Work("spectra: FFT", "FFT", fft * frames, 0),
    ]


def stft_by_matrix(shapes: Shapes) -> float:
    """Return the operations of the STFT as a product with a matrix of sines."""
    return 2.0 * shapes.batch * shapes.nodes * shapes.frames * WINDOW * 2 * BINS


def _product(part, rows, inner, outer, *, to_input=True, stored=None, loop=1) -> Work:
    """Return a product of matrices [rows, inner] and [inner, outer]."""
    forward = 2.0 * rows * inner * outer
    kept = rows * inner if stored is None else stored
    return Work(part, "matrix", forward, (1 + to_input) * forward, kept, loop)


def adhoc(model: Mapping, shapes: Shapes) -> list[Work]:
    """Return the work of the network of scattered nodes."""
    D, S = model["width"], shapes.sources
    B, M, T = shapes.batch, shapes.nodes, shapes.frames
    U = T // model["frames_per_step"]
    after = B * U  # Vectors after the fusion of the nodes.
    work = _front_end(model, shapes, U)
    work += [
        _product("position codes", B * M, shapes.outputs, D, to_input=False),
        Work("input norm", "elementwise", _LAYER_NORM * B * M * U * D, 0, 0),
    ]
    for _ in range(model["num_blocks"]):
        work += _attention("attention over frames", model, B * M * U, U)
        work += _attention("attention over nodes", model, B * M * U, M)
    work.append(_norm("fusion of nodes", B * M * U * D))
    if model["fusion"] == "attention":
        work.append(_product("fusion of nodes", B * M * U, D, 1, stored=0))
    for _ in range(model["num_temporal_blocks"]):
        work += _attention("blocks over frames after fusion", model, after, U)
    work.append(_product("layers before the logits", after, D, D))
    if S == 1:
        work.append(_product("layers before the logits", after, D, D))
    else:
        work += _splitter(model, after, U, S)
    return [*work, _product("layers before the logits", B * S, D, shapes.outputs)]


def _front_end(model: Mapping, shapes: Shapes, steps: int) -> list[Work]:
    signals, D = shapes.batch * shapes.nodes, model["width"]
    frames = signals * steps * model["frames_per_step"]
    work = []
    if model["front_end"] == "convolution":
        narrow = max(D // 4, 1)
        first, second = _bands(BINS, 7, 3), _bands(_bands(BINS, 7, 3), 5, 2)
        work = [
            _product("front end", frames * first, 14, narrow, to_input=False),
            _product("front end", frames * second, 5 * narrow, 2 * narrow),
        ]
        fed = 2 * narrow * second
    else:
        fed = _FED[model["front_end"]]
    layer = _product("front end", frames, fed, D, to_input=bool(work))
    # About eight operations for each number that is fed: powers, logarithms, means.
    work += [Work("front end", "elementwise", 8 * frames * fed, 0), layer]
    if model["frames_per_step"] > 1:
        work.append(_elementwise("front end", _GELU, frames * D))
        work.append(_product("front end", signals * steps, D, D))
    return work


def _elementwise(part: str, operations: int, numbers: float) -> Work:
    done = operations * numbers
    return Work(part, "elementwise", done, 2 * done, numbers)


def _norm(part: str, numbers: float, operations: int = _LAYER_NORM) -> Work:
    return _elementwise(part, operations, numbers)


def _attention(part: str, model: Mapping, rows: float, length: int) -> list[Work]:
    """Return the work of one `adhoc.Attention`.

    Of what is kept for the backward pass, scores are computed anew, as fused attention
    does, and so is what a layer norm or GELU returned.
    """
    D = model["width"]
    scores = rows * length * model["num_heads"]
    return [
        _norm(part, rows * D),
        _product(part, rows, D, 3 * D, stored=3 * rows * D),
        _scores(part, rows, length, D),
        Work(part, "elementwise", _SOFTMAX * scores, 2 * _SOFTMAX * scores),
        _product(part, rows, D, D),
        _norm(part, rows * D),
        _product(part, rows, D, 4 * D, stored=4 * rows * D),
        Work(part, "elementwise", _GELU * 4 * rows * D, 2 * _GELU * 4 * rows * D),
        _product(part, rows, 4 * D, D, stored=0),
        # Two dropouts and two sums with the input.
        Work(part, "elementwise", 6 * rows * D, 4 * rows * D),
    ]


def _scores(part: str, rows: float, length: int, width: int) -> Work:
    """Return queries times keys, and weights times values."""
    forward = 2 * 2.0 * rows * length * width
    return Work(part + ": products", "matrix", forward, 2 * forward)


def _splitter(model: Mapping, rows: float, steps: int, sources: int) -> list[Work]:
    """Return the work of the bidirectional LSTMs, half the width each way.

    Their inputs are multiplied before the loop over the frames.
    """
    D, half = model["width"], model["width"] // 2
    networks = 1 if model["split"] == "complement" else sources
    both_ways = 2 * networks * rows
    return [
        _product("splitter", both_ways, D, 4 * half, stored=networks * rows * D),
        _product("splitter", both_ways, half, 4 * half, loop=steps),
        Work(
            "splitter",
            "elementwise",
            15 * both_ways * half,
            30 * both_ways * half,
            5 * both_ways * half,
            steps,
        ),
    ]


def _bands(inputs: int, kernel: int, stride: int) -> int:
    return (inputs - kernel) // stride + 1


def encoder_decoder(model: Mapping, shapes: Shapes) -> list[Work]:
    """Return the work of the network of L-1."""
    W, B, K = model["width"], shapes.batch, shapes.per_axis
    encoders = model["num_encoders"]
    start = -(-K // 2)
    decoder, half = "decoder", W // 2
    return [
        *(_encoder(model, shapes, shapes.nodes // encoders) * encoders),
        _product(decoder, B, 4 * W * encoders, W * start**2),
        _product(decoder, B * start**2, W, 16 * half),  # Each into 4 x 4 neighbors.
        _norm(decoder, B * (2 * start) ** 2 * half, _BATCH_NORM),
        _product(decoder, B * K**2, 9 * half, half, stored=B * K**2 * half),
        _norm(decoder, B * K**2 * half, _BATCH_NORM),
        _product(decoder, B * K**2, half, shapes.channels),
    ]


def _encoder(model: Mapping, shapes: Shapes, nodes: int) -> list[Work]:
    W, B, T = model["width"], shapes.batch, shapes.frames
    first, second = _bands(BINS, 7, 3), _bands(_bands(BINS, 7, 3), 5, 2)
    spectra = B * T * BINS * 2 * nodes
    part, blocks = "encoder", "encoder, residual blocks"
    work = [
        _product(
            part,
            B * T * first,
            14 * nodes,
            W // 2,
            to_input=False,
            stored=spectra,
        ),
        _norm(part, B * T * first * (W // 2), _BATCH_NORM),
        _product(
            part,
            B * T * second,
            5 * (W // 2),
            W,
            stored=B * T * first * (W // 2),
        ),
        _norm(part, B * T * second * W, _BATCH_NORM),
    ]
    rows = B * second * (1 if model["average_frames"] == "early" else T)
    for _ in range(model["num_blocks"]):
        for taps in (1, 3, 1):
            work.append(_product(blocks, rows, taps * W, W, stored=rows * W))
            work.append(_norm(blocks, rows * W, _BATCH_NORM))
    return [*work, _product(part, B, second * W, 4 * W)]


def by_part(work: list[Work]) -> dict[tuple[str, str], Work]:
    """Return the work added up by part and kind, in the order of the step."""
    sums = {}
    for one in work:
        old = sums.get((one.part, one.kind), Work(one.part, one.kind, 0, 0))
        sums[one.part, one.kind] = Work(
            one.part,
            one.kind,
            old.forward + one.forward,
            old.backward + one.backward,
            old.stored + one.stored,
            max(old.loop, one.loop),
        )
    return sums


def least_bytes(work: list[Work], shapes: Shapes, word: int = 4) -> dict[str, float]:
    """Return the least bytes that a step moves, by what they are.

    Args:
        work: What `step` returned.
        shapes: Sizes.
        word: Bytes of a number that is kept for the backward pass.
    """
    return {
        "audio, int16": 2.0 * shapes.batch * shapes.nodes * shapes.samples,
        "parameters, gradients, moments": 4.0 * _ADAMW_WORDS * shapes.parameters,
        "kept for the backward pass": 2.0 * word * sum(one.stored for one in work),
    }
