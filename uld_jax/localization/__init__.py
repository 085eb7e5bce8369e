"""Localization of recordings: votes with uncertainty, SRP-PHAT, time differences.

- `batches`: Batches of recordings for methods that need no training: checks and groups.
- `localize`: Localize a talker with its uncertainty: votes, and times where clocks agree.
- `methods`: The table of methods by name.
- `posterior`: Describe a posterior over the plan: its modes, their masses, and a radius.
- `recordings`: Recordings as `localize` is given them: checks, the room, the nodes, windows.
- `srp_phat`: Localization by the steered response power with phase transform (SRP-PHAT).
- `tdoa`: Localization by time differences of arrival and least squares (TDOA-LS).
- `times`: Check a position against the times at which a sound reaches the nodes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "batches",
        "localize",
        "methods",
        "posterior",
        "recordings",
        "srp_phat",
        "tdoa",
        "times",
    ],
)
