"""The task `gan`: a generator against a discriminator on any data set of images, with the paper's settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, final

import torch
from torch import Tensor, nn

from .. import processes
from ..baselines import spectral_normalization
from ..case import Run, Trial
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
from ..metrics.inception import inception_scores, require_inception
from ..networks import network_entry
from ..random_streams import seeded
from ..surroundings import Surroundings
from .adversarial import AdversarialTrial
from .case import TrainingCase
from .construction import built
from .images import IMAGE_SETTINGS, ImageSplits, image_shape, open_images, require_images
from .task import Evaluation, ImageShape, Split, Task

CLASSIFIERS: Final = "classifiers"


@final
@dataclass(frozen=True)
class GeneratedScores:
    """Scores generated images by a classifier of the data set, which is trained when the first ones come.

    Attributes:
        splits: the data set; the classifier learns from its labelled images.
        folder: of the results, where the classifier is kept for the next run; None for nowhere.
        device: where images are looked at.
        inception: whether images are scored on the features of Inception as well, at the end of a run.
    """

    splits: ImageSplits
    folder: str | None
    device: str
    inception: bool = False

    def __call__(self, images: Tensor, split: Split) -> Evaluation:
        """Return the classifier score, as loss the classifier Fréchet distance, and all other scores."""
        if not bool(images.isfinite().all()):
            return Evaluation(0.0, math.nan)
        generated = from_symmetric(images)
        cache = None if self.folder is None else Path(self.folder) / CLASSIFIERS
        classifier = _classifier(self.splits, cache, self.device)
        scores = classifier_scores(classifier, generated, _seen(self.splits, split, cache, self.device))
        others = {CLASSIFIER_KERNEL_DISTANCE: scores[CLASSIFIER_KERNEL_DISTANCE]}
        if self.inception and split == "test":
            others |= inception_scores(generated, self.splits.test.images, device=self.device)
        return Evaluation(scores[CLASSIFIER_SCORE], scores[CLASSIFIER_FRECHET_DISTANCE], others)


# By the data set's identity, which open_images keeps once a process.
@lru_cache(maxsize=2)
def _classifier(splits: ImageSplits, cache: Path | None, device: str) -> FeatureClassifier:
    with (
        processes.first_alone()
    ):  # under torchrun all processes come here, and the others find what the first has trained
        return feature_classifier(splits.labelled.images, splits.labelled.classes, cache=cache, device=device)


@lru_cache(maxsize=4)
def _seen(splits: ImageSplits, split: Split, cache: Path | None, device: str) -> Seen:
    return _classifier(splits, cache, device).see(splits.split(split).images)


# The paper's settings.
DEFAULTS: Final = {
    "network": "sngan32-discriminator",
    "spectrum": "regularized",
    "optimizer": "gan-adam",
    "learning_rates": (2e-4,),
    "extensions": 0,
    "seeds": (0,),
    "steps": 100_000,
    "batch_size": 64,
}
OTHER_MEASURES: Final = {
    "loss": CLASSIFIER_FRECHET_DISTANCE,
    CLASSIFIER_KERNEL_DISTANCE: CLASSIFIER_KERNEL_DISTANCE,
}


@final
class Gan(Task):
    """Generation of images (Obukhov et al. 2021, Sec. 5.1: SNGAN on CIFAR-10 and STL-10).

    The run's network is one half of a pair, a discriminator or a generator. The other half has plain weights; where it
    is the discriminator, they are normalized spectrally.
    """

    score_name = CLASSIFIER_SCORE
    score_scale = 1.0
    score_unit = ""
    loss_name = CLASSIFIER_FRECHET_DISTANCE
    other_measures = OTHER_MEASURES
    description = (
        "Generated images against a data set's. A tenth of the training images of every class is held out for "
        "validation. Both networks are trained on the hinge loss. Images are scored on the features and classes of a "
        "classifier that is trained on the data set itself: its score is more, its distances are less the better; none "
        "of them is comparable with a score on the features of Inception."
    )
    question = (
        "Does a GAN train well when the layers of one of its networks are spectral, and do the spectra of a "
        "discriminator collapse? The same pair of networks is trained in several ways, everything else being equal."
    )
    settings = (*IMAGE_SETTINGS, "partner_width", "conditional", "critic_steps", "samples", "inception")
    defaults = DEFAULTS
    roles = ("generator", "discriminator")

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape:
        """Return the shape of the data set's images."""
        return image_shape(case, surroundings)

    def require_data(self, case: TrainingCase, surroundings: Surroundings) -> str | None:
        """Refuse scores that cannot be had and too large batches; return the checksum of the images."""
        if case.settings.inception:
            require_inception()
        return require_images(case, surroundings)

    def begin(self, case: TrainingCase, run: Run, surroundings: Surroundings) -> Trial:
        """Begin the training of the pair."""
        splits = open_images(case, surroundings)
        device = processes.own_device(surroundings.device)
        score = GeneratedScores(splits, surroundings.folder, device, case.settings.inception)
        return AdversarialTrial(case, run, partner(case, splits.shape, run.seed), splits, score, surroundings)


def partner(case: TrainingCase, shape: ImageShape, seed: int) -> nn.Module:
    """Return the network that a case's is trained against, at first weights that depend on the seed alone."""
    name = network_entry(case.network).partner
    assert name is not None, "both halves of a pair know the other one"
    with seeded(seed + 2**20):  # far from the seeds of the networks that runs are about
        network = built(name, case.settings.partner_width, case.settings, shape)
    if network_entry(name).role == "generator":
        return network
    return spectral_normalization(network, (), torch.Generator().manual_seed(seed))
