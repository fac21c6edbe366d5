"""The metric that the space of matrices induces on a gauge-fixed train: ⟨Ξ, Ξ⟩ = ‖δW‖_F².

With left- and right-orthogonal frames and gauge-fixed variations, the contributions of the frames to δW are orthogonal
to each other (Holtz, Rohwedder, Schneider 2012, Sec. 4). Write the variation of a frame as δX = XΩ + K with XᵀK = 0;
gauge leaves a skew Ω to the two frames at the centre alone. With S = diag(s)

    ‖δW‖² = Σ tr(KᵀKM) + ‖Ω_U S + diag(δs) − SΩ_V‖²,

the sum over all frames, M the Gram matrix of what the frame is multiplied with: S² at the centre, and by recursion from
there outwards. The second term, of the core UᵀδWV, couples Ω_U,ij with Ω_V,ij alone, i < j; in their sum and difference
it is diagonal, with the coefficients (s_i − s_j)²/2 and (s_i + s_j)²/2.

The metric is degenerate where s_i = ±s_j and where M is singular. A damping δ adds δ times the Euclidean metric of
the frames; without one, gradients are those of the pseudo-inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._matrices import identity_like, inverse_cholesky
from ._train_shape import FrameShape, TrainShape


@final
@dataclass(frozen=True)
class EmbeddedMetric:
    """The embedded metric at one point, or a batch of points, of a gauge-fixed train.

    Where the shape is padded, it is the metric of the matrix whose surplus is not cut off.

    Attributes:
        shape: the shape of the train.
        frames: all its frames ``(..., d, p)``, in the order of the chain.
        grams: for each frame the Gram matrix M ``(..., p, p)``.
        values: the singular values ``(..., r)``.
        damping: δ of shape ``(...)``.
        is_definite: whether the damping keeps all of the metric clear of rounding.
        identity_spectrum: whether s ≡ 1 is fixed, which makes Ω_U gauge.
    """

    shape: TrainShape
    frames: tuple[Tensor, ...]
    grams: tuple[Tensor, ...]
    values: Tensor
    damping: Tensor
    is_definite: bool
    identity_spectrum: bool

    @staticmethod
    def at(
        shape: TrainShape,
        frames: Sequence[Tensor],
        values: Tensor,
        identity_spectrum: bool,
        relative_damping: float = 0.0,
    ) -> EmbeddedMetric:
        """Return the metric at a point; δ is ``relative_damping`` · max s².

        Args:
            shape: the shape of the train.
            frames: all its frames ``(..., d, p)``, in the order of the chain.
            values: the singular values ``(..., r)``.
            identity_spectrum: whether they are fixed.
            relative_damping: at least 0, without unit.
        """
        split = len(shape.row_modes)
        squares = values.square()
        center = squares.diag_embed()
        left = _grams(frames[:split][::-1], shape.frames[:split][::-1], center)[::-1]
        right = _grams(frames[split:], shape.frames[split:], center)
        precision = torch.finfo(values.dtype)
        # At W = 0, where max s² is 0, the least positive number keeps the metric definite.
        damping = (relative_damping * squares.amax(dim=-1)).clamp(min=precision.tiny if relative_damping else 0.0)
        # Then δ leaves the Gram matrices, whose norms are at most r·max s², half of the digits at least.
        is_definite = relative_damping >= precision.eps**0.5
        return EmbeddedMetric(shape, tuple(frames), (*left, *right), values, damping, is_definite, identity_spectrum)

    def inner(
        self, first: Sequence[Tensor], first_values: Tensor, second: Sequence[Tensor], second_values: Tensor
    ) -> Tensor:
        """Return ⟨Ξ, H⟩ of shape ``(...)``.

        Args:
            first: tangents Ξ of all frames, ``(..., d, p)`` each; zeros where a frame is fixed.
            first_values: their change of the singular values ``(..., r)``; zeros where these are fixed.
            second: those of H.
            second_values: those of H.
        """
        total = _dot(self._core(first, first_values), self._core(second, second_values))
        for frame, gram, xi, eta in zip(self.frames, self.grams, first, second, strict=True):
            total = total + _dot(_normal(frame, xi) @ gram, eta) + self.damping * _dot(xi, eta)
        return total

    def gradient(self, gradients: Sequence[Tensor], values_gradient: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the Riemannian gradient of a Euclidean one: tangents of all frames, and the spectrum's ``(..., r)``.

        Args:
            gradients: Euclidean gradients of all frames, ``(..., d, p)`` each.
            values_gradient: Euclidean gradient of the singular values, ``(..., r)``; zeros where these are fixed.
        """
        result = self.normal_gradient(gradients)
        for position, rotation in zip(self._center, self._rotations(gradients), strict=True):
            result[position] = result[position] + self.frames[position] @ rotation
        return result, values_gradient

    def normal_gradient(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradient's K of each frame, the part that changes the frame's subspace."""
        triples = zip(self.frames, self.grams, gradients, strict=True)
        return [self._divide(_normal(frame, gradient), gram) for frame, gram, gradient in triples]

    @property
    def _center(self) -> tuple[int, int]:
        """Positions of the frames of U and V at the centre."""
        split = len(self.shape.row_modes)
        return split - 1, split

    def _core(self, tangent: Sequence[Tensor], values: Tensor) -> Tensor:
        """Return UᵀδWV = Ω_U S + diag(δs) − SΩ_V."""
        omega_left, omega_right = (self.frames[position].mT @ tangent[position] for position in self._center)
        return omega_left * self.values.unsqueeze(-2) + values.diag_embed() - self.values.unsqueeze(-1) * omega_right

    def _rotations(self, gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the gradient's Ω_U and Ω_V.

        With A and B twice the skew parts of XᵀG, G the Euclidean gradient of each frame, they solve entry by entry
        (s_i² + s_j² + 2δ)Ω_U − 2s_i s_j Ω_V = A, and with U and V exchanged B; a skew Ω has each entry twice, hence 2δ.
        """
        left, right = (_twice_skew(self.frames[position].mT @ gradients[position]) for position in self._center)
        s_i, s_j = self.values.unsqueeze(-1), self.values.unsqueeze(-2)
        damping = 2 * self.damping[..., None, None]
        if self.identity_spectrum:  # Ω_U is gauge, and what remains is ‖SΩ_V‖²
            return torch.zeros_like(left), right / (s_i.square() + s_j.square() + damping)
        # The pseudo-inverse: what is smaller than the rounding of the metric's largest eigenvalue counts as zero.
        threshold = self.values.square().amax(dim=-1)[..., None, None] * torch.finfo(left.dtype).eps
        total = (left + right) * _inverse_above(threshold, (s_i - s_j).square() + damping)
        difference = (left - right) * _inverse_above(threshold, (s_i + s_j).square() + damping)
        return (total + difference) / 2, (total - difference) / 2

    def _divide(self, matrix: Tensor, gram: Tensor) -> Tensor:
        """Return matrix · (M + δI)⁻¹, by the pseudo-inverse where the sum may be singular."""
        damped = gram + self.damping[..., None, None] * identity_like(gram, gram.shape[-2], gram.shape[-1])
        if self.is_definite:
            factor = inverse_cholesky(damped)
            return (matrix @ factor) @ factor.mT
        eigenvalues, vectors = torch.linalg.eigh(damped)
        rounding = gram.shape[-1] * torch.finfo(gram.dtype).eps
        inverse = _inverse_above(eigenvalues.amax(dim=-1, keepdim=True) * rounding, eigenvalues)
        return ((matrix @ vectors) * inverse.unsqueeze(-2)) @ vectors.mT


def _grams(frames: Sequence[Tensor], shapes: Sequence[FrameShape], center: Tensor) -> list[Tensor]:
    """Return M of each frame of one side, given from the centre outwards: M ← Σ_i C_i M C_iᵀ over the mode's slices."""
    grams = [center]
    for frame, shape in zip(frames[:-1], shapes[:-1], strict=True):
        if shape.left:
            core = frame.unflatten(-2, (shape.outer_rank, shape.mode))
        else:
            core = frame.unflatten(-2, (shape.mode, shape.outer_rank)).transpose(-3, -2)
        weighted = core @ grams[-1].unsqueeze(-3)
        grams.append(weighted.flatten(-2) @ core.flatten(-2).mT)
    return grams


def _normal(frame: Tensor, vector: Tensor) -> Tensor:
    return vector - frame @ (frame.mT @ vector)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=(-2, -1))


def _twice_skew(matrix: Tensor) -> Tensor:
    return matrix - matrix.mT


def _inverse_above(threshold: Tensor, values: Tensor) -> Tensor:
    """Return 1/values, and 0 where they do not exceed the threshold."""
    above = values > threshold
    return torch.where(above, 1 / torch.where(above, values, 1.0), 0.0)
