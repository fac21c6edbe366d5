"""The scores of generated images by a classifier that was trained on the data set itself.

Their names say so: numbers on the features of Inception are others, and the two do not compare.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from .features import FeatureClassifier, Seen
from .scores import GaussianStatistics, frechet_distance, inception_score, kernel_distance

CLASSIFIER_SCORE: Final = "classifier score"
CLASSIFIER_FRECHET_DISTANCE: Final = "classifier Fréchet distance"
CLASSIFIER_KERNEL_DISTANCE: Final = "classifier kernel distance"


def classifier_scores(
    classifier: FeatureClassifier, generated: Tensor, real: Tensor | Seen, seed: int = 0
) -> dict[str, float]:
    """Return the score, of which more is better, and the two distances, of which less is.

    The score is formed like the Inception Score, the distances like FID and KID.

    Args:
        classifier: trained on the data set.
        generated: images ``(n, C, H, W)`` of uint8, at least ten.
        real: the data set's images, alike; or what the classifier sees in them, where many are compared with the same.
        seed: draws the subsets of the kernel distance.

    Raises:
        TypeError: the images are no uint8.
        ValueError: there are too few of them, or they do not fit the classifier.
    """
    ours = classifier.see(generated)
    theirs = classifier.see(real) if isinstance(real, Tensor) else real
    statistics = [GaussianStatistics.of(seen.features) for seen in (ours, theirs)]
    return {
        CLASSIFIER_SCORE: inception_score(ours.probabilities).mean,
        CLASSIFIER_FRECHET_DISTANCE: frechet_distance(*statistics),
        CLASSIFIER_KERNEL_DISTANCE: kernel_distance(ours.features, theirs.features, seed).mean,
    }
