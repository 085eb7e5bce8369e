"""Render reverberant scenes with pyroomacoustics, as a reference.

It takes about a hundred times as long as `uld_jax.simulation.rendering`.
"""

from collections.abc import Sequence

import numpy as np
import pyroomacoustics
import scipy.signal

from uld_jax.acoustics import constants
from uld_jax.simulation import recipes, scenes

_RING = 2000  # Samples.


def render(
    recipe: recipes.Recipe,
    drawn: Sequence[recipes.Drawn],
    dry: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """Render the signals at the nodes, as `Recipe.render` does, with every image.

    Args:
        recipe: A reverberant recipe.
        drawn: The examples, B.
        dry: Their dry speech, [B, S, D].
        noise: Their noise, [B, D].

    Returns:
        [B, M, N].
    """
    levels = np.stack([example.levels_db for example in drawn])
    highpass = recipe.settings("full", deterministic=False).highpass
    sections = scipy.signal.butter(
        2, highpass, "high", fs=constants.SAMPLE_RATE, output="sos"
    )
    # The filter rings on both sides of a signal with abrupt ends.
    dry, noise = (
        scipy.signal.sosfiltfilt(
            sections, np.pad(signals, [(0, 0)] * (signals.ndim - 1) + [(_RING,) * 2])
        )
        for signals in (np.asarray(recipe.at_levels(dry, levels), np.float64), noise)
    )
    return np.stack(
        [
            _render_one(recipe, *example)
            for example in zip(drawn, dry, noise, strict=True)
        ]
    ).astype(np.float32)


def _render_one(recipe, example, dry, noise):
    """Render the signals [M, N] of one example."""
    paths_of = responses(example.scene)
    first = (
        _RING
        + recipe.margins[0]
        + pyroomacoustics.constants.get("frac_delay_length") // 2
    )
    speech, noise = (
        sum(
            scipy.signal.fftconvolve(signal[None], response, axes=-1)
            for signal, response in zip(signals, paths, strict=True)
        )[:, first : first + recipe.num_samples]
        for signals, paths in ((dry, paths_of[:-1]), (noise[None], paths_of[-1:]))
    )
    wanted = (speech**2).mean() / 10 ** (example.scene.snr_db / 10)
    return speech + np.sqrt(wanted / max((noise**2).mean(), 1e-30)) * noise


def responses(scene: scenes.Scene) -> list[np.ndarray]:
    """Compute the responses [M, R] of each source, and last that of any noise.

    Time zero is at sample 40, and the high-pass of pyroomacoustics is off.
    """
    absorption, order = pyroomacoustics.inverse_sabine(scene.t60, scene.room_size)
    room = pyroomacoustics.ShoeBox(
        scene.room_size,
        fs=constants.SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
        use_rand_ism=False,
        air_absorption=False,
    )
    for position in scene.source_positions:
        room.add_source(position)
    if scene.noise_position is not None:
        room.add_source(scene.noise_position)
    room.add_microphone_array(scene.node_positions.T)
    # Without its own high-pass at 10 Hz, because ours comes before the room.
    before = pyroomacoustics.constants.get("rir_hpf_enable")
    pyroomacoustics.constants.set("rir_hpf_enable", False)
    try:
        room.compute_rir()
    finally:
        pyroomacoustics.constants.set("rir_hpf_enable", before)
    per_source = []
    for source in range(len(room.sources)):
        paths = [node[source] for node in room.rir]
        length = max(map(len, paths))
        per_source.append(np.stack([np.pad(p, (0, length - len(p))) for p in paths]))
    return per_source
