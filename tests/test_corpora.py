import pathlib

import numpy as np
import pytest
import soundfile

from uld_jax import builtin_speech, corpora

RATE = 16_000


def tone(seconds=1.0, rate=RATE, frequency=440.0, level=0.1):
    return level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write(path: pathlib.Path, signal, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate, **options)


@pytest.fixture
def folder(tmp_path):
    """Return a corpus of one talker a split, of one, one and one file."""
    for split, talker in (("train", "11"), ("dev", "22"), ("test", "33")):
        write(tmp_path / split / f"{talker}-5-0001.flac", tone())
    return tmp_path


def test_a_folder_of_splits_is_read(folder):
    write(folder / "train" / "deep" / "er" / "12-1.wav", tone())
    corpus = corpora.open_speech(folder)
    names = [u.name for u in corpus.utterances["train"]]
    assert names == ["train/11-5-0001.flac", "train/deep/er/12-1.wav"]
    assert [u.talker for u in corpus.utterances["train"]] == ["11", "12"]
    assert corpus.summary()["train_talkers"] == 2
    assert corpus.name == folder.name


def test_the_published_layout_of_librispeech_is_read(tmp_path):
    for split, talker in zip(corpora.LIBRISPEECH_SPLITS, "789", strict=True):
        write(tmp_path / split / talker / "55" / f"{talker}-55-0000.flac", tone())
    # Folders that are not asked for do not matter, even with the same talkers.
    write(tmp_path / "test-other" / "7" / "55" / "7-55-0001.flac", tone())
    corpus = corpora.open_speech(tmp_path)
    assert [corpus.utterances[s][0].talker for s in corpora.SPLITS] == ["7", "8", "9"]
    assert corpus.summary()["folders"] == list(corpora.LIBRISPEECH_SPLITS)
    with pytest.raises(corpora.CorpusError, match="in both train and test"):
        corpora.open_speech(tmp_path, ("train-clean-360", "dev-clean", "test-other"))


def test_a_talker_in_two_splits_is_refused(folder):
    write(folder / "test" / "11-9-0002.flac", tone())
    with pytest.raises(corpora.CorpusError, match=r"in both train and test.*\(11\)"):
        corpora.open_speech(folder)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(corpora.CorpusError, match="nowhere' does not exist"):
        corpora.open_speech(tmp_path / "nowhere")
    with pytest.raises(corpora.CorpusError, match="it has no folders"):
        corpora.open_speech(tmp_path)


def test_bad_files_are_skipped_with_a_reason(folder):
    train = folder / "train"
    (train / "11-a.flac").write_bytes(b"no audio at all")
    write(train / "11-b.wav", np.zeros(0))
    write(train / "11-c.wav", tone(0.01))
    corpus = corpora.open_speech(folder, min_samples=2560)
    assert corpus.skipped == {
        "train/11-a.flac": "unreadable",
        "train/11-b.wav": "shorter than 2560 samples",
        "train/11-c.wav": "shorter than 2560 samples",
    }
    assert len(corpus.utterances["train"]) == 1


def test_what_only_shows_in_the_signal_is_drawn_anew(folder):
    train = folder / "train"
    write(train / "11-d.wav", np.zeros(RATE))
    write(train / "11-e.wav", np.full(RATE, np.nan), subtype="FLOAT")
    corpus = corpora.open_speech(folder, min_samples=2560)
    rng = np.random.default_rng(0)
    drawn = {corpus.draw("train", rng, 2560).utterance.name for _ in range(20)}
    assert drawn == {"train/11-5-0001.flac"}
    assert corpus.skipped == {
        "train/11-d.wav": "silent",
        "train/11-e.wav": "holds NaN or infinity",
    }


def test_nothing_usable_is_an_error(folder):
    (folder / "dev" / "22-5-0001.flac").write_bytes(b"")
    with pytest.raises(corpora.CorpusError, match=r"'dev'.* has no usable file: 1"):
        corpora.open_speech(folder)
    write(folder / "dev" / "22-5-0001.flac", np.zeros(RATE))
    corpus = corpora.open_speech(folder)
    with pytest.raises(corpora.CorpusError, match="silent"):
        corpus.draw("dev", np.random.default_rng(0), 2560)


def test_another_rate_is_resampled_without_aliases(folder):
    rate = 48_000
    path = folder / "train" / "11-f.wav"
    write(path, tone(1.0, rate, 1000.0) + tone(1.0, rate, 9000.0), rate)
    utterance = corpora.Utterance("f", "11", path)
    signal = corpora.load(utterance)
    assert len(signal) == RATE
    middle = signal[2000:-2000]
    expected = tone(1.0, RATE, 1000.0)[2000:-2000]
    np.testing.assert_allclose(middle, expected, atol=2e-3)


