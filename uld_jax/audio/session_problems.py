"""Problems of a session, which are collected and raised together."""

import contextlib
import pathlib
from collections.abc import Iterator

from uld_jax.runtime import errors

_MOST_PROBLEMS = 50


class SessionError(errors.InputError):
    """A session that cannot be used, with the reasons."""


@contextlib.contextmanager
def noting(problems: list[str], where: str) -> Iterator[None]:
    """Turn an error into a noted problem, so that the next one is found, too."""
    try:
        yield
    except errors.InputError as error:
        problems.append(f"{where}: {error}")


def raise_any(folder: pathlib.Path, problems: list[str]) -> None:
    """Raise a SessionError that lists the problems, if there are any."""
    if len(problems) == 1:
        raise SessionError(problems[0])
    if problems:
        listed = problems[:_MOST_PROBLEMS]
        if len(problems) > _MOST_PROBLEMS:
            listed.append(f"and {len(problems) - _MOST_PROBLEMS} more")
        lines = "\n  ".join(listed)
        raise SessionError(f"{len(problems)} problems in {str(folder)!r}:\n  {lines}")
