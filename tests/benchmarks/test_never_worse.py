"""The comparison of methods: by the same examples, and with a limit that can be met."""

import numpy as np
import pytest

from benchmarks.reliability import never_worse


def test_a_method_is_worse_where_its_examples_are():
    rng = np.random.default_rng(0)
    base = rng.exponential(size=400)  # Scatters far more than the difference.
    others = {"a": base + 1.0, "b": base}
    found = never_worse.compare("x", base + 0.1 + 0.01 * rng.normal(size=400), others)
    assert (found["best other"], found["worse"]) == ("b", "yes")
    found = never_worse.compare("x", base + 0.02, others)  # Within 3 % of the mean.
    assert found["worse"] == "no"
    found = never_worse.compare("x", base - 0.1, others)
    assert found["worse"] == "no"
    # Few gross errors, which another sample would not have.
    errors = base.copy()
    errors[0] += 100.0
    assert never_worse.compare("x", errors, others)["worse"] == "no"


def test_both_are_of_the_same_examples():
    with pytest.raises(ValueError, match="x: 3 examples, and 2 of a"):
        never_worse.compare("x", np.ones(3), {"a": np.ones(2)})
