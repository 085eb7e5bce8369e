import numpy as np
import pytest
from audio_files import RATE, tone, write

from uld_jax.audio import corpora, signals


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
    for split, talker in zip(corpora.LIBRISPEECH_FOLDERS, "789", strict=True):
        write(tmp_path / split / talker / "55" / f"{talker}-55-0000.flac", tone())
    # Folders that are not asked for do not matter, even with the same talkers.
    write(tmp_path / "test-other" / "7" / "55" / "7-55-0001.flac", tone())
    corpus = corpora.open_speech(tmp_path)
    assert [corpus.utterances[s][0].talker for s in corpora.PARTS] == ["7", "8", "9"]
    assert corpus.summary()["folders"] == list(corpora.LIBRISPEECH_FOLDERS)
    with pytest.raises(signals.CorpusError, match="in both train and test"):
        corpora.open_speech(tmp_path, ("train-clean-360", "dev-clean", "test-other"))


def test_a_talker_in_two_splits_is_refused(folder):
    write(folder / "test" / "11-9-0002.flac", tone())
    with pytest.raises(signals.CorpusError, match=r"in both train and test.*\(11\)"):
        corpora.open_speech(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(signals.CorpusError, match="nowhere' does not exist"):
        corpora.open_speech(tmp_path / "nowhere")
    with pytest.raises(signals.CorpusError, match="it has no folders"):
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


def test_what_only_shows_in_the_signal_is_drawn_again(folder):
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
    with pytest.raises(signals.CorpusError, match=r"'dev'.* has no usable file: 1"):
        corpora.open_speech(folder)
    write(folder / "dev" / "22-5-0001.flac", np.zeros(RATE))
    corpus = corpora.open_speech(folder)
    with pytest.raises(signals.CorpusError, match="silent"):
        corpus.draw("dev", np.random.default_rng(0), 2560)


def test_an_excerpt_is_the_utterance_around_its_start():
    corpus = corpora.open_speech("builtin")
    rng = np.random.default_rng(4)
    for _ in range(50):
        excerpt = corpus.draw("train", rng, 2560, before=600, after=300)
        signal = np.pad(signals.load(excerpt.utterance), 3000)
        first = 3000 + excerpt.start - 600
        np.testing.assert_array_equal(excerpt.samples, signal[first : first + 3460])


def test_the_same_stream_draws_the_same():
    corpus = corpora.open_speech("builtin")
    one, two = (
        corpus.draw("test", np.random.default_rng([3, 5]), 2560) for _ in range(2)
    )
    assert (one.utterance, one.start) == (two.utterance, two.start)


def test_the_random_stream_of_speech_stays():
    """Data sets are made of it: another stream needs another version of theirs."""
    corpus = corpora.open_speech("builtin")
    assert corpus.fingerprint() == "fb359defcbaf0f64"
    rng = np.random.default_rng(11)
    drawn = [corpus.draw("train", rng, 2560, 600, 300) for _ in range(3)]
    assert [(e.utterance.name, e.start) for e in drawn] == [
        ("train05-1", 7840),
        ("train31-2", 30720),
        ("train23-1", 36960),
    ]
    assert rng.integers(10**6) == 712172


def test_a_second_talker_is_another_one():
    corpus = corpora.open_speech("builtin")
    rng = np.random.default_rng(0)
    others = []
    for _ in range(300):
        first = corpus.draw("test", rng, 2560).utterance.talker
        second = corpus.draw("test", rng, 2560, not_talkers={first, "x"})
        assert second.utterance.talker != first
        others.append((first, second.utterance.talker))
    assert len(set(others)) > 80  # Of 90 pairs.
    # Without a clash, the argument changes nothing.
    one = corpus.draw("test", np.random.default_rng(1), 2560)
    two = corpus.draw("test", np.random.default_rng(1), 2560, not_talkers={"x"})
    assert (one.utterance, one.start) == (two.utterance, two.start)


def test_a_rare_second_talker_is_found(folder):
    for number in range(400):
        (folder / "train" / f"10-{number}.flac").symlink_to(
            folder / "train" / "11-5-0001.flac"
        )
    corpus = corpora.open_speech(folder)
    rng = np.random.default_rng(0)
    excerpt = corpus.draw("train", rng, 2560, not_talkers={"10"})
    assert excerpt.utterance.talker == "11"
    assert not corpus.skipped


def test_too_few_talkers_are_refused(folder):
    corpus = corpora.open_speech(folder)
    rng = np.random.default_rng(0)
    with pytest.raises(signals.CorpusError, match=r"'dev' of .* has 1 talkers, too f"):
        corpus.draw("dev", rng, 2560, not_talkers={"22"})
    assert corpus.draw("dev", rng, 2560, not_talkers={"11"}).utterance.talker == "22"


def noise_corpus(tmp_path, signal):
    """Return a corpus whose only noise is a signal."""
    for split in corpora.PARTS:
        write(tmp_path / split / "noise.wav", signal, subtype="FLOAT")
    return corpora.open_noise(tmp_path)


@pytest.mark.parametrize("length", [700, 1600, 3459, 3460, 20_000])
def test_noise_goes_on_as_long_as_it_is_wanted(tmp_path, length):
    rng = np.random.default_rng(0)
    corpus = noise_corpus(tmp_path, rng.normal(size=length))
    signal = signals.load(corpus.utterances["test"][0])
    firsts = set()
    for _ in range(300):
        excerpt = corpus.draw_noise("test", rng, 2560, before=600, after=300)
        assert 0 <= excerpt.start < length
        assert excerpt.samples.shape == (3460,)
        assert excerpt.samples.dtype == np.float32
        turns = (excerpt.start - 600 + np.arange(3460)) % length
        np.testing.assert_array_equal(excerpt.samples, signal[turns])
        if length >= 3460:
            assert (np.diff(turns) == 1).all()  # Long enough: never joined.
        firsts.add(int(turns[0]))
    # Every 10 ms that there are, of the file or of one repetition of it.
    starts = length if length < 3460 else length - 3460 + 1
    assert firsts <= set(range(0, starts, 160))
    assert len(firsts) > 0.85 * len(range(0, starts, 160))


def test_noise_sounds_in_the_segment_and_not_in_its_margins_alone(tmp_path):
    """ESC-10 fills up its pieces with zeros."""
    signal = np.zeros(16_000)
    signal[:1000] = np.random.default_rng(0).normal(size=1000)
    corpus = noise_corpus(tmp_path, signal - signal.mean())
    rng = np.random.default_rng(1)
    strongest = (signal**2).sum()
    starts = [corpus.draw_noise("dev", rng, 800, 300, 200).start for _ in range(200)]
    energies = [(signal[start : start + 800] ** 2).sum() for start in starts]
    assert min(energies) > 1e-3 * strongest * 0.5
    assert len(set(starts)) >= 4


def test_silent_noise_is_drawn_again(tmp_path):
    for split in corpora.PARTS:
        write(tmp_path / split / "rain.wav", tone())
        write(tmp_path / split / "silence.wav", np.zeros(RATE))
    corpus = corpora.open_noise(tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(20):
        excerpt = corpus.draw_noise("train", rng, 2 * RATE)
        assert excerpt.utterance.name == "train/rain.wav"
    assert corpus.skipped == {"train/silence.wav": "silent"}


@pytest.mark.parametrize(
    "pieces",
    [("rain-{}-A.wav", "rain-{}-B.wav"), ("PARK{}/ch01.wav", "PARK{}/ch02.wav")],
)
def test_pieces_of_one_noise_recording_stay_together(tmp_path, pieces):
    for recording in range(60):
        for piece in pieces:
            write(tmp_path / piece.format(recording), tone())
    corpus = corpora.open_noise(tmp_path)
    counts = {split: len(corpus.utterances[split]) for split in corpora.PARTS}
    assert sum(counts.values()) == 120
    assert counts["train"] > 2 * counts["dev"] > 0
    for split in corpora.PARTS:
        assert counts[split] == 2 * corpus.summary()[f"{split}_talkers"]


def test_numbered_noise_files_are_recordings_of_their_own(tmp_path):
    for number in range(60):
        write(tmp_path / "free-sound" / f"noise-free-sound-{number:04}.wav", tone())
    corpus = corpora.open_noise(tmp_path)
    assert all(corpus.utterances[split] for split in corpora.PARTS)
    assert corpus.summary()["folders"] == []  # A hash divided them.


def test_noise_that_is_split_already_is_taken_so(tmp_path):
    for split in corpora.PARTS:
        write(tmp_path / split / f"rain-{split}.wav", tone())
    corpus = corpora.open_noise(tmp_path)
    assert [len(corpus.utterances[split]) for split in corpora.PARTS] == [1, 1, 1]
    assert corpus.summary()["folders"] == ["train", "dev", "test"]


def test_builtin_noise_is_a_corpus_of_several_kinds():
    corpus = corpora.open_noise("builtin")
    summary = corpus.summary()
    assert summary["name"] == "builtin"
    assert [summary[f"{s}_utterances"] for s in corpora.PARTS] == [40, 10, 10]
    assert [summary[f"{s}_talkers"] for s in corpora.PARTS] == [40, 10, 10]
    names = [u.name for split in corpora.PARTS for u in corpus.utterances[split]]
    assert len(set(names)) == 60
    speech = corpora.open_speech("builtin").utterances
    assert not set(names) & {u.name for split in speech for u in speech[split]}
    for split in corpora.PARTS:
        kinds = {u.name.split("-")[0] for u in corpus.utterances[split]}
        assert kinds == {"pink", "brown", "hum", "babble", "clatter"}
    for utterance in corpus.utterances["dev"]:
        signal = signals.load(utterance)
        assert signal.shape == (10 * RATE,)
        assert signal.dtype == np.float32
        assert abs(signal.mean()) < 1e-4
        np.testing.assert_allclose(np.sqrt((signal**2).mean()), 0.1, rtol=1e-3)
        assert np.abs(signal).max() < 10
    excerpt = corpus.draw_noise("train", np.random.default_rng(0), 2 * RATE, 9000, 500)
    assert excerpt.samples.shape == (2 * RATE + 9500,)


def test_shared_speech_is_read(shared_audio):
    corpus = corpora.open_speech(shared_audio / "speech")
    summary = corpus.summary()
    assert (summary["train_talkers"], summary["dev_talkers"]) == (230, 20)
    assert not corpus.skipped
    excerpt = corpus.draw("test", np.random.default_rng(0), 2560)
    assert np.abs(excerpt.samples).max() > 0
    noise = corpora.open_noise(shared_audio / "noise")
    assert len(noise.utterances["train"]) > 100
    rng = np.random.default_rng(0)
    for _ in range(100):
        excerpt = noise.draw_noise("test", rng, 2 * RATE, 20_000, 600)
        assert (excerpt.samples[20_000:-600] ** 2).mean() > 0
    assert not noise.skipped


def test_one_utterance_of_each_training_talker_can_be_held_out(folder):
    write(folder / "train" / "11-5-0002.flac", tone())
    write(folder / "train" / "12-5-0001.flac", tone())
    corpus = corpora.open_speech(folder)
    parts = {
        part: [utterance.name for utterance in utterances]
        for part, utterances in corpus.held_out.utterances.items()
    }
    assert parts["held_out"] == ["train/11-5-0002.flac"]  # The other talker has one.
    assert parts["train"] == ["train/11-5-0001.flac", "train/12-5-0001.flac"]
    excerpt = corpus.held_out.draw("held_out", np.random.default_rng(0), 1000)
    assert excerpt.utterance.name == "train/11-5-0002.flac"
    assert corpus.held_out.fingerprint() != corpus.fingerprint()


def test_a_corpus_without_spare_utterances_cannot_hold_any_out(folder):
    with pytest.raises(signals.CorpusError, match="none can be held out"):
        _ = corpora.open_speech(folder).held_out
