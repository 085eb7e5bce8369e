"""Find experiment files, by path or by the name of an installed one."""

import pathlib


def installed() -> list[str]:
    """Return the names of the installed experiments, such as "ad1"."""
    return sorted(path.stem for path in _folder().glob("[a-z]*.py"))


def find(name: str) -> str:
    """Return the path of an experiment file.

    A path that exists is returned as it is. Otherwise `ad1`, `ad1.py` and
    `experiments/ad1.py` all name the installed experiment, so that commands work
    outside a checkout too. What follows a colon, as in `ad1:reduced`, is kept.

    Args:
        name: A path or a name. An unknown one is returned as it is.
    """
    given, colon, size = name.partition(":")
    return _find_file(pathlib.Path(given)) + colon + size


def is_missing(name: str) -> bool:
    """Check whether a name or path leads to no experiment file."""
    return not pathlib.Path(find(name).partition(":")[0]).is_file()


def _find_file(given: pathlib.Path) -> str:
    if not given.is_file() and given.parent.as_posix() in (".", "experiments"):
        shipped = _folder() / f"{given.name.removesuffix('.py')}.py"
        if shipped.is_file():
            return str(shipped)
    return str(given)


def _folder() -> pathlib.Path:
    import uld_jax_experiments

    return pathlib.Path(next(iter(uld_jax_experiments.__path__)))
