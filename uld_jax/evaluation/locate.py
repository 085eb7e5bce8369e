"""Localize a session's recordings window by window.

Windows and levels are those of a data set made of the session, if all recorders started
together, so a recording with known positions gives the predictions of a test on it.
"""

import collections
import csv
import dataclasses
import functools
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from uld_jax.audio import sessions, speech_activity
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import metrics, predict, session_clocks, session_errors
from uld_jax.evaluation import turns as turns_lib
from uld_jax.localization import (
    answers,
    batches,
    calibration,
    doubts,
    localize,
    methods,
    tracks,
)
from uld_jax.localization import session as session_lib
from uld_jax.networks import build
from uld_jax.pretrained import loading
from uld_jax.runtime import progress
from uld_jax.storage import atomic

COLUMNS = ("recording", "time", "source", "x", "y", "z", "radius_90", "determined")
COLUMNS += ("mass", "reason", "talker", "smooth_x", "smooth_y", "smooth_radius_90")
COLUMNS += ("true_x", "true_y", "error")
_HINT = (
    "Check places, units and files of the nodes; more nodes, one clock for all, and "
    "room.csv help most"
)
_CALIBRATED = (
    "Clocks differ: they were calibrated, and all windows localized by them",
)
# To positions of the sources [B, S, 2]; or to how sure the position of one is, for each
# example.
Predictor = predict.Predictor | Callable[[predict.Batch], list[answers.Localization]]


@dataclasses.dataclass(frozen=True, eq=False)
class Located:
    """The positions found in a recording.

    Attributes:
        recording: The recording.
        starts: Starts of its W windows, in seconds.
        predicted: Positions [W, S, 2] in meters. Sources with known positions are in the
            order of the table. Otherwise the order may change from window to window.
        details: Of each window with one source, how sure its position is; None if there
            are several, or the method does not know.
        several: Of each window with several sources, how sure the position of each is;
            None if there is one, or the method does not know.
        clocks: Of the nodes; None if they were not calibrated.
        remarks: What is to be known of its nodes, in sentences.
        length: Of a window, in seconds.
        duration: From the first recorder's start to the last one's end, in seconds; None
            if it is not known.
        speech: Start and end of each stretch of speech in seconds; None if unknown.
    """

    recording: sessions.Recording
    starts: np.ndarray
    predicted: np.ndarray
    details: list[answers.Localization] | None = None
    several: list[tuple[answers.Localization, ...]] | None = None
    clocks: calibration.Calibration | None = None
    remarks: tuple[str, ...] = ()
    length: float = sessions.NUM_SAMPLES / signals_lib.SAMPLE_RATE
    duration: float | None = None
    speech: np.ndarray | None = None

    @property
    def errors(self) -> np.ndarray | None:
        """Distances [W, S] to the true positions in meters; None if unknown."""
        if self.recording.source_positions is None:
            return None
        misses = self.predicted - self.recording.source_positions[:, :2]
        return np.linalg.norm(misses, axis=-1)

    @functools.cached_property
    def track(self) -> tracks.Track | None:
        """Smoothed positions of the windows; None if it is not known how sure they are."""
        return tracks.smooth(self.starts, self.details) if self.details else None

    @functools.cached_property
    def turns(self) -> list[turns_lib.Turn]:
        """Stretches in which a talker was at one place; none if it is not known how sure."""
        if self.track is None:
            return []
        return turns_lib.find_turns(
            self.starts, self.details, self.length, self.track, self.speech
        )

    @functools.cached_property
    def talkers(self) -> list[int | None]:
        """The talker of each window, as turns number them; None outside of turns."""
        numbers: list[int | None] = [None] * len(self.starts)
        for turn in self.turns:
            for window in turn.windows:
                numbers[window] = turn.talker
        return numbers

    @functools.cached_property
    def misses(self) -> dict[str, session_errors.Misses]:
        """Errors and radii of all windows, of determined ones, and of smoothed ones.

        Empty if true positions are not known.
        """
        if (errors := self.errors) is None:
            return {}
        if not self.details:
            return {session_errors.ALL: (errors.ravel(), None)}
        radii = np.array([one.radius_90 for one in self.details])
        sure = np.array([one.determined for one in self.details])
        spoken = np.array([talker is not None for talker in self.talkers])
        truth = self.recording.source_positions[0, :2]
        smooth = np.linalg.norm(self.track.positions - truth, axis=1)
        return {
            session_errors.ALL: (errors[:, 0], radii),
            session_errors.DETERMINED: (errors[sure, 0], radii[sure]),
            session_errors.SMOOTHED: (smooth[spoken], self.track.radii_90[spoken]),
        }

    def summary(self) -> str:
        """Summarize in a line, and in one for each turn if it is known how sure they are."""
        count = len(self.starts)
        facts = [f"{count} window{'s' if count > 1 else ''}"]
        if self.details:
            sure = sum(one.determined for one in self.details)
            facts.append(f"{sure} determined")
        elif self.several:
            sure = sum(all(each.determined for each in one) for one in self.several)
            facts.append(f"all talkers determined in {sure}")
        elif self.predicted.shape[1] == 1:
            x, y = np.median(self.predicted[:, 0], axis=0)
            facts.append(f"median position ({x:.3f}, {y:.3f}) m")
        if (errors := self.errors) is not None:
            facts.append(f"median error {np.median(errors):.3f} m")
        lines = [f"{self.recording.name}: {', '.join(facts)}", *map(str, self.turns)]
        if self.details:
            lines += session_errors.describe(session_errors.measure([self.misses]))
        return "\n  ".join([*lines, *self._doubts()])

    def _doubts(self) -> list[str]:
        """Say why most windows are not determined, if that is so."""
        lost = [one for one in self.details or () if not one.determined]
        if 2 * len(lost) <= len(self.starts):
            return []
        kinds = collections.Counter(
            "Several places fit" if "places fit" in reason else reason.partition(":")[0]
            for one in lost
            for reason in one.reasons[:1]
        )
        (kind, count), *_ = kinds.most_common(1) or [("Nothing fits", len(lost))]
        kind = re.sub(r" [\d.]+ m ", " more than a meter ", kind)
        return [f"{count} of {len(self.starts)} windows: {kind}", _HINT]


