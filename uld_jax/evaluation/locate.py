"""From the recordings of a session to positions, window by window.

Windows and levels are those of a data set of the session, and localizers those that are
tested on it: what is found in a recording whose talkers' places are known is what a
test on the data set finds.
"""

import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator

import jax
import numpy as np

from uld_jax.audio import recorded_signals, sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import evaluate, localizers
from uld_jax.localization import batches
from uld_jax.networks import build
from uld_jax.runtime import progress

COLUMNS = ("recording", "start", "source", "x", "y", "true_x", "true_y", "error")


@dataclasses.dataclass(frozen=True, eq=False)
class Located:
    """What was found in a recording.

    Attributes:
        recording: The recording.
        starts: Where its W windows start, in seconds.
        predicted: [W, S, 2] in meters. The sources are in the order of the table where
            that says their places; else in the localizer's, which may change from
            window to window.
    """

    recording: sessions.Recording
    starts: np.ndarray
    predicted: np.ndarray

    @property
    def errors(self) -> np.ndarray | None:
        """Distances [W, S] to the true places in meters; None where those are unknown."""
        if self.recording.source_positions is None:
            return None
        misses = self.predicted - self.recording.source_positions[:, :2]
        return np.linalg.norm(misses, axis=-1)

    def summary(self) -> str:
        """Return a line: windows, median position of one source, median error."""
        count = len(self.starts)
        facts = [f"{count} window{'s' if count > 1 else ''}"]
        if self.predicted.shape[1] == 1:
            x, y = np.median(self.predicted[:, 0], axis=0)
            facts.append(f"median position ({x:.3f}, {y:.3f}) m")
        if (errors := self.errors) is not None:
            facts.append(f"median error {np.median(errors):.3f} m")
        return f"{self.recording.name}: {', '.join(facts)}"


def network(session: sessions.Session, run: dict) -> tuple[evaluate.Step, int]:
    """Return a run's network for a session, and how many sources it finds.

    Args:
        session: What is to be localized.
        run: The record of `records.read_network`.

    Raises:
        LocalizerError: If it was trained for other numbers of sources or, where it
            cannot do with any, nodes; or if the run has kept no network.
    """
    law = localizers.law(run)
    _check_sources(session, law["num_sources"], f"the network in {run['folder']!r}")
    name = run["settings"]["model"]["name"]
    if name not in build.ANY_NODES and len(session.nodes) != law["num_nodes"]:
        raise localizers.LocalizerError(
            f"the network in {run['folder']!r} hears {law['num_nodes']} nodes and "
            f"{str(session.folder)!r} has {len(session.nodes)}; give a run of a network "
            f"for any number of nodes: {', '.join(sorted(build.ANY_NODES))}"
        )
    # An answer is awaited: nothing is computed for the sake of equal last bits.
    step = localizers.network(run, law["num_nodes"], law["num_sources"], at_once=True)
    return step, law["num_sources"]


def baseline(
    session: sessions.Session, name: str, num_sources: int | None = None
) -> tuple[evaluate.Step, int]:
    """Return a baseline for a session, and how many sources it finds.

    Args:
        session: What is to be localized.
        name: One of `methods.BASELINES`.
        num_sources: Sources to find; by default as many as the session tells of, or one.

    Raises:
        LocalizerError: If the session tells of another number of sources, or the
            baseline cannot find as many, or needs more nodes.
    """
    if num_sources is None:
        num_sources = session.num_sources or 1
    _check_sources(session, num_sources, f"--method={name}")
    step = localizers.baseline(name, num_sources, resolution=1)
    recording = _everywhere(session, num_sources).recordings[0]
    batch = _stack([_geometry(session, recording)])
    shape = (1, len(session.nodes), session.num_samples)
    try:
        # Traced, not run: what is wrong with the nodes is told before any work.
        jax.eval_shape(
            lambda audio: step(batch | {"audio": audio}),
            jax.ShapeDtypeStruct(shape, np.int16),
        )
    except batches.RecordingError as error:
        reason = str(error).partition(":")[0]
        raise localizers.LocalizerError(
            f"--method={name} cannot localize {str(session.folder)!r}: {reason}"
        ) from None
    return step, num_sources


