"""SRP-PHAT against its written-out sum, and in rooms without reflections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from free_field import (
    free_field,
    free_field_rooms,
    random_places,
)

from uld_jax.acoustics import correlations
from uld_jax.localization import batches, srp_phat
from uld_jax.simulation import scenes


def distances(found, sources):
    """Return the distance [B, S, S] of each place found from each source."""
    offsets = np.asarray(found)[:, :, None] - sources[:, None, :, :2]
    return np.linalg.norm(offsets, axis=-1)


def written_out(signals, nodes, points):
    """Return the steered response power at points [P, 3], pair by pair.

    Correlations are at eight times the rate, where straight lines do.
    """
    num_fft = correlations.transform_length(signals.shape[-1], 1024)
    spectra = np.fft.rfft(signals.astype(float), num_fft)
    spectra /= np.abs(spectra)
    lags = np.arange(-8 * 1024, 8 * 1024 + 1)
    power = np.zeros(len(points))
    for one in range(len(nodes)):
        for other in range(one + 1, len(nodes)):
            row = np.fft.irfft(spectra[one] * spectra[other].conj(), 8 * num_fft)
            to_one = np.linalg.norm(points - nodes[one], axis=1)
            to_other = np.linalg.norm(points - nodes[other], axis=1)
            wanted = (to_one - to_other) / 343.0 * 16_000
            power += 8 * np.interp(8 * wanted, lags, row[lags])
    return power


def test_the_power_is_the_sum_over_pairs():
    (signals, *_), (nodes, *_), (room, _), (source, _) = free_field_rooms()
    points = random_places(np.random.default_rng(3), room[:2], 200, 1.3)
    points[0] = source
    num_fft = correlations.transform_length(signals.shape[1], 1024)
    spectra = correlations.whiten(
        jnp.asarray(signals), jnp.ones(len(nodes), bool), num_fft
    )
    found = srp_phat.response_power(
        correlations.correlate_pairs(spectra, num_fft, 1024, 2),
        jnp.asarray(nodes),
        jnp.asarray(points, jnp.float32),
        functools.partial(correlations.interpolate, oversampling=2),
    )
    expected = written_out(signals, nodes, points)
    assert expected.argmax() == 0
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


def test_smoothing_is_a_triangle_over_the_positive_part():
    """Of six entries to either side, which are half samples; less the mean."""
    row = np.random.default_rng(8).normal(size=301).astype(np.float32)
    places = np.arange(-100, 101)
    width = 1.5 / correlations.SAMPLES_PER_METER
    smooth = jax.jit(srp_phat.integrate)(row[None])[0]
    found = srp_phat.smoothed(width)(smooth, jnp.asarray(places / 2, jnp.float32))
    positive = np.maximum(row, 0.0)
    triangle = np.maximum(1 - np.abs(np.arange(-6, 7)) / 6, 0.0) / 6
    expected = np.convolve(positive, triangle, "same")[150 + places]
    np.testing.assert_allclose(found, expected - positive.mean(), atol=1e-4)


def test_exact_delays_give_the_source_to_a_centimeter():
    signals, nodes, rooms, sources = free_field_rooms()
    found = srp_phat.srp_phat(signals, nodes, rooms)
    assert distances(found, sources).max() < 0.01


def test_no_place_on_the_plan_is_worth_more():
    """A grid of 2 cm over the whole room, in noise as loud as the source."""
    signals, nodes, rooms, _ = free_field_rooms()
    noise = np.random.default_rng(5).normal(size=signals.shape)
    noisy = (signals / signals.std(-1, keepdims=True) + noise).astype(np.float32)
    found = np.asarray(srp_phat.srp_phat(noisy, nodes, rooms))
    for room in range(2):
        axes = [np.arange(0.01, side, 0.02) for side in rooms[room, :2]]
        plan = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        plan = np.concatenate([found[room], plan])
        heights = np.full((len(plan), 1), scenes.SOURCE_HEIGHT)
        power = written_out(noisy[room], nodes[room], np.hstack([plan, heights]))
        assert power.argmax() == 0 or power.max() < 1.02 * power[0]


def test_two_sources_are_found_the_stronger_first():
    signals, nodes, rooms, sources = free_field_rooms(2, levels=(0.8, 1.0), seed=1)
    found = srp_phat.srp_phat(signals, nodes, rooms, num_sources=2)
    error = distances(found, sources)
    assert np.minimum(error[:, 0, 1], error[:, 0, 0]).max() < 0.01
    np.testing.assert_array_equal(error.argmin(axis=2), [[1, 0], [1, 0]])
    assert error.min(axis=2).max() < 0.01


@pytest.mark.parametrize("gap", [0.8, 0.3])
def test_sources_are_kept_half_a_meter_apart(gap):
    _, nodes, rooms, _ = free_field_rooms()
    rng = np.random.default_rng(9)
    sources = np.array([[2.0, 3.0, 0.95], [2.0 + gap, 3.0, 0.95]])
    signals = np.stack([free_field(rng, sources, one, 4000) for one in nodes])
    found = np.asarray(srp_phat.srp_phat(signals, nodes, rooms, num_sources=2))
    error = distances(found, sources[None])
    assert error.min(axis=2)[:, 0].max() < 0.01
    assert (error.min(axis=1).max() < 0.01) == (gap > 0.5)
    assert np.linalg.norm(found[:, 0] - found[:, 1], axis=-1).min() > 0.45


def test_nodes_at_any_height_find_sources_at_the_walls():
    _, nodes, rooms, _ = free_field_rooms()
    rng = np.random.default_rng(4)
    nodes = nodes.copy()
    nodes[..., 2] = rng.uniform(0.5, 2.5, nodes.shape[:2])
    height = scenes.SOURCE_HEIGHT
    sources = np.array([[[0.03, 9.4, height]], [[5.0, 0.0, height]]])
    both = zip(sources, nodes, strict=True)
    signals = np.stack([free_field(rng, *places, 4000) for places in both])
    found = srp_phat.srp_phat(signals, nodes, rooms)
    assert distances(found, sources).max() < 0.01


def test_silence_is_somewhere_in_the_room():
    signals, nodes, rooms, sources = free_field_rooms()
    one_silent = signals.copy()
    one_silent[:, 2] = 0.0
    found = srp_phat.srp_phat(one_silent, nodes, rooms)
    assert distances(found, sources).max() < 0.01
    nowhere = np.asarray(srp_phat.srp_phat(0 * signals, nodes, rooms))
    assert ((nowhere >= 0) & (nowhere <= rooms[:, None, :2])).all()


@pytest.mark.parametrize(("whitening", "found"), [(1.0, 1), (0.65, 0), (None, 0)])
def test_less_whitening_prefers_what_is_loud_at_few_frequencies(whitening, found):
    """A voice below 1 kHz, and white noise elsewhere that is 10 dB weaker."""
    _, (*_, nodes), (*_, room), _ = free_field_rooms()
    places = [[1.5, 1.2, 1.3], [3.9, 3.1, 1.3]]
    voice, noise = (
        free_field(np.random.default_rng(number), [place], nodes, 8_000)
        for number, place in enumerate(places)
    )
    spectra = np.fft.rfft(voice)
    spectra[:, np.fft.rfftfreq(8_000, 1 / 16_000) > 1_000] = 0.0
    voice = np.fft.irfft(spectra)
    signals = voice / voice.std() + noise / noise.std() / np.sqrt(10)
    given = {} if whitening is None else {"whitening": whitening}
    ((place,),) = srp_phat.srp_phat(
        np.float32(signals[None]), nodes[None], room[None], source_height=1.3, **given
    )
    assert np.linalg.norm(np.asarray(place) - places[found][:2]) < 0.05


def test_it_can_be_part_of_a_larger_program():
    signals, nodes, rooms, _ = free_field_rooms()
    mask = np.ones(signals.shape[:2], bool)
    traced = jax.eval_shape(srp_phat.srp_phat, signals, nodes, rooms, mask)
    assert (traced.shape, traced.dtype) == ((2, 1, 2), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_sources": 0}, "num_sources is 0; ask for 1 to 256"),
        ({"whitening": 1.2}, "whitening is 1.2; give 0 .none. to 1"),
        ({"whitening": float("nan")}, "whitening is nan; give 0"),
        (
            {"whitening": 0.5, "speech_masks": True},
            "whitening is 0.5, and speech_masks",
        ),
        ({"mask": np.eye(2, 8, dtype=bool)}, "recording 0 has 1 nodes"),
    ],
)
def test_bad_input_is_named(changes, message):
    signals, nodes, rooms, _ = free_field_rooms()
    with pytest.raises(ValueError, match=message):
        srp_phat.srp_phat(signals, nodes, rooms, **changes)
    with pytest.raises(batches.RecordingError, match="at least 2"):
        srp_phat.srp_phat(signals[:, :1], nodes[:, :1], rooms)
