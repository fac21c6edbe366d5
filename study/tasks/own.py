"""Training on a user's own data, with a network, a loss and a score of one's own."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, Self, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from ...manifolds import described, require_flag, require_instance
from .. import processes
from ..data import Examples, OwnData, batch_indices, own_data, read_examples
from ..networks import NETWORKS
from ..surroundings import Surroundings
from .case import TrainingCase
from .scores import Loss, Score, accuracy, explained, named_scores, squared_error
from .splits import ReadAnew
from .task import Evaluation, ImageShape, Split, SupervisedTask
from .trial import evaluating

EVALUATION_BATCH: Final = 500
FEW: Final = 4  # examples that are read twice to see whether they change


@final
class Training(SupervisedTask):
    """A task of a user's own: data, a network, and what is minimized and scored.

    ::

        Training(network=MyNet, train=train_set, test=test_set)

    Args:
        network: a class or function that makes the network when it is called, of which each call gives a new one with
            torch's own first weights; or the name of a registered one. Parameters that it has of the names ``channels``
            and ``number_of_classes`` are told from square images and from classes.
        train: what is trained on: a torch ``Dataset`` with a length, or a list, of pairs (input, target); a pair
            (inputs, targets) of arrays or tensors; or the path of an ``.npz`` or ``.csv`` file, see
            :func:`~sttp.study.data.own_data`.
        validation: what learning rates are chosen by, of the same kind; None for a tenth of ``train``.
        test: what results are reported on; None for a fifth of ``train``, taken before.
        loss: called as ``loss(outputs, targets)``; returns a scalar, the mean over a batch. The cross-entropy for
            classes and the mean squared error for numbers by default. Outputs ``(n,)`` for numbers become ``(n, 1)``,
            which is the shape that targets ``(n,)`` get.
        score: alike, of a whole split, of which more is better; or several functions by their names, of which the first
            is the score. The accuracy for classes and R² for numbers by default.
        in_memory: whether each example is read once, before the first run, and kept; False for a data set that changes
            its examples at random, or is too large: an example is read whenever a batch has it.
        target: column of a CSV file that is to be learnt; None for the last.
        name: by which studies and their files know the task.
        description: of data and loss, for the report.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the network is not known.
    """

    settings = ("precision", "accumulation", "weight_decay", "averaging")
    question = (
        "Does it matter how the layers of a network are parameterized? The same network is trained in several ways, "
        "everything else being equal."
    )

    def __init__(
        self,
        network: str | Callable[..., nn.Module],
        train: Any,
        validation: Any = None,
        test: Any = None,
        *,
        loss: Loss | None = None,
        score: Score | Mapping[str, Score] | None = None,
        in_memory: bool = True,
        target: str | None = None,
        name: str = "training",
        description: str = "",
    ) -> None:
        require_instance("name", name, str, "a string")
        require_instance("description", description, str, "a string")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss must be a function of outputs and targets, got {described(loss)}")
        self.name, self._loss, self._given_description = name, loss, description
        if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
            raise ValueError("loss must have no parameters, which no optimizer gets; make them a part of the network")
        self._scores = named_scores(score, loss)
        require_flag("in_memory", in_memory)
        if target is not None and not in_memory:
            raise ValueError(
                f"target={target!r} names a column of a CSV file, which is read at once; leave in_memory out"
            )
        self._sources: tuple[Any, ...] = (train, validation, test)
        self._target, self._in_memory = target, in_memory
        self._network = network
        NETWORKS.entry(NETWORKS.name_for(network))
        self._device_copies: dict[str, OwnData | ReadAnew] = {}

    @property
    def defaults(self) -> Mapping[str, Any]:  # type: ignore[override]  # a property may stand for an attribute
        """The network, which is registered once more: another one of its name may have been made since."""
        return {"network": NETWORKS.name_for(self._network)}

    @property
    def score_name(self) -> str:  # type: ignore[override]  # a property may stand for an attribute that is read
        """The name of the first score."""
        return next(iter(self._named))

    @property
    def score_scale(self) -> float:  # type: ignore[override]
        """100 for an accuracy."""
        return 100.0 if self.score_name == "accuracy" else 1.0

    @property
    def score_unit(self) -> str:  # type: ignore[override]
        """Percent for an accuracy."""
        return "%" if self.score_name == "accuracy" else ""

    @property
    def other_measures(self) -> Mapping[str, str]:  # type: ignore[override]
        """The loss, and the scores after the first."""
        return {"loss": "loss", **{name: name for name in list(self._named)[1:]}}

    @property
    def description(self) -> str:  # type: ignore[override]
        """What was given, and the sizes of the splits."""
        data, sizes = self.data, self.data.sizes
        kinds = f"{data.classes or ''} classes".strip() if data.is_classified else "numbers"
        counted = f"{sizes[0]} examples for training, {sizes[1]} for validation, {sizes[2]} for the test; {kinds}."
        return f"{self._given_description} {counted}".strip()

    @cached_property
    def data(self) -> OwnData | ReadAnew:
        """The three splits, read when they are asked for first.

        Raises:
            TypeError, ValueError: see :func:`~sttp.study.data.own_data`.
        """
        train, validation, test = self._sources
        if not self._in_memory:
            return ReadAnew(train, validation, test)
        _warn_of_draws(train)
        return own_data(train, validation, test, target=self._target)

    def require_data(self, case: TrainingCase, surroundings: Surroundings) -> str | None:
        """Refuse a batch larger than the training split; return the checksum of the data.

        Raises:
            ValueError: as said, or the data is no data.
        """
        self.batches(0, case.batch_size)
        return self.data.checksum

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape | None:
        """Return the shape of square images in classes; None for all else."""
        shape, classes = self.data.input_shape, self.data.classes
        if len(shape) != 3 or shape[1] != shape[2] or classes is None:
            return None
        return ImageShape(shape[0], shape[1], classes)

    def bound(self, case: TrainingCase, surroundings: Surroundings) -> Self:
        """Return the task with its data on the device."""
        device = processes.own_device(surroundings.device)
        if device == "cpu":
            return self
        if device not in self._device_copies:
            self._device_copies[device] = self.data.to(device)
        bound = copy.copy(self)
        bound.data = self._device_copies[device]
        return bound

    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Examples]:
        """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out.

        Raises:
            ValueError: the batch is larger than the training set.
        """
        chosen = batch_indices(self.data.sizes[0], batch_size, seed, start=start)
        return (self.data.batch(indices, seed, position) for position, indices in enumerate(chosen, start))

    def loss(self, network: nn.Module, batch: Examples) -> Tensor:
        """Return the loss of a batch."""
        return self._loss_of(_fitted(network(batch.inputs), batch.targets), batch.targets)

    def try_scores(self, network: nn.Module, batch: Examples) -> None:
        """Refuse scores that cannot be had of a batch, and fewer outputs than classes for the cross-entropy."""
        with torch.no_grad():
            outputs = _fitted(_widened(network(batch.inputs)), batch.targets)
        classes = self.data.classes
        if self._loss is None and classes is not None and outputs.shape[1] < classes:
            raise ValueError(f"networks must have an output for each of the {classes} classes, got {outputs.shape[1]}")
        for name, function in self._named.items():
            try:
                float(function(outputs, batch.targets))
            except Exception as error:  # a user's function may raise anything
                raise ValueError(
                    f"score {name!r} must be one number of outputs {tuple(outputs.shape)} and targets "
                    f"{tuple(batch.targets.shape)} ({type(error).__name__}: {error}); give another score="
                ) from error

    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return the scores and the loss of a whole split."""
        with evaluating(network):
            seen = [(_widened(network(p.inputs)), p.targets) for p in self.data.pieces(split, EVALUATION_BATCH)]
            outputs, targets = (torch.cat(parts) for parts in zip(*seen, strict=True))
            outputs = _fitted(outputs, targets)
            loss = float(self._loss_of(outputs, targets))
            scores = {name: float(function(outputs, targets)) for name, function in self._named.items()}
        return Evaluation(scores.pop(self.score_name), loss, scores)

    @property
    def _loss_of(self) -> Loss:
        if self._loss is not None:
            return self._loss
        return F.cross_entropy if self.data.is_classified else squared_error

    @property
    def _named(self) -> Mapping[str, Score]:
        if self._scores:
            return self._scores
        return {"accuracy": accuracy} if self.data.is_classified else {"R²": explained}

    def __getstate__(self) -> dict[str, Any]:
        """Return the data as it was read: what it was read from may not be there in another process.

        The network travels by its name.
        """
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_sources", "_network")}
        return kept | {"_device_copies": {}, "data": self.data}


def _warn_of_draws(train: Any) -> None:
    """Warn of a data set that changes its first examples at random, where they are read but once."""
    if isinstance(train, tuple | str | os.PathLike) or not hasattr(train, "__getitem__"):
        return
    found = []
    with suppress(Exception):  # which the reading of all examples will say better
        few = Subset(train, range(min(FEW, len(train))))
        found = [read_examples("train", few, seed).inputs for seed in (0, 1)]
    if found and not torch.equal(*found):
        warnings.warn(
            "train changes its examples at random, and they are read once; give in_memory=False to have them changed "
            "anew in each batch",
            stacklevel=4,
        )


def _fitted(outputs: Any, targets: Tensor) -> Any:
    """Return outputs ``(n,)`` as ``(n, 1)`` where targets are so: each would else meet all others."""
    if isinstance(outputs, Tensor) and outputs.dim() == 1 and targets.is_floating_point() and targets.dim() == 2:
        return outputs[:, None]
    return outputs


def _widened(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise TypeError(f"networks must return a tensor, got {described(outputs)}")
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
