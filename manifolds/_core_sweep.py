"""One sweep of alternating least squares over the cores of a matrix M (r × columns): the least ‖(T − M)L‖, C = LLᵀ.

At each core all others are orthogonal, and T and C are contracted with those to its right: what is left of C acts on
the core's own mode, the bond behind it and all modes before, and shrinks from core to core. So a step of conjugate
gradients at one core never meets the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from ._input_metric import InputMetric

# Steps of conjugate gradients for each core.
_STEPS: Final = 4


def minimized_cores(cores: Sequence[Tensor], target: Tensor, metric: InputMetric) -> list[Tensor]:
    """Return the cores of M that lower ‖(T − M)L‖, each minimized there and back.

    Args:
        cores: ``(R, mode, R')`` each, of which all but the first are orthogonal.
        target: T ``(r, columns)``.
        metric: C, of the columns.
    """
    cores = list(cores)
    # Behind the last core that has any freedom the cores are square: all there is, which that core takes in meanwhile.
    last = max([0, *(k for k, core in enumerate(cores) if core.shape[0] < core.shape[1:].numel())])
    behind, cores = cores[last + 1 :], cores[: last + 1]
    square, shape = _product(behind, target), cores[last].shape
    cores[last] = (cores[last].flatten(0, 1) @ square).reshape(shape[0], -1, 1)
    problems = [_Problem.of(target, metric)]
    for k in range(last, 0, -1):
        problems.insert(0, problems[0].contracted(cores[k]))
    heads = [torch.eye(len(target), dtype=target.dtype, device=target.device)]
    for k in range(last + 1):
        cores[k] = problems[k].nearer(cores[k], heads[k])
        if k < last:
            basis, rest = torch.linalg.qr(cores[k].flatten(0, 1))
            cores[k] = basis.reshape(cores[k].shape)
            cores[k + 1] = (rest @ cores[k + 1].flatten(1)).reshape(cores[k + 1].shape)
            heads.append((heads[k] @ cores[k].flatten(1)).reshape(-1, cores[k].shape[-1]))
    problem = problems.pop()
    for k in range(last, 0, -1):
        basis, rest = torch.linalg.qr(cores[k].flatten(1).mT)
        cores[k] = basis.mT.reshape(cores[k].shape)
        cores[k - 1] = (cores[k - 1].flatten(0, 1) @ rest.mT).reshape(cores[k - 1].shape)
        problem = problem.contracted(cores[k])
        cores[k - 1] = problem.nearer(cores[k - 1], heads[k - 1])
    cores[last] = (cores[last].reshape(-1, square.shape[1]) @ square.mT).reshape(shape)
    return [*cores, *behind]


def _product(cores: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the matrix ``(R, columns)`` of cores, 1 of none."""
    product = like.new_ones(1, 1)
    for core in reversed(cores):
        product = (core.flatten(0, 1) @ product).reshape(len(core), -1)
    return product


@final
@dataclass(frozen=True)
class _Problem:
    """The least ⟨N, NK⟩ − 2⟨N, F⟩ over N ``(r, n)``, what is left of T and C for the cores up to some one.

    Attributes:
        linear: F ``(r, n)``.
        form: K, as its blocks on the diagonal ``(blocks, size, size)``: one where C has all entries.
    """

    linear: Tensor
    form: Tensor

    @staticmethod
    def of(target: Tensor, metric: InputMetric) -> _Problem:
        moment = metric.moment
        return _Problem(metric.times(target), moment.reshape(-1, 1, 1) if moment.dim() == 1 else moment.unsqueeze(0))

    def contracted(self, core: Tensor) -> _Problem:
        """Return the problem for the cores before this one ``(R, mode, R')``."""
        rank, inner = core.shape[0], core.flatten(1)
        linear = (self.linear.reshape(-1, inner.shape[1]) @ inner.mT).reshape(len(self.linear), -1)
        blocks, size = self.form.shape[:2]
        if blocks == 1:  # (before · mode · R')² to (before · R)², one side after the other
            half = inner @ self.form.reshape(-1, inner.shape[1], size)
            half = inner @ half.reshape(-1, size).mT.reshape(-1, inner.shape[1], half.shape[0] * rank)
            return _Problem(linear, half.reshape(1, linear.shape[1], linear.shape[1]))
        if size == 1:
            return _Problem(linear, (inner * self.form.reshape(-1, 1, inner.shape[1])) @ inner.mT)
        half = core.transpose(0, 1) @ self.form.reshape(-1, core.shape[1], size, size)
        half = half.transpose(1, 2).flatten(2)  # (before, R, mode · R')
        return _Problem(linear, half @ inner.mT)

    def nearer(self, core: Tensor, head: Tensor) -> Tensor:
        """Return a core nearer to the minimum by some steps of conjugate gradients, none of which goes up.

        Args:
            core: ``(R, mode, R')``, the last of N.
            head: the cores before it, ``(r · modes, R)``.
        """
        shape, linear = core.shape, head.mT @ self.linear.reshape(len(head), -1)

        def image(core: Tensor) -> Tensor:
            return head.mT @ self._times((head @ core).reshape(self.linear.shape)).reshape(len(head), -1)

        core = core.flatten(1)
        residual = linear - image(core)
        direction, square = residual, residual.square().sum()
        for _ in range(_STEPS):
            step = image(direction)
            curvature = (direction * step).sum()
            if not curvature > 0:
                break
            core = core + square / curvature * direction
            residual = residual - square / curvature * step
            before, square = square, residual.square().sum()
            direction = residual + square / before * direction
        return core.reshape(shape)

    def _times(self, matrix: Tensor) -> Tensor:
        """Return NK."""
        blocks, size = self.form.shape[:2]
        if size == 1:
            return matrix * self.form.reshape(-1)
        return (matrix.reshape(-1, blocks, size).transpose(0, 1) @ self.form).transpose(0, 1).reshape(matrix.shape)
