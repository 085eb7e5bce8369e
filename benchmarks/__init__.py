"""Benchmarks of speed, rendering and reliability, run from the root of a checkout."""
