"""Killed runs and damaged files."""
