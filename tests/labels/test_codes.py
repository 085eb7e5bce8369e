import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uld_jax.labels import axes, boxes, codes, decoders

ROOM = jnp.array([4.0, 9.5])
ROOMS = [(4.0, 4.0), (4.0, 9.5), (10.0, 6.3), (10.0, 10.0)]
RESOLUTIONS = [1, 2, 4, 5, 8, 16, 32]
# Both walls, grid points of every resolution, cell centers, and in between.
FRACTIONS = np.concatenate(
    [[0.0, 1.0], np.arange(1, 32) / 32, np.arange(1, 5) / 5, [0.5, 1 / 3, 0.97, 1e-4]]
)


def uld_by_the_equations(position, room_size, resolution):
    """Eqs. 1-3 written out in float64."""
    marginals = []
    for p, length in zip(position, room_size, strict=True):
        chi = p / (length / resolution)
        integer, decimal = int(chi), chi - int(chi)
        weights = np.zeros(resolution + 1)
        for i in range(resolution + 1):
            if i == integer:
                weights[i] = 1 - decimal
            elif i == integer + 1:
                weights[i] = decimal
        marginals.append(weights)
    x, y = marginals
    return np.outer(y, x)


def wad_by_the_equations(joint, room_size):
    """Eqs. 4-5 written out in float64."""
    position = []
    for marginal, length in zip((joint.sum(0), joint.sum(1)), room_size, strict=True):
        k, num_points = int(np.argmax(marginal)), len(marginal)
        cell = length / (num_points - 1)
        near = [i for i in (k - 1, k, k + 1) if 0 <= i < num_points]
        weight = sum(marginal[i] for i in near)
        position.append(sum(marginal[i] * i * cell for i in near) / weight)
    return np.array(position)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("room_size", ROOMS)
def test_wad_inverts_uld_up_to_the_walls(room_size, resolution):
    """Sec. 2.2: decoding a true label loses nothing."""
    grid = np.stack(np.meshgrid(FRACTIONS, FRACTIONS), -1).reshape(-1, 2)
    room = jnp.array(room_size)
    positions = jnp.asarray(grid, jnp.float32) * room

    @jax.jit
    @jax.vmap
    def roundtrip(position):
        joint = codes.encode_uld(position, room, resolution)
        return codes.decode_wad(joint, room)

    np.testing.assert_allclose(roundtrip(positions), positions, rtol=0, atol=1e-5)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_uld_is_eqs_1_to_3(resolution):
    rng = np.random.default_rng(resolution)
    positions = rng.uniform(0, ROOM, size=(50, 2)).astype(np.float32)
    encode = jax.vmap(lambda p: codes.encode_uld(p, ROOM, resolution))
    expected = [
        uld_by_the_equations(p, np.asarray(ROOM), resolution) for p in positions
    ]
    np.testing.assert_allclose(encode(jnp.asarray(positions)), expected, atol=1e-5)


def test_uld_has_rows_y_and_columns_x():
    joint = codes.encode_uld(jnp.array([1.0, 0.0]), ROOM, 4)
    assert joint.shape == (5, 5)
    assert joint[0, 1] == 1.0
    assert joint.sum() == 1.0


def test_uld_sums_to_one_and_is_not_negative():
    positions = jax.random.uniform(jax.random.key(0), (200, 2)) * ROOM
    joints = jax.vmap(lambda p: codes.encode_uld(p, ROOM, 7))(positions)
    assert (joints >= 0).all()
    np.testing.assert_allclose(joints.sum((1, 2)), 1.0, atol=1e-6)
    assert ((joints > 0).sum((1, 2)) <= 4).all()


