"""The recordings of Libri-adhoc40 as they come out of their archives."""

import os
import shutil

import made_adhoc40
import numpy as np
import pytest
import soundfile

from uld_jax.audio import libri_adhoc40, libri_adhoc40_files
from uld_jax.runtime import errors

FIRST = "121-121726-0000"  # The only usable one of position 1 of the test part.
SHORT = "121-121726-0001"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder of each layout, with the parts train and test."""
    root = tmp_path_factory.mktemp("adhoc40")
    return {
        layout: made_adhoc40.write(root / layout / "corpus", layout, ("train", "test"))
        for layout in made_adhoc40.LAYOUTS
    }


@pytest.fixture
def corpus(folders, tmp_path):
    """Return a copy of the test part, in the flat layout, to be damaged."""
    folder = tmp_path / "corpus"
    made_adhoc40.copy(folders["flat"] / "adhoc40-test", folder / "adhoc40-test")
    return folder


def place(folder, position="1", name=FIRST):
    return made_adhoc40.place(folder, "flat", "test", position, name)


def file(folder, channel):
    return place(folder) / f"{FIRST}-ch-{channel}.wav"


@pytest.mark.parametrize("layout", made_adhoc40.LAYOUTS)
def test_every_utterance_long_enough_is_found(folders, layout):
    material = libri_adhoc40_files.open_material(folders[layout], ("train", "test"))
    assert list(material.utterances) == ["train", "test"]
    assert [
        (u.name, u.talker, u.position, u.frames) for u in material.utterances["test"]
    ] == [
        (FIRST, "121", 1, 48_000),
        ("237-126133-0000", "237", 3, 48_000),
        ("61-70968-0000", "61", 2, 96_000),
        ("672-122797-0000", "672", 2, 48_000),
        ("908-31957-0000", "908", 4, 48_000),
    ]
    positions = {u.talker: u.position for u in material.utterances["train"]}
    assert len(positions) == 10
    assert positions["103"] == positions["19"] == 9
    assert material.num_short == {"train": 0, "test": 1}


def test_both_layouts_hold_the_same(folders):
    flat, nested = (
        libri_adhoc40_files.open_material(folders[layout], ("test", "train"))
        for layout in made_adhoc40.LAYOUTS
    )
    assert flat.summary() == nested.summary()
    assert flat.summary() == {
        "name": "corpus",
        "fingerprint": flat.fingerprint(),
        "train_utterances": 10,
        "train_talkers": 10,
        "train_short": 0,
        "test_utterances": 5,
        "test_talkers": 5,
        "test_short": 1,
    }
    for one, other in zip(
        flat.utterances["test"], nested.utterances["test"], strict=True
    ):
        np.testing.assert_array_equal(
            flat.read(one, [4, 7], 100, 300), nested.read(other, [4, 7], 100, 300)
        )


def test_the_fingerprint_tells_what_is_there(folders, corpus):
    whole = libri_adhoc40_files.open_material(corpus, ("test",))
    reordered = libri_adhoc40_files.open_material(folders["flat"], ("train", "test"))
    assert reordered.fingerprint() == (
        libri_adhoc40_files.open_material(
            folders["flat"], ("test", "train")
        ).fingerprint()
    )
    assert whole.fingerprint() != reordered.fingerprint()
    shutil.rmtree(place(corpus, "2", "672-122797-0000"))
    fewer = libri_adhoc40_files.open_material(corpus, ("test",))
    assert fewer.fingerprint() != whole.fingerprint()


def test_nodes_are_read_in_their_order_without_their_means(folders):
    material = libri_adhoc40_files.open_material(folders["nested"], ("test",))
    utterance = material.utterances["test"][0]
    signals = material.read(utterance, np.array([40, 2, 10]), 4000, 40_000)
    assert signals.dtype == np.float32
    assert signals.shape == (3, 36_000)
    recorded = made_adhoc40.recording(FIRST)[[39, 1, 9], 4000:40_000] / 2**15
    expected = recorded - recorded.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(signals, expected, atol=1e-7)


def test_head_and_tail_are_not_usable(folders):
    material = libri_adhoc40_files.open_material(folders["flat"], ("test",))
    assert material.utterances["test"][0].usable == (4000, 40_000)


@pytest.mark.parametrize(("frames", "num_short"), [(44_000, 0), (43_999, 2)])
def test_an_utterance_of_2_75_seconds_is_just_long_enough(corpus, frames, num_short):
    shutil.rmtree(place(corpus))
    for name in (FIRST, SHORT):
        signals = made_adhoc40.recording(FIRST)[:, :frames]
        made_adhoc40.write_utterance(place(corpus), name, signals)
    material = libri_adhoc40_files.open_material(corpus, ("test",))
    assert material.num_short == {"test": num_short}
    assert len(material.utterances["test"]) == 6 - num_short


@pytest.mark.parametrize("name", ["pos9u", "pos 9u", "pos 9 u", "pos9-up", "Pos_9_U"])
def test_orientations_are_one_position_however_written(folders, tmp_path, name):
    folder = tmp_path / "corpus"
    made_adhoc40.copy(folders["flat"] / "adhoc40-train", folder / "adhoc40-train")
    (folder / "adhoc40-train" / "pos 9u").rename(folder / "adhoc40-train" / name)
    material = libri_adhoc40_files.open_material(folder, ("train",))
    assert {u.talker for u in material.utterances["train"] if u.position == 9} == {
        "103",
        "19",
    }


def test_a_part_may_lie_a_folder_deeper(corpus):
    whole = libri_adhoc40_files.open_material(corpus, ("test",))
    (corpus / "adhoc40-test").rename(corpus / "inner")
    (corpus / "adhoc40-test").mkdir()
    (corpus / "inner").rename(corpus / "adhoc40-test" / "adhoc40-test")
    deeper = libri_adhoc40_files.open_material(corpus, ("test",))
    assert deeper.summary() == whole.summary()


def test_files_of_other_names_are_left_alone(corpus):
    whole = libri_adhoc40_files.open_material(corpus, ("test",)).summary()
    (place(corpus) / f"._{FIRST}-ch-1.wav").write_text("a Mac was here")
    (place(corpus) / "121-121726.trans.txt").write_text("words")
    assert libri_adhoc40_files.open_material(corpus, ("test",)).summary() == whole


def test_missing_talkers_are_reported_not_refused(folders):
    material = libri_adhoc40_files.open_material(folders["flat"], ("train", "test"))
    assert material.shortfall() == [
        "adhoc40-train has 10 of its 251 talkers; missing: 27, 40, 87, 89, 118 and others",
        "adhoc40-test has 5 of its 40 talkers; missing: 260, 1089, 1188, 1221, 1284 and "
        "others",
    ]
    part = libri_adhoc40.part("test")
    everyone = tuple(
        libri_adhoc40_files.RecordedUtterance("", talker, position, 48_000, "")
        for talker, position in part.position_of.items()
    )
    whole = libri_adhoc40_files.Material(
        material.folder, {"test": everyone}, {"test": 0}
    )
    assert whole.shortfall() == []


def remove_part(folder):
    shutil.rmtree(folder / "adhoc40-test")


def leave_packed(folder):
    remove_part(folder)
    (folder / "adhoc40-test.rar").write_text("Rar!")


def pack_inside(folder):
    shutil.rmtree(folder / "adhoc40-test")
    (folder / "adhoc40-test").mkdir()
    (folder / "adhoc40-test" / "adhoc40-test.part1.rar").write_text("Rar!")


def empty_part(folder):
    remove_part(folder)
    (folder / "adhoc40-test" / "pos 1").mkdir(parents=True)


def remove_positions(folder):
    for position in ("pos 2", "pos 4"):
        shutil.rmtree(folder / "adhoc40-test" / position)


def remove_channels(folder):
    for channel in (40, 3):
        file(folder, channel).unlink()
    (place(folder, "3", "237-126133-0000") / "237-126133-0000-ch-9.wav").unlink()


def make_unreadable(folder):
    file(folder, 5).unlink()
    file(folder, 5).write_text("no audio")


def make_empty(folder):
    made_adhoc40.replace(file(folder, 5), np.zeros(0))


def resample(folder):
    made_adhoc40.replace(file(folder, 5), made_adhoc40.recording(FIRST)[4], 48_000)


def make_stereo(folder):
    made_adhoc40.replace(file(folder, 5), made_adhoc40.recording(FIRST)[:2].T)


def cut_short(folder):
    whole = file(folder, 5).read_bytes()
    file(folder, 5).unlink()
    file(folder, 5).write_bytes(whole[:-20_000])


def mix_layouts(folder):
    where = place(folder) / FIRST
    where.mkdir()
    for channel in made_adhoc40.NODES:
        os.link(file(folder, channel), where / file(folder, channel).name)


def number_41(folder):
    os.link(file(folder, 40), file(folder, 41))


def talker_of_dev(folder):
    name = "84-121123-0000"
    made_adhoc40.write_utterance(place(folder, "1", name), name)


def talker_of_none(folder):
    name = "99999-1-0000"
    made_adhoc40.write_utterance(place(folder, "1", name), name)


def move_talker(folder):
    parent = folder / "adhoc40-test"
    (parent / "pos 2" / "61").rename(parent / "pos 3" / "61")


def rename_position(folder):
    (folder / "adhoc40-test" / "pos 4").rename(folder / "adhoc40-test" / "pos 5")


def lose_position(folder):
    parent = folder / "adhoc40-test"
    (parent / "pos 2" / "61").rename(parent / "61")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            shutil.rmtree,
            r"folder '.*corpus' does not exist or is a file; give the folder that holds "
            "adhoc40-test of Libri-adhoc40",
        ),
        (
            remove_part,
            r"there is no folder '.*corpus/adhoc40-test'; download adhoc40-test \(linked "
            r"in the README of github.com/ISmallFish/Libri-adhoc40\) and unpack it into "
            "'.*corpus'",
        ),
        (
            leave_packed,
            r"'.*corpus/adhoc40-test.rar' is still packed; unpack it to get "
            "'.*corpus/adhoc40-test'",
        ),
        (
            pack_inside,
            r"'.*adhoc40-test' holds no recording .*; unpack '.*test.part1.rar' into it",
        ),
        (
            empty_part,
            r"'.*adhoc40-test' holds no recording <talker>-<chapter>-<number>-ch-<1 to "
            "40>.wav; unpack adhoc40-test again",
        ),
        (
            remove_positions,
            r"'.*adhoc40-test' is incomplete: it has no recordings at position 2, 4; "
            "unpack adhoc40-test again",
        ),
        (
            remove_channels,
            r"'.*/121-121726-0000-ch-\*.wav' lacks channel 3, 40, and 2 of 6 utterances of "
            "adhoc40-test lack some; unpack adhoc40-test again, or remove them",
        ),
        (
            make_unreadable,
            r"'.*/121-121726-0000-ch-5.wav' is unreadable; unpack the archive again, or",
        ),
        (make_empty, r"'.*-0000-ch-5.wav' is empty; unpack the archive again"),
        (
            resample,
            r"'.*-0000-ch-5.wav' has a sample rate of 48000 Hz, not 16000 Hz; unpack",
        ),
        (make_stereo, r"'.*-0000-ch-5.wav' has 2 channels, not one; unpack"),
        (
            cut_short,
            r"'.*-0000-ch-5.wav' has 38000 samples, and other channels of that "
            "utterance have 48000: a file is truncated; unpack the archive again",
        ),
        (
            mix_layouts,
            r"utterance 121-121726-0000 is in '.*/121/121726' and in "
            "'.*/121/121726/121-121726-0000'; remove one of them",
        ),
        (
            number_41,
            r"'.*-0000-ch-41.wav' has channel 41, and Libri-adhoc40 has channels 1 to 40",
        ),
        (
            talker_of_dev,
            r"'.*/84/121123' holds talker 84 at position 1 of adhoc40-test, who "
            "belongs to adhoc40-dev; move these recordings where they belong, or remove them",
        ),
        (
            talker_of_none,
            r"'.*/99999/1' holds talker 99999 at .*, who is not in Libri-adhoc40; move",
        ),
        (
            move_talker,
            r"'.*/pos 3/61/70968' holds talker 61 at position 3 of adhoc40-test, who "
            "speaks at position 2; move",
        ),
        (
            rename_position,
            r"'.*/pos 5/908/31957' has position 5, and adhoc40-test has positions 1 to 4; "
            "move it to the part it belongs to",
        ),
        (
            lose_position,
            r"'.*adhoc40-test/61/70968' holds recordings outside a folder of a position, "
            "such as 'pos 1'; unpack adhoc40-test again",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(corpus, damage, message):
    damage(corpus)
    with pytest.raises(errors.InputError, match=message) as raised:
        libri_adhoc40_files.open_material(corpus, ("test",))
    assert "\n" not in str(raised.value)


def test_a_folder_without_the_training_part_says_what_can_be_done(corpus):
    with pytest.raises(
        libri_adhoc40_files.ArchiveError,
        match=r"no folder '.*adhoc40-train'; the training part had no public link in "
        r"April 2023: ask .* choose a data set whose name ends in _dev or _test",
    ):
        libri_adhoc40_files.open_material(corpus, ("train", "test"))


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        (np.full(48_000, np.nan, np.float32), "holds NaN or infinity"),
        (np.full(48_000, 0.1, np.float32), "is silent"),
    ],
)
def test_a_channel_that_recorded_nothing_is_refused_when_read(corpus, signal, reason):
    made_adhoc40.replace(file(corpus, 5), signal, subtype="FLOAT")
    material = libri_adhoc40_files.open_material(corpus, ("test",))
    utterance = material.utterances["test"][0]
    material.read(utterance, [4, 6], 0, 1000)
    with pytest.raises(
        libri_adhoc40_files.ArchiveError,
        match=rf"-0000-ch-\*.wav': the signal of node 5 {reason}.*; unpack the archive",
    ):
        material.read(utterance, [4, 5, 6], 0, 1000)


def test_a_loud_recording_is_not_refused(corpus):
    loud = np.clip(
        made_adhoc40.recording(FIRST)[4].astype(int) * 200, -(2**15), 2**15 - 1
    )
    made_adhoc40.replace(file(corpus, 5), loud.astype(np.int16))
    material = libri_adhoc40_files.open_material(corpus, ("test",))
    signals = material.read(material.utterances["test"][0], [5], 0, 48_000)
    assert np.abs(signals).max() > 0.95
    assert soundfile.info(file(corpus, 5)).frames == 48_000
