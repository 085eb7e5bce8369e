"""The label schemes in one table: encode, loss, decode (Sec. 3.2).

A network's output for one source is a flat vector. A scheme defines its length, its
target, its loss and the position it stands for. To add a scheme, write its code in
`codes`, its loss in `losses`, and one entry here; docs/extending.md shows an example.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from uld_jax.labels import bearings, boxes, codes, expectations, losses, soft

Arrays = tuple[tuple[float, float], ...]  # (x, y) of each in meters.


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How one kind of label is encoded, trained and decoded.

    Shapes below are [C, K, K], C channels over K x K outputs, rows y, columns x;
    with one channel the codes have shape [K, K].

    Attributes:
        encode: (position, room_size, resolution) to the target code.
        activation: Logits to scores, of the meaning of the target code.
        loss: (logits, target) to the loss of one source.
        decode: (scores, room_size) to (x, y) in meters.
        channels: Number of outputs C per cell or grid point.
        extra_points: K - I: 1 where grid points are labeled, 0 where cells are.
        soft: Whether the loss is a cross entropy, whose minimum is the entropy of the
            target.
        expect: (log posterior, resolution) to the logits of the expected code, as in
            `expectations`; None if a posterior does not say what the code is.
        map: For codes that are no map of the room, which have shape [C, K]: (code,
            room_size) to a map, rows y.
    """

    encode: Callable[..., Any]
    activation: Callable[..., Any]
    loss: Callable[..., Any]
    decode: Callable[..., Any]
    channels: int = 1
    extra_points: int = 0
    soft: bool = False
    expect: Callable[..., Any] | None = None
    map: Callable[..., Any] | None = None


def softmax(logits: Float[Array, "K K"]) -> Float[Array, "K K"]:
    """Compute the softmax over all entries of a plane."""
    return jax.nn.softmax(logits.ravel()).reshape(logits.shape)


SCHEMES: dict[str, Scheme] = {
    "one_hot": Scheme(
        encode=codes.encode_one_hot,
        activation=softmax,
        loss=losses.cross_entropy,
        decode=codes.decode_cells,
        soft=True,
        expect=expectations.expected_one_hot,
    ),
    "heat_map": Scheme(
        encode=codes.encode_heat_map,
        activation=jax.nn.sigmoid,
        loss=losses.squared_error,
        decode=codes.decode_cells,
        expect=expectations.expected_heat_map,
    ),
    "refined_grid": Scheme(
        encode=codes.encode_refined_grid,
        activation=jax.nn.sigmoid,
        loss=losses.refined_grid,
        decode=codes.decode_refined_grid,
        channels=3,
        expect=expectations.expected_refined_grid,
    ),
    "uld": Scheme(
        encode=codes.encode_uld,
        activation=softmax,
        loss=losses.cross_entropy,
        decode=codes.decode_wad,
        extra_points=1,
        soft=True,
        expect=expectations.expected_uld,
    ),
    "soft": Scheme(
        encode=soft.encode_soft,
        activation=softmax,
        loss=losses.cross_entropy,
        decode=codes.decode_cells,
        soft=True,
        expect=expectations.expected_soft,
    ),
}
"""The label schemes by name."""
# Those of the paper's tables; "soft" is reference 14's.
PAPER = ("one_hot", "heat_map", "refined_grid", "uld")

_MAP_CELLS = 48  # Per axis, of the map that directions mean.


@functools.cache
def label_azimuths(arrays: Arrays) -> Scheme:
    """Make the scheme of arrays' azimuths, whose code is a distribution for each.

    Reference 15 labels the azimuth of one array by an unbiased distribution. The paper
    does not say how several arrays are joined: the losses of all are summed, and the
    position is where the bearings meet, as in `bearings.triangulate`.

    Args:
        arrays: Positions of the arrays.
    """
    centers = np.asarray(arrays, np.float32)  # Not JAX's: this may be traced.

    def encode(position, room_size, resolution):
        return bearings.encode_bearings(position, centers, resolution)

    def decode(scores, room_size):
        room_size = jnp.asarray(room_size, scores.dtype)
        return bearings.decode_bearings(scores, centers, room_size)

    def draw_map(scores, room_size):
        room_size = jnp.asarray(room_size, scores.dtype)
        return bearings.map_bearings(scores, centers, room_size, _MAP_CELLS)

    return Scheme(
        encode=encode,
        activation=jax.nn.softmax,
        loss=lambda logits, target: losses.cross_entropy(logits, target, 1).sum(),
        decode=decode,
        channels=len(arrays),
        soft=True,
        map=draw_map,
    )


