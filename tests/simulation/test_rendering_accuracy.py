"""Rendered rooms against pyroomacoustics, its responses and its acoustics."""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.signal
from conftest import decibels
from made_rooms import SHORT, draw_rooms, keys_of, noise_like, silence, small_batch

from benchmarks.rendering import measures
from uld_jax.acoustics import constants
from uld_jax.simulation import nonuniform_fft, rendering
from uld_jax.simulation import rooms as rooms_lib

RATE = constants.SAMPLE_RATE
FULL = rooms_lib.RenderSettings(
    num_samples=8000,
    before=1600,
    late="full",
    responses=True,
    highpass=0.0,
    response_length=16_000,
)
THINNED = dataclasses.replace(FULL, late="thinned")


@functools.cache
def their_responses(room, source, nodes, t60, length):
    """Return pyroomacoustics's responses [M, length], its high-pass off."""
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    absorption, order = 1.0, 0
    if t60:
        absorption, order = pyroomacoustics.inverse_sabine(t60, room)
    shoebox = pyroomacoustics.ShoeBox(
        room,
        fs=RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
        use_rand_ism=False,
        air_absorption=False,
    )
    shoebox.add_source(source)
    shoebox.add_microphone_array(np.array(nodes).T)
    pyroomacoustics.constants.set("rir_hpf_enable", False)
    try:
        shoebox.compute_rir()
    finally:
        pyroomacoustics.constants.set("rir_hpf_enable", True)
    responses = np.zeros((len(nodes), length))
    for node, (response,) in enumerate(shoebox.rir):
        responses[node, : len(response)] = response[:length]
    return responses


def theirs(rooms, number, settings, source=0):
    return their_responses(
        tuple(rooms.size[number].tolist()),
        tuple(rooms.source_positions[number, source].tolist()),
        tuple(map(tuple, rooms.node_positions[number].tolist())),
        float(rooms.t60[number]),
        settings.response_length + 2 * nonuniform_fft.LEAD,
    )


def test_full_responses_are_those_of_pyroomacoustics():
    rooms = draw_rooms(4, 4, t60=(0.2, 0.55))
    rendered = rendering.render(rooms, silence(rooms, FULL), keys_of(4), FULL)
    below = scipy.signal.butter(8, 7000, fs=RATE, output="sos")
    for number, mine in enumerate(np.asarray(rendered.responses[:, 0])):
        exact = theirs(rooms, number, FULL)
        assert decibels(mine, exact) < -46
        assert decibels(mine[:, :520], exact[:, :520]) < -46  # 30 ms.
        low, exact = (scipy.signal.sosfiltfilt(below, r) for r in (mine, exact))
        assert decibels(low, exact) < -55


def test_the_mixture_is_the_convolution_with_their_responses():
    """Two sources, and what they said before the segment."""
    rooms = draw_rooms(2, 3, 2, t60=(0.3, 0.4), seed=1)
    dry = noise_like(rooms, FULL)
    rendered = rendering.render(rooms, dry, keys_of(2), FULL)
    first = FULL.before + nonuniform_fft.LEAD
    for number, mine in enumerate(rendered.signals):
        exact = sum(
            scipy.signal.fftconvolve(
                dry[number, source][None], theirs(rooms, number, FULL, source), axes=-1
            )
            for source in range(2)
        )[:, first : first + FULL.num_samples]
        assert decibels(mine, exact) < -46


EDGES = {
    "a node 5 cm away": ([5.0, 6.0, 4.2], [2.0, 3.0, 0.95], [2.0, 3.0, 0.9]),
    "a source in a corner": ([5.0, 6.0, 4.2], [1e-3, 1e-3, 1e-3], [3.0, 1.0, 0.9]),
    "a node in a corner": ([5.0, 6.0, 4.2], [1.0, 2.0, 0.95], [4.999, 5.999, 4.199]),
    "the smallest room": ([4.0, 4.0, 4.2], [0.1, 3.9, 0.95], [3.9, 0.1, 0.9]),
    "the largest room": ([10.0, 10.0, 4.2], [0.1, 9.9, 0.95], [9.9, 0.1, 0.9]),
}


