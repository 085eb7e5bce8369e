"""Write a folder to put recordings into, with tables to fill in.

    uld_jax new-session my_lab

Then replace the example rows, copy the recordings into the folder, and run
uld_jax locate my_lab --out=positions.csv.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import single_folder
from uld_jax.runtime import errors, progress

FLAGS = ()
TAKES_PATHS = True

_FILES = {
    "room.csv": "x,y,z\n6.2,4.8,2.7\n",
    "nodes.csv": (
        "node,x,y,z\n"
        "window,0.10,2.40,1.10\n"
        "shelf,3.00,4.75,1.60\n"
        "door,6.15,1.00,0.90\n"
        "desk,4.50,3.60,0.75\n"
        "board,2.00,0.05,1.40\n"
        "table,3.20,2.20,0.75\n"
    ),
    "recordings.csv": "recording,x,y,z\nmonday,,,\n",
    "README.txt": """\
A session of recordings for uld_jax. All positions are in meters from one corner of the
floor: x and y along the walls, z up. Columns x_cm or x_ft are read, too.

room.csv        sides of the room; delete it if they are unknown
nodes.csv       a row for each microphone, best eight or more; without z if heights are unknown
recordings.csv  a row for each recording; x, y, z of the talker only if you know them
monday-window.wav, monday-shelf.wav, ...  a file for each microphone and recording,
                WAV, FLAC, Ogg or MP3 of any sample rate; or monday.wav with a channel for each

Then run: uld_jax locate FOLDER --out=positions.csv
""",
}


def main(_: Any, paths: list[str]) -> None:
    """Write the files."""
    name = single_folder(paths, "new-session", "folder")
    folder = pathlib.Path(name).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.InputError(
            f"new-session: {str(folder)!r} exists; name a new folder, or an empty one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    progress.log(f"{folder} holds {', '.join(_FILES)}; replace the example rows")