def network(session: sessions.Session, run: dict[str, Any]) -> predict.Predictor:
    """Make a predictor of a run's network for a session.

    Args:
        session: The session to localize.
        run: The record, as `weights.read_run` returns it.

    Raises:
        PredictorError: If it was trained for another number of sources or, where it
            needs all its nodes, of nodes; or if only the run's record was kept.
    """
    trained_on = loading.training_data(run)
    num_nodes, num_sources = trained_on["num_nodes"], trained_on["num_sources"]
    _check_sources(session, num_sources, f"the network in {run['folder']!r}")
    name = run["settings"]["model"]["name"]
    flexible = [spec.name for spec in build.NETWORKS.values() if spec.any_nodes]
    if name not in flexible and len(session.nodes) != num_nodes:
        raise predict.PredictorError(
            f"the network in {run['folder']!r} needs {num_nodes} nodes and "
            f"{str(session.folder)!r} has {len(session.nodes)}; give a run of a network "
            f"for any number of nodes: {', '.join(flexible)}"
        )
    session.require_heights(f"the network in {run['folder']!r}")
    least = build.get_spec(name).least_nodes
    count = len(np.unique(session.node_positions, axis=0))
    if count < least:
        raise predict.PredictorError(
            f"the network in {run['folder']!r} needs nodes at {least} positions or more "
            f"and {str(session.folder)!r} has nodes at {count}"
        )
    return predict.network_predictor(run, num_nodes, num_sources)


