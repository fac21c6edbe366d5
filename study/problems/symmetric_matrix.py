"""Symmetric matrices of a given spectrum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...manifolds import haar_frame
from ..random_streams import Stream, generator_of_stream


def symmetric_matrix(eigenvalues: np.ndarray, seed: int) -> Tensor:
    """Return a float64 matrix with these eigenvalues and Haar-distributed eigenvectors."""
    size = len(eigenvalues)
    vectors = haar_frame(size, size, dtype=torch.float64, generator=generator_of_stream(seed, Stream.DATA))
    matrix = (vectors * torch.from_numpy(eigenvalues)) @ vectors.mT
    return (matrix + matrix.mT) / 2
