"""Networks: spectra and positions of the nodes in, logits of the sources out (Sec. 3.3).

- `build`: The table of networks, and how to build one for a label and a data set.
- `spec`: What a network states about itself: settings, ranges, what it can do.
- `encoder_decoder`: The network of L-1, for arrays at known positions.
- `directions`: One network for each compact array, to the azimuth there.
- `ad_hoc`: The network of Ad-1 and Ad-2, for any number of scattered nodes.
- `multilateration`: The network of votes, for any nodes, any grid and any clocks.
- `evidence`: What that network gets of a batch: levels and correlations.
- `step_shapes`: How many nodes and examples its training steps have.
- `front_ends`: Spectral features, and the layer that takes them.
- `layers`: Linear layers, convolutions, LSTMs and dropout that both networks use.
- `speech_mask`: The network of speech masks, which sees one node at a time.
- `objective`: Network inputs, targets and losses of a batch.
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
        "ad_hoc",
        "build",
        "encoder_decoder",
        "evidence",
        "multilateration",
        "objective",
        "spec",
        "speech_mask",
        "step_shapes",
    ],
)
