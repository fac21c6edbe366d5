"""One step of what users bring, before the first run: what does not fit is said by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..networks import NETWORKS
from ..parts import OPTIMIZERS, require_step
from ..surroundings import Surroundings
from .case import TrainingCase
from .construction import first_network, plain_case
from .method import METHODS
from .task import TASKS, SupervisedTask


def try_out(cases: Iterable[TrainingCase], surroundings: Surroundings) -> None:
    """Make one step of each combination of a task, a network, a method and an optimizer of which one is a user's."""
    tried = set()
    for case in cases:
        method = case.parameterization
        foreign = {
            "method": method not in METHODS or not METHODS.entry(method).is_ours,
            "optimizer": not OPTIMIZERS.entry(case.optimizer).is_ours,
        }
        if case.geometry is not None:
            foreign["method"] = False
        around = not NETWORKS.entry(case.network).is_ours or not TASKS.entry(case.task).is_ours
        key = (case.task, case.network, method if foreign["method"] else "", case.optimizer, case.options)
        if key in tried or not (around or any(foreign.values())):
            continue
        tried.add(key)
        task = TASKS[case.task]
        if isinstance(task, SupervisedTask):
            _try(task.bound(case, surroundings), case, surroundings)


def _try(task: SupervisedTask, case: TrainingCase, surroundings: Surroundings) -> None:
    shape = task.image_shape(case, surroundings)
    batch: Any = next(task.batches(0, case.batch_size))
    _loss(task, case, first_network(plain_case(case), shape, 0).network, batch, f"network {case.network!r}")
    owner = f"method {case.parameterization!r} of the network {case.network!r}"
    try:
        network = first_network(case, shape, 0).network
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"{owner} cannot be built ({type(error).__name__}: {error}); mend its build=") from error
    _require_anew(network, first_network(case, shape, 0).network, owner)  # before a forward moves batch norms
    loss = _loss(task, case, network, batch, owner)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{owner} has nothing to train; leave at least one parameter that requires a gradient")
    require_step(case.optimizer, parameters, loss, network, **case.options_of("optimizer"))
    task.try_scores(network.eval(), batch)


def _require_anew(network: nn.Module, again: nn.Module, owner: str) -> None:
    """Refuse networks that share what is trained, so that a run would begin where another one ended."""
    first = {id(parameter) for parameter in network.parameters()}
    if any(id(parameter) in first for parameter in again.parameters()):
        raise ValueError(f"{owner} must be another one each time, got the same parameters again; build it in there")
    before, after = network.state_dict(), again.state_dict()
    if before.keys() != after.keys() or any(
        isinstance(value, Tensor) and not torch.equal(value, after[name]) for name, value in before.items()
    ):
        raise ValueError(
            f"{owner} must be the same at equal seeds, got other weights; draw from the global generator of torch, "
            f"NumPy or Python, which are seeded"
        )


def _loss(task: SupervisedTask, case: TrainingCase, network: nn.Module, batch: Any, owner: str) -> Tensor:
    """Return the loss of a batch; what cannot be had is said with its shapes."""
    shapes: dict[str, str] = {}

    def see(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        shapes["output"] = _shape(output)

    given, wanted = _shape(batch[0]), _shape(batch[1]) if len(batch) > 1 else "nothing"
    with network.register_forward_hook(see):
        try:
            loss = task.loss(network, batch)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if "output" not in shapes:
                raise ValueError(f"{owner} cannot take inputs of {given} ({said}); give one for them") from error
            raise ValueError(
                f"loss of the task {case.task!r} cannot take what {owner} makes of inputs of {given}: "
                f"{shapes['output']} for targets of {wanted} ({said}); "
                f"give a network with another output, or another loss="
            ) from error
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad or not loss.is_floating_point():
        raise ValueError(
            f"loss of the task {case.task!r} must be one number with a gradient, got {_shape(loss)} from {owner}; "
            f"take a mean of it, and leave the network's output attached"
        )
    return loss


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)} and {str(value.dtype).removeprefix('torch.')}"
    return f"type {type(value).__name__}"
