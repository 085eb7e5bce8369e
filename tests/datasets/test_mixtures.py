"""Fresh mixtures: parts that add up, an SNR, and nothing but seed and step."""

import dataclasses

import numpy as np
import pytest

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax.datasets import mixtures
from uld_jax.simulation import recipes

SPEECH, NOISE = corpora.open_speech("builtin"), corpora.open_noise("builtin")
SMALL = dataclasses.replace(recipes.ANY, num_nodes=2, num_samples=4000)


def make(rooms=3, seed=0, **options):
    return mixtures.Mixtures(
        SMALL, SPEECH, NOISE, "train", seed=seed, rooms=rooms, **options
    )


def rms(array):
    return np.sqrt((np.float64(array) ** 2).mean())


def test_a_batch_depends_on_seed_and_step_alone():
    one = make().batch(5)
    again = make().batch(5)
    for key in ("speech", "noise"):
        assert one[key].shape == (6, 4000) and one[key].dtype == np.float32
        np.testing.assert_array_equal(one[key], again[key])
    # A room is the same among fewer.
    fewer = make(rooms=2).batch(5)
    np.testing.assert_allclose(fewer["speech"], one["speech"][:4], atol=1e-6)
    for other in (make().batch(6), make(seed=1).batch(5)):
        assert np.abs(other["noise"] - one["noise"]).max() > 1e-3


def test_rooms_have_the_snr_that_was_drawn(monkeypatch):
    monkeypatch.setattr(mixtures, "_NOBODY", 0.0)
    monkeypatch.setattr(mixtures, "_CLEAN", 0.0)
    monkeypatch.setattr(mixtures, "_HISS", 0.0)
    found = make(snr_db=(7.0, 7.0)).batch(0)
    for room in range(3):
        speech, noise = (found[key][2 * room : 2 * room + 2] for key in found)
        assert 20 * np.log10(rms(speech) / rms(noise)) == pytest.approx(7.0, abs=0.01)
        # Nodes are at other distances from both.
        ratio = [rms(s) / rms(n) for s, n in zip(speech, noise, strict=True)]
        assert ratio[0] != pytest.approx(ratio[1], rel=0.01)


def test_some_rooms_have_no_talker_no_noise_or_neither(monkeypatch):
    monkeypatch.setattr(mixtures, "_HISS", 0.0)
    monkeypatch.setattr(mixtures, "_NOBODY", 1.0)
    found = make().batch(0)
    assert not found["speech"].any() and found["noise"].any()
    monkeypatch.setattr(mixtures, "_SILENT", 1.0)
    found = make().batch(0)
    assert not found["speech"].any() and not found["noise"].any()
    monkeypatch.setattr(mixtures, "_NOBODY", 0.0)
    monkeypatch.setattr(mixtures, "_CLEAN", 1.0)
    found = make().batch(0)
    assert found["speech"].any() and not found["noise"].any()


def test_hiss_is_each_recorders_own(monkeypatch):
    monkeypatch.setattr(mixtures, "_HISS", 1.0)
    monkeypatch.setattr(mixtures, "_HISS_DB", (-20.0, -20.0))
    monkeypatch.setattr(mixtures, "_NOBODY", 0.0)
    monkeypatch.setattr(mixtures, "_CLEAN", 1.0)
    found = make().batch(0)
    speech, hiss = found["speech"][:2], found["noise"][:2]
    assert 20 * np.log10(rms(hiss) / rms(speech)) == pytest.approx(-20, abs=0.2)
    assert abs(np.corrcoef(hiss)[0, 1]) < 0.1


def test_noise_is_played_faster_or_slower():
    tone = np.sin(2 * np.pi * 0.05 * np.arange(4000))
    for number in range(3):
        rng, same = (np.random.default_rng(number) for _ in range(2))
        factor = 1.4 ** same.uniform(-1, 1)
        found = mixtures._change_speed(rng, tone)
        spectrum = np.abs(np.fft.rfft(found[:2000] * np.hanning(2000)))
        assert spectrum.argmax() / 2000 == pytest.approx(0.05 * factor, rel=0.02)


def test_kinds_of_noise_can_be_left_out():
    names = [one.name for one in NOISE.utterances["train"]]
    kind = names[0]
    left = mixtures.leave_out(NOISE, (kind,))
    assert [one.name for one in left.utterances["train"]] == [
        name for name in names if not name.startswith(kind)
    ]
    assert left.utterances["test"] == NOISE.utterances["test"]
    with pytest.raises(mixtures.MixtureError, match="'whistles'; no noise"):
        mixtures.leave_out(NOISE, ("whistles",))
    with pytest.raises(mixtures.MixtureError, match="leaves no noise in 'train'"):
        mixtures.leave_out(NOISE, tuple(names))


def test_settings_without_noise_are_refused():
    config = config_lib.load_config(
        "speech_mask:tiny", **{"data.name": "simulated/l1_tiny:1.0.0"}
    )
    with pytest.raises(mixtures.MixtureError, match=r"l1_tiny.*have no noise"):
        mixtures.open_mixtures(config, "train", 0, 2)


def test_settings_say_how_many_nodes_and_which_part():
    config = config_lib.load_config("speech_mask:tiny")
    made = mixtures.open_mixtures(config, "test", 0, 1)
    facts = made.describe()
    assert facts["law"]["num_nodes"] == 2 and facts["snr_db"] == [-15.0, 40.0]
    assert made.batch(0)["speech"].shape == (2, 8000)
