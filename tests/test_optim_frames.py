"""Frames: agreement with geoopt where it is right, batching, and how far a step goes."""

import geoopt
import pytest
import torch
from torch import Tensor

from sttp.manifolds import Cayley, Grassmann, Polar, Stiefel, haar_frame, orthogonality_error
from sttp.optim import RiemannianAdam, RiemannianSGD

OPTIMIZERS = [
    pytest.param(RiemannianAdam, {}, id="adam"),
    pytest.param(RiemannianAdam, {"second_moment": "frame", "betas": (0.0, 0.9)}, id="adam-frame"),
    pytest.param(RiemannianSGD, {}, id="sgd"),
    pytest.param(RiemannianSGD, {"momentum": 0.9, "dampening": 0.2}, id="sgd-momentum"),
    pytest.param(RiemannianSGD, {"momentum": 0.9, "nesterov": True}, id="sgd-nesterov"),
]


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frame_on(manifold: geoopt.Manifold, *shape: int, seed: int = 0, dtype=torch.float64) -> geoopt.ManifoldParameter:
    return geoopt.ManifoldParameter(haar_frame(*shape, dtype=dtype, generator=generator_of(seed)), manifold=manifold)


def cubic(point: Tensor, seed: int) -> Tensor:
    """Return a cost whose gradient is neither tangent nor constant."""
    return (point - torch.randn(point.shape, dtype=point.dtype, generator=generator_of(seed))).pow(3).sum()


def train(points: list[Tensor], optimizer: torch.optim.Optimizer, steps: int = 12) -> list[Tensor]:
    for step in range(steps):
        optimizer.zero_grad()
        sum(cubic(point, seed=100 * index + step) for index, point in enumerate(points)).backward()
        optimizer.step()
    return [point.detach() for point in points]


def geoopts_descent(points: list[Tensor], **options) -> torch.optim.Optimizer:
    """Return geoopt's SGD after one step along a zero gradient.

    Its momentum starts as the Euclidean gradient, which is neither tangent nor torch's start; then it starts as zero.
    """
    optimizer = geoopt.optim.RiemannianSGD(points, **options)
    for point in points:
        point.grad = torch.zeros_like(point)
    optimizer.step()
    return optimizer


# --- agreement with geoopt ---


@pytest.mark.parametrize("shape", [(8, 3), (5, 1), (4, 4), (2, 3, 7, 2)], ids=str)
@pytest.mark.parametrize("weight_decay", [0.0, 0.4])
def test_adam_with_one_second_moment_a_frame_is_geoopts(shape, weight_decay):
    options = {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": weight_decay}
    ours, theirs = frame_on(Stiefel(), *shape), frame_on(geoopt.EuclideanStiefel(), *shape)
    moved = train([ours], RiemannianAdam([ours], second_moment="frame", **options))[0]
    expected = train([theirs], geoopt.optim.RiemannianAdam([theirs], **options))[0]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.4}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
def test_descent_is_geoopts_after_a_step_without_gradient(options):
    ours, theirs = frame_on(Stiefel(), 8, 3), frame_on(geoopt.EuclideanStiefel(), 8, 3)
    moved = train([ours], RiemannianSGD([ours], lr=0.01, **options))[0]
    expected = train([theirs], geoopts_descent([theirs], lr=0.01, **options))[0]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "factor"), [(RiemannianSGD, 1.0), (geoopt.optim.RiemannianSGD, 1.9)])
