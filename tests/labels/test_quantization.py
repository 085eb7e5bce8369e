"""Errors of right labels against integrals by SciPy and against random positions."""

import math

import numpy as np
import pytest
import scipy.integrate
from test_spherical import draw_directions

from uld_jax import labels
from uld_jax.labels import quantization

BOXES = {
    1: ([7.0], 5),
    2: ([6.0, 4.5], (4, 7)),
    3: ([6.0, 4.5, 3.0], (2, 3, 1)),
    4: ([6.0, 4.5, 3.0, 0.5], (2, 1, 3, 2)),
}
ENCODERS = {
    "uld": labels.encode_uld,
    "one_hot": labels.encode_one_hot,
    "heat_map": labels.encode_heat_map,
    "refined_grid": labels.encode_refined_grid,
    "soft": labels.encode_soft,
}


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_closed_forms_are_the_integrals(num_axes):
    """Of the distance from the center, over one cell."""
    sides, resolution = BOXES[num_axes]
    half = np.array(sides) / resolution / 2
    integral, _ = scipy.integrate.nquad(
        lambda *point: math.hypot(*point),
        [(0.0, side) for side in half],
        opts={"epsrel": 1e-7},
    )
    found = labels.box_quantization_error("one_hot", sides, resolution)
    assert found == pytest.approx(integral / half.prod(), rel=1e-7)


def test_the_square_has_the_known_constant():
    """The mean distance to the center of a unit square; and the paper's 0.38 m."""
    known = (math.sqrt(2) + math.asinh(1.0)) / 6
    assert labels.box_quantization_error("one_hot", [1.0, 1.0]) == pytest.approx(known)
    cube = (6 * 3**0.5 + 12 * math.log(2 + 3**0.5) - math.pi) / 48
    assert labels.box_quantization_error("uld", [1.0] * 3, decoder="argmax") == (
        pytest.approx(cube)
    )


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_the_integral_over_a_line_is_the_closed_form(num_axes):
    for sides in ([3.0, 2.0, 0.5], [1.0, 1e-5, 40.0]):
        sides = np.array(sides[:num_axes])
        found = quantization._mean_distance_of_many(sides)
        assert found == pytest.approx(quantization._mean_distance(sides), rel=1e-12)


def test_a_box_of_more_dimensions_is_that_of_fewer_when_flat():
    flat = labels.box_quantization_error("one_hot", [3.0, 2.0, 0.5, 1e-9, 1e-9])
    whole = labels.box_quantization_error("one_hot", [3.0, 2.0, 0.5])
    assert flat == pytest.approx(whole, rel=1e-12)


PAIRS = [
    (label, decoder)
    for table in (quantization._EXACT, quantization._NEAREST)
    for label, decoders in table.items()
    for decoder in decoders
]


@pytest.mark.parametrize("num_axes", BOXES)
@pytest.mark.parametrize(("label", "decoder"), PAIRS)
def test_random_positions_lose_as_much(label, decoder, num_axes):
    """Encoded and decoded, in a box that does not begin at zero."""
    sides, resolution = BOXES[num_axes]
    low = np.arange(num_axes) - 1.5
    box = {"low": low, "high": low + sides}
    expected = labels.box_quantization_error(
        label, None, resolution, **box, decoder=decoder
    )
    rng = np.random.default_rng(7)
    positions = low + rng.uniform(size=(4000, num_axes)) * sides
    code = ENCODERS[label](positions, None, resolution, **box)
    more = {}
    if decoder in ("argmax", "mean", "local_mean"):
        more = {"grid": "points" if label == "uld" else "cells"}
    if label == "uld" and decoder == "local_mean":
        more["window"] = 2
    decoded = getattr(labels, f"decode_{decoder}")(code, **box, **more)
    errors = np.linalg.norm(decoded - positions, axis=-1)
    tolerance = 4 * errors.std() / len(errors) ** 0.5 + 1e-12
    assert errors.mean() == pytest.approx(expected, abs=tolerance)


