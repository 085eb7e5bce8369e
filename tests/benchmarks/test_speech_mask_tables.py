"""The tables of speech masks: errors, and who was taken for the talker."""

import numpy as np
import pytest

from benchmarks.reliability import speech_masks
from uld_jax.acoustics import stft


def test_errors_are_summarized_by_condition_and_method(monkeypatch):
    monkeypatch.setattr(speech_masks, "_NODES", {30: "30 nodes", 8: "8 nodes"})
    near, fooled, ghost = [0.1, 3.0], [4.0, 0.2], [2.0, 2.0]
    found = [
        {"nodes": 30, "snr_db": 0.0, "none": fooled, "masks": near},
        {"nodes": 30, "snr_db": 0.0, "none": ghost},
        {"nodes": 8, "snr_db": 0.0, "none": near},
    ]
    tables = speech_masks.summarize("Noises", found)
    assert [note.split(";")[0] for _, note, _ in tables] == ["30 nodes", "8 nodes"]
    plain, masked = tables[0][2]
    assert plain["method"] == "whitening 1" and plain["SNR dB"] == 0.0
    assert (plain["scenes"], masked["scenes"]) == (2, 1)
    assert plain["mean m"] == pytest.approx(3.0)
    assert plain["at the noise"] == "50%" and plain["beyond 0.5 m"] == "100%"
    assert masked["at the noise"] == masked["beyond 0.5 m"] == "0%"


def test_a_talker_beside_the_noise_is_not_the_noise():
    (row,) = speech_masks.summarize(
        "x", [{"nodes": 30, "snr_db": 0.0, "none": [0.1, 0.3]}]
    )[0][2]
    assert row["at the noise"] == "0%"


def test_true_masks_are_shares_of_power():
    speech, noise = np.random.default_rng(0).normal(size=(2, 2, 1024))
    found = speech_masks.true_masks(speech, 2 * noise)
    powers = [
        abs(np.asarray(stft.stft(np.float32(part)))) ** 2 for part in (speech, noise)
    ]
    expected = powers[0] / (powers[0] + 4 * powers[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
