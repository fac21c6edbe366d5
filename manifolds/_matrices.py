"""Batched matrix functions that the manifolds share."""

from typing import Final

import torch
from torch import Tensor

from ._require import require_frame_shape, require_matrices, require_precision, require_source

# Size under which a triangular matrix is inverted by LAPACK: the fastest of 8, 16, 32, 64 on a CPU for 127 of size 64.
_BLOCK: Final = 16
# Size and number of entries under which a whole batch goes to LAPACK: a few matrices are not worth more kernels.
_SINGLE: Final = 64
_FEW: Final = 3 * 64 * 64


def symmetric_part(matrix: Tensor) -> Tensor:
    """Return (A + Aᵀ)/2 for matrices of shape ``(..., p, p)``."""
    _require_square(matrix)
    return (matrix + matrix.mT) / 2


def identity_like(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Return the truncated identity ``(rows, columns)`` with the dtype and device of ``matrix``."""
    return torch.eye(rows, columns, dtype=matrix.dtype, device=matrix.device)


def orthogonality_error(frame: Tensor) -> Tensor:
    """Return ‖XᵀX − I‖_F, of shape ``(...)``, for frames ``(..., n, p)``, computed in float64."""
    require_matrices("frame", frame)
    frame = frame.detach().to(torch.float64)
    gram = frame.mT @ frame
    return torch.linalg.matrix_norm(gram - identity_like(gram, gram.shape[-2], gram.shape[-1]))


def newton_schulz_polish(frame: Tensor) -> Tensor:
    """Return X(3I − XᵀX)/2, one cubic Newton–Schulz step towards the nearest frame, for ``(..., n, p)``.

    An error ‖XᵀX − I‖₂ = ε < 1 becomes ¾ε² + O(ε³); two matrix products.
    """
    require_matrices("frame", frame)
    return subtract_product(1.5 * frame, frame, frame.mT @ frame, 0.5)


def cholesky_qr(matrix: Tensor, passes: int = 2) -> Tensor:
    """Return the orthogonal factor of the QR decomposition with positive diagonal, by Cholesky-QR.

    The R factor of Z is the transposed Cholesky factor of ZᵀZ: products of a whole batch at once, where a Householder
    QR goes column by column. One pass leaves an error u·κ(Z)², u the unit roundoff, which is rounding alone where
    κ(Z) is a small number; a second pass removes it (CholeskyQR2: Yamamoto, Nakatsukasa, Yanagisawa, Fukaya 2015)
    while κ(Z) < u^(−1/2). Nothing is read back from the device: where κ(Z) is larger still, nothing is promised.

    Args:
        matrix: full-rank matrices of shape ``(..., n, p)``, n ≥ p.
        passes: 1 or 2.
    """
    for _ in range(passes):
        matrix = matrix @ inverse_cholesky(matrix.mT @ matrix)
    return matrix


def inverse_cholesky(matrix: Tensor) -> Tensor:
    """Return R⁻¹ of the Cholesky factorization A = RᵀR, for positive definite ``(..., p, p)``.

    Halves are factorized one after the other and joined by products, down to blocks that LAPACK does: batches of
    small matrices are faster so, on a CPU as on a GPU.
    """
    size = matrix.shape[-1]
    if _is_small(matrix):
        factor = torch.linalg.cholesky_ex(matrix)[0]
        return torch.linalg.solve_triangular(
            factor, identity_like(matrix, size, size).expand_as(matrix), upper=False
        ).mT
    half = size // 2
    first = inverse_cholesky(matrix[..., :half, :half])
    coupling = first.mT @ matrix[..., :half, half:]
    second = inverse_cholesky(subtract_product(matrix[..., half:, half:], coupling.mT, coupling))
    return _block_upper(first, -(first @ (coupling @ second)), second)


def inverse_triangular(matrix: Tensor) -> Tensor:
    """Return the inverse of upper triangular matrices ``(..., p, p)``, by halves as :func:`inverse_cholesky`."""
    size = matrix.shape[-1]
    if _is_small(matrix):
        return torch.linalg.solve_triangular(matrix, identity_like(matrix, size, size).expand_as(matrix), upper=True)
    half = size // 2
    first, second = inverse_triangular(matrix[..., :half, :half]), inverse_triangular(matrix[..., half:, half:])
    return _block_upper(first, -(first @ (matrix[..., :half, half:] @ second)), second)


def _is_small(matrix: Tensor) -> bool:
    size = matrix.shape[-1]
    return size <= _BLOCK or (size <= _SINGLE and matrix.numel() <= _FEW)


def _block_upper(first: Tensor, corner: Tensor, second: Tensor) -> Tensor:
    """Return [[A, B], [0, C]]."""
    below = corner.new_zeros(*corner.shape[:-2], corner.shape[-1], corner.shape[-2])
    return torch.cat((torch.cat((first, below), dim=-2), torch.cat((corner, second), dim=-2)), dim=-1)


def beside(*matrices: Tensor) -> Tensor:
    """Return matrices beside each other; where they are of one size, leading dimensions may broadcast."""
    if any(matrix.shape[:-1] != matrices[0].shape[:-1] for matrix in matrices):
        matrices = torch.broadcast_tensors(*matrices)
    return torch.cat(matrices, dim=-1)


def subtract_product(matrix: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
    """Return A − scale·BC for ``(..., n, p)``, ``(..., n, q)``, ``(..., q, p)``; one kernel where batches are equal."""
    if matrix.dim() == left.dim() == right.dim() == 3 and matrix.shape[0] == left.shape[0] == right.shape[0]:
        return torch.baddbmm(matrix, left, right, alpha=-scale)
    return matrix - scale * (left @ right)


def qr_positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reduced QR decomposition whose R has a non-negative diagonal, for ``(..., n, p)`` of any rank."""
    require_matrices("matrix", matrix)
    require_precision(matrix.dtype, "matrix")
    orthogonal, triangular = torch.linalg.qr(matrix)
    signs = _signs(triangular.diagonal(dim1=-2, dim2=-1))
    return orthogonal * signs.unsqueeze(-2), triangular * signs.unsqueeze(-1)


def rq_positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R, O) with A = R·O, R upper triangular with diagonal ≥ 0 and O orthogonal, for ``(..., p, p)``."""
    _require_square(matrix)
    # Reversing rows and columns turns the QR decomposition of the transpose into an RQ decomposition.
    orthogonal, triangular = qr_positive(matrix.flip(-2).mT)
    return triangular.mT.flip(-1, -2), orthogonal.mT.flip(-2)


def polar_factor(matrix: Tensor) -> Tensor:
    """Return the orthogonal polar factor UVᵀ of A = UΣVᵀ, the frame nearest to A, for ``(..., n, p)``."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


