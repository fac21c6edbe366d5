"""The task `classification`: any data set of images in classes, with the paper's settings as defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self, final

import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch
from ..surroundings import Surroundings
from .case import TrainingCase
from .images import IMAGE_SETTINGS, ImageSplits, image_shape, open_images, require_images
from .supervised import evaluate_classifier
from .task import Evaluation, ImageShape, Split, SupervisedTask

EVALUATION_BATCH: Final = 500

# The paper's settings.
DEFAULTS: Final = {
    "network": "wrn-28-10",
    "spectrum": "regularized",
    "optimizer": "riemannian-sgd",
    "learning_rates": (0.1,),
    "extensions": 0,
    "seeds": (0,),
    "steps": 100_000,
    "batch_size": 128,
    "weight_decay": 1e-4,
    "augment": True,
}


@final
class Classification(SupervisedTask):
    """Classification of images (Obukhov et al. 2021, Sec. 5.2: WRN-28-10 on CIFAR-10)."""

    score_name = "accuracy"
    description = (
        "Images in classes. A tenth of the training images of every class is held out for validation, the same for "
        "all runs; the test split is the data set's own. The loss is the cross-entropy; the score is the share of "
        "images named correctly."
    )
    question = (
        "How small can the layers of a network become before it loses accuracy, and does it matter how a low-rank "
        "layer is parameterized? The same network is trained in several ways, everything else being equal."
    )
    settings = IMAGE_SETTINGS
    defaults = DEFAULTS
    roles = ("classifier", None)

    def __init__(self, images: ImageSplits | None = None, case: TrainingCase | None = None) -> None:
        self._splits = images
        self._case = case

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape:
        """Return the shape of the data set's images."""
        return image_shape(case, surroundings)

    def require_data(self, case: TrainingCase, surroundings: Surroundings) -> str | None:
        """Refuse a batch larger than the training split; return the checksum of the images, None for bundled ones."""
        return require_images(case, surroundings)

    def bound(self, case: TrainingCase, surroundings: Surroundings) -> Self:
        """Return the task with the case's data."""
        return type(self)(open_images(case, surroundings), case)

    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out."""
        assert self._case is not None, "bound() gives the task its case"
        return self._images.batches(seed, batch_size, self._case.settings.augment, start)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(network(self._images.normalization(batch.images)), batch.labels)

    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return accuracy and mean cross-entropy."""
        part = self._images.split(split)
        pieces = map(self._images.normalization, part.images.split(EVALUATION_BATCH))
        return evaluate_classifier(network, pieces, part.labels)

    @property
    def _images(self) -> ImageSplits:
        assert self._splits is not None, "bound() gives the task its data"
        return self._splits
