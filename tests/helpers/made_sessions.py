"""Folders of recordings of one's own, made up, in every layout that is read."""

import numpy as np
from audio_files import RATE, write

NUM_SAMPLES = 1600  # Of an example.
NODES = ("door", "desk", "lamp")
NODE_POSITIONS = [[0.1, 2.0, 1.5], [3.0, 2.25, 0.75], [6.2, 4.8, 2.0]]
ROOM = [6.2, 4.8, 2.7]
# Split and place of each recording's talker; the last is to be localized only.
RECORDINGS = {
    "one": ("train", [1.0, 2.0, 1.6]),
    "two": ("train", [4.126, 0.5, 1.6]),
    "three": ("validation", [2.0, 2.0, 1.6]),
    "four": ("test", [5.0, 4.0, 1.25]),
    "five": ("", None),
}
# Of the windows of each recording, against the first; a half window follows.
LEVELS_DB = (0, -40, -20, -29, -31)
ACTIVE = (0, 2, 3)

# How recordings.csv names a recording, and where its files are; one of all nodes
# where NODE does not occur.
LAYOUTS = {
    "wav": ("{}.wav", "{}.wav"),
    "flac": ("{}.flac", "{}.flac"),
    "folders": ("{}", "{}/NODE.wav"),
    "folders of flac": ("{}", "{}/NODE.flac"),
    "beginnings": ("takes/{}", "takes/{}-NODE.WAV"),
}


def samples(name):
    """Make 16-bit recordings [M, N] of the nodes, with a nonzero mean."""
    rng = np.random.default_rng(list(name.encode()))
    levels = 0.1 * 10 ** (np.array(LEVELS_DB) / 20)
    levels = np.append(np.repeat(levels, NUM_SAMPLES), [0.1] * (NUM_SAMPLES // 2))
    noise = rng.uniform(-1, 1, (len(NODES), len(levels))) * levels
    heard = noise * rng.uniform(0.5, 1.0, (len(NODES), 1)) + 0.002
    return np.round(heard * 32_768).astype(np.int16)


def tables(layout="wav", recordings=RECORDINGS):
    """Return the three tables by the names of their files."""
    rows = [
        ",".join([LAYOUTS[layout][0].format(name), split, *map(str, place or [""] * 3)])
        for name, (split, place) in recordings.items()
    ]
    nodes = [
        ",".join([node, *map(str, position)])
        for node, position in zip(NODES, NODE_POSITIONS, strict=True)
    ]
    return {
        "room.csv": "\n".join(["x,y,z", ",".join(map(str, ROOM))]) + "\n",
        "nodes.csv": "\n".join(["node,x,y,z", *nodes]) + "\n",
        "recordings.csv": "\n".join(["recording,split,x,y,z", *rows]) + "\n",
    }


def write_tables(folder, layout="wav", recordings=RECORDINGS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables(layout, recordings).items():
        (folder / name).write_text(text)


def write_recording(folder, name, signals, layout="wav", rate=RATE):
    pattern = LAYOUTS[layout][1].format(name)
    if "NODE" not in pattern:
        write(folder / pattern, signals.T, rate)
        return
    for node, signal in zip(NODES, signals, strict=True):
        write(folder / pattern.replace("NODE", node), signal, rate)


def write_session(folder, layout="wav", recordings=RECORDINGS):
    """Write a whole session; return its folder."""
    write_tables(folder, layout, recordings)
    for name in recordings:
        write_recording(folder, name, samples(name), layout)
    return folder


def replace(path, old, new):
    """Write other words in a table."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
