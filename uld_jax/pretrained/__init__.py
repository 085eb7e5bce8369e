"""Trained networks: load them, and share their weights with a card.

- `card`: From a finished run to a folder of shared weights: what its card says of the
  network.
- `weights`: Shared weights: a folder of a network's arrays, and a card that tells what
  they are.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "card",
        "weights",
    ],
)
