"""Test speech masks on noisy test scenes of Ad-1: without, with, and with true masks.

    python -m benchmarks.reliability.speech_masks --data=datasets --speech=FOLDER \
        --noise=FOLDER --cache=runs/speech_masks --scenes=100

Talker and noise of each scene are rendered apart, so that the true mask is known and any
SNR can be made. Noises are those of the test split; or of kinds that training left out, from
all recordings of these kinds. Results of scenes are kept in the cache: the same command
resumes.
"""

import argparse
import dataclasses
import json
import pathlib

import jax
import numpy as np

from benchmarks import report

_SNRS_DB = (10.0, 0.0, -5.0, -10.0)
_ALONE_DB = 120.0  # One part is inaudible.
_SEED = 2**22
_MAX_LAG = 768  # Samples: the rooms are up to 10 m long.
_AT, _FAR = 0.5, 0.5  # Meters: at the noise, and far off.
_NODES = {30: "30 nodes"}
METHODS = {
    "none": "whitening 1",
    "partial": "whitening 0.8",
    "masks": "whitening 0.8, masks",
    "oracle": "true masks",
    "localize": "localize",
    "localize_masks": "localize, masks",
}


def main() -> None:
    """Render, localize, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--data", required=True, help="folder of data sets")
    parser.add_argument("--speech", required=True, help="folder of speech")
    parser.add_argument("--noise", required=True, help="folder of noise")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument(
        "--localized", type=int, help="scenes for uld_jax.localize; by default all"
    )
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.localized is None:
        options.localized = options.scenes
    tables = []
    for title, kinds in (("Noises of the test split", ()), ("Kinds left out", None)):
        found = _test(options, kinds)
        tables += summarize(title, found)
    report.write("reliability.speech_masks", tables, options.out)


def _test(options, kinds: tuple[str, ...] | None) -> list[dict]:
    """Test all scenes with noises of some kinds; None for those left out in training."""
    from uld_jax.runtime import progress

    scenes = _Scenes(options, kinds)
    found = []
    with progress.Progress("Scenes", options.scenes, "scenes") as bar:
        for number in range(options.scenes):
            name = f"{'own' if kinds == () else 'unseen'}-{number}.json"
            path = options.cache / name
            done = json.loads(path.read_text()) if path.exists() else []
            wanted = list(METHODS)
            if number >= options.localized:
                wanted = [key for key in wanted if not key.startswith("localize")]
            lacking = [key for key in wanted if not done or key not in done[0]]
            if lacking:
                rows = _test_scene(scenes.render(number), lacking)
                done = done or [{} for _ in rows]
                done = [one | row for one, row in zip(done, rows, strict=True)]
                path.write_text(json.dumps(done))
            found += done
            bar.update()
    return found


class _Scenes:
    """Test scenes whose talker and noise are rendered apart."""

    def __init__(self, options, kinds: tuple[str, ...] | None):
        from uld_jax import config as config_lib
        from uld_jax.audio import corpora
        from uld_jax.datasets import compact, sources
        from uld_jax.simulation import recipes

        settings = {
            "data.speech": options.speech,
            "data.noise": options.noise,
            "data.dir": options.data,
        }
        config = config_lib.load_config("ad1:reduced", **settings)
        config = config_lib.resolve_for_testing(config, source="compact")
        self._split = sources.open_split(config, "test")
        self._noises = compact.Noises(self._split.path / compact.noise_file("test"))
        self._recipe, self._pool = recipes.AD1, []
        if kinds is None:
            noise = corpora.open_noise(options.noise)
            self._pool = [
                [
                    one
                    for part in corpora.PARTS
                    for one in noise.utterances[part]
                    if one.name.startswith(kind)
                ]
                for kind in _left_out()
            ]

    def render(self, number: int) -> dict[str, np.ndarray]:
        """Render the parts of a scene, each with a mean power of one."""
        from uld_jax.audio import signals
        from uld_jax.simulation import recipes

        example = self._split[number]
        noise = self._noise(number, example)[None].astype(np.float32)
        drawn = recipes.Drawn.from_stored(example)
        parts = {}
        for name, snr_db in (("speech", _ALONE_DB), ("noise", -_ALONE_DB)):
            scene = dataclasses.replace(drawn.scene, snr_db=snr_db)
            one = dataclasses.replace(drawn, scene=scene)
            dry = signals.to_float(example["dry"])[None]
            found = self._recipe.render([one], dry, noise, deterministic=True)
            parts[name] = np.asarray(found[0] / np.sqrt((found[0] ** 2).mean()))
        keys = ("node_positions", "source_positions", "room_size", "noise_position")
        return parts | {key: example[key] for key in keys}

    def _noise(self, number: int, example) -> np.ndarray:
        from uld_jax.audio import signals

        recipe = self._recipe
        if not self._pool:
            start = int(example["noise_start"]) - recipe.margins[0]
            cut = self._noises.cut([example["noise"]], [start], recipe.num_dry)
            return signals.to_float(cut[0])
        rng = np.random.default_rng([_SEED, number])
        kind = self._pool[number % len(self._pool)]
        one = kind[rng.integers(len(kind))]
        starts = signals.noise_starts(one, recipe.num_samples, *recipe.margins)
        first = int(starts[rng.integers(len(starts))])
        return signals.load_noise(one, recipe.num_dry)[first : first + recipe.num_dry]


def _left_out() -> list[str]:
    """Look up the kinds of noise that the network's training left out."""
    from uld_jax.localization import speech_masks
    from uld_jax.pretrained import weights

    run = weights.read_run(speech_masks.FOLDER, "speech masks")
    return run["settings"]["mixtures"]["noises_left_out"]


