"""Shared weights: written whole, read bit for bit, and refused where damaged."""

import hashlib
import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import safetensors
from made_records import room_record

from uld_jax.pretrained import weights
from uld_jax.runtime import errors
from uld_jax.storage import atomic, records


def made_arrays():
    """Return arrays of all shapes and orders, a part of them under whole numbers."""
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(5, 7)).astype(np.float32)
    return {
        "params/blocks/0/kernel": kernel.T,  # Not as it lies in memory.
        "params/blocks/10/kernel": kernel[::2, 1::3],
        "params/scale": np.float32(-0.0).reshape(()),
        "params/tiny": np.array([1e-45, 3.4e38], np.float32),
        "statistics/count": np.array([2**31 - 1], np.int32),
        "statistics/none": np.zeros((0, 3), np.float32),
    }


def content(**more):
    return {"name": "ad1_uld", "record": room_record("uld"), **more}


def write(folder, arrays=None, **more):
    arrays = made_arrays() if arrays is None else arrays
    weights.write_folder(folder, content(**more), arrays, "# For people\n")
    return folder


@pytest.fixture
def shared(tmp_path):
    return write(tmp_path / "shared")


def read(folder):
    run = weights.read_run(folder, "--run")
    return weights.read_arrays(folder, run["card"])


def text_of(card):
    return json.dumps(card, indent=1) + "\n"


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def reseal(folder, **changed):
    """Let the card's sums be those of what is there now, as docs/sharing.md has it."""
    data = (folder / "weights.safetensors").read_bytes()
    card = json.loads((folder / "card.json").read_text()) | changed
    hashes = card["hashes"] | {"bytes": len(data), "weights": sum_of(data)}
    hashes.pop("card")
    hashes["card"] = sum_of(text_of(card | {"hashes": hashes}).encode())
    (folder / "card.json").write_text(text_of(card | {"hashes": hashes}))


def made_for(folder):
    """Return what the weights of a folder's card name in their header."""
    card = json.loads((folder / "card.json").read_text())
    card.pop("hashes")
    return {"card": sum_of(text_of(card).encode())}


def refill(folder, arrays):
    """Put other arrays into a folder, with the right sums."""
    arrays = {name: np.array(array, order="C") for name, array in arrays.items()}
    data = safetensors.numpy.save(arrays, made_for(folder))
    (folder / "weights.safetensors").write_bytes(data)
    reseal(folder)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name  # In order of rows.


def test_what_is_read_is_what_was_written_bit_for_bit(shared):
    assert_same(read(shared), made_arrays())


def test_the_library_alone_reads_it(shared):
    path = shared / "weights.safetensors"
    with safetensors.safe_open(path, framework="np") as file:
        assert_same(file.get_tensors(), made_arrays())
        assert file.metadata() == made_for(shared)


