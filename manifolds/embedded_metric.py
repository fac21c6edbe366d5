"""The metric that the space of matrices induces on a gauge-fixed train: ⟨Ξ, Ξ⟩ = ‖δW‖_F².

In left- and right-orthogonal form with gauge-fixed variations the contributions of the frames are orthogonal to each
other (Holtz, Rohwedder, Schneider 2012, Sec. 4). A frame away from the centre contributes tr(ΞᵀΞM), with the Gram
matrices M of the bonds by recursion from diag(s²) at the centre. At the centre write δX = XΩ + X_⊥K for the frames of U
and V, Ω skew; then with S = diag(s)

    ‖δW‖² = tr(K_UᵀK_U S²) + tr(K_VᵀK_V S²) + ‖Ω_U S + diag(δs) − SΩ_V‖²,

whose last term couples Ω_U,ij with Ω_V,ij alone, and has the eigenvalues (s_i ∓ s_j)² for their sum and difference.
Where s_i = ±s_j, and where M is singular, the metric is degenerate; a damping δ adds δ times the Euclidean metric of
the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .train_shape import FrameShape, TrainShape


@final
@dataclass(frozen=True)
class EmbeddedMetric:
    """The embedded metric at one point, or a batch of points, of a gauge-fixed train.

    Attributes:
        shape: the shape of the train.
        frames: all its frames, in the order of the chain.
        grams: the Gram matrix ``(..., p, p)`` of each frame's bond towards the centre.
        values: the singular values ``(..., r)``.
        damping: δ of shape ``(...)``.
        identity_spectrum: whether s ≡ 1 is fixed, and Ω_U is gauge with it.
    """

    shape: TrainShape
    frames: tuple[Tensor, ...]
    grams: tuple[Tensor, ...]
    values: Tensor
    damping: Tensor
    identity_spectrum: bool

    @staticmethod
    def at(
        shape: TrainShape,
        frames: Sequence[Tensor],
        values: Tensor,
        identity_spectrum: bool,
        relative_damping: float = 0.0,
    ) -> EmbeddedMetric:
        """Return the metric at a point; the damping is ``relative_damping`` · max s²."""
        split = len(shape.row_modes)
        squares = values.square()
        center = squares.diag_embed()
        left = _grams(frames[:split][::-1], shape.frames[:split][::-1], center)[::-1]
        right = _grams(frames[split:], shape.frames[split:], center)
        damping = relative_damping * squares.amax(dim=-1)
        return EmbeddedMetric(shape, tuple(frames), (*left, *right), values, damping, identity_spectrum)

    def inner(
        self, first: Sequence[Tensor], first_values: Tensor, second: Sequence[Tensor], second_values: Tensor
    ) -> Tensor:
        """Return ⟨Ξ, H⟩ of shape ``(...)`` for tangent frames, zero where frames are fixed, and spectra."""
        total = (self._core(first, first_values) * self._core(second, second_values)).sum(dim=(-2, -1))
        for frame, gram, shape, xi, eta in zip(self.frames, self.grams, self.shape.frames, first, second, strict=True):
            total = total + self.damping * (xi * eta).sum(dim=(-2, -1))
            if shape.at_center:
                xi, eta = _normal(frame, xi), _normal(frame, eta)
            total = total + ((xi @ gram) * eta).sum(dim=(-2, -1))
        return total

    def gradient(self, gradients: Sequence[Tensor], values_gradient: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the Riemannian gradient of the Euclidean one: tangent frames, and the spectrum's ``(..., r)``.

        Args:
            gradients: Euclidean gradients of all frames, ``(..., d, p)`` each.
            values_gradient: Euclidean gradient of the singular values, ``(..., r)``.
        """
        result = []
        for frame, gram, gradient in zip(self.frames, self.grams, gradients, strict=True):
            damped = gram + self.damping[..., None, None] * torch.eye(
                gram.shape[-1], dtype=gram.dtype, device=gram.device
            )
            result.append(_divide(_normal(frame, gradient), damped))
        left, right = len(self.shape.row_modes) - 1, len(self.shape.row_modes)
        for position, rotation in zip((left, right), self._rotations(gradients[left], gradients[right]), strict=True):
            result[position] = result[position] + self.frames[position] @ rotation
        return result, torch.zeros_like(values_gradient) if self.identity_spectrum else values_gradient

    def _core(self, tangent: Sequence[Tensor], values: Tensor) -> Tensor:
        """Return Ω_U S + diag(δs) − SΩ_V."""
        split = len(self.shape.row_modes)
        omega_left = self.frames[split - 1].mT @ tangent[split - 1]
        omega_right = self.frames[split].mT @ tangent[split]
        scale = self.values
        return omega_left * scale.unsqueeze(-2) + values.diag_embed() - scale.unsqueeze(-1) * omega_right

    def _rotations(self, left_gradient: Tensor, right_gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return Ω_U and Ω_V of the gradient."""
        split = len(self.shape.row_modes)
        left, right = (
            _twice_skew(self.frames[position].mT @ gradient)
            for position, gradient in ((split - 1, left_gradient), (split, right_gradient))
        )
        s_i, s_j = self.values.unsqueeze(-1), self.values.unsqueeze(-2)
        damping = 2 * self.damping[..., None, None]
        if self.identity_spectrum:  # Ω_U is gauge, and what remains is ‖SΩ_V‖²
            return torch.zeros_like(left), right / (s_i.square() + s_j.square() + damping)
        total = _safe_divide(left + right, (s_i - s_j).square() + damping)
        difference = _safe_divide(left - right, (s_i + s_j).square() + damping)
        return (total + difference) / 2, (total - difference) / 2


def _grams(frames: Sequence[Tensor], shapes: Sequence[FrameShape], center: Tensor) -> list[Tensor]:
    """Return the Gram matrices of bonds, from the centre outwards."""
    grams = [center]
    for frame, shape in zip(frames, shapes, strict=True):
        weighted = frame @ grams[-1]
        if shape.left:
            first, second = (x.unflatten(-2, (shape.outer_rank, shape.mode)).flatten(-2) for x in (weighted, frame))
            grams.append(first @ second.mT)
        else:
            first, second = (x.unflatten(-2, (shape.mode, shape.outer_rank)) for x in (weighted, frame))
            grams.append((first @ second.mT).sum(dim=-3))
    return grams[:-1]


def _normal(frame: Tensor, vector: Tensor) -> Tensor:
    return vector - frame @ (frame.mT @ vector)


def _twice_skew(matrix: Tensor) -> Tensor:
    return matrix - matrix.mT


def _divide(matrix: Tensor, gram: Tensor) -> Tensor:
    """Return matrix · gram⁻¹ for a positive semidefinite gram, zero along its kernel."""
    eigenvalues, vectors = torch.linalg.eigh(gram)
    threshold = eigenvalues.amax(dim=-1, keepdim=True) * eigenvalues.shape[-1] * torch.finfo(gram.dtype).eps
    inverse = torch.where(eigenvalues > threshold, 1 / eigenvalues.clamp(min=torch.finfo(gram.dtype).tiny), 0.0)
    return ((matrix @ vectors) * inverse.unsqueeze(-2)) @ vectors.mT


def _safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, zero where the denominator is zero to rounding."""
    largest = denominator.flatten(-2).amax(dim=-1)[..., None, None]
    positive = denominator > largest * torch.finfo(denominator.dtype).eps
    return torch.where(positive, numerator / torch.where(positive, denominator, 1.0), 0.0)
