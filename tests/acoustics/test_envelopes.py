import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal

from uld_jax.acoustics import correlations, envelopes

RNG = np.random.default_rng(0)


compiled = jax.jit(envelopes.pair_envelopes)


def pair_envelopes(signals, mask=None):
    return compiled(jnp.asarray(signals, jnp.float32), mask)


def expected_envelope(one, other, blur):
    """Compute the envelope by SciPy's full correlation and analytic signal."""
    whitening = envelopes.WHITENINGS[min(blur, 1)]
    # Whitening depends on the length of the transform.
    group = (len(one) + 960) // 8000
    num_fft = 2 * group * scipy.fft.next_fast_len(-(-(len(one) + 960) // (2 * group)))
    frequencies = scipy.fft.rfftfreq(num_fft, 1 / 16_000)
    low, high = envelopes.BAND
    band = (frequencies >= low) & (frequencies <= high)

    def whitened(signal):
        spectrum = scipy.fft.rfft(signal, num_fft)
        return np.where(band, spectrum * np.abs(spectrum) ** -whitening, 0)

    cross = scipy.fft.irfft(whitened(one) * whitened(other).conj(), num_fft)
    analytic = scipy.signal.hilbert(cross)
    lags = np.arange(-envelopes.LARGEST_LAG, envelopes.LARGEST_LAG + 1, envelopes.STEP)
    envelope = np.abs(analytic[lags])
    sigma, step = envelopes.BLURS[blur]
    half = len(lags) // 2
    kept = np.arange(-(half // step), half // step + 1) * step + half
    return blurred(envelope / envelope.mean(), sigma)[kept]


def blurred(values, sigma):
    radius = int(np.ceil(3 * sigma))
    return scipy.ndimage.gaussian_filter1d(values, sigma, mode="nearest", radius=radius)


def delayed_pair(lag, num_samples=16_000):
    source = RNG.normal(size=num_samples + 2000)
    other = source[1000 : 1000 + num_samples]
    one = source[1000 - lag : 1000 - lag + num_samples]
    return np.stack([one, other]) + 0.1 * RNG.normal(size=(2, num_samples))


@pytest.mark.parametrize("num_samples", [8000, 16_001, 32_000])
def test_envelopes_are_those_of_scipy(num_samples):
    signals = RNG.normal(size=(3, num_samples)).cumsum(axis=1)  # Not white.
    signals[1] += np.roll(signals[0], 40)
    tables = envelopes.to_log(pair_envelopes(signals))
    for blur, table in enumerate(tables):
        found = np.exp(np.asarray(table))
        for row, (m, n) in enumerate(zip(*correlations.node_pairs(3), strict=True)):
            expected = expected_envelope(signals[m], signals[n], blur)
            ratios = np.log(found[row] / expected)[expected > 0.3]
            # Bytes are steps of 4 %; the sinc takes 2 % at the ends, and lags fold back.
            assert np.abs(ratios).mean() < 0.1
            assert np.corrcoef(found[row], expected)[0, 1] > 0.98


@pytest.mark.parametrize("lag", [-700, -1, 0, 30, 960])
def test_the_peak_is_where_the_first_node_is_later(lag):
    tables = envelopes.to_log(pair_envelopes(delayed_pair(lag)))
    for table, (_, step) in zip(tables, envelopes.BLURS, strict=True):
        found = np.asarray(table)[0]
        peaks = np.flatnonzero(found > found.max() - 0.05)  # A byte is 0.04.
        peak = (peaks.mean() - len(found) // 2) * envelopes.STEP * step
        assert abs(peak - lag) <= 24  # Every 24th sample of the widest is kept.
    found = np.asarray(envelopes.to_log(pair_envelopes(delayed_pair(lag)))[0])[0]
    assert abs((np.argmax(found) - 480) * envelopes.STEP - lag) <= 2


def test_level_does_not_matter_and_silence_is_flat():
    signals = delayed_pair(10)
    loud = pair_envelopes(signals * [[1e4], [1e-4]])
    steps = np.asarray(loud, int) - np.asarray(pair_envelopes(signals), int)
    assert np.abs(steps).max() <= 1
    silent = pair_envelopes(np.stack([signals[0], np.zeros(16_000)]))
    assert np.unique(np.hstack(envelopes.to_log(silent))).tolist() == [0.0]
    absent = pair_envelopes(signals, jnp.array([True, False]))
    assert np.unique(np.hstack(envelopes.to_log(absent))).tolist() == [0.0]


def test_bytes_restore_all_blurs_at_any_lag():
    values = RNG.uniform(0.1, 3, envelopes.NUM_LAGS).cumsum() % 7 + 0.1
    values /= values.mean()
    stored = jax.jit(envelopes._to_bytes)(*2 * [jnp.asarray(values)[None]])
    assert stored.shape == (1, sum(envelopes.NUM_KEPT))
    lags = np.append(RNG.uniform(-1000, 1000, 500), [-960, 0, 960, 5000])
    tables = jax.jit(envelopes.read)(stored, jnp.asarray(lags, jnp.float32)[None])
    for table, (sigma, step) in zip(tables, envelopes.BLURS, strict=True):
        logs = np.log(blurred(values, sigma))[::step]
        kept = np.linspace(-960, 960, len(logs))
        beyond = logs.mean()
        expected = np.interp(lags, kept, logs, left=beyond, right=beyond)
        np.testing.assert_allclose(table[0], expected, atol=0.025)


@pytest.mark.parametrize(("sigma", "step"), [(1.5, 2), (5.0, 4), (15.0, 12)])
def test_blur_is_scipys(sigma, step):
    values = RNG.uniform(size=(2, envelopes.NUM_LAGS))
    whole = scipy.ndimage.gaussian_filter1d(
        values, sigma, mode="nearest", radius=int(np.ceil(3 * sigma))
    )
    half = envelopes.NUM_LAGS // 2
    kept = np.arange(-(half // step), half // step + 1) * step + half
    blur = jax.jit(envelopes.blur, static_argnums=(1, 2))
    found = blur(jnp.asarray(values), sigma, step)
    np.testing.assert_allclose(found, whole[:, kept], rtol=1e-5)


def test_too_short_signals_are_refused():
    with pytest.raises(ValueError, match=r"have 900 samples; .* at least 961"):
        pair_envelopes(np.zeros((2, 900)))
