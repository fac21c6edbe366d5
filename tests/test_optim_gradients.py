"""Gradients that are huge or not finite, their clipping, and weight decay that is not a gradient."""

import geoopt
import pytest
import torch
from torch import nn

from sttp.manifolds import QR, Cayley, Exponential, Grassmann, Polar, Stiefel, haar_frame, orthogonality_error
from sttp.optim import RiemannianAdam, RiemannianSGD, clip_gradient_norm_, gradient_norm

KINDS = [
    pytest.param(RiemannianAdam, {"lr": 0.1}, id="adam"),
    pytest.param(RiemannianAdam, {"lr": 0.1, "amsgrad": True}, id="amsgrad"),
    pytest.param(RiemannianSGD, {"lr": 0.1}, id="sgd"),
    pytest.param(RiemannianSGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, id="nesterov"),
]
MANIFOLDS = [Stiefel(), Stiefel("canonical", Cayley()), Stiefel(retraction=Polar()), Grassmann(Exponential())]


def frames(manifold: geoopt.Manifold, *shape: int) -> list[geoopt.ManifoldParameter]:
    generator = torch.Generator().manual_seed(0)
    return [geoopt.ManifoldParameter(haar_frame(*shape, generator=generator), manifold=manifold) for _ in range(3)]


def give_gradients(parameters: list[nn.Parameter], seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(100 + seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


# --- not finite ---


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_frame_whose_gradient_is_not_finite_moves_as_with_none(manifold, kind, options, bad):
    """The others of its shape are not touched by it."""
    trained, expected = frames(manifold, 6, 2), frames(manifold, 6, 2)
    for parameters, value in ((trained, bad), (expected, 0.0)):
        optimizer = kind(parameters, **options)
        for step in range(3):
            give_gradients(parameters, step)
            if step == 1:
                gradient = parameters[1].grad
                assert gradient is not None
                gradient.mul_(0.0)[2, 1] = value
            optimizer.step()
    for one, other in zip(trained, expected, strict=True):
        assert torch.equal(one, other)
        assert orthogonality_error(one) < 1e-5


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_one_frame_of_a_batch_is_left_out_alone(kind, options):
    trained, expected = frames(Stiefel(), 4, 6, 2), frames(Stiefel(), 4, 6, 2)
    for parameters, value in ((trained, float("nan")), (expected, 0.0)):
        give_gradients(parameters)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad[2] = value
        kind(parameters, **options).step()
    for one, other in zip(trained, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("plain", [False, True])
def test_a_gradient_that_is_not_finite_raises_where_asked_and_nothing_moves(kind, options, plain):
    parameters = [*frames(Stiefel(), 6, 2), nn.Parameter(torch.ones(3))]
    optimizer = kind(parameters, **options, error_if_nonfinite=True)
    give_gradients(parameters)
    optimizer.step()
    before = [parameter.detach().clone() for parameter in parameters]
    gradient = parameters[-1 if plain else 0].grad
    assert gradient is not None
    gradient.flatten()[1] = float("nan")
    with pytest.raises(RuntimeError, match=r"shape \(3,\)" if plain else r"shape \(6, 2\)"):
        optimizer.step()
    for one, other in zip(parameters, before, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("retraction", [QR(), Polar(), Cayley(), Exponential()], ids=str)
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
@pytest.mark.parametrize("length", [1e2, 1e5, 1e10, 1e18])
def test_steps_of_any_length_stay_feasible(retraction, metric, length):
    parameters = frames(Stiefel(metric, retraction), 32, 8)
    optimizer = RiemannianSGD(parameters, lr=1.0, momentum=0.9)
    for step in range(3):
        give_gradients(parameters, step)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad *= length
        optimizer.step()
    for parameter in parameters:
        assert parameter.isfinite().all()
        assert orthogonality_error(parameter) < 1e-5


# --- clipping ---


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
def test_the_norm_is_that_of_the_riemannian_gradient(manifold):
    parameters = [*frames(manifold, 6, 2), nn.Parameter(torch.ones(3))]
    give_gradients(parameters)
    squares = []
    for parameter in parameters[:-1]:
        gradient = manifold.egrad2rgrad(parameter.detach(), parameter.grad)
        squares.append(manifold.inner(parameter.detach(), gradient))
    squares.append(parameters[-1].grad.square().sum())
    torch.testing.assert_close(gradient_norm(parameters), torch.stack(squares).sum().sqrt())


def test_without_manifolds_clipping_is_torchs():
    ours, theirs = (
        [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(1))] for _ in range(2)
    )
    for parameters in (ours, theirs):
        give_gradients(parameters[:-1])
    norm = clip_gradient_norm_(ours, 0.3)
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs, 0.3))
    for one, other in zip(ours[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert ours[-1].grad is None


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
def test_clipping_bounds_the_norm_and_keeps_the_direction(manifold):
    parameters = frames(manifold, 6, 2)
    give_gradients(parameters)
    before = [parameter.grad.clone() for parameter in parameters]
    norm = clip_gradient_norm_(parameters, 0.5)
    assert norm > 0.5
    torch.testing.assert_close(gradient_norm(parameters), torch.tensor(0.5), rtol=1e-4, atol=0)
    for parameter, gradient in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient * (0.5 / norm), rtol=1e-4, atol=1e-6)
    assert clip_gradient_norm_(parameters, 10.0) < 10
    torch.testing.assert_close(gradient_norm(parameters), torch.tensor(0.5), rtol=1e-4, atol=0)


def test_clipping_raises_at_a_gradient_that_is_not_finite_where_asked():
    parameters = frames(Stiefel(), 6, 2)
    give_gradients(parameters)
    parameters[1].grad[0, 0] = float("inf")
    with pytest.raises(RuntimeError, match="not finite"):
        clip_gradient_norm_(parameters, 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="max_norm must be finite and above 0, got -1"):
        clip_gradient_norm_(parameters, -1)


# --- AMSGrad and decoupled weight decay ---


@pytest.mark.parametrize("manifold", [None, geoopt.Euclidean(ndim=1)], ids=["plain", "euclidean"])
@pytest.mark.parametrize("options", [{"amsgrad": True}, {"decoupled_weight_decay": True, "weight_decay": 0.2}], ids=str)
def test_euclidean_parameters_move_as_in_torch(manifold, options):
    """A Euclidean manifold has one second moment a point, so that points of one entry are what can be compared."""
    start = torch.linspace(1, 2, 1)
    ours = (
        nn.Parameter(start.clone()) if manifold is None else geoopt.ManifoldParameter(start.clone(), manifold=manifold)
    )
    theirs = nn.Parameter(start.clone())
    kind = torch.optim.AdamW if "weight_decay" in options else torch.optim.Adam
    names = {name: value for name, value in options.items() if name != "decoupled_weight_decay"}
    optimizers = RiemannianAdam([ours], lr=0.1, **options), kind([theirs], lr=0.1, **names)
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.full((1,), 2.0 if step == 0 else 0.1 * step)
            optimizer.step()
    torch.testing.assert_close(ours.detach(), theirs.detach())


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_decoupled_weight_decay_leaves_frames_alone(kind):
    plain, decayed = frames(Stiefel(), 6, 2), frames(Stiefel(), 6, 2)
    for parameters, options in ((plain, {}), (decayed, {"weight_decay": 0.5, "decoupled_weight_decay": True})):
        give_gradients(parameters)
        kind(parameters, lr=0.1, **options).step()
    for one, other in zip(plain, decayed, strict=True):
        assert torch.equal(one, other)


def test_amsgrad_never_takes_a_smaller_second_moment():
    """After one large gradient small ones move a frame less than without the maximum, by the ratio of the moments."""
    moved = []
    for amsgrad in (False, True):
        parameter = frames(Stiefel(), 6, 2)[0]
        optimizer = RiemannianAdam([parameter], lr=1e-3, betas=(0.0, 0.5), amsgrad=amsgrad)
        for step in range(12):
            give_gradients([parameter], seed=1)
            assert parameter.grad is not None
            parameter.grad *= 1.0 if step == 0 else 1e-2
            before = parameter.detach().clone()
            optimizer.step()
        moved.append((parameter.detach() - before).norm())
    assert moved[1] < 0.2 * moved[0]


def test_amsgrad_of_parameters_that_get_their_gradients_at_different_steps():
    """Each keeps its own maximum, whichever comes first."""
    for order in (1, -1):
        together = frames(Stiefel(), 6, 2)[:2]
        alone = frames(Stiefel(), 6, 2)[:2]
        options = {"lr": 0.1, "betas": (0.9, 0.5), "amsgrad": True}
        optimizer = RiemannianAdam(together[::order], **options)
        optimizers = [RiemannianAdam([parameter], **options) for parameter in alone]
        for step in range(5):
            for parameters in (together, alone):
                give_gradients(parameters, step)
                for parameter in parameters:
                    assert parameter.grad is not None
                    parameter.grad *= 0.1**step
                if step == 0:
                    parameters[1].grad = None
            optimizer.step()
            for single in optimizers:
                single.step()
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one.detach(), other.detach())


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_step_under_autocast_is_the_same_step(kind, options):
    ends = []
    for enabled in (False, True):
        parameters = frames(Stiefel(), 32, 8)
        optimizer = kind(parameters, **options)
        for step in range(3):
            give_gradients(parameters, step)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                optimizer.step()
        ends.append(parameters)
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


def test_a_half_precision_gradient_or_a_lone_tensor_is_clipped_as_in_torch():
    for dtype in (torch.float16, torch.float32):
        ours, theirs = (nn.Parameter(torch.ones(100, dtype=dtype)) for _ in range(2))
        for parameter in (ours, theirs):
            parameter.grad = torch.full((100,), 30.0, dtype=dtype)
        norm = clip_gradient_norm_(ours, 1.0)
        torch.testing.assert_close(norm.float(), nn.utils.clip_grad_norm_(theirs, 1.0).float())
        torch.testing.assert_close(ours.grad, theirs.grad)
