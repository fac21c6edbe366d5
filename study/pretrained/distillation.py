"""Recovery as a task of a study: which compressed network learns best to do what the dense one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, final

import torch
from torch import Tensor, nn

from ...layers import STTP, SVDP, reparameterize
from ...manifolds import require_instance
from ..tasks import Method, Training
from .recovery import hidden_names, tensors_of

_AT_ONCE: Final = 64
# A state that the dense network keeps at zero has no scale of its own.
_LEAST: Final = 1e-12


@final
class States(nn.Module):
    """A network that gives its outputs and hidden states in one row for each example.

    Args:
        teacher: makes the network, which takes one tensor, examples along the first dimension.
        names: of the modules whose outputs are hidden states.
        scales: what each output and state is divided by, in the order of the row.
    """

    def __init__(
        self, teacher: Callable[[], nn.Module], names: Iterable[str], scales: tuple[float, ...] | None = None
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.network = teacher().eval()
        self.names = tuple(names)
        self.scales = scales

    def parts(self, inputs: Tensor) -> list[Tensor]:
        """Return the outputs and the hidden states, each ``(n, numbers)``."""
        states: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, object, object], None]:
            return lambda module, arguments, output: states.__setitem__(name, tensors_of(output)[0])

        handles = [self.network.get_submodule(name).register_forward_hook(keep(name)) for name in self.names]
        try:
            outputs = tensors_of(self.network(inputs))
        finally:
            for handle in handles:
                handle.remove()
        return [tensor.flatten(1) for tensor in (*outputs, *(states[name] for name in self.names))]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one row for each example, of which each part has the same weight in a mean over all numbers."""
        parts = self.parts(inputs)
        scales = self.scales or (1.0,) * len(parts)
        return torch.cat([part / scale for part, scale in zip(parts, scales, strict=True)], dim=1)


def relative_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error relative to the dense network's, a mean over outputs and states and over examples."""
    return (outputs - targets).square().sum(dim=1).mean()


def share_kept(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1 minus the relative squared error."""
    return 1 - relative_error(outputs, targets)


def distillation(
    teacher: Callable[[], nn.Module],
    train: Tensor,
    validation: Tensor | None = None,
    test: Tensor | None = None,
    *,
    hidden: Iterable[str] | None = None,
    name: str = "distillation",
) -> Training:
    """Return a task for :func:`~sttp.study.compare`: to give the outputs and hidden states of a pretrained network.

    Methods are to start from its weights, as those of :func:`fitted` do. Networks are trained in the mode that
    ``teacher`` returns them in after ``eval()``, which the task calls.

    Args:
        teacher: makes the pretrained network at each call; it takes one tensor and has no dropout when evaluated.
        train: inputs ``(n, …)``; no labels are needed.
        validation: see :class:`~sttp.study.Training`.
        test: see there.
        hidden: see :func:`recover`.
        name: by which studies and their files know the task.

    Raises:
        TypeError: the teacher makes no network, or inputs are no tensor.
        ValueError: a pattern of ``hidden`` matches nothing.
    """
    dense = teacher()
    require_instance("teacher()", dense, nn.Module, "a torch.nn.Module")
    names = hidden_names(dense, hidden)
    shown = States(teacher, names)
    splits = {"train": train, "validation": validation, "test": test}
    for split, inputs in splits.items():
        if inputs is not None:
            require_instance(split, inputs, Tensor, "a tensor of inputs, examples along the first dimension")
    with torch.no_grad():
        parts = shown.parts(train[:_AT_ONCE])
        scales = tuple(float((part.square().sum(dim=1).mean() * len(parts)).sqrt().clamp(min=_LEAST)) for part in parts)
        shown = States(teacher, names, scales)
        targets = {
            split: None if inputs is None else torch.cat([shown(piece) for piece in inputs.split(_AT_ONCE)])
            for split, inputs in splits.items()
        }

    def network() -> nn.Module:
        return States(teacher, names, scales)

    network.__name__ = f"{name} network"
    pairs = [None if inputs is None else (inputs, targets[split]) for split, inputs in splits.items()]
    return Training(network, *pairs, loss=relative_error, score={"share kept": share_kept}, name=name)


def fitted(name: str, method: type[STTP] | type[SVDP], **options: object) -> Method:
    """Return a method that starts from a fit of the pretrained weights, at each rank; for :func:`distillation` alone.

    Args:
        name: by which tables and files know it.
        method: ``STTP`` or ``SVDP``.
        options: of both but for the rank, such as ``modes="auto"``, ``frames=Riemannian()``.
    """

    def build(network: nn.Module, rank: int, skip: tuple[str, ...] = ()) -> nn.Module:
        if not isinstance(network, States):
            raise TypeError(f"method {name!r} is for distillation(...), got a {type(network).__name__}")
        network.network = network.teacher().eval()  # with a rank, studies begin from weights of their own
        return reparameterize(network, method(rank=rank, **options), skip, "weights")  # type: ignore[arg-type]

    return Method(name, build=build)
