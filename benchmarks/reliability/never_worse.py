"""Check that a method is not worse than the best of others, under each condition.

    python -m benchmarks.reliability.never_worse runs/ad1/fused runs/ad1/srp_phat \
        runs/ad1/tdoa_ls runs/ad1/votes

All are folders that `uld_jax robustness` has tested on the same examples; the first is the
method. It is worse under a condition if the lower 95 % limit of the difference of means, by
a paired bootstrap over the examples, is above 2 mm and above 3 % of the best other mean.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report
from uld_jax.storage import records

_LEAST, _SHARE = 0.002, 0.03  # Of a difference that counts: meters, share of the other.
_RESAMPLES = 4_000


def main() -> None:
    """Compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("method", type=pathlib.Path, help="folder of its run")
    parser.add_argument(
        "others", type=pathlib.Path, nargs="+", help="folders of others"
    )
    options = parser.parse_args()
    own = _read(options.method)
    others = {path.name: _read(path) for path in options.others}
    rows = [
        compare(name, errors, {k: v[name] for k, v in others.items() if name in v})
        for name, errors in own.items()
        if any(name in errors for errors in others.values())
    ]
    note = f"{_RESAMPLES:,} resamples of the examples."
    title = f"{options.method.name} against the best of {', '.join(others)}."
    report.write("reliability.never_worse", [(title, note, rows)], options.out)


def _read(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the errors in meters of all examples, by condition."""
    path = folder / records.CONDITION_ERRORS_FILE
    with np.load(path, allow_pickle=False) as stored:
        return {name: errors.mean(axis=-1) for name, errors in stored.items()}


def compare(name: str, own: np.ndarray, others: dict[str, np.ndarray]) -> dict:
    """Compare errors [N] with those of others on the same examples.

    Raises:
        ValueError: If they are not of as many examples.
    """
    for other, errors in others.items():
        if len(errors) != len(own):
            raise ValueError(
                f"{name}: {len(own)} examples, and {len(errors)} of {other}; test both "
                "with the same --examples"
            )
    best = min(others, key=lambda other: others[other].mean())
    differences = own - others[best]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(own), size=(_RESAMPLES, len(own)))
    lower, upper = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    limit = max(_LEAST, _SHARE * others[best].mean())
    return {
        "condition": name,
        "mean m": float(own.mean()),
        "best other": best,
        "its mean m": float(others[best].mean()),
        "difference m": f"{differences.mean():.3f} ({lower:.3f} to {upper:.3f})",
        "worse": "yes" if lower > limit else "no",
    }


if __name__ == "__main__":
    main()