def _check_sources(session: sessions.Session, num_sources: int, what: str) -> None:
    """Raise if the recordings have another number of sources than are looked for."""
    if session.num_sources not in (None, num_sources):
        raise localizers.LocalizerError(
            f"{what} finds {num_sources} sources and the recordings of "
            f"{str(session.folder)!r} have {session.num_sources}; look for as many, or "
            "leave their places out of the table"
        )


def locate(
    session: sessions.Session,
    step: evaluate.Step,
    num_sources: int,
    batch_size: int,
    left_out: list[str] | None = None,
) -> Iterator[Located]:
    """Yield what is found in each recording, labeled or not, in the order of the table.

    All recordings are read and checked before the first is localized.

    Args:
        session: What was recorded.
        step: A network or a baseline.
        num_sources: How many sources it finds.
        batch_size: Windows handled at once.
        left_out: Gets what is wrong with recordings that are left out; by default such
            are errors.

    Raises:
        session_tables.SessionError: If a recording cannot be used, or none.
        FloatingPointError: If a position is not finite.
    """
    whole = _everywhere(session, num_sources).listed(left_out)
    count = sum(map(len, whole.starts.values()))
    predicted = _predict(whole, step, min(batch_size, count))
    with progress.Progress("Localizing", len(session.recordings), "recordings") as bar:
        for recording in session.recordings:
            if recording.name not in whole.starts:
                bar.update()
                continue
            starts = np.array(whole.starts[recording.name])
            found = np.stack(list(itertools.islice(predicted, len(starts))))
            if not np.isfinite(found).all():
                raise FloatingPointError(f"{recording.name}: a position is not finite")
            bar.update()
            yield Located(recording, starts / signals_lib.SAMPLE_RATE, found)


def _everywhere(session: sessions.Session, num_sources: int) -> sessions.Session:
    """Return a session with talkers in the middle of the room where none are known.

    Localizers judge what they find by true places, which does not change it.
    """
    middle = np.tile(session.room_size / 2, (num_sources, 1))
    known = tuple(
        dataclasses.replace(recording, source_positions=middle)
        if recording.source_positions is None
        else recording
        for recording in session.recordings
    )
    return dataclasses.replace(session, recordings=known, starts=None)


def _geometry(session: sessions.Session, recording: sessions.Recording) -> dict:
    """Return where everything is in a recording, as a data set stores it."""
    return {
        "node_positions": np.float32(session.node_positions),
        "source_positions": np.float32(recording.source_positions),
        "room_size": np.float32(session.room_size),
    }


def _examples(session: sessions.Session) -> Iterator[dict]:
    """Yield the examples of all recordings, as a data set stores them."""
    for recording in session.recordings:
        signals, geometry = session.load(recording), _geometry(session, recording)
        for start in session.starts[recording.name]:
            window = signals[:, start : start + session.num_samples]
            yield {"audio": recorded_signals.to_stored(window)[0], **geometry}
        del signals, window  # Before the next is read, for memory.


def _predict(
    session: sessions.Session, step: evaluate.Step, batch_size: int
) -> Iterator[np.ndarray]:
    """Yield the positions [S, 2] that are found in each example.

    All batches have one size, for which is compiled: the last repeats its last example.
    """
    examples = _examples(session)
    while batch := list(itertools.islice(examples, batch_size)):
        padding = batch[-1:] * (batch_size - len(batch))
        found = jax.device_get(step(_stack(batch + padding))["predicted"])
        yield from found[: len(batch)]


def _stack(examples: list[dict]) -> dict:
    return {key: np.stack([one[key] for one in examples]) for key in examples[0]}


def rows(found: Located) -> Iterator[tuple[str, ...]]:
    """Yield a row for each window and source, of `COLUMNS`, in seconds and meters."""
    places, errors = found.recording.source_positions, found.errors
    for window, start in enumerate(found.starts):
        for source, position in enumerate(found.predicted[window]):
            numbers = [*position]
            if places is not None:
                numbers += [*places[source, :2], errors[window, source]]
            told = [f"{number:.3f}" for number in numbers]
            told += [""] * (len(COLUMNS) - 3 - len(told))
            yield found.recording.name, f"{start:.3f}", str(source + 1), *told


def write_table(path: pathlib.Path, table: Iterable[tuple[str, ...]]) -> None:
    """Write rows below `COLUMNS` as CSV, in one piece."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *table])
    partial.replace(path)