def test_first_step_with_momentum(kind, factor):
    """In torch it is a step along the gradient; geoopt makes 1.9 of it at momentum 0.9."""
    start = torch.zeros(3, dtype=torch.float64)
    plain, point = torch.nn.Parameter(start), geoopt.ManifoldParameter(start.clone(), manifold=geoopt.Euclidean(ndim=1))
    for parameter, optimizer in ((plain, torch.optim.SGD), (point, kind)):
        parameter.grad = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
        optimizer([parameter], lr=0.1, momentum=0.9).step()
    torch.testing.assert_close(point.detach(), factor * plain.detach(), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("manifold", "start"),
    [
        (geoopt.Sphere(), torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.6, -0.8]], dtype=torch.float64)),
        (geoopt.PoincareBall(c=0.7), torch.tensor([[0.1, 0.5, -0.2], [0.3, 0.0, 0.0]], dtype=torch.float64)),
        (geoopt.Lorentz(), torch.tensor([[3.0, 2.0, 2.0], [1.0, 0.0, 0.0]], dtype=torch.float64)),
        (geoopt.SymmetricPositiveDefinite(), torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))),
        (geoopt.Stiefel(), haar_frame(6, 2, dtype=torch.float64, generator=generator_of(0))),
        (geoopt.EuclideanStiefelExact(), haar_frame(6, 2, dtype=torch.float64, generator=generator_of(0))),
        (geoopt.Euclidean(), torch.ones(3, dtype=torch.float64)),
    ],
    ids=lambda value: value.name if isinstance(value, geoopt.Manifold) else "",
)
def test_manifolds_of_geoopt_move_as_in_geoopt(manifold, start):
    for ours, theirs, options, convention in (
        (RiemannianAdam, geoopt.optim.RiemannianAdam, {"lr": 0.01}, {"second_moment": "frame"}),
        (RiemannianSGD, geoopts_descent, {"lr": 1e-3, "momentum": 0.5}, {}),
    ):
        # Two parameters of one manifold, so that they are moved in one stack.
        points, references = (
            [geoopt.ManifoldParameter(start.clone(), manifold=manifold) for _ in range(2)] for _ in range(2)
        )
        moved = train(points, ours(points, **options, **convention), steps=5)
        expected = train(references, theirs(references, **options), steps=5)
        torch.testing.assert_close(moved, expected, rtol=1e-8, atol=1e-8)
        assert not torch.equal(moved[0], moved[1])


def test_a_euclidean_manifold_parameter_moves_as_a_plain_one():
    for kind, options in (
        (RiemannianAdam, {"weight_decay": 0.1}),
        (RiemannianSGD, {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1, "maximize": True}),
    ):
        start = torch.randn(4, 3, dtype=torch.float64, generator=generator_of(0))
        plain, point = torch.nn.Parameter(start.clone()), geoopt.ManifoldParameter(start, manifold=geoopt.Euclidean())
        moved, expected = (train([parameter], kind([parameter], lr=1e-4, **options))[0] for parameter in (point, plain))
        assert expected.isfinite().all()
        torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)


# --- what a step leaves alone ---


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD, geoopt.optim.RiemannianAdam])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_gradient_is_left_untouched(kind, maximize):
    ours = kind is not geoopt.optim.RiemannianAdam
    parameters = [frame_on(Stiefel(), 6, 2), torch.nn.Parameter(torch.ones(3))]
    optimizer = kind(parameters, lr=0.1, weight_decay=0.5, **({"maximize": maximize} if ours else {}))
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator_of(1))
    before = [parameter.grad.clone() for parameter in parameters]
    optimizer.step()
    unchanged = [torch.equal(parameter.grad, copy) for parameter, copy in zip(parameters, before, strict=True)]
    assert unchanged == [ours, ours]


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical"), Grassmann()], ids=str)
@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_weight_decay_does_nothing_to_a_frame(manifold, kind):
    decayed, free = frame_on(manifold, 8, 3), frame_on(manifold, 8, 3)
    first = train([decayed], kind([decayed], lr=0.01, weight_decay=0.7))[0]
    second = train([free], kind([free], lr=0.01))[0]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


