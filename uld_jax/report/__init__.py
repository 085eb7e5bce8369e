"""Records to tables, figures and pages; without JAX.

- `captions`: In words, what the runs of a table were made with, and tested under.
- `comparison_tables`: Tables that set runs on the same data side by side, beyond those
  of the paper.
- `error_figures`: Figures of error against what makes localization hard: I, rooms,
  noise, nodes.
- `floor_plan_figures`: Figures of rooms from above: where talkers are, and where they
  are said to be.
- `groups`: Records to groups: runs of one method, tested on the same data, seeds apart.
- `markdown`: Tables as Markdown and as HTML.
- `page`: Records to figures: learning curves, errors, floor plans, maps, what makes it
  hard.
- `paper`: What the paper prints: the values of its tables.
- `style`: How methods look in every figure; the sole user of matplotlib.
- `tables`: Records to the paper's tables, the paper's values beside ours.
- `tested_on`: What runs were tested on, by which they are compared or kept apart.
- `variants`: In words, what tells the settings of runs apart.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "captions",
        "comparison_tables",
        "error_figures",
        "floor_plan_figures",
        "groups",
        "markdown",
        "page",
        "paper",
        "style",
        "tables",
        "tested_on",
        "variants",
    ],
)
