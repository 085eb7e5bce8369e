"""The plot of an answer: everything in meters, at its place."""

import dataclasses

import numpy as np
import pytest

from uld_jax.localization import answers
from uld_jax.localization.posterior import Mode

NODES = np.array([[1.5, 2.5, 1.0], [6.0, 2.2, 1.2], [3.0, 5.5, 1.1]])


@pytest.fixture
def found():
    probability = np.zeros((3, 3))
    probability[1, 2] = 1.0  # At the middle of the right wall.
    position, other = np.array([7.0, 4.0]), np.array([1.0, 2.0])
    return answers.Localization(
        position,
        0.01 * np.eye(2),
        0.4,
        (Mode(position, 0.01 * np.eye(2), 0.7), Mode(other, 0.01 * np.eye(2), 0.3)),
        False,
        ("2 places fit",),
        np.zeros(3),
        np.array([1.0, 1.0, 0.0]),
        1.35,
        *np.full((2, 3), np.nan),
        probability,
        np.array([6.0, 4.0]),
        np.array([1.0, 2.0]),
        NODES,
    )


def test_a_plot_shows_all_in_meters(found):
    figure = pytest.importorskip("matplotlib.figure")
    axes = figure.Figure().subplots()
    assert found.plot(axes) is axes
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_allclose(lines["nodes"], NODES[:2, :2])
    np.testing.assert_allclose(lines["nodes left out"], NODES[2:, :2])
    np.testing.assert_allclose(lines["talker"], [[7.0, 4.0]])
    apart = np.linalg.norm(lines["90 % within"] - [7.0, 4.0], axis=1)
    np.testing.assert_allclose(apart, 0.4)
    assert [text.get_text() for text in axes.texts] == [" 30%"]
    (image,) = axes.get_images()
    left, right, bottom, top = image.get_extent()
    # The middle of the brightest pixel is the grid point.
    row, column = np.unravel_index(np.argmax(image.get_array()), (3, 3))
    assert left + (column + 0.5) * (right - left) / 3 == pytest.approx(7.0)
    assert bottom + (row + 0.5) * (top - bottom) / 3 == pytest.approx(4.0)
    assert axes.get_xlim() == (1.0, 7.0)
    # One that knows nothing is as dark everywhere, not as light.
    assert image.get_clim() == (-4.0, 0.0)
    assert axes.get_title().startswith("not determined")


def test_a_plot_makes_its_own_figure(found):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    axes = found.plot()
    assert axes.get_legend() is not None
    pyplot.close(axes.figure)


def test_several_positions_are_drawn_if_they_are_determined(found):
    figure = pytest.importorskip("matplotlib.figure")
    sure = dataclasses.replace(found, determined=True, radius_90=0.1)
    axes = answers.plot_several([found, sure], figure.Figure().subplots())
    assert axes.get_title() == "1 of 2 determined"
    circles = [line.get_xydata() for line in axes.get_lines()][2:]
    apart = np.linalg.norm(circles[0] - [7.0, 4.0], axis=1)
    np.testing.assert_allclose(apart, 0.1)
    np.testing.assert_allclose(circles[1], [[7.0, 4.0]])
    assert axes.get_ylim() == (2.0, 6.0)
