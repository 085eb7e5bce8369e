"""Streams: the answers of whole recordings, however blocks are cut, and clear errors."""

import free_field
import jax
import numpy as np
import pytest

import uld_jax
from uld_jax.audio import builtin
from uld_jax.localization import batches
from uld_jax.localization import stream as stream_lib

RATE, ROOM = 16_000, [6.0, 4.5]
NODES = np.random.default_rng(0).uniform([0.2, 0.2, 0.5], [5.8, 4.3, 2.0], (8, 3))
PLACES = np.array([[1.7, 3.2, 1.5], [4.5, 1.2, 1.4]])
FIELDS = [
    *("position", "covariance", "radius_90", "determined", "reasons", "node_levels"),
    *("node_weights", "height", "node_offsets", "node_offset_errors", "probability"),
    *("room_size", "origin", "node_positions"),
]


def talk(place, name, nodes=NODES, late=0.0):
    speech = np.asarray(builtin.synthesize(name), np.float64)
    paths = np.linalg.norm(nodes - place, axis=1)
    delayed = free_field.delay(speech, paths / 343.0 + late)
    return (delayed / paths[:, None])[:, RATE // 2 : RATE // 2 + 40_000]


@pytest.fixture(scope="module")
def signals():
    """Five seconds as 16-bit integers: two talkers, then nobody."""
    spoken = [talk(place, f"test0{n}-0") for n, place in enumerate(PLACES)]
    joined = np.concatenate([*spoken, np.zeros((8, RATE))], axis=1)
    joined = 30_000 * joined / np.abs(joined).max()
    quiet = 3 * np.random.default_rng(1).normal(size=joined.shape)
    return np.int16(joined + quiet)


def open_stream(hop=0.75, **rest):
    return uld_jax.Stream(NODES, RATE, ROOM, hop=hop, **rest)


@pytest.fixture(scope="module")
def whole(signals):
    """Return the answers to all signals as one block."""
    stream = open_stream()
    return stream.push(signals) + stream.flush()


@pytest.fixture
def seen(monkeypatch):
    """Collect the windows that are localized, in place of localizing them."""
    found, answer = [], uld_jax.localize(np.ones((2, 8_000)), RATE, NODES[:2])

    def collect(signals, *_, **__):
        found.append(signals)
        return answer

    monkeypatch.setattr(stream_lib.localize, "localize", collect)
    return found


def assert_equal(one, other):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)
    for mine, its in zip(one.modes, other.modes, strict=True):
        np.testing.assert_array_equal(mine.position, its.position)
        assert mine.mass == its.mass


def test_each_window_is_answered_as_a_recording_of_its_own(signals, whole):
    """Bit for bit, silence and the rest included."""
    starts = [0.0, 0.75, 1.5, 2.25, 3.0, 3.75, 4.0]
    assert [one.start for one in whole] == starts
    for one in whole:
        begin, end = int(one.start * RATE), int(one.end * RATE)
        assert end - begin == 2 * RATE
        alone = uld_jax.localize(signals[:, begin:end], RATE, NODES, ROOM)
        assert_equal(one.localization, alone)


def test_talkers_are_found_where_they_are(whole):
    for number, place in ((0, PLACES[0]), (4, PLACES[1])):
        found = whole[number].localization
        assert found.determined
        assert np.linalg.norm(found.position - place[:2]) < 0.01


