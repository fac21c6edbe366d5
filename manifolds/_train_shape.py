"""The shape of a spectral tensor train: modes, ranks, frames and degrees of freedom. Plain integers, no tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

from ._require import require_flag, require_instance, require_integer


@final
@dataclass(frozen=True)
class FrameShape:
    """One core of the train as a frame of shape ``(rows, columns)``.

    Attributes:
        left: whether the core stands left of the centre (a factor of U) or right of it (a factor of V).
        outer_rank: rank of the bond that points away from the centre.
        mode: size of the core's mode.
        columns: rank of the bond that points to the centre, the number of the frame's columns.
        at_center: whether this bond is the centre, which carries the singular values.

    Raises:
        TypeError: a size is no integer, or a side neither True nor False.
        ValueError: a size is below 1.
    """

    left: bool
    outer_rank: int
    mode: int
    columns: int
    at_center: bool

    def __post_init__(self) -> None:
        require_flag("left", self.left)
        require_flag("at_center", self.at_center)
        for name in ("outer_rank", "mode", "columns"):
            require_integer(name, getattr(self, name), least=1)

    @property
    def rows(self) -> int:
        """Number of the frame's rows, (outer rank)·(mode) on the left and (mode)·(outer rank) on the right."""
        return self.outer_rank * self.mode

    def degrees_of_freedom(self, gauge_fixed: bool) -> int:
        """Return p(d − p), a subspace's, if the frame's own basis is gauge, else dp − p(p+1)/2 (Prop. 2)."""
        require_flag("gauge_fixed", gauge_fixed)
        if gauge_fixed:
            return self.columns * (self.rows - self.columns)
        return self.rows * self.columns - self.columns * (self.columns + 1) // 2