def test_the_decoder_is_by_default_that_of_the_label():
    half = labels.box_quantization_error("one_hot", [4.0, 6.0], 3)
    for label, expected in (
        ("uld", 0),
        ("refined_grid", 0),
        ("soft", 1),
        ("heat_map", 1),
    ):
        found = labels.box_quantization_error(label, [4.0, 6.0], 3)
        assert found == pytest.approx(expected * half)


@pytest.mark.parametrize("resolution", [3, 8, 64])
def test_on_the_circle(resolution):
    step = 2 * math.pi / resolution
    integral, _ = scipy.integrate.quad(
        lambda angle: abs(angle) / step, -step / 2, step / 2
    )
    expected = labels.circular_quantization_error(resolution)
    assert expected == pytest.approx(integral)
    angles = np.random.default_rng(1).uniform(-2, 2, 20_000) * math.pi
    code = labels.encode_circular(angles, resolution)
    errors = angles - step * code.argmax(-1)
    errors = np.abs((errors + math.pi) % (2 * math.pi) - math.pi)
    assert errors.mean() == pytest.approx(expected, rel=0.02)
    assert labels.circular_quantization_error(resolution, decoder="wad") == 0.0


def test_on_the_icosahedron_it_is_that_of_a_right_triangle():
    """A twelfth of a part of a face, in polar coordinates around its corner."""
    points = labels.make_spherical_grid(1).points
    edge = np.sort(np.arccos(np.clip(points @ points[0], -1, 1)))[1]

    def reach(azimuth):
        return math.atan(math.tan(edge / 2) / math.cos(azimuth))

    moment, _ = scipy.integrate.dblquad(
        lambda angle, _: angle * math.sin(angle), 0, math.pi / 5, 0, reach
    )
    area, _ = scipy.integrate.quad(lambda a: 1 - math.cos(reach(a)), 0, math.pi / 5)
    found = labels.spherical_quantization_error(1)
    assert found == pytest.approx(moment / area, rel=1e-9)


@pytest.mark.parametrize("resolution", [1, 2, 3])
def test_on_the_sphere_random_directions_lose_as_much(resolution):
    vectors, directions = draw_directions(4000)
    code = labels.encode_spherical(directions, resolution)
    points = labels.make_spherical_grid(resolution).points[code.argmax(-1)]
    errors = np.arccos(np.clip((points * vectors).sum(-1), -1, 1))
    expected = labels.spherical_quantization_error(resolution)
    tolerance = 3 * errors.std() / len(errors) ** 0.5
    assert errors.mean() == pytest.approx(expected, abs=tolerance)
    assert labels.spherical_quantization_error(resolution, decoder="wad") == 0.0


def test_the_sphere_is_nearly_the_plane_on_fine_grids():
    """Of hexagons around the points, whose area is that of the sphere by their number."""
    coarse, fine = map(labels.spherical_quantization_error, (8, 16))
    assert coarse / fine == pytest.approx(2.0, rel=0.01)
    side = math.sqrt(4 * math.pi / (10 * 16**2 + 2) * 2 / (3 * 3**0.5))
    hexagon = side * (1 / 3 + math.log(3) / 4)  # Mean distance to its center.
    assert fine == pytest.approx(hexagon, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: labels.box_quantization_error("udl", [1.0]), "there are one_hot"),
        (
            lambda: labels.box_quantization_error("soft", [1.0], decoder="mean"),
            "it is with cells, argmax",
        ),
        (lambda: labels.box_quantization_error("uld", [[1.0], [2.0]]), "of one box"),
        (lambda: labels.box_quantization_error("uld", [-1.0]), "above 0"),
        (lambda: labels.box_quantization_error("uld", [1.0], 0), "at least 1"),
        (lambda: labels.circular_quantization_error(2), "at least 3"),
        (
            lambda: labels.circular_quantization_error(4, decoder="mean"),
            "there are wad",
        ),
        (lambda: labels.spherical_quantization_error(0), "at least 1"),
        (lambda: labels.spherical_quantization_error(2, decoder="x"), "there are wad"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
