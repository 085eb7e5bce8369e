"""Draw the figures of finished runs and write a page that shows them with the tables.

    uld_jax report runs/l1
    uld_jax report runs/l1 --out=report

Except for MAE against I, figures show the baselines and, of each label and kind of
training, the I of least validation MAE.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors

FLAGS = (Flag("out", "string", "Folder of the report; by default FIRST_PATH/report."),)
TAKES_PATHS = True


def main(values: Any, paths: list[str]) -> None:
    """Write the report of all finished runs at or below the paths."""
    from uld_jax.report import groups, page

    if not paths:
        raise errors.InputError("report: name at least one folder of records")
    page.check_matplotlib()
    first = pathlib.Path(paths[0])
    folder = first if first.is_dir() else first.parent
    out = pathlib.Path(values.out or folder / "report")
    members, _ = groups.read(paths)
    print(f"Report: {page.write_report(members, out)}")
