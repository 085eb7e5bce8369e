"""Checkpoints damaged in every way we could think of: none is used, and none is lost.

Each test damages a copy of the same two steps, the newer of which has to be refused: for
the reason, and in favor of exactly the older one.
"""

import hashlib
import json
import os
import pathlib
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uld_jax
from uld_jax.storage import checkpoints

NEWER = "last/2"


class Moments(NamedTuple):
    count: np.ndarray
    mu: dict


def state_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "params": {
            "w": rng.normal(size=(2, 3)).astype(np.float32),
            "blocks": {0: {"b": rng.random(4).astype(jnp.bfloat16)}},
        },
        "statistics": {},
        "opt_state": (Moments(np.int32(seed), {"w": rng.normal(size=(2, 3))}), {}),
        "counts": {"step": np.int32(seed), "sums": {"loss": np.float32(np.nan)}},
    }


def save(workdir, states, best=True):
    with checkpoints.Checkpoints(workdir) as writer:
        for step, state in states.items():
            writer.save("last", step, state, {"epoch": step})
            if best:
                items = {k: state[k] for k in ("params", "statistics")}
                writer.save("best", step, items, {"epoch": step})
    return workdir


OLDER, WHOLE = state_of(1), state_of(2)


def with_params(**arrays):
    state = state_of(2)
    return state | {"params": state["params"] | arrays}