def test_edge_cases_are_as_in_pyroomacoustics():
    size, source, node = (np.array(part) for part in zip(*EDGES.values(), strict=True))
    rooms = rooms_lib.Rooms(size, np.full(5, 0.3), node[:, None], source[:, None])
    rooms = rooms._replace(node_positions=np.repeat(rooms.node_positions, 4, axis=1))
    rendered = rendering.render(rooms, silence(rooms, FULL), keys_of(5), FULL)
    for number, name in enumerate(EDGES):
        mine = np.asarray(rendered.responses[number, 0])
        assert decibels(mine, theirs(rooms, number, FULL)) < -46, name


def test_direct_sound_comes_when_it_should():
    """Phase slopes from 0.1 to 7 kHz at many distances, without reflections."""
    rng = np.random.default_rng(3)
    size = np.array([[10.0, 10.0, 4.2]])
    nodes = rng.uniform(0.01, 0.99, (1, 64, 3)) * size[:, None]
    source = np.array([[[4.0, 7.0, 0.95]]])
    rooms = rooms_lib.Rooms(size, np.zeros(1), nodes, source)
    settings = dataclasses.replace(SHORT, responses=True)
    rendered = rendering.render(rooms, silence(rooms, settings), keys_of(1), settings)
    responses = np.asarray(rendered.responses[0, 0], float)
    distance = np.linalg.norm(nodes[0] - source[0], axis=-1)
    delay = distance / 343.0 * RATE
    frequencies = np.fft.rfftfreq(responses.shape[1])
    used = (frequencies > 0.1 / 16) & (frequencies < 7 / 16)
    angular = 2 * np.pi * frequencies[used]
    spectra = np.fft.rfft(responses)[:, used] * distance[:, None]
    turned = spectra * np.exp(1j * angular * (delay + nonuniform_fft.LEAD)[:, None])
    slopes = (np.angle(turned) * angular).sum(1) / (angular**2).sum()
    assert np.abs(slopes).max() < 2e-4
    assert np.ptp(slopes) < 4e-4  # Any difference of arrival times.
    assert np.abs(20 * np.log10(np.abs(turned))).max() < 0.03


@pytest.fixture(scope="module")
def acceptance():
    """Rooms with 12 nodes: full (as of pyroomacoustics) and thinned responses."""
    rooms = draw_rooms(6, 12, t60=(0.25, 0.75), seed=4)
    responses = [
        np.asarray(
            rendering.render(
                rooms, silence(rooms, settings), keys_of(6), settings
            ).responses[:, 0],
            float,
        )
        for settings in (FULL, THINNED)
    ]
    return rooms, *responses


def test_the_early_part_of_the_thinned_field_is_exact(acceptance):
    rooms, _, thinned = acceptance
    radius = rooms_lib.compute_walls(rooms, THINNED).exact_radius
    center = np.asarray(rooms.size)[:, None] / 2
    reach = np.linalg.norm(rooms.node_positions - center, axis=-1).max(1)
    for number in (0, 2):
        early = int((radius[number] - reach[number]) / 343.0 * RATE)
        assert early > 0.03 * RATE
        exact = theirs(rooms, number, THINNED)
        assert decibels(thinned[number][:, :early], exact[:, :early]) < -46


def test_the_thinned_field_sounds_as_the_full_one(acceptance):
    """SIMULATION 7: DRR, C50, T30 and decay, above 80 Hz."""
    rooms, *both = acceptance
    filtered = scipy.signal.butter(2, 80, "high", fs=RATE, output="sos")
    full, thinned = (scipy.signal.sosfiltfilt(filtered, part) for part in both)
    distance = np.linalg.norm(rooms.node_positions - rooms.source_positions, axis=-1)
    onset = np.round(distance / 343.0 * RATE).astype(int) + nonuniform_fft.LEAD

    def per_room(error):
        return np.sqrt((error**2).mean(axis=1))

    drr = measures.direct_to_reverberant
    assert per_room(drr(thinned, onset) - drr(full, onset)).max() < 0.3
    c50 = measures.clarity
    assert per_room(c50(thinned, onset) - c50(full, onset)).max() < 0.6
    times = [measures.reverberation_time(part).mean(axis=1) for part in (full, thinned)]
    ratio = times[1] / times[0]
    assert np.abs(ratio - 1).max() < 0.06
    assert abs(ratio.mean() - 1) < 0.015
    decays = [measures.energy_decay(part) for part in (full, thinned)]
    received = decays[0] > -30
    deviation = np.where(received, np.abs(decays[1] - decays[0]), 0).max(axis=-1)
    assert deviation.mean(axis=1).max() < 1.5


