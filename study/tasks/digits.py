"""The task `digits`: scikit-learn's bundled scans of handwritten digits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, Self, final

import torch.nn.functional as F
from torch import Tensor, nn

from .._plain import require_known
from ..data.digits import TRAINING_SIZE, Examples, digits_batches, digits_splits
from ..networks import NETWORKS
from ..surroundings import Surroundings
from .case import TrainingCase
from .supervised import evaluate_classifier
from .task import Evaluation, ImageShape, Split, SupervisedTask

# Evaluation in pieces as small as training's, so that the peak memory of a run is that of training.
EVALUATION_BATCH: Final = 64


@final
class Digits(SupervisedTask):
    """Classification of 1,797 scans of 8×8 pixels into ten digits (UCI, Alpaydin and Kaynak 1998)."""

    networks: Final = ("digits",)
    warms_up = True
    score_name = "accuracy"
    description = (
        "1,797 real scans of handwritten digits, 8×8 pixels in 17 shades of grey, in ten classes (the UCI data as "
        "scikit-learn bundles them). One stratified split, the same for all runs: 960 for training, 418 for "
        "validation, 419 for the test. The loss is the cross-entropy; the score is the share of digits named correctly."
    )

    question = (
        "How small can the layers of a network become before it loses accuracy, and does it matter how a low-rank "
        "layer is parameterized? The same small network is trained in several ways, everything else being equal."
    )

    settings = ("data", "width", "precision", "accumulation", "weight_decay", "averaging")

    def require(self, case: TrainingCase) -> None:
        """Refuse our networks but the one for digits, other data, and a batch larger than the training set."""
        if NETWORKS.entry(case.network).is_ours:
            require_known(f"network of the task {case.task!r}", case.network, self.networks)
        require_known(f"data of the task {case.task!r}", case.settings.data, ("digits",))
        self.batches(0, case.batch_size)

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape:
        """Return 8×8 pixels in one channel and ten classes."""
        return ImageShape(channels=1, size=8, classes=10)

    def bound(self, case: TrainingCase, surroundings: Surroundings) -> Self:
        """Return the task as it is: the data is bundled."""
        return self

    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Examples]:
        """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out."""
        if batch_size > TRAINING_SIZE:
            raise ValueError(f"batch_size must be at most {TRAINING_SIZE}, the training set's size, got {batch_size}")
        return islice(digits_batches(seed, batch_size), start, None)

    def loss(self, network: nn.Module, batch: Examples) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(network(batch.images), batch.labels)

    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return accuracy and mean cross-entropy."""
        images, labels = digits_splits()[split]
        return evaluate_classifier(network, images.split(EVALUATION_BATCH), labels)
