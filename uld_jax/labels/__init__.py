"""Labels of positions on a grid: codes and decoders (Eqs. 1-5), losses, schemes.

For arrays of NumPy, JAX or PyTorch, in any number of dimensions. These need NumPy alone:

- `codes`: Label codes of a position in a room, and the paper's decoders.
- `decoders`: Other decoders of a distribution: means, peaks, and how wide they are.
- `circular`: Unbiased label of an angle. `spherical`: that of a direction.
- `soft`: Soft label coding.
- `quantization`: Errors of labels that are right, once decoded, in closed form.
- `losses`: Cross entropy of soft labels, and the losses of the baselines.
- `boxes`: The box that holds positions, and checks of both.
- `arrays`, `axes`: Arrays of three libraries, and the axes of a grid.

These are what networks are trained with, and need JAX:

- `schemes`: The label schemes in one table, and `Label`: one at a resolution.
- `bearings`: Directions of a sound at several arrays, and where they meet.
- `expectations`: What a posterior over the room means to each kind of label.
- `titles`: Printed names and plot looks of schemes and methods: plain data.
"""

import importlib

_MODULES = ("bearings", "boxes", "circular", "codes", "expectations", "losses")
_MODULES += ("schemes", "titles")
_HOMES = {
    "codes": [
        "decode_cells",
        "decode_marginals",
        "decode_refined_grid",
        "decode_wad",
        "encode_heat_map",
        "encode_marginals",
        "encode_one_hot",
        "encode_refined_grid",
        "encode_uld",
    ],
    "decoders": [
        "Modes",
        "decode_argmax",
        "decode_covariance",
        "decode_local_mean",
        "decode_mean",
        "decode_modes",
    ],
    "circular": ["decode_circular", "encode_circular"],
    "spherical": ["decode_spherical", "encode_spherical", "make_spherical_grid"],
    "soft": ["encode_soft"],
    "quantization": [
        "box_quantization_error",
        "circular_quantization_error",
        "spherical_quantization_error",
    ],
    "losses": [
        "cross_entropy",
        "entropy",
        "factorized_cross_entropy",
        "permutation_invariant",
        "refined_grid",
        "squared_error",
    ],
    "schemes": ["SCHEMES", "Label"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted([*_MODULES, *_HOME])


# By hand, not by lazy_loader: labels work where NumPy alone is installed.
def __getattr__(name: str) -> object:
    """Load what is used, when it is first used."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
