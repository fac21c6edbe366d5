"""What fine-tuning is about: labelled examples that are new to a network that was trained on something else."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Final, Self, final

import torch.nn.functional as F
from torch import Tensor, nn

from ... import processes
from ...data import Examples, batch_indices
from ...data.digits import digits_splits
from ...surroundings import Surroundings
from ..case import TrainingCase
from ..supervised import evaluate_classifier
from ..task import Evaluation, ImageShape, Split, SupervisedTask

EVALUATION_BATCH: Final = 64
SETTINGS: Final = ("precision", "accumulation", "weight_decay", "averaging")
Splits = dict[str, Examples]


class Adaptation(SupervisedTask):
    """Classification by a network that is trained already.

    Args:
        splits: `training`, `validation` and `test` with the classes of their examples; None where the data is not at
            hand yet, see :meth:`bound`.
        device: where examples are shown to the network.
    """

    score_name = "accuracy"
    roles = ("trained", None)
    question = (
        "How much of a trained network must change so that it learns something new? Its weights are frozen, and the "
        "same layers are changed in several ways, everything else being equal."
    )
    settings: tuple[str, ...] = SETTINGS

    def __init__(self, splits: Splits | None = None, device: str = "cpu") -> None:
        self._splits, self._device = splits, device

    @abc.abstractmethod
    def splits(self, case: TrainingCase, surroundings: Surroundings) -> Splits:
        """Return the examples of a case, on the CPU.

        Raises:
            ValueError: the data is not there or damaged.
        """

    def shown(self, inputs: Tensor) -> Tensor:
        """Return the inputs of a batch without what it does not need."""
        return inputs

    def bound(self, case: TrainingCase, surroundings: Surroundings) -> Self:
        """Return the task with the case's data."""
        return type(self)(self.splits(case, surroundings), processes.own_device(surroundings.device))

    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Examples]:
        """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out.

        Raises:
            ValueError: the batch is larger than the training split.
        """
        inputs, targets = self._split("training")
        chosen = batch_indices(len(targets), batch_size, seed, start=start)
        return (Examples(self._given(inputs[rows]), targets[rows].to(self._device)) for rows in chosen)

    def loss(self, network: nn.Module, batch: Examples) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(network(batch.inputs), batch.targets)

    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return accuracy and mean cross-entropy."""
        inputs, targets = self._split(split)
        return evaluate_classifier(network, map(self._given, inputs.split(EVALUATION_BATCH)), targets.to(self._device))

    def _given(self, inputs: Tensor) -> Tensor:
        return self.shown(inputs).to(self._device)

    def _split(self, name: str) -> Examples:
        assert self._splits is not None, "bound() gives the task its data"
        return self._splits[name]


@final
class UprightDigits(Adaptation):
    """Digits as they are, for a network that knows them transposed alone."""

    warms_up = True
    description = (
        "1,797 real scans of handwritten digits, 8×8 pixels (the UCI data as scikit-learn bundles them), in the split "
        "960, 418, 419 for training, validation and test. The network is a vision transformer of four blocks that was "
        "trained on the same 960 scans transposed: upright ones look to it as if drawn at random. The loss is the "
        "cross-entropy; the score is the share of digits named correctly."
    )

    def require(self, case: TrainingCase) -> None:
        """Refuse nothing yet."""

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape:
        """Return 8×8 pixels in one channel and ten classes."""
        return ImageShape(channels=1, size=8, classes=10)

    def splits(self, case: TrainingCase, surroundings: Surroundings) -> Splits:
        """Return the bundled scans."""
        return {name: Examples(images, labels) for name, (images, labels) in digits_splits().items()}