# --- batches ---


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_many_frames_move_as_each_would_alone(kind, options):
    """Mixed shapes, dtypes and manifolds in one optimizer, the extreme ones p = 1 and p = n among them."""
    manifolds = [Stiefel(), Stiefel("canonical", Cayley()), Grassmann(), Stiefel(retraction=Polar()), geoopt.Sphere()]
    shapes = [(6, 2), (6, 2), (6, 1), (4, 4), (3, 6, 2), (1, 1)]

    def make() -> list[Tensor]:
        made = []
        for index in range(40):
            manifold, shape = manifolds[index % 5], shapes[index % 6]
            if isinstance(manifold, Grassmann) and shape[-1] == shape[-2]:
                shape = (5, 3)  # a Grassmann manifold of full dimension is a single point
            dtype = torch.float64 if index % 3 else torch.float32
            start = haar_frame(*shape, dtype=dtype, generator=generator_of(index))
            if isinstance(manifold, geoopt.Sphere):
                start = torch.nn.functional.normalize(torch.cat((start, torch.ones_like(start)), dim=-1), dim=-1)
            made.append(geoopt.ManifoldParameter(start, manifold=manifold))
        return [*made, torch.nn.Parameter(torch.ones(2))]

    def costs(points: list[Tensor], step: int) -> list[Tensor]:
        return [cubic(point, seed=50 * step + index) for index, point in enumerate(points)]

    together, apart = make(), make()
    optimizers = [kind(together, lr=1e-3, **options), *(kind([point], lr=1e-3, **options) for point in apart)]
    for step in range(4):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for cost in (*costs(together, step), *costs(apart, step)):
            cost.backward()
        for optimizer in optimizers:
            optimizer.step()
    for start, one, other in zip(make(), together, apart, strict=True):
        tolerance = 1e-12 if one.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
        assert one.numel() == 1 or (one - start).abs().max() > 10 * tolerance


# --- the size of a step ---


@pytest.mark.parametrize("shape", [(40, 5), (9, 9), (30, 1), (4, 20, 3)], ids=str)
def test_entries_move_by_about_the_learning_rate_a_step(shape):
    """Under a steady gradient an entry's root mean square displacement is lr, as torch's Adam moves a plain one."""
    learning_rate = 1e-3
    point = frame_on(Stiefel(), *shape)
    start = point.detach().clone()
    optimizer = RiemannianAdam([point], lr=learning_rate)
    point.grad = torch.randn(shape, dtype=torch.float64, generator=generator_of(1))
    for step in range(1, 4):
        optimizer.step()
        moved = (point.detach() - start).square().mean().sqrt()
        assert moved == pytest.approx(step * learning_rate, rel=0.02)


def test_a_frame_as_a_whole_moves_by_the_learning_rate_in_geoopts_convention():
    point = frame_on(Stiefel(), 40, 5)
    start = point.detach().clone()
    point.grad = torch.randn(40, 5, dtype=torch.float64, generator=generator_of(1))
    RiemannianAdam([point], lr=1e-3, second_moment="frame").step()
    assert (point.detach() - start).norm() == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("manifold", [Stiefel(), Grassmann()], ids=str)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_dominant_subspace(manifold, kind, options):
    """The minimum of −tr(XᵀAX) is minus the sum of the largest eigenvalues, whichever the metric."""
    matrix = torch.diag(torch.arange(8.0, dtype=torch.float64))
    point = frame_on(manifold, 8, 3)
    optimizer = kind([point], lr=0.02, **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        optimizer.zero_grad()
        cost = -(point * (matrix @ point)).sum()
        cost.backward()
        optimizer.step()
        scheduler.step()
    assert float(cost.detach()) == pytest.approx(-18, abs=1e-3)
    assert orthogonality_error(point) < 1e-13


def test_a_tensor_of_geoopt_that_is_no_parameter_stays_on_its_manifold():
    point = Stiefel().random(6, 2, dtype=torch.float64, generator=generator_of(0)).requires_grad_()
    moved = train([point], RiemannianSGD([point], lr=0.01))[0]
    assert orthogonality_error(moved) < 1e-14
