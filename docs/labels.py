"""Draw what labels make of the same network and images, at several resolutions.

python docs/labels.py

Draws docs/labels.png from the record of `benchmarks.labels.keypoints`.
"""

import json
import pathlib

from uld_jax.labels import titles
from uld_jax.report.style import plt

_RECORD = "../benchmarks/labels/results/keypoints.json"


def main() -> None:
    """Draw the figure."""
    folder = pathlib.Path(__file__).parent
    record = json.loads((folder / _RECORD).read_text())
    (_, _, rows), *_ = record["tables"]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    resolutions = [row["I"] for row in rows]
    axes.plot(
        resolutions,
        [row["quantization error"] for row in rows],
        color="black",
        linestyle=":",
        label="quantization error",
    )
    for scheme, look in titles.SCHEMES.items():
        found = [(row["I"], row[scheme]) for row in rows if row.get(scheme, "") != ""]
        if not found:
            continue
        axes.plot(
            *zip(*found, strict=True),
            color=look.color,
            marker=look.marker,
            label=look.title,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(resolutions, [str(one) for one in resolutions])
    axes.set_xlabel("cells per axis I")
    axes.set_ylabel("mean error in pixels, of 32")
    axes.legend()
    figure.savefig(folder / "labels.png", dpi=120)


if __name__ == "__main__":
    main()
