"""Audio from files to arrays: speech and noise corpora, sessions, Libri-adhoc40.

- `signals`: Read signals from files, check, cut and store them in 16 bits.
- `builtin`: Speech and noise made by a formula, for runs without a corpus.
- `corpora`: Corpora of dry speech and noise: LibriSpeech, any folder, built-in signals.
- `sessions`: Sessions: folders of a user's own recordings.
- `session_tables`: The tables of a session: its room, its nodes, its recordings.
- `array_tables`: Tables of a room and its nodes alone, for live sound.
- `session_folders`: Sessions in folders, and whether their files have changed.
- `session_files`: The files of its recordings, read in blocks.
- `session_problems`: Their problems, collected and raised together.
- `file_headers`: Headers of its files, checked before any sample is read.
- `places`: Checks of the places of nodes and talkers.
- `table_lines`: Lines of its tables: columns, units, numbers in meters.
- `spreadsheets`: Tables as spreadsheets save them.
- `diagnosis`: What is wrong with nodes' signals, and what to do about it.
- `polarity`: Recorders whose signals have the sign of the others changed.
- `surveys`: One pass over a recording: levels, faults, starts.
- `speech_activity`: When somebody speaks, from levels.
- `start_offsets`: When recorders started, from levels.
- `live`: Sound that arrives: raw PCM from a pipe, or a recording device.
- `libri_adhoc40`: Positions of nodes and loudspeakers in Libri-adhoc40.
- `libri_adhoc40_files`: The recordings of Libri-adhoc40.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__: list[str]
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "array_tables",
        "builtin",
        "corpora",
        "diagnosis",
        "libri_adhoc40",
        "libri_adhoc40_files",
        "live",
        "places",
        "polarity",
        "session_files",
        "session_folders",
        "session_tables",
        "sessions",
        "signals",
        "speech_activity",
        "surveys",
    ],
)
