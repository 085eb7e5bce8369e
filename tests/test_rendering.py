"""Rendered rooms against pyroomacoustics, SciPy and physics."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import scipy.signal
from conftest import decibels

from uld_jax import acoustics, gridding, image_source, rendering, scenes

RATE = acoustics.SAMPLE_RATE
# Few static shapes, because each is compiled.
FULL = rendering.Settings(
    num_samples=8000,
    before=1600,
    late="full",
    responses=True,
    highpass=0.0,
    response_length=16_000,
    largest_order=80,
)
THINNED = dataclasses.replace(FULL, late="thinned")
SHORT = rendering.Settings(
    num_samples=2000, before=800, response_length=4000, num_late=2048, largest_order=10
)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def draw_rooms(count, num_nodes, num_sources=1, t60=(0.25, 0.7), seed=0):
    """Return rooms of the Ad-1 law with T60 spread over a range."""
    rng = np.random.default_rng(seed)
    drawn = [
        scenes.draw_adhoc(rng, num_sources, (10.0, 20.0), num_nodes=num_nodes)
        for _ in range(count)
    ]
    rooms = rendering.Rooms.of(drawn)
    return rooms._replace(t60=np.linspace(*t60, count))


def silence(rooms, settings):
    shape = (*rooms.source_positions.shape[:2], settings.num_dry)
    return np.zeros(shape, np.float32)


def noise_like(rooms, settings, seed=0):
    rng = np.random.default_rng(seed)
    shape = (*rooms.source_positions.shape[:2], settings.num_dry)
    return rng.normal(size=shape).astype(np.float32)


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
        settings.response_length + 2 * gridding.LEAD,
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
    first = FULL.before + gridding.LEAD
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
    rooms = rendering.Rooms(size, np.full(5, 0.3), node[:, None], source[:, None])
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
    rooms = rendering.Rooms(size, np.zeros(1), nodes, source)
    settings = dataclasses.replace(SHORT, responses=True)
    rendered = rendering.render(rooms, silence(rooms, settings), keys_of(1), settings)
    responses = np.asarray(rendered.responses[0, 0], float)
    distance = np.linalg.norm(nodes[0] - source[0], axis=-1)
    delay = distance / 343.0 * RATE
    frequencies = np.fft.rfftfreq(responses.shape[1])
    used = (frequencies > 0.1 / 16) & (frequencies < 7 / 16)
    angular = 2 * np.pi * frequencies[used]
    spectra = np.fft.rfft(responses)[:, used] * distance[:, None]
    turned = spectra * np.exp(1j * angular * (delay + gridding.LEAD)[:, None])
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
    radius = rendering.walls(rooms, THINNED).exact_radius
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
    onset = np.round(distance / 343.0 * RATE).astype(int) + gridding.LEAD

    def per_room(error):
        return np.sqrt((error**2).mean(axis=1))

    drr = acoustics.direct_to_reverberant
    assert per_room(drr(thinned, onset) - drr(full, onset)).max() < 0.3
    c50 = acoustics.clarity
    assert per_room(c50(thinned, onset) - c50(full, onset)).max() < 0.6
    times = [
        acoustics.reverberation_time(part).mean(axis=1) for part in (full, thinned)
    ]
    ratio = times[1] / times[0]
    assert np.abs(ratio - 1).max() < 0.06
    assert abs(ratio.mean() - 1) < 0.015
    decays = [acoustics.energy_decay(part) for part in (full, thinned)]
    heard = decays[0] > -30
    deviation = np.where(heard, np.abs(decays[1] - decays[0]), 0).max(axis=-1)
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
    rooms = rendering.Rooms(
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


DETERMINISTIC = dataclasses.replace(SHORT, deterministic=True)


def small_batch(count=5, num_sources=1, seed=6):
    return draw_rooms(count, 4, num_sources, t60=(0.2, 0.25), seed=seed)


def some_of(rooms, rows):
    return jax.tree.map(lambda array: array[rows], rooms)


@pytest.mark.parametrize(
    "settings",
    [SHORT, DETERMINISTIC, dataclasses.replace(DETERMINISTIC, rooms_at_once=2)],
    ids=["float32", "int32", "two at once"],
)
def test_a_room_is_the_same_in_a_batch_of_any_size(settings):
    rooms, keys = small_batch(), keys_of(5)
    dry, noise = noise_like(rooms, settings), noise_like(rooms, settings, 1)[:, 0]
    together = rendering.render(rooms, dry, keys, settings, noise).signals
    rows = slice(3, 4)
    apart = rendering.render(
        some_of(rooms, rows), dry[rows], keys[rows], settings, noise[rows]
    )
    np.testing.assert_array_equal(apart.signals, together[rows])


def test_int32_gives_the_same_bits_in_whatever_order_images_are_added(monkeypatch):
    rooms, keys = small_batch(1), keys_of(1)
    dry = noise_like(rooms, SHORT)
    settings = dataclasses.replace(DETERMINISTIC, late="full", largest_order=20)
    order = int(rendering.walls(rooms, settings).order[0])
    count = image_source.num_images(order)
    copies = rendering._copies

    def shuffled(settings):
        table = np.array(copies(settings))
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


def test_int32_is_precise_where_the_direct_sound_is_loud_and_the_tail_long():
    """A node 5 cm from the source in the smallest room, T60 0.6 s; then the tail."""
    nodes = np.array([[[2.0, 3.0, 0.9], [3.5, 0.5, 0.9]]])
    size, source = np.array([[4.0, 4.0, 4.2]]), np.array([[[2.0, 3.0, 0.95]]])
    rooms = rendering.Rooms(size, np.array([0.6]), nodes, source)
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


def test_rooms_side_by_side_are_as_one_by_one():
    """As an accelerator does it."""
    rooms, keys = small_batch(3), keys_of(3)
    dry, noise = noise_like(rooms, SHORT), noise_like(rooms, SHORT, 1)[:, 0]
    alone = rendering.render(rooms, dry, keys, SHORT, noise).signals
    settings = dataclasses.replace(SHORT, rooms_at_once=2, chunk=4096)
    assert (
        decibels(rendering.render(rooms, dry, keys, settings, noise).signals, alone)
        < -90
    )


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
    settings = dataclasses.replace(SHORT, late="full", largest_order=20)
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


@pytest.mark.parametrize("kind", rendering.NOISES)
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
    heard = received_noise("point", rooms, SHORT, noise)
    there = rooms._replace(source_positions=rooms.noise_position[:, None])
    exact = np.asarray(
        rendering.render(there, noise[:, None], keys_of(1), SHORT).signals, float
    )
    exact *= np.sqrt((heard**2).mean() / (exact**2).mean())
    assert decibels(heard, exact) < -70


def test_diffuse_noise_is_coherent_as_theory_says_and_independent_is_not():
    count, distances = 40, np.array([0.05, 0.1, 0.2, 0.4])
    nodes = np.tile([2.0, 2.0, 0.9], (count, 5, 1))
    nodes[:, 1:, 0] += distances
    rooms = rendering.Rooms(
        np.tile([6.0, 5.0, 4.2], (count, 1)),
        np.zeros(count),
        nodes,
        np.tile([4.0, 4.0, 0.95], (count, 1, 1)),
    )
    settings = dataclasses.replace(SHORT, rooms_at_once=count)
    noise = noise_like(rooms, settings, 2)[:, 0]
    frequencies = np.fft.rfftfreq(settings.num_samples, 1 / RATE)
    band = (frequencies > 700) & (frequencies < 900)
    for kind in ("diffuse", "independent"):
        spectra = np.fft.rfft(received_noise(kind, rooms, settings, noise))[..., band]
        cross = (spectra[:, :1].conj() * spectra[:, 1:]).sum(axis=(0, 2)).real
        power = (np.abs(spectra) ** 2).sum(axis=(0, 2))
        coherence = cross / np.sqrt(power[0] * power[1:])
        expected = np.sinc(2 * 800 * distances / 343.0) * (kind == "diffuse")
        np.testing.assert_allclose(coherence, expected, atol=0.06)


def test_without_reflections_it_is_the_direct_sound():
    rooms = small_batch(2)._replace(t60=np.zeros(2))
    settings = dataclasses.replace(SHORT, responses=True)
    rendered = rendering.render(rooms, silence(rooms, settings), keys_of(2), settings)
    for number, mine in enumerate(np.asarray(rendered.responses[:, 0])):
        assert decibels(mine, theirs(rooms, number, settings)) < -46


def rooms_with(**changes):
    rooms = small_batch(2)
    return rooms._replace(**changes)


def moved(name, value, axis=0):
    positions = np.array(getattr(small_batch(2), name))
    positions[1, ..., axis] = value
    return rooms_with(**{name: positions})


BAD = {
    "a source outside": (moved("source_positions", 11.0), "sources 0 of room 1 is at"),
    "a node outside": (moved("node_positions", -0.1), "nodes 0 of room 1 is at"),
    "noise outside": (moved("noise_position", 4.3, 2), "noise 0 of room 1 is at"),
    "NaN": (moved("source_positions", np.nan), "sources holds nan at"),
    "NaN as T60": (rooms_with(t60=np.array([0.3, np.nan])), r"t60 holds nan at \[1\]"),
    "NaN as SNR": (
        rooms_with(snr_db=np.array([3.0, np.nan])),
        r"snr_db holds nan at \[1\]",
    ),
    "a negative side": (
        rooms_with(size=small_batch(2).size * [[1, 1, -1]]),
        "sides must be positive",
    ),
    "too long a T60": (rooms_with(t60=np.array([0.25, 3.0])), "T60 3 s is longer than"),
    "no SNR is that low": (
        rooms_with(snr_db=np.array([3.0, -np.inf])),
        r"snr_db holds -inf at \[1\]",
    ),
    "a wrong number of sizes": (
        rooms_with(size=small_batch(2).size[:1]),
        r"size has shape \(1, 3\); it must be \(2, 3\)",
    ),
    "flat positions": (
        rooms_with(node_positions=small_batch(2).node_positions[..., :2]),
        r"node_positions has shape \(2, 4, 2\)",
    ),
    "no nodes": (
        rooms_with(node_positions=np.zeros((2, 0, 3))),
        r"node_positions has shape \(2, 0, 3\)",
    ),
    "no SNR": (rooms_with(snr_db=None), "without snr_db"),
    "no place of noise": (rooms_with(noise_position=None), "needs noise_position"),
    "too short a T60": (rooms_with(t60=np.array([0.25, 0.02])), "smallest"),
    "a wrong number of T60": (rooms_with(t60=np.full(3, 0.3)), r"t60 has shape \(3,\)"),
    "a node on a source": (
        rooms_with(node_positions=np.repeat(small_batch(2).source_positions, 4, 1)),
        "less than 0.001 m from node 0",
    ),
    "none": (some_of(small_batch(2), slice(0, 0)), "empty batch"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rooms_are_refused(case):
    rooms, message = BAD[case]
    dry, noise = np.zeros((2, 1, 2800), np.float32), np.zeros((2, 2800), np.float32)
    if case == "none":
        dry, noise = dry[:0], noise[:0]
    with pytest.raises(
        (rendering.RenderingError, acoustics.AcousticsError), match=message
    ):
        rendering.render(rooms, dry, keys_of(len(dry)), SHORT, noise)


def test_bad_signals_and_settings_are_refused():
    rooms, keys = small_batch(2), keys_of(2)
    dry = noise_like(rooms, SHORT)
    with pytest.raises(rendering.RenderingError, match=r"dry has shape \(2, 1, 2799\)"):
        rendering.render(rooms, dry[..., 1:], keys, SHORT)
    with pytest.raises(rendering.RenderingError, match=r"noise has shape \(1, 2800\)"):
        rendering.render(rooms, dry, keys, SHORT, dry[:1, 0])
    full = dataclasses.replace(SHORT, late="full")
    with pytest.raises(rendering.RenderingError, match="largest_order is 10"):
        rendering.render(rooms._replace(t60=np.array([0.2, 0.9])), dry, keys, full)
    with pytest.raises(rendering.RenderingError, match=r"keys has shape \(1,\)"):
        rendering.render(rooms, dry, keys[:1], SHORT)
    broken = dry.copy()
    broken[1, 0, 5] = np.nan
    with pytest.raises(rendering.RenderingError, match=r"dry holds nan at \[1, 0, 5\]"):
        rendering.render(rooms, broken, keys, SHORT)
    many = dataclasses.replace(SHORT, rooms_at_once=100_000)
    with pytest.raises(rendering.RenderingError, match="lower rooms_at_once"):
        rendering.render(rooms, dry, keys, many)
    few = dataclasses.replace(SHORT, num_exact=10)
    with pytest.raises(rendering.RenderingError, match="need num_exact of"):
        rendering.render(rooms, dry, keys, few)
    for change in (
        {"late": "half"},
        {"noise": "pink"},
        {"num_samples": 0},
        {"chunk": -3},
        {"num_late": 100},
        {"highpass": -1.0},
    ):
        with pytest.raises(
            rendering.RenderingError, match=str(next(iter(change.values())))
        ):
            dataclasses.replace(SHORT, **change)


def test_scenes_of_different_sizes_are_no_batch():
    rng = np.random.default_rng(0)
    drawn = [scenes.draw_adhoc(rng, 1, (0.0, 1.0), num_nodes=n) for n in (3, 4)]
    with pytest.raises(rendering.RenderingError, match=r"\[3, 4\] node_positions"):
        rendering.Rooms.of(drawn)
    with pytest.raises(rendering.RenderingError, match="no scenes"):
        rendering.Rooms.of([])


def test_every_room_of_the_paper_fits_the_default_settings():
    rng = np.random.default_rng(0)
    sides = np.concatenate([rng.uniform(4, 10, (3000, 2)), [[4, 4], [4, 10], [10, 10]]])
    size = np.append(sides, np.full((len(sides), 1), 4.2), axis=1)
    for t60 in (0.2, 0.5, 1.2):
        for late in rendering.LATE_FIELDS:
            rooms = rendering.Rooms(size, np.full(len(size), t60), size, size)
            walls = rendering.walls(rooms, rendering.Settings(late=late))
            assert image_source.num_images(int(walls.order.max())) < 4.3e6
