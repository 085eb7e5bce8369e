"""Checks that rooms can be rendered, before any work; on the host, in NumPy."""

from typing import Any

import numpy as np

from uld_jax.simulation import furniture, node_clocks
from uld_jax.simulation.rooms import RenderingError, RenderSettings, Rooms

_LEAST_DISTANCE = 1e-3  # Meters from a source to a node.
_UNIT = 1e-3  # By which the length of a direction may differ from one.


def check_rooms(
    rooms: Rooms, dry: Any, keys: Any, noise: Any, settings: RenderSettings
) -> None:
    """Check shapes, and that everything is finite and inside its room.

    Raises:
        RenderingError: With the first value that is wrong, and where it is.
    """
    _check_shapes(rooms, dry, keys, noise, settings)
    if rooms.furniture is not None:
        _check_furniture(
            rooms.furniture, rooms.node_positions.shape, rooms.source_positions.shape
        )
    positions = {"nodes": rooms.node_positions, "sources": rooms.source_positions}
    values = {"size": rooms.size, "t60": rooms.t60}
    if noise is not None:
        values["snr_db"] = rooms.snr_db
        if settings.noise == "point":
            positions["noise"] = rooms.noise_position[:, None]
    # Only signals on the host: checking those on a device would wait for it.
    signals = {"dry": dry, "noise": noise}
    values |= {k: v for k, v in signals.items() if isinstance(v, np.ndarray)}
    for name, value in {**values, **positions}.items():
        finite = value > -np.inf if name == "snr_db" else np.isfinite(value)
        if not finite.all():
            where = np.argwhere(~finite)[0].tolist()
            raise RenderingError(f"{name} holds {value[tuple(where)]} at {where}")
    if not (rooms.size > 0).all():
        raise RenderingError(f"size is {rooms.size.tolist()} m; sides must be positive")
    for name, value in positions.items():
        outside = (value < 0) | (value > rooms.size[:, None])
        if outside.any():
            room, number, _ = np.argwhere(outside)[0]
            raise RenderingError(
                f"{name} {number} of room {room} is at "
                f"{value[room, number].round(4).tolist()}, outside its "
                f"{rooms.size[room].round(4).tolist()} m"
            )
        if name != "nodes":
            offset = value[:, :, None] - rooms.node_positions[:, None]
            near = np.linalg.norm(offset, axis=-1) < _LEAST_DISTANCE
            if near.any():
                room, number, node = np.argwhere(near)[0]
                raise RenderingError(
                    f"{name} {number} of room {room} is less than "
                    f"{_LEAST_DISTANCE} m from node {node}"
                )


def _check_shapes(rooms: Rooms, dry, keys, noise, settings: RenderSettings) -> None:
    """Check that all shapes agree."""
    for name in ("node_positions", "source_positions"):
        shape = np.shape(getattr(rooms, name))
        if len(shape) != 3 or shape[2] != 3 or not shape[1]:
            raise RenderingError(
                f"{name} has shape {shape}; it must be [B, number, 3], at least one"
            )
    num_rooms, num_sources, _ = np.shape(rooms.source_positions)
    if not num_rooms:
        raise RenderingError("the batch has no rooms; give at least one")
    if noise is not None and rooms.snr_db is None:
        raise RenderingError("noise is given without snr_db; give both")
    if noise is not None and settings.noise == "point" and rooms.noise_position is None:
        raise RenderingError("noise from a point needs noise_position")
    wanted = {
        "size": (rooms.size, (num_rooms, 3)),
        "t60": (rooms.t60, (num_rooms,)),
        "node_positions": (rooms.node_positions[..., 0, :], (num_rooms, 3)),
        "noise_position": (rooms.noise_position, (num_rooms, 3)),
        "snr_db": (rooms.snr_db, (num_rooms,)),
        "keys": (keys, (num_rooms,)),
        "dry": (dry, (num_rooms, num_sources, settings.num_dry)),
        "noise": (noise, (num_rooms, settings.num_dry)),
    }
    for name, (value, shape) in wanted.items():
        if value is not None and np.shape(value) != shape:
            raise RenderingError(
                f"{name} has shape {np.shape(value)}; it must be {shape}"
            )


def _check_furniture(
    inside: furniture.Furniture, nodes: tuple[int, ...], sources: tuple[int, ...]
) -> None:
    """Check shapes and ranges of furniture, given those of the positions."""
    num_rooms, num_nodes, _ = nodes
    drift, offset = node_clocks.LARGEST_DRIFT, node_clocks.LARGEST_OFFSET
    known = {  # Shape beyond the rooms, least and largest value.
        "displacement": ((), 0.0, 10.0),
        "loss": ((), 0.0, 1.0),
        "absorption": ((6,), 0.0, 1.0),
        "poles": ((6,), 0.0, 0.99),
        "facing": (sources[1:], -1.0 - _UNIT, 1.0 + _UNIT),
        "behind_db": ((), 0.0, 100.0),
        "gains_db": ((num_nodes,), -100.0, 100.0),
        "drifts_ppm": ((num_nodes,), -drift, drift),
        "offsets": ((num_nodes,), -offset, offset),
        "side_errors": ((3,), -10.0, 10.0),
    }
    for name, (rest, least, largest) in known.items():
        value = getattr(inside, name)
        if value is None:
            continue
        if np.shape(value) != (num_rooms, *rest):
            raise RenderingError(
                f"furniture's {name} has shape {np.shape(value)}; it must be "
                f"{(num_rooms, *rest)}"
            )
        wrong = ~((value >= least) & (value <= largest))
        if wrong.any():
            raise RenderingError(
                f"furniture's {name} holds {value[wrong][0]:g}; give {least:g} to "
                f"{largest:g}"
            )
    for one, other in (("facing", "behind_db"), ("poles", "absorption")):
        if getattr(inside, one) is not None and getattr(inside, other) is None:
            raise RenderingError(f"furniture has {one} without {other}; give both")
    if inside.facing is not None:
        length = np.linalg.norm(inside.facing, axis=-1)
        if (wrong := np.abs(length - 1) > _UNIT).any():
            raise RenderingError(
                f"furniture's facing has a vector of length {length[wrong][0]:g}; give "
                "unit vectors"
            )