def test_it_is_laid_out_as_the_format_says(shared):
    """Eight bytes of the header's length, the header, and rows one after the other."""
    data = (shared / "weights.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    for name, array in made_arrays().items():
        start, end = header[name]["data_offsets"]
        assert header[name]["dtype"] == {"f": "F32", "i": "I32"}[array.dtype.kind]
        stored = np.frombuffer(body[start:end], array.dtype).reshape(array.shape)
        assert stored.tobytes() == array.tobytes()


def test_the_card_is_the_record_and_its_sums_those_of_the_files(shared):
    run = weights.read_run(shared, "--run")
    card = json.loads((shared / "card.json").read_text())
    assert run["settings"] == card["record"]["settings"]
    assert run["test"] == room_record("uld")["test"]
    assert run["folder"] == str(shared)
    data = (shared / "weights.safetensors").read_bytes()
    assert card["hashes"]["weights"] == sum_of(data)
    assert card["hashes"]["parameters"] == weights.digest(made_arrays())
    reseal(shared)
    assert json.loads((shared / "card.json").read_text()) == card


def test_the_same_things_make_the_same_bytes(shared, tmp_path):
    other = write(tmp_path / "other")
    names = sorted(path.name for path in shared.iterdir())
    assert names == ["README.md", "card.json", "weights.safetensors"]
    for name in names:
        assert (other / name).read_bytes() == (shared / name).read_bytes()


def test_a_flipped_bit_of_the_card_is_refused(shared):
    path = shared / "card.json"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in (*range(0, len(data), 4), len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(weights.WeightsError, match=r"--run: '.*card\.json' is "):
            read(shared)
    path.write_bytes(data.replace(b'"uld"', b'"ulx"', 1))
    with pytest.raises(weights.WeightsError, match="its checksum differs"):
        read(shared)
    path.write_bytes(data + b"\n")
    with pytest.raises(weights.WeightsError, match="its checksum differs"):
        read(shared)


def test_a_flipped_bit_of_the_weights_is_refused(shared):
    path = shared / "weights.safetensors"
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in (*range(0, len(data), 4), len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(
            weights.WeightsError, match=r"weights\.safetensors' is damaged: its SHA-256"
        ):
            read(shared)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_a_cut_file_is_refused(shared, name):
    data = (shared / name).read_bytes()
    message = {"card.json": "is damaged", "weights.safetensors": "it is cut off"}[name]
    for size in (0, 7, len(data) // 2, len(data) - 1):
        (shared / name).write_bytes(data[:size])
        with pytest.raises(weights.WeightsError, match=message):
            read(shared)


def test_a_file_of_another_network_is_refused(shared, tmp_path):
    """Even where the card has its checksum."""
    arrays = made_arrays() | {"params/scale": np.float32(1).reshape(())}
    other = write(tmp_path / "other", arrays, license="MIT")
    shutil.copy(other / "weights.safetensors", shared)
    with pytest.raises(weights.WeightsError, match="is damaged: its SHA-256"):
        read(shared)
    reseal(shared)
    with pytest.raises(weights.WeightsError, match=r"belongs to another card\.json"):
        read(shared)


def test_a_card_that_was_edited_is_refused(shared):
    """Even where its checksum fits."""
    reseal(shared, license="CC0-1.0")
    with pytest.raises(weights.WeightsError, match=r"belongs to another card\.json"):
        read(shared)


def test_what_is_no_file_of_safetensors_is_refused(shared):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 9\n"
    (shared / "weights.safetensors").write_bytes(pointer)
    with pytest.raises(weights.WeightsError, match=f"has {len(pointer)} bytes; its"):
        read(shared)
    reseal(shared)
    with pytest.raises(weights.WeightsError, match="cannot be read as safetensors"):
        read(shared)
    half = {"params/a": np.ones(2, ml_dtypes.bfloat16)}
    (shared / "weights.safetensors").write_bytes(safetensors.numpy.save(half))
    reseal(shared)
    with pytest.raises(weights.WeightsError, match=r"cannot be read as .*BF16"):
        read(shared)
    (shared / "weights.safetensors").unlink()
    with pytest.raises(weights.WeightsError, match=r"no weights\.safetensors; copy"):
        read(shared)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_neither_written_nor_read(shared, tmp_path, value):
    arrays = made_arrays()
    arrays["params/tiny"] = np.array([value, 1.0], np.float32)
    message = "params/tiny is not finite in 1 of 2 entries"
    with pytest.raises(weights.WeightsError, match=message):
        write(tmp_path / "other", arrays)
    assert list(tmp_path.iterdir()) == [shared]
    refill(shared, arrays)
    with pytest.raises(weights.WeightsError, match=message):
        read(shared)


def test_types_that_not_all_can_read_are_not_written(tmp_path):
    for dtype in map(np.dtype, (ml_dtypes.bfloat16, np.complex64, np.longdouble)):
        arrays = {"params/a": np.ones(2, dtype)}
        with pytest.raises(weights.WeightsError, match=f"params/a is of {dtype}"):
            write(tmp_path / "other", arrays)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged, not JSON"),
        ("[" * 100_000, "is damaged, not JSON"),
        ("\udcff", "is damaged, not JSON"),
        ("[1]", "is not a card of shared weights: it has no format"),
        ('{"hashes": {}}', "is not a card of shared weights: it has no format"),
        ('{"format": 3, "made_by": "uld_jax 9.1"}', "format 3, made by 'uld_jax 9.1'"),
        ('{"format": "1"}', "is of format '1'"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 1, "hashes": {"card": NaN}}', "is damaged"),
    ],
)
def test_cards_that_are_none_are_told(shared, text, message):
    (shared / "card.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(weights.WeightsError, match=message):
        read(shared)


@pytest.mark.parametrize(
    "part", ["name", "record", "settings", "best_epoch", "trained_places"]
)
def test_cards_that_lack_what_is_needed_are_told(shared, part):
    card = json.loads((shared / "card.json").read_text())
    (card if part in card else card["record"]).pop(part)
    (shared / "card.json").write_text(text_of(card))
    reseal(shared)
    message = f"(not a card of .*|the record in .*) it lacks {part}$"
    with pytest.raises(errors.InputError, match=message):
        read(shared)


def test_nothing_is_to_be_seen_before_all_is_written(tmp_path, monkeypatch):
    out, seen = tmp_path / "shared", []
    write_file = atomic.write_bytes

    def watched(path, data):
        write_file(path, data)
        seen.append((path.name, out.exists()))

    monkeypatch.setattr(atomic, "write_bytes", watched)
    write(out)
    assert dict(seen) == dict.fromkeys(
        ("weights.safetensors", "card.json", "README.md"), False
    )
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("failing", [0, 1, 2, "sync"])
def test_what_fails_leaves_nothing(tmp_path, monkeypatch, failing):
    write_file, count = atomic.write_bytes, iter(range(3))

    def fail(path, *data):
        if not data or next(count) == failing:
            raise OSError(28, "No space left on device")
        write_file(path, *data)

    name = "sync_folder" if failing == "sync" else "write_bytes"
    monkeypatch.setattr(atomic, name, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "shared")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    """Neither what is found at first nor what appears meanwhile."""
    folder, file, link = (tmp_path / name for name in ("folder", "file", "link"))
    folder.mkdir()
    (folder / "precious").write_text("precious")
    file.write_text("precious")
    link.symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for out in (folder, file, link):
        with pytest.raises(weights.WeightsError, match="exists; name another"):
            weights.check_new(out, "--out")
        with pytest.raises(OSError, match=r"link|file|folder"):
            write(out)
    assert sorted(tmp_path.rglob("*")) == before
    assert file.read_text() == (folder / "precious").read_text() == "precious"
    for out in (tmp_path / "no" / "shared", file / "shared"):
        with pytest.raises(weights.WeightsError, match="is not a writable folder"):
            weights.check_new(out, "--out")
    weights.check_new(tmp_path / "new", "--out")


def test_folders_without_a_card_are_those_of_runs(tmp_path, shared):
    (tmp_path / "empty").mkdir()
    with pytest.raises(records.RecordError, match=r"nor the card\.json of shared"):
        weights.read_run(tmp_path / "empty", "--run")
    with pytest.raises(records.RecordError, match="name one of its runs: shared"):
        weights.read_run(tmp_path, "--run")
    run = tmp_path / "run"
    run.mkdir()
    atomic.write_json(run / "record.json", room_record("uld"))
    assert weights.read_run(run, "--run") == records.read_trained(run, "--run")
