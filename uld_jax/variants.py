"""In words, what tells the settings of runs apart."""

import json

BEGUN_FROM = "init.data"
TRAINED_AT = "data.trained_at"  # Said by the name of the data set.

# Settings in words; others are told as they are.
_WORDS = {
    ("data.source", "prepared"): "fixed training set",
    ("data.source", "compact"): "fixed training set in compact form",
    ("data.source", "fresh"): "fresh rooms",
    ("train.epochs", 0): "tested as it is",
    ("init.partial", True): "in part",
    ("init.partial", False): "as a whole",
    ("train.permutation_invariant", True): "PIT",
    ("train.permutation_invariant", False): "no PIT",
}

# What is there to be compared with, and comes after what it is compared with.
_ABLATION = ("train.permutation_invariant", False)


def is_ablation(settings: dict) -> bool:
    """Return whether settings are there to be compared with others alone."""
    key, value = _ABLATION
    return settings.get(key) == value


def choose_base(kinds: dict[str, int]) -> dict:
    """Return the settings that others are told apart from.

    Those of most runs; of as many, no ablation, and the most like the others.

    Args:
        kinds: Number of runs by settings, as JSON.
    """

    def rank(kind: str) -> tuple[int, bool, int]:
        own = json.loads(kind)
        nearness = -sum(len(changed(own, json.loads(other))) for other in kinds)
        return kinds[kind], not is_ablation(own), nearness

    return json.loads(max(kinds, key=rank, default="{}"))


def changed(own: dict, other: dict) -> set[str]:
    """Return the keys of which settings have different values."""
    missing = object()
    return {
        key
        for key in own.keys() | other.keys()
        if own.get(key, missing) != other.get(key, missing)
    }


def differences(own: dict, others: list[dict]) -> str:
    """Return in words in what settings differ from others."""
    words = []
    for key in sorted(set().union(*(changed(own, other) for other in others))):
        if key == BEGUN_FROM:
            begun = own.get(key)
            words.append("from scratch" if begun is None else f"begun from {begun}")
        elif key == TRAINED_AT:
            words += [f"trained at {own[key]}"] if own.get(key) else []
        elif key not in own:
            words.append(f"without {key}")
        elif isinstance(own[key], str | int) and (key, own[key]) in _WORDS:
            words.append(_WORDS[key, own[key]])
        else:
            words.append(f"{key} {'unset' if own[key] is None else own[key]}")
    return ", ".join(words)
