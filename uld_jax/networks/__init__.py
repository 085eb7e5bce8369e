"""Networks from signals and node codes to logits, and what they are built from.

- `ad_hoc`: The network of Ad-1 and Ad-2: scattered nodes, any number of them (Sec.
  3.3).
- `build`: Networks by name: features of the nodes in, logits of the sources out (Sec.
  3.3).
- `dropout`: Dropout with two decisions a random word (Srivastava et al., 2014).
- `encoder_decoder`: The network of L-1: arrays at known places to a map of the room
  (Sec. 3.3).
- `front_ends`: Front ends: spectra of the nodes to one vector a node and step of time.
- `grid_convs`: Convolutions over a small plan of the room, as matrix products on CPUs.
- `linear`: A linear layer whose gradient suits CPUs as well.
- `lstm`: Several bidirectional LSTMs over one input, in a single loop over time.
- `objective`: From a batch of a data set to network inputs, targets and losses.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "ad_hoc",
        "build",
        "dropout",
        "encoder_decoder",
        "front_ends",
        "grid_convs",
        "linear",
        "lstm",
        "objective",
        "spec",
    ],
)