def _test_scene(scene: dict[str, np.ndarray], methods: list[str]) -> list[dict]:
    """Localize one scene at every SNR and number of nodes; return the errors."""
    import uld_jax

    talker = scene["source_positions"][0, :2]
    noise = scene["noise_position"][:2]
    rows = []
    for count in _NODES:
        nodes, room = scene["node_positions"][:count], scene["room_size"]
        parts = [scene[key][:count] for key in ("speech", "noise")]
        for snr_db in _SNRS_DB:
            speech, hum = parts[0], parts[1] * 10 ** (-snr_db / 20)
            mixture = np.float32(speech + hum)
            row = {"nodes": count, "snr_db": snr_db}
            for method in methods:
                if method.startswith("localize"):
                    masks = method == "localize_masks"
                    found = uld_jax.localize(
                        mixture, 16_000, nodes, room, speech_masks=masks
                    ).position
                else:
                    found = _steer(method, mixture, speech, hum, nodes, room)
                error = float(np.linalg.norm(found - talker))
                row[method] = [error, float(np.linalg.norm(found - noise))]
            rows.append(row)
    return rows


def _steer(method, mixture, speech, noise, nodes, room) -> np.ndarray:
    """Localize by SRP-PHAT, from signals as they are or masked."""
    from uld_jax.localization import speech_masks

    if method in ("none", "partial"):
        power = 1.0 if method == "none" else speech_masks.WHITENING
        return np.asarray(_srp(mixture, nodes, room, power))
    if method == "oracle":
        shares = true_masks(speech, noise)
        masked = speech_masks.resynthesize(mixture, shares, 1.0)
    else:
        masked = speech_masks.extract(mixture)
    return np.asarray(_srp(masked, nodes, room, 0.0))


def true_masks(speech: np.ndarray, noise: np.ndarray):
    """Compute the share of speech in each bin [M, T, 256] from the parts [M, N]."""
    from uld_jax.acoustics import stft
    from uld_jax.networks import speech_mask

    powers = [abs(stft.stft(np.float32(part))) ** 2 for part in (speech, noise)]
    return speech_mask.ratio_mask(*powers)


@jax.jit
def _srp(signals, nodes, room, whitening):
    from uld_jax.localization import srp_phat
    from uld_jax.simulation import scenes

    present = jax.numpy.ones(len(nodes), bool)
    sharp = srp_phat.correlate(signals, present, _MAX_LAG, whitening)
    height = scenes.SOURCE_HEIGHT
    return srp_phat.search(sharp, nodes, room[:2], height, 1)[0]


def summarize(title: str, found: list[dict]) -> list[tuple[str, str, list[dict]]]:
    """Summarize the errors of scenes in a table for each number of nodes.

    Args:
        title: What the noises are.
        found: Of each scene and condition: `nodes`, `snr_db`, and by method the
            distances in meters to the talker and to the noise.
    """
    tables = []
    for count, name in _NODES.items():
        rows = []
        for snr_db in _SNRS_DB:
            some = [
                row for row in found if (row["nodes"], row["snr_db"]) == (count, snr_db)
            ]
            for method, words in METHODS.items():
                pairs = np.array([row[method] for row in some if method in row])
                if len(pairs):
                    rows.append({"SNR dB": snr_db, "method": words} | _scores(pairs))
        note = f"{name}; at the noise: within {_AT} m of it, and nearer to it."
        tables.append((f"{title}.", note, rows))
    return tables


def _scores(pairs: np.ndarray) -> dict:
    """Compute statistics of distances [n, 2] to the talker and to the noise."""
    errors, apart = pairs.T
    fooled = (apart < _AT) & (apart < errors)
    return {
        "scenes": len(errors),
        "mean m": float(errors.mean()),
        "median m": float(np.median(errors)),
        "at the noise": f"{fooled.mean():.0%}",
        f"beyond {_FAR} m": f"{(errors > _FAR).mean():.0%}",
    }


if __name__ == "__main__":
    main()
