"""The last state of a run, and its best by validation MAE, with Orbax.

Two folders, `last` and `best`. A checkpoint is whole or not there, whenever the
process is killed. Parameters are an item of their own, to be read alone.
"""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

_KEPT = {"last": 2, "best": 2}


class Checkpoints:
    """Saves and restores states, dictionaries of arrays, with a JSON note.

    Use as a context manager: leaving it waits for what is being saved.
    """

    def __init__(self, workdir: pathlib.Path):
        self._managers = {
            kind: ocp.CheckpointManager(
                (workdir / kind).resolve(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=kept, create=True, cleanup_tmp_directories=True
                ),
            )
            for kind, kept in _KEPT.items()
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for manager in self._managers.values():
            manager.wait_until_finished()
            manager.close()

    def save(self, kind: str, step: int, state: dict, note: dict) -> None:
        """Save a state under a step; one saved there before is replaced."""
        manager = self._managers[kind]
        # A run killed after saving its best repeats the epoch and saves it again.
        for old in manager.all_steps():
            if old >= step:
                manager.wait_until_finished()
                manager.delete(old)
        manager.save(
            step,
            args=ocp.args.Composite(
                note=ocp.args.JsonSave(note),
                **{k: ocp.args.StandardSave(item) for k, item in _filled(state)},
            ),
            force=True,
        )
        if kind == "best":
            # Whoever finds the last state must find the best one it speaks of.
            manager.wait_until_finished()

    def restore(
        self, kind: str, like: dict, step: int | None = None
    ) -> tuple[dict, dict] | None:
        """Return a state and its note, or None if there is none.

        Args:
            kind: "last" or "best".
            like: Items to restore, with arrays of the right shapes and types.
            step: The step it was saved under; the newest by default.
        """
        manager = self._managers[kind]
        step = manager.latest_step() if step is None else step
        if step is None:
            return None
        restored = manager.restore(
            step,
            args=ocp.args.Composite(
                note=ocp.args.JsonRestore(),
                **{
                    name: ocp.args.StandardRestore(
                        jax.tree.map(ocp.utils.to_shape_dtype_struct, item)
                    )
                    for name, item in _filled(like)
                },
            ),
        )
        return {**like, **{k: restored[k] for k, _ in _filled(like)}}, restored["note"]

    def step_of_epoch(self, kind: str, epoch: int) -> int | None:
        """Return the step of the state whose note names an epoch; None without one."""
        return _step_of_epoch(self._managers[kind], epoch)


def read_arrays(
    workdir: pathlib.Path, epoch: int, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return items of the best state of an epoch, whatever their shapes, on the host.

    None if there is no such state. Items that hold no arrays are empty.
    """
    folder = (workdir / "best").resolve()
    if not folder.is_dir():
        return None
    handlers = {name: ocp.StandardCheckpointHandler() for name in names}
    handlers["note"] = ocp.JsonCheckpointHandler()
    options = ocp.CheckpointManagerOptions(create=False)
    with ocp.CheckpointManager(
        folder, options=options, item_handlers=handlers
    ) as manager:
        step = _step_of_epoch(manager, epoch)
        if step is None:
            return None
        # An item that has no arrays was not saved.
        shapes = manager.item_metadata(step)
        like = {
            name: jax.tree.map(_on_this_device, dict(shapes[name]))
            for name in names
            if shapes.get(name) is not None
        }
        args = {name: ocp.args.StandardRestore(tree) for name, tree in like.items()}
        restored = manager.restore(step, args=ocp.args.Composite(**args))
        return {
            name: jax.device_get(restored[name]) if name in like else {}
            for name in names
        }


def _step_of_epoch(manager: ocp.CheckpointManager, epoch: int) -> int | None:
    for step in manager.all_steps():
        restored = manager.restore(
            step, args=ocp.args.Composite(note=ocp.args.JsonRestore())
        )
        if restored["note"]["epoch"] == epoch:
            return step
    return None


def _on_this_device(leaf) -> jax.ShapeDtypeStruct:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)


def _filled(state: dict) -> list[tuple[str, Any]]:
    """Return the items that hold arrays; Orbax saves no others."""
    return [(name, item) for name, item in state.items() if jax.tree.leaves(item)]
