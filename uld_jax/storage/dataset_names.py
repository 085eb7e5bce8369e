"""Names of data sets: the one place that knows their suffixes.

In simulated/twin_r1_dev_compact:1.0.0, "simulated" is the builder, "twin_r1" the base,
"dev" where its talkers for training stand, "compact" the form, "1.0.0" the version.
"""

import dataclasses
import pathlib

from uld_jax.runtime import errors

# Whole, without the training split, or with dry speech in place of rendered signals.
FORM_SUFFIXES = {"whole": "", "held_out": "_held_out", "compact": "_compact"}
# Data sets of one room share their test split and differ in where they train.
TRAINED_AT_SUFFIXES = {
    "train": "",
    "dev": "_dev",
    "anywhere": "_anywhere",
    "nowhere": "_test",
}
_ONE_ROOM = ("simulated/twin_r", "libri_adhoc40/")  # How their names start.


class DatasetNameError(errors.InputError):
    """A name that no data set can have."""


@dataclasses.dataclass(frozen=True)
class DatasetName:
    """The parts of a data set's name.

    Attributes:
        builder: The builder, such as "simulated".
        base: Name of the content, such as "ad1". All data sets of one builder, base
            and version have the same test examples.
        version: Version, such as "1.0.0".
        form: A key of `FORM_SUFFIXES`.
        trained_at: Which positions of its one room the training split holds: a key of
            `TRAINED_AT_SUFFIXES`. None for data sets of many rooms.
    """

    builder: str
    base: str
    version: str
    form: str = "whole"
    trained_at: str | None = None

    @classmethod
    def parse(cls, name: str) -> "DatasetName":
        """Parse a name of the form builder/config:version.

        Raises:
            DatasetNameError: If the name has another form.
        """
        path, _, version = name.partition(":")
        builder, _, base = path.partition("/")
        if path.count("/") != 1 or not version:
            raise DatasetNameError(
                f"data set name {name!r} is not of the form builder/config:version, "
                "such as simulated/l1:1.0.0"
            )
        base, form = _split(base, FORM_SUFFIXES)
        trained_at = None
        if path.startswith(_ONE_ROOM):
            base, trained_at = _split(base, TRAINED_AT_SUFFIXES)
        return cls(builder, base, version, form, trained_at)

    @property
    def config(self) -> str:
        """Name of the builder's configuration, such as "ad1_compact"."""
        place = TRAINED_AT_SUFFIXES[self.trained_at] if self.trained_at else ""
        return self.base + place + FORM_SUFFIXES[self.form]

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.builder}/{self.config}:{self.version}"

    @property
    def test_set(self) -> str:
        """Name of the test examples: the same for all forms and training positions."""
        return f"{self.builder}/{self.base}:{self.version}"

    def folder(self, data_dir: str | pathlib.Path) -> pathlib.Path:
        """Locate the data set below a folder of data sets."""
        data_dir = pathlib.Path(data_dir).expanduser()
        return data_dir / self.builder / self.config / self.version

    def with_form(self, form: str) -> "DatasetName":
        """Name the same data in another form, a key of `FORM_SUFFIXES`."""
        return dataclasses.replace(self, form=form)


def _split(base: str, suffixes: dict[str, str]) -> tuple[str, str]:
    """Split a name into its base and the key of its suffix."""
    for key, suffix in suffixes.items():
        if suffix and base.endswith(suffix):
            return base.removesuffix(suffix), key
    return base, next(iter(suffixes))  # The key without a suffix.
