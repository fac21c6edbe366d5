"""The training of one network under way."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from ...layers import spectral_weights
from ..case import Run, Trial
from ..metrics.spectra import network_spectra
from ..result import Look
from .case import TrainingCase
from .construction import Start, first_network
from .task import Evaluation, ImageShape, Split


class NetworkTrial(Trial):
    """Steps of a training, which is looked at on its validation split and measured on its test split at the end.

    Attributes:
        case, run: what is trained.
        network: the network that the run is about.

    Args:
        case, run: what is trained.
        shape: of the images that the network sees; None where it sees something else.
    """

    def __init__(self, case: TrainingCase, run: Run, shape: ImageShape | None) -> None:
        self.case, self.run = case, run
        self._start: Start = first_network(case, shape, run.seed)
        self.network = self._start.network

    @abc.abstractmethod
    def evaluate(self, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""

    @property
    def look_steps(self) -> Sequence[int]:
        """Equal distances, the start and the end among them."""
        case = self.case
        return [round(case.steps * k / case.evaluations) for k in range(case.evaluations + 1)]

    def look(self, step: int) -> Look:
        """Return measures on the validation split, the largest ‖XᵀX − I‖_F of all frames, and all spectra."""
        validation = self.evaluate("validation")
        errors = [weight.orthogonality_error().item() for weight in spectral_weights(self.network).values()]
        measures = validation.measures("validation")
        measures["orthogonality_error"] = max(errors, default=None)
        return Look(step, measures, network_spectra(self.network))

    def facts(self) -> dict[str, float | None]:
        """Return Z in percent, degrees of freedom, and how far first weights are from their model.

        Of a network that is fine-tuned also how many numbers are trained.
        """
        start = self._start
        trained = {} if start.trained is None else {"trained": float(start.trained)}
        return {"z": start.z, "degrees_of_freedom": start.degrees_of_freedom, "start_error": start.error, **trained}

    def finish(self) -> dict[str, float | None]:
        """Return measures on the test split."""
        return self.evaluate("test").measures("test")
