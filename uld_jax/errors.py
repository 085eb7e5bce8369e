"""Errors that a user can mend: commands tell them in one line and exit with 2."""


class InputError(ValueError):
    """Bad input; the message names the value and the remedy."""
