"""MPO fine-tuning: weights as matrix product operators (Liu et al., ACL 2021, arXiv 2106.02205)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, cast, final, get_args

import torch
from torch import Tensor, nn

from ..layers import manifold_parameter
from ..manifolds import (
    Grassmann,
    Riemannian,
    Stiefel,
    require_choice,
    require_instance,
    require_integer,
    require_rank,
    without_autocast,
)
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Additive, Change, Product, cast_back, cast_like
from ._operator import OperatorShape, Truncation, operator_modes
from ._register import register_adapter
from ._since_start import AsPublished, FromBase, RandomStart

Train = Literal["auxiliary", "center", "all"]


@final
class Operator(nn.Module):
    """The cores of an operator, of which some are trained: as plain tensors, or all but the middle one as frames.

    Frames are stored as matrices ``(R_{k−1} q_k, R_k)`` before the middle core and ``(q_k R_k, R_{k−1})`` behind it.
    """

    def __init__(self, shape: OperatorShape, matrix: Tensor, train: Train, frames: Riemannian | None) -> None:
        super().__init__()
        self.shape, self.train_cores, self.frames = shape, train, frames
        cores = shape.cores(matrix.detach().to(torch.float64))
        for k, core in enumerate(cores):
            values = self._as_matrix(k, core).to(matrix.dtype).contiguous()
            if self._is_trained(k):
                self.register_parameter(f"core_{k}", manifold_parameter(values, self._manifold(k)))
            else:
                self.register_buffer(f"core_{k}", values)

    def matrix(self) -> Tensor:
        """Return the operator as a matrix ``(rows, columns)``, out of autocast's reach."""
        ranks, modes = self.shape.ranks, self.shape.modes
        cores = []
        for k, mode in enumerate(modes):
            stored: Tensor = getattr(self, f"core_{k}")
            stored = stored.mT if k > self.shape.center else stored
            cores.append(stored.reshape(ranks[k], mode, ranks[k + 1]))
        with without_autocast(cores[0]):
            return self.shape.contracted(cores)

    @property
    def dimension(self) -> int:
        """Dimension of the set of operators that the trained cores reach, for general values of the others."""
        shape = self.shape
        ranks, sizes, center = shape.ranks, shape.sizes, shape.center
        if self.train_cores == "center":
            found = sizes[center]
        elif self.train_cores == "all":
            found = sum(sizes) - sum(rank * rank for rank in ranks[1:-1])
        else:
            beside = [k for k in range(len(sizes)) if k != center]
            inner = [rank for k, rank in enumerate(ranks) if 0 < k < len(sizes) and k not in (center, center + 1)]
            found = sum(sizes[k] for k in beside)
            if self.frames is None:
                found -= sum(rank * rank for rank in inner)
                if center + 1 < len(sizes):  # of two cores the second is the middle one, and has one bond
                    found -= _stabilizer(ranks[center], ranks[center + 1], shape.modes[center])
            else:
                columns = [ranks[k + 1] if k < center else ranks[k] for k in beside]
                found -= sum(p * (p + 1) // 2 for p in columns) + sum(rank * (rank - 1) // 2 for rank in inner)
        return min(found, shape.rows * shape.columns)

    def _as_matrix(self, k: int, core: Tensor) -> Tensor:
        return core.flatten(1).mT if k > self.shape.center else core.flatten(0, 1)

    def _is_trained(self, k: int) -> bool:
        if k == self.shape.center:
            return self.train_cores != "auxiliary"
        if self.train_cores == "center":
            return False
        return not (isinstance(self._manifold(k), Grassmann) and self._is_square(k))  # which has no freedom

    def _is_square(self, k: int) -> bool:
        before, behind = self.shape.ranks[k], self.shape.ranks[k + 1]
        mode = self.shape.modes[k]
        return before * mode == behind if k < self.shape.center else mode * behind == before

    def _manifold(self, k: int) -> Stiefel | Grassmann | None:
        """Return that of a core: where its basis is gauge and the geometry not redundant, Grassmann."""
        center = self.shape.center
        if self.frames is None or k == center:
            return None
        is_beside_frozen = self.train_cores == "auxiliary" and k in (center - 1, center + 1)
        if self.frames.redundant or is_beside_frozen:
            return Stiefel(self.frames.metric, self.frames.retraction)  # type: ignore[arg-type]
        return Grassmann(self.frames.retraction)


@final
class OperatorWeight(Change):
    """W(θ) is the operator, whatever W0 was."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator

    @property
    def dimension(self) -> int:
        """That of the operators."""
        return self.operator.dimension

    def merged(self, weight: Tensor) -> Tensor:
        """Return the operator; the weight that is given counts by its precision alone."""
        return self.operator.matrix().to(weight.dtype)

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return x Wᵀ, without the base."""
        return cast_back(cast_like(vectors, self) @ self.operator.matrix().mT, vectors)


@final
class OperatorChange(Additive):
    """ΔW(θ) = O(θ) − O(θ_0), O the operator. O(θ_0) is made of W0 anew wherever it is needed, and is not saved."""

    start: Tensor

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator
        self.register_buffer("start", operator.matrix().detach(), persistent=False)

    @property
    def dimension(self) -> int:
        """That of the operators."""
        return self.operator.dimension

    def update(self) -> Tensor:
        """Return O(θ) − O(θ_0)."""
        return self.operator.matrix() - self.start

    def product(self, vectors: Tensor) -> Tensor:
        """Return x ΔWᵀ."""
        return vectors @ self.update().mT


@register_adapter
@final
@dataclass(frozen=True)
class MPO(WeightAdapter):
    """W0 as a train of cores with a row and a column mode each, of which some are trained.

    The norm is in the middle core, "central" in the source, whose other cores, "auxiliary", are trained. At the start
    they are orthogonal: the source's split of each bond's singular values between its two cores, by λ^(−1/2), is
    infinite where W0 lacks rank. Full bonds hold W0 to rounding, in more numbers than W0 has. The source trains biases
    and normalizations, too; let them require gradients.

    Attributes:
        rank: bound on the bonds, one or one for each; None for full ones.
        modes: (i_1 … i_n, j_1 … j_n), whose products are the rows and columns or, where W0 is to be padded with zeros,
            more. By default five of each, or fewer where a size has fewer prime factors.
        train: ``"auxiliary"``, as published, ``"center"`` or ``"all"``.
        frames: None for free cores, as published. ``Riemannian(redundant=False)`` keeps all but the middle one
            orthogonal, without gauge freedom: beside a frozen middle core frames are on Stiefel, and so at full bonds
            can only rotate; all others are on Grassmann. ``Riemannian()`` has all on Stiefel.
        start: ``FromBase()``: W0 + O(θ) − O(θ_0), which is W0 at the start for any bonds and keeps O(θ_0) in memory.
            ``AsPublished()``: the operator takes the place of W0, which at truncated bonds it is not.

    Raises:
        TypeError: an attribute is not of its kind.
        ValueError: a bound or mode is below 1, the two tuples of modes are not equally long, or the metric is embedded.
    """

    rank: int | tuple[int, ...] | None = None
    modes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    train: Train = "auxiliary"
    frames: Riemannian | None = None
    start: RandomStart = field(default_factory=FromBase)

    def __post_init__(self) -> None:
        if self.rank is not None:
            require_rank(self.rank)
        if self.modes is not None:
            _require_modes(self.modes)
        require_choice("train", self.train, get_args(Train))
        if self.frames is not None:
            require_instance("frames", self.frames, Riemannian, "Riemannian(redundant=False), or None for free cores")
            if self.frames.embedded is not None:
                raise ValueError("frames must have metric='euclidean' or 'canonical' in an MPO, got 'embedded'")
        require_instance("start", self.start, RandomStart, "FromBase() or AsPublished()")

    @property
    def defect(self) -> str | None:
        """Why truncated bonds in the place of W0 are not W0."""
        is_cut = isinstance(self.start, AsPublished) and self.rank is not None
        return f"bonds are at most {self.rank}" if is_cut else None

    def shape(self, rows: int, columns: int) -> OperatorShape:
        """Return the shape of the operator of a weight: its modes, bonds and numbers.

        Raises:
            ValueError: the modes do not fit; the message says which do.
        """
        default = operator_modes(rows, columns)
        chosen = default if self.modes is None else self.modes
        for modes, size, fitting, word in zip(chosen, (rows, columns), default, ("row", "column"), strict=True):
            product = math.prod(modes)
            if product < size or product - size >= product // modes[0]:
                raise ValueError(
                    f"modes must multiply to the {size} {word}s, or to more by less than one of their first, got "
                    f"{modes}, whose product is {product}; take {fitting}"
                )
        return OperatorShape(*chosen, self.rank, rows, columns)

    def truncation(self, matrix: Tensor) -> Truncation:
        """Return what the bonds leave of a matrix, and the bounds of it: nothing where they are full."""
        return self.shape(*matrix.shape).truncation(matrix)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight; nothing is drawn."""
        operator = Operator(self.shape(weight.rows, weight.columns), weight.matrix, self.train, self.frames)
        return OperatorWeight(operator) if isinstance(self.start, AsPublished) else OperatorChange(operator)


def _require_modes(modes: object) -> None:
    cure = "a pair (row modes, column modes) of tuples, or None"
    require_instance("modes", modes, tuple, cure)
    pair = cast(tuple[object, ...], modes)
    for side in pair:
        require_instance("each side of modes", side, tuple, cure)
        for mode in cast(tuple[object, ...], side):
            require_integer("each mode of modes", mode, least=1)
    if len(pair) != 2 or len(pair[0]) != len(pair[1]) or len(pair[0]) < 2:  # type: ignore[arg-type]
        raise ValueError(f"modes must be a pair (row modes, column modes) of equally many, at least two, got {modes}")


def _stabilizer(a: int, b: int, mode: int) -> int:
    """Return the dimension of the pairs (A, B) with A C + C B = 0 for a general core, ``mode`` matrices a x b.

    They are the endomorphisms of a general representation of the quiver with two vertices and ``mode`` arrows: as
    many as a² + b² − mode·a·b where that is positive, else the multiples of the identity, and n for two matrices n x n
    (Kac 1980).
    """
    form = a * a + b * b - mode * a * b
    return a if form == 0 else max(form, 1)
