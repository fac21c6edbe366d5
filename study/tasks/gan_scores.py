"""Scores of generated images against a split of their data set."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Final, final

from torch import Tensor

from .. import processes
from ..data import from_symmetric
from ..metrics import (
    CLASSIFIER_FRECHET_DISTANCE,
    CLASSIFIER_KERNEL_DISTANCE,
    CLASSIFIER_SCORE,
    FeatureClassifier,
    Seen,
    classifier_scores,
    feature_classifier,
)
from ..metrics.inception import inception_scores
from .images import ImageSplits
from .task import Evaluation, Split

CLASSIFIERS: Final = "classifiers"


@final
class GeneratedScores:
    """Scores generated images by a classifier of the data set, which is trained when the first ones come.

    Args:
        splits: the data set; the classifier learns from its labelled images.
        folder: of the results, where the classifier is kept for the next run; None for nowhere.
        device: where images are looked at.
        inception: whether images are scored on the features of Inception as well, at the end of a run.
    """

    def __init__(self, splits: ImageSplits, folder: str | None, device: str, inception: bool = False) -> None:
        self._splits = splits
        self._cache = None if folder is None else Path(folder) / CLASSIFIERS
        self._device = device
        self._inception = inception

    def __call__(self, images: Tensor, split: Split) -> Evaluation:
        """Return the classifier score, as loss the classifier Fréchet distance, and all other scores.

        Args:
            images: generated, ``(n, C, H, W)`` in [−1, 1].
            split: where the data set's images are from.
        """
        if not bool(images.isfinite().all()):
            return Evaluation(0.0, math.nan)
        generated = from_symmetric(images)
        classifier = _classifier(self._splits, self._cache, self._device)
        scores = classifier_scores(classifier, generated, _seen(self._splits, split, self._cache, self._device))
        others = {CLASSIFIER_KERNEL_DISTANCE: scores[CLASSIFIER_KERNEL_DISTANCE]}
        if self._inception and split == "test":
            others |= inception_scores(generated, self._splits.test.images, device=self._device)
        return Evaluation(scores[CLASSIFIER_SCORE], scores[CLASSIFIER_FRECHET_DISTANCE], others)


# By the data set's identity, which images.open_images keeps once a process.
@lru_cache(maxsize=2)
def _classifier(splits: ImageSplits, cache: Path | None, device: str) -> FeatureClassifier:
    with (
        processes.first_alone()
    ):  # under torchrun all processes come here, and the others find what the first has trained
        return feature_classifier(splits.labelled.images, splits.labelled.classes, cache=cache, device=device)


@lru_cache(maxsize=4)
def _seen(splits: ImageSplits, split: Split, cache: Path | None, device: str) -> Seen:
    return _classifier(splits, cache, device).see(splits.split(split).images)
