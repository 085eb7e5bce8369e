"""Localization methods that need no training: SRP-PHAT, time differences.

- `batches`: Batches of recordings, as methods that need no training take them.
- `methods`: Methods that need no training, by name, all called alike.
- `srp_phat`: Localization by the steered response power with phase transform (SRP-
  PHAT).
- `tdoa`: Localization by time differences of arrival and least squares (TDOA-LS).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "batches",
        "methods",
        "srp_phat",
        "tdoa",
    ],
)