def method(
    session: sessions.Session, name: str, num_sources: int | None = None
) -> Predictor:
    """Make a predictor of a method that needs no training for a session.

    Args:
        session: The session to localize.
        name: One of `methods.METHODS`.
        num_sources: Sources to find; by default as many as the session's tables name,
            or one.

    Raises:
        PredictorError: If the tables name another number of sources, or the method
            cannot find as many, or needs more nodes.
    """
    if num_sources is None:
        num_sources = session.num_sources or 1
    _check_sources(session, num_sources, f"--method={name}")
    predictor = predict.method_predictor(name, num_sources)
    if name == methods.FUSED:
        count = len(np.unique(session.node_positions[:, :2], axis=0))
        if count < localize.LEAST_NODES:
            raise predict.PredictorError(
                f"--method={name} cannot localize {str(session.folder)!r}: it has nodes "
                f"at {count} places in the plan, and {localize.LEAST_NODES} are needed"
            )
        return Localizer(num_sources)
    session.require_heights(f"--method={name}")
    batch = _stack([_geometry(session)])
    shape = (1, len(session.nodes), session.num_samples)
    try:
        # Traced, not run: too few nodes are an error before any work.
        jax.eval_shape(
            lambda audio: predictor(batch | {"audio": audio}),
            jax.ShapeDtypeStruct(shape, np.int16),
        )
    except batches.RecordingError as error:
        reason = str(error).partition(":")[0]
        raise predict.PredictorError(
            f"--method={name} cannot localize {str(session.folder)!r}: {reason}"
        ) from None
    return predictor


@dataclasses.dataclass(frozen=True)
class Localizer:
    """Localizes the sources in each window of a batch, and says how sure that is.

    Attributes:
        num_sources: Talkers who speak at once.
    """

    num_sources: int = 1

    def __call__(
        self, batch: predict.Batch
    ) -> list[answers.Localization] | list[tuple[answers.Localization, ...]]:
        """Localize in each window: an answer, or one for each of several sources."""
        rooms = batch.get("room_size", [None] * len(batch["audio"]))
        return [
            localize.localize(
                window,
                signals_lib.SAMPLE_RATE,
                nodes,
                room,
                num_sources=self.num_sources,
            )
            for window, nodes, room in zip(
                batch["audio"], batch["node_positions"], rooms, strict=True
            )
        ]


def _check_sources(session: sessions.Session, num_sources: int, what: str) -> None:
    """Raise if the recordings have another number of sources than are looked for."""
    if session.num_sources not in (None, num_sources):
        raise predict.PredictorError(
            f"{what} finds {num_sources} sources and the recordings of "
            f"{str(session.folder)!r} have {session.num_sources}; look for as many, or "
            "leave their positions out of the table"
        )


def locate(
    session: sessions.Session,
    predictor: Predictor,
    batch_size: int,
    left_out: list[str] | None = None,
) -> Iterator[Located]:
    """Localize each recording, in the order of the table, labeled or not.

    All recordings are read and checked before the first is localized.

    Args:
        session: The session.
        predictor: A network or a method, from `network` or `method`.
        batch_size: Windows localized at once.
        left_out: Collects a message for each recording that cannot be used and is left
            out; by default it is an error.

    Raises:
        SessionError: If a recording cannot be used; with `left_out`, if none can.
        FloatingPointError: If a position is not finite.
    """
    # The localizer leaves out nodes that cannot be used by itself.
    fused = isinstance(predictor, Localizer)
    whole = _list_all(session, left_out, strict=not fused)
    count = sum(map(len, whole.starts.values()))
    with progress.Progress("Localizing", count, "windows") as bar:
        predicted = _predict(whole, predictor, min(batch_size, count), bar.update)
        for recording in whole.recordings:
            starts = np.array(whole.starts[recording.name])
            found = list(itertools.islice(predicted, len(starts)))
            details, several = None, None
            facts, clocks = _facts(whole, recording), None
            if isinstance(found[0], answers.Localization):
                corrected = session_clocks.correct(whole, recording, found, starts)
                found, clocks = corrected.found, corrected.clocks
                late = corrected.said
                if corrected.started:
                    late += session_clocks.describe(corrected.started, whole.nodes)
                facts["remarks"] += _CALIBRATED if corrected.calibrated else late
                facts["remarks"] += corrected.exchanged
                details = _name_nodes(whole, recording, found, starts)
                found = [one.position[None] for one in details]
            elif isinstance(found[0], tuple):
                several = found
                found = [np.stack([one.position for one in each]) for each in several]
            found = np.stack(found)
            if not np.isfinite(found).all():
                raise FloatingPointError(f"{recording.name}: a position is not finite")
            if recording.source_positions is not None:
                truth = np.float32(recording.source_positions[:, :2])
                orders = [np.asarray(_order(one, truth)) for one in found]
                found = np.stack(
                    [one[order] for one, order in zip(found, orders, strict=True)]
                )
                if several:
                    several = [
                        tuple(each[number] for number in order)
                        for each, order in zip(several, orders, strict=True)
                    ]
            yield Located(
                *(recording, starts / signals_lib.SAMPLE_RATE, found),
                **(facts | {"details": details, "several": several, "clocks": clocks}),
            )


