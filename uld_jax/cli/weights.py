"""List, verify and describe the networks that come with the package.

    uld_jax weights list
    uld_jax weights verify
    uld_jax weights card ad1_uld

Their names stand for folders in --init_from, in --run and in `uld_jax.load_network`.
`verify` compares files with their checksums and builds each network; `card` prints what one
was trained on, its errors and its limits.
"""

from collections.abc import Callable, Sequence
from typing import Any

from uld_jax.runtime import errors, progress

FLAGS = ()
TAKES_PATHS = True


def main(_: Any, words: list[str]) -> None:
    """List, verify, or describe."""
    known: dict[str, Callable[[Sequence[str]], None]] = {
        "list": _list,
        "verify": _verify,
        "card": _card,
    }
    if not words or words[0] not in known:
        given = f"not {words[0]!r}" if words else "as in uld_jax weights list"
        raise errors.InputError(f"weights: give list, verify or card, {given}")
    known[words[0]](words[1:])


def _names(words: Sequence[str]) -> list[str]:
    """Return the names given, or those of all."""
    from uld_jax.pretrained import shipped

    known = [*shipped.names(), *shipped.PARTS]
    for word in words:
        if word not in known:
            raise errors.InputError(f"weights: {shipped.explain(word)}")
    return list(words) or known


def _list(words: Sequence[str]) -> None:
    from uld_jax.pretrained import shipped, weights

    for name in _names(words):
        run = weights.read_run(shipped.folder(name), "weights")
        card = run["card"]
        test = (card.get("tested") or run)["test"]
        if name in shipped.PARTS:
            facts = f"each node by itself, mean error of masks {test['mask_error']:.3f}"
        else:
            nodes = f"{card['input']['nodes']} nodes"
            if card["input"]["any_number_of_nodes"]:
                nodes = "any nodes"
            facts = f"{nodes}, MAE {test['mae']:.3f} m on {run['data']['name']}"
        progress.log(
            f"{name:<12} {card['parameters']:>9,} parameters, "
            f"{card['hashes']['bytes'] / 1e6:4.1f} MB, {facts}"
        )


def _verify(words: Sequence[str]) -> None:
    from uld_jax.pretrained import loading, shipped, speech_masks, weights

    damaged = []
    for name in _names(words):
        try:
            found = weights.read_run(shipped.folder(name), "weights")["card"]
            part = name in shipped.PARTS
            load = speech_masks.load if part else loading.load_network
            load(shipped.folder(name))
        except errors.InputError as error:
            damaged.append(name)
            progress.log(f"{name}: {error}")
        else:
            progress.log(f"{name}: intact, SHA-256 {found['hashes']['weights']}")
    if damaged:
        raise errors.Failed(f"{len(damaged)} damaged: {', '.join(damaged)}")


def _card(words: Sequence[str]) -> None:
    from uld_jax.pretrained import card, shipped, speech_masks, weights

    if len(words) != 1:
        raise errors.InputError(
            "weights card: name one network, as in uld_jax weights card ad1_uld"
        )
    (name,) = _names(words)
    describe = speech_masks.describe if name in shipped.PARTS else card.describe
    progress.log(describe(weights.read_run(shipped.folder(name), "weights")))