def test_the_mean_is_removed_and_the_first_channel_taken(folder):
    path = folder / "train" / "11-g.wav"
    write(path, np.stack([tone() + 0.2, tone(frequency=100.0)], axis=1))
    signal = corpora.load(corpora.Utterance("g", "11", path))
    assert abs(signal.mean()) < 1e-6
    np.testing.assert_allclose(signal, tone(), atol=2e-3)


def test_windows_hold_active_speech():
    levels = [10 ** (decibels / 20) for decibels in (0, -28, -32, -60)]
    parts = [level * tone(0.5) for level in levels]
    signal = np.concatenate([np.zeros(8000), *parts, np.zeros(80)])
    starts = corpora.active_starts(signal.astype(np.float32), 2560)
    for start in range(0, len(signal) - 2560, 160):
        energy = (signal[start : start + 2560] ** 2).sum()
        assert (start in starts) == (energy >= 1e-3 * (tone(0.16) ** 2).sum() * 0.999)


def test_an_excerpt_is_the_utterance_around_its_start():
    corpus = corpora.open_speech("builtin")
    rng = np.random.default_rng(4)
    for _ in range(50):
        excerpt = corpus.draw("train", rng, 2560, before=600, after=300)
        signal = np.pad(corpora.load(excerpt.utterance), 3000)
        first = 3000 + excerpt.start - 600
        np.testing.assert_array_equal(excerpt.samples, signal[first : first + 3460])


def test_the_same_stream_draws_the_same():
    corpus = corpora.open_speech("builtin")
    one, two = (
        corpus.draw("test", np.random.default_rng([3, 5]), 2560) for _ in range(2)
    )
    assert (one.utterance, one.start) == (two.utterance, two.start)


@pytest.mark.parametrize(
    "pieces",
    [("rain-{}-A.wav", "rain-{}-B.wav"), ("PARK{}/ch01.wav", "PARK{}/ch02.wav")],
)
def test_pieces_of_one_noise_recording_stay_together(tmp_path, pieces):
    for recording in range(60):
        for piece in pieces:
            write(tmp_path / piece.format(recording), tone())
    corpus = corpora.open_noise(tmp_path)
    counts = {split: len(corpus.utterances[split]) for split in corpora.SPLITS}
    assert sum(counts.values()) == 120
    assert counts["train"] > 2 * counts["dev"] > 0
    for split in corpora.SPLITS:
        assert counts[split] == 2 * corpus.summary()[f"{split}_talkers"]


def test_numbered_noise_files_are_recordings_of_their_own(tmp_path):
    for number in range(60):
        write(tmp_path / "free-sound" / f"noise-free-sound-{number:04}.wav", tone())
    corpus = corpora.open_noise(tmp_path)
    assert all(corpus.utterances[split] for split in corpora.SPLITS)


def test_noise_that_is_split_already_is_taken_so(tmp_path):
    for split in corpora.SPLITS:
        write(tmp_path / split / f"rain-{split}.wav", tone())
    corpus = corpora.open_noise(tmp_path)
    assert [len(corpus.utterances[split]) for split in corpora.SPLITS] == [1, 1, 1]


def test_builtin_talkers_are_disjoint_and_voiced():
    corpus = corpora.open_speech("builtin")
    summary = corpus.summary()
    assert summary["train_talkers"] == 40
    one = builtin_speech.synthesize("train00-0")
    assert one.shape == (4 * RATE,)
    assert one.dtype == np.float32
    np.testing.assert_allclose(np.sqrt((one**2).mean()), 0.1, rtol=1e-3)
    np.testing.assert_array_equal(one, builtin_speech.synthesize("train00-0"))
    assert (one != builtin_speech.synthesize("train00-1")).any()
    # A voice is periodic: the autocorrelation has a peak within pitch range.
    peaks = []
    for name in ("train00-0", "train07-1", "dev03-2"):
        signal = builtin_speech.synthesize(name)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(signal, 2**17)) ** 2)
        peaks.append(correlation[60:250].max() / correlation[0])
    assert min(peaks) > 0.2


def test_shared_speech_is_read(shared_audio):
    corpus = corpora.open_speech(shared_audio / "speech")
    summary = corpus.summary()
    assert (summary["train_talkers"], summary["dev_talkers"]) == (230, 20)
    assert not corpus.skipped
    excerpt = corpus.draw("test", np.random.default_rng(0), 2560)
    assert np.abs(excerpt.samples).max() > 0
    assert len(corpora.open_noise(shared_audio / "noise").utterances["train"]) > 100
