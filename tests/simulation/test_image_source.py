"""Images of a source: all of them against pyroomacoustics, thinned against all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.simulation import image_source, thinning

ROOM = np.array([6.3, 7.7, 4.2])
SOURCE = np.array([1.1, 6.2, 0.95])


def walls_of(size, reflection, order, t60=0.5, num_late=16_384):
    last = np.array([1.25 * t60 * 343.0])
    first, exact = thinning.thinning(size[None], last, num_late)
    values = (size, reflection, exact[0], first[0], last[0])
    size, reflection, exact, first, last = (jnp.asarray(v, jnp.float32) for v in values)
    return image_source.Walls(
        size, reflection, jnp.asarray(order, jnp.int32), exact, first, last
    )


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5, 8, 10, 47])
def test_images_are_those_of_pyroomacoustics(order):
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    room = pyroomacoustics.ShoeBox(
        ROOM,
        fs=16_000,
        max_order=order,
        materials=pyroomacoustics.Material(0.19),
        use_rand_ism=False,
    )
    room.add_source(SOURCE)
    room.add_microphone(ROOM / 2)
    room.image_source_model()
    theirs = room.sources[0].images.T
    damping = room.sources[0].damping[0]
    copies = image_source.copies(order)
    assert len(copies) == len(theirs) == image_source.num_images(order)
    walls = walls_of(ROOM, np.sqrt(1 - 0.19), order)
    source = jnp.asarray(SOURCE - ROOM / 2, jnp.float32)
    mine = image_source.all_images(jnp.asarray(copies), source, walls)
    positions = np.asarray(mine.positions) + ROOM / 2

    def by_place(places):
        return np.lexsort(np.round(places, 2).T)

    np.testing.assert_allclose(
        positions[by_place(positions)], theirs[by_place(theirs)], rtol=2e-6, atol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(mine.amplitudes)[by_place(positions)],
        damping[by_place(theirs)],
        rtol=1e-5,
    )


def test_copies_of_a_lower_order_come_first():
    reflections = np.abs(image_source.copies(9).astype(int)).sum(1)
    for order in range(10):
        assert (reflections <= order).sum() == image_source.num_images(order)
    assert (np.diff(reflections) >= 0).all()


def test_images_beyond_the_order_are_silent():
    walls = walls_of(ROOM, 0.9, 4)
    copies = jnp.asarray(image_source.copies(7))
    images = image_source.all_images(copies, jnp.zeros(3), walls)
    sounding = np.asarray(images.amplitudes) > 0
    assert sounding.sum() == image_source.num_images(4)


@functools.partial(jax.jit, static_argnames="num_late")
def draw(seed, source, walls, num_late=16_384):
    return thinning.thinned_images(
        jax.random.key(seed),
        source,
        walls,
        num_late=num_late,
        num_exact=2560,
        num_candidates=8192,
    )


def exact_of(copies, source, walls):
    """Return positions, amplitudes and distances from the center, in float64."""
    images = image_source.all_images(jnp.asarray(copies), source, walls)
    positions = np.asarray(images.positions, float)
    return (
        positions,
        np.asarray(images.amplitudes, float),
        np.linalg.norm(positions, axis=1),
    )


SOURCES = {
    "free": [-2.0, 1.3, -1.15],
    "beside a wall": [-3.0, 1.3, -1.15],
    "in a corner": [3.15, -3.85, -2.1],
    "on the ceiling": [-1.0, -2.0, 2.1],
    "at the center": [0.0, 0.0, 0.0],
}


@pytest.mark.parametrize("place", SOURCES)
def test_early_images_are_all_there_once(place):
    absorption, t60 = 0.2, 0.6
    order = int(absorption_lib.image_order(ROOM, np.array(t60)))
    walls = walls_of(ROOM, np.sqrt(1 - absorption), order, t60)
    source = jnp.asarray(SOURCES[place], jnp.float32)
    drawn = draw(0, source, walls)
    early = np.asarray(drawn.amplitudes[:2560]) > 0
    mine = np.asarray(drawn.positions[:2560])[early]
    positions, _, distance = exact_of(image_source.copies(24), source, walls)
    wanted = positions[distance < float(walls.exact_radius)]
    assert len(mine) == len(wanted)
    order_of = lambda p: np.lexsort(np.round(p, 2).T)  # noqa: E731
    np.testing.assert_allclose(
        mine[order_of(mine)], wanted[order_of(wanted)], atol=1e-4
    )
    late = np.linalg.norm(np.asarray(drawn.positions[2560:]), axis=1)
    sounding = np.asarray(drawn.amplitudes[2560:]) != 0
    assert (late[sounding] >= float(walls.exact_radius) - 1e-3).all()


@pytest.mark.parametrize("place", SOURCES)
def test_the_energy_of_the_late_images_is_right_at_any_time(place):
    """Mean over keys, shell by shell; what arrives together adds as amplitudes."""
    absorption, t60 = 0.25, 0.4
    order = int(absorption_lib.image_order(ROOM, np.array(t60)))
    walls = walls_of(ROOM, np.sqrt(1 - absorption), order, t60, 4096)
    source = jnp.asarray(SOURCES[place], jnp.float32)
    node = np.array([0.4, -0.9, -1.15])
    edges = np.array([1.1 * float(walls.exact_radius), 60.0, 90.0, 130.0])

    def energy(positions, amplitudes):
        distance = np.linalg.norm(positions - node, axis=-1)
        # Coincident images: same distance to a centimeter, same direction.
        cells = np.round(positions / 0.02 + 0.3).astype(int)
        _, group = np.unique(cells, axis=0, return_inverse=True)
        pulses = np.bincount(group.ravel(), amplitudes / distance)
        nearest = np.full(len(pulses), np.inf)
        np.minimum.at(nearest, group.ravel(), distance)
        shell = np.digitize(nearest, edges)
        return np.bincount(shell, pulses**2, minlength=5)[1:4]

    positions, amplitudes, _ = exact_of(image_source.copies(order), source, walls)
    expected = energy(positions, amplitudes)
    many = jax.jit(
        jax.vmap(functools.partial(draw, source=source, walls=walls, num_late=4096))
    )(jnp.arange(40))
    mean = np.mean(
        [
            energy(np.asarray(p, float), np.asarray(a, float))
            for p, a in zip(many.positions, many.amplitudes, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(mean, expected, rtol=0.08)


def test_early_images_fit_where_they_are_said_to_fit():
    rng = np.random.default_rng(0)
    copies = image_source.copies(40)
    for _ in range(10):
        size = np.append(rng.uniform(4, 10, 2), 4.2)
        t60 = rng.uniform(0.2, 1.2)
        walls = walls_of(size, 0.9, 200, t60)
        source = jnp.asarray(rng.uniform(-0.5, 0.5, 3) * size, jnp.float32)
        _, _, distance = exact_of(copies, source, walls)
        count = (distance < float(walls.exact_radius)).sum()
        exact = np.asarray(walls.exact_radius)[None]
        assert count <= thinning.largest_num_exact(size[None], exact) <= 2560
        assert thinning.num_candidates(size[None], exact) <= 8192


def test_another_key_draws_other_images():
    walls, source = walls_of(ROOM, 0.9, 60), jnp.asarray(SOURCES["free"])
    one, same, other = (draw(seed, source, walls) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.positions, same.positions)
    np.testing.assert_array_equal(one.amplitudes, same.amplitudes)
    assert (np.asarray(one.positions) != np.asarray(other.positions)).any(
        1
    ).mean() > 0.5
