"""Find sessions in folders, and notice files of a session that have changed."""

import pathlib
from collections.abc import Iterable

from uld_jax.audio import session_tables, sessions, spreadsheets
from uld_jax.audio.file_headers import ENDINGS
from uld_jax.audio.session_problems import SessionError

Stamps = dict[str, list[int]]

_TABLES = (session_tables.ROOM, session_tables.NODES, session_tables.RECORDINGS)
_STEMS = {stem for name in _TABLES for stem in (name, pathlib.PurePath(name).stem)}


def list_tables(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the files in a folder that are tables of a session by their names."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.stem.lower() in _STEMS and path.suffix.lower() in spreadsheets.ENDINGS
    ]


def find_within(
    folder: pathlib.Path,
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Find the sessions directly below a folder, which is not one itself.

    A folder with recordings and no table counts as a session: one that cannot be used is
    better named than left out. Hidden folders are left out.

    Returns:
        Their folders, and the other folders. Both are empty for a session.
    """
    if not folder.is_dir() or list_tables(folder):
        return [], []
    inner = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]
    found = [path for path in inner if list_tables(path) or _has_recordings(path)]
    if not any(map(list_tables, found)):  # Folders of a recording each, without tables.
        return [], []
    return found, [path for path in inner if path not in found]


def find_all(
    folders: Iterable[pathlib.Path],
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Find the sessions among folders, and directly below them.

    Returns:
        Their folders, and the folders without.

    Raises:
        SessionError: If one of the folders does not exist, or none is a session.
    """
    found, others = [], []
    for folder in folders:
        if not folder.is_dir():
            wrong = "is a file" if folder.exists() else "does not exist"
            raise SessionError(f"session folder {str(folder)!r} {wrong}; name another")
        within, beside = find_within(folder)
        is_one = not within and (list_tables(folder) or _has_recordings(folder))
        found += [folder] if is_one else within
        others += beside if within or is_one else [folder]
    if not found:
        raise SessionError(
            f"there is no session in {', '.join(map(repr, map(str, others)))}; name "
            f"folders with a table {session_tables.NODES}, or folders of them"
        )
    return found, others


def _has_recordings(folder: pathlib.Path) -> bool:
    return any(path.suffix.lower() in ENDINGS for path in folder.iterdir())


def name_all(folders: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Give each session the name of its folder, in the order of names.

    Args:
        folders: The sessions. One that is there twice counts once.

    Raises:
        SessionError: If two have the same name.
    """
    named: dict[str, pathlib.Path] = {}
    for folder in folders:
        name = folder.name if folder.name not in ("", "..") else folder.resolve().name
        other = named.setdefault(name, folder)
        if other.resolve() != folder.resolve():
            raise SessionError(
                f"two sessions are called {name!r}: {str(other)!r} and {str(folder)!r}; "
                "rename one, or locate them apart, each with an --out of its own"
            )
    return dict(sorted(named.items()))


def stamp(session: sessions.Session) -> Stamps:
    """Note size in bytes and time of change in ns of each file of a session.

    Returns:
        By path below the session's folder.
    """
    files = list_tables(session.folder)
    files += [path for one in session.recordings for path in one.files]
    return {
        path.relative_to(session.folder).as_posix(): _stamp(path)
        for path in dict.fromkeys(files)
    }


def is_unchanged(folder: pathlib.Path, stamps: Stamps) -> bool:
    """Check that a session has the files that it had, by size and time.

    Args:
        folder: Of the session.
        stamps: From `stamp`.
    """
    try:
        tables = {path.name for path in list_tables(folder)}
        return tables <= stamps.keys() and all(
            _stamp(folder / name) == list(noted) for name, noted in stamps.items()
        )
    except OSError:  # One is gone.
        return False


def _stamp(path: pathlib.Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]
