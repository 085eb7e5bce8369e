"""Labels of positions on a grid: codes and decoders (Eqs. 1-5), losses, schemes.

- `codes`: Label codes of a position on the floor plan, and their decoders.
- `expectations`: What a posterior over the room means to each kind of label.
- `losses`: Losses of one source: soft cross entropy and those of the baselines.
- `schemes`: The four label schemes in one table, and `Label`: one at a resolution.
- `titles`: Printed names and plot looks of schemes and methods: plain data.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["codes", "expectations", "losses", "schemes", "titles"],
    submod_attrs={
        "codes": [
            "decode_cells",
            "decode_refined_grid",
            "decode_wad",
            "encode_heat_map",
            "encode_one_hot",
            "encode_refined_grid",
            "encode_uld",
        ],
        "losses": ["cross_entropy", "entropy", "permutation_invariant"],
        "schemes": ["SCHEMES", "Label"],
    },
)
