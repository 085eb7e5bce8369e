"""Methods that need no training by users, by name, all called alike.

To add a method, write its function and one entry here, with its title in
`labels.titles`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from uld_jax.localization import localize, srp_phat, talkers, tdoa

FUSED = "fused"  # It knows how sure it is.


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that needs no training.

    Attributes:
        localize: (signals, node_positions, room_size, mask, num_sources) to positions
            [B, S, 2] in meters.
        max_sources: Sources that it can tell apart; None for any number.
        gives_radii: Whether it gives positions and the radii [B, S] in meters that hold
            90 %.
    """

    localize: Callable[..., Any]
    max_sources: int | None = None
    gives_radii: bool = False


METHODS = {
    FUSED: Method(localize.fused, max_sources=talkers.MOST, gives_radii=True),
    "srp_phat": Method(srp_phat.srp_phat),
    "tdoa_ls": Method(tdoa.tdoa, max_sources=1),
}
