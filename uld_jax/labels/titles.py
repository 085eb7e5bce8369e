"""Names and plot looks of schemes, methods and networks: plain data.

Tables and figures list them in this order. The colors are those of Okabe and Ito, which
color-blind readers can tell apart, and a brown; the markers differ too.
"""

from typing import NamedTuple


class Look(NamedTuple):
    """How tables and figures show one scheme or method.

    Attributes:
        title: Name in print.
        color: Color of its lines and points.
        marker: Marker of its points, as matplotlib names them.
    """

    title: str
    color: str
    marker: str


SCHEMES = {
    "one_hot": Look("One-hot", "#E69F00", "s"),
    "heat_map": Look("HM", "#CC79A7", "v"),
    "refined_grid": Look("RG", "#009E73", "^"),
    "uld": Look("ULD", "#0072B2", "o"),
    "soft": Look("SLC", "#56B4E9", "p"),
    "azimuth": Look("Azimuth ULD", "#332288", "h"),
}
METHODS = {
    "fused": Look("Votes, amplitudes and times", "#8B4513", "D"),
    "analytic": Look("Amplitudes and times", "#DDAA33", "<"),
    "srp_phat": Look("SRP-PHAT", "#000000", "P"),
    "tdoa_ls": Look("TDOA least squares", "#D55E00", "X"),
    "music": Look("MUSIC", "#999933", "*"),
    "stage_wise": Look("Stage-wise", "#882255", "d"),
}
LOOKS = SCHEMES | METHODS
# Networks beyond the paper's.
NETWORKS = {"multilateration": "multilateration", "directions": "directions"}


def title(name: str) -> str:
    """Look up the printed name of a scheme or method; an unknown one keeps its own."""
    return LOOKS[name].title if name in LOOKS else name
