"""Experiment files; installed as `uld_jax_experiments`."""
