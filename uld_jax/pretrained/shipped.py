"""The networks that come with the package: their names and folders."""

import difflib
import pathlib

from uld_jax.storage import records

_FOLDER = pathlib.Path(__file__).parent
PARTS = ("speech_mask",)  # Of the localizer: they find no positions by themselves.


def names() -> list[str]:
    """List the names of the localizing networks that come with the package."""
    cards = _FOLDER.glob(f"*/{records.CARD_FILE}")
    return sorted({path.parent.name for path in cards} - set(PARTS))


def folder(name: str) -> pathlib.Path:
    """Locate the weights of a network by its name, or of a part of the localizer.

    Raises:
        KeyError: If no network of this name comes with the package.
    """
    if name not in [*names(), *PARTS]:
        raise KeyError(explain(name))
    return _FOLDER / name


def find(path_or_name: str | pathlib.Path) -> pathlib.Path:
    """Find the folder that a path or the name of a network means.

    A path that exists comes first, so that nobody's folders change their meaning.
    """
    path = pathlib.Path(path_or_name).expanduser()
    if not path.exists() and str(path_or_name) in names():
        return folder(str(path_or_name))
    return path


def explain(name: str) -> str:
    """Explain that nothing of a name comes with the package, with the nearest ones."""
    if name in PARTS:
        return (
            f"{name!r} finds no positions by itself; "
            "uld_jax.localize(..., speech_masks=True) uses it"
        )
    known = [*names(), *PARTS]
    near = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean {near[0]!r}? There" if near else "there"
    return f"no network {name!r} comes with the package; {question} are " + ", ".join(
        known
    )
