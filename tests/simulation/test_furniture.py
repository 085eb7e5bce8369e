"""Furnished rooms against closed forms, pyroomacoustics, and bare rooms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import decibels
from made_rooms import SHORT, draw_rooms, keys_of, noise_like, silence

from uld_jax.acoustics import constants
from uld_jax.simulation import (
    furniture,
    image_source,
    node_clocks,
    nonuniform_fft,
    recipes,
    rendering,
    scenes,
    thinning,
    walls,
)
from uld_jax.simulation import rooms as rooms_lib

RATE = constants.SAMPLE_RATE
LONG = dataclasses.replace(SHORT, before=0, responses=True, highpass=0.0)
SIZE = np.array([[6.0, 4.5, 3.0]])
ROOM = np.array([6.3, 7.7, 4.2])


def responses_of(rooms, settings=LONG):
    count = len(rooms.t60)
    rendered = rendering.render(
        rooms, silence(rooms, settings), keys_of(count), settings
    )
    return np.asarray(rendered.responses)


def echoes(count=1, displacement=0.2, loss=0.3, **others):
    return furniture.Furniture(
        np.full(count, displacement), np.full(count, loss), **others
    )


def bands_off(rooms):
    """Return furniture whose walls have filters, and whose sources face nowhere."""
    count, num_sources = len(rooms.t60), rooms.source_positions.shape[1]
    facing = np.tile([1.0, 0.0, 0.0], (count, num_sources, 1))
    return {
        "absorption": np.full((count, 6), 0.4),
        "poles": np.full((count, 6), 0.2),
        "facing": facing,
        "behind_db": np.zeros(count),
    }


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("late", rooms_lib.LATE_FIELDS)
@pytest.mark.parametrize("filters", [False, True])
def test_direct_sound_is_that_of_the_bare_room_to_the_bit(
    late, deterministic, filters, monkeypatch
):
    """All echoes are lost; what is left is as in a bare room whose walls reflect none."""
    settings = dataclasses.replace(LONG, late=late, deterministic=deterministic)
    rooms = draw_rooms(2, 4, t60=(0.2, 0.24))
    with monkeypatch.context() as patched:
        patched.setattr(
            rendering,
            "compute_walls",
            lambda *some: rooms_lib.compute_walls(*some)._replace(
                reflection=np.zeros(2, np.float32)
            ),
        )
        bare = responses_of(rooms, settings)
    more = bands_off(rooms) if filters else {}
    more |= {"gains_db": np.zeros((2, 4))}
    lost = rooms._replace(furniture=echoes(2, loss=1.0, **more))
    found = responses_of(lost, settings)
    if late == "full":
        np.testing.assert_array_equal(found, bare)
    else:  # XLA computes the two programs' roots by different instructions.
        assert decibels(found, bare) < -130


def test_the_direct_image_is_that_of_the_bare_room_and_all_others_move():
    rooms = draw_rooms(1, 3, t60=(0.2, 0.2))
    rooms = rooms._replace(furniture=echoes(**bands_off(rooms)))
    bare = rooms._replace(furniture=None)
    source = jnp.asarray((rooms.source_positions - rooms.size[:, None] / 2)[0, 0])
    found = []
    for one in (rooms, bare):
        of_room = jax.tree.map(
            lambda array: jnp.asarray(array[0]), rooms_lib.compute_walls(one, LONG)
        )
        disturbance = None
        if one.furniture is not None:
            disturbance = disturbance_of(3, 0.2, 0.3)
        copy = jnp.asarray(image_source.copies(2))
        found.append(
            image_source.all_images(
                copy, source.astype(jnp.float32), of_room, disturbance
            )
        )
    furnished, plain = found
    np.testing.assert_array_equal(furnished.positions[0], plain.positions[0])
    assert furnished.amplitudes[0] == furnished.low_amplitudes[0] == 1.0
    moved = np.abs(np.asarray(furnished.positions - plain.positions))[1:]
    assert (moved > 0).all(axis=1).all()


def disturbance_of(seed, displacement, loss, facing=(0.0, 0.0, 0.0)):
    return image_source.Disturbance(
        jnp.uint32(seed),
        jnp.float32(displacement),
        jnp.float32(loss),
        jnp.asarray(facing, jnp.float32),
    )


def walls_of(size, absorption, poles, order):
    gains = jnp.asarray(walls.log_gains(absorption, poles), jnp.float32)
    first, exact = thinning.thinning(size[None], np.array([200.0]), 4096)
    values = (size, 1.0, exact[0], first[0], 200.0)
    size, reflection, exact, first, last = (jnp.asarray(v, jnp.float32) for v in values)
    return image_source.Walls(
        size, reflection, jnp.int32(order), exact, first, last, gains
    )


@pytest.mark.parametrize("order", [1, 2, 5, 17])
def test_six_absorptions_are_those_of_pyroomacoustics(order):
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    absorption = np.array([0.1, 0.7, 0.35, 0.2, 0.5, 0.05])
    names = ("west", "east", "south", "north", "floor", "ceiling")
    source = np.array([1.1, 6.2, 0.95])
    room = pyroomacoustics.ShoeBox(
        ROOM,
        fs=RATE,
        max_order=order,
        materials={
            name: pyroomacoustics.Material(float(value))
            for name, value in zip(names, absorption, strict=True)
        },
        use_rand_ism=False,
    )
    room.add_source(source)
    room.add_microphone(ROOM / 2)
    room.image_source_model()
    theirs, damping = room.sources[0].images.T, room.sources[0].damping[0]
    images = image_source.all_images(
        jnp.asarray(image_source.copies(order)),
        jnp.asarray(source - ROOM / 2, jnp.float32),
        walls_of(ROOM, absorption, np.zeros(6), order),
    )
    positions = np.asarray(images.positions) + ROOM / 2

    def by_place(places):
        return np.lexsort(np.round(places, 2).T)

    for mine in (images.amplitudes, images.low_amplitudes):
        np.testing.assert_allclose(
            np.asarray(mine)[by_place(positions)],
            damping[by_place(theirs)],
            rtol=2e-5,
        )


def test_images_are_displaced_normally_and_lost_at_random():
    copy = jnp.asarray(image_source.copies(20))
    source, room = (
        jnp.array([-2.0, 1.3, -1.1]),
        walls_of(ROOM, *np.full((2, 6), 0.1), 30),
    )
    plain = image_source.all_images(copy, source, room)
    images = image_source.all_images(copy, source, room, disturbance_of(7, 0.15, 0.3))
    moved = np.asarray(images.positions - plain.positions)[1:] / 0.15
    lost = np.asarray(images.amplitudes)[1:] == 0
    assert lost.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(lost, np.asarray(images.low_amplitudes)[1:] == 0)
    kept = ~lost
    np.testing.assert_array_equal(
        np.asarray(images.amplitudes)[1:][kept], np.asarray(plain.amplitudes)[1:][kept]
    )
    for axis in range(3):
        assert scipy.stats.kstest(moved[:, axis], "norm").pvalue > 1e-3
        assert scipy.stats.pearsonr(moved[:, axis], lost).pvalue > 1e-3
    related = np.corrcoef(moved.T) - np.eye(3)
    neighbors = np.corrcoef(moved[1:, 0], moved[:-1, 0])[0, 1]
    assert max(np.abs(related).max(), abs(neighbors)) < 4 / np.sqrt(len(moved))
    other = image_source.all_images(copy, source, room, disturbance_of(8, 0.15, 0.3))
    again = np.asarray(other.positions - plain.positions)[1:] / 0.15
    assert abs(np.corrcoef(moved.ravel(), again.ravel())[0, 1]) < 0.03


def test_early_images_are_displaced_alike_in_both_late_fields():
    source, room = (
        jnp.array([-2.0, 1.3, -1.1]),
        walls_of(ROOM, *np.full((2, 6), 0.1), 60),
    )
    disturbance = disturbance_of(7, 0.2, 0.3, (0.1, 0.2, 0.0))
    thinned = thinning.thinned_images(
        jax.random.key(0),
        source,
        room,
        disturbance,
        num_late=4096,
        num_exact=2816,
        num_candidates=8192,
    )
    early = np.asarray(thinned.amplitudes[:2816]) > 0
    mine = np.asarray(thinned.positions[:2816])[early]
    full = image_source.all_images(
        jnp.asarray(image_source.copies(24)), source, room, disturbance
    )
    theirs = np.asarray(full.positions)
    nearest = [np.abs(theirs - one).sum(axis=1).min() for one in mine[:200]]
    assert len(mine) > 50
    assert max(nearest) < 1e-3


def spectra_of(responses, frequencies):
    """Return the transforms of responses at frequencies in Hz, time zero at sample 40."""
    times = np.arange(responses.shape[-1]) - nonuniform_fft.LEAD
    turns = np.exp(-2j * np.pi * np.outer(times, frequencies) / RATE)
    return np.asarray(responses, float) @ turns


LOW, HIGH = np.array([200.0, 500.0, 650.0]), np.array([1500.0, 4000.0, 6500.0])


def test_a_talker_is_weaker_behind_above_1_khz_and_not_below():
    """A cardioid of depth 6 dB; direct sound at 1.5 m, all around, up and down."""
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    around = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=-1)
    around = np.concatenate([around, [[0.0, 0.6, 0.8]]])
    source, facing = np.array([3.0, 2.2, 1.5]), np.array([0.6, 0.8, 0.0])
    nodes = source + 1.4 * around
    rooms = rooms_lib.Rooms(
        SIZE,
        np.zeros(1),
        nodes[None],
        source[None, None],
        furniture=echoes(facing=facing[None, None], behind_db=np.array([6.0])),
    )
    response = responses_of(rooms)[0, 0]
    behind = 10 ** (-6 / 20)
    wanted = (1 + behind) / 2 + (1 - behind) / 2 * (around @ facing)
    assert wanted.min() > behind - 1e-9
    high = np.abs(spectra_of(response, HIGH)) * 1.4
    np.testing.assert_allclose(20 * np.log10(high / wanted[:, None]), 0, atol=0.06)
    low = np.abs(spectra_of(response, LOW)) * 1.4
    np.testing.assert_allclose(20 * np.log10(low), 0, atol=0.06)


def test_an_echo_has_the_walls_filter_and_the_mirrored_direction():
    """One wall reflects; its echo is a source behind it that faces the other way."""
    source, facing = np.array([1.5, 2.2, 1.5]), np.array([-0.8, 0.6, 0.0])
    node = np.array([2.5, 3.1, 1.2])
    absorption, poles = np.full(6, 1.0), np.zeros(6)
    absorption[0], poles[0] = 0.3, 0.4
    inside = furniture.Furniture(
        *np.zeros((2, 1)),
        absorption=absorption[None],
        poles=poles[None],
        facing=facing[None, None],
        behind_db=np.array([6.0]),
    )
    rooms = rooms_lib.Rooms(
        SIZE, np.full(1, 0.2), node[None, None], source[None, None], furniture=inside
    )
    settings = dataclasses.replace(LONG, late="full")
    response = responses_of(rooms, settings)[0, 0, 0]
    lost = (1 - 10 ** (-6 / 20)) / 2
    mirror = np.array([-1.0, 1.0, 1.0])
    frequencies, expected = np.array([500.0, 4000.0]), 0.0
    for place, face, gain in (
        (source, facing, np.ones(2)),
        (
            mirror * source,
            mirror * facing,
            walls.filter_gain(np.full(2, 0.3), np.full(2, 0.4), frequencies),
        ),
    ):
        way = node - place
        distance = np.linalg.norm(way)
        directed = 1 - lost * (1 - face @ way / distance)
        delay = distance / 343.0
        turn = np.exp(-2j * np.pi * frequencies * delay)
        expected = expected + gain * np.array([1.0, directed]) / distance * turn
    found = spectra_of(response[None], frequencies)[0]
    np.testing.assert_allclose(found, expected, atol=3e-3 * np.abs(expected).max())


def test_both_grids_hold_the_energy_of_their_bands():
    """Thinned against full, below and above 1 kHz: energies of a furnished room."""
    rooms = draw_rooms(2, 6, t60=(0.2, 0.24), seed=2)
    more = bands_off(rooms) | {"behind_db": np.full(2, 6.0)}
    rooms = rooms._replace(furniture=echoes(2, 0.1, 0.2, **more))
    settings = dataclasses.replace(LONG, num_late=16_384)
    full, thinned = (
        responses_of(rooms, dataclasses.replace(settings, late=late))
        for late in ("full", "thinned")
    )
    frequencies = np.fft.rfftfreq(full.shape[-1], 1 / RATE)
    for least, most in ((100, 700), (1500, 7000)):
        band = (frequencies > least) & (frequencies < most)
        energies = [
            (np.abs(np.fft.rfft(part)[..., band]) ** 2).sum(axis=(1, 2, 3))
            for part in (full, thinned)
        ]
        ratio = 10 * np.log10(energies[1] / energies[0])
        np.testing.assert_allclose(ratio, 0, atol=0.5)


def test_an_echo_never_comes_before_the_direct_sound():
    rooms = draw_rooms(1, 6, t60=(0.2, 0.2))
    near = rooms.source_positions.copy()
    near[..., 0] = 0.05
    rooms = rooms._replace(source_positions=near, furniture=echoes(1, 2.0, 0.0))
    response = responses_of(rooms)[0, 0]
    distance = np.linalg.norm(near[0] - rooms.node_positions[0], axis=-1)
    onset = np.floor(distance / 343.0 * RATE).astype(int) + nonuniform_fft.LEAD
    for one, first in zip(response, onset, strict=True):
        assert np.abs(one[: first - 3]).max() < 0.2 * np.abs(one).max()
        assert np.isfinite(one).all()


def test_gains_and_clocks_are_those_of_the_nodes():
    """A steady tone without reflections: its level and its phase over time."""
    drifts, offsets = np.array([[0.0, 100.0, -60.0]]), np.array([[0.25, 0.0, -0.4]])
    gains = np.array([[0.0, 3.0, -2.0]])
    nodes = np.array([[[1.0, 1.0, 1.0], [5.0, 4.0, 1.0], [2.0, 3.5, 1.0]]])
    rooms = rooms_lib.Rooms(
        SIZE, np.zeros(1), nodes, np.array([[[3.0, 2.0, 1.4]]]), furniture=echoes()
    )
    settings = dataclasses.replace(SHORT, num_samples=8000, before=1600)
    settings = dataclasses.replace(settings, responses=False, highpass=0.0)
    angular = 2 * np.pi * 1000.0 / RATE
    dry = np.float32(np.sin(angular * np.arange(settings.num_dry)))[None, None]
    exact = rendering.render(rooms, dry, keys_of(1), settings)
    inside = rooms.furniture._replace(
        gains_db=gains, drifts_ppm=drifts, offsets=offsets
    )
    other = rendering.render(
        rooms._replace(furniture=inside), dry, keys_of(1), settings
    )
    assert exact.speech == other.speech
    samples = np.arange(8000.0)
    window = np.hanning(2000)
    for start in (1000, 3000, 5000):
        part = slice(start, start + 2000)
        turn = window * np.exp(-1j * angular * samples[part])
        before, after = (
            np.asarray(one.signals[0, :, part], float) @ turn for one in (exact, other)
        )
        level = 20 * np.log10(np.abs(after / before))
        np.testing.assert_allclose(level, gains[0], atol=0.02)
        # The window's middle is read at its own time, less that of the clock.
        late = drifts[0] * 1e-6 * (start + 1000 - 4000) + offsets[0]
        found = np.angle(after / before) / angular
        np.testing.assert_allclose(found, late, atol=5e-3)
    assert node_clocks.reach(8000) < 1600


@pytest.mark.exact
@pytest.mark.parametrize("late", rooms_lib.LATE_FIELDS)
def test_a_furnished_room_is_the_same_in_a_batch_of_any_size(late):
    settings = dataclasses.replace(SHORT, late=late)
    rooms = draw_rooms(3, 4, t60=(0.2, 0.24))
    drawn = [furniture.Ranges(share=1.0).draw(k, scene_of(rooms, k)) for k in range(3)]
    rooms = rooms._replace(furniture=furniture.Furniture.of(drawn))
    dry, noise = noise_like(rooms, settings), noise_like(rooms, settings, 1)[:, 0]
    keys = keys_of(3)
    together = rendering.render(rooms, dry, keys, settings, noise).signals
    row = slice(1, 2)
    alone = jax.tree.map(lambda array: array[row], rooms)
    apart = rendering.render(alone, dry[row], keys[row], settings, noise[row]).signals
    np.testing.assert_array_equal(apart, together[row])


def scene_of(rooms, number):
    return scenes.Scene(
        rooms.size[number],
        rooms.node_positions[number],
        rooms.source_positions[number],
        rooms.t60[number],
    )


RECIPE = dataclasses.replace(recipes.ANY, num_nodes=6, num_samples=4000)


def scenes_of(count):
    return [RECIPE.draw_scene(np.random.default_rng(k), "train") for k in range(count)]


def test_the_recipe_draws_all_ranges():
    drawn = [
        furniture.Ranges().draw(number, scene)
        for number, scene in enumerate(scenes_of(300))
    ]
    bare = [one for one in drawn if one.behind_db == 0]
    inside = [one for one in drawn if one.behind_db > 0]
    assert len(inside) / 300 == pytest.approx(0.6, abs=0.09)
    for one in bare:
        assert one.displacement == one.loss == 0
        assert not one.gains_db.any() and not one.drifts_ppm.any()
        assert not one.offsets.any() and not one.side_errors.any()
        assert np.ptp(one.absorption) == 0 and not one.poles.any()
    for name, largest in (("displacement", 0.25), ("loss", 0.4)):
        values = [getattr(one, name) for one in inside]
        assert scipy.stats.kstest(values, "uniform", (0, largest)).pvalue > 1e-3
    spread = np.array([np.ptp(np.log(-np.log1p(-one.absorption))) for one in inside])
    assert spread.max() <= np.log(4) + 1e-6
    poles = np.concatenate([one.poles / one.absorption for one in inside])
    assert scipy.stats.kstest(poles, "uniform", (0, 0.5)).pvalue > 1e-3
    facing = np.concatenate([one.facing for one in inside])
    np.testing.assert_allclose(np.linalg.norm(facing, axis=1), 1, rtol=1e-12)
    assert {float(one.behind_db) for one in inside} == {6.0}
    gains = np.array([one.gains_db.std() for one in inside])
    assert 0 < gains.min() < 0.5 and 2.5 < gains.max() < 8
    drifts = np.array([np.abs(one.drifts_ppm).max() for one in inside])
    assert drifts.max() <= 100 and drifts.min() < 15
    offsets = np.concatenate([one.offsets for one in inside])
    assert scipy.stats.kstest(offsets, "uniform", (-0.5, 1)).pvalue > 1e-3
    errors = np.concatenate([one.side_errors for one in inside])
    assert 0.03 < errors.std() < 0.09


def test_furniture_follows_from_the_seed_of_an_example_alone():
    first, second = scenes_of(2)
    for kind in (furniture.Ranges(share=1.0), furniture.Column()):
        one, same, other = (kind.draw(seed, first) for seed in (5, 5, 6))
        for values in zip(one, same, strict=True):
            np.testing.assert_array_equal(*values)
        assert (one.gains_db != other.gains_db).any()
        np.testing.assert_array_equal(one.gains_db, kind.draw(5, second).gains_db)


def test_the_column_of_tests_is_fixed():
    drawn = [furniture.Column().draw(k, scene) for k, scene in enumerate(scenes_of(60))]
    assert {float(one.displacement) for one in drawn} == {np.float32(0.1)}
    assert {float(one.loss) for one in drawn} == {0.0}
    gains = np.concatenate([one.gains_db for one in drawn])
    assert scipy.stats.kstest(gains, "norm").pvalue > 1e-3
    for one in drawn:
        assert one[2:6] == (None,) * 4 and one[7:] == (None,) * 3


def example(seed=3, furnishing="any"):
    recipe = dataclasses.replace(RECIPE, furnishing=furnishing)
    scene = recipe.draw_scene(np.random.default_rng(1), "train")
    drawn = recipes.Drawn(scene, (), None, np.zeros(1, np.float32), seed)
    rng = np.random.default_rng(2)
    dry = rng.normal(size=(1, 1, recipe.num_dry)).astype(np.float32)
    noise = rng.normal(size=(1, recipe.num_dry)).astype(np.float32)
    return recipe, drawn, dry, noise


def test_chosen_nodes_have_the_gains_and_clocks_they_have_among_all(monkeypatch):
    recipe, drawn, dry, noise = example()
    kind = furniture.Ranges(share=1.0)
    monkeypatch.setitem(furniture.FURNISHINGS, "any", kind)
    scene = dataclasses.replace(drawn.scene, snr_db=np.inf)
    drawn = dataclasses.replace(drawn, scene=scene)
    every, some = (
        recipe.batch([drawn], dry, noise, nodes=nodes, deterministic=True)
        for nodes in (None, np.array([[4, 1]]))
    )
    assert decibels(some["audio"], np.asarray(every["audio"])[:, [4, 1]]) < -90
    bare = dataclasses.replace(recipe, furnishing="bare").batch([drawn], dry, noise)
    assert decibels(bare["audio"], every["audio"]) > -20


def test_a_localizer_is_given_sides_that_hold_all_nodes_and_sources(monkeypatch):
    kind = furniture.Ranges(share=1.0, side_error=0.5)
    found = []
    for number, scene in enumerate(scenes_of(80)):
        one = kind.draw(number, scene)
        believed = one.believed(scene)
        inside = np.concatenate([scene.node_positions, scene.source_positions])
        assert (inside <= believed).all()
        found.append(believed - scene.room_size)
    assert np.std(found) > 0.1
    recipe, drawn, dry, noise = example()
    monkeypatch.setitem(furniture.FURNISHINGS, "any", kind)
    batch = recipe.batch([drawn], dry, noise)
    wanted = kind.draw(drawn.seed, drawn.scene).believed(drawn.scene)
    np.testing.assert_array_equal(batch["room_size"][0], wanted)


def test_recipes_of_before_are_described_as_before():
    assert "furnishing" not in recipes.ANY.describe("thinned", True)
    furnished = dataclasses.replace(recipes.ANY, furnishing="any")
    assert furnished.describe("thinned", True)["furnishing"] == "any"


UNIT = np.array([[[1.0, 0.0, 0.0]]])
BAD = {
    "displacement has shape": {"displacement": np.zeros(2)},
    "loss holds 1.5; give 0 to 1": {"loss": np.array([1.5])},
    "loss holds nan": {"loss": np.array([np.nan])},
    r"absorption has shape \(1, 5\)": {"absorption": np.full((1, 5), 0.2)},
    "absorption holds -0.1": {"absorption": np.full((1, 6), -0.1)},
    "poles without absorption": {"poles": np.full((1, 6), 0.1)},
    "facing without behind_db": {"facing": UNIT},
    "a vector of length 0.5": {"facing": 0.5 * UNIT, "behind_db": np.zeros(1)},
    "drifts_ppm holds 2000": {"drifts_ppm": np.full((1, 4), 2000.0)},
    "offsets holds -3": {"offsets": np.full((1, 4), -3.0)},
    r"gains_db has shape \(1, 3\)": {"gains_db": np.zeros((1, 3))},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_furniture_is_refused(message):
    rooms = draw_rooms(1, 4, t60=(0.2, 0.2))
    rooms = rooms._replace(furniture=echoes()._replace(**BAD[message]))
    with pytest.raises(rooms_lib.RenderingError, match=message):
        rendering.render(rooms, silence(rooms, SHORT), keys_of(1), SHORT)
