"""Simulation of shoebox rooms in JAX: scenes, image sources, rendering.

- `anechoic`: Signals at the nodes from dry sources where nothing reflects, in JAX.
- `furnished`: Furniture on its way to the renderer.
- `furniture`: What makes a shoebox less kind, and recipes that draw it; in NumPy.
- `image_source`: Images of a source in a shoebox room (Allen and Berkley 1979).
- `node_clocks`: Signals resampled for drifts and for starts between samples.
- `nonuniform_fft`: Sums of fractionally delayed pulses: deposit on a finer grid, FFT,
  correction.
- `recipes`: Recipes of simulated data: which scenes and signals are drawn, how they are
  rendered.
- `rendering`: Signals at the nodes of reverberant rooms, many rooms at once, in JAX.
- `room_checks`: Checks that rooms can be rendered, before any work.
- `rooms`: Rooms to be rendered, and how; on the host, in NumPy.
- `scenes`: Scenes: a room, its nodes and its sources, drawn at random (Sec. 3.1).
- `sound_fields`: Spectra of the paths from sources to nodes.
- `thinning`: A random share of the images of a source that stands for all of them.
- `walls`: Walls that absorb unequally: filters, and the decay of rooms.
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
        "furnished",
        "furniture",
        "image_source",
        "node_clocks",
        "nonuniform_fft",
        "recipes",
        "rendering",
        "room_checks",
        "rooms",
        "scenes",
        "sound_fields",
        "thinning",
        "walls",
    ],
    submod_attrs={
        "furniture": ["Furniture"],
        "rendering": ["Rendered", "render"],
        "rooms": ["RenderSettings", "RenderingError", "Rooms"],
    },
)
