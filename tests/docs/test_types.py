"""The public API is type-complete, as far as the libraries below it are."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

LEAST = 0.95


@pytest.mark.slow
def test_the_public_api_is_type_complete(tmp_path):
    pytest.importorskip("basedpyright")
    # Of the checkout, not of where it is installed; Python's own libraries are found by
    # the interpreter that comes first.
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    words = ["--verifytypes", "uld_jax", "--ignoreexternal", "--outputjson"]
    result = subprocess.run(
        [sys.executable, "-m", "basedpyright", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
        check=False,
    )
    found = json.loads(result.stdout)["typeCompleteness"]
    lacking = [
        f"{symbol['name']}: {report['message'].splitlines()[0]}"
        for symbol in found["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
        for report in symbol["diagnostics"]
    ]
    assert len(found["modules"]) > 200
    assert found["completenessScore"] >= LEAST, "\n".join(lacking)
