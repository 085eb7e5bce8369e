"""The conditions of the robustness test: names, values and titles, without JAX.

Each is tested in bare rooms, and in furnished ones: echoes off by 0.1 m, gains by 1 dB
(`simulation.furniture`).
"""

from typing import NamedTuple


class Kind(NamedTuple):
    """One property of the recordings that is varied.

    Attributes:
        title: A format for its value in print.
        values: Its values.
        factor: From the value's unit to that of the title.
    """

    title: str
    values: tuple[float, ...]
    factor: float = 1.0


NONE = "none"  # The test split as it is.
BARE, FURNISHED = ROOMS = ("bare", "furnished")  # The two columns of each condition.
CLOCKS_OFF = 0.002  # Seconds, in conditions of two kinds of errors.
FEW_NODES = 8
_BOTH = f"clocks {1000 * CLOCKS_OFF:g} ms, "

CONDITIONS = {
    "clock_offset": Kind("clocks {:g} ms", (0.0005, 0.002, 0.01, 0.05), 1000),  # s
    "position_error": Kind("positions {:g} m", (0.05, 0.1, 0.3)),
    "gain_error": Kind("gains {:g} dB", (3.0,)),
    # With clocks off by `CLOCKS_OFF` beside it.
    "position_error_clocks_off": Kind(_BOTH + "positions {:g} m", (0.1,)),
    "gain_error_clocks_off": Kind(_BOTH + "gains {:g} dB", (3.0,)),
    "num_nodes": Kind("{:g} nodes", (20.0, 15.0, 10.0, 8.0, 5.0)),
    # Of few nodes.
    "late_node": Kind(f"{FEW_NODES} nodes, one {{:g}} ms late", (0.2,), 1000),  # s
    "snr_db": Kind("SNR {:g} dB", (-10.0, 0.0, 10.0, 20.0)),
    # Every image source of the late field, where the test split has a thinned one.
    "full_late_field": Kind("full late field", (1.0,)),
}


def rooms_of(condition: dict) -> str:
    """Get the rooms of a condition in a record; older ones have bare rooms alone."""
    return condition.get("rooms", BARE)


def title(name: str, value: float, rooms: str = BARE) -> str:
    """Format a condition for print.

    Args:
        name: A key of `CONDITIONS`, `NONE`, or the name in a record of another version.
        value: Its value, in seconds, meters, nodes or decibels.
        rooms: One of `ROOMS`.
    """
    kind = CONDITIONS.get(name, Kind(f"{name} {{:g}}", ()))
    text = "as it is" if name == NONE else kind.title.format(kind.factor * value)
    return text if rooms == BARE else f"{text}, {rooms}"


def place(
    name: str, value: float, rooms: str = BARE
) -> tuple[int, int, str, float, int]:
    """Give the sort key of a condition: in the order of `CONDITIONS`, others last.

    Its two kinds of rooms are side by side.
    """
    kinds = [NONE, *CONDITIONS]
    values = CONDITIONS[name].values if name in CONDITIONS else ()
    return (
        kinds.index(name) if name in kinds else len(kinds),
        values.index(value) if value in values else len(values),
        name,
        value,
        ROOMS.index(rooms),
    )
