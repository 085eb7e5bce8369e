"""Speech masks in use: overlap-add, silence, permutation, and never unless asked for."""

import jax
import numpy as np
import pytest
import scipy.signal

import uld_jax
from uld_jax.audio import builtin
from uld_jax.localization import localize as localize_lib
from uld_jax.localization import recordings, speech_masks, srp_phat
from uld_jax.networks import speech_mask

RATE = 16_000
ROOM = np.array([6.0, 5.0, 2.8])
TALKER, HUM = np.array([2.0, 3.0, 0.95]), np.array([4.8, 1.2, 0.95])
RNG = np.random.default_rng(0)
NODES = RNG.uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (8, 3))


def receive(dry, place):
    """Delay and spread a dry signal in free field."""
    paths = np.linalg.norm(NODES - place, axis=1)
    frequencies = np.fft.rfftfreq(len(dry), 1 / RATE)
    turns = np.exp(-2j * np.pi * frequencies * paths[:, None] / 343.0)
    return (
        np.fft.irfft(np.fft.rfft(dry) * turns, len(dry))[:, -32_000:] / paths[:, None]
    )


@pytest.fixture(scope="module")
def parts():
    """Speech, and a noise as loud: bursts of a hum with harmonics, and wind."""
    speech = np.asarray(builtin.synthesize("test00-0"), np.float64)[:40_000]
    time = np.arange(40_000) / RATE
    hum = sum(np.sin(2 * np.pi * 120 * k * time + k) for k in range(1, 60))
    noise = hum * (1 + np.sin(2 * np.pi * 0.7 * time)) + 5 * RNG.normal(size=40_000)
    found = receive(speech, TALKER), receive(noise, HUM)
    return [one / np.sqrt((one**2).mean()) for one in found]


