"""Conditions of the robustness test in print."""

import pytest

from uld_jax.evaluation import conditions
from uld_jax.simulation import furniture


@pytest.mark.parametrize(
    ("name", "value", "title"),
    [
        ("none", 0.0, "as it is"),
        ("clock_offset", 0.0005, "clocks 0.5 ms"),
        ("position_error", 0.05, "positions 0.05 m"),
        ("position_error_clocks_off", 0.1, "clocks 2 ms, positions 0.1 m"),
        ("num_nodes", 20.0, "20 nodes"),
        ("snr_db", -10.0, "SNR -10 dB"),
        ("full_late_field", 1.0, "full late field"),
        ("of_later", 2.5, "of_later 2.5"),
    ],
)
def test_a_title_names_the_condition_and_its_value_with_the_unit(name, value, title):
    assert conditions.title(name, value) == title
    assert conditions.title(name, value, "furnished") == f"{title}, furnished"


def test_conditions_are_placed_as_they_are_listed_and_others_last():
    listed = [("none", 0.0), ("clock_offset", 0.05), ("num_nodes", 20.0)]
    listed += [("num_nodes", 5.0), ("num_nodes", 7.0), ("snr_db", -10.0)]
    listed += [("snr_db", 0.0), ("full_late_field", 1.0), ("of_later", 2.5)]
    assert sorted(listed[::-1], key=lambda key: conditions.place(*key)) == listed
    both = [(*one, rooms) for one in listed for rooms in ("bare", "furnished")]
    assert sorted(both[::-1], key=lambda key: conditions.place(*key)) == both


def test_conditions_of_older_records_have_bare_rooms():
    assert conditions.rooms_of({"name": "none", "value": 0.0}) == "bare"
    assert conditions.rooms_of({"name": "none", "rooms": "furnished"}) == "furnished"


def test_rooms_are_those_of_the_simulator():
    assert set(conditions.ROOMS) <= set(furniture.FURNISHINGS)
