"""MUSIC against pyroomacoustics, a plane wave in closed form, and exact delays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from free_field import delay, free_field

from uld_jax.acoustics import stft
from uld_jax.labels import bearings
from uld_jax.localization import batches, compact_arrays, music
from uld_jax.simulation import scenes

ROOM = np.float32([6.0, 6.0, 4.2])
NODES = scenes.l1_nodes().astype(np.float32)
SPEED, RATE = 343.0, 16_000
GRID = np.radians(np.arange(0, 360, 1.0))
LOW, HIGH = 10, 128  # Bins, from 312 to 4,000 Hz.
spectra_of = jax.jit(music.music_spectra, static_argnums=(2, 4))


def plane_wave(offsets, azimuth, num_samples=8000, noise=0.0, seed=0):
    """Return the signals [M, N] of a plane wave of white noise at an array."""
    rng = np.random.default_rng(seed)
    toward = np.array([np.cos(azimuth), np.sin(azimuth)])
    signals = delay(rng.normal(size=num_samples), -(offsets @ toward) / SPEED)
    return signals + noise * rng.normal(size=signals.shape)


def ring(radius=0.08, number=5):
    turns = 2 * np.pi * np.arange(number) / number
    return radius * np.stack([np.cos(turns), np.sin(turns)], axis=-1)


def whole_spectra(spectra, offsets, num_sources=1):
    return spectra_of(
        *(jnp.asarray(spectra[..., LOW - 1 : HIGH], jnp.complex64), offsets, LOW),
        *(jnp.asarray(GRID, jnp.float32), num_sources),
    )


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("kind", ["line", "ring"])
def test_spectra_are_those_of_pyroomacoustics(kind, normalized):
    """On the same short-time spectra of two talkers in noise."""
    doa = pytest.importorskip("pyroomacoustics").doa
    offsets = ring() if kind == "ring" else np.array([[x, 0.0] for x in (-3, -1, 1, 3)])
    offsets = offsets if kind == "ring" else 0.04 * offsets
    signals = plane_wave(offsets, 0.7, noise=0.3) + plane_wave(offsets, 2.4, seed=1)
    spectra = np.asarray(stft.stft(jnp.asarray(signals, jnp.float32)))
    with_constant = np.pad(spectra, [(0, 0), (0, 0), (1, 0)]).transpose(0, 2, 1)
    method = doa.NormMUSIC if normalized else doa.MUSIC
    theirs = method(offsets.T, RATE, 512, SPEED, num_src=2, azimuth=GRID)
    theirs.locate_sources(with_constant, freq_bins=np.arange(LOW, HIGH + 1))
    found = np.asarray(whole_spectra(spectra, offsets, 2), float)
    if normalized:
        found /= found.max(axis=-1, keepdims=True)
    found = found.mean(axis=0)
    expected = theirs.grid.values
    np.testing.assert_allclose(
        found / found.max(), expected / expected.max(), rtol=5e-3
    )
    assert found.argmax() == expected.argmax()


def test_a_plane_wave_leaves_what_its_steering_vector_does_not_span():
    """In closed form: the noise space holds M - |a(theta)^H a(theta_0)|^2 / M."""
    offsets, azimuth, offset = ring(), np.radians(77.0), 2 * np.pi * 1000.0 / SPEED
    bin_number = 32  # 1,000 Hz.
    turns = np.stack([np.cos(GRID), np.sin(GRID)])
    steering = np.exp(1j * offset * offsets @ turns)
    toward = np.exp(
        1j * offset * offsets @ np.array([np.cos(azimuth), np.sin(azimuth)])
    )
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(9, 2)) @ np.array([1.0, 1j])
    spectra = (toward[:, None] * frames)[..., None]
    found = spectra_of(
        *(jnp.asarray(spectra, jnp.complex64), offsets, bin_number),
        *(jnp.asarray(GRID, jnp.float32), 1),
    )
    held = len(offsets) - np.abs(steering.T.conj() @ toward) ** 2 / len(offsets)
    away = held > 0.01
    np.testing.assert_allclose(np.asarray(found)[0, away], 1 / held[away], rtol=1e-3)
    assert GRID[int(found[0].argmax())] == pytest.approx(azimuth)


@pytest.mark.parametrize("degrees", [-61.3, -20.0, 0.25, 44.4, 70.0])
def test_the_direction_of_a_plane_wave_is_found_between_grid_points(degrees):
    left, _ = compact_arrays.find(NODES, ROOM)
    azimuth = np.radians(degrees)
    signals = plane_wave(np.array(left.offsets), azimuth, 2560, noise=1e-3)
    found, deviation = jax.jit(music.find_direction, static_argnums=1)(
        jnp.asarray(signals, jnp.float32), left
    )
    assert abs(found - azimuth) < np.radians(0.2)
    assert 0.001 < deviation < np.radians(0.5)


@functools.cache
def l1_like(number=24):
    """Return signals, nodes, rooms and sources in the room of L-1."""
    rng = np.random.default_rng(5)
    sources = np.column_stack(
        [rng.uniform(0.8, 5.6, (number, 2)), np.full(number, 0.95)]
    )
    signals = np.stack(
        [free_field(rng, source[None], NODES, 2560) for source in sources]
    )
    return signals, np.stack([NODES] * number), np.stack([ROOM] * number), sources


def test_two_arrays_find_a_source_and_say_how_surely():
    signals, nodes, rooms, sources = l1_like()
    found, radii = music.music(signals, nodes, rooms)
    errors = np.linalg.norm(np.asarray(found)[:, 0] - sources[:, :2], axis=-1)
    assert np.median(errors) < 0.05
    assert errors.max() < 0.5
    assert (np.asarray(radii) > 0).all()
    assert (errors < np.asarray(radii)[:, 0]).mean() > 0.6


def test_absent_nodes_and_the_order_of_arrays_change_nothing():
    signals, nodes, rooms, _ = (part[:2] for part in l1_like())
    expected, _ = music.music(signals, nodes, rooms)
    order = [4, 5, 6, 7, 0, 1, 2, 3]
    found, _ = music.music(signals[:, order], nodes[:, order], rooms)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    padding = (0, 0), (1, 0), (0, 0)
    padded = [np.pad(a, padding, constant_values=np.nan) for a in (signals, nodes)]
    mask = np.ones((2, 9), bool)
    mask[:, 0] = False
    found, _ = music.music(*padded, rooms, mask)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_silence_is_somewhere_in_the_room():
    signals, nodes, rooms, _ = (part[:2] for part in l1_like())
    found, radii = music.music(0 * signals, nodes, rooms)
    assert ((found >= 0) & (found <= rooms[:, None, :2])).all()
    assert np.isfinite(radii).all()


def test_bad_input_is_named():
    signals, nodes, rooms, _ = (part[:2] for part in l1_like())
    with pytest.raises(batches.RecordingError, match="num_sources is 2; directions"):
        music.music(signals, nodes, rooms, num_sources=2)
    with pytest.raises(batches.RecordingError, match="MUSIC needs at least 768"):
        music.music(signals[..., :500], nodes, rooms)
    with pytest.raises(batches.RecordingError, match="nodes of recording 1 differ"):
        music.music(signals, nodes + np.reshape([0.0, 0.1], (2, 1, 1)), rooms)


def test_directions_of_the_two_sides_of_a_line_are_told_by_the_room():
    left, bottom = compact_arrays.find(NODES, ROOM)
    assert left.faces(jnp.radians(jnp.array([0.0, 80.0, 170.0]))).tolist() == [
        *(True, True, False)
    ]
    assert bottom.faces(jnp.radians(jnp.array([90.0, 10.0, -90.0]))).tolist() == [
        *(True, True, False)
    ]
    assert bearings.measure_bearings(
        jnp.array([3.0, 3.0]), compact_arrays.centers((left, bottom))
    ) == pytest.approx([0.0, np.pi / 2], abs=1e-6)