# By name, a newer state that is whole but does not fit or is useless; the message.
MISFITS = {
    "another shape": (
        with_params(w=np.ones((3, 2), np.float32)),
        "params/w: float32[3, 2] -> float32[2, 3]",
    ),
    "another type": (
        with_params(w=np.ones((2, 3), np.float16)),
        "params/w: float16[2, 3] -> float32",
    ),
    "another type of the same size": (
        with_params(w=np.ones((2, 3), np.int32)),
        "params/w: int32[2, 3] -> float32[2, 3]",
    ),
    "more arrays": (with_params(v=np.ones(2)), "params/v: float64[2] -> not there"),
    "fewer arrays": (
        state_of(2) | {"params": {"w": WHOLE["params"]["w"]}},
        "params/blocks/0/b: not there -> bfloat16[4]",
    ),
    "more items": (
        state_of(2) | {"statistics": {"mean": np.ones(3)}},
        "statistics/mean: float64[3] -> not there",
    ),
    "another tree": (
        with_params(blocks={1: {"b": WHOLE["params"]["blocks"][0]["b"]}}),
        "params/blocks/1/b: bfloat16[4] -> not there",
    ),
    "NaN": (
        with_params(w=np.full((2, 3), np.nan, np.float32)),
        "params/w: 6 of 6 are not finite",
    ),
    "one infinite parameter": (
        with_params(blocks={0: {"b": np.array([1, -np.inf, 2, 3], jnp.bfloat16)}}),
        "params/blocks/0/b: 1 of 4 are not finite",
    ),
    "NaN in the optimizer": (
        state_of(2)
        | {"opt_state": (Moments(np.int32(2), {"w": np.full((2, 3), np.nan)}), {})},
        "opt_state/0/mu/w: 6 of 6 are not finite",
    ),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Return folders of runs, each with the older step and another newer one."""
    folder = tmp_path_factory.mktemp("originals")
    found = {"whole": save(folder / "whole", {1: OLDER, 2: WHOLE})}
    for index, (name, (state, _)) in enumerate(MISFITS.items()):
        found[name] = save(folder / str(index), {2: state}, best=name == "NaN")
        shutil.copytree(found["whole"] / "last/1", found[name] / "last/1")
    return found


@pytest.fixture
def workdir(originals, tmp_path):
    return copied(originals["whole"], tmp_path / "run")


def copied(original, place):
    return shutil.copytree(original, place, symlinks=True)


def contents(workdir):
    """Return what lies where: bytes of files, targets of links; folders have None."""
    found = {}
    for root, folders, names in os.walk(workdir):
        for path in (pathlib.Path(root, name) for name in (*folders, *names)):
            name = path.relative_to(workdir).as_posix()
            if path.is_symlink():
                found[name] = path.readlink()
            else:
                found[name] = path.read_bytes() if path.is_file() else None
    return found


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
    ):
        assert isinstance(one, np.ndarray)
        other = np.asarray(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def assert_falls_back(workdir, capsys, message, bad=NEWER, seen_by_sums=True):
    """Check all that has to be so of a run whose newest step is bad in some way."""
    before = contents(workdir)
    damage = checkpoints.find_damage(workdir)
    assert contents(workdir) == before
    if seen_by_sums:
        assert any(line.startswith(f"{bad}: {message}") for line in damage), damage
        assert all(line.startswith(f"{bad}: ") for line in damage)
    capsys.readouterr()
    with checkpoints.Checkpoints(workdir) as writer:
        state, note = writer.restore("last", OLDER)
    assert_same(state, OLDER)
    assert note == {"epoch": 1}
    assert f"{bad}: {message}" in capsys.readouterr().out
    # All is where it was, but that the bad step lies aside.
    aside = f"damaged/{bad.replace('/', '-')}"
    after = contents(workdir)
    assert after.pop("damaged") is None
    moved = {
        bad + name.removeprefix(aside) if name.startswith(aside) else name: content
        for name, content in after.items()
    }
    assert moved == before
    with checkpoints.Checkpoints(workdir) as writer:
        assert_same(writer.restore("last", OLDER)[0], OLDER)
    assert capsys.readouterr().out == ""


def files_of(step):
    """Return all files of a step, that of the sums among them."""
    files = sorted(path for path in step.rglob("*") if path.is_file())
    assert {"sha256.json", "metadata", "_METADATA"} < {path.name for path in files}
    return files


def flip_first(content):
    return bytes([content[0] ^ 1]) + content[1:]


def flip_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def flip_last(content):
    return content[:-1] + bytes([content[-1] ^ 128])


WRITTEN = {
    "a flipped first byte": (flip_first, "not the bytes that were written"),
    "a flipped middle byte": (flip_middle, "not the bytes that were written"),
    "a flipped last byte": (flip_last, "not the bytes that were written"),
    "cut by one byte": (lambda content: content[:-1], " bytes, not "),
    "cut to half": (lambda content: content[: len(content) // 2], " bytes, not "),
    "emptied": (lambda content: b"", "0 bytes, not "),
    "one byte more": (lambda content: content + b"\n", " bytes, not "),
    "zeros": (lambda content: bytes(len(content)), "not the bytes that were written"),
    "deleted": (None, "not there"),
}


@pytest.mark.parametrize("damage", WRITTEN)
def test_damage_to_any_file_of_a_step_is_seen_and_named(damage, originals, tmp_path):
    """In every file; with `find_damage`, which is quicker and reads as `restore` does."""
    change, message = WRITTEN[damage]
    workdir = tmp_path / "run"
    copied(originals["whole"] / NEWER, workdir / NEWER)
    for path in files_of(workdir / NEWER):
        whole = path.read_bytes()
        path.unlink() if change is None else path.write_bytes(change(whole))
        (line,) = checkpoints.find_damage(workdir)
        name = path.relative_to(workdir / NEWER).as_posix()
        assert line.startswith(f"{NEWER}: {name}: "), line
        assert message in line or name == "sha256.json"
        path.write_bytes(whole)
    assert checkpoints.find_damage(workdir) == []


KINDS_OF_FILES = [
    "sha256.json",
    "_CHECKPOINT_METADATA",
    "note/metadata",
    "params/_METADATA",
    "params/manifest.ocdbt",
    "params/ocdbt.process_0/d/*",
    "opt_state/ocdbt.process_0/d/*",
    "counts/d/*",
]


@pytest.mark.parametrize("damage", ["a flipped middle byte", "cut to half", "deleted"])
@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_a_damaged_file_means_the_older_step(kind, damage, workdir, capsys):
    path = sorted((workdir / NEWER).glob(kind))[0]
    change, message = WRITTEN[damage]
    whole = path.read_bytes()
    path.unlink() if change is None else path.write_bytes(change(whole))
    name = path.relative_to(workdir / NEWER).as_posix()
    assert_falls_back(workdir, capsys, name)
    told = "not as it was written" if name == "sha256.json" and change else message
    assert told in checkpoints_told(workdir, name)


def checkpoints_told(workdir, name):
    """Return the message about a file in a step that was moved aside."""
    back = workdir / "again" / NEWER
    shutil.copytree(workdir / "damaged" / "last-2", back)
    return checkpoints.find_damage(workdir / "again")[0].partition(f"{name}: ")[2]


@pytest.mark.parametrize("name", MISFITS)
def test_a_whole_step_that_does_not_fit_means_the_older_one(
    name, originals, tmp_path, capsys
):
    workdir = copied(originals[name], tmp_path / "run")
    _, message = MISFITS[name]
    not_finite = "not finite" in message
    assert bool(checkpoints.find_damage(workdir)) == not_finite
    asked = pytest.raises(
        checkpoints.CheckpointError, match=r"last/2' cannot be used: "
    )
    with checkpoints.Checkpoints(workdir) as writer, asked as error:
        writer.restore("last", OLDER, step=2)
    assert message in str(error.value)
    remedy = "lower learning rate" if not_finite else "the settings it was saved with"
    assert remedy in str(error.value)
    shutil.rmtree(workdir / "best", ignore_errors=True)  # Which is no better.
    assert_falls_back(workdir, capsys, message, seen_by_sums=not_finite)


def sealed(step, **changes):
    """Rewrite the checksums of a step, as if it had been saved like this."""
    content = json.loads((step / "sha256.json").read_text())
    del content["sha256"]
    content["files"] = {
        path.relative_to(step).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in files_of(step)
        if path.name != "sha256.json"
    }
    content |= changes
    text = json.dumps(content, indent=1, sort_keys=True)
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (step / "sha256.json").write_text(
        json.dumps(content, indent=1, sort_keys=True) + "\n"
    )


def exchange_note(workdir):
    shutil.copy(workdir / "last/1/note/metadata", workdir / NEWER / "note/metadata")


def exchange_params_with_sums(workdir):
    shutil.rmtree(workdir / NEWER / "params")
    shutil.copytree(workdir / "last/1/params", workdir / NEWER / "params")
    sealed(workdir / NEWER)


def link_file(workdir):
    path = workdir / NEWER / "note/metadata"
    path.rename(workdir / "elsewhere")
    path.symlink_to(workdir / "elsewhere")


def link_folder(workdir):
    path = workdir / NEWER / "params"
    path.rename(workdir / "elsewhere")
    path.symlink_to(workdir / "elsewhere")


def pipe(workdir):
    path = workdir / NEWER / "note/metadata"
    path.unlink()
    os.mkfifo(path)


def folder_for_file(workdir):
    path = workdir / NEWER / "note/metadata"
    path.unlink()
    path.mkdir()


def empty_folder(workdir):
    shutil.rmtree(workdir / NEWER)
    (workdir / NEWER).mkdir()


def only_folders(workdir):
    for path in files_of(workdir / NEWER):
        path.unlink()


def replace_step(workdir, source):
    shutil.rmtree(workdir / NEWER)
    shutil.copytree(workdir / source, workdir / NEWER)


def link_step(workdir):
    (workdir / NEWER).rename(workdir / "elsewhere")
    (workdir / NEWER).symlink_to(workdir / "elsewhere")


def file_for_step(workdir):
    shutil.rmtree(workdir / NEWER)
    (workdir / NEWER).write_text("not a folder")


SUMS = "sha256.json: "
STRUCTURE = {
    "a foreign file in it": (
        lambda w: (w / NEWER / "params/notes.txt").write_text("mine"),
        "params/notes.txt: not a file that was written here",
    ),
    "a foreign name no terminal takes": (
        lambda w: (w / NEWER / "\udcff\n").write_text("mine"),
        "\\udcff\\n: not a file that was written here",
    ),
    "a link in it": (link_file, "note/metadata: cannot be read: a link, not a file"),
    "a folder that is a link": (
        link_folder,
        "params: not a file that was written here",
    ),
    "a pipe in it": (pipe, "note/metadata: cannot be read: not a file"),
    "a folder for a file": (folder_for_file, "note/metadata: not there"),
    "the note of another step": (exchange_note, "note/metadata: not the bytes"),
    "parameters of another step": (
        exchange_params_with_sums,
        "not the arrays that were saved",
    ),
    "the sums of another step": (
        lambda w: shutil.copy(w / "last/1" / "sha256.json", w / NEWER),
        f"{SUMS}that of last/1",
    ),
    "all of another step": (
        lambda w: replace_step(w, "last/1"),
        f"{SUMS}that of last/1",
    ),
    "the best": (lambda w: replace_step(w, "best/2"), f"{SUMS}that of best/2"),
    "emptied": (empty_folder, f"{SUMS}not there"),
    "without any file": (only_folders, f"{SUMS}not there"),
    "sums that are no JSON": (
        lambda w: (w / NEWER / "sha256.json").write_text("sums"),
        f"{SUMS}not as it was written",
    ),
    "sums that are a list": (
        lambda w: (w / NEWER / "sha256.json").write_text("[]"),
        f"{SUMS}not as it was written",
    ),
    "sums with another space": (
        lambda w: (w / NEWER / "sha256.json").write_text(
            (w / NEWER / "sha256.json").read_text().replace("\n", "\n ", 1)
        ),
        f"{SUMS}not as it was written",
    ),
    "a link": (link_step, "not a folder"),
    "a file": (file_for_step, "not a folder"),
}


@pytest.mark.parametrize("damage", STRUCTURE)
def test_a_step_that_is_another_thing_means_the_older_one(damage, workdir, capsys):
    change, message = STRUCTURE[damage]
    change(workdir)
    assert_falls_back(workdir, capsys, message)


NEWER_STEPS = {
    "an empty folder": (lambda path: path.mkdir(), f"{SUMS}not there"),
    "a file": (lambda path: path.write_text("120"), "not a folder"),
    "a copy": (lambda path: shutil.copytree(path.parent / "2", path), f"{SUMS}that of"),
    "a link": (lambda path: path.symlink_to("2"), "not a folder"),
}


@pytest.mark.parametrize("what", NEWER_STEPS)
def test_a_newer_number_that_is_no_step_leaves_the_newest_good_one(
    what, workdir, capsys
):
    make, message = NEWER_STEPS[what]
    make(workdir / "last/30")
    before = contents(workdir)
    with checkpoints.Checkpoints(workdir) as writer:
        state, _ = writer.restore("last", OLDER)
    assert_same(state, WHOLE)
    assert f"last/30: {message}" in capsys.readouterr().out
    after = contents(workdir)
    after.pop("damaged")
    moved = {k.replace("damaged/last-30", "last/30"): v for k, v in after.items()}
    assert moved == before


def test_a_step_under_another_number_is_not_taken_for_it(workdir, capsys):
    (workdir / NEWER).rename(workdir / "last/7")
    assert_falls_back(workdir, capsys, f"{SUMS}that of last/2", bad="last/7")


@pytest.mark.parametrize("name", ["notes.txt", "2.bak", "007", "+3", ".DS_Store", "²"])
def test_what_is_no_step_is_told_and_left_alone(name, workdir, capsys):
    (workdir / "last" / name).mkdir()
    (workdir / "last" / name / "mine").write_text("mine")
    (workdir / "last" / f"{name}.file").write_text("mine")
    before = contents(workdir)
    with checkpoints.Checkpoints(workdir) as writer:
        state, note = writer.restore("last", OLDER)
    assert_same(state, WHOLE)
    assert note == {"epoch": 2}
    assert contents(workdir) == before
    told = capsys.readouterr().out
    for there in (name, f"{name}.file"):
        assert (
            f"{str(workdir / 'last' / there)!r} is not a checkpoint; it is left" in told
        )
    assert checkpoints.find_damage(workdir) == []


def test_what_is_no_step_outlives_those_that_are(workdir):
    (workdir / "last" / "1.bak").write_text("mine")
    shutil.copytree(workdir / NEWER, workdir / "last" / "02")
    before = contents(workdir / "last" / "02")
    save(workdir, {3: WHOLE, 4: WHOLE}, best=False)
    names = {path.name for path in (workdir / "last").iterdir()}
    assert names == {"02", "1.bak", "3", "4"}
    assert contents(workdir / "last" / "02") == before


def test_an_empty_folder_in_a_step_harms_nothing(workdir, capsys):
    (workdir / NEWER / "mine").mkdir()
    with checkpoints.Checkpoints(workdir) as writer:
        assert_same(writer.restore("last", OLDER)[0], WHOLE)
    assert capsys.readouterr().out == ""


def test_with_all_steps_damaged_it_raises_time_and_again_and_all_is_there(
    workdir, capsys
):
    for step in ("1", "2"):
        path = workdir / "last" / step / "params/_METADATA"
        path.write_bytes(flip_middle(path.read_bytes()))
    before = contents(workdir)
    for _ in range(2):  # The second start must not train from scratch either.
        raised = pytest.raises(checkpoints.CheckpointError)
        with checkpoints.Checkpoints(workdir) as writer, raised as error:
            writer.restore("last", OLDER)
        for step in ("1", "2"):
            line = f"last/{step}: params/_METADATA: not the bytes"
            assert line in str(error.value)
        assert "copy it again from an undamaged copy" in str(error.value)
        assert "give another --workdir" in str(error.value)
        assert contents(workdir) == before


def test_a_name_that_is_taken_among_the_damaged_is_not_taken_again(workdir, capsys):
    (workdir / "damaged" / "last-2").mkdir(parents=True)
    (workdir / "damaged" / "last-2-2").write_text("mine")
    (workdir / NEWER / "sha256.json").unlink()
    step = contents(workdir / NEWER)
    with checkpoints.Checkpoints(workdir) as writer:
        assert_same(writer.restore("last", OLDER)[0], OLDER)
    assert contents(workdir / "damaged" / "last-2-3") == step
    assert contents(workdir / "damaged" / "last-2") == {}
    assert (workdir / "damaged" / "last-2-2").read_text() == "mine"


def test_a_newer_format_is_not_gone_back_from(workdir):
    """Its step is good for a newer version; resuming from an older one would lose it."""
    for kind in ("last", "best"):
        sealed(
            workdir / kind / "2", format=2, uld_jax="9.8.7", arrays=["by", "another"]
        )
    before = contents(workdir)
    told = pytest.raises(
        checkpoints.CheckpointError,
        match=rf"/2' was written by uld_jax 9\.8\.7 .* {uld_jax.__version__} .*; update",
    )
    with checkpoints.Checkpoints(workdir) as writer:
        for read in (
            lambda: writer.restore("last", OLDER),
            lambda: writer.restore("last", OLDER, step=2),
            lambda: checkpoints.read_arrays(workdir, 2, ("params",)),
        ):
            with told:
                read()
        assert_same(writer.restore("last", OLDER, step=1)[0], OLDER)
    assert [line.partition(": ")[0] for line in checkpoints.find_damage(workdir)] == [
        "last/2",
        "best/2",
    ]
    assert contents(workdir) == before


def test_a_flip_that_only_looks_like_a_newer_format_is_damage(workdir, capsys):
    path = workdir / NEWER / "sha256.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 3'))
    assert_falls_back(workdir, capsys, f"{SUMS}not as it was written")


def test_sums_of_a_sealed_copy_are_as_ours(workdir):
    """What the tests seal by themselves is what the package writes."""
    written = (workdir / NEWER / "sha256.json").read_bytes()
    sealed(workdir / NEWER)
    assert (workdir / NEWER / "sha256.json").read_bytes() == written


@pytest.mark.parametrize("name", ["params/_METADATA", "note/metadata", "sha256.json"])
def test_a_damaged_best_state_is_never_said_not_to_be_there(name, workdir):
    path = workdir / "best/2" / name
    path.write_bytes(flip_middle(path.read_bytes()))
    reason = pytest.raises(checkpoints.CheckpointError, match=name)
    with reason:
        checkpoints.read_arrays(workdir, 2, ("params", "statistics"))
    with checkpoints.Checkpoints(workdir) as saved, reason:
        saved.restore("best", {"params": OLDER["params"]}, step=2)
    # The other one is as good as ever.
    arrays = checkpoints.read_arrays(workdir, 1, ("params", "statistics"))
    np.testing.assert_array_equal(arrays["params"]["w"], OLDER["params"]["w"])
    assert arrays["statistics"] == {}


def test_a_best_state_that_is_not_there_is_none_and_one_with_nan_is_told(
    originals, tmp_path
):
    assert checkpoints.read_arrays(originals["whole"], 3, ("params",)) is None
    assert checkpoints.read_arrays(tmp_path, 1, ("params",)) is None
    with pytest.raises(checkpoints.CheckpointError, match="params/w: 6 of 6 are not"):
        checkpoints.read_arrays(originals["NaN"], 2, ("params",))


def test_a_step_that_is_not_there_is_told_with_those_that_are(workdir):
    with (
        checkpoints.Checkpoints(workdir) as writer,
        pytest.raises(checkpoints.CheckpointError, match="no step 9; it holds 1, 2"),
    ):
        writer.restore("last", OLDER, step=9)
