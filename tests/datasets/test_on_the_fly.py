"""Rooms rendered on the fly: what they are made of and depend on."""

import dataclasses

import numpy as np
import pytest
from conftest import decibels

from uld_jax.audio import corpora, signals
from uld_jax.datasets import files, on_the_fly, pipeline, splits
from uld_jax.simulation import recipes

SPEECH = corpora.open_speech("builtin")
NOISE = corpora.open_noise("builtin")
ADHOC = dataclasses.replace(recipes.AD2, num_nodes=3, num_samples=4000)
PER_UTTERANCE = 4.0 / 3600  # Hours.


@pytest.fixture(scope="module")
def speech():
    return on_the_fly.speech_bank(SPEECH, recipes.L1, seed=0, hours=10 * PER_UTTERANCE)


def rooms_of(recipe, *, seed=0, batch_size=4, **hours):
    hours = {"speech": 0.02, "noise": 0.02} | hours
    speech = on_the_fly.speech_bank(SPEECH, recipe, seed=0, hours=hours["speech"])
    noise = None
    if recipe.noisy:
        noise = on_the_fly.noise_bank(NOISE, recipe, seed=0, hours=hours["noise"])
    settings = {"seed": seed, "batch_size": batch_size, "size": 10 * batch_size}
    return on_the_fly.OnTheFlyData(recipe, speech, noise, **settings)


def batch_of(rooms, step, batch_size=4, **options):
    order = pipeline.endless_order(len(rooms), batch_size, epoch=0)
    return next(rooms.batches(order, step, **options))


def test_an_excerpt_is_what_the_corpus_would_have_cut(speech):
    before, after = recipes.L1.margins
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = speech.draw(rng)
        signal = signals.load(drawn.utterance)
        padded = np.pad(signal, (before, after))
        held = np.asarray(speech.take(np.array([drawn.offset]))[0])
        starts = signals.active_starts(signal, recipes.L1.num_samples)
        cut = [padded[s : s + speech.length] for s in starts]
        scale = np.abs(signal).max() * 32_768 / 32_767
        distance = [np.abs(held * scale - piece).max() for piece in cut]
        assert min(distance) < 2e-5 * scale


def test_only_so_many_hours_are_held(speech):
    assert 0 < speech.hours <= 10 * PER_UTTERANCE
    assert 5 < len(speech.utterances) < 10  # Their margins count.
    other = on_the_fly.speech_bank(SPEECH, recipes.L1, seed=1, hours=10 * PER_UTTERANCE)
    assert {u.name for u in other.utterances} != {u.name for u in speech.utterances}
    assert {u.name for u in speech.utterances} <= {
        u.name for u in SPEECH.utterances["train"]
    }


def test_at_least_one_utterance_is_held():
    bank = on_the_fly.speech_bank(SPEECH, recipes.L1, seed=0, hours=1e-9)
    assert len(bank.utterances) == 1


def test_useless_utterances_are_left_out_and_none_is_an_error():
    silent = signals.Utterance("nothing", "nobody", None)

    def prepare(utterance):
        if utterance is silent:
            raise signals.CorpusError("silent")
        return signals.load(utterance), np.arange(3)

    good = SPEECH.utterances["train"][0]
    bank = on_the_fly.Bank("Loading", [silent, good], prepare, 100, 1.0)
    assert bank.utterances == [good]
    with pytest.raises(signals.CorpusError, match="none of 1 utterances is usable"):
        on_the_fly.Bank("Loading", [silent], prepare, 100, 1.0)


def test_short_noise_goes_round():
    bank = on_the_fly.noise_bank(
        NOISE, dataclasses.replace(ADHOC, num_samples=200_000), seed=0, hours=0.01
    )
    drawn = bank.draw(np.random.default_rng(0))
    held = np.asarray(bank.take(np.array(drawn.offset)))
    period = len(signals.load(drawn.utterance))
    assert period < len(held)
    np.testing.assert_array_equal(held[period:], held[: len(held) - period])


def test_a_scene_has_different_talkers_or_an_error(speech):
    rng = np.random.default_rng(0)
    talkers = {u.talker for u in speech.utterances}
    for _ in range(20):
        first = speech.draw(rng).utterance.talker
        assert speech.draw(rng, {first}).utterance.talker != first
    with pytest.raises(signals.CorpusError, match="raise --config"):
        speech.draw(rng, talkers)


@pytest.mark.parametrize("recipe", [recipes.L1, ADHOC], ids=["L-1", "ad hoc"])
def test_a_step_depends_on_seed_and_number_alone(recipe):
    order = pipeline.endless_order(12, 4, epoch=1)  # Steps 3 to 5.
    one = list(rooms_of(recipe).batches(order, 1))
    assert len(one) == 2
    resumed = batch_of(rooms_of(recipe), 5)
    for key, value in resumed.items():
        np.testing.assert_array_equal(one[1][key], value)
        if recipe.noisy or key in ("audio", "source_positions"):
            assert (np.asarray(one[0][key]) != value).any()
    other = batch_of(rooms_of(recipe, seed=1), 5)
    assert (other["source_positions"] != resumed["source_positions"]).any()