def test_wad_is_eqs_4_and_5_for_any_distribution():
    joints = jax.random.dirichlet(jax.random.key(1), jnp.ones(36), (100,))
    joints = joints.reshape(100, 6, 6)
    decoded = jax.vmap(lambda joint: codes.decode_wad(joint, ROOM))(joints)
    expected = [wad_by_the_equations(np.asarray(j, float), ROOM) for j in joints]
    np.testing.assert_allclose(decoded, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("marginal", "expected"),
    [
        ([0.2, 0.6, 0.2, 0.0, 0.0], 1.0),  # Equal neighbors of an inner peak.
        ([0.5, 0.25, 0.0, 0.0, 0.25], 1 / 3),  # A peak at the near wall.
        ([0.25, 0.0, 0.0, 0.25, 0.5], 4 - 1 / 3),  # A peak at the far wall.
        ([0.0, 0.5, 0.5, 0.0, 0.0], 1.5),  # Two equal peaks.
        ([0.3, 0.4, 0.0, 0.0, 0.3], 4 / 7),  # An equal value that is no neighbor.
        ([1.0, 0.0, 0.0, 0.0, 0.0], 0.0),
        ([2.0, 2.0, 0.0, 0.0, 0.0], 0.5),  # Not normalized.
    ],
)
def test_neighbors_are_chosen_by_index(marginal, expected):
    decoded = axes.decode_axis(jnp.array(marginal))
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_one_cell_is_pure_interpolation():
    joint = codes.encode_uld(jnp.array([1.0, 9.5]), ROOM, 1)
    np.testing.assert_allclose(joint, [[0, 0], [0.75, 0.25]], atol=1e-7)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_one_hot_decodes_to_the_center_of_the_right_cell(resolution):
    positions = jax.random.uniform(jax.random.key(2), (100, 2)) * ROOM
    positions = positions.at[0].set(ROOM)  # The far corner belongs to the last cell.

    @jax.vmap
    def decode(position):
        code = codes.encode_one_hot(position, ROOM, resolution)
        return codes.decode_cells(code, ROOM), code.sum()

    decoded, total = decode(positions)
    cells = np.minimum(np.asarray(positions / ROOM) * resolution // 1, resolution - 1)
    np.testing.assert_allclose(
        decoded, (cells + 0.5) * np.asarray(ROOM) / resolution, rtol=1e-5
    )
    assert (total == 1).all()


def test_heat_map_is_a_gaussian_of_a_tenth_of_the_room():
    position = np.array([1.3, 7.7])
    code = codes.encode_heat_map(jnp.asarray(position, jnp.float32), ROOM, 6)
    for row in range(6):
        for column in range(6):
            center = (np.array([column, row]) + 0.5) / 6
            deviation = (center - position / np.asarray(ROOM)) / 0.1
            expected = np.exp(-0.5 * np.sum(deviation**2))
            np.testing.assert_allclose(code[row, column], expected, atol=1e-6)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_refined_grid_loses_nothing(resolution):
    grid = np.stack(np.meshgrid(FRACTIONS, FRACTIONS), -1).reshape(-1, 2)
    positions = jnp.asarray(grid, jnp.float32) * ROOM

    @jax.vmap
    def roundtrip(position):
        code = codes.encode_refined_grid(position, ROOM, resolution)
        return codes.decode_refined_grid(code, ROOM)

    np.testing.assert_allclose(roundtrip(positions), positions, rtol=0, atol=1e-5)


def test_refined_grid_has_ratios_in_the_occupied_cell_alone():
    code = codes.encode_refined_grid(jnp.array([1.5, 2.375]), ROOM, 4)
    expected = np.zeros((3, 4, 4))
    expected[:, 1, 1] = 1.0, 0.5, 0.0
    np.testing.assert_allclose(code, expected, atol=1e-6)


ENCODERS = [
    codes.encode_uld,
    codes.encode_one_hot,
    codes.encode_heat_map,
    codes.encode_refined_grid,
]


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize(
    ("position", "room_size", "resolution", "message"),
    [
        (
            [4.1, 1.0],
            [4.0, 5.0],
            4,
            r"4\.09.* is not inside the room of \[4\.0, 5\.0\]",
        ),
        ([-0.1, 1.0], [4.0, 5.0], 4, "not inside"),
        ([float("nan"), 1.0], [4.0, 5.0], 4, "nan.*not inside"),
        ([1.0, 1.0], [0.0, 5.0], 4, "every side must be finite and above 0"),
        ([1.0, 1.0], [4.0, -5.0], 4, "every side"),
        ([1.0, 1.0], [4.0, float("inf")], 4, "every side"),
        ([1.0, 1.0], [4.0, 5.0], 0, "resolution is 0"),
        ([1.0, 1.0], [4.0, 5.0], -3, "resolution is -3"),
    ],
)
def test_bad_input_is_refused(encode, position, room_size, resolution, message):
    with pytest.raises(ValueError, match=message):
        encode(jnp.array(position), jnp.array(room_size), resolution)


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize(
    ("position", "box", "message"),
    [
        ([1.0, 1.0, 1.0], {"room_size": [4.0, 5.0]}, "must hold 2 coordinates"),
        (1.0, {"room_size": [4.0]}, "must hold 1 coordinate"),
        ([1.0, 1.0], {"room_size": 4.0}, "room_size is one number"),
        ([1.0, 1.0], {}, "neither of room_size and high"),
        (
            [1.0, 1.0],
            {"room_size": [4, 4], "high": [4, 4]},
            "both of room_size and high",
        ),
        ([1.0, 1.0], {"room_size": [4, 4], "low": [0, 0]}, "low goes with high"),
        ([1.0, 1.0], {"low": [0.0], "high": [4, 4]}, "low has shape"),
        ([1.0, 1.0], {"low": [0, 4], "high": [4, 4]}, "high - low is.*above 0"),
        ([1.0, 9.0], {"low": [0, 0], "high": [4, 4]}, "inside the box from"),
        ([1.0, 1.0], {"room_size": [4, 4], "resolution": [2, 2, 2]}, "for 3 axes"),
        ([1.0, 1.0], {"room_size": [4, 4], "resolution": [2, 0]}, "resolution is 0"),
        ([1.0, 1.0], {"room_size": [4, 4], "outside": "no"}, "outside"),
        ([1.0, np.nan], {"room_size": [4, 4], "outside": "clip"}, "holds NaN"),
    ],
)
def test_boxes_and_positions_must_agree(encode, position, box, message):
    with pytest.raises((ValueError, TypeError), match=message):
        encode(position, **{"resolution": 3, **box})


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_batch_has_the_code_of_each(encode):
    rng = np.random.default_rng(0)
    low, high = rng.uniform(-3, 0, (4, 3, 3)), rng.uniform(1, 3, (4, 3, 3))
    positions = low + rng.uniform(size=(4, 3, 3)) * (high - low)
    batch = encode(positions, resolution=(2, 3, 4), low=low, high=high)
    assert batch.shape[-3:] == (5, 4, 3) if encode is codes.encode_uld else (4, 3, 2)
    for index in np.ndindex(4, 3):
        one = encode(
            positions[index], resolution=(2, 3, 4), low=low[index], high=high[index]
        )
        np.testing.assert_allclose(batch[index], one, atol=1e-15)


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_box_is_a_room_moved(encode):
    room, low = np.array([4.0, 3.0, 2.5]), np.array([-1.0, 2.0, 0.5])
    positions = np.random.default_rng(1).uniform(size=(50, 3)) * room
    moved = encode(positions + low, resolution=4, low=low, high=low + room)
    np.testing.assert_allclose(moved, encode(positions, room, 4), atol=1e-12)


@pytest.mark.parametrize("encode", ENCODERS)
def test_outside_is_moved_to_the_wall_where_asked(encode):
    clipped = encode([-1.0, 9.0], [4.0, 5.0], 3, outside="clip")
    np.testing.assert_array_equal(clipped, encode([0.0, 5.0], [4.0, 5.0], 3))


@given(
    axes_=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    corner=st.booleans(),
)
def test_round_trips_are_exact_in_all_dimensions(axes_, seed, corner):
    """Sec. 2.2, in up to four dimensions: at random places, at walls and grid points."""
    rng = np.random.default_rng(seed)
    most = {1: 64, 2: 64, 3: 24, 4: 9}[axes_]
    each = rng.integers(1, most + 1, axes_)
    low = rng.normal(size=axes_)
    sides = rng.uniform(0.1, 10.0, axes_)
    fractions = rng.uniform(size=(8, axes_))
    if corner:
        fractions = np.rint(fractions * each) / each
    positions = low + fractions * sides
    box = {"low": low, "high": low + sides}
    joint = codes.encode_uld(positions, resolution=each, outside="clip", **box)
    assert (joint >= 0).all()
    last = tuple(range(1, 1 + axes_))
    np.testing.assert_allclose(joint.sum(last), 1.0, atol=1e-13)
    for decode in (codes.decode_wad, decoders.decode_mean):
        np.testing.assert_allclose(decode(joint, **box), positions, atol=1e-12)
    grid = codes.encode_refined_grid(positions, resolution=each, outside="clip", **box)
    np.testing.assert_allclose(
        codes.decode_refined_grid(grid, **box), positions, atol=1e-12
    )
    marginals = codes.encode_marginals(
        positions, resolution=each, outside="clip", **box
    )
    np.testing.assert_allclose(
        codes.decode_marginals(marginals, **box), positions, atol=1e-12
    )
    letters = "abcd"[:axes_]
    outer = ",".join(f"n{letter}" for letter in letters)
    product = np.einsum(f"{outer}->n{letters[::-1]}", *marginals)
    np.testing.assert_allclose(joint, product, atol=1e-15)


def test_one_hot_of_space_is_at_the_cell():
    code = codes.encode_one_hot([1.0, 2.0, 2.9], [4.0, 4.0, 3.0], (4, 2, 3))
    assert code.shape == (3, 2, 4)
    assert np.argwhere(code).tolist() == [[2, 1, 1]]
    np.testing.assert_allclose(
        codes.decode_cells(code, [4.0, 4.0, 3.0]), [1.5, 3.0, 2.5]
    )


@pytest.mark.parametrize("resolution", [2.0, True, "4"])
def test_a_resolution_is_a_whole_number(resolution):
    with pytest.raises(ValueError, match="must be a whole number"):
        boxes.check_resolution(resolution)


def test_the_first_bad_position_of_a_batch_is_named():
    positions = np.array([[1.0, 1.0], [1.0, 9.0]])
    with pytest.raises(ValueError, match=r"\[1\.0, 9\.0\].*\[4\.0, 8\.0\]"):
        boxes.check_positions(positions, np.array([4.0, 8.0]))


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (np.ones((1, 1)), r"joint has shape \(1, 1\).*\[\.\.\., Ky, Kx\]"),
        (np.ones(4), r"joint has shape \(4,\)"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.eye(3) - 0.1, "holds -0.1; .* softmax"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.full((3, 3), np.inf), "infinite"),
        (np.stack([np.eye(3), 0 * np.eye(3)]), "zero everywhere"),
    ],
)
@pytest.mark.parametrize("library", [np, jnp])
def test_what_is_no_distribution_is_refused(joint, message, library):
    with pytest.raises(ValueError, match=message):
        codes.decode_wad(library.asarray(joint), ROOM)


