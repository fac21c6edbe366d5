"""The axioms of a Riemannian manifold as code sees them: projection, metric, gradient, transport, geodesics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import geoopt
import torch
from torch import Tensor

from .._spectral_tensor_train import SpectralTensorTrain
from . import _geodesics as geodesics
from ._coordinates import FlatManifold, TensorManifold, flat_manifold
from ._results import CheckResult, Finding, Verdict, absent, by_error, collect
from ._retraction import velocity

norm = torch.linalg.vector_norm


def check_manifold(
    manifold: geoopt.Manifold | SpectralTensorTrain,
    shape: Sequence[int] | None = None,
    *,
    point: Any = None,
    dimension: int | None = None,
    isometric: bool = False,
    uniform: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> CheckResult:
    """Check the axioms of a manifold's geometry at a point, with methods named as geoopt names them.

    All errors are relative. What the manifold does not implement, or does not claim, is ABSENT and no failure.

    Args:
        manifold: the manifold.
        shape: the shape of its points, by default (7,) or (7, 3); not for a train.
        point: the point to check at, instead of a random one.
        dimension: the dimension that the rank of random tangents must have. By default the manifold's own claim, its
            ``dimension``, or else the rank of the velocities of curves that ``projx`` makes.
        isometric: whether the transport along a retraction claims to keep inner products.
        uniform: whether ``random`` claims a distribution without a preferred direction.
        dtype: precision of the random point.
        device: device of the random point.

    Raises:
        TypeError: the manifold is of a wrong type.
        ValueError: the shape cannot be guessed.
    """
    space = flat_manifold(manifold, shape, point, dtype, device)
    dimension = space.dimension() if dimension is None else dimension
    properties: dict[str, Callable[[], Callable[[str], Finding]]] = {
        "point on the manifold": lambda: _point(space),
        "random points without direction": lambda: _uniform(space, uniform),
        "projection linear": lambda: _linear(space, lambda u: space.project(space.point, u), space.ambient("u", 2)),
        "projection idempotent": lambda: _idempotent(space),
        "projection self-adjoint": lambda: _self_adjoint(space),
        "projection keeps velocities": lambda: _keeps_velocities(space),
        "dimension": lambda: _dimension(space, dimension),
        "inner product bilinear, symmetric": lambda: _bilinear(space),
        "inner product positive": lambda: _positive(space),
        "norm": lambda: _norm(space),
        "gradient tangent": lambda: _gradient_tangent(space),
        "gradient represents the differential": lambda: _gradient_represents(space),
        "transport linear": lambda: _linear(space, _transport(space)[1], _tangents(space)),
        "transport tangent": lambda: _transport_tangent(space),
        "transport to the same point": lambda: _transport_nowhere(space),
        "transport along the retraction": lambda: _transport_along(space),
        "transport isometric": lambda: _isometric(space, isometric),
        "exponential velocity": lambda: velocity(space, "expmap"),
        "exponential geodesic": lambda: geodesics.critical_energy(space),
        "logarithm of the exponential": lambda: geodesics.logarithm(space),
        "exponential of the logarithm": lambda: geodesics.exponential(space),
        "distance": lambda: geodesics.distance(space),
    }
    return collect(str(manifold), str(space.coordinates(space.point).dtype), properties)


# --- points ---


def _point(space: FlatManifold) -> Callable[[str], Finding]:
    start = space.coordinates(space.point)
    error = norm(space.coordinates(space.call("projx", space.point)) - start) / norm(start)
    finding = by_error(float(error), 1e3 * space.epsilon)
    if isinstance(space, TensorManifold):
        holds, reason = space.manifold.check_point_on_manifold(space.point, explain=True)
        if not holds:
            return lambda name: Finding(name, Verdict.FAILED, note=str(reason))
    return finding


def _uniform(space: FlatManifold, claimed: bool) -> Callable[[str], Finding]:
    """Compare mean and covariance of many draws with those of a distribution that no isometry changes."""
    if not claimed:
        return absent("not claimed")
    if not isinstance(space, TensorManifold):
        raise NotImplementedError("random points of a train are checked frame by frame")
    draws = 4000
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        sample = space.manifold.random(draws, *space.point.shape, dtype=space.point.dtype, device=space.point.device)
    sample = sample.as_subclass(Tensor).reshape(draws, -1)
    scale = sample.square().mean()
    identity = torch.eye(space.size, dtype=sample.dtype, device=sample.device)
    covariance = sample.mT @ sample / draws
    worst = max(
        float((sample.mean(dim=0).abs() / scale.sqrt()).max()), float((covariance / scale - identity).abs().max())
    )
    # Means and covariances of N draws fluctuate by 1/√N, squares of Gaussian numbers by √2/√N; six of these are rare.
    return by_error(worst, 6 * (2 / draws) ** 0.5)


# --- projection ---


def _idempotent(space: FlatManifold) -> Callable[[str], Finding]:
    errors = []
    for vector in space.ambient("idempotent", 3):
        once = space.project(space.point, vector)
        errors.append(float(norm(space.project(space.point, once) - once) / norm(vector)))
    return by_error(max(errors), 1e3 * space.epsilon)


def _self_adjoint(space: FlatManifold) -> Callable[[str], Finding]:
    first, second = space.ambient("self-adjoint", 2)
    left = space.inner(space.point, space.project(space.point, first), second)
    right = space.inner(space.point, first, space.project(space.point, second))
    lengths = (space.inner(space.point, v, v).abs().sqrt() for v in (first, second))
    scale = norm(first) * norm(second) + next(lengths) * next(lengths)
    return by_error(float((left - right).abs() / scale), 1e3 * space.epsilon)


def _velocities(space: FlatManifold) -> Tensor:
    """Return velocities of the curves t ↦ projx(X + tZ), which are tangent whatever ``proju`` thinks."""
    step = space.epsilon ** (1 / 3)
    start = space.coordinates(space.point)
    rows = []
    for direction in space.ambient("velocities", space.size + 3):
        ends = [space.coordinates(space.call("projx", space.at(start + s * direction))) for s in (step, -step)]
        rows.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(rows)


def _keeps_velocities(space: FlatManifold) -> Callable[[str], Finding]:
    velocities = _velocities(space)
    projected = torch.stack([space.project(space.point, row) for row in velocities])
    if _rank(space, velocities) > _rank(space, projected):
        return absent("a quotient: velocities have a part that tangent vectors leave out")
    error = norm(projected - velocities, dim=-1).max() / norm(velocities, dim=-1).max().clamp(min=space.epsilon)
    return by_error(float(error), 200 * space.epsilon ** (2 / 3))


def _dimension(space: FlatManifold, claimed: int | None) -> Callable[[str], Finding]:
    tangents = torch.stack([space.project(space.point, row) for row in space.ambient("dimension", space.size + 3)])
    rank = _rank(space, tangents)
    if claimed is not None:
        return by_error(abs(rank - claimed), 0, f"rank {rank}, claimed {claimed}")
    curves = _rank(space, _velocities(space))
    if rank < curves:
        return absent(f"rank {rank}, of curves {curves}: a quotient, or too few tangents; claim a dimension to decide")
    return by_error(rank - curves, 0, f"rank {rank}, of curves {curves}")


def _rank(space: FlatManifold, vectors: Tensor) -> int:
    """Return the rank of vectors of norm about 1, of which rounding and finite differences leave an uncertain rest."""
    values = torch.linalg.svdvals(vectors.to(torch.float64))
    return int((values > 10 * space.epsilon ** (1 / 2)).sum())


# --- metric and gradient ---


def _bilinear(space: FlatManifold) -> Callable[[str], Finding]:
    first, second, third = _tangents(space, 3)
    inner = space.inner
    mixed = inner(space.point, 2 * first - 3 * second, third)
    parts = 2 * inner(space.point, first, third) - 3 * inner(space.point, second, third)
    swapped = inner(space.point, third, first) - inner(space.point, first, third)
    return by_error(max(float((mixed - parts).abs()), float(swapped.abs())), 1e3 * space.epsilon)


def _positive(space: FlatManifold) -> Callable[[str], Finding]:
    """Compare the eigenvalues of the Gram matrix of a basis of the tangent space with zero."""
    tangents = torch.stack([space.project(space.point, row) for row in space.ambient("positive", space.size)])
    _, values, basis = torch.linalg.svd(tangents, full_matrices=False)
    basis = basis[values > 10 * space.epsilon ** (1 / 2)]
    if not len(basis):
        return by_error(0.0, 0.0, "no tangent vectors")
    gram = torch.stack([torch.stack([space.inner(space.point, u, v) for v in basis]) for u in basis])
    eigenvalues = torch.linalg.eigvalsh((gram + gram.mT) / 2)
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    verdict = Verdict.PASSED if smallest > 1e3 * space.epsilon * largest else Verdict.FAILED
    return lambda name: Finding(name, verdict, note=f"eigenvalues {smallest:.2g} to {largest:.2g}")


def _norm(space: FlatManifold) -> Callable[[str], Finding]:
    vector = space.tangent("norm")
    measured = torch.as_tensor(space.call("norm", space.point, space.vector(vector)))
    expected = space.inner(space.point, vector, vector).sqrt()
    return by_error(float((torch.linalg.vector_norm(measured) - expected).abs()), 1e3 * space.epsilon)


def _gradient(space: FlatManifold) -> tuple[Tensor, Tensor]:
    """Return a Euclidean and its Riemannian gradient."""
    euclidean = space.ambient("gradient")[0]
    return euclidean, space.flat(space.call("egrad2rgrad", space.point, space.vector(euclidean)))


def _gradient_tangent(space: FlatManifold) -> Callable[[str], Finding]:
    _, gradient = _gradient(space)
    return by_error(float(norm(space.project(space.point, gradient) - gradient)), 1e3 * space.epsilon)


def _gradient_represents(space: FlatManifold) -> Callable[[str], Finding]:
    euclidean, gradient = _gradient(space)
    errors = []
    for tangent in _tangents(space, 3):
        difference = space.inner(space.point, gradient, tangent) - (euclidean * tangent).sum()
        errors.append(float(difference.abs() / norm(tangent)))
    return by_error(max(errors), 1e3 * space.epsilon)


# --- transport ---


def _tangents(space: FlatManifold, count: int = 2) -> Tensor:
    return torch.stack([space.tangent(f"tangent {k}") for k in range(count)])


def _transport(space: FlatManifold) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """Return the end of a step and the transport to it."""
    end = space.move("retr", space.point, space.tangent("step"))
    return end, lambda vector: space.flat(space.call("transp", space.point, end, space.vector(vector)))


def _transport_tangent(space: FlatManifold) -> Callable[[str], Finding]:
    end, transport = _transport(space)
    moved = transport(_tangents(space)[0])
    return by_error(float(norm(space.project(end, moved) - moved) / norm(moved)), 1e3 * space.epsilon)


def _transport_nowhere(space: FlatManifold) -> Callable[[str], Finding]:
    vector = _tangents(space)[0]
    moved = space.flat(space.call("transp", space.point, space.point, space.vector(vector)))
    return by_error(float(norm(moved - vector)), 1e3 * space.epsilon)


def _transport_along(space: FlatManifold) -> Callable[[str], Finding]:
    """Check ``retr_transp``: ends where ``retr`` does, with a tangent vector there, linear in the vector."""
    step = space.tangent("step")
    first, second = _tangents(space)

    def along(vector: Tensor) -> tuple[Any, Tensor]:
        end, moved = space.call("retr_transp", space.point, space.vector(step), space.vector(vector))
        return end, space.flat(moved)

    end, moved = along(first)
    start = space.coordinates(end)
    errors = [
        norm(start - space.coordinates(space.move("retr", space.point, step))) / norm(start),
        norm(space.project(end, moved) - moved) / norm(moved),
        norm(along(2 * first - 3 * second)[1] - 2 * moved + 3 * along(second)[1]),
        norm(
            space.flat(space.call("transp_follow_retr", space.point, space.vector(step), space.vector(first))) - moved
        ),
    ]
    return by_error(max(map(float, errors)), 1e3 * space.epsilon)


def _isometric(space: FlatManifold, claimed: bool) -> Callable[[str], Finding]:
    step, vectors = space.tangent("step"), _tangents(space)
    pairs = [space.call("retr_transp", space.point, space.vector(step), space.vector(vector)) for vector in vectors]
    end, moved = pairs[0][0], [space.flat(pair[1]) for pair in pairs]
    errors = [
        float((space.inner(end, moved[i], moved[j]) - space.inner(space.point, vectors[i], vectors[j])).abs())
        for i, j in ((0, 0), (0, 1), (1, 1))
    ]
    return by_error(max(errors), 1e3 * space.epsilon) if claimed else absent(f"not claimed, measured {max(errors):.1e}")


def _linear(space: FlatManifold, function: Callable[[Tensor], Tensor], vectors: Tensor) -> Callable[[str], Finding]:
    first, second = vectors
    error = norm(function(2 * first - 3 * second) - 2 * function(first) + 3 * function(second))
    return by_error(float(error), 1e3 * space.epsilon)
