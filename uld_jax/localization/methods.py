"""Methods that need no training, by name, all called alike."""

from collections.abc import Callable

from uld_jax.localization import srp_phat, tdoa

# (signals, node_positions, room_size, mask, num_sources) to positions [B, S, 2].
BASELINES: dict[str, Callable] = {
    "srp_phat": srp_phat.localize,
    "tdoa_ls": tdoa.localize,
}

# Sources at most, where a method has a limit.
MOST_SOURCES = {"tdoa_ls": 1}
