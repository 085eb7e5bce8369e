"""Where the instructions of a compiled program come from, by the text of its HLO.

XLA notes for each instruction the name of the JAX operation and the stack of Python
calls; from these follow the source line in this package and what was called there.
"""

import collections
import dataclasses
import functools
import linecache
import math
import pathlib
import re
from collections.abc import Container

import uld_jax

PACKAGE = str(pathlib.Path(uld_jax.__file__).parent)
CONTAINERS = frozenset({"while", "conditional", "call", "async-start", "async-done"})
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(\S+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?(\S+) = (.*)$")
_OPCODE = re.compile(r"(?<=[\s)}\]])([a-z][a-z0-9-]*)\(")
_ARRAY = re.compile(r"\b(pred|bf|[a-z])(\d*)\w*\[([\d,]*)\]")
_OPERANDS = re.compile(r"%([\w.-]+)")
_CALLEE = re.compile(r"(?:self\.)?([A-Za-z_][\w.]*)\(")
_THIN = frozenset({"linear.py", "dropout.py", "grid_convs.py", "lstm.py"})
_FEW = 5  # Instructions without a name of their own that are passed through.


@dataclasses.dataclass(frozen=True)
class Frame:
    """One call on the stack.

    Attributes:
        file: Path of the source file.
        function: Name of the function, with those it is defined in.
        line: Line of the call.
        column: Column where the call's expression begins.
    """

    file: str
    function: str
    line: int
    column: int

    @property
    def ours(self) -> bool:
        """Whether it is in this package."""
        return self.file.startswith(PACKAGE)

    @property
    def callee(self) -> str:
        """What is called there, without `self`; "" where it is no plain call."""
        text = linecache.getline(self.file, self.line)
        # A column counts bytes; so far our source lines are ASCII up to there.
        found = _CALLEE.match(text[self.column :])
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where an instruction comes from.

    Attributes:
        opcode: Of the instruction: "fusion", "dot", "custom-call".
        name: Name of the JAX operation with what it is in:
            "jit(train_step)/jvp()/dot_general"; "" where XLA has none.
        frames: Stack of Python calls, the outermost first.
        of_operand: Whether it has no name, and this is its operand's: a copy.
        inside: Source lines of what is fused into it, the most frequent first.
        operands: Names of its operands.
        size: Bytes of its result.
    """

    opcode: str
    name: str
    frames: tuple[Frame, ...] = ()
    of_operand: bool = False
    inside: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    size: int = 0

    @property
    def operation(self) -> str:
        """Last part of the name."""
        return self.name.split(";")[0].rpartition("/")[2]

    @property
    def own_frames(self) -> tuple[Frame, ...]:
        """The frames in this package, the outermost first."""
        return tuple(frame for frame in self.frames if frame.ours)

    @property
    def calls(self) -> tuple[str, ...]:
        """What was called on the way, within this package and from it."""
        return tuple(frame.callee for frame in self.own_frames if frame.callee)

    @property
    def functions(self) -> tuple[str, ...]:
        """All functions on the way."""
        return tuple(frame.function.rpartition("<locals>.")[2] for frame in self.frames)

    @property
    def place(self) -> str:
        """Source line in this package, as "adhoc.py:99"; "" without.

        Of a thin layer around others' functions, the line that calls it.
        """
        lines = [
            (pathlib.PurePath(frame.file).name, frame.line) for frame in self.own_frames
        ]
        lines = [line for line in lines if line[0] not in _THIN] or lines
        return f"{lines[-1][0]}:{lines[-1][1]}" if lines else ""


def read(text: str) -> dict[str, Origin]:
    """Return the origins of a compiled program's instructions by their names.

    Args:
        text: What `compiled.as_text()` returned.
    """
    stacks = _stacks(text)
    found, roots, calls, operands, sizes = {}, {}, {}, {}, {}
    inside = collections.defaultdict(collections.Counter)
    computation = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        if not (match := _INSTRUCTION.match(line)):
            continue
        is_root, name, rest = match.groups()
        body = rest.partition(", metadata=")[0]
        opcode = _OPCODE.search(" " + body)
        found[name] = _origin(opcode[1] if opcode else "", rest, stacks)
        sizes[name] = _bytes(body[: opcode.start()] if opcode else "")
        inside[computation][found[name].place] += 1
        operands[name] = _OPERANDS.findall(body.partition("(")[2])
        if is_root:
            roots[computation] = name
        if called := re.search(r"calls=%?([\w.-]+)", body):
            calls[name] = called[1]
    named = {}
    for name in found:
        origin = _named(name, found, roots, calls, operands, _FEW)
        places = [place for place, _ in inside[calls.get(name)].most_common() if place]
        named[name] = dataclasses.replace(
            origin,
            inside=tuple(places),
            operands=tuple(operands[name]),
            size=sizes[name],
        )
    return named


def moved(known: dict[str, Origin], name: str) -> int:
    """Return the bytes that an instruction reads and writes, whether cached or not."""
    if name not in known:
        return 0
    one = known[name]
    return one.size + sum(known[o].size for o in one.operands if o in known)


def source_of(known: dict[str, Origin], name: str, opcodes: Container[str]) -> str:
    """Return the nearest instruction of some opcodes that one uses; "" without.

    Args:
        known: What `read` returned.
        name: The instruction that uses it.
        opcodes: What to look for.
    """
    front = [name]
    for _ in range(_FEW):
        front = [
            operand
            for user in front
            for operand in (known[user].operands if user in known else ())
        ]
        for one in front:
            if one in known and known[one].opcode in opcodes:
                return one
    return ""


def _origin(opcode: str, rest: str, stacks) -> Origin:
    name = re.search(r'op_name="([^"]*)"', rest)
    frame = re.search(r"stack_frame_id=(\d+)", rest)
    if frame:
        return Origin(opcode, name[1] if name else "", stacks(int(frame[1])))
    # As older versions of XLA write it: the innermost frame alone.
    place = re.search(r'source_file="([^"]*)" source_line=(\d+)', rest)
    frames = (Frame(place[1], "", int(place[2]), 0),) if place else ()
    return Origin(opcode, name[1] if name else "", frames)


def _bytes(kind: str) -> int:
    """Return the size of a result by its type, as "(f32[8,64]{1,0}, u32[])"."""
    total = 0
    for name, bits, shape in _ARRAY.findall(kind):
        size = 1 if name == "pred" else -(-int(bits or 8) // 8)
        total += size * math.prod(int(length) for length in shape.split(",") if length)
    return total


def _named(name, found, roots, calls, operands, tries: int) -> Origin:
    """Return an origin, that of a fusion's root or an operand if it has no name."""
    one = found.get(name, Origin("", ""))
    if (one.name and one.frames) or not tries:
        return one
    inner = roots.get(calls.get(name))
    for other in filter(None, [inner, *operands.get(name, [])]):
        origin = _named(other, found, roots, calls, operands, tries - 1)
        if origin.frames:
            return dataclasses.replace(
                origin,
                opcode=one.opcode,
                name=one.name or origin.name,
                of_operand=not one.name and other != inner,
            )
    return one


def _stacks(text: str):
    """Return a function from the number of a frame to the stack that ends with it."""
    tables = {title: _table(text, title) for title in _TABLES}
    numbers = {
        title: {
            key: [int(n) for n in re.findall(r"=(\d+)", row)] for key, row in t.items()
        }
        for title, t in tables.items()
        if title in ("FileLocations", "StackFrames")
    }
    frames = numbers["StackFrames"]
    # Some versions of XLA write a parent's number plus one.
    shift = int(any(row[1] >= key for key, row in frames.items() if len(row) > 1))

    @functools.cache
    def stack(number: int) -> tuple[Frame, ...]:
        if number not in frames:
            return ()
        location, *parent = frames[number]
        file, function, line, *more = numbers["FileLocations"][location]
        column = more[1] if len(more) > 1 else 0
        frame = Frame(
            tables["FileNames"][file].strip('"'),
            tables["FunctionNames"][function].strip('"'),
            line,
            column,
        )
        return (*(stack(parent[0] - shift) if parent else ()), frame)

    return stack


def _table(text: str, title: str) -> dict[int, str]:
    """Return the rows of one of the tables before the program, by number."""
    _, found, rest = text.partition(f"\n{title}\n")
    rows = {}
    for line in rest.partition("\n\n")[0].splitlines() if found else ():
        number, _, row = line.partition(" ")
        rows[int(number)] = row
    return rows