@pytest.mark.parametrize("seed", [0, 1])
def test_answers_do_not_depend_on_blocks(signals, whole, seed):
    rng = np.random.default_rng(seed)
    stream, found, begin = open_stream(), [], 0
    while begin < signals.shape[1]:
        count = int(rng.choice([0, 1, 160, 4_801, 40_000][seed:]))
        found += stream.push(signals[:, begin : begin + count])
        begin += count
    found += stream.flush()
    assert len(found) == len(whole)
    for one, other in zip(found, whole, strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        assert_equal(one.localization, other.localization)


def test_a_window_is_answered_with_its_last_sample(seen):
    stream = uld_jax.Stream(NODES, RATE, window=1.0, hop=0.5)
    block = np.ones((8, 15_999), np.float32)
    assert stream.push(block) == []
    assert stream.push(block[:, :0]) == []
    (first,) = stream.push(block[:, :1])
    assert (first.start, first.end) == (0.0, 1.0)
    assert stream.push(block[:, :7_999]) == []
    (second,) = stream.push(block[:, :1])
    assert (second.start, second.end) == (0.5, 1.5)
    assert stream.flush() == []
    assert len(seen) == 2


@pytest.mark.parametrize("known", [1.5, None])
def test_all_that_is_known_is_passed_on(known, monkeypatch):
    """Rate, nodes, room and height, to each window."""
    answer = uld_jax.localize(np.ones((2, 8_000)), RATE, NODES[:2])
    given = []

    def collect(_, rate, nodes, room, *, source_height):
        given.append((rate, nodes.tolist(), room.tolist(), source_height))
        return answer

    monkeypatch.setattr(stream_lib.localize, "localize", collect)
    stream = uld_jax.Stream(NODES, 8_000, ROOM, source_height=known, window=1, hop=1)
    stream.push(np.zeros((8, 16_000)))
    assert given == [(8_000, NODES.tolist(), ROOM, known)] * 2


def test_windows_lie_end_to_end_if_no_hop_is_given(seen):
    stream = uld_jax.Stream(NODES, RATE, window=0.5)
    found = stream.push(np.ones((8, 20_000)))
    assert [(one.start, one.end) for one in found] == [(0.0, 0.5), (0.5, 1.0)]
    assert uld_jax.Stream(NODES, RATE).push(np.ones((8, 64_000)))[1].start == 2.0


def test_windows_do_not_drift_from_their_times(seen):
    """Hops that are no whole number of samples, over ten minutes."""
    stream = uld_jax.Stream(NODES[:3], 11_025, window=0.3, hop=0.1)
    ramp = np.arange(600 * 11_025, dtype=np.int32)
    found = [
        one
        for begin in range(0, len(ramp), 50_000)
        for one in stream.push(np.tile(ramp[begin : begin + 50_000], (3, 1)))
    ]
    assert len(found) == 5_998
    starts = np.array([one.start for one in found])
    assert np.abs(starts - 0.1 * np.arange(5_998)).max() < 1 / 11_025
    for one, window in zip(found[::500], seen[::500], strict=True):
        first = round(one.start * 11_025)
        np.testing.assert_array_equal(window[1], np.arange(first, first + 3_308))


def test_what_is_held_does_not_grow(seen):
    stream = open_stream()
    block = np.ones((8, 50_000), np.int16)
    stream.push(block)
    assert seen
    held = {key: np.size(value) for key, value in vars(stream).items()}
    for _ in range(20):
        stream.push(block)
    assert {key: np.size(value) for key, value in vars(stream).items()} == held
    assert stream._ring.nbytes == 8 * 32_000 * 2


def test_blocks_may_be_written_again(signals, whole):
    """And what was given at first, too."""
    nodes, room = NODES.copy(), np.array(ROOM)
    stream = uld_jax.Stream(nodes, RATE, room, hop=0.75)
    buffer = signals[:, :31_000].copy()
    stream.push(buffer)
    buffer[:], nodes[:], room[:] = 7, 0.0, 1.0
    (first,) = stream.push(signals[:, 31_000:32_000])
    assert_equal(first.localization, whole[0].localization)
    with pytest.raises(ValueError, match="read-only"):
        first.localization.node_positions[:] = 0.0


@pytest.mark.parametrize("form", [np.float32, np.float64, "lists", "jax", "unsigned"])
def test_numbers_are_those_of_localize(signals, form):
    part = signals[:, :32_000]
    if form == "lists":
        part = part.tolist()
    elif form == "jax":
        part = jax.numpy.asarray(part)
    elif form == "unsigned":
        part = (part.astype(np.int32) + 32_768).astype(np.uint16)
    else:
        part = (part / 32_768).astype(form)
    (found,) = open_stream().push(part)
    alone = uld_jax.localize(part, RATE, NODES, ROOM)
    assert_equal(found.localization, alone)


def test_a_rest_shorter_than_a_window_is_localized_as_it_is(signals):
    stream = open_stream()
    assert stream.push(signals[:, :16_000]) == []
    (rest,) = stream.flush()
    assert (rest.start, rest.end) == (0.0, 1.0)
    alone = uld_jax.localize(signals[:, :16_000], RATE, NODES, ROOM)
    assert_equal(rest.localization, alone)
    assert stream.flush() == []
    # What is too short for any answer is none.
    stream = open_stream()
    stream.push(signals[:, :3_999])
    assert stream.flush() == []


def test_a_stream_continues_after_a_flush(signals, whole):
    stream = open_stream()
    stream.push(signals[:, :35_000])
    (rest,) = stream.flush()
    assert rest.end == 35_000 / RATE
    second, *_ = stream.push(signals[:, 35_000:50_000])
    assert second.start == 0.75
    assert_equal(second.localization, whole[1].localization)


REFUSED = [
    (np.zeros((7, 100), np.int16), r"shape \(7, 100\), and the stream has 8 nodes"),
    (np.zeros((100, 8), np.int16), r"axes are exchanged: give block.T"),
    (np.zeros(8, np.int16), r"shape \(8,\).* it must be \[8, n\]"),
    (np.zeros((8, 100)), "block is float64, and earlier ones were int16; convert"),
    (np.zeros((8, 100), bool), "are bool, not real numbers"),
    (np.zeros((8, 100), complex), "are complex128, not real numbers"),
    ([["a"]] * 8, "not real numbers"),
    ([[0, 1], [0]] * 4, "different lengths"),
]


def test_a_refused_block_leaves_the_stream_as_it_was(signals, whole):
    stream = open_stream()
    stream.push(signals[:, :20_000])
    for block, message in REFUSED:
        with pytest.raises(batches.RecordingError, match=message):
            stream.push(block)
    (first,) = stream.push(signals[:, 20_000:32_000])
    assert_equal(first.localization, whole[0].localization)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_the_node(signals, value):
    stream = open_stream()
    wrong = np.zeros((8, 40_000), np.float32)
    wrong[5, 39_999] = value
    with pytest.raises(batches.RecordingError, match="block of node 5 holds NaN"):
        stream.push(wrong)
    assert stream.push(signals[:, :10]) == []  # Its type is not the stream's.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"node_positions": []}, "node_positions is empty"),
        ({"node_positions": NODES[:, :1]}, r"shape \(8, 1\).* must be \(8, 3\)"),
        ({"node_positions": NODES[[0, 1, 0]]}, "nodes 0 and 2 are both at"),
        ({"node_positions": np.ones((61, 3))}, "61 nodes; give at most 60"),
        ({"sample_rate": 16}, "sample_rate is 16; give it in Hz"),
        ({"sample_rate": 0}, "sample_rate is 0; give it in Hz"),
        ({"sample_rate": np.inf}, "sample_rate is inf"),
        ({"room_size": [3.0, 4.5]}, "outside of the room"),
        ({"room_size": [6.0]}, "room_size is"),
        ({"source_height": 150}, "source_height is 150"),
        ({"window": 0.2}, "window is 0.2; give seconds from 0.25 to 30"),
        ({"window": np.nan}, "window is nan"),
        ({"window": 3600}, "window is 3600"),
        ({"hop": 2.5}, "hop is 2.5; give seconds from 0.01 to 2, the window"),
        ({"hop": 0}, "hop is 0;"),
        ({"window": 1.0, "hop": 1.5}, "hop is 1.5; give seconds from 0.01 to 1,"),
    ],
)
def test_bad_input_is_named_with_the_fix(changed, message):
    given = {"node_positions": NODES, "sample_rate": RATE, "room_size": ROOM, **changed}
    with pytest.raises(batches.RecordingError, match=message):
        uld_jax.Stream(**given)


