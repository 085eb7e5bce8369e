"""Find experiment files, by path or by the name of an installed one."""

import pathlib


def installed() -> list[str]:
    """List the names of the installed experiments, such as "ad1"."""
    return sorted(path.stem for path in _folder().glob("[a-z]*.py"))


def find(name: str) -> str:
    """Find an experiment file.

    A path that exists is returned as it is. Otherwise `ad1`, `ad1.py` and
    `experiments/ad1.py` all name the installed experiment, so that commands work
    outside a checkout too.

    Args:
        name: A path or a name; a colon and a size may follow, as in `ad1:reduced`.

    Returns:
        The path, with the size; `name` itself if nothing is found.
    """
    given, colon, size = name.partition(":")
    path = pathlib.Path(given)
    if not path.is_file() and path.parent.as_posix() in (".", "experiments"):
        shipped = _folder() / f"{path.name.removesuffix('.py')}.py"
        if shipped.is_file():
            path = shipped
    return str(path) + colon + size


def is_missing(name: str) -> bool:
    """Check whether a name or path leads to no experiment file."""
    return not pathlib.Path(find(name).partition(":")[0]).is_file()


def _folder() -> pathlib.Path:
    import uld_jax_experiments

    return pathlib.Path(next(iter(uld_jax_experiments.__path__)))
