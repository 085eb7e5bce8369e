"""Specification of a network: its class, its settings and its abilities."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

LARGEST = 2**31 - 1  # Of settings that are whole numbers.
_SHARED = {"name", "dtype"}  # Settings that every network has.


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network's class, its settings and what it can do.

    The class is created with `num_nodes`, `num_sources`, `outputs_per_axis` and
    `num_channels`, which data and label give, its own `settings`, `dtype` and `rngs`.
    `uld_jax.networks.build` describes its inputs and outputs.

    Attributes:
        name: Name in the configuration, `model.name`.
        network: The class.
        settings: Its own settings with their defaults, for `config.default(name)`.
        label_parts: Attributes of the network whose parameters stand for cells or grid
            points, so that they are worthless for another label.
        any_label: Whether its parameters are the same for all labels.
        free_settings: Settings that no parameter depends on, besides dropout and type.
        any_nodes: Whether it takes any number of nodes, and a mask of them. Others are
            built for the number of nodes in the data.
        least_nodes: Nodes at different positions that it needs.
        max_sources: Largest number of sources it can find; None for no limit.
        measure: Computes from a batch what the network needs of its signals, whatever
            the label, so that it can be kept: see `evidence.measure`. Its fields are by
            node, `envelopes` by pair of nodes. None if the network needs the signals.
        ranges: Smallest and largest value of settings that are numbers.
        choices: Known values of settings that are names.
        rule: Raises ValueError if the settings do not agree with each other, or with
            the number of nodes, which is None before the data is known.
    """

    name: str
    network: type[nnx.Module]
    settings: Mapping[str, Any]
    label_parts: frozenset[str] = frozenset()
    any_label: bool = False
    free_settings: frozenset[str] = frozenset()
    any_nodes: bool = False
    least_nodes: int = 1
    max_sources: int | None = None
    measure: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    ranges: Mapping[str, tuple[int | float, int | float]] = dataclasses.field(
        default_factory=dict
    )
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    rule: Callable[[Mapping[str, Any], int | None], None] = lambda settings, nodes: None

    def check(
        self,
        settings: Mapping[str, Any],
        num_nodes: int | None = None,
        num_sources: int | None = None,
    ) -> None:
        """Raise unless the network can be built with these settings, for this data.

        The only such check. It costs nothing, so that a run can fail before its data
        is prepared.

        Args:
            settings: The configuration's `model`.
            num_nodes: Nodes of the data; None if not known yet.
            num_sources: Sources of the data; None if not known yet.

        Raises:
            ValueError: The message starts with the setting's name, as in "model.width is 1".
        """
        own = settings.keys() - _SHARED
        if own != self.settings.keys():
            wrong = ", ".join(sorted(own ^ self.settings.keys()))
            raise ValueError(
                f"model.name is {self.name!r}, whose settings differ in {wrong}; choose the "
                f"network in the experiment's file, by config.default({self.name!r})"
            )
        for key, known in self.choices.items():
            if settings[key] not in known:
                raise ValueError(
                    f"model.{key} is {settings[key]!r}; there are {', '.join(known)}"
                )
        for key, (least, most) in self.ranges.items():
            if not least <= settings[key] <= most:
                raise ValueError(
                    f"model.{key} is {settings[key]}; it must be from {least} to {most}"
                )
        if num_sources is not None and not 1 <= num_sources <= (
            self.max_sources or num_sources
        ):
            raise ValueError(
                f"model.name is {self.name!r}, which cannot find {num_sources} sources"
            )
        if num_nodes is not None and num_nodes < self.least_nodes:
            raise ValueError(
                f"model.name is {self.name!r}, which needs at least {self.least_nodes} "
                f"nodes, not {num_nodes}"
            )
        self.rule(settings, num_nodes)
