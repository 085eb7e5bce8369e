"""Folders of one's own recordings: what is read, and what is refused."""

import pathlib
import re
import shutil

import made_sessions
import numpy as np
import pytest
from audio_files import RATE, tone, write
from made_sessions import NODES, NUM_SAMPLES, RECORDINGS

from uld_jax.audio import session_files, sessions
from uld_jax.audio import signals as signals_lib

(PAGE,) = (pathlib.Path(__file__).parents[2] / "docs").rglob("own_recordings.md")


def open_session(folder):
    return sessions.open_session(folder, NUM_SAMPLES)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return folders with one session in every layout; they are not to be changed."""
    root = tmp_path_factory.mktemp("sessions")
    return {
        layout: made_sessions.write_session(root / layout, layout)
        for layout in made_sessions.LAYOUTS
    }


@pytest.fixture
def folder(written, tmp_path):
    """Return a session of one file a recording, to be spoiled."""
    return shutil.copytree(written["wav"], tmp_path / "my_lab")


@pytest.fixture
def folders(written, tmp_path):
    """Return a session of a folder a recording, to be spoiled."""
    return shutil.copytree(written["folders"], tmp_path / "my_lab")


def expected(name):
    signals = made_sessions.samples(name).astype(float) / 32_768
    return signals - signals.mean(axis=1, keepdims=True)


# --- What is read -----------------------------------------------------------------------


@pytest.mark.parametrize("layout", made_sessions.LAYOUTS)
def test_a_session_is_what_its_tables_and_files_say(written, layout):
    session = open_session(written[layout])
    assert session.name == layout
    assert session.nodes == NODES
    np.testing.assert_array_equal(session.room_size, made_sessions.ROOM)
    np.testing.assert_array_equal(session.node_positions, made_sessions.NODE_POSITIONS)
    assert len(session.recordings) == len(RECORDINGS)
    for recording, (name, (split, place)) in zip(
        session.recordings, RECORDINGS.items(), strict=True
    ):
        assert pathlib.PurePath(recording.name).stem == name
        assert recording.split == (split or "test")
        assert recording.num_samples == 5.5 * NUM_SAMPLES
        if place is None:
            assert recording.source_positions is None
        else:
            np.testing.assert_array_equal(recording.source_positions, [place])
        signals = session.load(recording)
        assert signals.dtype == np.float32
        np.testing.assert_allclose(signals, expected(name), atol=1e-7)


def test_the_layout_changes_no_bit(written):
    loaded = []
    for folder in written.values():
        session = open_session(folder)
        loaded.append(session.load(session.recordings[1]))
    for signals in loaded[1:]:
        np.testing.assert_array_equal(signals, loaded[0])


def test_channels_come_in_the_order_of_the_nodes(folders):
    """Not in that of the files' names."""
    table = folders / "nodes.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::-1]]))
    session = open_session(folders)
    assert session.nodes == NODES[::-1]
    signals = session.load(session.recordings[0])
    np.testing.assert_allclose(signals, expected("one")[::-1], atol=1e-7)


def test_examples_are_the_active_windows_of_labeled_recordings(written):
    session = open_session(written["wav"]).listed()
    starts = [NUM_SAMPLES * number for number in made_sessions.ACTIVE]
    for split, names in (
        ("train", ("one.wav", "two.wav")),
        ("validation", ("three.wav",)),
        ("test", ("four.wav",)),
    ):
        found = [
            (recording.name, start) for recording, start in session.examples(split)
        ]
        assert found == [(name, start) for name in names for start in starts]
    assert session.listed() is session
    with pytest.raises(ValueError, match="call listed"):
        open_session(written["wav"]).examples("test")


def test_windows_of_all_nodes_together_are_compared(folder):
    """At -30 dB of the strongest by the one node, at -27 dB by all."""
    quiet = 10 ** (-30.5 / 20) * tone(0.1)
    first = np.concatenate([tone(0.1), quiet])
    second = np.concatenate([1e-3 * quiet, quiet])
    for signals, starts in (
        ([first, second, second], (0, NUM_SAMPLES)),
        ([first, 1e-4 * second, 1e-4 * second], (0,)),
    ):
        spoiled(folder / "one.wav", lambda _, own=signals: np.stack(own))
        listed = open_session(folder).listed()
        assert listed.starts["one.wav"] == starts


