"""Recovery: a compressed network learns to do what the dense one does, from data without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import repeat
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...manifolds import require_instance, require_integer, require_number
from ...optim import RiemannianAdam, clip_gradient_norm_

_CURE: Final = "an iterable of batches: tensors, tuples of arguments or dicts of named ones, as the network takes them"
# The share of the steps that the learning rate rises over; from there it falls to zero on a line.
_WARM_UP: Final = 0.1
_LARGEST_GRADIENT: Final = 1.0


def recover(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Any],
    steps: int,
    *,
    lr: float = 1e-3,
    hidden: Iterable[str] | None = None,
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
    progress: Callable[[int, float], object] | None = None,
) -> list[float]:
    """Train a compressed network, in place, to give the outputs and hidden states of the dense one.

    The loss is the squared error of each relative to the teacher's, their mean over all. Both networks are in
    evaluation mode, so that dropout is off and running statistics stay.

    Args:
        student: the network that is trained: those of its parameters that require gradients.
        teacher: the network that it was made from, with the same names of modules; it stays as it is.
        batches: what both take; begun anew when it ends.
        steps: how many batches are trained on.
        lr: the learning rate after the warm-up over the first tenth of the steps; it falls to zero.
        hidden: names of modules, or glob patterns for them, whose outputs are hidden states; by default the elements
            of all ``torch.nn.ModuleList``, the blocks of a transformer.
        optimizer: makes one of the parameters; ``RiemannianAdam`` with ``lr`` by default.
        progress: called after each step with its number and loss.

    Returns:
        The loss of each step.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: there are no batches, or no parameter requires gradients, or a pattern matches nothing, or the loss
            is not finite.
    """
    for name, network in (("student", student), ("teacher", teacher)):
        require_instance(name, network, nn.Module, "a torch.nn.Module")
    require_instance("batches", batches, Iterable, _CURE)
    require_integer("steps", steps, least=1)
    require_number("lr", lr, above=0)
    names = hidden_names(teacher, hidden)
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("student must have parameters that require gradients, got none; call requires_grad_() on it")
    method = RiemannianAdam(parameters, lr=lr) if optimizer is None else optimizer(parameters)
    warm = max(1, round(_WARM_UP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        method, lambda k: min((k + 1) / warm, (steps - k) / max(1, steps - warm))
    )
    was_training = student.training, teacher.training
    student.eval()
    teacher.eval()
    losses: list[float] = []
    try:
        for number, batch in zip(range(steps), _endless(batches), strict=False):
            with torch.no_grad(), _kept(teacher, names) as target:
                target.outputs = tensors_of(call(teacher, batch))
            method.zero_grad(set_to_none=True)
            with _kept(student, names) as given:
                given.outputs = tensors_of(call(student, batch))
                loss = _distance(given, target)
                loss.backward()
            losses.append(float(loss.detach()))
            if losses[-1] != losses[-1] or losses[-1] == float("inf"):
                raise ValueError(f"lr={lr:g} gives a loss of {losses[-1]} at step {number}; lower it")
            clip_gradient_norm_(parameters, _LARGEST_GRADIENT)
            method.step()
            schedule.step()
            if progress is not None:
                progress(number, losses[-1])
    finally:
        student.train(was_training[0])
        teacher.train(was_training[1])
    return losses


def hidden_names(network: nn.Module, patterns: Iterable[str] | None) -> list[str]:
    """Return the names of the modules whose outputs are hidden states.

    Raises:
        ValueError: a pattern matches nothing.
    """
    modules = dict(network.named_modules())
    if patterns is None:
        lists = [name for name, module in modules.items() if isinstance(module, nn.ModuleList)]
        return [name for name in modules if name.rpartition(".")[0] in lists and name.rpartition(".")[2].isdigit()]
    found = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = [name for name in modules if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(f"hidden={pattern!r} matches no module; give names such as {list(modules)[-1]!r}, or None")
        found += matched
    return list(dict.fromkeys(found))


def call(network: nn.Module, batch: Any) -> Any:
    """Call a network with a batch: a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(batch, Tensor):
        return network(batch)
    return network(**batch) if isinstance(batch, Mapping) else network(*batch)


def tensors_of(value: object) -> list[Tensor]:
    """Return the tensors of real numbers in an output, which may be a tuple or a mapping of them."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_of(part)] if isinstance(value, list | tuple) else []


@final
@dataclass
class _States:
    """What a network gave for a batch."""

    hidden: dict[str, list[Tensor]]
    outputs: list[Tensor]


@contextmanager
def _kept(network: nn.Module, names: list[str]) -> Iterator[_States]:
    """Keep what modules give while the network is called."""
    states = _States({}, [])

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, arguments, output: states.hidden.__setitem__(name, tensors_of(output)[:1])

    handles = [network.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _distance(given: _States, target: _States) -> Tensor:
    pairs = list(zip(given.outputs, target.outputs, strict=True))
    for name, states in target.hidden.items():
        pairs += zip(given.hidden[name], states, strict=True)
    if not pairs:
        raise ValueError("student gives no tensor of real numbers as an output; wrap it so that it does")
    errors = [(a - b).square().sum() / b.square().sum().clamp(min=1e-12) for a, b in pairs]
    return torch.stack(errors).mean()


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    for _ in repeat(None):
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if not count:
            raise ValueError("batches must have some, got none left; give a list, which can be read again")
