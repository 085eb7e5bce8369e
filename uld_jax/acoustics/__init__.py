"""Acoustics that rooms, networks and localizers share.

- `constants`: Speed of sound and sample rate.
- `absorption`: Absorption of walls for a reverberation time (Sabine).
- `stft`: Short-time spectra of the signals of all nodes: network inputs (Sec. 3.3).
- `correlations`: Generalized cross-correlations of nodes with phase transform.
- `envelopes`: Envelopes of the correlations of all pairs, as bytes.
- `levels`: Statistics of each node's levels in mel bands.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__: list[str]
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "absorption",
        "constants",
        "correlations",
        "envelopes",
        "levels",
        "stft",
    ],
)
