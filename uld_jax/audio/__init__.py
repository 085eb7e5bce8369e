"""Audio from files to arrays: speech and noise corpora, sessions, Libri-adhoc40.

- `builtin_noise`: Noises made by a formula, for runs without a corpus.
- `builtin_speech`: Speech-like signals made by a formula, for runs without a corpus.
- `corpora`: Dry speech and noise by split: LibriSpeech, any folder, built-in signals.
- `libri_adhoc40`: Libri-adhoc40: where its nodes and loudspeakers are, and who speaks
  where.
- `libri_adhoc40_files`: The recordings of Libri-adhoc40: found, checked, read.
- `recorded_signals`: Signals that real nodes recorded: read, checked, in windows of
  active speech.
- `session_tables`: The tables of a session: its room, its nodes, and what was recorded.
- `sessions`: Sessions: folders of one's own recordings, checked before any work.
- `signals`: Utterances, dry signals of one talker or noise: read, cut, in 16 bits.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "builtin_noise",
        "builtin_speech",
        "corpora",
        "libri_adhoc40",
        "libri_adhoc40_files",
        "recorded_signals",
        "session_tables",
        "sessions",
        "signals",
    ],
)