def matrix_exponential(matrix: Tensor) -> Tensor:
    """Return exp(A) of matrices ``(..., m, m)``; differentiable any number of times, in both modes.

    ``torch.linalg.matrix_exp`` takes fewer terms for a single matrix than for a batch, too few where the 1-norm lies
    between 0.005 and 0.05: 2e-11 off in float64 where a batch is right to rounding. So a single matrix goes as a batch
    of two, and so do the products of which its derivatives are made.
    """
    batch = matrix.reshape(matrix.shape[:-2].numel(), *matrix.shape[-2:])
    if len(batch) == 1:
        batch = batch.expand(2, -1, -1)
    exponential: Tensor = torch.linalg.matrix_exp(batch)
    return exponential[: matrix.shape[:-2].numel()].reshape(matrix.shape)


def haar_frame(
    *shape: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw frames of shape ``(..., n, p)`` from the uniform (Haar) distribution on the Stiefel manifold.

    The orthogonal factor of a Gaussian matrix is Haar distributed once R's diagonal is positive (Mezzadri 2007).

    Raises:
        TypeError: a size is no integer.
        ValueError: a size is negative, or n is below p.
    """
    require_frame_shape("shape", shape)
    require_source(dtype, device, generator)
    return qr_positive(torch.randn(*shape, dtype=dtype, device=device, generator=generator))[0]


def _require_square(matrix: Tensor) -> None:
    require_matrices("matrix", matrix)
    if matrix.shape[-2] != matrix.shape[-1]:
        raise ValueError(f"matrix must have shape (..., p, p), got {tuple(matrix.shape)}")


def _signs(values: Tensor) -> Tensor:
    """Return the signs of values, with +1 at zero."""
    return torch.where(values < 0, -1.0, 1.0).to(values.dtype)