def locate_with_calibrated_clocks(
    session: sessions.Session,
    together: bool = False,
    left_out: list[str] | None = None,
) -> Iterator[Located]:
    """Localize each recording with clocks that are calibrated first.

    Args:
        session: The session.
        together: Whether all recordings have the same clocks, which do not drift;
            otherwise each is calibrated by itself, by `localize_session`.
        left_out: See `locate`.

    Raises:
        PredictorError: If the tables name more than one source.
        SessionError: See `locate`.
    """
    _check_sources(session, 1, "--calibrate_clocks")
    whole = _list_all(session, left_out, strict=False)
    clocks = session_clocks.calibrate_together(whole) if together else None
    for number, recording in enumerate(whole.recordings, start=1):
        progress.log(f"[{number}/{len(whole.recordings)}] {recording.name}")
        found = session_lib.localize_session(
            whole.load(recording),
            signals_lib.SAMPLE_RATE,
            whole.node_positions,
            whole.room_size,
            clocks=clocks,
        )
        # Clocks of all recordings are said once.
        shown = found.clocks if number == 1 or not together else None
        starts = np.rint(found.starts * signals_lib.SAMPLE_RATE).astype(int)
        facts, details = _facts(whole, recording), found.localizations
        details, late = session_clocks.correct_late_nodes(
            whole, recording, details, starts, found.clocks
        )
        facts["remarks"] += late
        positions = np.stack([one.position[None] for one in details])
        details = _name_nodes(whole, recording, details, starts)
        yield Located(
            recording, found.starts, positions, details, clocks=shown, **facts
        )


def _name_nodes(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
) -> list[answers.Localization]:
    """Write names of nodes in the reasons, and which recorders did not run.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.
    """
    survey = whole.surveyed[recording.name]
    ends = survey.starts + survey.lengths
    named = []
    for one, start in zip(found, starts, strict=True):
        absent = {
            node: "had not started yet" if first > start else "had ended"
            for node, first, last in zip(whole.nodes, survey.starts, ends, strict=True)
            if first > start or last < start + whole.num_samples
        }
        reasons = tuple(
            _explain(reason, absent)
            for reason in doubts.with_names(one.reasons, whole.nodes)
        )
        named.append(dataclasses.replace(one, reasons=reasons))
    return named


def _explain(reason: str, absent: Mapping[str, str]) -> str:
    """Say of a node without sound that its recorder did not run, if it did not."""
    for node, why in absent.items():
        if re.match(rf"Node {re.escape(node)} (is silent|holds one)", reason):
            return f"Node {node} {why} and was left out"
    return reason


