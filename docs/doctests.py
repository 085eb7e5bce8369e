"""Show the examples of docstrings as code, for the site: an extension of Griffe."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)(>>> .*(?:\n(?! *$).+)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fence what starts with >>>, up to the next blank line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = fence(obj.docstring.value)


def fence(text: str) -> str:
    """Fence the examples of a docstring."""
    return _EXAMPLE.sub(r"\1```pycon\n\1\2\n\1```", text)
