"""Acoustics shared by rooms, networks and localizers: constants, STFT, GCC.

- `constants`: Room acoustics: absorption for a reverberation time, and measures of
  responses.
- `correlations`: Generalized cross-correlations of nodes with phase transform (GCC-
  PHAT).
- `stft`: Input features: short-time spectra of all nodes of a scene (Sec. 3.3).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "constants",
        "correlations",
        "stft",
    ],
)
