"""Compare rendered rooms with pyroomacoustics, room by room.

    python -m benchmarks.rendering.accuracy

24 rooms of Ad-1 with 12 nodes, T60 from 0.2 to 1.2 s; a few minutes.
"""

import argparse
import dataclasses

import jax
import numpy as np
import scipy.signal

from benchmarks import report
from benchmarks.rendering import measures
from uld_jax.acoustics import constants
from uld_jax.simulation import nonuniform_fft, rendering, scenes
from uld_jax.simulation import rooms as rooms_lib
from uld_jax_data.simulated import pyroomacoustics_engine

_NODES = 12


def main() -> None:
    """Compare and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    drawn = [
        dataclasses.replace(
            scenes.draw_adhoc(rng, 1, (10.0, 20.0), num_nodes=_NODES),
            t60=t60,
            noise_position=None,
        )
        for t60 in np.linspace(*scenes.ADHOC_T60, options.rooms).tolist()
    ]
    rows = [_compare(number, scene) for number, scene in enumerate(drawn)]
    errors = np.array([row["T30 error %"] for row in rows])
    note = (
        f"{len(rows)} rooms of Ad-1, {_NODES} nodes, pyroomacoustics with its own "
        "high-pass off. DRR and C50: root mean square over the nodes of the thinned "
        "field's error; decay: its largest deviation in the first 30 dB, mean over the "
        f"nodes; these and T30 above 80 Hz. T30: mean error {errors.mean():.2f} %, mean "
        f"absolute error {np.abs(errors).mean():.2f} %, largest "
        f"{np.abs(errors).max():.1f} %."
    )
    table = ("Rendered rooms against pyroomacoustics.", note, rows)
    report.write("rendering.accuracy", [table], options.out)


def _compare(number: int, scene: scenes.Scene) -> dict[str, float]:
    """Compare one room with pyroomacoustics, with either late field."""
    settings = rooms_lib.RenderSettings(
        num_samples=1600, before=0, responses=True, response_length=34_000
    )
    rooms = rooms_lib.Rooms.of([scene])
    silence = np.zeros((1, 1, settings.num_dry), np.float32)
    key = jax.random.split(jax.random.key(number), 1)
    full, thinned = (
        np.asarray(
            rendering.render(
                rooms, silence, key, dataclasses.replace(settings, late=late)
            ).responses[0, 0],
            np.float64,
        )
        for late in ("full", "thinned")
    )
    (expected,) = pyroomacoustics_engine.responses(scene)
    exact = np.zeros_like(full)
    length = min(expected.shape[1], full.shape[1])
    exact[:, :length] = expected[:, :length]

    distance = np.linalg.norm(scene.node_positions - scene.source_positions, axis=-1)
    onset = np.round(
        distance / constants.SPEED_OF_SOUND * constants.SAMPLE_RATE
    ).astype(int)
    onset += nonuniform_fft.LEAD
    center = scene.room_size / 2
    reach = np.linalg.norm(scene.node_positions - center, axis=-1).max()
    radius = float(rooms_lib.compute_walls(rooms, settings).exact_radius[0]) - reach
    early = int(radius / constants.SPEED_OF_SOUND * constants.SAMPLE_RATE)
    sections = scipy.signal.butter(
        2, 80, "high", fs=constants.SAMPLE_RATE, output="sos"
    )
    ours, reference = (scipy.signal.sosfiltfilt(sections, r) for r in (thinned, exact))

    def decibels(actual, wanted):
        return 10 * np.log10(((actual - wanted) ** 2).sum() / (wanted**2).sum())

    def rms(measure):
        error = measure(ours, onset) - measure(reference, onset)
        return float(np.sqrt((error**2).mean()))

    decays = [measures.energy_decay(r) for r in (ours, reference)]
    deviation = np.where(decays[1] > -30, np.abs(decays[0] - decays[1]), 0)
    times = [measures.reverberation_time(r).mean() for r in (ours, reference)]
    return {
        "T60 s": float(scene.t60),
        "room m": " x ".join(f"{side:.1f}" for side in scene.room_size[:2]),
        "full dB": decibels(full, exact),
        "exact until ms": 1e3 * early / constants.SAMPLE_RATE,
        "thinned until then dB": decibels(thinned[:, :early], exact[:, :early]),
        "DRR dB": rms(measures.direct_to_reverberant),
        "C50 dB": rms(measures.clarity),
        "decay dB": float(deviation.max(axis=-1).mean()),
        "T30 s": float(times[1]),
        "T30 error %": float(100 * (times[0] / times[1] - 1)),
    }


if __name__ == "__main__":
    main()
