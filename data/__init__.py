"""TFDS builders; installed as `uld_jax_data`."""
