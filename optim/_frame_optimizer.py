"""What the optimizers made for frames share: which manifolds they take, and fields that rotate a frame."""

from __future__ import annotations

import geoopt
from torch import Tensor

from ..manifolds import FrameManifold, Stiefel, TrainMember
from ._riemannian_optimizer import RiemannianOptimizer


class FrameOptimizer(RiemannianOptimizer):
    """Base of the optimizers whose step is written for frames, XᵀX = I, and for no other manifold.

    Plain parameters beside the frames get torch's own SGD or Adam, as the optimizer's docstring says.
    """

    def _require_manifold(self, manifold: geoopt.Manifold) -> None:
        name = type(self).__name__
        if isinstance(manifold, TrainMember):
            raise TypeError(
                f"{name} moves one frame at a time, and metric='embedded' belongs to all parameters of a weight "
                f"together; use RiemannianAdam or RiemannianSGD, or metric='euclidean'"
            )
        if not isinstance(manifold, FrameManifold):
            raise TypeError(
                f"{name} moves frames on sttp's Stiefel or Grassmann, got a parameter on {type(manifold).__name__}; "
                f"use RiemannianAdam or RiemannianSGD for it"
            )


def rotation_field(manifold: FrameManifold, points: Tensor, vectors: Tensor, gram: Tensor) -> Tensor:
    """Return WX with W = PZXᵀ − XZᵀP, P = I − ½XXᵀ, of vectors Z at points X ``(..., n, p)`` with XᵀX = ``gram``.

    On a frame WX is the orthogonal projection of Z to the tangent space. W is skew also where X is no frame any more,
    so that (X − ηWX)ᵀ(X − ηWX) = XᵀX + η²(WX)ᵀ(WX). On the Grassmann manifold Z is made horizontal first. Four products
    of n × p with p × p, six on Grassmann.
    """
    if manifold.is_quotient:
        vectors = manifold.proju(points, vectors)
    inside = points.mT @ vectors
    half = vectors - points @ inside / 2
    return half @ gram - points @ (inside - gram @ inside / 2).mT


def ambient_gradient(manifold: FrameManifold, points: Tensor, gradients: Tensor) -> Tensor:
    """Return a vector whose tangent projection is the Riemannian gradient, the Euclidean gradient where that is one."""
    if isinstance(manifold, Stiefel) and manifold.metric == "canonical":
        return manifold.egrad2rgrad(points, gradients)
    return gradients
