"""Training of one network on a loss that depends on the batch alone."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import shared_evaluation
from .. import processes
from ..case import Run
from ..surroundings import Surroundings
from .averaging import STATISTICS_BATCHES
from .case import TrainingCase
from .task import Evaluation, Split, SupervisedTask
from .trial import NetworkTrial, accumulate, evaluating


@final
class SupervisedTrial(NetworkTrial):
    """Steps on a task's loss and the spectrum's penalty; ``task`` has its data at hand.

    Where the settings ask for a moving average of the network, it is the average that is evaluated.
    """

    def __init__(self, task: SupervisedTask, case: TrainingCase, run: Run, surroundings: Surroundings) -> None:
        super().__init__(case, run, task.image_shape(case, surroundings), surroundings)
        self._task = task
        self._parallel = processes.parallel(self.network)
        self._train(self.network)
        self._loss = torch.zeros(())

    def step(self, step: int) -> Tensor:
        """Make a step; return its loss."""
        self._require_rate()
        (optimizer,) = self._optimizers
        optimizer.zero_grad()
        pieces = processes.own_pieces(next(self._batches), self.case.settings.accumulation)
        self._loss = processes.mean(accumulate(self._parallel, pieces, self._piece_loss))
        optimizer.step()
        self._end_step()
        return self._loss

    def evaluate(self, split: Split) -> Evaluation:
        """Return score and loss on a split, of the network or of its moving average."""
        network = self.network if self._average is None else self._average.network(self._show_batches)
        return self._task.evaluate(network, split)

    def scalars(self) -> dict[str, Tensor]:
        """Return the training loss."""
        return {"loss": self._loss}

    def _go_to(self, step: int) -> None:
        self._batches = self._task.batches(self.run.seed, self.case.batch_size, step)

    def _show_batches(self, network: nn.Module) -> None:
        """Give a network in training mode the first batches."""
        with shared_evaluation(network), self._autocast():
            for batch in islice(self._task.batches(self.run.seed, self.case.batch_size), STATISTICS_BATCHES):
                for piece in processes.pieces(batch, self.case.settings.accumulation):
                    self._task.loss(network, piece)

    def _piece_loss(self, batch: Any) -> Tensor:
        with self._autocast():
            loss = self._task.loss(self._parallel, batch)
        return self._penalized(loss, self.network)


def evaluate_classifier(network: nn.Module, pieces: Iterable[Tensor], labels: Tensor) -> Evaluation:
    """Return accuracy and mean cross-entropy of a network in evaluation mode, on images some at a time."""
    with evaluating(network):
        logits = torch.cat([network(images).float() for images in pieces])
    correct = (logits.argmax(dim=1) == labels).double().mean()
    return Evaluation(correct.item(), F.cross_entropy(logits, labels).item())
