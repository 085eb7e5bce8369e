"""The last state of a run, and its best by validation MAE: whole, or said to be damaged.

A step lies in `last/STEP` or `best/STEP`, as Orbax writes it, with the SHA-256 sums of
its files and of its arrays. A process that is killed leaves it whole or not at all.
Parameters are an item of their own, to be read alone.
"""

import contextlib
import copy
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from uld_jax.runtime import errors, progress
from uld_jax.storage import checksums, integrity, step_folders

_KINDS = ("last", "best")
_KEPT = 2  # Of each kind.
_DAMAGED = "damaged"  # The folder of steps that were put aside.


class CheckpointError(errors.InputError):
    """A checkpoint that cannot be used or saved, with the reason and the remedy."""


class Checkpoints:
    """Saves and restores states, dictionaries of arrays, with a JSON note.

    Use as a context manager: leaving it waits for what is being saved. Of several
    processes one writes; each saves and restores by itself.

    Args:
        workdir: Folder of the run.
        writes: Whether to write, move and delete there; without, `save` does nothing.
    """

    def __init__(self, workdir: pathlib.Path, writes: bool = True):
        self._workdir, self._writes = workdir, writes
        self._thread = futures.ThreadPoolExecutor(1, "checkpoints")
        self._saving: futures.Future | None = None
        if writes:
            for kind in _KINDS:
                step_folders.clean(workdir / kind)

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, trace):
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            progress.log(f"Besides: {failure}")
        finally:
            self._thread.shutdown()

    def wait(self) -> None:
        """Wait for what is being saved.

        Raises:
            CheckpointError: If the disk did not take it.
        """
        if self._saving is not None:
            error = self._saving.exception()
            self._saving = None
            if error is not None:
                raise error

    def save(self, kind: str, step: int, state: dict, note: dict) -> None:
        """Save a state under a step, in place of what is there of this step or later.

        The arrays are copied at once and saved in the background; "best" is waited for.

        Raises:
            CheckpointError: If the disk did not take it, or the one before.
        """
        if not self._writes:
            return
        self.wait()
        # Copies: the buffers are donated to the caller's next step.
        state = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(
            _save, self._workdir / kind, step, state, copy.deepcopy(note)
        )
        if kind == "best":
            # Whoever finds the last state must find the best one it speaks of.
            self.wait()

    def steps(self, kind: str) -> list[int]:
        """Return the steps that there are, the newest first, damaged or not."""
        self.wait()
        return sorted(step_folders.steps(self._workdir / kind), reverse=True)

    def newest_good(self, kind: str) -> int | None:
        """Return the newest step that is as it was written; None if there are none.

        Those that are damaged are told, and put aside if there is a good one.

        Raises:
            CheckpointError: If there are steps and none is good, or if a newer uld_jax
                has written one.
        """
        self.wait()
        found = self._newest(kind, integrity.verified)
        return None if found is None else found[0]

    def restore(
        self, kind: str, like: dict, step: int | None = None
    ) -> tuple[dict, dict] | None:
        """Return a state, as NumPy arrays, and its note; None if there is none.

        Args:
            kind: "last" or "best".
            like: Items to restore, with arrays of the right shapes and types.
            step: The step it was saved under; by default the newest that can be used.

        Raises:
            CheckpointError: If the step, or any if none is asked for, is damaged, has
                other arrays, or parameters that are not finite; or if a newer uld_jax
                has written it.
        """

        def read(path: pathlib.Path) -> tuple[dict, dict]:
            content = integrity.verified(path, like)
            trees, note = _load(path, content, tuple(like))
            return {
                item: integrity.shaped(like[item], trees.get(item)) for item in like
            }, note

        self.wait()
        if step is None:
            found = self._newest(kind, read)
            return None if found is None else found[1]
        there = step_folders.steps(self._workdir / kind)
        if step not in there:
            raise CheckpointError(
                f"{str(self._workdir / kind)!r} holds no step {step}; it holds "
                f"{', '.join(map(str, there)) or 'none'}"
            )
        return _told(read, there[step])

    def step_of_epoch(self, kind: str, epoch: int) -> int | None:
        """Return the step of the state whose note names an epoch; None without one.

        Raises:
            CheckpointError: If it may be one that is damaged, or that a newer uld_jax
                has written.
        """
        self.wait()
        return _step_of_epoch(self._workdir / kind, epoch)

    def _newest(self, kind: str, read: Callable) -> tuple[int, Any] | None:
        """Return the newest step that can be read, and what was read."""
        folder, bad = self._workdir / kind, {}
        for path in step_folders.foreign(folder):
            progress.log(f"{str(path)!r} is no checkpoint; it is left alone")
        for step, path in reversed(step_folders.steps(folder).items()):
            try:
                found = read(path)
            except integrity.UnusableError as error:
                bad[step] = error
                progress.log("\n".join(error.shown(f"{folder}/{step}: ")))
                continue
            except checksums.NewerFormatError as error:
                raise CheckpointError(f"{str(path)!r} was {error}") from None
            for worse in bad:
                self._put_aside(folder, worse)
            return step, found
        if bad:
            raise _none_good(folder, bad)
        return None

    def _put_aside(self, folder: pathlib.Path, step: int) -> None:
        """Move a step out of the way, if this process may, and say so."""
        path = step_folders.steps(folder).get(step)
        if self._writes and path is not None:
            place = step_folders.put_aside(path, self._workdir / _DAMAGED)
            progress.log(f"{folder}/{step} was moved to {place}")