def test_another_rate_is_resampled_without_aliases(folder):
    rate = 48_000
    signal = tone(1.0, rate, 1000.0) + tone(1.0, rate, 9000.0)
    for name in RECORDINGS:
        made_sessions.write_recording(
            folder, name, np.stack([signal, -signal, 0.5 * signal]), rate=rate
        )
    session = open_session(folder)
    signals = session.load(session.recordings[0])
    assert signals.shape == (3, RATE)
    middle = slice(2000, -2000)
    for factor, received in zip((1.0, -1.0, 0.5), signals, strict=True):
        wanted = factor * tone(1.0, RATE, 1000.0)[middle]
        np.testing.assert_allclose(received[middle], wanted, atol=2e-3)


def test_blocks_are_those_of_the_whole_recording(folder):
    """At rates whose samples coincide often and rarely."""
    rng = np.random.default_rng(0)
    for rate in (8_000, 22_050, 44_100, 48_000):
        noise = 0.1 * rng.normal(size=(3, rate))
        write(folder / "one.wav", noise.T, rate, subtype="FLOAT")
        session = open_session(folder)
        channels = session.recordings[0].channels
        whole = session_files.read_block(channels, [0] * 3, RATE)
        assert channels[0].num_samples == RATE
        for start, length in ((0, 7), (5_003, 1_600), (12_345, 3_655)):
            block = session_files.read_block(channels, [start] * 3, length)
            np.testing.assert_allclose(
                block, whole[:, start : start + length], atol=1e-5
            )
        beyond = session_files.read_block(channels, [-100, RATE - 100, RATE], 200)
        np.testing.assert_array_equal(beyond[0, :100], 0)
        np.testing.assert_allclose(beyond[0, 100:], whole[0, :100], atol=1e-5)
        np.testing.assert_allclose(beyond[1, :100], whole[1, -100:], atol=1e-5)
        np.testing.assert_array_equal(beyond[1:, 100:], 0)


def test_recorders_may_differ(folders):
    """In rate, length and number of channels; the shortest ends for data sets."""
    seconds = 0.55
    write(folders / "one" / "door.wav", tone(seconds, 48_000), 48_000)
    stereo = np.stack([0 * tone(0.4) + 0.01 * tone(0.4, RATE, 50.0), tone(0.4)], axis=1)
    write(folders / "one" / "desk.wav", stereo)
    table = folders / "nodes.csv"
    header, *rows = table.read_text().splitlines()
    channels = ["", "2", ""]
    rows = [f"{row},{c}" for row, c in zip(rows, channels, strict=True)]
    table.write_text("\n".join([header + ",channel", *rows]) + "\n")
    (folders / "recordings.csv").write_text("recording,x,y,z\none,1,2,1.6\n")
    session = open_session(folders)
    one = session.recordings[0]
    assert [channel.number for channel in one.channels] == [0, 1, 0]
    signals = session.load(one)
    assert signals.shape == (3, 5.5 * NUM_SAMPLES)
    middle = slice(1000, 5000)
    np.testing.assert_allclose(signals[0, middle], signals[1, middle], atol=2e-3)
    np.testing.assert_array_equal(signals[1, int(0.4 * RATE) :], 0)
    starts = session.listed().starts["one"]
    assert max(starts) + NUM_SAMPLES <= 0.4 * RATE


def test_one_table_may_do(folders):
    """With files of the nodes in it, and neither room nor heights."""
    for table in ("room.csv", "recordings.csv"):
        (folders / table).unlink()
    (folders / "nodes.csv").write_text(
        "X;Y;Node;File;Serial number\n0,1;2;door;one/door.wav;A7\n"
        "3;2,25;desk;one\\desk.wav;B1\n6,2;4,8;lamp;one/lamp.wav;\n"
    )
    session = open_session(folders)
    assert session.room_size is None
    np.testing.assert_array_equal(
        session.node_positions, np.array(made_sessions.NODE_POSITIONS)[:, :2]
    )
    (recording,) = session.recordings
    assert recording.name == session.name
    np.testing.assert_allclose(session.load(recording), expected("one"), atol=1e-7)
    with pytest.raises(sessions.SessionError, match=r"data set needs the room: add"):
        session.require_heights("a data set")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("node,x,y,file", ["one/door.wav", ""], "no file of node 'desk'; name a file"),
        (
            "node,x,y,file",
            ["one/door.wav", "/a.wav"],
            "give a path below the session's",
        ),
        ("node,x,y,file", ["one/door.wav", "b.wav"], "there is no file .*b.wav'"),
        ("node,x,y,file", ["one/door.wav"] * 2, "is that of node 'door'; name its own"),
        (
            "node,x,y,file,channel",
            ["one/door.wav,1", "one/desk.wav,3"],
            "names channel 3",
        ),
        ("node,x,y,file,channel", ["one/door.wav,0", "one/desk.wav,"], "from 1"),
    ],
)
def test_files_in_the_table_of_nodes_that_cannot_be_right(
    folders, header, rows, message
):
    (folders / "recordings.csv").unlink()
    lines = [f"door,1,1,{rows[0]}", f"desk,2,2,{rows[1]}"]
    (folders / "nodes.csv").write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(sessions.SessionError, match=message):
        open_session(folders)


