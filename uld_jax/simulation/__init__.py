"""Simulation of shoebox rooms in JAX: scenes, image sources, rendering.

- `anechoic`: Signals at the nodes from dry sources where nothing reflects, in JAX.
- `image_source`: Images of a source in a shoebox room (Allen and Berkley 1979), all or
  thinned.
- `nonuniform_fft`: Sums of fractionally delayed pulses: deposit on a finer grid, FFT,
  correction.
- `recipes`: Recipes of simulated data: which scenes and signals are drawn, how they are
  rendered.
- `rendering`: Signals at the nodes of reverberant rooms, many rooms at once, in JAX.
- `rooms`: Rooms to be rendered, how, and whether they can be; on the host, in NumPy.
- `scenes`: Scenes: a room, its nodes and its sources, drawn at random (Sec. 3.1).
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
        "anechoic",
        "image_source",
        "nonuniform_fft",
        "recipes",
        "rendering",
        "rooms",
        "scenes",
    ],
    submod_attrs={
        "rendering": ["Rendered", "render"],
        "rooms": ["RenderSettings", "RenderingError", "Rooms"],
    },
)
