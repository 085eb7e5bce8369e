"""Methods to compare networks with, by name, all called alike.

To add a method, write its function and one entry here, with its title in
`labels.titles`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from uld_jax.localization import (
    localize,
    music,
    srp_phat,
    stage_wise,
    talkers,
    tdoa,
)

FUSED = localize.FUSED  # It knows how sure it is.


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that needs no training, or the networks of another run.

    Attributes:
        localize: (signals, node_positions, room_size, mask, num_sources) to positions
            [B, S, 2] in meters; or, if it `needs_run`, (folder of a run, number of
            nodes) to such a function.
        max_sources: Sources that it can tell apart; None for any number.
        gives_radii: Whether it gives positions and the radii [B, S] in meters that hold
            90 %.
        needs_arrays: Whether nodes must be in compact arrays, and all of them there.
        needs_run: Whether it needs the run of a network.
    """

    localize: Callable[..., Any]
    max_sources: int | None = None
    gives_radii: bool = False
    needs_arrays: bool = False
    needs_run: bool = False


METHODS = {
    FUSED: Method(localize.fused, max_sources=talkers.MOST, gives_radii=True),
    localize.ANALYTIC: Method(
        functools.partial(localize.fused, method=localize.ANALYTIC),
        max_sources=1,
        gives_radii=True,
    ),
    "srp_phat": Method(srp_phat.srp_phat),
    "tdoa_ls": Method(tdoa.tdoa, max_sources=1),
    "music": Method(music.music, max_sources=1, gives_radii=True, needs_arrays=True),
    "stage_wise": Method(
        stage_wise.load,
        max_sources=1,
        gives_radii=True,
        needs_arrays=True,
        needs_run=True,
    ),
}
