"""The page on shipped networks: its table is that of their cards."""

import importlib.util

from conftest import ROOT

from uld_jax.pretrained import shipped


def test_the_table_is_made_from_the_cards():
    path = ROOT / "docs" / "weights.py"
    found = importlib.util.spec_from_file_location("weights_page", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    page = module.PAGE.read_text()
    assert module.update(page) == page
    for name in shipped.names():
        assert page.count(f"`{name}`") >= 2