def read_arrays(
    workdir: pathlib.Path, epoch: int, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return items of the best state of an epoch, whatever their shapes, on the host.

    None if there is no such state. Items that hold no arrays are empty.

    Raises:
        CheckpointError: If it is damaged, or if parameters are not finite.
    """
    folder = workdir / "best"
    step = _step_of_epoch(folder, epoch)
    if step is None:
        return None
    path = step_folders.steps(folder)[step]
    trees, _ = _told(lambda path: _load(path, integrity.verified(path), names), path)
    return {name: trees.get(name, {}) for name in names}


def check(workdir: pathlib.Path) -> list[str]:
    """Return a line for each thing that is wrong with a run's checkpoints.

    Nothing is changed. Without a line, all can be restored, from the last bit on.
    """
    lines = []
    for kind in _KINDS:
        for step, path in step_folders.steps(workdir / kind).items():
            try:
                content = integrity.verified(path)
                items = {name.split("/")[0] for name in content["arrays"]}
                _load(path, content, tuple(sorted(items)))
            except integrity.UnusableError as error:
                lines += [f"{kind}/{step}: {reason}" for reason in error.reasons]
            except checksums.NewerFormatError as error:
                lines.append(f"{kind}/{step}: {error}")
    return lines


def _save(folder: pathlib.Path, step: int, state: dict, note: dict) -> None:
    """Save a state, and delete the steps that are no longer kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(step_folders.partial(folder, step), step, state, note)
        step_folders.put_in_place(folder, step)
    except Exception as error:
        with contextlib.suppress(OSError):
            step_folders.clean(folder)
        reason = _of_disk(error)
        if reason is None:
            raise
        there = list(step_folders.steps(folder))
        kept = f"{folder.name}/{there[-1]} is kept" if there else "none is there yet"
        raise CheckpointError(
            f"{str(folder / str(step))!r} could not be saved: {reason}; {kept}. Free "
            "space on its disk and start again"
        ) from error
    try:
        step_folders.keep(folder, step, _KEPT)
    except OSError as error:
        progress.log(f"{folder}: older steps could not be deleted: {error}")


def _of_disk(error: Exception) -> str | None:
    """Return why a disk did not take a state; None if it is not the disk's fault."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    told, own, _ = str(error).partition(" [os_error_code=")  # Orbax's own errors.
    return told.rpartition(": ")[2] if own else None


def _write(path: pathlib.Path, step: int, state: dict, note: dict) -> None:
    """Write a state and its sums."""
    # Orbax saves no item that holds no arrays.
    items = {
        k: ocp.args.StandardSave(v) for k, v in state.items() if jax.tree.leaves(v)
    }
    with _orbax() as orbax:
        orbax.save(
            path.resolve(),
            args=ocp.args.Composite(note=ocp.args.JsonSave(note), **items),
            force=True,
        )
    checksums.write(path, integrity.facts(path.parent, step, state))


def _load(
    path: pathlib.Path, content: dict, items: tuple[str, ...]
) -> tuple[dict[str, Any], dict]:
    """Return items of a step, those that hold arrays, and its note.

    Raises:
        saved_states.UnusableError: If they are not what was saved, or not finite.
    """
    wanted = {k: v for k, v in content["arrays"].items() if k.split("/")[0] in items}
    held = sorted({name.split("/")[0] for name in wanted})
    args = {item: ocp.args.StandardRestore() for item in held}
    try:
        with _orbax() as orbax:
            restored = orbax.restore(
                path.resolve(),
                args=ocp.args.Composite(note=ocp.args.JsonRestore(), **args),
            )
    except Exception as error:  # Orbax has many.
        line = f"cannot be read: {str(error).partition(chr(10))[0]}"
        raise integrity.UnusableError([line]) from error
    trees = {item: restored[item] for item in held}
    integrity.check(wanted, trees)
    return trees, restored["note"]


def _told(read: Callable, path: pathlib.Path):
    """Return what is read of a step, or raise with the reason and the remedy."""
    try:
        return read(path)
    except checksums.NewerFormatError as error:
        raise CheckpointError(f"{str(path)!r} was {error}") from None
    except integrity.UnusableError as error:
        lines = "\n  ".join(error.shown())
        raise CheckpointError(
            f"{str(path)!r} cannot be used: {lines}\nTo use it, {error.remedy}."
        ) from error


def _none_good(folder: pathlib.Path, bad: dict) -> CheckpointError:
    """Return the error of a folder none of whose steps can be used."""
    lines = [
        line for step in bad for line in bad[step].shown(f"{folder.name}/{step}: ")
    ]
    remedies = ", or ".join(sorted({error.remedy for error in bad.values()}))
    return CheckpointError(
        f"no checkpoint in {str(folder)!r} can be used; all are left there:\n  "
        + "\n  ".join(lines)
        + f"\nTo go on, {remedies}; to begin anew, give another --workdir."
    )


def _step_of_epoch(folder: pathlib.Path, epoch: int) -> int | None:
    bad = {}
    for step, path in reversed(step_folders.steps(folder).items()):
        try:
            _, note = _load(path, integrity.verified(path, below="note/"), ())
        except checksums.NewerFormatError as error:
            raise CheckpointError(f"{str(path)!r} was {error}") from None
        except integrity.UnusableError as error:
            bad[step] = error
            continue
        if note.get("epoch") == epoch:
            return step
    if bad:
        raise _none_good(folder, bad)
    return None


def _orbax() -> ocp.Checkpointer:
    """Return what saves and restores in this process alone, waiting for no other."""
    here = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}
    )
    options = ocp.CompositeOptions(multiprocessing_options=alone)
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(composite_options=options),
        multiprocessing_options=alone,
    )
