"""The parameters of a problem as one point on the product of their manifolds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import geoopt
import torch
from torch import Tensor, nn

from ...manifolds import EmbeddedTrain, FrameManifold, described, require_current, require_precision
from .._kinds import Kinds
from .._options import require_parameter
from ._blocks import Block, EuclideanBlock, FrameBlock, ManifoldBlock, TrainBlock


@final
class ParameterSpace:
    """The product of the manifolds of some parameters; points and vectors are flat tensors ``(..., N)``.

    Parameters of one manifold and shape are neighbours in a vector, so that one call moves them all; so are the
    parameters of one weight under the embedded metric, and all plain ones.

    Args:
        parameters: ``geoopt.ManifoldParameter`` and plain parameters, of one precision and on one device.

    Raises:
        TypeError: a parameter is no tensor, or neither float32 nor float64.
        ValueError: there is none, one of them twice, or one that does not require a gradient; they differ in precision
            or device; or parameters of a weight under the embedded metric are missing.

    Attributes:
        size: number N of entries.
        dimension: an upper bound of the dimension, which is N where a manifold does not tell.
        extent: a length typical of the space.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        if isinstance(parameters, Tensor | nn.Module) or not isinstance(parameters, Iterable):
            raise TypeError(f"parameters must be a list of tensors, got {described(parameters)}; give it in a list")
        self.parameters = list(parameters)
        _require_valid(self.parameters)
        members: list[list[int]] = []
        self._blocks: list[Block] = []
        for block, indices in _blocks(self.parameters):
            self._blocks.append(block)
            members.append(indices)
        self._order = [index for indices in members for index in indices]
        self._shapes = [self.parameters[index].shape for index in self._order]
        self._sizes = [shape.numel() for shape in self._shapes]
        self._block_sizes = [sum(shape.numel() for shape in block.shapes) for block in self._blocks]
        self.size = sum(self._sizes)
        self.dimension = sum(map(_dimension, self.parameters))
        self.extent = sum(block.extent**2 for block in self._blocks) ** 0.5

    # --- between parameters and vectors ---

    def read(self) -> Tensor:
        """Return the point at which the parameters are."""
        return self.flat([parameter.detach().clone() for parameter in self.parameters])

    @torch.no_grad()
    def write(self, point: Tensor) -> None:
        """Move the parameters to a point."""
        torch._foreach_copy_(self.parameters, self.tensors(point))

    def flat(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Return the vector of one tensor for each parameter, in the order of the parameters; None stands for zeros."""
        pieces = []
        for index in self._order:
            tensor = tensors[index]
            like = self.parameters[index]
            piece = like.new_zeros(like.shape) if tensor is None else tensor
            pieces.append(piece.as_subclass(Tensor).reshape(-1))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def tensors(self, vector: Tensor) -> list[Tensor]:
        """Return one tensor for each parameter, in the order of the parameters: the inverse of :meth:`flat`."""
        pieces = vector.split(self._sizes, dim=-1) if len(self._sizes) > 1 else (vector,)
        result = list(pieces)
        for index, piece, shape in zip(self._order, pieces, self._shapes, strict=True):
            result[index] = piece.reshape(vector.shape[:-1] + shape)
        return result

    # --- geometry: see Block ---

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ⟨u, v⟩ at ``x``, of shape ``(...)``."""
        terms = [block.inner(*parts) for block, *parts in self._parts(x, u, v)]
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum(dim=0)

    def norm(self, x: Tensor, u: Tensor) -> float:
        """Return ‖u‖ at ``x``."""
        return max(0.0, float(self.inner(x, u, u))) ** 0.5

    def project(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the projection of ``u`` to the tangent space at ``x``."""
        return self._join(block.project(*parts) for block, *parts in self._parts(x, u))

    def gradient(self, x: Tensor, euclidean: Tensor) -> Tensor:
        """Return the Riemannian gradient of a Euclidean one."""
        return self._join(block.gradient(*parts) for block, *parts in self._parts(x, euclidean))

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of ``u`` at ``x``."""
        return self._join(block.retract(*parts) for block, *parts in self._parts(x, u))

    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        """Return ``vectors`` (..., N), carried from ``x`` along ``step`` to its ``end``."""
        return self._join(block.transport(*parts) for block, *parts in self._parts(x, step, end, vectors))

    def velocity_product(self, x: Tensor, u: Tensor, length: float, end: Tensor, euclidean: Tensor) -> float:
        """Return ⟨G, d/dt R(tu)⟩ at t = ``length``: the derivative of a cost with the Euclidean gradient G there."""
        parts = self._parts(x, u, end, euclidean)
        return float(sum(block.velocity_product(x, u, length, end, slope) for block, x, u, end, slope in parts))

    def hessian(self, x: Tensor, euclidean: Tensor, derivative: Tensor, u: Tensor) -> Tensor:
        """Return Hess f[u] from the Euclidean gradient G of f and its derivative D G[u].

        The bilinear form ⟨Hess f[u], H⟩ = tr(DG[u]ᵀH) + ⟨G, A(u, H)⟩, A the second derivative of geodesics, becomes a
        tangent vector as a Euclidean gradient does.
        """
        parts = self._parts(x, euclidean, derivative, u)
        return self._join(block.gradient(x, d + block.curvature(x, g, u)) for block, x, g, d, u in parts)

    def _split(self, vector: Tensor) -> Sequence[Tensor]:
        return (vector,) if len(self._blocks) == 1 else vector.split(self._block_sizes, dim=-1)

    def _parts(self, *vectors: Tensor) -> Iterable[tuple[Any, ...]]:
        return zip(self._blocks, *map(self._split, vectors), strict=True)

    @staticmethod
    def _join(parts: Iterable[Tensor]) -> Tensor:
        pieces = list(parts)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)


def _require_valid(parameters: list[Tensor]) -> None:
    if not parameters:
        raise ValueError("parameters must be at least one tensor, got none; an exhausted generator is empty too")
    for parameter in parameters:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"parameters must be tensors, got {described(parameter)}; pass list(m.parameters())")
        require_parameter(parameter)
        require_precision(parameter.dtype, "parameters")
        require_current(parameter)
        if not (parameter.is_leaf and parameter.requires_grad):
            raise ValueError(
                f"parameters must be leaf tensors that require a gradient, got one of shape {tuple(parameter.shape)} "
                f"that does not; leave it out, or call requires_grad_() on it"
            )
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError("parameters must be different tensors, got one of them twice; leave the second out")
    kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise ValueError(f"parameters must have one precision and one device, got {found}; move them with .to(…)")


