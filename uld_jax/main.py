"""Train and test one network: `python -m uld_jax.main --config=experiments/ad1.py`.

The same as `uld_jax train`.
"""

import sys

from uld_jax.cli import app

if __name__ == "__main__":
    app.main(["train", *sys.argv[1:]])
