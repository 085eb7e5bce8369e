"""Libri-adhoc40: where everything is, against its tables and the paper's Table 4."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from uld_jax.audio import libri_adhoc40
from uld_jax.evaluation import metrics

SHARED = ROOT.parent / "shared" / "reference" / "libri_adhoc40_geometry.json"


@pytest.fixture(scope="module")
def tables():
    """Return the tables of the corpus, as somebody else read them."""
    if not SHARED.is_file():
        pytest.skip(f"needs ../shared/{'/'.join(SHARED.parts[-2:])}")
    return json.loads(SHARED.read_text())


@pytest.mark.parametrize(
    ("name", "layout"), [("train", "train"), ("dev", "devtest"), ("test", "devtest")]
)
def test_nodes_are_where_the_tables_have_them(tables, name, layout):
    nodes = libri_adhoc40.part(name).nodes
    assert nodes.shape == (40, 3)
    expected = [tables[layout]["mics"][str(number)] for number in range(1, 41)]
    np.testing.assert_array_equal(nodes, expected)


@pytest.mark.parametrize(
    ("name", "layout", "numbers"),
    [
        ("train", "train", range(1, 10)),
        ("dev", "devtest", range(5, 9)),
        ("test", "devtest", range(1, 5)),
    ],
)
def test_loudspeakers_are_where_the_tables_have_them(tables, name, layout, numbers):
    positions = libri_adhoc40.part(name).positions
    assert list(positions) == list(numbers)
    for number, position in positions.items():
        np.testing.assert_array_equal(
            position, tables[layout]["loudspeakers"][str(number)]
        )


@pytest.mark.parametrize(
    ("name", "layout", "num_talkers"),
    [("train", "train", 251), ("dev", "devtest", 40), ("test", "devtest", 40)],
)
def test_talkers_speak_where_the_tables_have_them(tables, name, layout, num_talkers):
    part = libri_adhoc40.part(name)
    expected = {
        talker: int(position.removeprefix("pos").rstrip("ud"))
        for position, talkers in tables[layout]["speakers"].items()
        for talker in talkers
    }
    own = {t: n for t, n in expected.items() if n in part.positions}
    assert part.position_of == own
    assert len(own) == num_talkers


def test_no_talker_is_in_two_parts():
    talkers = [
        t for n in libri_adhoc40.PARTS for t in libri_adhoc40.part(n).position_of
    ]
    assert len(set(talkers)) == len(talkers) == 331


def test_the_room_is_the_main_rectangle(tables):
    np.testing.assert_array_equal(libri_adhoc40.room_size(), tables["room"]["main"])


def test_everything_is_in_the_room():
    for name in libri_adhoc40.PARTS:
        part = libri_adhoc40.part(name)
        for place in (*part.nodes, *part.positions.values()):
            assert (place > 0).all()
            assert (place < libri_adhoc40.room_size()).all()


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="no part 'validation' of Libri-adhoc40"):
        libri_adhoc40.part("validation")


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [(1, 4.312), (2, 1.796), (4, 0.720), (8, 0.651), (16, 0.289)],
)
def test_quantization_errors_are_those_of_table_4(resolution, expected):
    """To 3 mm, with utterances spread .22, .28, .25, .25 over the test positions."""
    positions = libri_adhoc40.part("test").positions
    errors = [
        float(
            metrics.quantization_error(
                jnp.asarray(positions[number][:2]),
                jnp.asarray(libri_adhoc40.room_size()[:2]),
                resolution,
            )
        )
        for number in (1, 2, 3, 4)
    ]
    assert np.dot([0.22, 0.28, 0.25, 0.25], errors) == pytest.approx(expected, abs=3e-3)
