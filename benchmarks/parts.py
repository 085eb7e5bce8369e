"""What the instructions of a training step are for: parts of the network, and kinds.

By what was called on the way to them (`origins`), so that moved lines do no harm. What
no rule knows is called after the innermost function of this package.
"""

from origins import Origin

# First that fits; names of functions, or of what they call.
_PARTS = (
    ("optimizer", {"apply", "adamw"}),
    (
        "guard, notes of steps",
        {"_note", "keep", "tree.norm", "tree_norm"} | {"apply_gradient"},
    ),
    ("loss, targets", {"losses", "targets"}),
    ("position codes", {"encode_node", "embed_position"}),
    ("spectra", {"network_inputs", "spectral_features", "stft"}),
    ("front end", {"front_end", "FrontEnd.__call__", "pieces", "input_norm"}),
    ("attention over frames", {"over_frames"}),
    ("attention over nodes", {"over_nodes"}),
    ("blocks over frames after fusion", {"temporal_blocks", "Attention.__call__"}),
    ("fusion of nodes", {"_fuse", "AdHoc._fuse", "fusion_norm"}),
    ("splitter", {"splitter", "Splitter.__call__"}),
    ("encoder, residual blocks", {"ResidualBlock.__call__"}),
    ("encoder", {"SpectrumEncoder.__call__"}),
    ("decoder", {"plan", "grow", "grow_norm", "refine", "refine_norm", "head"}),
    ("decoder", {"EncoderDecoder.__call__"}),  # What is between its layers.
    ("layers before the logits", {"first", "second", "third"}),
)
_KINDS = (
    ("dropout", {"dropout", "Dropout.__call__", "self.dropout"}),
    ("normalization", {"LayerNorm.__call__", "BatchNorm.__call__", "_normalize"}),
    ("GELU", {"nnx.gelu", "jax.nn.gelu", "gelu"}),
)
_COPIES = frozenset(
    {"concatenate", "transpose", "reshape", "slice", "copy", "pad", "swapaxes"}
    | {"convert_element_type", "split", "squeeze", "broadcast_in_dim", "gather"}
)
_PRODUCTS = frozenset({"dot_general", "conv_general_dilated", "dot", "convolution"})


def part(origin: Origin) -> str:
    """Return which part of the training step an instruction belongs to."""
    if not origin.own_frames:
        return "without a source"
    on_the_way = {*origin.functions, *origin.calls}
    for name, known in _PARTS:
        if known & on_the_way:
            return name
    return origin.own_frames[-1].function.rpartition("<locals>.")[2]


def kind(origin: Origin) -> str:
    """Return what kind of work an instruction does."""
    on_the_way = {*origin.functions, *origin.calls}
    if origin.opcode == "convolution":
        return "matrix products"
    for name, known in _KINDS:
        if known & on_the_way:
            return name
    if origin.opcode == "fft" or origin.operation == "fft":
        return "FFT"
    attends = any("dot_product_attention" in call for call in origin.calls)
    if origin.operation in _PRODUCTS or origin.opcode in {"dot", "convolution"}:
        return "attention's products" if attends else "matrix products"
    if attends:
        return "softmax"
    if "random" in origin.name or "threefry" in origin.name:
        return "random numbers"
    if origin.of_operand or origin.operation in _COPIES or origin.opcode == "copy":
        return "copies"
    return "elementwise, sums"


def direction(origin: Origin) -> str:
    """Return whether an instruction is of the backward pass."""
    return "backward" if "transpose(jvp" in origin.name else "forward"
