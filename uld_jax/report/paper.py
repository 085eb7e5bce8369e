"""The values of the paper's tables.

Feng, Zhang, Li: "Quantization-Error-Free Soft Label for 2D Sound Source
Localization", ISCSLP 2024. ACC in percent, QE and MAE in meters.
"""

import dataclasses

# Table 1, on L-1 with 6 x 6 outputs: ACC and MAE by label.
TABLE_1 = {
    "one_hot": (96.50, 0.384),
    "heat_map": (96.74, 0.453),
    "refined_grid": (92.00, 0.104),
    "uld": (96.72, 0.031),
}
TABLE_1_QE = 0.381
TABLE_1_OUTPUTS = 6  # Per axis.

RESOLUTIONS = (1, 2, 4, 8, 16)  # The columns of Tables 2 to 4.


@dataclasses.dataclass(frozen=True)
class Printed:
    """A table with a column for each of `RESOLUTIONS`.

    None stands for "/": "the model training did not converge or was not feasible".

    Attributes:
        quantization_error: The row QE.
        accuracy: The rows ACC by label.
        mae: The rows MAE by label.
    """

    quantization_error: tuple[float, ...]
    accuracy: dict[str, tuple[float | None, ...]]
    mae: dict[str, tuple[float | None, ...]]


TABLE_2 = Printed(  # On Ad-1.
    quantization_error=(2.705, 1.340, 0.687, 0.340, 0.174),
    accuracy={
        "one_hot": (None, 90.77, 81.66, 63.20, 38.08),
        "heat_map": (None, 84.32, 74.21, 41.75, None),
        "refined_grid": (None, 97.28, 91.72, 78.60, 39.69),
        "uld": (96.11, 90.38, 83.66, 71.15, 56.20),
    },
    mae={
        "one_hot": (None, 1.395, 0.765, 0.460, 0.361),
        "heat_map": (None, 1.468, 0.691, 0.652, None),
        "refined_grid": (None, 0.253, 0.221, 0.206, 0.322),
        "uld": (0.292, 0.270, 0.217, 0.202, 0.193),
    },
)

TABLE_3 = Printed(  # On Ad-2.
    quantization_error=(2.695, 1.346, 0.664, 0.339, 0.170),
    accuracy={
        "one_hot": (None, 91.14, 78.81, 61.39, 31.98),
        "heat_map": (None, 78.61, 64.94, 40.25, None),
        "refined_grid": (None, 70.36, 55.64, 42.47, 17.05),
        "uld": (88.75, 77.44, 66.75, 57.39, 41.83),
    },
    mae={
        "one_hot": (None, 1.401, 0.775, 0.507, 0.435),
        "heat_map": (None, 1.713, 1.097, 1.222, None),
        "refined_grid": (None, 1.499, 1.725, 1.862, 1.948),
        "uld": (1.018, 0.650, 0.462, 0.331, 0.289),
    },
)

_TABLE_4_QE = (4.312, 1.796, 0.720, 0.651, 0.289)
TABLE_4_1 = Printed(  # On Ad-r1.
    quantization_error=_TABLE_4_QE,
    accuracy={
        "one_hot": (None, 90.97, 89.99, 80.80, 75.44),
        "uld": (99.92, 86.33, 58.27, 81.13, 74.63),
    },
    mae={
        "one_hot": (None, 1.908, 0.755, 0.687, 0.351),
        "uld": (0.445, 0.305, 0.234, 0.180, 0.207),
    },
)
TABLE_4_2 = Printed(  # On Ad-r2.
    quantization_error=_TABLE_4_QE,
    accuracy={
        "one_hot": (None, 88.55, 71.89, 62.99, 47.00),
        "uld": (91.37, 72.51, 18.29, 59.54, 57.05),
    },
    mae={
        "one_hot": (None, 1.951, 1.078, 0.946, 0.729),
        "uld": (1.354, 1.199, 0.881, 0.540, 0.385),
    },
)

# By the start of a data set's name: the table on such data and its values.
_TWIN = "Table 4 in a simulated twin of its room"
_TABLES = (
    ("simulated/l1", ("Table 1", None)),
    ("simulated/ad1", ("Table 2", TABLE_2)),
    ("simulated/ad2", ("Table 3", TABLE_3)),
    ("libri_adhoc40/ad_r1", ("Table 4", TABLE_4_1)),
    ("libri_adhoc40/ad_r2", ("Table 4", TABLE_4_2)),
    ("simulated/twin_r1", (_TWIN, TABLE_4_1)),
    ("simulated/twin_r2", (_TWIN, TABLE_4_2)),
)


def table_of(name: str) -> tuple[str | None, Printed | None]:
    """Find the paper's table on a data set, and its values by resolution.

    None for other data. Table 1 has no values by resolution.

    Args:
        name: Name of the data set, such as "simulated/ad1_reduced:1.0.0".
    """
    found = (table for start, table in _TABLES if name.startswith(start))
    return next(found, (None, None))