@pytest.mark.parametrize("num_samples", [4000, 32_000])
def test_masks_of_one_give_the_signals_back(num_samples):
    signals = np.float32(RNG.normal(size=(3, num_samples)))
    shares = np.ones((3, -(-num_samples // 256) + 1, 256), np.float32)
    back = speech_masks.resynthesize(signals, shares, 0.0)
    np.testing.assert_allclose(back, signals, atol=1e-5)


def test_masks_of_zero_give_silence():
    signals = np.float32(RNG.normal(size=(2, 4000)))
    shares = np.zeros((2, 17, 256), np.float32)
    assert not np.asarray(speech_masks.resynthesize(signals, shares, 1.0)).any()


# SciPy warns of the very first sample, which the window leaves out.
@pytest.mark.filterwarnings("ignore:NOLA")
def test_bins_are_masked_and_whitened_as_by_scipy():
    signal = RNG.normal(size=2560)
    shares = RNG.uniform(size=(11, 256)).astype(np.float32)
    padded = np.pad(signal, 256, mode="reflect")
    kinds = {"window": "hann", "nperseg": 512, "noverlap": 256}
    _, _, bins = scipy.signal.stft(padded, boundary=None, padded=False, **kinds)
    masks = np.concatenate([shares[:, :1], shares], axis=1).T
    changed = masks**2 * bins / np.abs(bins) ** 0.8
    _, expected = scipy.signal.istft(changed, boundary=False, **kinds)
    found = speech_masks.resynthesize(np.float32(signal), shares, 0.8)
    expected = expected[256 : 256 + 2560]
    ratio = np.vdot(expected, found) / np.vdot(expected, expected)
    assert ratio > 0
    np.testing.assert_allclose(found, ratio * expected, atol=2e-4 * np.abs(found).max())


def test_each_node_is_by_itself(parts):
    signals = np.float32(parts[0] + parts[1])
    order = np.array([3, 0, 7, 1, 2, 4, 6, 5])
    straight, turned = (speech_masks.extract(one) for one in (signals, signals[order]))
    np.testing.assert_allclose(np.asarray(straight)[order], turned, atol=1e-4)
    both = speech_masks.estimate(signals.reshape(2, 4, -1))
    assert both.shares.shape == (2, 4, 126, 256) and both.talker.shape == (2, 4)
    alone = speech_masks.estimate(signals)
    np.testing.assert_allclose(
        np.asarray(both.shares).reshape(8, 126, 256), alone.shares, atol=1e-4
    )


def test_there_is_a_talker_in_speech_and_none_in_silence(parts):
    assert (speech_masks.estimate(np.float32(parts[0])).talker > 2).all()
    assert speech_masks.estimate(np.zeros((1, 32_000), np.float32)).talker[0] < -1
    white = np.float32(RNG.normal(size=(2, 32_000)))
    assert (speech_masks.estimate(white).talker < 0).all()


def test_masks_follow_the_true_ones(parts):
    speech, noise = (np.float32(one) for one in parts)
    bins = [abs(uld_jax.stft(one)) ** 2 for one in (speech, noise)]
    true = np.asarray(speech_mask.ratio_mask(*bins))
    found = np.asarray(speech_masks.estimate(speech + noise).shares)
    assert np.abs(found - true).mean() < 0.85 * np.abs(true.mean() - true).mean()
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.35


def test_the_talker_is_found_beside_a_louder_noise(parts):
    signals = np.float32(parts[0] + 1.5 * parts[1])[None]
    scene = signals, NODES[None], ROOM[None]
    masked = uld_jax.srp_phat(*scene, speech_masks=True)[0, 0]
    assert np.linalg.norm(masked - TALKER[:2]) < 0.3
    without = uld_jax.srp_phat(*scene)[0, 0]
    assert np.linalg.norm(without - HUM[:2]) < 0.3


def test_integers_and_levels_give_the_same(parts):
    signals = parts[0] + parts[1]
    integers = np.int16(20_000 * signals / np.abs(signals).max())
    one, other = (
        np.asarray(speech_masks.estimate(np.float32(each)).shares)
        for each in (signals, integers)
    )
    assert np.abs(one - other).mean() < 0.02


def test_times_are_read_from_what_is_speech(parts, monkeypatch):
    """With whitening bin by bin, and none of the whole signals."""
    signals = parts[0] + parts[1]
    kept = []
    made = localize_lib.fusion.correlate

    def correlate(padded, nodes, whitening):
        kept.append((padded[0]["audio"][0][:8], whitening))
        return made(padded, nodes, whitening)

    monkeypatch.setattr(localize_lib.fusion, "correlate", correlate)
    found = uld_jax.localize(signals, RATE, NODES, ROOM, speech_masks=True)
    ((audio, whitening),) = kept
    assert whitening == 0.0
    window = recordings.cut(signals, RATE)[0]
    expected = speech_masks.extract(window)
    np.testing.assert_allclose(audio, expected, atol=1e-4 * np.abs(expected).max())
    assert np.linalg.norm(found.position - TALKER[:2]) < 0.3


def test_without_masks_no_network_is_loaded(parts, monkeypatch):
    def refuse(*_):
        raise AssertionError("masks were not asked for")

    signals = np.float32(parts[0] + 0.1 * parts[1])
    monkeypatch.setattr(speech_masks, "load", refuse)
    found = uld_jax.localize(signals, RATE, NODES, ROOM)
    one = uld_jax.srp_phat(signals[None], NODES[None], ROOM[None])
    assert np.linalg.norm(found.position - one[0, 0]) < 0.1
    with pytest.raises(AssertionError, match="not asked for"):
        uld_jax.localize(signals, RATE, NODES, ROOM, speech_masks=True)
    with pytest.raises(AssertionError, match="not asked for"):
        srp_phat.srp_phat(signals[None], NODES[None], ROOM[None], speech_masks=True)


def test_a_network_first_loaded_by_traced_code_serves_all():
    speech_masks.load.cache_clear()
    white = np.float32(RNG.normal(size=(2, 8_000)))
    traced = jax.eval_shape(
        lambda signals: speech_masks.estimate(signals).talker, white
    )
    assert traced.shape == (2,)
    assert np.isfinite(speech_masks.estimate(white).talker).all()
