"""Headers of files: what they promise, and what is there."""

import os
import struct

import numpy as np
import pytest
import soundfile

from uld_jax.audio import file_headers, sessions, surveys

RATE = 16_000


@pytest.fixture
def path(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * RATE, 2))
    soundfile.write(tmp_path / "desk.wav", noise, RATE)
    return tmp_path / "desk.wav"


def test_a_whole_file_lacks_nothing(path):
    assert file_headers.read(path) == (3 * RATE, RATE, 2, 0)


@pytest.mark.parametrize("kept", [RATE, 2 * RATE + 1])
def test_what_a_truncated_file_lacks_is_counted(path, kept):
    path.write_bytes(path.read_bytes()[: 44 + 4 * kept])
    assert file_headers.read(path) == (kept, RATE, 2, 3 * RATE - kept)


def test_a_length_that_programs_do_not_know_is_none(path):
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    path.write_bytes(data)
    assert file_headers.read(path).missing == 0


def test_chunks_before_the_samples_are_skipped(path):
    data = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"odd\0\0\0"
    path.write_bytes(data[:36] + extra + data[36 : 44 + 4 * RATE])
    assert file_headers.read(path) == (RATE, RATE, 2, 2 * RATE)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "desk.wav")
    with pytest.raises(sessions.SessionError, match="no file, but a pipe"):
        file_headers.read(tmp_path / "desk.wav")


def test_a_survey_says_what_is_missing_and_who_is_a_copy(tmp_path):
    rng = np.random.default_rng(0)
    talk = rng.normal(size=4 * RATE) * np.repeat(rng.uniform(0, 0.1, 40), RATE // 10)
    rows = ["node,x,y,file"]
    for k, name in enumerate("abc"):
        own = talk + 0.01 * rng.normal(size=len(talk)) if name != "c" else 0.5 * own
        soundfile.write(tmp_path / f"{name}.wav", own, RATE, "PCM_24")
        rows.append(f"{name},{k},{k * k},{name}.wav")
    (tmp_path / "nodes.csv").write_text("\n".join(rows))
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    (recording,) = sessions.open_session(tmp_path).recordings
    survey = surveys.survey(recording.channels)
    assert survey.find_copies() == [(2, 1)]
    assert survey.describe("abc") == [
        "Node a has 2.0 s of the 4.0 s that its file's header names",
        "Node c has the same signal as node b",
    ]
