import subprocess
import sys

from uld_jax.labels import schemes, titles
from uld_jax.localization import methods


def test_every_scheme_and_method_has_a_title_and_a_look():
    assert [*titles.SCHEMES] == [*schemes.SCHEMES, *schemes.OF_ARRAYS]
    assert titles.METHODS.keys() == methods.METHODS.keys()
    looks = titles.LOOKS.values()
    for parts in zip(*looks, strict=True):
        assert len(set(parts)) == len(looks)


def test_an_unknown_method_keeps_its_name():
    assert titles.title("uld") == "ULD"
    assert titles.title("loudest") == "loudest"


def test_titles_are_read_without_jax():
    code = "import sys; from uld_jax.labels import titles; print('jax' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
