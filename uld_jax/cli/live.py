"""The flags and the work of `uld_jax locate --live`: positions of sound that arrives."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors

_FORMAT = "s16le"
_FORMATS = (_FORMAT, "s24le", "s32le", "f32le")  # `live.FORMATS`, which needs NumPy.

FLAGS = (
    Flag(
        "live",
        "bool",
        "Localize sound that arrives: raw PCM from standard input, or from --device. "
        "Prints a line of JSON for each window (docs/streaming.md).",
    ),
    Flag("nodes", "string", "With --live: table of the nodes, in order of channels."),
    Flag("sample_rate", "float", "With --live: in Hz, 8000 or more.", least=0.0),
    Flag(
        "sample_format",
        "string",
        f"With --live: {', '.join(_FORMATS)}, interleaved. By default {_FORMAT}.",
    ),
    Flag(
        "room",
        "string",
        "With --live: sides in meters, such as 6x4.5x2.7, or their table; by default "
        "room.csv beside --nodes.",
    ),
    Flag(
        "device",
        "string",
        "With --live: record from this device by sounddevice, by name or number.",
    ),
    Flag("window", "float", "With --live: seconds of each window; by default 2."),
    Flag(
        "hop",
        "float",
        "With --live: seconds between windows; by default --window.",
    ),
)


def check(values: Any, others: Iterable[str]) -> None:
    """Check that the flags fit together.

    Args:
        values: Of all flags.
        others: What else is given that does not go with --live.

    Raises:
        InputError: If they do not.
    """
    if not values.live:
        for flag in FLAGS[1:]:
            if (value := getattr(values, flag.name)) is not None:
                raise errors.InputError(
                    f"--{flag.name} is {value!r}, which goes with --live alone; pass "
                    "--live, or remove it"
                )
        return
    for other in others:
        raise errors.InputError(f"--live does not go with {other}; remove one of them")
    for name, fix in (("nodes", "my_lab/nodes.csv"), ("sample_rate", "16000")):
        if getattr(values, name) is None:
            raise errors.InputError(f"--live needs --{name}; pass --{name}={fix}")
    if values.sample_format not in (None, *_FORMATS):
        raise errors.InputError(
            f"--sample_format is {values.sample_format!r}; give one of "
            f"{', '.join(_FORMATS)}"
        )
    if values.sample_format and values.device is not None:
        raise errors.InputError(
            f"--sample_format is {values.sample_format!r}, and --device gives its own; "
            "remove one of them"
        )
    if values.device is None and (sys.stdin is None or sys.stdin.isatty()):
        raise errors.InputError(
            "--live: standard input is a terminal, or closed; pipe raw PCM into it, or pass "
            "--device"
        )


def main(values: Any) -> None:
    """Localize until the input ends, somebody interrupts, or nobody reads any more."""
    try:
        _run(values)
    except KeyboardInterrupt:
        _say("interrupted")
    except BrokenPipeError:
        # What is buffered cannot be written when the interpreter ends, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(values) -> None:
    from uld_jax.audio import array_tables

    with contextlib.redirect_stdout(sys.stderr):  # There are positions alone on it.
        room, nodes = array_tables.read(values.nodes, values.room)
    order = array_tables.order_channels(nodes)

    from uld_jax.localization import stream as stream_lib
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    seconds = {name: getattr(values, name) for name in ("window", "hop")}
    stream = stream_lib.Stream(
        [node.position for node in nodes.values()],
        values.sample_rate,
        room,
        **{name: value for name, value in seconds.items() if value is not None},
    )
    blocks = _open(values, len(nodes))
    around = "no room" if room is None else f"room {'x'.join(f'{s:g}' for s in room)} m"
    _say(f"{len(nodes)} nodes, {around}; compiling, at first for half a minute")
    stream.warm_up()
    _say(f"ready: {len(nodes)} channels at {values.sample_rate:g} Hz")
    for block in blocks:
        try:
            found = stream.push(block[order])
        except errors.InputError as error:
            fix = "" if values.device else ", or pass the --sample_format that it has"
            raise errors.InputError(f"the input cannot be used: {error}{fix}") from None
        _print(found, list(nodes))
    _print(stream.flush(), list(nodes))


def _open(values, num_channels: int):
    """Open the pipe or the device; nothing is read before the first block is."""
    from uld_jax.audio import live

    if values.device is not None:
        return live.read_device(values.device, num_channels, values.sample_rate, _say)
    sample_format = values.sample_format or _FORMAT
    return live.read_pcm(
        sys.stdin.buffer, num_channels, values.sample_rate, sample_format, _say
    )


def _print(found, names: list[str]) -> None:
    """Print a line for each answer, with the names of the columns of a table."""
    from uld_jax.localization import doubts

    for one in found:
        answer = one.localization
        x, y = answer.position
        facts = {
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "x": round(float(x), 3),
            "y": round(float(y), 3),
            "height": round(answer.height, 2) if math.isfinite(answer.height) else None,
            "radius_90": round(float(answer.radius_90), 3),
            "determined": bool(answer.determined),
            "mass": round(float(answer.modes[0].mass), 3),
            "reasons": list(doubts.with_names(answer.reasons, names)),
        }
        print(json.dumps(facts, allow_nan=False), flush=True)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
