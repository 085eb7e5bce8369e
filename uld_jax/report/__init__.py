"""Tables, figures and pages, made from records alone; without JAX.

- `groups`: runs of one method on the same test data, with different seeds.
- `tables`, `comparison_tables`, `captions`, `markdown`: tables as text and HTML.
- `error_figures`, `floor_plan_figures`, `style`: figures, by matplotlib.
- `page`: the report that shows both.
- `document`: what all pages of sessions share, as one HTML file.
- `session_page`: where talkers were in a session's recordings, by `session_plan` and
  `session_charts` (drawings), `session_tables` and `session_controls`.
- `sessions_page`: many sessions with their outcomes, and links to their pages.
- `placement_page`: where to put recorders.
- `health_page`: what is wrong with a session's recordings.
- `radius_map`: a map of expected radii, on both.
- `paper`: the values that the paper prints.
- `variants`: how settings differ, in words.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__: list[str]
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "groups",
        "health_page",
        "markdown",
        "page",
        "paper",
        "placement_page",
        "session_page",
        "sessions_page",
        "tables",
        "variants",
    ],
)
