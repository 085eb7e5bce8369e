"""Trained networks: load them, and share their weights with a card.

- `loading`: Load trained networks, of a run or from shared weights, and use them.
- `weights`: The folder of shared weights: arrays, checksums and a card.
- `speech_masks`: Weights of the network of speech masks.
- `card`: Share a run's network: its weights, with a card that describes them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["card", "loading", "speech_masks", "weights"],
    submod_attrs={"loading": ["Network", "Prediction", "load_network"]},
)