def _facts(whole: sessions.Session, recording: sessions.Recording) -> dict[str, Any]:
    """Collect remarks, length of windows and duration from the survey of a recording."""
    survey, rate = whole.surveyed[recording.name], signals_lib.SAMPLE_RATE
    return {
        "remarks": tuple(survey.describe(whole.nodes)),
        "length": whole.num_samples / rate,
        "duration": survey.num_samples / rate,
        "speech": speech_activity.find_speech(survey),
    }


def _list_all(
    session: sessions.Session, left_out: list[str] | None, strict: bool = True
) -> sessions.Session:
    """List the windows of all recordings, labeled or not."""
    # A session may be listed already, without the recordings of unknown positions.
    unlisted = dataclasses.replace(session, starts=None, surveyed=None)
    return unlisted.listed(left_out, labeled_only=False, strict=strict)


_order = jax.jit(metrics.best_permutation)


def _geometry(session: sessions.Session) -> dict[str, Any]:
    """Return nodes and, if it is known, the room, as a data set stores them."""
    geometry = {"node_positions": np.float32(session.node_positions)}
    if session.room_size is not None:
        geometry["room_size"] = np.float32(session.room_size)
    return geometry


def _examples(session: sessions.Session) -> Iterator[dict[str, Any]]:
    """Yield the windows of all recordings, as a data set stores them."""
    geometry = _geometry(session)
    for recording in session.recordings:
        for start in session.starts[recording.name]:
            window = session.load_window(recording, start)
            yield {"audio": signals_lib.to_stored(window)[0], **geometry}


def _predict(
    session: sessions.Session,
    predictor: Predictor,
    batch_size: int,
    done: Callable[[int], None],
) -> Iterator[np.ndarray | answers.Localization]:
    """Yield the positions [S, 2] found in each window, or how sure they are, too.

    Args:
        session: Listed.
        predictor: Of batches.
        batch_size: Of a batch.
        done: Called with the number of windows after each batch.
    """
    # All batches have one size, so that one program is compiled: the last batch repeats
    # its last window.
    examples = _examples(session)
    while batch := list(itertools.islice(examples, batch_size)):
        padding = batch[-1:] * (batch_size - len(batch))
        found = jax.device_get(predictor(_stack(batch + padding)))
        done(len(batch))
        yield from found[: len(batch)]


def _stack(examples: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: np.stack([one[key] for one in examples]) for key in examples[0]}


def rows(found: Located) -> Iterator[tuple[str, ...]]:
    """Format a row of `COLUMNS` for each window and source, in seconds and meters."""
    truth, errors = found.recording.source_positions, found.errors
    for window, start in enumerate(found.starts):
        for source, position in enumerate(found.predicted[window]):
            texts = [f"{start:.3f}", str(source + 1)]
            texts += [f"{number:.3f}" for number in position]
            if found.details:
                texts += _describe(found, window)
            elif found.several:
                texts += [*_describe_one(found.several[window][source]), *4 * [""]]
            else:
                texts += 9 * [""]
            if truth is None:
                texts += ["", "", ""]
            else:
                values = *truth[source, :2], errors[window, source]
                texts += [f"{number:.3f}" for number in values]
            yield found.recording.name, *texts


def _describe(found: Located, window: int) -> list[str]:
    """Format how sure a window is, its talker and its smoothed position."""
    talker, track = found.talkers[window], found.track
    smooth = *track.positions[window], track.radii_90[window]
    return [
        *_describe_one(found.details[window]),
        "" if talker is None else str(talker),
        *(f"{number:.3f}" for number in smooth),
    ]


def _describe_one(one: answers.Localization) -> list[str]:
    """Format how sure a position is."""
    return [
        f"{one.height:.2f}" if np.isfinite(one.height) else "",
        f"{one.radius_90:.3f}",
        "yes" if one.determined else "no",
        f"{one.modes[0].mass:.3f}",
        "; ".join(one.reasons),
    ]


def write_table(path: pathlib.Path, table: Iterable[tuple[str, ...]]) -> None:
    """Write rows as CSV, with a header, whole or not at all."""
    with (
        atomic.replace(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *table])
