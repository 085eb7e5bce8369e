"""Localization methods that need no training: SRP-PHAT and time differences.

- `batches`: Batches of recordings for methods that need no training: checks and groups.
- `methods`: The table of methods by name.
- `srp_phat`: Localization by the steered response power with phase transform (SRP-PHAT).
- `tdoa`: Localization by time differences of arrival and least squares (TDOA-LS).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["batches", "methods", "srp_phat", "tdoa"],
)