def test_files_are_named_in_one_table(folders):
    text = (folders / "nodes.csv").read_text().splitlines()
    text = [text[0] + ",file", *(f"{line},a.wav" for line in text[1:])]
    (folders / "nodes.csv").write_text("\n".join(text))
    with pytest.raises(sessions.SessionError, match="remove the column file, or the t"):
        open_session(folders)


def test_two_talkers_have_columns_of_their_own(folder):
    (folder / "recordings.csv").write_text(
        "recording,split,x,y,z,x2,y2,z2\none.wav,test,1,2,1.5,3,4,1.25\ntwo.wav,,,,,,,\n"
    )
    session = open_session(folder)
    assert session.num_sources == 2
    np.testing.assert_array_equal(
        session.recordings[0].source_positions, [[1, 2, 1.5], [3, 4, 1.25]]
    )
    assert session.recordings[1].source_positions is None


def test_tables_may_come_from_a_spreadsheet(folder):
    """With a byte order mark, blanks, empty lines, other ends and order of columns."""
    (folder / "nodes.csv").write_bytes(
        b"\xef\xbb\xbfx, node ,z,y,\r\n0.1,door,1.5,2,\r\n,,,,\r\n"
        b'3,"desk",.75,2.25,\r\n6.2,lamp,2e0,4.8,\r\n,,,\r\n'
    )
    session = open_session(folder)
    assert session.nodes == NODES
    np.testing.assert_array_equal(session.node_positions, made_sessions.NODE_POSITIONS)


def test_other_files_are_no_recordings(folders, written, tmp_path):
    (folders / "one" / "notes.txt").write_text("")
    (folders / "one" / "._door.wav").write_text("")  # As macOS leaves them.
    write(folders / "not_in_the_table" / "ceiling.wav", tone())
    open_session(folders)
    own = shutil.copytree(written["beginnings"], tmp_path / "beginnings")
    shutil.copy(own / "takes" / "one-door.WAV", own / "takes" / "one-b-door.WAV")
    open_session(own)


def test_recordings_without_places_are_counted(written):
    session = open_session(written["wav"])
    assert session.shortfall() == [
        "1 recordings of wav have no positions of talkers and are left out of the "
        "data set"
    ]
    facts = session.summary()
    assert facts.pop("fingerprint") == session.fingerprint()
    assert facts == {
        "name": "wav",
        "nodes": 3,
        "train_recordings": 2,
        "validation_recordings": 1,
        "test_recordings": 1,
        "unlabeled_recordings": 1,
    }


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("room.csv", "2.7", "2.8"),
        ("nodes.csv", "desk", "bench"),
        ("nodes.csv", "0.75", "0.76"),
        ("recordings.csv", "1.25", "1.26"),
        ("recordings.csv", "one.wav,train", "one.wav,test"),
        ("recordings.csv", "five.wav,,,,\n", ""),
    ],
)
def test_the_fingerprint_is_that_of_the_tables(folder, table, old, new):
    before = open_session(folder).fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", before)
    path = folder / table
    path.write_text(path.read_text() + "\n")
    assert open_session(folder).fingerprint() == before
    made_sessions.replace(path, old, new)
    assert open_session(folder).fingerprint() != before


def test_the_fingerprint_is_that_of_names_and_sizes_of_files(folders):
    before = open_session(folders).fingerprint()
    (folders / "one" / "desk.wav").rename(folders / "one" / "desk.WAV")
    renamed = open_session(folders).fingerprint()
    signals = made_sessions.samples("one")
    made_sessions.write_recording(folders, "one", signals[:, :-1], "folders")
    (folders / "one" / "desk.WAV").unlink()
    assert len({before, renamed, open_session(folders).fingerprint()}) == 3


