"""Time by instruction of a compiled program, from a trace of JAX's profiler.

Of what is at work at one moment on several threads or streams each gets its share, so
that these times add up to the time in which anything was; the time of threads, summed,
is told apart.
"""

import collections
import dataclasses
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Container

import jax

# Lines of a device that tell of other lines' events once more.
_SUMMARIES = ("Steps", "XLA Modules", "XLA TraceMe", "Framework", "Source", "Launch")


@dataclasses.dataclass
class Cost:
    """What an instruction took in all traced steps.

    Attributes:
        wall: Seconds, shared with what was at work at the same time.
        threads: Seconds, summed over threads or streams.
        events: How often it was seen.
    """

    wall: float = 0.0
    threads: float = 0.0
    events: int = 0


@dataclasses.dataclass(frozen=True)
class Trace:
    """A trace of some steps.

    Attributes:
        steps: Number of steps.
        seconds: That they took, with the profiler at work.
        costs: By instruction.
        waited: Seconds in which nothing was seen at work, by the instruction that came
            next.
    """

    steps: int
    seconds: float
    costs: dict[str, Cost]
    waited: dict[str, float]

    @property
    def busy(self) -> float:
        """Seconds in which anything was seen at work."""
        return sum(cost.wall for cost in self.costs.values())


def trace(step: Callable, steps: int, containers: Container[str] = ()) -> Trace:
    """Do some steps, and return what their instructions took.

    Args:
        step: Does a step and waits for it.
        steps: How many.
        containers: Instructions that only hold others, such as loops; they count only
            while nothing else is at work.

    Raises:
        RuntimeError: If the profiler saw no instruction.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # Its calls would fill the trace.
    with tempfile.TemporaryDirectory() as folder:
        jax.profiler.start_trace(folder, profiler_options=options)
        try:
            started = time.perf_counter()
            for _ in range(steps):
                step()
            seconds = time.perf_counter() - started
        finally:
            jax.profiler.stop_trace()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        lines = _events(jax.profiler.ProfileData.from_file(str(file)))
    if not any(lines):
        raise RuntimeError("the profiler has seen no instruction of a program")
    return Trace(steps, seconds, *_shared(lines, containers))


def _events(data) -> list[list[tuple[float, float, str]]]:
    """Return begin, end and instruction of each event, by line, in nanoseconds."""
    planes = list(data.planes)
    on_device = [plane for plane in planes if plane.name.startswith("/device:")]
    lines = []
    for plane in on_device or planes:
        of_plane = [
            line for line in plane.lines if not line.name.startswith(_SUMMARIES)
        ]
        whole = [line for line in of_plane if line.name == "XLA Ops"]
        for line in whole or of_plane:
            lines.append(_of_line(line, bool(on_device)))
    return [line for line in lines if line]


def _of_line(line, on_device: bool) -> list[tuple[float, float, str]]:
    found = []
    for event in line.events:
        name = dict(event.stats).get("hlo_op")
        if name is None and not on_device:
            continue  # What a CPU's threads do besides.
        name = name or re.sub(r"_(\d+)$", r".\1", event.name)
        found.append((event.start_ns, event.end_ns, name.removeprefix("%")))
    return found


def _shared(lines: list, containers: Container[str]) -> tuple[dict, dict]:
    """Return what each instruction took, of events that may overlap, and the gaps."""
    changes = []
    waited = collections.defaultdict(float)
    costs = collections.defaultdict(Cost)
    for number, events in enumerate(lines):
        for begin, end, name in events:
            if end > begin:
                # Ends before begins; of begins, the outer one first.
                changes.append((begin, 1, -end, number, name))
                changes.append((end, 0, -begin, number, name))
            costs[name].events += 1
    changes.sort()
    stacks = [[] for _ in lines]
    before = changes[0][0]
    for now, begins, _, number, name in changes:
        if now > before and not any(stacks):
            waited[name] += 1e-9 * (now - before)
        _account(costs, stacks, 1e-9 * (now - before), containers)
        before = now
        if begins:
            stacks[number].append(name)
        else:
            last = len(stacks[number]) - 1 - stacks[number][::-1].index(name)
            del stacks[number][last]
    return dict(costs), dict(waited)


def _account(costs, stacks, seconds: float, containers: Container[str]) -> None:
    """Share some seconds among what is at work, the innermost on each line."""
    inner = [stack[-1] for stack in stacks if stack]
    at_work = [name for name in inner if name not in containers] or inner
    for name in at_work:
        costs[name].wall += seconds / len(at_work)
        costs[name].threads += seconds
