"""Holding a race: each contestant a process, of which one runs at a time."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from race import data

from uld_jax import errors

_BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
_BATCHES = 4  # Of examples held: they come again and again.
_FEWEST_TURNS = 5


class RaceError(errors.InputError):
    """A race that cannot be held, with the reason."""


def _environment(folder: pathlib.Path) -> dict[str, str]:
    """Return the environment of all processes: nothing is compiled before."""
    paths = (str(_BENCHMARKS), os.environ.get("PYTHONPATH"))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        # Memory of a GPU as it is needed: there are others on it.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # PyTorch's threads wait asleep: alone that costs a few per cent, and beside
        # other work barriers at which they spin made it 3 to 10 times as slow.
        "OMP_WAIT_POLICY": "passive",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    return environment


class Contestant:
    """A process that trains when told, and is stopped meanwhile.

    Args:
        kind: One that `race.contestant` knows.
        folder: As `prepare` left it.

    Attributes:
        kind: As given.
        platform: "cpu" or "gpu", as it says.
        device: Name of the device, as it says.
        seconds_to_first_step: From the start of the process; after `first_step`.

    Raises:
        RaceError: If it ends.
    """

    def __init__(self, kind: str, folder: pathlib.Path):
        self.kind = kind
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "race.contestant", kind, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(folder),
            process_group=0,  # To be stopped with its workers.
        )
        try:
            facts = self._answer()
            self.platform, self.device = facts["platform"], facts["device"]
        except BaseException:  # Nobody else could end it.
            self.end()
            raise

    def first_step(self) -> None:
        """Wait for the first step, which comes unasked, and stop the process.

        Raises:
            RaceError: If the process ends.
        """
        self._answer()
        self.seconds_to_first_step = time.perf_counter() - self._started
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        os.killpg(self._process.pid, number)

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RaceError(f"{self.kind} ended with exit code {code}; see above")
        return json.loads(line)

    def turn(self, steps: int) -> dict:
        """Do some steps.

        Returns:
            `seconds` and `cpu_seconds`, these of all threads and workers; `loss`, and
            `device_memory`, the most bytes at once, None on a CPU.

        Raises:
            RaceError: If the process ends.
        """
        before = self._cpu_seconds()
        self._signal(signal.SIGCONT)
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer | {"cpu_seconds": self._cpu_seconds() - before}

    def _processes(self) -> list[str]:
        """Return the numbers of the process and its workers."""
        pid = self._process.pid
        workers = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [str(pid), *workers]

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in self._processes():
            facts = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
            ticks += sum(
                map(int, facts.split()[11:13])
            )  # In programs and in the kernel.
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the most bytes of memory at once, and what its workers add to them."""
        pid, *workers = self._processes()
        return _bytes(pid, "status", "VmHWM") + sum(
            _bytes(worker, "smaps_rollup", "Pss") for worker in workers
        )

    def end(self) -> None:
        """End the process and its workers."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
        self._process.communicate()


def _bytes(pid: str, file: str, key: str) -> int:
    lines = pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(
        1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")
    )


def prepare(folder: pathlib.Path, entry: dict, with_torch: bool) -> None:
    """Write what a race needs into a folder, and compare the networks.

    Args:
        folder: An empty one.
        entry: What is raced: see `run.entry`.
        with_torch: Whether there is PyTorch to compare with.

    Raises:
        RaceError: If the networks are not equal.
    """
    network = entry["network"]
    (folder / "entry.json").write_text(json.dumps(entry))
    examples = data.make(
        _BATCHES * entry["batch_size"],
        network["num_nodes"],
        network["num_sources"],
        entry["num_samples"],
    )
    data.save(folder, examples)
    if not with_torch:
        return
    found = subprocess.run(
        [sys.executable, "-m", "race.equality", folder],
        env=_environment(folder),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if found.returncode:
        raise RaceError("the networks could not be shown to be equal; see above")
    say(f"largest differences: {found.stdout.strip()}")


def hold(
    folder: pathlib.Path,
    kinds: tuple[str, ...],
    seconds: float,
    turn_seconds: float,
) -> list[dict]:
    """Return what each contestant showed.

    Args:
        folder: As `prepare` left it.
        kinds: The contestants.
        seconds: For all turns; starting comes on top.
        turn_seconds: For a turn, about.

    Returns:
        For each its `kind`, `device`, `seconds_to_first_step` and `memory`, and of each
        turn `steps`, `seconds`, `cpu_seconds` and what else `Contestant.turn` returns.

    Raises:
        RaceError: If one ends, or is not where the first is.
    """
    running, turns = [], {}
    try:
        for kind in kinds:
            say(f"starting {kind}")
            running.append(Contestant(kind, folder))
            check_devices(running[0], running[-1])
            running[-1].first_step()
        steps = {}
        for one in running:
            one.turn(2)
            each = one.turn(2)["seconds"] / 2
            steps[one.kind], turns[one.kind] = max(2, round(turn_seconds / each)), []
        say("racing")
        ends = time.monotonic() + seconds
        number = 0
        while number < _FEWEST_TURNS or time.monotonic() < ends:
            for one in reversed(running) if number % 2 else running:
                count = steps[one.kind]
                turns[one.kind].append(one.turn(count) | {"steps": count})
            number += 1
        return [
            {
                "kind": one.kind,
                "device": one.device,
                "seconds_to_first_step": one.seconds_to_first_step,
                "memory": one.memory(),
                "turns": turns[one.kind],
            }
            for one in running
        ]
    finally:
        for one in running:
            one.end()


def check_devices(first: Contestant, other: Contestant) -> None:
    """Refuse a race of a CPU against a GPU.

    Raises:
        RaceError: If the two are not on the same platform.
    """
    if first.platform != other.platform:
        raise RaceError(
            f"{first.kind} is on {first.platform} ({first.device}), {other.kind} on "
            f"{other.platform} ({other.device}): no race. For a GPU install both for "
            "it, pip install '.[gpu,race]' with a PyTorch built with CUDA; for a CPU "
            "set JAX_PLATFORMS=cpu and CUDA_VISIBLE_DEVICES= (empty)"
        )


def end_by_exception() -> None:
    """Have SIGTERM end this process by an exception: contestants are ended, too."""

    def end(number: int, _frame) -> None:
        signal.signal(number, signal.SIG_IGN)  # What ends them is not disturbed.
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def say(text: str) -> None:
    """Tell how it goes, on standard error."""
    print(text, file=sys.stderr, flush=True)
