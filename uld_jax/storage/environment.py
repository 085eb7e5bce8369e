"""The environment of a run, for its record: versions, commit, machine."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def collect(hardware: dict[str, Any] | None = None) -> dict[str, Any]:
    """Collect versions, commit and machine, as the last part of a record.

    Args:
        hardware: Further facts of the machine, such as `devices.describe()`.
    """
    versions = {"python": platform.python_version()}
    for package in ("uld-jax", *_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "versions": versions,
        "commit": _commit(),
        "hardware": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(memory / 2**30, 1),
        }
        | (hardware or {}),
    }


def _commit() -> str | None:
    """Return the commit of the checkout, with "+" if files were changed.

    Outside a checkout, the environment variable ULD_JAX_COMMIT replaces it.
    """
    here = pathlib.Path(__file__).resolve()  # Git does not follow links.

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(here.parent), *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # An installed copy inside another project's repository is not part of it.
        git("ls-files", "--error-unmatch", str(here))
        changed = git("status", "--porcelain", "--untracked-files=no", ":/")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("ULD_JAX_COMMIT")


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
