"""One contestant, in a process of its own: told what to do line by line, in JSON.

    python -m race.contestant KIND FOLDER

The folder holds `entry.json` and what `data.save` wrote. It says on which device it is,
and after its first step that this is done; then it does as many steps as a line on its
standard input says.
"""

import json
import pathlib
import sys
import time

from uld_jax import host_memory

OURS = "uld_jax"
SHIPPED = "torch shipped"


def main() -> None:
    """Train until standard input ends."""
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    entry = json.loads((folder / "entry.json").read_text())
    answers, sys.stdout = sys.stdout, sys.stderr  # What libraries print is no answer.
    if kind != SHIPPED:  # As our commands do; PyTorch gains by it, too.
        host_memory.keep()
    if kind == OURS:
        from race import ours

        training = ours.Training(folder, entry)
    else:
        from race import theirs

        training = theirs.KINDS[kind](folder, entry)

    def tell(**facts) -> None:
        print(json.dumps(facts), file=answers, flush=True)

    platform, device = training.device_names()
    tell(platform=platform, device=device)
    tell(loss=training.steps(1))
    for line in sys.stdin:
        started = time.perf_counter()
        loss = training.steps(int(line))
        seconds = time.perf_counter() - started
        tell(seconds=seconds, loss=loss, device_memory=training.device_memory())


if __name__ == "__main__":
    main()