def _blocks(parameters: list[Tensor]) -> list[tuple[Block, list[int]]]:
    """Return blocks, each with the indices of its parameters."""
    place = {id(parameter): index for index, parameter in enumerate(parameters)}
    plain, batches = Kinds().sort(parameters)
    # geoopt's own manifolds compare by identity: two objects of one kind make two blocks.
    stacks = [batch for batch in batches if not isinstance(batch.manifold, EmbeddedTrain | geoopt.Euclidean)]
    flat = [batch for batch in batches if isinstance(batch.manifold, geoopt.Euclidean)]
    trains = [batch for batch in batches if isinstance(batch.manifold, EmbeddedTrain)]
    euclidean = sorted(place[id(p)] for p in (*plain, *(p for batch in flat for (p,) in batch.members)))
    result: list[tuple[Block, list[int]]] = []
    if euclidean:
        result.append((EuclideanBlock([parameters[index].shape for index in euclidean]), euclidean))
    for batch in stacks:
        indices = [place[id(parameter)] for (parameter,) in batch.members]
        kind = FrameBlock if isinstance(batch.manifold, FrameManifold) else ManifoldBlock
        result.append((kind(batch.manifold, parameters[indices[0]].shape, len(indices)), indices))
    for member in (member for batch in trains for member in batch.members):
        whole = member[0].manifold.whole  # type: ignore[attr-defined]
        result.append((TrainBlock(whole), [place[id(parameter)] for parameter in member]))
    return result


def _dimension(parameter: Tensor) -> int:
    manifold = getattr(parameter, "manifold", None)
    if isinstance(manifold, FrameManifold):
        return manifold.dimension(parameter.shape) * parameter.shape[:-2].numel()
    return parameter.numel()
