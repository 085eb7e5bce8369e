"""The command `uld_jax`: flags and printing; nothing imports it."""