def test_the_fingerprint_is_that_of_channels(folder):
    def fingerprint(*numbers):
        lines = [
            ",".join([node, *map(str, place), str(number)])
            for node, place, number in zip(
                NODES, made_sessions.NODE_POSITIONS, numbers, strict=True
            )
        ]
        text = "\n".join(["node,x,y,z,channel", *lines])
        (folder / "nodes.csv").write_text(text)
        return open_session(folder).fingerprint()

    before = open_session(folder).fingerprint()
    assert fingerprint(1, 2, 3) == before
    assert len({before, fingerprint(2, 1, 3), fingerprint(3, 2, 1)}) == 3
    with pytest.raises(sessions.SessionError, match=r"channels of some nodes alone"):
        fingerprint(1, 2, "")


def test_late_recorders_are_zero_before_they_start(folders):
    """And one knock among the words does not outweigh them."""
    rng = np.random.default_rng(3)
    levels = np.repeat(10 ** rng.uniform(-2, 0, 400), 800)
    speech = 0.05 * rng.normal(size=len(levels)) * levels
    speech[150_000:150_400] = 1.0
    late = {"door": 0, "desk": 16_000, "lamp": 8_000}
    for node, start in late.items():
        write(
            folders / "one" / f"{node}.wav",
            0.02 + 0.9 * speech[start:],
            subtype="FLOAT",
        )
    (folders / "recordings.csv").write_text("recording\none\n")
    listed = open_session(folders).listed(labeled_only=False)
    survey = listed.surveyed["one"]
    np.testing.assert_allclose(survey.starts, list(late.values()), atol=320)
    assert len(listed.starts["one"]) > 150
    signals = listed.load(listed.recordings[0])
    for signal, start in zip(signals, survey.starts, strict=True):
        np.testing.assert_array_equal(signal[:start], 0)
        assert abs(signal[start:].mean()) < 1e-3
    window = listed.load_window(listed.recordings[0], 7_600)
    np.testing.assert_allclose(
        window, signals[:, 7_600 : 7_600 + NUM_SAMPLES], atol=1e-7
    )
    # A data set takes what all recorded.
    assert min(listed.starts["one"]) == survey.starts.max()


# --- What is refused --------------------------------------------------------------------


def spoiled(path, change, rate=RATE):
    """Write a file of the first recording again, its samples [M, N] changed."""
    signals = made_sessions.samples("one").astype(float) / 32_768
    write(path, change(signals).T, rate, subtype="FLOAT")


def short(signals):
    return signals[:, : NUM_SAMPLES - 1]


def with_value(value, share=1.0):
    def change(signals):
        count = int(share * signals.shape[1])
        signals[1, :count] = value
        return signals

    return change


