"""Libri-adhoc40: real recordings by scattered microphones."""
