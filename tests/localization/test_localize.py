"""Localization with its uncertainty: right answers, honest doubts, clear errors."""

import re

import jax
import numpy as np
import pytest

import uld_jax
from uld_jax.audio import builtin
from uld_jax.localization import batches, doubts, recordings, votes
from uld_jax.localization import localize as localize_lib

ROOM = np.array([6.0, 5.0, 2.8])
TALKER = np.array([2.3, 3.1, 1.4])
OTHER = np.array([4.6, 1.2, 1.5])
RNG = np.random.default_rng(0)
NODES = RNG.uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (8, 3))
RATE = 16_000


def record(nodes=NODES, talker=TALKER, late=0.0, seconds=2.0, rate=RATE, noise=1e-4):
    """Record built-in speech in free field: delays and spherical spreading."""
    name = builtin.speech_names()["test"][0]
    speech = np.tile(np.asarray(builtin.synthesize(name), np.float64), 4)
    paths = np.linalg.norm(np.asarray(nodes) - talker, axis=1)
    delays = paths / 343.0 + late
    count = int(RATE * (seconds + 1))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum = np.fft.rfft(speech[:count])
    turns = np.exp(
        -2j * np.pi * frequencies * np.broadcast_to(delays, len(paths))[:, None]
    )
    longer = int(rate * (seconds + 1))
    kept = np.pad(
        spectrum * turns, ((0, 0), (0, max(0, longer // 2 + 1 - len(spectrum))))
    )
    signals = np.fft.irfft(kept[:, : longer // 2 + 1], longer) * longer / count
    signals = signals[:, int(rate / 2) :][:, : int(rate * seconds)] / paths[:, None]
    random = np.random.default_rng(1)
    return signals + noise * np.abs(signals).max() * random.normal(size=signals.shape)


def error(found):
    return np.linalg.norm(found.position - TALKER[:2])


@pytest.fixture(scope="module")
def found():
    return uld_jax.localize(record(), RATE, NODES, ROOM)


def test_exact_times_give_millimeters_and_say_so(found):
    assert found.determined
    assert not found.reasons
    assert error(found) < 0.01
    assert error(found) < 3 * found.radius_90 < 0.1
    assert found.modes[0].mass > 0.95
    assert found.node_weights.tolist() == [1.0] * 8
    assert str(found).startswith("(2.3")
    assert "<td>" in found._repr_html_()


def test_the_posterior_is_a_code_that_decodes_to_the_position(found):
    code = found.probability
    assert code.sum() == pytest.approx(1.0)
    axis = np.arange(65) / 64
    mean = [(code.sum(0) * axis).sum() * 6.0, (code.sum(1) * axis).sum() * 5.0]
    assert np.linalg.norm(mean - found.position) < 0.2


@pytest.mark.parametrize(
    "change",
    ["louder", "later", "order", "integers", "lists", "constant"],
)
def test_what_means_the_same_gives_the_same(found, change):
    signals, nodes = record(), NODES
    if change == "louder":
        signals = 1e-3 * signals
    elif change == "later":
        signals = record(late=0.013)
    elif change == "order":
        signals, nodes = signals[::-1], nodes[::-1]
    elif change == "integers":
        signals = np.int16(20_000 * signals / np.abs(signals).max())
    elif change == "constant":
        signals = signals + 30 * np.abs(signals).max()
    else:
        nodes = nodes.tolist()
    again = uld_jax.localize(signals, RATE, nodes, ROOM)
    assert again.determined
    np.testing.assert_allclose(again.position, found.position, atol=0.005)


@pytest.mark.parametrize("rate", [44_100, 48_000, 8_000])
def test_sample_rates(rate):
    """With a constant, too, which is no click at the ends."""
    signals = record(rate=rate)
    signals += 30 * np.abs(signals).max()
    again = uld_jax.localize(signals, rate, NODES, ROOM)
    assert again.determined
    assert error(again) < 0.03


def test_a_mirrored_room_gives_the_mirrored_answer(found):
    nodes = NODES.copy()
    nodes[:, 0] = ROOM[0] - nodes[:, 0]
    again = uld_jax.localize(record(), RATE, nodes, ROOM)
    mirrored = [ROOM[0] - found.position[0], found.position[1]]
    np.testing.assert_allclose(again.position, mirrored, atol=0.005)


def test_a_turned_room_gives_the_turned_answer(found):
    nodes = np.stack([ROOM[1] - NODES[:, 1], NODES[:, 0], NODES[:, 2]], axis=1)
    again = uld_jax.localize(record(), RATE, nodes, ROOM[[1, 0, 2]])
    turned = [ROOM[1] - found.position[1], found.position[0]]
    np.testing.assert_allclose(again.position, turned, atol=0.005)
    np.testing.assert_allclose(again.height, found.height, atol=0.05)


def test_a_room_need_not_be_known():
    away = np.array([100.0, -50.0, 0.0])
    again = uld_jax.localize(record(), RATE, NODES + away)
    np.testing.assert_allclose(again.position, TALKER[:2] + away[:2], atol=0.02)
    assert "No room was given" in again.reasons[-1]
    assert again.determined


def test_heights_are_used_where_they_are_given():
    low = TALKER - [0, 0, 0.9]
    again = uld_jax.localize(
        record(talker=low), RATE, NODES, ROOM, source_height=low[2]
    )
    assert again.determined
    assert error(again) < 0.01


def test_long_and_short_recordings():
    assert error(uld_jax.localize(record(seconds=5.0), RATE, NODES, ROOM)) < 0.01
    short = uld_jax.localize(record(seconds=0.5), RATE, NODES, ROOM)
    assert error(short) < max(0.1, short.radius_90)


def test_windows_reach_from_the_beginning_to_the_end():
    sound = np.repeat(np.arange(21.0, 121.0), 16_000)[None] * np.tile(
        [1.0, -1.0], 800_000
    )
    windows = recordings.cut(sound, RATE)
    assert windows.shape == (15, 1, 32_000)
    loudest = np.abs(windows).max(axis=(1, 2))
    assert (np.diff(loudest) > 0).all()
    assert loudest[-1] == 1.0
    assert recordings.cut(sound[:, :63_000], RATE).shape == (2, 1, 32_000)
    assert recordings.cut(sound[:, :9_000], RATE).shape == (1, 1, 8_000)
    sound[:, 64_000:] *= 1e-4  # Hardly anything is heard there.
    assert len(recordings.cut(sound, RATE)) == 1


def test_a_batch_gives_what_each_gives_alone(found):
    noise = RNG.normal(size=(8, 32_000))
    first, second = uld_jax.localize(np.stack([record(), noise]), RATE, NODES, ROOM)
    np.testing.assert_array_equal(first.position, found.position)
    assert not second.determined
    assert "nothing in common" in " ".join(second.reasons)


def test_nodes_on_a_line_do_not_tell_the_sides():
    line = np.stack([np.linspace(0.5, 5.5, 8), np.full(8, 2.5), np.full(8, 1.2)], 1)
    found = uld_jax.localize(record(line), RATE, line, ROOM)
    assert not found.determined
    assert "places fit" in found.reasons[0]
    heavy, other = found.modes[:2]
    # The mirror image has as much mass.
    np.testing.assert_allclose(heavy.position[0], other.position[0], atol=0.1)
    np.testing.assert_allclose(heavy.position[1] + other.position[1], 5.0, atol=0.1)
    # Neither holds 90 %, so that the radius reaches from one to the other.
    assert found.radius_90 > np.linalg.norm(heavy.position - other.position) - 0.1


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_nodes_tell_nothing(count):
    found = uld_jax.localize(record()[:count], RATE, NODES[:count], ROOM)
    assert not found.determined
    assert "3 are needed" in found.reasons[0]
    assert found.radius_90 > 2.0


def test_clocks_that_are_off_do_not_give_a_wrong_answer_without_a_word():
    wrong = 0
    for seed in range(5):
        late = 0.01 * np.random.default_rng(seed).normal(size=8)
        found = uld_jax.localize(record(late=late), RATE, NODES, ROOM)
        wrong += found.determined and error(found) > found.radius_90
    assert wrong <= 1


def test_a_late_node_is_named_and_does_no_harm(found):
    late = np.zeros(8)
    late[5] = 0.2
    again = uld_jax.localize(record(late=late), RATE, NODES, ROOM)
    assert again.determined
    assert error(again) < error(found) + 0.01
    assert again.reasons == ("Node 5 is 200.0 ms late: its clock or position is off",)
    np.testing.assert_allclose(again.node_offsets, late, atol=1e-4)
    np.testing.assert_allclose(again.node_residuals, 343.0 * again.node_offsets)
    assert again.node_offset_errors.max() < 1e-4


def test_exchanged_nodes_are_named():
    nodes = NODES.copy()
    nodes[[3, 7]] = nodes[[7, 3]]
    found = uld_jax.localize(record(), RATE, nodes, ROOM)
    assert error(found) < 0.03
    assert found.reasons == (
        "Nodes 3 and 7 seem to be exchanged: each fits the other's position",
    )


def test_coordinates_of_another_room_are_noticed():
    for seed in range(1, 6):
        generator = np.random.default_rng(seed)
        nodes = generator.uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (8, 3))
        found = uld_jax.localize(record(), RATE, nodes, ROOM)
        assert not found.determined, seed


def test_times_that_confirm_another_place_are_a_doubt():
    nodes = np.random.default_rng(7).uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (9, 3))
    talker = np.array([4.4, 1.0, 1.75])
    found = uld_jax.localize(record(nodes, talker), RATE, nodes, ROOM)
    wrong = np.linalg.norm(found.position - talker[:2])
    assert wrong < 0.05 or not found.determined
    if wrong > 0.05:
        assert "Times confirm another place, (4.40, 1.00) m" in found.reasons


def test_clocks_that_are_all_off_are_found_as_well_as_the_position():
    late = 0.01 * np.random.default_rng(3).normal(size=8)
    found = uld_jax.localize(record(late=late), RATE, NODES, ROOM)
    assert error(found) < 0.3
    spread = float(re.search(r"are off: by (.*) ms", found.reasons[-1])[1])
    assert 5 < spread < 20
    wrong = found.node_offsets - late
    wrong -= np.median(wrong)
    assert np.abs(wrong).max() < 2 * found.radius_90 / 343.0 + 1e-4
    assert (np.abs(wrong) < 4 * found.node_offset_errors + 1e-4).all()


def test_a_talker_outside_of_the_room_is_not_placed_inside():
    outside = np.array([-1.2, 2.5, 1.4])
    found = uld_jax.localize(record(talker=outside), RATE, NODES, ROOM)
    assert not found.determined


@pytest.mark.parametrize("rate", [RATE, 44_100, 8_000])
def test_bad_nodes_are_named_and_left_out(found, rate):
    signals = record(rate=rate)
    signals[2] = 0.25
    signals[5, rate // 2 : rate // 4 * 3] = signals[5, rate // 2]
    again = uld_jax.localize(signals, rate, NODES, ROOM)
    assert again.reasons[:2] == (
        "Node 2 is silent and was left out",
        "Node 5 holds one value for 0.25 s and was left out",
    )
    assert again.node_weights.tolist() == [1, 1, 0, 1, 1, 0, 1, 1]
    np.testing.assert_allclose(again.position, found.position, atol=0.03)
    signals = record(rate=rate)
    signals[3] = np.clip(signals[3], *np.quantile(signals[3], [0.03, 0.97]))
    again = uld_jax.localize(signals, rate, NODES, ROOM)
    assert again.reasons == ("Node 3 is clipped; it was used",)


def test_silence_is_not_located():
    found = uld_jax.localize(np.zeros((8, 32_000)), RATE, NODES, ROOM)
    assert not found.determined
    assert found.reasons[0].startswith("Not determined: no nodes can be used")


def bad(signals=None, rate=RATE, nodes=NODES, room=ROOM):
    signals = np.zeros((8, 32_000)) if signals is None else signals
    return signals, rate, nodes, room


WITH_NAN = np.zeros((8, 32_000))
WITH_NAN[3, 7] = np.nan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (bad(np.zeros(9)), r"signals has shape \(9,\); give an array \[M, N\]"),
        (bad(rate=1), "sample_rate is 1; give it in Hz"),
        (bad(np.zeros((8, 3000))), r"are 0.188 s long \(3000 samples\)"),
        (bad(nodes=NODES[:5]), "of 8 nodes, and node_positions has 5; give as many"),
        (bad(nodes=NODES[:, :1]), r"\(8, 1\); with these signals it must be \(8, 3\)"),
        (bad(np.zeros((9_000, 8))), "the axes are exchanged: give signals.T"),
        (bad(nodes=[["n1", "n2", "n3"]] * 8), "node_positions must be numbers"),
        (
            bad(nodes=NODES + np.array([0, 0, 2.0])),
            "node 1 at .* m is outside of the room",
        ),
        (bad("talk.wav"), "are <U8, not real numbers; read files first"),
        (bad([[0.0] * 9_000, [0.0] * 9_001]), "different lengths, .*9000.* to .*9001"),
        (bad(WITH_NAN), "signals of node 3 holds NaN"),
        (bad(nodes=NODES * np.nan), "node_positions of node 0 holds NaN"),
        (bad(nodes=NODES[[0, 1, 2, 3, 4, 5, 6, 1]]), "nodes 1 and 7 are both at"),
        (
            bad(nodes=NODES + np.array([3.0, 0, 0])),
            r"is outside of the room of \[6.0, 5.0, 2.8\] m",
        ),
        (bad(room=[6.0]), "room_size is .*give its sides"),
        (bad(room=[6.0, -1.0]), "in meters from 0"),
        (bad(np.zeros((61, 9000)), nodes=np.zeros((61, 3))), "at most 60"),
        (bad(np.zeros((0, 8, 9000))), "signals has no recording"),
        (bad(nodes=100 * NODES), "node_positions spans .* give meters"),
        (bad(room=[600.0, 500.0]), "in meters from 0 to 100"),
    ],
)
def test_bad_input_is_named_with_the_fix(given, message):
    with pytest.raises(batches.RecordingError, match=message):
        uld_jax.localize(*given)


@pytest.mark.parametrize("height", [140, np.nan, -1.0])
def test_heights_of_another_unit_are_refused(height):
    with pytest.raises(batches.RecordingError, match=r"source_height is .* in meters"):
        uld_jax.localize(*bad(), source_height=height)


def test_independent_noise_has_nothing_in_common():
    for num_nodes in (3, 4, 8):
        for seed in range(5):
            noise = np.random.default_rng(seed).normal(size=(1, num_nodes, 16_000))
            assert not doubts.is_coherent(np.float32(noise)), (num_nodes, seed)


def test_the_method_is_the_function():
    low = np.array([2.3, 3.1, 1.7])
    signals = record(talker=low)
    found = uld_jax.localize(signals, RATE, NODES, ROOM)
    mask = np.ones((1, 8), bool)
    batch = signals[None], NODES[None], ROOM[None], mask
    ((position,),), ((radius,),) = localize_lib.fused(*batch)
    np.testing.assert_allclose(position, found.position, atol=1e-6)
    assert radius == pytest.approx(found.radius_90)


def test_the_shipped_weights_are_small_and_whole():
    graph, params, _ = votes.load_network(True)
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert 10_000 < total < 1_000_000
    assert graph is votes.load_network(True)[0]


def test_the_method_finds_several():
    signals = record() + np.roll(record(talker=OTHER), 9_000, axis=1)
    found = uld_jax.localize(signals, RATE, NODES, ROOM, num_sources=2)
    batch = signals[None], NODES[None], ROOM[None], np.ones((1, 8), bool)
    positions, radii = localize_lib.fused(*batch, num_sources=2)
    expected = [one.position for one in found]
    np.testing.assert_allclose(positions[0], expected, atol=1e-6)
    np.testing.assert_allclose(radii[0], [one.radius_90 for one in found], rtol=1e-6)


def test_numbers_of_talkers_that_cannot_be_told_apart_are_refused():
    for count in (0, 4):
        with pytest.raises(
            batches.RecordingError, match=f"num_sources is {count}; ask"
        ):
            uld_jax.localize(record(), RATE, NODES, ROOM, num_sources=count)
