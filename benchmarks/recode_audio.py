"""Recode a corpus of speech or noise to Ogg/Opus, to fit where the original does not.

    python benchmarks/recode_audio.py SOURCE TARGET

About 25 kbit/s; folders and names stay. For runs on machines that only a small
archive can be sent to: the recoded corpus is a corpus of its own in the records.
"""

import argparse
import pathlib

import soundfile

_COMPRESSION = 0.92
_SUFFIXES = {".flac", ".wav"}


def main() -> None:
    """Recode all FLAC and WAV files below a folder."""
    parser = argparse.ArgumentParser(description="Recode audio to Ogg/Opus.")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    arguments = parser.parse_args()
    paths = sorted(p for p in arguments.source.rglob("*") if p.suffix in _SUFFIXES)
    if not paths:
        parser.error(f"{str(arguments.source)!r} holds no FLAC or WAV file")
    total = 0
    for path in paths:
        signal, rate = soundfile.read(path, dtype="float32")
        target = arguments.target / path.relative_to(arguments.source)
        target = target.with_suffix(".ogg")
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            target,
            signal,
            rate,
            format="OGG",
            subtype="OPUS",
            compression_level=_COMPRESSION,
        )
        total += target.stat().st_size
    print(f"{len(paths)} files, {total / 2**20:.1f} MiB in {arguments.target}")


if __name__ == "__main__":
    main()
