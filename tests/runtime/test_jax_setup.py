import os
import pathlib
import platform
import subprocess
import sys

import pytest
from conftest import ROOT

# Pages that 20 pieces of 64 MiB cost, each filled and freed before the next.
FAULTS = """
import resource, sys
import numpy as np
from uld_jax.runtime import jax_setup
if sys.argv[1] == "keep":
    print(jax_setup.keep_host_memory(), end=" ")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**23)
before = faults()
for _ in range(20):
    np.ones(2**23)
print(faults() - before)
"""


def faults(how):
    words = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_is_there_for_the_next():
    kept, count = faults("keep")
    (usual,) = faults("leave")
    assert kept == "True"
    assert int(count) < int(usual) / 20


PROGRAMS = """
import jax, sys
from uld_jax.runtime import jax_setup
jax_setup.configure()
print(jax.config.jax_compilation_cache_dir)
"""


def programs_in(**changes):
    """Return the folder of compiled programs with these variables."""
    env = {k: v for k, v in os.environ.items() if "JAX_COMPILATION_CACHE" not in k}
    words = [sys.executable, "-c", PROGRAMS]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=ROOT, env=env | changes
    )
    return done.stdout.strip()


def test_compiled_programs_are_kept_where_the_user_says(tmp_path):
    mine = str(tmp_path / "mine")
    assert programs_in(JAX_COMPILATION_CACHE_DIR=mine) == mine
    folder = pathlib.Path(programs_in(XDG_CACHE_HOME=str(tmp_path)))
    assert folder.parent == tmp_path / "uld_jax"
    assert folder.is_dir()
    assert programs_in(JAX_COMPILATION_CACHE_DIR="") in ("", "None")
    # A home that cannot be written.
    (tmp_path / "file").touch()
    assert programs_in(XDG_CACHE_HOME=str(tmp_path / "file")) == "None"


def test_steps_do_not_overlap_once_jax_is_configured():
    code = (
        "import jax; from uld_jax.runtime import jax_setup; jax_setup.configure(); "
        "jax_setup.configure(); print(jax.config.read('jax_cpu_enable_async_dispatch'))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


BOUNDED = """
import jax, jax.numpy as jnp
from uld_jax.runtime import jax_setup
jax_setup._MOST_PROGRAMS = 20_000
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
jax_setup.configure()
for number in range(1, 9):
    jax.jit(lambda x: jnp.sin(number * x).sum())(jnp.ones(100 + number))
"""


def test_old_programs_make_room_for_new_ones(tmp_path):
    env = {k: v for k, v in os.environ.items() if "JAX_COMPILATION_CACHE" not in k}
    words = [sys.executable, "-c", BOUNDED]
    env["XDG_CACHE_HOME"] = str(tmp_path)
    subprocess.run(words, check=True, cwd=ROOT, env=env)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*-cache")]
    assert sizes
    assert sum(sizes) <= 20_000