@pytest.mark.exact
def test_a_row_does_not_depend_on_the_batch_size():
    wide, narrow = (
        batch_of(rooms_of(ADHOC, batch_size=size), 3, size) for size in (5, 2)
    )
    for key in ("source_positions", "node_positions", "room_size"):
        np.testing.assert_array_equal(wide[key][:2], narrow[key])
    np.testing.assert_array_equal(wide["audio"][:2], narrow["audio"])


@pytest.mark.exact
def test_steps_rendered_together_are_those_rendered_alone(monkeypatch):
    rooms = rooms_of(ADHOC, batch_size=2)
    order = pipeline.endless_order(len(rooms), 2, epoch=0)[:6]
    numbers = (1, 1, 2, 1, 2)  # Of nodes, of steps 1 to 5.

    def batches():
        some = rooms.batches(order, 1, nodes=lambda step: nodes[step])
        return [{k: np.asarray(v) for k, v in batch.items()} for batch in some]

    nodes = dict(enumerate((np.tile(np.arange(k), (2, 1)) for k in numbers), 1))
    alone = batches()
    sizes, render = [], recipes.Recipe.batch

    def noted(recipe, drawn, *arguments, **options):
        sizes.append(len(drawn))
        return render(recipe, drawn, *arguments, **options)

    monkeypatch.setattr(recipes.Recipe, "batch", noted)
    monkeypatch.setattr(on_the_fly, "_at_once", lambda: 5)
    together = batches()
    assert sizes == [4, 2, 2, 2]
    assert len(together) == len(alone) == 5
    for one, other in zip(alone, together, strict=True):
        for key in splits.FIELDS:
            # To the last bit with the default compiler, as for other batch sizes.
            np.testing.assert_allclose(one[key], other[key], atol=1e-4, rtol=0)


def test_only_the_nodes_asked_for_are_rendered():
    rooms = rooms_of(ADHOC, batch_size=2)
    chosen = np.array([[2, 0], [1, 2]])
    asked = []

    def choose(step):
        asked.append(step)
        return chosen

    some = batch_of(rooms, 6, 2, nodes=choose)
    assert asked == [6]
    assert some["audio"].shape == (2, 2, 4000)
    every = batch_of(rooms, 6, 2)
    assert every["audio"].shape == (2, 3, 4000)
    for row, nodes in enumerate(chosen):
        picked = np.asarray(every["audio"][row])[nodes]
        # Apart from the gain of the noise.
        scene = rooms.draw(6, row).scene
        assert decibels(some["audio"][row], picked) < 3 - scene.snr_db
        np.testing.assert_array_equal(
            some["node_positions"][row], every["node_positions"][row][nodes]
        )
    for key in ("source_positions", "room_size"):
        np.testing.assert_array_equal(some[key], every[key])
    with pytest.raises(files.DatasetError, match=r"snr_db=3\.0.*source=compact"):
        batch_of(rooms, 6, 2, changes=pipeline.Changes(snr_db=3.0))


@pytest.mark.parametrize("recipe", [recipes.L1, ADHOC], ids=["L-1", "ad hoc"])
def test_a_batch_is_what_the_recipe_renders(recipe):
    """From the files themselves: rows, sources and noise in their places."""
    rooms = rooms_of(recipe)
    batch = batch_of(rooms, 2)
    before, after = recipe.margins
    drawn = [rooms.draw(2, row) for row in range(4)]
    positions = np.stack([example.scene.source_positions for example in drawn])
    np.testing.assert_array_equal(batch["source_positions"], positions)
    for row, example in enumerate(drawn):
        dry = []
        for excerpt in example.speech:
            signal = signals.load(excerpt.utterance)
            place = rooms._speech.utterances.index(excerpt.utterance)
            held = rooms._speech.utterances[:place]
            first = sum(len(signals.load(u)) + before + after for u in held)
            padded = np.pad(signal, (before, after)) / np.abs(signal).max()
            start = excerpt.offset - first
            dry.append(padded[start : start + recipe.num_dry])
        noise = None
        if recipe.noisy:
            place = rooms._noise.utterances.index(example.noise.utterance)
            held = rooms._noise.utterances[:place]
            first = sum(len(signals.load(u)) for u in held)
            signal = signals.load(example.noise.utterance)
            start = example.noise.offset - first
            noise = signal[None, start : start + recipe.num_dry]
        alone = np.asarray(
            recipe.render([example], np.array([dry], np.float32), noise)[0]
        )
        received = np.asarray(batch["audio"][row])
        assert np.abs(received - alone).max() < 1e-3 * np.abs(alone).max()


def test_the_record_describes_what_is_trained_on():
    facts = rooms_of(ADHOC).describe()
    assert facts["source"] == "fresh"
    assert facts["law"]["late"] == "thinned"
    assert facts["law"]["num_nodes"] == 3
    for what in ("speech", "noise"):
        assert 0 < facts[what]["hours"] <= 0.02
    assert "noise" not in rooms_of(recipes.L1).describe()
    other = rooms_of(ADHOC, speech=0.01).describe()
    assert other["speech"]["fingerprint"] != facts["speech"]["fingerprint"]
