"""Differences between the settings of runs, in words."""

import json
from typing import Any

INIT_DATA = "init.data"
SAME_DATA = ""  # A network that was trained on the same data, and is tested only.
EPOCHS = "train.epochs"
INIT_KIND = "init.kind"  # Hash of how that network was trained.
TRAINED_AT = "data.trained_at"  # From the name of the data set.
# Irrelevant where nothing is trained.
OF_TRAINING = frozenset(
    {f"train.{key}" for key in ("batch_size", "learning_rate", "fine_tuning_rate")}
    | {f"train.{key}" for key in ("schedule", "plateau_factor", "plateau_patience")}
    | {f"train.{key}" for key in ("stop_patience", "weight_decay", "rollbacks")}
    | {f"data.{key}" for key in ("nodes_in_training", "clock_offset", "source")}
    | {f"train.{key}" for key in ("clip_norm", "warmup_steps", "step_shapes")}
    | {f"data.{key}" for key in ("position_error", "epoch_examples", "speech_hours")}
    | {f"data.{key}" for key in ("gain_error", "coloring", "drawn_errors")}
    | {"data.noisier_copies", "data.furnishing"}
)

# Settings in words; others are printed as they are.
_WORDS = {
    ("data.source", "prepared"): "fixed training set",
    ("data.source", "compact"): "fixed training set in compact form",
    ("data.source", "fresh"): "fresh rooms",
    ("train.epochs", 0): "tested as it is",
    (INIT_DATA, None): "from scratch",
    (INIT_DATA, SAME_DATA): "network of another run",
    ("init.partial", True): "in part",
    ("init.partial", False): "as a whole",
    ("model.without", "nothing"): "nothing left out",
    ("model.without", "rings"): "without rings",
    ("model.without", "hyperbolas"): "without hyperbolas",
    ("model.without", "pair_votes"): "pairs averaged first",
    ("model.without", "context"): "without context",
    ("model.without", "trust"): "one trust for all scenes",
    ("data.clock_offset", 0.0): "exact clocks",
    ("data.position_error", 0.0): "exact positions",
    ("data.gain_error", 0.0): "exact gains",
    ("data.coloring", 0.0): "no coloring",
    ("data.noisier_copies", 0): "no noisier copies",
    ("data.furnishing", None): "bare rooms",
    ("data.furnishing", "furnished"): "furnished rooms",
    ("data.furnishing", "any"): "rooms with any furniture",
    ("train.permutation_invariant", True): "PIT",
    ("train.permutation_invariant", False): "no PIT",
}

# An ablation comes after what it is compared with.
_ABLATION = ("train.permutation_invariant", False)


def is_ablation(settings: dict[str, Any]) -> bool:
    """Check whether settings are an ablation of others."""
    key, value = _ABLATION
    return settings.get(key) == value


def choose_base(kinds: dict[str, int]) -> dict[str, Any]:
    """Choose the settings to which others are compared.

    Those of most runs; with equally many no ablation, and the nearest to the others.

    Args:
        kinds: Number of runs by settings, as JSON.
    """

    def rank(kind: str) -> tuple[int, bool, int]:
        own = json.loads(kind)
        nearness = -sum(len(changed(own, json.loads(other))) for other in kinds)
        return kinds[kind], not is_ablation(own), nearness

    return json.loads(max(kinds, key=rank, default="{}"))


def changed(own: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Find the keys whose values differ, as far as they matter."""
    missing = object()
    tested_alone = 0 in (own.get(EPOCHS), other.get(EPOCHS))
    ignored = OF_TRAINING if tested_alone else frozenset()
    return {
        key
        for key in (own.keys() | other.keys()) - ignored
        if own.get(key, missing) != other.get(key, missing)
    }


def differences(own: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """Describe how settings differ from others."""
    words = []
    for key in sorted(set().union(*(changed(own, other) for other in others))):
        if key == INIT_DATA:
            data = own.get(key)
            words.append(_WORDS.get((key, data), f"started from {data}"))
        elif key == INIT_KIND:
            if own.get(key) and all(o.get(INIT_DATA) == own[INIT_DATA] for o in others):
                words.append(f"by the pre-training {own[key]}")
        elif key == EPOCHS and own.get(INIT_DATA) == SAME_DATA:
            pass
        elif key == EPOCHS and own[key] and not _trained_otherwise(own, others):
            words.append("trained" if own.get(INIT_DATA) is None else "fine-tuned")
        elif key == TRAINED_AT:
            words += [f"trained at {own[key]}"] if own.get(key) else []
        elif key not in own:
            words.append(f"without {key}")
        elif isinstance(own[key], str | int | float) and (key, own[key]) in _WORDS:
            words.append(_WORDS[key, own[key]])
        else:
            words.append(f"{key} {'unset' if own[key] is None else own[key]}")
    return ", ".join(words)


def _trained_otherwise(own: dict[str, Any], others: list[dict[str, Any]]) -> bool:
    """Check whether others were trained for another number of epochs."""
    return any(other.get(EPOCHS) not in (0, own[EPOCHS]) for other in others)
