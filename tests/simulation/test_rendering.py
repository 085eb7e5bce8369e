"""Rendered batches: the same in any order, and their signals, against SciPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from conftest import decibels
from made_rooms import (
    SHORT,
    keys_of,
    noise_like,
    small_batch,
    some_of,
)

from uld_jax.acoustics import constants
from uld_jax.simulation import furniture, image_source, rendering
from uld_jax.simulation import rooms as rooms_lib

RATE = constants.SAMPLE_RATE
DETERMINISTIC = dataclasses.replace(SHORT, deterministic=True)


def at_once(monkeypatch, num_rooms, images=256):
    """Render so many rooms and images at once, as accelerators do."""
    sizes = rendering._Sizes(num_rooms, images)
    monkeypatch.setattr(rendering, "_sizes", lambda: sizes)


@pytest.mark.exact
@pytest.mark.parametrize(
    ("settings", "rooms_at_once"),
    [(SHORT, 1), (DETERMINISTIC, 1), (DETERMINISTIC, 2)],
    ids=["float32", "int32", "two at once"],
)
def test_a_room_is_the_same_in_a_batch_of_any_size(
    settings, rooms_at_once, monkeypatch
):
    at_once(monkeypatch, rooms_at_once)
    rooms, keys = small_batch(), keys_of(5)
    dry, noise = noise_like(rooms, settings), noise_like(rooms, settings, 1)[:, 0]
    together = rendering.render(rooms, dry, keys, settings, noise).signals
    rows = slice(3, 4)
    apart = rendering.render(
        some_of(rooms, rows), dry[rows], keys[rows], settings, noise[rows]
    )
    np.testing.assert_array_equal(apart.signals, together[rows])


def test_lists_numpy_and_jax_arrays_give_the_same():
    rooms, keys = small_batch(1), keys_of(1)
    dry, noise = noise_like(rooms, SHORT), noise_like(rooms, SHORT, 1)[:, 0]
    # JAX arrays are float32; so are all here, for equal bits.
    gains = np.array([[1.0, -1.0, 0.0, 2.0]])
    inside = furniture.Furniture(np.array([0.1]), np.array([0.2]), gains_db=gains)
    rooms = jax.tree.map(np.float32, rooms._replace(furniture=inside))
    expected = rendering.render(rooms, dry, keys, SHORT, noise).signals
    for convert in (lambda array: np.asarray(array).tolist(), jnp.asarray):
        converted = jax.tree.map(convert, rooms)
        signals = rendering.render(
            converted, convert(dry), keys, SHORT, convert(noise)
        ).signals
        np.testing.assert_array_equal(signals, expected)


def test_int32_gives_the_same_bits_in_whatever_order_images_are_added(monkeypatch):
    rooms, keys = small_batch(1), keys_of(1)
    dry = noise_like(rooms, SHORT)
    settings = dataclasses.replace(DETERMINISTIC, late="full")
    order = int(rooms_lib.compute_walls(rooms, settings).order[0])
    count = image_source.num_images(order)
    copies = rendering._copies

    def shuffled(chunk):
        table = np.array(copies(chunk))
        table[:, :count] = np.random.default_rng(0).permutation(
            table[:, :count], axis=1
        )
        return table

    signals = {}
    for deterministic in (True, False):
        each = dataclasses.replace(settings, deterministic=deterministic)
        for name, made in (("straight", copies), ("shuffled", shuffled)):
            monkeypatch.setattr(rendering, "_copies", made)
            rendered = rendering.render(rooms, dry, keys, each)
            signals[deterministic, name] = np.asarray(rendered.signals)
    np.testing.assert_array_equal(signals[True, "straight"], signals[True, "shuffled"])
    assert (signals[False, "straight"] != signals[False, "shuffled"]).any()
    assert decibels(signals[True, "straight"], signals[False, "straight"]) < -95


def test_rooms_side_by_side_are_as_one_by_one(monkeypatch):
    """As an accelerator does it."""
    rooms, keys = small_batch(3), keys_of(3)
    dry, noise = noise_like(rooms, SHORT), noise_like(rooms, SHORT, 1)[:, 0]
    alone = rendering.render(rooms, dry, keys, SHORT, noise).signals
    at_once(monkeypatch, 2, images=4096)
    together = rendering.render(rooms, dry, keys, SHORT, noise).signals
    assert decibels(together, alone) < -90


def test_another_key_changes_the_late_field_and_the_noise():
    rooms, dry = small_batch(1), noise_like(small_batch(1), SHORT)
    one, same, other = (
        np.asarray(rendering.render(rooms, dry, keys_of(1, seed), SHORT).signals)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert -40 < decibels(one, other) < 0


def test_three_sources_are_the_sum_of_each():
    rooms, keys = small_batch(1, num_sources=3), keys_of(1)
    settings = dataclasses.replace(SHORT, late="full")
    dry = noise_like(rooms, settings)
    together = rendering.render(rooms, dry, keys, settings).signals
    apart = sum(
        np.asarray(
            rendering.render(
                rooms._replace(source_positions=rooms.source_positions[:, [s]]),
                dry[:, [s]],
                keys,
                settings,
            ).signals
        )
        for s in range(3)
    )
    assert decibels(together, apart) < -90


def test_the_highpass_is_that_of_scipy():
    rooms, keys = small_batch(1), keys_of(1)
    settings = dataclasses.replace(SHORT, before=0, highpass=0.0)
    # Quiet at its ends, where a filter run forth and back depends on what it assumes.
    dry = noise_like(rooms, settings) * np.float32(np.hanning(settings.num_dry) ** 4)
    butter = scipy.signal.butter(2, 80, "high", fs=RATE, output="sos")
    filtered = scipy.signal.sosfiltfilt(butter, dry, padlen=0).astype(np.float32)
    wanted = rendering.render(rooms, filtered, keys, settings).signals
    settings = dataclasses.replace(settings, highpass=80.0)
    assert decibels(rendering.render(rooms, dry, keys, settings).signals, wanted) < -40


@pytest.mark.parametrize("kind", rooms_lib.NOISES)
def test_noise_has_the_wanted_level(kind):
    rooms, keys = small_batch(), keys_of(5)
    settings = dataclasses.replace(SHORT, noise=kind)
    dry, noise = noise_like(rooms, settings), 7 * noise_like(rooms, settings, 1)[:, 0]
    clean = np.asarray(rendering.render(rooms, dry, keys, settings).signals, float)
    noisy = rendering.render(rooms, dry, keys, settings, noise)
    power = (clean**2).mean(axis=(1, 2))
    left = ((np.asarray(noisy.signals) - clean) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(10 * np.log10(power / left), rooms.snr_db, atol=1e-2)
    np.testing.assert_allclose(noisy.speech, power, rtol=1e-4)


def received_noise(kind, rooms, settings, noise):
    """Return the noise alone, [B, M, N], at 0 dB."""
    rooms = rooms._replace(snr_db=np.zeros(len(rooms.t60)))
    keys, dry = keys_of(len(rooms.t60)), noise_like(rooms, settings, 9)
    settings = dataclasses.replace(settings, noise=kind)
    clean = rendering.render(rooms, dry, keys, settings).signals
    noisy = rendering.render(rooms, dry, keys, settings, noise).signals
    return np.asarray(noisy - clean, float)


def test_noise_from_a_point_is_a_source_there():
    rooms = small_batch(1)._replace(t60=np.zeros(1))
    noise = noise_like(rooms, SHORT, 1)[:, 0]
    received = received_noise("point", rooms, SHORT, noise)
    there = rooms._replace(source_positions=rooms.noise_position[:, None])
    exact = np.asarray(
        rendering.render(there, noise[:, None], keys_of(1), SHORT).signals, float
    )
    exact *= np.sqrt((received**2).mean() / (exact**2).mean())
    assert decibels(received, exact) < -70


def test_diffuse_noise_is_coherent_as_theory_says_and_independent_is_not(monkeypatch):
    count, distances = 40, np.array([0.05, 0.1, 0.2, 0.4])
    nodes = np.tile([2.0, 2.0, 0.9], (count, 5, 1))
    nodes[:, 1:, 0] += distances
    rooms = rooms_lib.Rooms(
        np.tile([6.0, 5.0, 4.2], (count, 1)),
        np.zeros(count),
        nodes,
        np.tile([4.0, 4.0, 0.95], (count, 1, 1)),
    )
    at_once(monkeypatch, count)
    noise = noise_like(rooms, SHORT, 2)[:, 0]
    frequencies = np.fft.rfftfreq(SHORT.num_samples, 1 / RATE)
    band = (frequencies > 700) & (frequencies < 900)
    for kind in ("diffuse", "independent"):
        spectra = np.fft.rfft(received_noise(kind, rooms, SHORT, noise))[..., band]
        cross = (spectra[:, :1].conj() * spectra[:, 1:]).sum(axis=(0, 2)).real
        power = (np.abs(spectra) ** 2).sum(axis=(0, 2))
        coherence = cross / np.sqrt(power[0] * power[1:])
        expected = np.sinc(2 * 800 * distances / 343.0) * (kind == "diffuse")
        np.testing.assert_allclose(coherence, expected, atol=0.06)
