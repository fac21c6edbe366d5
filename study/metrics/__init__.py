"""What is measured beside accuracy: spectra of layers, and scores of generated images.

Scores on the features of Inception are in ``sttp.study.metrics.inception``, which needs the extra `gan`.
"""

from .features import (
    CLASSIFIER_FRECHET_DISTANCE,
    CLASSIFIER_KERNEL_DISTANCE,
    CLASSIFIER_SCORE,
    ClassifierOptions,
    FeatureClassifier,
    Seen,
    classifier_scores,
    feature_classifier,
)
from .scores import GaussianStatistics, Score, frechet_distance, inception_score, kernel_distance
from .spectra import LayerSpectrum, layer_spectra

__all__ = [
    "CLASSIFIER_FRECHET_DISTANCE",
    "CLASSIFIER_KERNEL_DISTANCE",
    "CLASSIFIER_SCORE",
    "ClassifierOptions",
    "FeatureClassifier",
    "GaussianStatistics",
    "LayerSpectrum",
    "Score",
    "Seen",
    "classifier_scores",
    "feature_classifier",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "layer_spectra",
]
