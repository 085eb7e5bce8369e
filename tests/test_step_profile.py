"""benchmarks/tracing.py, origins.py: times by instruction, and where these come from."""

import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import pytest

from uld_jax import features

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import origins
import parts
import tracing


@pytest.fixture(scope="module")
def known():
    """Return the origins of a small program's instructions."""

    def loss(matrix, signals):
        spectra = jax.vmap(features.spectral_features)(signals)
        return jnp.tanh(spectra @ matrix).sum()

    compiled = jax.jit(jax.grad(loss)).lower(
        jax.ShapeDtypeStruct((512, 3), jnp.float32),
        jax.ShapeDtypeStruct((2, 2, 1024), jnp.float32),
    )
    return origins.read(compiled.compile().as_text())


def test_a_transform_comes_from_its_line_of_the_package(known):
    (fft,) = [origin for origin in known.values() if origin.opcode == "fft"]
    file, _, line = fft.place.partition(":")
    assert file == "features.py"
    source = (pathlib.Path(origins.PACKAGE) / file).read_text().splitlines()
    assert "rfft" in source[int(line) - 1]
    assert fft.calls[-1].endswith("rfft")
    assert parts.part(fft) == "spectra" and parts.kind(fft) == "FFT"


@pytest.mark.parametrize(
    ("part", "file", "owner", "attribute", "layer"),
    [
        ("decoder", "encoder_decoder.py", "EncoderDecoder", "refine", "grid_convs.py"),
        ("decoder", "encoder_decoder.py", "EncoderDecoder", "plan", "linear.py"),
        ("splitter", "adhoc.py", "Splitter", "lstm.run", "lstm.py"),
        ("front end", "front_ends.py", "FrontEnd", "linear.concatenated", "linear.py"),
    ],
)
def test_a_product_belongs_to_who_calls_its_layer(part, file, owner, attribute, layer):
    package = pathlib.Path(origins.PACKAGE)
    lines = (package / file).read_text().splitlines()
    ((number, column),) = [
        (number, line.index(f"{attribute}("))
        for number, line in enumerate(lines, start=1)
        if re.search(rf"(self\.|return |= ){re.escape(attribute)}\(", line)
        if " def " not in line
    ]
    caller = origins.Frame(str(package / file), f"{owner}.__call__", number, column)
    inner = origins.Frame(str(package / layer), "product", 1, 0)
    product = origins.Origin("dot", "jit()/dot_general", (caller, inner))
    assert parts.part(product) == part and product.place == f"{file}:{number}"
    assert parts.kind(product) == "matrix products"


def test_backward_is_told_from_forward(known):
    found = {
        parts.direction(origin)
        for origin in known.values()
        if origin.operation in ("dot_general", "transpose")
    }
    assert found == {"forward", "backward"}


def test_sizes_are_those_of_the_results(known):
    (fft,) = [origin for origin in known.values() if origin.opcode == "fft"]
    assert fft.size == 2 * 2 * 5 * 257 * 8  # Complex, with the DC bin.


def test_time_is_shared_by_what_is_at_work_at_once_and_belongs_to_the_innermost():
    first = [(0, 10, "loop"), (2, 6, "body"), (20, 30, "alone")]
    second = [(4, 8, "other")]
    costs, waited = tracing._shared([first, second], {"loop"})
    wall = {name: 1e9 * cost.wall for name, cost in costs.items()}
    # A loop counts only while nothing else is at work.
    assert wall == pytest.approx({"loop": 4, "body": 3, "other": 3, "alone": 10})
    threads = {name: 1e9 * cost.threads for name, cost in costs.items()}
    assert threads["body"] == pytest.approx(4) and threads["other"] == pytest.approx(4)
    assert {name: 1e9 * s for name, s in waited.items()} == pytest.approx({"alone": 10})


def test_a_trace_finds_the_instructions_of_the_program():
    one = jnp.ones((256, 256))
    product = jax.jit(lambda a: jnp.tanh(a @ a)).lower(one).compile()
    trace = tracing.trace(lambda: product(one).block_until_ready(), steps=2)
    known = origins.read(product.as_text())
    assert trace.costs.keys() <= known.keys()
    assert {cost.events for cost in trace.costs.values()} == {2}
    assert 0 < trace.busy <= trace.seconds
