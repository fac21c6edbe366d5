"""The frame manifolds that drive all shared tests: those of `sttp check`, with what tests alone need."""

from collections.abc import Callable
from dataclasses import dataclass

import geoopt
import torch
from hypothesis import settings
from hypothesis import strategies as st

from sttp.manifolds import FrameManifold, Grassmann
from sttp.manifolds.checks import CheckedManifold, known_manifolds

torch.set_num_threads(1)

# Drawn shapes are few and the same in every run: a failure must be there again when it is looked for.
few = settings(max_examples=6, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Row:
    """A manifold and what is known of it.

    Attributes:
        name: for the test's name.
        manifold: the manifold.
        dimension: its dimension for n and p.
        second_order: whether the retraction agrees with the exponential map of the metric to second order.
        is_isometric: whether the transport along the retraction keeps inner products.
        is_quotient: whether points that differ by X → XQ are the same.
    """

    name: str
    manifold: geoopt.Manifold
    dimension: Callable[[int, int], int]
    second_order: bool
    is_isometric: bool
    is_quotient: bool = False


def _row(entry: CheckedManifold) -> Row:
    is_quotient = isinstance(entry.manifold, Grassmann)
    return Row(
        name=entry.name.removeprefix("stiefel-"),
        manifold=entry.manifold,
        dimension=(lambda n, p: p * (n - p)) if is_quotient else (lambda n, p: n * p - p * (p + 1) // 2),
        second_order=entry.second_order,
        is_isometric=entry.isometric,
        is_quotient=is_quotient,
    )


ROWS = tuple(_row(entry) for entry in known_manifolds() if isinstance(entry.manifold, FrameManifold))
EUCLIDEAN = next(row for row in ROWS if row.name == "euclidean-qr")
CANONICAL = next(row for row in ROWS if row.name == "canonical-exponential-isometric")
GRASSMANN = next(row for row in ROWS if row.name == "grassmann-exponential-isometric")
NAMES = [row.name for row in ROWS]

# p = 1, p = n, n = 1, 2p > n, 2p < n, an empty batch dimension and two batch dimensions.
SHAPES = ((1, 1), (5, 1), (4, 4), (5, 3), (9, 4), (3, 6, 2), (2, 1, 7, 5))


@st.composite
def frame_shapes(draw: st.DrawFn) -> tuple[int, ...]:
    """Draw (..., n, p) with n ≥ p ≥ 1 and up to two batch dimensions."""
    if draw(st.booleans()):
        return draw(st.sampled_from(SHAPES))
    p = draw(st.integers(1, 6))
    n = draw(st.integers(p, 14))
    return (*draw(st.lists(st.integers(1, 3), max_size=2)), n, p)


def tolerance(dtype: torch.dtype, float64: float = 1e-11, float32: float = 2e-4) -> float:
    """Return the tolerance that goes with a precision."""
    return float64 if dtype == torch.float64 else float32


def draw_point(row: Row, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Return a random point as a plain tensor."""
    generator = torch.Generator().manual_seed(seed)
    return row.manifold.random(*shape, dtype=dtype, generator=generator).as_subclass(torch.Tensor).detach()


def draw_ambient(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 1) -> torch.Tensor:
    """Return a random matrix."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def draw_tangent(row: Row, point: torch.Tensor, seed: int = 1, norm: float | None = None) -> torch.Tensor:
    """Return a random tangent vector, of a given spectral norm if there is one."""
    tangent = row.manifold.proju(point, draw_ambient(point.shape, point.dtype, seed))
    if norm is None:
        return tangent
    size = torch.linalg.matrix_norm(tangent, ord=2)
    # Where the manifold is made of isolated points the projection leaves rounding alone, which is no tangent vector.
    factor = torch.where(size > 1e-4, norm / size, 0.0)
    return row.manifold.proju(point, tangent * factor[..., None, None])
