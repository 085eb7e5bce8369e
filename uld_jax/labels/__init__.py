"""Labels of positions on a grid: codes and decoders (Eqs. 1-5), losses, schemes.

- `codes`: Label codes of a position on the floor plan and their decoders (Sec. 2, 3.2).
- `losses`: Losses of one example: soft cross entropy and those of the baselines (Sec.
  3.2).
- `schemes`: The four label schemes in one table: encode, loss, decode (Sec. 3.2).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "codes",
        "losses",
        "schemes",
        "titles",
    ],
)
