import pathlib

import pytest

from uld_jax.storage import dataset_names
from uld_jax.storage.dataset_names import DatasetName


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("simulated/ad1:1.0.0", ("simulated", "ad1", "1.0.0", "whole", None)),
        ("simulated/ad1_compact:2.0.0", ("simulated", "ad1", "2.0.0", "compact", None)),
        ("simulated/ad1_dev:1.0.0", ("simulated", "ad1_dev", "1.0.0", "whole", None)),
        (
            "simulated/twin_r1_tiny_anywhere_held_out:1.0.0",
            ("simulated", "twin_r1_tiny", "1.0.0", "held_out", "anywhere"),
        ),
        (
            "libri_adhoc40/ad_r2_test:1.0.0",
            ("libri_adhoc40", "ad_r2", "1.0.0", "whole", "nowhere"),
        ),
        (
            "libri_adhoc40/ad_r2:1.0.0",
            ("libri_adhoc40", "ad_r2", "1.0.0", "whole", "train"),
        ),
        ("sessions/lab_test:1.0.0", ("sessions", "lab_test", "1.0.0", "whole", None)),
    ],
)
def test_a_name_is_split_into_its_parts_and_put_together_again(name, parts):
    assert DatasetName.parse(name) == DatasetName(*parts)
    assert DatasetName(*parts).name == name


def test_all_forms_and_training_positions_have_one_test_set():
    names = [
        f"simulated/twin_r1{place}{form}:1.0.0"
        for place in dataset_names.TRAINED_AT_SUFFIXES.values()
        for form in dataset_names.FORM_SUFFIXES.values()
    ]
    sets = {DatasetName.parse(name).test_set for name in names}
    assert sets == {"simulated/twin_r1:1.0.0"}


def test_a_form_has_its_own_folder():
    name = DatasetName.parse("simulated/twin_r1_dev:1.0.0")
    folder = pathlib.Path("data", "simulated", "twin_r1_dev_compact", "1.0.0")
    assert name.with_form("compact").folder("data") == folder


@pytest.mark.parametrize("name", ["l1", "simulated/l1", "a/b/c:1.0.0", "l1:1.0.0"])
def test_other_names_are_refused(name):
    with pytest.raises(dataset_names.DatasetNameError, match="not of the form"):
        DatasetName.parse(name)
