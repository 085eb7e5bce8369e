"""Run the command `uld_jax` as `python -m uld_jax.cli`."""

from uld_jax.cli import app

if __name__ == "__main__":
    app.main()
