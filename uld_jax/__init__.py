"""2D sound source localization with quantization-error-free soft labels, in JAX."""

__version__ = "0.1.0"