# Those that label what arrays at known positions receive: see `Label`.
OF_ARRAYS = {"azimuth": label_azimuths}
_LEAST_ARRAYS = 2
_LEAST_ON_CIRCLE = 3


def get_scheme(name: str, arrays: Arrays = ()) -> Scheme:
    """Look up a scheme.

    Args:
        name: Its name.
        arrays: Positions of the arrays, for one of `OF_ARRAYS`.

    Raises:
        ValueError: If there is none; the message lists those there are.
    """
    if name in OF_ARRAYS:
        return OF_ARRAYS[name](arrays)
    if name not in SCHEMES:
        known = ", ".join([*SCHEMES, *OF_ARRAYS])
        raise ValueError(f"no label scheme {name!r}; there are {known}")
    return SCHEMES[name]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Label:
    """A scheme at one resolution I: target, loss and decoder of a network's output.

    All methods take one source and flat network outputs; batch them with `jax.vmap`.

    Attributes:
        scheme: Name of the scheme, one of `SCHEMES`.
        resolution: Number of cells I per axis; or of directions around each array.
        arrays: Positions (x, y) in meters of the arrays whose directions are labeled, by
            one of `OF_ARRAYS`; empty for the others.

    Raises:
        ValueError: If there is no such scheme, `resolution` < 1, or the scheme needs
            arrays and has none, or the other way round.

    >>> import jax.numpy as jnp
    >>> import uld_jax
    >>> label = uld_jax.Label("uld", resolution=5)
    >>> label.outputs_per_axis, label.num_outputs
    (6, 36)
    >>> target = label.encode([1.5, 2.0], room_size=[4.0, 5.0])
    >>> logits = jnp.log(target + 1e-9).ravel()
    >>> x, y = label.decode(logits, room_size=[4.0, 5.0])
    >>> print(f"{x:.2f}, {y:.2f}")
    1.50, 2.00
    """

    scheme: str
    resolution: int
    arrays: Arrays = ()

    def __post_init__(self) -> None:
        boxes.check_resolution(self.resolution)
        get_scheme(self.scheme)
        if self.scheme not in OF_ARRAYS:
            if self.arrays:
                raise ValueError(
                    f"label.scheme is {self.scheme!r}, which labels no directions of "
                    f"arrays; choose {', '.join(OF_ARRAYS)}, or another network"
                )
            return
        if len(self.arrays) < _LEAST_ARRAYS:
            raise ValueError(
                f"label.scheme is {self.scheme!r}, with {len(self.arrays)} arrays; it "
                f"needs a network of at least {_LEAST_ARRAYS}, as that of l1_azimuth"
            )
        if self.resolution < _LEAST_ON_CIRCLE:
            raise ValueError(
                f"label.resolution is {self.resolution}; {self.scheme} needs at least "
                f"{_LEAST_ON_CIRCLE} directions"
            )

    @property
    def _scheme(self) -> Scheme:
        return get_scheme(self.scheme, self.arrays)

    @property
    def is_distribution(self) -> bool:
        """Whether scores are probabilities over the room, which sum to one."""
        return self._scheme.soft

    @property
    def outputs_per_axis(self) -> int:
        """Outputs K per axis: I + 1 grid points for ULD, I cells otherwise."""
        return self.resolution + self._scheme.extra_points

    @property
    def num_channels(self) -> int:
        """Outputs per cell or grid point."""
        return self._scheme.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the target code: [K, K], [C, K, K] with channels, [A, I] of arrays."""
        K = self.outputs_per_axis
        if self._scheme.map:
            return (self.num_channels, K)
        return (K, K) if self.num_channels == 1 else (self.num_channels, K, K)

    @property
    def num_outputs(self) -> int:
        """Length D of a network's output for one source."""
        return math.prod(self.shape)

    def encode(
        self, position: ArrayLike, room_size: ArrayLike
    ) -> Float[Array, "*code"]:
        """Encode a position (x, y) in meters, in a room of (length, width) meters.

        Returns:
            The target code, of `shape`.

        Raises:
            ValueError: As `codes.encode_uld`.
        """
        position, room_size = jnp.asarray(position), jnp.asarray(room_size)
        return self._scheme.encode(position, room_size, self.resolution)

    def encode_node(
        self, position: ArrayLike, room_size: ArrayLike
    ) -> Float[Array, " D"]:
        """Encode the position of a node as a flat code, in the label's own scheme.

        Sec. 3.3: input and output keep the same type of code.
        """
        return self.encode(position, room_size).ravel()

    def scores(self, logits: ArrayLike) -> Float[Array, "*code"]:
        """Compute the network's estimate of the target code from its logits [D]."""
        return self._scheme.activation(jnp.asarray(logits).reshape(self.shape))

    def loss(self, logits: ArrayLike, target: ArrayLike) -> Float[Array, ""]:
        """Compute the loss of logits [D] against a target code."""
        logits = jnp.asarray(logits).reshape(self.shape)
        return self._scheme.loss(logits, jnp.asarray(target))

    def loss_floor(self, target: ArrayLike) -> Float[Array, ""]:
        """Compute the least loss any output can reach on this target.

        Loss minus floor is the KL divergence for the schemes with cross entropy.
        """
        return losses.entropy(target) if self._scheme.soft else jnp.zeros(())

    def decode(self, logits: ArrayLike, room_size: ArrayLike) -> Float[Array, "2"]:
        """Decode logits [D] to a position (x, y) in meters.

        Raises:
            ValueError: If a side of the room is not positive (not checked inside `jit`).
        """
        return self._scheme.decode(self.scores(logits), room_size)

    def posterior_resolution(self, least: int) -> int:
        """Compute the resolution F of a posterior that gives this label's code.

        The least multiple of I that has at least so many cells. Labels of cells need
        two intervals a cell, so that a point can lie inside.

        Args:
            least: Least resolution of the posterior.
        """
        times = max(-(-least // self.resolution), 1 + (self._scheme.extra_points == 0))
        return times * self.resolution

    def expect(self, log_posterior: Float[Array, "F F"]) -> Float[Array, " D"]:
        """Compute the logits [D] of the code that a posterior expects.

        Args:
            log_posterior: Log masses at the grid points of a resolution that is a
                multiple of this label's, rows y and columns x; need not be normalized.

        Raises:
            ValueError: If the label has no expectation.
        """
        if self._scheme.expect is None:
            raise ValueError(
                f"label.scheme is {self.scheme!r}, which has no expectation: choose "
                "another network, or add `expect` to its entry in `schemes`"
            )
        return self._scheme.expect(log_posterior, self.resolution).ravel()

    def plane(
        self, code: Float[Array, "*code"], room_size: ArrayLike
    ) -> Float[Array, "K K"]:
        """Select the channel of a code that is a map of the room, rows y.

        Of arrays' directions, compute the map that they mean together.
        """
        if self._scheme.map:
            return self._scheme.map(code, room_size)
        return code if self.num_channels == 1 else code[0]

    def same_class(
        self, code: Float[Array, "*code"], other: Float[Array, "*code"]
    ) -> Bool[Array, ""]:
        """Check whether two codes have the same class, all their arrays if it has any."""
        return (self.classify(code) == self.classify(other)).all()

    def classify(self, code: Float[Array, "*code"]) -> Int[Array, "*A"]:
        """Find the class of a code: the index of its largest entry.

        Of arrays' directions, find that of each array.

        The paper does not say what a correct class is for ULD. We take the
        peak of the joint (the nearest grid point, for a target), as the
        author's published code does in one dimension, and report beside it
        whether the decoded position lies in the right cell.
        """
        if self._scheme.map:
            return jnp.argmax(code, axis=-1)
        return jnp.argmax(code if self.num_channels == 1 else code[0])


def resolution_for(scheme: str, outputs_per_axis: int) -> int:
    """Compute the resolution I at which a scheme has that many outputs per axis."""
    return outputs_per_axis - get_scheme(scheme).extra_points


def is_feasible(scheme: str, resolution: int) -> bool:
    """Check whether a scheme can tell positions apart at a resolution.

    With one cell, one-hot, heat map, refined grid and soft labels have nothing to choose;
    the paper leaves them out ("/" in Tables 2 and 3). ULD has the four corners.
    """
    if scheme in OF_ARRAYS:
        return resolution >= _LEAST_ON_CIRCLE
    return resolution > 1 or get_scheme(scheme).extra_points > 0
