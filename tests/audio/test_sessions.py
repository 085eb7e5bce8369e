"""Folders of one's own recordings: what is read, and what is refused."""

import pathlib
import re
import shutil

import made_sessions
import numpy as np
import pytest
from audio_files import RATE, tone, write
from made_sessions import NODES, NUM_SAMPLES, RECORDINGS

from uld_jax.audio import sessions
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
        assert (recording.frames, recording.rate) == (5.5 * NUM_SAMPLES, RATE)
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


def test_windows_of_all_nodes_together_are_compared():
    """At -30 dB of the strongest by the one node, at -27 dB by both."""
    quiet = 10 ** (-30.5 / 20) * tone(0.1)
    signals = np.stack(
        [np.concatenate([tone(0.1), quiet]), np.concatenate([0 * quiet, quiet])]
    )
    np.testing.assert_array_equal(sessions.windows(signals, 1600), [0, 1600])
    np.testing.assert_array_equal(sessions.windows(signals[:1], 1600), [0])


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
        (short, RATE, r"'one.wav': is 0.0999 s long, less than the 0.1 s of"),
        (
            lambda s: s,
            4000,
            "'one.wav': has a sample rate of 4000 Hz; record at 8000 Hz or more",
        ),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(folder, change, rate, message):
    spoiled(folder / "one.wav", change, rate)
    with pytest.raises(sessions.SessionError) as raised:
        open_session(folder)
    assert re.search(message, str(raised.value)), raised.value
    assert "recordings.csv', line 2, recording 'one.wav': " in str(raised.value)


def test_rates_that_differ_are_refused(folder):
    made_sessions.write_recording(
        folder, "two", made_sessions.samples("two"), rate=44_100
    )
    with pytest.raises(
        sessions.SessionError,
        match=r"line 3.*sample rate of 44100 Hz, and recording 'one.wav' 16000 Hz; convert",
    ):
        open_session(folder)


def test_a_file_that_cannot_be_read_is_refused(folder):
    (folder / "one.wav").write_bytes(b"RIFF")
    (folder / "three.wav").write_bytes(b"")
    with pytest.raises(sessions.SessionError, match="2 problems") as raised:
        open_session(folder)
    assert "line 2, recording 'one.wav': " in str(raised.value)
    assert "three.wav' is unreadable" in str(raised.value)


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
        "desk.wav' has 2 channels; expected 1 for 3 nodes",
    ),
    "another rate": (
        lambda one: write(one / "desk.wav", tone(0.55, 8000), 8000),
        "desk.wav' has a sample rate of 8000 Hz, and door.wav 16000 Hz; convert",
    ),
    "another length": (
        lambda one: write(one / "desk.wav", tone(0.5)),
        "desk.wav' has 8000 samples, and door.wav 8800; cut them to the same start",
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
