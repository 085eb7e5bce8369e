import jax.numpy as jnp
import numpy as np
import pytest
from conftest import decibels

from uld_jax.acoustics import constants
from uld_jax.simulation import anechoic, scenes

RATE = constants.SAMPLE_RATE
NUM_SAMPLES = 2560
ROOM = np.array([6.0, 6.0, 4.2])


class Tones:
    """A band-limited signal whose value is known at any time: a sum of tones."""

    def __init__(self, seed, num_tones=200):
        rng = np.random.default_rng(seed)
        self.frequencies = rng.uniform(60, 7800, num_tones)
        self.phases = rng.uniform(0, 2 * np.pi, num_tones)

    def __call__(self, times):
        angles = 2 * np.pi * self.frequencies * np.asarray(times)[..., None]
        return np.sin(angles + self.phases).sum(-1)


def excerpt(signal):
    before, after = anechoic.excerpt_margins(np.linalg.norm(ROOM))
    times = np.arange(-before, NUM_SAMPLES + after) / RATE
    return jnp.asarray(signal(times), jnp.float32), before


def render(signals, sources, nodes):
    dry, before = zip(*(excerpt(signal) for signal in signals), strict=True)
    return anechoic.render_anechoic(
        jnp.stack(dry),
        anechoic.direct_paths(np.array(sources), nodes),
        before=before[0],
        num_samples=NUM_SAMPLES,
    )


def analytic(signal, source, nodes):
    """Return the exact signal s(t - r / c) / r at each node, in float64."""
    distance = np.linalg.norm(nodes - source, axis=1)[:, None]
    return signal(np.arange(NUM_SAMPLES) / RATE - distance / 343.0) / distance


@pytest.mark.parametrize(
    "source",
    [(3.1, 4.2, 0.95), (0.0, 0.0, 0.95), (6.0, 6.0, 0.95), (0.1, 2.96, 0.95)],
)
def test_every_node_hears_the_exact_delay_and_level(source):
    nodes, signal = scenes.l1_nodes(), Tones(0)
    actual = np.asarray(render([signal], [source], nodes))
    expected = analytic(signal, np.array(source), nodes)
    for received, exact in zip(actual, expected, strict=True):
        assert decibels(received, exact) < -99


def test_sources_add_up():
    nodes = scenes.l1_nodes()
    signals, sources = [Tones(1), Tones(2)], [(1.0, 2.0, 0.95), (5.0, 3.0, 0.95)]
    expected = sum(
        analytic(signal, np.array(source), nodes)
        for signal, source in zip(signals, sources, strict=True)
    )
    assert decibels(render(signals, sources, nodes), expected) < -99


def test_it_is_pyroomacoustics_without_reflections():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    nodes, source = scenes.l1_nodes(), np.array([4.3, 1.7, 0.95])
    # Noise below 6 kHz: above, its own interpolation filter falls off.
    noise = np.random.default_rng(3).normal(size=16_000)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / RATE) > 6000] = 0
    noise = np.fft.irfft(spectrum)
    pyroomacoustics.constants.set("rir_hpf_enable", False)
    try:
        room = pyroomacoustics.ShoeBox(
            ROOM, fs=RATE, max_order=0, use_rand_ism=False, air_absorption=False
        )
        room.add_source(source, signal=noise)
        room.add_microphone_array(nodes.T)
        room.simulate()
    finally:
        pyroomacoustics.constants.set("rir_hpf_enable", True)
    extra_delay = pyroomacoustics.constants.get("frac_delay_length") // 2
    start = 5000
    first = start + extra_delay
    expected = room.mic_array.signals[:, first : first + NUM_SAMPLES]
    before, after = anechoic.excerpt_margins(np.linalg.norm(ROOM))
    dry = noise[start - before : start + NUM_SAMPLES + after]
    actual = anechoic.render_anechoic(
        jnp.asarray(dry[None], jnp.float32),
        anechoic.direct_paths(source[None], nodes),
        before=before,
        num_samples=NUM_SAMPLES,
    )
    # Its fractional delays come from a table and are accurate to about -58 dB.
    assert decibels(actual, expected) < -50


def test_too_short_an_excerpt_is_refused():
    with pytest.raises(ValueError, match="excerpt of 2600 samples"):
        anechoic.render_anechoic(
            jnp.zeros((1, 2600)),
            anechoic.direct_paths(np.ones((1, 3)), np.zeros((2, 3))),
            before=300,
            num_samples=NUM_SAMPLES,
        )