def test_the_thinned_tail_is_as_coherent_between_nodes_as_the_full_one():
    """Real coherence from 0.8 to 1.6 kHz after 120 ms, pairs 5, 10 and 20 cm apart."""
    rng = np.random.default_rng(5)
    distances = np.array([0.05, 0.10, 0.20])
    count = 6
    size = np.append(rng.uniform(5, 8, (count, 2)), np.full((count, 1), 4.2), axis=1)
    nodes, sources = [], []
    for _ in range(count):
        middles = rng.uniform(1.0, 4.0, (4, 2))
        angles = rng.uniform(0, 2 * np.pi, 4)
        turn = np.stack([np.cos(angles), np.sin(angles)], -1)
        places = [middles] + [middles + d * turn for d in distances]
        flat = np.concatenate(places)
        nodes.append(np.append(flat, np.full((16, 1), 0.9), axis=1))
        sources.append([[*rng.uniform(0.5, 4.5, 2), 0.95]])
    rooms = rooms_lib.Rooms(
        size, np.full(count, 0.6), np.array(nodes), np.array(sources)
    )
    means = []
    for settings in (FULL, THINNED):
        rendered = rendering.render(
            rooms, silence(rooms, settings), keys_of(count), settings
        )
        tails = np.asarray(rendered.responses[:, 0, :, int(0.12 * RATE) : 9000], float)
        spectra = np.fft.rfft(tails * np.hanning(tails.shape[-1]))
        frequencies = np.fft.rfftfreq(tails.shape[-1], 1 / RATE)
        band = (frequencies > 800) & (frequencies < 1600)
        spectra = spectra[..., band].reshape(count, 4, 4, -1)  # Distance, pair.
        cross = (spectra[:, :1].conj() * spectra).real.sum(axis=(0, 2, 3))
        power = (np.abs(spectra) ** 2).sum(axis=(0, 2, 3))
        means.append(cross[1:] / np.sqrt(power[0] * power[1:]))
    full, thinned = means
    assert full[0] > 0.6  # As in a diffuse field: sin(kd) / kd is 0.81.
    np.testing.assert_allclose(thinned, full, atol=0.08)


def test_without_reflections_it_is_the_direct_sound():
    rooms = small_batch(2)._replace(t60=np.zeros(2))
    settings = dataclasses.replace(SHORT, responses=True)
    rendered = rendering.render(rooms, silence(rooms, settings), keys_of(2), settings)
    for number, mine in enumerate(np.asarray(rendered.responses[:, 0])):
        assert decibels(mine, theirs(rooms, number, settings)) < -46


def test_int32_is_precise_where_the_direct_sound_is_loud_and_the_tail_long():
    """A node 5 cm from the source in the smallest room, T60 0.6 s; then the tail."""
    nodes = np.array([[[2.0, 3.0, 0.9], [3.5, 0.5, 0.9]]])
    size, source = np.array([[4.0, 4.0, 4.2]]), np.array([[[2.0, 3.0, 0.95]]])
    rooms = rooms_lib.Rooms(size, np.array([0.6]), nodes, source)
    exact, mine = (
        np.asarray(
            rendering.render(
                rooms,
                silence(rooms, FULL),
                keys_of(1),
                dataclasses.replace(FULL, deterministic=deterministic),
            ).responses[0, 0],
            float,
        )
        for deterministic in (False, True)
    )
    for node in range(2):
        assert decibels(mine[node], exact[node]) < -90
        assert decibels(mine[node, 6000:], exact[node, 6000:]) < -60
