"""Simulated rooms with scattered microphones."""
