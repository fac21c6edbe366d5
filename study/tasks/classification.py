"""The task `classification`: any data set of images in classes, with the paper's settings as defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, final

import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch
from ..surroundings import Surroundings
from .construction import require_role
from .images import ImageSplits, image_shape, open_images
from .supervised import evaluate_classifier
from .task import Evaluation, ImageShape, Split, SupervisedTask

if TYPE_CHECKING:
    from ..run import Run

EVALUATION_BATCH: Final = 500


@final
class Classification(SupervisedTask):
    """Classification of images (Obukhov et al. 2021, Sec. 5.2: WRN-28-10 on CIFAR-10).

    Args:
        images: the data; None where it is not at hand yet, see :meth:`bound`.
        run: whose batches they are; None likewise.
    """

    score_name: ClassVar[str] = "accuracy"
    description: ClassVar[str] = (
        "Images in classes. A tenth of the training images of every class is held out for validation, the same for "
        "all runs; the test split is the data set's own. The loss is the cross-entropy; the score is the share of "
        "images named correctly."
    )
    question: ClassVar[str] = (
        "How small can the layers of a network become before it loses accuracy, and does it matter how a low-rank "
        "layer is parameterized? The same network is trained in several ways, everything else being equal."
    )
    settings: ClassVar[tuple[str, ...]] = (
        "data",
        "size",
        "images",
        "width",
        "augment",
        "precision",
        "accumulation",
        "weight_decay",
        "averaging",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
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

    def __init__(self, images: ImageSplits | None = None, run: Run | None = None) -> None:
        self._splits = images
        self._run = run

    def require(self, run: Run) -> None:
        """Refuse a network that is no classifier.

        Raises:
            ValueError: as said.
        """
        require_role(run, "a classifier", "classifier")

    def image_shape(self, run: Run, surroundings: Surroundings) -> ImageShape:
        """Return the shape of the data set's images."""
        return image_shape(run, surroundings)

    def bound(self, run: Run, surroundings: Surroundings) -> Self:
        """Return the task with the run's data."""
        return type(self)(open_images(run, surroundings), run)

    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out.

        Raises:
            ValueError: the batch is larger than the training set.
        """
        assert self._run is not None, "bound() gives the task its run"
        return self._images.batches(replace(self._run, seed=seed, batch_size=batch_size), start)

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
