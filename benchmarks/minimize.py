"""Full-batch methods against pymanopt's on problems whose optimum is known, from the same points to the same gradient.

pymanopt runs twice: with its PyTorch backend, which differentiates the same cost as the toolkit, and with numpy and
derivatives written by hand, which no automatic differentiation pays for. All take as many threads as torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geoopt
import numpy as np
import pymanopt
import torch
from pymanopt import manifolds, optimizers
from threadpoolctl import threadpool_limits
from torch import Tensor

from sttp.manifolds import FrameManifold, Grassmann, Stiefel, haar_frame
from sttp.optim import LBFGS, ConjugateGradient, MinimizeResult, TrustRegions, minimize
from sttp.optim.deterministic import Method

from .harness import Comparison, compare, publish

TOLERANCE = 1e-6
ITERATIONS = 3000
# L-BFGS has no counterpart in pymanopt: it stands against the conjugate gradients.
CONTESTANTS: dict[str, tuple[Method, Callable[..., Any]]] = {
    "trust regions": (TrustRegions(), optimizers.TrustRegions),
    "conjugate gradients": (ConjugateGradient(), optimizers.ConjugateGradient),
    "L-BFGS": (LBFGS(), optimizers.ConjugateGradient),
}


@dataclass(frozen=True)
class Case:
    """A problem: in torch, and with its derivatives in numpy."""

    name: str
    ours: FrameManifold
    theirs: Any
    start: Tensor
    cost: Callable[[Tensor], Tensor]
    numpy_cost: Callable[..., Any]
    numpy_gradient: Callable[..., Any]
    numpy_hessian: Callable[..., Any]


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish.

    Raises:
        ValueError: the device is not the CPU, which is all that pymanopt knows.
    """
    if device.type != "cpu":
        raise ValueError(f"device must be cpu for this benchmark, got {device}; pymanopt computes with numpy")
    shapes = [(50, 5), (200, 20)] if quick else [(50, 5), (200, 20), (500, 20)]
    rows = []
    with threadpool_limits(torch.get_num_threads()):
        for n, p in shapes:
            for case in (procrustes(n, p), brockett(n, p), eigenspace(n, p)):
                rows += [_compare(case, name) for name in CONTESTANTS]
    publish("minimize", rows, device, as_json, {})


def procrustes(n: int, p: int) -> Case:
    """Minimize ½‖X − C‖² on St(n, p)."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(n, p, dtype=torch.float64, generator=generator) / n**0.5
    c = target.numpy()
    return Case(
        f"Procrustes, {n} × {p}",
        Stiefel(),
        manifolds.Stiefel(n, p),
        haar_frame(n, p, dtype=torch.float64, generator=generator),
        lambda x: (x - target).square().sum() / 2,
        lambda x: np.sum((x - c) ** 2) / 2,
        lambda x: x - c,
        lambda x, u: u,
    )


def brockett(n: int, p: int) -> Case:
    """Minimize −tr(XᵀAXN) on St(n, p), N = diag(p, …, 1)/p."""
    weights = torch.arange(p, 0, -1, dtype=torch.float64) / p
    return _eigenvalue_case("Brockett", n, p, weights, Stiefel(), manifolds.Stiefel(n, p))


def eigenspace(n: int, p: int) -> Case:
    """Minimize −tr(XᵀAX) on Gr(n, p)."""
    weights = torch.ones(p, dtype=torch.float64)
    return _eigenvalue_case("leading eigenspace", n, p, weights, Grassmann(), manifolds.Grassmann(n, p))


def _eigenvalue_case(name: str, n: int, p: int, weights: Tensor, ours: FrameManifold, theirs: Any) -> Case:
    """Return the case of a matrix with eigenvalues 2 … 1 and, n − p of them, 0.8 … 0."""
    generator = torch.Generator().manual_seed(0)
    rotation = haar_frame(n, n, dtype=torch.float64, generator=generator)
    values = torch.cat((torch.linspace(2.0, 1.0, p), torch.linspace(0.8, 0.0, n - p))).double()
    matrix = (rotation * values) @ rotation.mT
    a, w = matrix.numpy(), weights.numpy()
    return Case(
        f"{name}, {n} × {p}",
        ours,
        theirs,
        haar_frame(n, p, dtype=torch.float64, generator=generator),
        lambda x: -((matrix @ x) * x * weights).sum(),
        lambda x: -np.sum((a @ x) * x * w),
        lambda x: -2 * (a @ x) * w,
        lambda x, u: -2 * (a @ u) * w,
    )


def _compare(case: Case, name: str) -> Comparison:
    method, optimizer = CONTESTANTS[name]
    ours = _ours(case, method)
    peers = {f"pymanopt, {backend}": _theirs(case, optimizer, backend) for backend in ("torch", "numpy by hand")}
    result = ours()
    theirs = {backend: peer() for backend, peer in peers.items()}
    notes = {
        "iterations": result.iterations,
        "theirs": next(iter(theirs.values())).iterations,
        "evaluations": result.evaluations.costs,
        "Hessian products": result.evaluations.hessian_products,
        "gradient norm": result.gradient_norm,
        "cost − theirs": result.cost - min(peer.cost for peer in theirs.values()),
    }
    seconds = result.seconds + sum(peer.time for peer in theirs.values())
    rounds = 11 if seconds < 3 else 3
    return compare(f"{name}, {case.name}", ours, peers, torch.device("cpu"), rounds=rounds, notes=notes)


def _ours(case: Case, method: Method) -> Callable[[], MinimizeResult]:
    x = geoopt.ManifoldParameter(case.start.clone(), manifold=case.ours)

    def solve() -> MinimizeResult:
        with torch.no_grad():
            x.copy_(case.start)
        limits = {"gradient_tolerance": TOLERANCE, "max_iterations": ITERATIONS}
        result = minimize(lambda: case.cost(x), [x], method, **limits)
        if not result.converged:
            raise RuntimeError(f"{case.name} did not converge: {result.reason}")
        return result

    return solve


def _theirs(case: Case, optimizer: Callable[..., Any], backend: str) -> Callable[[], Any]:
    if backend == "torch":
        problem = pymanopt.Problem(case.theirs, pymanopt.function.pytorch(case.theirs)(case.cost))
    else:
        function = pymanopt.function.numpy(case.theirs)
        problem = pymanopt.Problem(
            case.theirs,
            function(case.numpy_cost),
            euclidean_gradient=function(case.numpy_gradient),
            euclidean_hessian=function(case.numpy_hessian),
        )
    settings = {"min_gradient_norm": TOLERANCE, "max_iterations": ITERATIONS, "min_step_size": 0.0, "verbosity": 0}
    solver = optimizer(**settings)
    return lambda: solver.run(problem, initial_point=case.start.numpy().copy())
