"""Trained networks: load them, and share their weights with a card.

- `loading`: Load trained networks, of a run or from shared weights, and use them.
- `uncertainty`: How sure a network's position is: the radius that holds 90 %.
- `shipped`: The networks that come with the package: their names and folders.
- `exporting`: A network as one file that runs without this package.
- `weights`: The folder of shared weights: arrays, checksums and a card.
- `speech_masks`: Weights of the network of speech masks.
- `card`: Share a run's network: its weights, with a card that describes them.
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
        *("card", "exporting", "loading", "shipped", "speech_masks"),
        *("uncertainty", "weights"),
    ],
    submod_attrs={"loading": ["Network", "Prediction", "load_network"]},
)
