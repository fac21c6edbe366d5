"""Scores of generated images on the features of some classifier, whichever it is.

On the features of Inception these are the Inception Score, FID and KID; on those of another classifier they are numbers
that compare with each other alone. All are computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Self, final

import torch
from torch import Tensor

SPLITS: Final = 10  # Salimans et al. 2016
SUBSETS: Final = 100  # Bińkowski et al. 2018, as are the next two
SUBSET_SIZE: Final = 1000
DEGREE: Final = 3
# How far from 1 the probabilities of an image may add up: those of float32 over a thousand classes are within 1e-4.
LARGEST_EXCESS: Final = 1e-3


class Score(NamedTuple):
    """Mean and standard deviation over parts of the images."""

    mean: float
    deviation: float


@final
@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Mean ``(d,)`` and covariance ``(d, d)`` of features, float64: all that a Fréchet distance needs.

    Raises:
        ValueError: the shapes are others.
    """

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        if self.covariance.shape != (*self.mean.shape, *self.mean.shape) or self.mean.ndim != 1:
            raise ValueError(
                f"covariance must be square and as large as the mean, got {tuple(self.covariance.shape)} for a mean of "
                f"shape {tuple(self.mean.shape)}"
            )

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Return the statistics of features ``(n, d)``; the covariance is the unbiased one, over n − 1.

        Raises:
            ValueError: there are fewer than two, or they are no matrix or not finite.
        """
        features = _checked("features", features, minimum=2)
        mean = features.mean(dim=0)
        centered = features - mean
        return cls(mean, centered.mT @ centered / (len(features) - 1))


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> Score:
    """Return exp E KL(p(y|x) ‖ p(y)) over generated images x, its mean and deviation over splits of them.

    It is 1 where all images have one distribution of classes, and the number of classes where each image is of one and
    all are equally frequent.

    Args:
        probabilities: ``(n, classes)`` that a classifier gives to each image.
        splits: into how many parts the images are cut, in their order.

    Raises:
        ValueError: there are fewer images than splits, or the rows are no probabilities.

    Source: Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016.
    """
    probabilities = _checked("probabilities", probabilities, minimum=max(splits, 1))
    excess = (probabilities.sum(dim=1) - 1).abs().max().item()
    if probabilities.min() < 0 or excess > LARGEST_EXCESS:
        raise ValueError(
            f"probabilities must be non-negative and add up to 1 for each image, got rows that miss it by up to "
            f"{excess:.2g}; give the softmax of the logits"
        )
    if splits < 1:
        raise ValueError(f"splits must be at least 1, got {splits}")
    scores = []
    for part in probabilities.tensor_split(splits):
        marginal = part.mean(dim=0)
        # A class that no image has counts nothing: 0 log 0 is 0.
        divergences = torch.xlogy(part, part) - torch.xlogy(part, marginal)
        scores.append(divergences.sum(dim=1).mean().exp())
    return _score(torch.stack(scores))


def frechet_distance(first: GaussianStatistics, second: GaussianStatistics) -> float:
    """Return ‖μ − ν‖² + tr(A + B − 2 (A^½ B A^½)^½), the squared Wasserstein distance of two Gaussians.

    With A = FFᵀ and B = GGᵀ the trace of the root is the sum of the singular values of FᵀG. Taken that way, nothing is
    lost where covariances are singular, as those of fewer images than features are, and nothing is complex.

    Raises:
        ValueError: the two have features of different dimensions.

    Source: Dowson, Landau 1982, Eq. 4; Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium", NeurIPS 2017.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"second must have features of dimension {len(first.mean)} as the first, got {len(second.mean)}"
        )
    shared = torch.linalg.svdvals(_factor(first.covariance).mT @ _factor(second.covariance)).sum()
    shift = (first.mean - second.mean).square().sum()
    return float(shift + first.covariance.trace() + second.covariance.trace() - 2 * shared)


def kernel_distance(
    first: Tensor, second: Tensor, seed: int = 0, subsets: int = SUBSETS, subset_size: int | None = None
) -> Score:
    """Return the unbiased squared MMD of two sets of features under the kernel (xᵀy/d + 1)³, over random subsets.

    It can be negative where the two hardly differ.

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.
        seed: draws the subsets, each without replacement.
        subsets: number of subsets.
        subset_size: number of features in each; None is 1,000, or all where there are fewer.

    Raises:
        ValueError: the dimensions differ, or there are fewer features than a subset has, or a number is out of range.

    Source: Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018, Eq. 4 and Sec. 4.
    """
    first, second = _checked("first", first, minimum=2), _checked("second", second, minimum=2)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"second must have features of dimension {first.shape[1]} as the first, got {second.shape[1]}")
    fewest = min(len(first), len(second))
    size = min(SUBSET_SIZE, fewest) if subset_size is None else subset_size
    if not 2 <= size <= fewest:
        raise ValueError(f"subset_size must be between 2 and {fewest}, the number of features, got {size}")
    if subsets < 1:
        raise ValueError(f"subsets must be at least 1, got {subsets}")
    generator = torch.Generator().manual_seed(seed)

    def drawn(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator)[:size].to(features.device)]

    return _score(torch.stack([_squared_mmd(drawn(first), drawn(second)) for _ in range(subsets)]))


def _squared_mmd(first: Tensor, second: Tensor) -> Tensor:
    """Return the unbiased squared maximum mean discrepancy of two sets of equal size."""
    size, dimension = first.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT / dimension + 1) ** DEGREE

    within = sum(matrix.sum() - matrix.trace() for matrix in (kernel(first, first), kernel(second, second)))
    return within / (size * (size - 1)) - 2 * kernel(first, second).mean()


def _factor(covariance: Tensor) -> Tensor:
    """Return F with FFᵀ the covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()


def _score(values: Tensor) -> Score:
    return Score(values.mean().item(), values.std(correction=0).item())


def _checked(argument: str, values: Tensor, minimum: int) -> Tensor:
    """Return a matrix in float64."""
    if values.ndim != 2 or len(values) < minimum or not values.shape[1]:
        raise ValueError(
            f"{argument} must have shape (n, d) with n of at least {minimum}, got {tuple(values.shape)}; "
            f"give a row for each image"
        )
    if not values.isfinite().all():
        raise ValueError(f"{argument} must be finite, got infinite or undefined entries; leave such images out")
    return values.detach().double()
