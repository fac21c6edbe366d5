"""Training of one network on a loss that depends on the batch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...layers import shared_evaluation
from ...optim import d_optimal
from .. import processes
from ..case import Run
from ..loop import RateRefusedError
from ..parts import build_optimizer
from ..settings import PRECISIONS
from ..surroundings import Surroundings
from .averaging import STATISTICS_BATCHES, MovingAverage
from .case import TrainingCase
from .decay import decay_groups
from .task import Evaluation, Split, SupervisedTask
from .trial import NetworkTrial

# A learning rate that all optimizers take.
ANY_RATE: Final = 1e-3


@final
class SupervisedTrial(NetworkTrial):
    """Steps of one optimizer on a task's loss and the spectrum's penalty; the learning rate falls linearly to 0.

    Where the settings ask for a moving average of the network, it is the average that is evaluated.

    Args:
        task: with its data at hand.
        case, run: what is trained.
        surroundings: the device.

    Raises:
        ValueError: the processes or pieces do not divide the batch.
    """

    def __init__(self, task: SupervisedTask, case: TrainingCase, run: Run, surroundings: Surroundings) -> None:
        processes.require_divisible(case.batch_size, case.settings.accumulation)
        super().__init__(case, run, task.image_shape(case, surroundings))
        self._device = torch.device(processes.own_device(surroundings.device))
        self.network = self.network.to(self._device)
        self._parallel = processes.parallel(self.network)
        self._task = task
        parameters = decay_groups(self.network, case.settings.weight_decay)
        assert run.learning_rate is not None, "trainings have a learning rate"
        self._refused: str | None = None
        self._optimizer = self._built(parameters, run.learning_rate)
        self._schedule = LambdaLR(self._optimizer, lambda step: max(0.0, 1 - step / case.steps))
        decay = case.settings.averaging
        self._average = MovingAverage(self.network, decay) if decay else None
        self._batches = task.batches(run.seed, case.batch_size)
        self._loss = torch.zeros(())

    def step(self, step: int) -> Tensor:
        """Make a step; return its loss.

        Raises:
            RateRefusedError: the optimizer does not take the learning rate.
        """
        if self._refused is not None:
            raise RateRefusedError(self._refused)
        self._optimizer.zero_grad()
        pieces = processes.own_pieces(next(self._batches), self.case.settings.accumulation)
        self._loss = processes.mean(accumulate(self._parallel, pieces, self._piece_loss))
        self._optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update()
        return self._loss

    def evaluate(self, split: Split) -> Evaluation:
        """Return score and loss on a split, of the network or of its moving average."""
        return self._task.evaluate(
            self.network if self._average is None else self._average.network(self._show_batches), split
        )

    def state(self) -> dict[str, Any]:
        """Return network, optimizer and schedule, and the moving average."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": [] if self._average is None else self._average.state(),
        }

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.restore(state["average"])
        self._batches = self._task.batches(self.run.seed, self.case.batch_size, step)

    def scalars(self) -> dict[str, Tensor]:
        """Return the training loss."""
        return {"loss": self._loss}

    def _built(self, parameters: Any, rate: float) -> Optimizer:
        """Return the optimizer; where it refuses the rate alone, one of another rate, which makes no step."""
        options = self.case.options_of("optimizer")
        try:
            return build_optimizer(self.case.optimizer, parameters, rate, **options)
        except ValueError as error:  # a search may try rates that an optimizer does not take
            self._refused = str(error)
        return build_optimizer(self.case.optimizer, parameters, ANY_RATE, **options)

    def _show_batches(self, network: nn.Module) -> None:
        """Give a network in training mode the first batches."""
        with shared_evaluation(network), autocast(self.case, self._device):
            for batch in islice(self._task.batches(self.run.seed, self.case.batch_size), STATISTICS_BATCHES):
                for piece in processes.pieces(batch, self.case.settings.accumulation):
                    self._task.loss(network, piece)

    def _piece_loss(self, batch: Any) -> Tensor:
        with autocast(self.case, self._device):
            loss = self._task.loss(self._parallel, batch)
        penalty = self.case.penalty
        return loss + penalty * d_optimal(self.network) if penalty else loss


@torch.no_grad()
def evaluate_classifier(network: nn.Module, pieces: Iterable[Tensor], labels: Tensor) -> Evaluation:
    """Return accuracy and mean cross-entropy of a network in evaluation mode; it is put back in its own afterwards.

    Args:
        network: maps images to logits.
        pieces: the images, some at a time.
        labels: of all images, in their order.
    """
    training = network.training
    network.eval()
    with shared_evaluation(network):
        logits = torch.cat([network(images).float() for images in pieces])
    network.train(training)
    correct = (logits.argmax(dim=1) == labels).double().mean()
    return Evaluation(correct.item(), F.cross_entropy(logits, labels).item())


def accumulate(network: nn.Module, pieces: list[Any], loss_of: Callable[[Any], Tensor]) -> Tensor:
    """Go backward from the mean of the losses of equal pieces, which is returned without its graph.

    Gradients of several processes are added up with the last piece.
    """
    total = None
    for index, piece in enumerate(pieces):
        waits = index + 1 < len(pieces)
        with network.no_sync() if waits and isinstance(network, DistributedDataParallel) else nullcontext():
            loss = loss_of(piece)
            (loss if len(pieces) == 1 else loss / len(pieces)).backward()
        total = loss.detach() if total is None else total + loss.detach()
    assert total is not None, "there is at least one piece"
    return total if len(pieces) == 1 else total / len(pieces)


def autocast(case: TrainingCase, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which forwards have the case's precision."""
    precision = PRECISIONS[case.settings.precision]
    return nullcontext() if precision is None else torch.autocast(device.type, precision)
