"""Which product with a weight costs least: with W, with its factors, or with the cores of its train.

Made once, when a layer is made. What a route costs grows linearly with the number of vectors that the weight is applied
to, the batch times the positions in an image or a text, so that a forward compares a few integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Literal, final, get_args

import torch

from ..manifolds import FrameShape, SpectralTensorTrain, require_choice
from ._weight_shape import WeightShape
from ._work import Affine, Blocks, Work, block_lookup, block_product, cheapest_blocks, contraction, matrix_product

Product = Literal["dense", "factors", "cores"]
Forward = Literal["auto", Product]

# Entries of the largest tensor that a route may make, 1 GiB in float32, unless all routes make larger ones.
LARGEST: Final = 2**28
# Numbers of vectors for which the train is cut into blocks: a single one, and powers of 4 up to where factors win.
_NUMBERS: Final = (1, 16, 64, 256, 1024)


@final
@dataclass(frozen=True)
class Route:
    """A way to take the product with a weight.

    Attributes:
        product: ``"dense"`` forms W, ``"factors"`` applies V, s and U, ``"cores"`` applies contractions of a few cores
            each one after another and forms neither.
        fixed: the work that does not depend on the number of vectors, but for that of the frames, equal in all routes.
        each: the work for each vector.
        left: the blocks (start, stop) of stored frames that are contracted, for U.
        right: the same for V.
    """

    product: Product
    fixed: Work
    each: Work
    left: Blocks = ()
    right: Blocks = ()

    def score(self, number: int, formed: bool) -> int:
        """Return what it costs, in operations; without making W, U and V where they are already ``formed``."""
        fixed = 0 if formed and self.product != "cores" else self.fixed.score
        return fixed + number * self.each.score

    def largest(self, number: int) -> int:
        """Return the entries of the largest tensor that it makes."""
        return max(self.fixed.largest, number * self.each.largest)

    def holds(self, number: int) -> bool:
        """Return whether it makes no tensor above :data:`LARGEST`, as far as a compiler knows the number."""
        return not _is_certain(self.largest(number) > LARGEST)


@final
@dataclass(frozen=True)
class Plan:
    """The routes that a layer can take, and which of them it was told to.

    Attributes:
        forward: ``"auto"``, or the product that was asked for.
        routes: all that there are.
    """

    forward: Forward
    routes: tuple[Route, ...]

    def wanted(self, number: int, formed: bool = False) -> Route:
        """Return the cheapest route, of those that were asked for, for a number of vectors."""
        return _cheapest(self._allowed(), number, formed)

    def feasible(self, number: int, formed: bool = False) -> Route:
        """Return the cheapest of all routes that hold, or else the one whose largest tensor is the smallest."""
        holding = [route for route in self.routes if route.holds(number)]
        if not holding:
            return min(self.routes, key=lambda route: route.largest(number))
        return _cheapest(holding, number, formed)

    def _allowed(self) -> tuple[Route, ...]:
        return tuple(route for route in self.routes if self.forward in ("auto", route.product)) or self.routes


def _cheapest(routes: Sequence[Route], number: int, formed: bool) -> Route:
    best = routes[0]  # torch.compile cannot trace min with a key
    for route in routes[1:]:
        if _is_cheaper(route, best, number, formed):
            best = route
    return best


def _is_cheaper(route: Route, other: Route, number: int, formed: bool) -> bool:
    score, other_score = route.score(number, formed), other.score(number, formed)
    if _is_certain(score < other_score):
        return True
    if _is_certain(score >= other_score):
        return False
    return route.each.score < other.each.score  # as for large numbers, where it matters most


def _is_certain(condition: bool) -> bool:
    """Return whether a condition holds; while torch compiles or exports, whether it does for every size there may be.

    To ask more of a size that varies would bind the compiled code to the sizes with the same answer, and so compile
    again for others.
    """
    if not torch.compiler.is_compiling():
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # takes long to import

    return statically_known_true(condition)


def require_forward(forward: str) -> None:
    """Refuse what is no forward.

    Raises:
        ValueError: it is none of the four.
    """
    require_choice("forward", forward, ("auto", *get_args(Product)))


@lru_cache(maxsize=4096)
def linear_plan(train: SpectralTensorTrain, forward: Forward) -> Plan:
    """Return the plan of y = x Wᵀ."""
    rows, columns, rank = train.shape.rows, train.shape.columns, train.shape.center_rank
    left, right = _sides(train)
    each = Work(2 * rows * columns, rows + columns)
    dense = Route("dense", _formed(train) + Work(0, rows * columns), each)
    each = Work(2 * rank * (rows + columns), rows + columns + 2 * rank, rank)
    factors = Route("factors", _factored(train), each)
    routes = [dense, factors]
    for number in _NUMBERS:
        u, u_fixed, u_each = _blocks(left, number, partial(block_product, left, width=train.shape.padded_rows))
        v, v_fixed, v_each = _blocks(right, number, partial(block_product, right, width=train.shape.padded_columns))
        each = u_each + v_each + Work(0, 2 * rows)  # the outputs are transposed at the end
        routes.append(Route("cores", u_fixed + v_fixed, each, u, _mirrored(v, len(train.stored_shapes))))
    return Plan(forward, tuple(dict.fromkeys(routes)))


@lru_cache(maxsize=4096)
def embedding_plan(train: SpectralTensorTrain, forward: Forward) -> Plan:
    """Return the plan of rows of W: looked up there, or in U, or put together from the cores of U."""
    columns, rank = train.shape.columns, train.shape.center_rank
    left, right = _sides(train)
    dense = Route("dense", _formed(train), Work(0, 2 * columns))
    expanded = Work(2 * rank * columns, columns + 2 * rank, rank)
    factors = Route("factors", _factored(train), expanded)
    routes = [dense, factors]
    whole = contraction(right) + Work(0, columns * rank, columns * rank)
    for number in _NUMBERS if left else ():
        u, fixed, each = _blocks(left, number, partial(block_lookup, left))
        routes.append(Route("cores", fixed + whole, each + expanded, u))
    return Plan(forward, tuple(dict.fromkeys(routes)))


@lru_cache(maxsize=4096)
def convolution_plan(train: SpectralTensorTrain, forward: Forward, weight: WeightShape, outputs: int = 1) -> Plan:
    """Return the plan of a convolution, which applies cores as the factors that they make.

    Args:
        train: the train of its weight.
        forward: what was asked for; ``"cores"`` means ``"factors"``.
        weight: the shape of its weight.
        outputs: output positions for each position of the filter, more than 1 in a transposed convolution with strides.
    """
    rows, columns, rank, groups = weight.rows, weight.columns, train.shape.center_rank, weight.groups
    channels = weight.column_channels * groups + rows * outputs
    dense = Route("dense", _formed(train) + Work(0, rows * columns), Work(2 * rows * columns, channels))
    operations = 2 * rank * (groups * columns + outputs * rows)
    each = Work(operations, channels + 2 * outputs * groups * rank, outputs * groups * rank)
    return Plan("factors" if forward == "cores" else forward, (dense, Route("factors", _factored(train), each)))


def _sides(train: SpectralTensorTrain) -> tuple[list[FrameShape], list[FrameShape]]:
    """Return the stored frames of U and of V, each from outside to the centre."""
    shapes = train.stored_shapes
    return [shape for shape in shapes if shape.left], [shape for shape in reversed(shapes) if not shape.left]


def _factored(train: SpectralTensorTrain) -> Work:
    """Return the work of forming U and V, and of moving them."""
    left, right = _sides(train)
    shape = train.shape
    sizes = shape.padded_rows * shape.center_rank, shape.padded_columns * shape.center_rank
    return contraction(left) + contraction(right) + Work(0, sum(sizes), max(sizes))


def _formed(train: SpectralTensorTrain) -> Work:
    """Return the work of forming W."""
    left, right = _sides(train)
    shape = train.shape
    product = matrix_product(shape.rows, shape.center_rank, shape.columns)
    return contraction(left) + contraction(right) + product


def _blocks(frames: list[FrameShape], number: int, cost: Callable[[int, int], Affine]) -> tuple[Blocks, Work, Work]:
    """Return the blocks of one side that suit a number of vectors, with their work once and for each vector."""
    blocks = cheapest_blocks(len(frames), number, cost)
    costs = [cost(*block) for block in blocks]
    return blocks, sum((fixed for fixed, _ in costs), Work()), sum((each for _, each in costs), Work())


def _mirrored(blocks: Blocks, length: int) -> Blocks:
    """Return blocks that were counted from the end of the chain, in its order."""
    return tuple((length - stop, length - start) for start, stop in reversed(blocks))
