import collections

import pytest

from uld_jax.networks import step_shapes
from uld_jax.networks.step_shapes import StepShape


def test_shapes_are_read_from_text():
    assert step_shapes.parse("30x8 5x32x4") == (StepShape(30, 8), StepShape(5, 32, 4))
    assert step_shapes.parse("") == ()


@pytest.mark.parametrize("text", ["30", "30x", "0x8", "30x8x0", "axb", "30x8,5x4"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=f"step_shapes has {text!r}"):
        step_shapes.parse(text)


def test_a_steps_shape_depends_on_its_number_alone():
    shapes = step_shapes.parse("30x8 20x12 5x32x4")
    drawn = [step_shapes.draw(shapes, seed=1, step=step) for step in range(300)]
    assert drawn[17] == step_shapes.draw(shapes, seed=1, step=17)
    assert drawn != [step_shapes.draw(shapes, seed=2, step=step) for step in range(300)]
    assert all(70 < count < 130 for count in collections.Counter(drawn).values())