def test_refused_scores_and_marginals():
    with pytest.raises(ValueError, match="scores hold NaN"):
        codes.decode_cells([[np.nan, 1.0]], [4.0, 4.0])
    with pytest.raises(ValueError, match=r"\[3, I, ...\]"):
        codes.decode_refined_grid(np.ones((2, 4, 4)), [4.0, 4.0])
    with pytest.raises(ValueError, match="1 marginals for a box of 2 axes"):
        codes.decode_marginals([np.ones(3)], [4.0, 4.0])
    with pytest.raises(ValueError, match=r"a marginal has shape \(1,\)"):
        codes.decode_marginals([np.ones(3), np.ones(1)], [4.0, 4.0])
    with pytest.raises(ValueError, match="a marginal is zero"):
        codes.decode_marginals([np.ones(3), np.zeros(3)], [4.0, 4.0])


def test_inside_a_traced_program_values_are_moved_or_nan():
    encode = jax.jit(lambda position: codes.encode_uld(position, ROOM, 4))
    np.testing.assert_array_equal(
        encode(jnp.array([-1.0, 99.0])), encode(jnp.array([0.0, 9.5]))
    )
    assert np.isnan(encode(jnp.array([jnp.nan, 1.0]))).any()
    decode = jax.jit(lambda joint: codes.decode_wad(joint, ROOM))
    assert np.isnan(decode(jnp.zeros((3, 3)))).all()


def test_gradients_are_those_of_the_hat_functions():
    def decoded(position):
        joint = codes.encode_uld(position, ROOM, 4)
        return codes.decode_wad(joint, ROOM)

    for position in (
        [1.3, 2.9],
        [1.0, 2.375],
        [0.0, 9.5],
    ):  # Inside, grid point, corner.
        assert np.isfinite(jax.jacobian(decoded)(jnp.array(position))).all()
    inside = jax.jacobian(decoded)(jnp.array([1.3, 2.9]))
    np.testing.assert_allclose(inside, np.eye(2), atol=1e-5)