@pytest.mark.parametrize(
    ("change", "rate", "message"),
    [
        (lambda s: s[:2], RATE, "has 2 channels; expected 3 for 3 nodes"),
        (lambda s: np.concatenate([s, s]), RATE, "has 6 channels; expected 3"),
        (
            short,
            RATE,
            r"'one.wav': the recording is 0.0999 s long, less than the 0.1 s of",
        ),
        (lambda s: s, 4000, "has a sample rate of 4000 Hz; record at 8000 Hz or more"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(folder, change, rate, message):
    spoiled(folder / "one.wav", change, rate)
    with pytest.raises(sessions.SessionError) as raised:
        open_session(folder)
    assert re.search(message, str(raised.value)), raised.value
    assert "recordings.csv', line 2, recording 'one.wav': " in str(raised.value)


def test_a_file_that_cannot_be_read_is_refused(folder):
    (folder / "one.wav").write_bytes(b"RIFF")
    (folder / "three.wav").write_bytes(b"")
    with pytest.raises(sessions.SessionError, match="2 problems") as raised:
        open_session(folder)
    assert "line 2, recording 'one.wav': " in str(raised.value)
    assert "three.wav' is empty" in str(raised.value)


def test_a_file_that_is_not_whole_is_refused(folder):
    session = open_session(folder)
    spoiled(folder / "one.wav", lambda s: s[:, :-1])
    with pytest.raises(signals_lib.SignalError, match="is truncated"):
        session.load(session.recordings[0])


def stereo(path):
    write(path, np.stack([tone(0.55), tone(0.55)], axis=1))


REFUSED_FILES = {
    "missing": (
        lambda one: (one / "desk.wav").unlink(),
        "'one': there is no file of node 'desk'; add it, or remove the node from nodes.csv",
    ),
    "unknown": (
        lambda one: write(one / "ceiling.wav", tone()),
        r"'one': '.*ceiling.wav' belongs to node 'ceiling', which is not in nodes.csv; add it",
    ),
    "empty folder": (
        lambda one: shutil.rmtree(one) or one.mkdir(),
        "neither a folder '.*one' with NODE.wav",
    ),
    "twice": (
        lambda one: write(one / "desk.flac", tone()),
        "node 'desk' has desk.flac and desk.wav; keep one of them",
    ),
    "stereo": (
        lambda one: stereo(one / "desk.wav"),
        "desk.wav' has 2 channels; name the one to use in a column channel of nodes.csv",
    ),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_files_of_nodes_that_cannot_be_right_are_refused(folders, case):
    spoil, message = REFUSED_FILES[case]
    spoil(folders / "one")
    with pytest.raises(sessions.SessionError, match=message) as raised:
        open_session(folders)
    assert "recordings.csv', line 2, recording 'one': " in str(raised.value)


def test_unknown_nodes_are_refused_among_beginnings(written, tmp_path):
    own = shutil.copytree(written["beginnings"], tmp_path / "own")
    write(own / "takes" / "one-ceiling.wav", tone(0.55))
    with pytest.raises(
        sessions.SessionError, match=r"ceiling.wav' belongs to node 'ceiling'"
    ):
        open_session(own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value(np.nan, 0.1), "of node desk holds NaN"),
        (with_value(0.001), "of node desk is silent"),
        (with_value(1.0, 0.01), "of node desk is clipped"),
    ],
)
def test_signals_that_cannot_be_right_are_refused(folder, change, message):
    spoiled(folder / "one.wav", change)
    session = open_session(folder)
    with pytest.raises(
        signals_lib.SignalError, match=f"recording 'one.wav': the signal {message}"
    ):
        session.load(session.recordings[0])
    with pytest.raises(sessions.SessionError, match=f"{message}.*record it again"):
        session.listed()
    left_out = []
    rest = session.listed(left_out)
    assert len(left_out) == 1
    assert re.search(message, left_out[0])
    assert rest.starts.keys() == {"two.wav", "three.wav", "four.wav"}
    names = [recording.name for recording in rest.recordings]
    assert names == ["two.wav", "three.wav", "four.wav", "five.wav"]


def test_where_nothing_is_left_it_is_an_error(folder):
    for name in RECORDINGS:
        spoiled(folder / f"{name}.wav", lambda signals: signals * 0)
    with pytest.raises(sessions.SessionError, match="4 problems in"):
        open_session(folder).listed([])


def test_sound_after_the_last_whole_window_is_no_example(folder):
    def late(signals):
        signals[:, :] = 0
        signals[:, -NUM_SAMPLES // 2 :: 2] = 0.5
        signals[:, -NUM_SAMPLES // 2 + 1 :: 2] = -0.5
        return signals

    spoiled(folder / "one.wav", late)
    with pytest.raises(sessions.SessionError, match=r"'one.wav' has no sound in whole"):
        open_session(folder).listed()


def test_a_session_without_any_places_makes_no_data_set(folder):
    (folder / "recordings.csv").write_text("recording,split,x,y,z\none.wav,,,,\n")
    session = open_session(folder)
    assert session.load(session.recordings[0]).shape == (3, 5.5 * NUM_SAMPLES)
    with pytest.raises(
        sessions.SessionError, match="has positions of talkers; fill in"
    ):
        session.listed()


# --- The page for users -----------------------------------------------------------------


def test_the_example_of_the_page_is_a_session(tmp_path):
    """With the tables it shows, and the files it names."""
    text = PAGE.read_text()
    table = r"`((?:room|nodes|recordings)\.csv)` .+(?:\n.+)*\n\n((?:    .+\n)+)"
    shown = dict(re.findall(table, text))
    assert set(shown) == {"room.csv", "nodes.csv", "recordings.csv"}
    for name, lines in shown.items():
        (tmp_path / name).write_text(re.sub("(?m)^    ", "", lines))
    names = re.findall(r"my_lab/(\S+\.(?:wav|flac))", text)
    for name in names:
        channels = 1 if re.search("window|shelf|door", name) else 3
        rng = np.random.default_rng(0)
        write(tmp_path / name, rng.normal(scale=0.1, size=(40_000, channels)))
    session = sessions.open_session(tmp_path)
    assert len(session.recordings) >= 4
    used = {path for recording in session.recordings for path in recording.files}
    assert used == {tmp_path / name for name in names}
    session.listed()