@final
@dataclass(frozen=True)
class TrainShape:
    """The modes and ranks of the tensor train of a matrix of shape ``(rows, columns)`` (Obukhov et al. 2021, Sec. 3.3).

    The matrix, reshaped row-major to n_1 × … × n_D × m_1 × … × m_E, is a train over the chain of modes
    q = (n_1 … n_D, m_1 … m_E) with ranks R_k = min(rank, q_1⋯q_k, q_{k+1}⋯q_last) (Eq. 3); the bond after n_D is the
    centre. Bounds may also be given for each bond: R_k is then the largest number under its bound for which all
    R_k ≤ R_{k−1} q_k and R_{k−1} ≤ q_k R_k, without which a frame would be wider than tall.

    Modes may multiply to more than the dimension where ``pad`` is set: the surplus rows and columns are cut off the
    contracted matrix. With one mode each, ``TrainShape((d_out,), (d_in,), rank)``, it is the plain SVD form.

    Attributes:
        row_modes: n_1 … n_D.
        column_modes: m_1 … m_E.
        rank: the bound on all ranks, or a bound for each inner bond in the order of the chain.
        rows: number of the matrix's rows, by default the product of its modes.
        columns: number of the matrix's columns, by default the product of its modes.
        pad: allow modes that multiply to more than the dimension.

    Raises:
        TypeError: a rank, mode or dimension is not an integer.
        ValueError: a rank, mode or dimension is below 1, or modes do not multiply to the dimension, or there are
            more or fewer bounds than bonds.
    """

    row_modes: tuple[int, ...]
    column_modes: tuple[int, ...]
    rank: int | tuple[int, ...]
    rows: int = 0
    columns: int = 0
    pad: bool = False

    def __post_init__(self) -> None:
        require_rank(self.rank)
        require_flag("pad", self.pad)
        for name, dimension in (("row", "rows"), ("column", "columns")):
            modes = getattr(self, f"{name}_modes")
            if not isinstance(modes, tuple | list) or not modes or not all(type(mode) is int for mode in modes):
                raise TypeError(f"{name}_modes must be a tuple of at least one integer, got {modes!r}")
            object.__setattr__(self, f"{name}_modes", tuple(modes))
            product = math.prod(modes)
            require_integer(dimension, getattr(self, dimension))
            size = getattr(self, dimension) or product
            if min(modes) < 1 or not 1 <= size <= product or (product > size and not self.pad):
                raise ValueError(
                    f"{name}_modes must be positive and multiply to the {size} {dimension} of the matrix, got {modes}, "
                    f"whose product is {product}; mend them"
                    + (", or pass pad=True to cut off the surplus" if product > size else "")
                )
            object.__setattr__(self, dimension, size)
        if not isinstance(self.rank, int):
            object.__setattr__(self, "rank", tuple(self.rank))
            bonds = len(self.row_modes) + len(self.column_modes) - 1
            if len(self.bounds) != bonds:
                raise ValueError(
                    f"rank must be an integer or one for each of the {bonds} bonds of the modes {self.row_modes} and "
                    f"{self.column_modes}, got {len(self.bounds)}: {self.rank}; give {bonds}"
                )

    @property
    def bounds(self) -> tuple[int, ...]:
        """The bound on the rank of each inner bond."""
        if isinstance(self.rank, int):
            return (self.rank,) * (len(self.row_modes) + len(self.column_modes) - 1)
        return self.rank

    @property
    def padded_rows(self) -> int:
        """Number of rows before the surplus is cut off."""
        return math.prod(self.row_modes)

    @property
    def padded_columns(self) -> int:
        """Number of columns before the surplus is cut off."""
        return math.prod(self.column_modes)

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """R_0 … R_last of Eq. 3, with R_0 = R_last = 1."""
        modes = self.row_modes + self.column_modes
        ranks = [1, *self.bounds, 1]
        for k, mode in enumerate(modes):
            ranks[k + 1] = min(ranks[k + 1], ranks[k] * mode)
        for k, mode in reversed(list(enumerate(modes))):
            ranks[k] = min(ranks[k], mode * ranks[k + 1])
        return tuple(ranks)

    @property
    def center_rank(self) -> int:
        """Number r of singular values."""
        return self.ranks[len(self.row_modes)]

    @cached_property
    def frames(self) -> tuple[FrameShape, ...]:
        """Shapes of all frames, in the order of the chain."""
        center = len(self.row_modes)
        left = (
            FrameShape(True, self.ranks[k], mode, self.ranks[k + 1], k + 1 == center)
            for k, mode in enumerate(self.row_modes)
        )
        right = (
            FrameShape(False, self.ranks[k + 1], mode, self.ranks[k], k == center)
            for k, mode in enumerate(self.column_modes, center)
        )
        return (*left, *right)

    def is_gauge_fixed(self, frame: FrameShape, identity_spectrum: bool) -> bool:
        """Return whether the frame's own basis is gauge: away from the centre, and of U where all s_i = 1."""
        require_instance("frame", frame, FrameShape, "a FrameShape")
        require_flag("identity_spectrum", identity_spectrum)
        return not frame.at_center or (identity_spectrum and frame.left)

    def degrees_of_freedom(self, identity_spectrum: bool = False) -> int:
        """Return DOF(W), the dimension of the set of weights (Eq. 9): the frames' without gauge, and the spectrum's."""
        require_flag("identity_spectrum", identity_spectrum)
        frames = sum(frame.degrees_of_freedom(self.is_gauge_fixed(frame, identity_spectrum)) for frame in self.frames)
        return frames + (0 if identity_spectrum else self.center_rank)


def require_rank(rank: object, name: str = "rank") -> None:
    """Refuse what is neither a bound on ranks nor a sequence of bounds, one for each bond.

    Raises:
        TypeError: a bound is not an integer.
        ValueError: a bound is below 1, or there is none.
    """
    if isinstance(rank, tuple | list):
        if not rank:
            raise ValueError(f"{name} must have a bound for each bond, got {rank!r}; give an integer for all")
        for bound in rank:
            require_integer(f"each bound of {name}", bound, least=1)
    else:
        require_integer(name, rank, least=1)