@pytest.mark.parametrize("least_nodes", [2, 9])
def test_warming_up_takes_as_many_nodes_as_there_are(least_nodes):
    with pytest.raises(batches.RecordingError, match="give 3 to 8, the number"):
        open_stream().warm_up(least_nodes)


@pytest.fixture
def compiled():
    """Collect the programs that are compiled, or read from the folder of kept ones."""
    found = []

    def note(name, *_, **__):
        if name == "/jax/core/compile/backend_compile_duration":
            found.append(name)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def test_after_warming_up_nothing_is_compiled(compiled):
    """Whatever comes: speech by right and wrong clocks, noise, silence, fewer nodes."""
    # Times of five nodes confirm a place, those of four do not.
    nodes, rng = NODES[:5], np.random.default_rng(3)
    stream = uld_jax.Stream(nodes, RATE, ROOM, window=3.0, hop=3.0)
    stream.warm_up(least_nodes=4)
    assert len(compiled) > 5
    compiled.clear()
    speech, late = (
        np.resize(talk(PLACES[0], "test02-0", nodes, late).T, (48_000, 5)).T
        for late in (0.0, rng.normal(size=5) / 100)
    )
    noise = rng.normal(size=(5, 48_000))
    # The second of two windows is too quiet to count.
    fading = np.repeat([1.0, 1e-3], [16_000, 32_000])
    silent = [speech * (np.arange(5) != node)[:, None] for node in range(5)]
    blocks = (speech, late, noise, fading * speech, fading * noise, 0 * noise)
    for block in (*blocks, *silent):
        assert len(stream.push(block)) == 1
        assert not compiled
