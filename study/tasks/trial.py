"""The training of networks under way: looks, and one optimizer each, whose learning rates fall linearly to 0."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...layers import Free, shared_evaluation, spectral_weights
from ...optim import d_optimal
from .. import processes
from ..case import Run, Trial, equal_distances
from ..loop import RateRefusedError
from ..metrics import layer_spectra
from ..parts import ANY_RATE, build_optimizer
from ..result import Look
from ..settings import PRECISIONS
from ..surroundings import Surroundings
from .averaging import MovingAverage
from .case import TrainingCase
from .construction import Start, first_network
from .task import Evaluation, ImageShape, Split


class NetworkTrial(Trial):
    """Steps of a training, which is looked at on its validation split and measured on its test split at the end.

    Where the settings ask for a moving average, it is that of the first network.

    Attributes:
        case, run: what is trained.
        network: the network that the run is about.

    Args:
        case, run: what is trained.
        shape: of the images that the network sees; None where it sees something else.
        surroundings: the device.

    Raises:
        ValueError: the processes or pieces do not divide the batch.
    """

    def __init__(self, case: TrainingCase, run: Run, shape: ImageShape | None, surroundings: Surroundings) -> None:
        processes.require_divisible(case.batch_size, case.settings.accumulation)
        self.case, self.run = case, run
        self._start: Start = first_network(case, shape, run.seed)
        self._device = torch.device(processes.own_device(surroundings.device))
        self.network = self._start.network.to(self._device)
        self._refused: str | None = None

    @abc.abstractmethod
    def evaluate(self, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""

    @property
    def look_steps(self) -> Sequence[int]:
        """Equal distances, the start and the end among them."""
        return equal_distances(self.case.steps, self.case.evaluations)

    def look(self, step: int) -> Look:
        """Return measures on the validation split, the largest ‖XᵀX − I‖_F of all frames, and all spectra."""
        validation = self.evaluate("validation")
        errors = [weight.orthogonality_error().item() for weight in spectral_weights(self.network).values()]
        measures = validation.measures("validation")
        measures["orthogonality_error"] = max(errors, default=None)
        spectra = {name: spectrum.values for name, spectrum in layer_spectra(self.network).items()}
        return Look(step, measures, spectra)

    def facts(self) -> dict[str, float | None]:
        """Return Z in percent, degrees of freedom, and how far first weights are from their model.

        Of a network that is fine-tuned also how many numbers of the layers that are changed are trained, and the
        dimension of the change.
        """
        start = self._start
        change = {} if start.change is None else start.change._asdict()
        return {"z": start.z, "degrees_of_freedom": start.degrees_of_freedom, "start_error": start.error, **change}

    def finish(self) -> dict[str, float | None]:
        """Return measures on the test split."""
        return self.evaluate("test").measures("test")

    def state(self) -> dict[str, Any]:
        """Return networks with their optimizers and schedules, and the moving average."""
        return {
            "networks": [module.state_dict() for module in self._networks],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in self._schedules],
            "average": [] if self._average is None else self._average.state(),
        }

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on from a state."""
        own: tuple[Any, ...] = (*self._networks, *self._optimizers, *self._schedules)
        saved = (*state["networks"], *state["optimizers"], *state["schedules"])
        for thing, values in zip(own, saved, strict=True):
            thing.load_state_dict(values)
        if self._average is not None:
            self._average.restore(state["average"])
        self._go_to(step)

    @abc.abstractmethod
    def _go_to(self, step: int) -> None:
        """Let the next batches be those of a step."""

    def _train(self, *networks: nn.Module) -> None:
        """Begin at step 0 with these networks."""
        self._networks = networks
        self._optimizers = [self._optimizer(module) for module in networks]
        self._schedules = [LambdaLR(o, lambda step: max(0.0, 1 - step / self.case.steps)) for o in self._optimizers]
        decay = self.case.settings.averaging
        self._average = MovingAverage(networks[0], decay) if decay else None
        self._go_to(0)

    def _optimizer(self, module: nn.Module) -> Optimizer:
        """Return the optimizer; where it refuses the rate alone, one of another rate, which makes no step."""
        parameters = decay_groups(module, self.case.settings.weight_decay)
        rate, options = self.run.learning_rate, self.case.options_of("optimizer")
        assert rate is not None, "trainings have a learning rate"
        try:
            return build_optimizer(self.case.optimizer, parameters, rate, module, **options)
        except ValueError as error:  # a search may try rates that an optimizer does not take
            self._refused = str(error)
        return build_optimizer(self.case.optimizer, parameters, ANY_RATE, module, **options)

    def _require_rate(self) -> None:
        if self._refused is not None:
            raise RateRefusedError(self._refused)

    def _end_step(self) -> None:
        for schedule in self._schedules:
            schedule.step()
        if self._average is not None:
            self._average.update()

    def _penalized(self, loss: Tensor, module: nn.Module) -> Tensor:
        """Return the loss of a network, with the penalty of the spectrum if it is the run's."""
        penalty = self.case.penalty
        return loss + penalty * d_optimal(module) if penalty and module is self.network else loss

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which forwards have the case's precision."""
        precision = PRECISIONS[self.case.settings.precision]
        return nullcontext() if precision is None else torch.autocast(self._device.type, precision)


def accumulate(network: nn.Module, pieces: list[Any], loss_of: Callable[[Any], Tensor]) -> Tensor:
    """Go backward from the mean of the losses of equal pieces, which is returned without its graph.

    Gradients of several processes are added up with the last piece.
    """
    losses = []
    for index, piece in enumerate(pieces):
        waits = index + 1 < len(pieces)
        with network.no_sync() if waits and isinstance(network, DistributedDataParallel) else nullcontext():
            loss = loss_of(piece)
            (loss / len(pieces)).backward()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode, without gradients, and back in its own mode afterwards."""
    training = network.training
    network.eval()
    with torch.no_grad(), shared_evaluation(network):
        yield
    network.train(training)


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]] | list[nn.Parameter]:
    """Return parameter groups for an optimizer: the penalty is for plain weights and free spectra.

    Frames have a fixed length, the entries of Householder charts would be drawn to truncated identities, and spectra
    that are normalized do not change with their scale.
    """
    if weight_decay == 0:
        return list(network.parameters())
    exempt = {id(parameter) for weight in spectral_weights(network).values() for parameter in weight.parameters()}
    for weight in spectral_weights(network).values():
        if isinstance(weight.manifold.spectrum, Free):
            exempt -= {id(parameter) for name, parameter in weight.named_parameters() if name == "spectrum"}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in network.parameters():
        groups[id(parameter) not in exempt].append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if decays else 0.0}
        for decays, members in groups.items()
        if members
    ]
