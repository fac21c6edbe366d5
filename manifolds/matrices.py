"""Batched matrix functions that the manifolds share."""

import torch
from torch import Tensor


def symmetric_part(matrix: Tensor) -> Tensor:
    """Return (A + Aᵀ)/2 for matrices of shape ``(..., p, p)``."""
    return (matrix + matrix.mT) / 2


def identity_like(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Return the truncated identity ``(rows, columns)`` with the dtype and device of ``matrix``."""
    return torch.eye(rows, columns, dtype=matrix.dtype, device=matrix.device)


def orthogonality_error(frame: Tensor) -> Tensor:
    """Return ‖XᵀX − I‖_F, of shape ``(...)``, for frames ``(..., n, p)``, computed in float64."""
    frame = frame.detach().to(torch.float64)
    gram = frame.mT @ frame
    return torch.linalg.matrix_norm(gram - identity_like(gram, gram.shape[-2], gram.shape[-1]))


def newton_schulz_polish(frame: Tensor) -> Tensor:
    """Return X(3I − XᵀX)/2, one cubic Newton–Schulz step towards the nearest frame, for ``(..., n, p)``.

    An error ‖XᵀX − I‖₂ = ε < 1 becomes ¾ε² + O(ε³); two matrix products.
    """
    return 1.5 * frame - 0.5 * (frame @ (frame.mT @ frame))


def cholesky_qr(matrix: Tensor) -> Tensor:
    """Return the orthogonal factor of the QR decomposition with positive diagonal, by Cholesky-QR done twice.

    The R factor of Z is the transposed Cholesky factor of ZᵀZ: products and triangular solves of a whole batch at
    once, where a Householder QR goes column by column. The second pass removes the error u·κ(Z)² of the first
    (CholeskyQR2: Yamamoto, Nakatsukasa, Yanagisawa, Fukaya 2015), which holds while κ(Z) < u^(−1/2), u the unit
    roundoff. Nothing is read back from the device: where the condition number is larger, entries become NaN.

    Args:
        matrix: full-rank matrices of shape ``(..., n, p)``, n ≥ p.
    """
    for _ in range(2):
        factor, _ = torch.linalg.cholesky_ex(matrix.mT @ matrix, upper=True)
        matrix = torch.linalg.solve_triangular(factor, matrix, upper=True, left=False)
    return matrix


def qr_positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reduced QR decomposition whose R has a non-negative diagonal, for ``(..., n, p)`` of any rank."""
    orthogonal, triangular = torch.linalg.qr(matrix)
    signs = _signs(triangular.diagonal(dim1=-2, dim2=-1))
    return orthogonal * signs.unsqueeze(-2), triangular * signs.unsqueeze(-1)


def rq_positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R, O) with A = R·O, R upper triangular with diagonal ≥ 0 and O orthogonal, for ``(..., p, p)``."""
    # Reversing rows and columns turns the QR decomposition of the transpose into an RQ decomposition.
    orthogonal, triangular = qr_positive(matrix.flip(-2).mT)
    return triangular.mT.flip(-1, -2), orthogonal.mT.flip(-2)


def polar_factor(matrix: Tensor) -> Tensor:
    """Return the orthogonal polar factor UVᵀ of A = UΣVᵀ, the frame nearest to A, for ``(..., n, p)``."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


def haar_frame(
    *shape: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw frames of shape ``(..., n, p)`` from the uniform (Haar) distribution on the Stiefel manifold.

    The orthogonal factor of a Gaussian matrix is Haar distributed once R's diagonal is positive (Mezzadri 2007).
    """
    return qr_positive(torch.randn(*shape, dtype=dtype, device=device, generator=generator))[0]


def _signs(values: Tensor) -> Tensor:
    """Return the signs of values, with +1 at zero."""
    return torch.where(values < 0, -1.0, 1.0).to(values.dtype)
