"""The last states of a run and its best ones by validation MAE.

A step is written by Orbax to `last/STEP` or `best/STEP`, with the SHA-256 checksums of
its files and of its arrays, which are verified when it is read. A killed process leaves
a whole step or none. Parameters are an item of their own, to be read alone.
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
_KEPT = 2  # Steps of each kind: if the newest is damaged, the other one is used.
_DAMAGED = "damaged"  # The folder that damaged steps are moved to.


class CheckpointError(errors.InputError):
    """A checkpoint that cannot be used or saved, with the reason and the remedy."""


class Checkpoints:
    """Save and restore states, which are dictionaries of arrays, with a JSON note.

    Use as a context manager: leaving it waits for the save in the background. Of
    several processes only one may open the checkpoints of a run.

    Args:
        workdir: Folder of the run.
    """

    def __init__(self, workdir: pathlib.Path):
        self._workdir = workdir
        self._thread = futures.ThreadPoolExecutor(1, "checkpoints")
        self._saving: futures.Future | None = None
        for kind in _KINDS:
            step_folders.clean(workdir / kind)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error_type: Any, error: Any, trace: Any) -> None:
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            progress.log(f"Besides: {failure}")
        finally:
            self._thread.shutdown()

    def wait(self) -> None:
        """Wait for the save in the background.

        Raises:
            CheckpointError: If the disk is full or failed.
        """
        if self._saving is not None:
            error = self._saving.exception()
            self._saving = None
            if error is not None:
                raise error

    def save(
        self, kind: str, step: int, state: dict[str, Any], note: dict[str, Any]
    ) -> None:
        """Save a state under a step, replacing this step and all later ones.

        The arrays are copied now and written in the background, except that "best" is
        waited for.

        Raises:
            CheckpointError: If the disk is full or failed, now or in the save before.
        """
        self.wait()
        # Copies, because the caller donates the buffers to its next step.
        state = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(
            _save, self._workdir / kind, step, state, copy.deepcopy(note)
        )
        if kind == "best":
            # A last state, saved next, names this best one, so it must be there first.
            self.wait()

    def steps(self, kind: str) -> list[int]:
        """List all steps, damaged or not, the newest first."""
        self.wait()
        return sorted(step_folders.steps(self._workdir / kind), reverse=True)

    def restore(
        self, kind: str, like: dict[str, Any], step: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Restore a state.

        Args:
            kind: "last" or "best".
            like: Items to restore, with arrays of the right shapes and types.
            step: The step to restore; by default the newest undamaged one. Damaged
                newer ones are logged and moved aside.

        Returns:
            The state, as NumPy arrays, and its note; None if nothing was saved.

        Raises:
            CheckpointError: If the step, or every step, is damaged, has other arrays,
                or has parameters that are not finite; or if a newer uld_jax wrote it.
        """

        def read(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
            content = integrity.verify(path, like)
            trees, note = _load(path, content, tuple(like))
            return {
                item: integrity.unflatten(like[item], trees.get(item)) for item in like
            }, note

        self.wait()
        folder = self._workdir / kind
        if step is None:
            return self._restore_newest(folder, read)
        there = step_folders.steps(folder)
        if step not in there:
            raise CheckpointError(
                f"{str(folder)!r} holds no step {step}; it holds "
                f"{', '.join(map(str, there)) or 'none'}"
            )
        return _explain_errors(read, there[step])

    def _restore_newest(self, folder: pathlib.Path, read: Callable[..., Any]):
        bad = {}
        for path in step_folders.foreign(folder):
            progress.log(f"{str(path)!r} is not a checkpoint; it is left alone")
        for step, path in reversed(step_folders.steps(folder).items()):
            try:
                found = read(path)
            except integrity.UnusableError as error:
                bad[step] = error
                progress.log("\n".join(error.shown(f"{folder}/{step}: ")))
                continue
            except checksums.NewerFormatError as error:
                raise CheckpointError(f"{str(path)!r} was {error}") from None
            # Only now, because without a good step the user may want to repair them.
            for worse in bad:
                damaged = step_folders.steps(folder)[worse]
                place = step_folders.put_aside(damaged, self._workdir / _DAMAGED)
                progress.log(f"{folder}/{worse} was moved to {place}")
            return found
        if bad:
            raise _none_good(folder, bad)
        return None


def read_arrays(
    workdir: pathlib.Path, epoch: int, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """Read items of the best state of an epoch, whatever their shapes.

    Returns:
        NumPy arrays by item, an empty dictionary for an item without arrays; None if
        there is no such state.

    Raises:
        CheckpointError: If it is damaged, or if parameters are not finite.
    """
    folder = workdir / "best"
    step = _step_of_epoch(folder, epoch)
    if step is None:
        return None
    trees, _ = _explain_errors(
        lambda path: _load(path, integrity.verify(path), names),
        step_folders.steps(folder)[step],
    )
    return {name: trees.get(name, {}) for name in names}


def find_damage(workdir: pathlib.Path) -> list[str]:
    """Verify all checkpoints of a run, to the last bit; list what is wrong.

    Nothing is changed.
    """
    lines = []
    for kind in _KINDS:
        for step, path in step_folders.steps(workdir / kind).items():
            try:
                content = integrity.verify(path)
                items = {name.split("/")[0] for name in content["arrays"]}
                _load(path, content, tuple(sorted(items)))
            except integrity.UnusableError as error:
                lines += [f"{kind}/{step}: {reason}" for reason in error.reasons]
            except checksums.NewerFormatError as error:
                lines.append(f"{kind}/{step}: {error}")
    return lines


def _save(
    folder: pathlib.Path, step: int, state: dict[str, Any], note: dict[str, Any]
) -> None:
    """Save a state, and delete the steps that are no longer kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(step_folders.partial(folder, step), step, state, note)
        step_folders.put_in_place(folder, step)
    except Exception as error:
        with contextlib.suppress(OSError):
            step_folders.clean(folder)
        reason = _disk_failure(error)
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


def _disk_failure(error: Exception) -> str | None:
    """Extract the reason if a disk is full or failed; None for other errors."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Orbax's C++ code raises ValueError with the operating system's code at the end.
    text, code, _ = str(error).partition(" [os_error_code=")
    return text.rpartition(": ")[2] if code else None


def _write(
    path: pathlib.Path, step: int, state: dict[str, Any], note: dict[str, Any]
) -> None:
    """Write a state and its checksums."""
    # Orbax cannot save items without arrays.
    items = {
        k: ocp.args.StandardSave(v) for k, v in state.items() if jax.tree.leaves(v)
    }
    with _orbax() as orbax:
        orbax.save(
            path.resolve(),
            args=ocp.args.Composite(note=ocp.args.JsonSave(note), **items),
            force=True,
        )
    checksums.write_sums(path, integrity.describe(path.parent, step, state))


def _load(
    path: pathlib.Path, content: dict[str, Any], items: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Load the items of a step that hold arrays, and its note.

    Raises:
        integrity.UnusableError: If the arrays are not the ones saved, or not finite.
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
    except Exception as error:  # Damaged files make Orbax raise errors of many types.
        line = f"cannot be read: {str(error).partition(chr(10))[0]}"
        raise integrity.UnusableError([line]) from error
    trees = {item: restored[item] for item in held}
    integrity.check_arrays(wanted, trees)
    return trees, restored["note"]


def _explain_errors(read: Callable[..., Any], path: pathlib.Path):
    """Read a step; turn errors into `CheckpointError` with the remedy."""
    try:
        return read(path)
    except checksums.NewerFormatError as error:
        raise CheckpointError(f"{str(path)!r} was {error}") from None
    except integrity.UnusableError as error:
        lines = "\n  ".join(error.shown())
        raise CheckpointError(
            f"{str(path)!r} cannot be used: {lines}\nTo use it, {error.remedy}."
        ) from error


def _none_good(
    folder: pathlib.Path, bad: dict[int, integrity.UnusableError]
) -> CheckpointError:
    """Make the error for a folder without a usable step."""
    lines = [
        line for step in bad for line in bad[step].shown(f"{folder.name}/{step}: ")
    ]
    remedies = ", or ".join(sorted({error.remedy for error in bad.values()}))
    return CheckpointError(
        f"no checkpoint in {str(folder)!r} can be used; all are left there:\n  "
        + "\n  ".join(lines)
        + f"\nTo resume, {remedies}; to train from scratch, give another --workdir."
    )


def _step_of_epoch(folder: pathlib.Path, epoch: int) -> int | None:
    """Find the step whose note names an epoch, by reading the notes alone."""
    bad = {}
    for step, path in reversed(step_folders.steps(folder).items()):
        try:
            _, note = _load(path, integrity.verify(path, below="note/"), ())
        except checksums.NewerFormatError as error:
            raise CheckpointError(f"{str(path)!r} was {error}") from None
        except integrity.UnusableError as error:
            bad[step] = error
            continue
        if note.get("epoch") == epoch:
            return step
    if bad:  # A damaged step may be the one of this epoch.
        raise _none_good(folder, bad)
    return None


def _orbax() -> ocp.Checkpointer:
    """Make a checkpointer of this process, which waits for no other process."""
    here = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}
    )
    options = ocp.CompositeOptions(multiprocessing_options=alone)
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(composite_options=options),
        multiprocessing_options=alone,
    )
