"""The training of several runs in one program: each has its own folder and its own end.

What is done once for all are steps and evaluations. Rates, early stops, best states,
checkpoints and records are each run's own, and the same as if it were alone.
"""

import time
from collections.abc import Callable, Sequence

import jax

from uld_jax import (
    errors,
    profiling,
    progress,
    skipped_steps,
    stopping,
    together_program,
    training_loop,
)


class Together:
    """The training of a group of runs.

    Args:
        members: As `together_program.Member`, those of one seed together; the runs
            differ in seed and resolution.
        stop_flag: What says when to stop.
        profiler: What traces some steps.
    """

    def __init__(
        self,
        members: Sequence,
        stop_flag: stopping.StopFlag,
        profiler: profiling.Profiler,
    ):
        self._members = list(members)
        self._stop_flag, self._profiler = stop_flag, profiler
        self._outcomes: dict[str, dict | Exception] = {}

    def complete(self) -> dict[str, dict | Exception]:
        """Train what is left of all runs, and test each.

        Returns:
            By the name of its folder each run's record, or the error it has met with,
            which the others survive.

        Raises:
            stopping.Stopped: If it was time to stop; all states are saved.
        """
        members = self._each(
            self._members, lambda member: member.run.begin(member.saved)
        )
        program = None
        while members:
            if over := [member for member in members if member.run.is_trained]:
                self._test(over, program)
                members = [member for member in members if member not in over]
                continue
            # Usually all stand at the same step. A program can only go on from one, so
            # who is behind catches up first.
            here, *later = sorted(set(map(_step, members)))
            part = [member for member in members if _step(member) == here]
            if program is None or program.members != part:
                program = together_program.Program(part)
                if len(part) > 1:
                    progress.say(f"In one program: {', '.join(map(_name, part))}")
                program.load()
            left = self._train_epoch(program, later[0] if later else None)
            members = [one for one in members if one in left or one not in part]
        return self._outcomes

    def _train_epoch(self, program, until: int | None) -> list:
        """Do the rest of an epoch, and return the runs that can go on.

        Args:
            program: Theirs.
            until: Step at which others wait, to go on together from there.
        """
        live = self._train_steps(program, until)
        if not live:
            return live
        started = time.monotonic()
        program.fetch()
        if _step(live[0]) % live[0].run.data.steps_per_epoch:
            return live  # In the middle of the epoch, where others wait.
        found = dict(zip(program.members, program.evaluate("validation"), strict=True))

        def end_epoch(member):
            if isinstance(found[member], FloatingPointError):
                raise found[member]
            member.run.end_epoch(
                member.saved, member.board, found[member], started, len(program.runs)
            )

        live = self._each(live, end_epoch)
        program.turn()
        self._check_stop(live)
        return live

    def _train_steps(self, program, until: int | None) -> list:
        """Do the steps that an epoch still has; return the runs that can go on."""
        runs, live = program.runs, program.members
        rules, num_steps = runs[0].config.train, runs[0].data.steps_per_epoch
        epoch = runs[0].history.epoch
        before = epoch * num_steps
        first = int(runs[0].state.step) - before
        size = rules.batch_size * len(runs)
        batches = zip(
            *(data.training_batches(epoch, first) for data in program.data), strict=True
        )
        title = f"Epoch {epoch + 1} of {rules.epochs}{program.title}"
        with progress.Progress(
            title, num_steps * size, "examples", done=first * size
        ) as bar:
            since = time.monotonic()
            for step, batch in enumerate(batches, start=first + 1):
                with self._profiler.step(before + step):
                    program.step(batch)
                if step % training_loop.STEPS_BETWEEN_SYNCS == 0 or step == num_steps:
                    program.look()
                    live = self._each(live, lambda member: member.run.look())
                bar.update(size)
                now = time.monotonic()
                for run in runs:
                    run.history.epoch_seconds += now - since
                since = now
                if not live:
                    break
                if step < num_steps:
                    self._check_stop(live, program)
                    if step % rules.checkpoint_steps == 0:
                        live = self._save(live, program)
                    if before + step == until:
                        break
        return live

    def _test(
        self,
        members: list,
        program,
    ) -> None:
        """Test the best networks of runs that are trained.

        Args:
            members: The runs.
            program: What they were trained in, perhaps with others.
        """
        best = {}

        def find(member):
            best[member] = jax.device_get(member.run.best(member.saved))

        found = self._each(members, find)
        if not found:
            return
        if program is None or found != program.members:
            program = together_program.Program(found)
        items = [best[member] for member in found]
        results = program.evaluate("test", items)
        planes = program.distributions(items)
        told = dict(zip(found, zip(results, planes, strict=True), strict=True))

        def end(member):
            result, plane = told[member]
            if isinstance(result, FloatingPointError):
                raise errors.InputError(str(result))
            member.saved.wait()
            self._outcomes[_name(member)] = member.run.end(result, plane)

        self._each(found, end)

    def _each(
        self,
        members: Sequence,
        operation: Callable,
    ) -> list:
        """Do something with each run; return those that can go on.

        One that cannot leaves the others: it has diverged, or an error of its own.
        """
        going_on = []
        for member in members:
            try:
                try:
                    operation(member)
                except (skipped_steps.Diverged, FloatingPointError) as error:
                    self._outcomes[_name(member)] = member.run.diverge(error)
                    continue
            except (errors.InputError, OSError) as error:
                progress.say(f"{_name(member)} leaves the others: {error}")
                self._outcomes[_name(member)] = error
                continue
            going_on.append(member)
        return going_on

    def _save(self, live: list, program) -> list:
        program.fetch()
        return self._each(live, lambda member: member.run.save_last(member.saved))

    def _check_stop(
        self,
        live: list,
        program=None,
    ) -> None:
        """Raise if it is time to stop, with all states saved.

        Args:
            live: The runs that go on.
            program: Theirs, if the checkpoints do not hold their states already.
        """
        if live and (reason := self._stop_flag.reason()):
            if program:
                live = self._save(live, program)
            self._each(live, lambda member: member.saved.wait())
            raise stopping.Stopped(reason)


def _name(member) -> str:
    return member.run.workdir.name


def _step(member) -> int:
    """Return where a run stands, as of when its state was fetched last."""
    return int(member.run.state.step)
