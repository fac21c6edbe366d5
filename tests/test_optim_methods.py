"""What single optimizers promise, against exact transforms, geodesics, SVDs and bounds."""

import copy
import itertools

import geoopt
import pytest
import torch
from optim_draws import draw, follow, frame, generator_of
from optimizer_registry import GRASSMANN
from torch import nn

from sttp.manifolds import QR, Cayley, Exponential, Polar, Stiefel, haar_frame, orthogonality_error
from sttp.optim import (
    POGO,
    SPEL,
    CayleyAdam,
    CayleySGD,
    Landing,
    ManifoldMuon,
    MomentumStiefelAdam,
    MomentumStiefelSGD,
    RandomSubmanifoldDescent,
    Retracted,
    RiemannianSGD,
)
from sttp.optim._iterative_cayley import iterative_cayley

FRAMES = (CayleySGD, CayleyAdam, Landing, POGO, RandomSubmanifoldDescent, MomentumStiefelSGD, MomentumStiefelAdam, SPEL)


# --- Cayley ---


@pytest.mark.parametrize("shape", [(9, 3), (5, 5), (6, 1), (2, 8, 4)], ids=str)
def test_the_fixed_point_nears_the_exact_cayley_transform_by_its_contraction(shape):
    """Two iterations make the error (‖W‖₂/2)² ≤ 1/16 of itself; one of two is spent on what the polish takes off."""
    manifold = Stiefel(retraction=Cayley())
    point = haar_frame(*shape, dtype=torch.float64, generator=generator_of(0))
    tangent = manifold.proju(point, draw(*shape, seed=1))
    tangent = 0.5 * tangent / torch.linalg.matrix_norm(tangent, keepdim=True)
    exact = manifold.retr(point, tangent)
    errors = [float((iterative_cayley(point, tangent, count) - exact).norm()) for count in range(1, 6)]
    assert errors[-1] < 2e-4
    assert all(later < 0.066 * earlier for earlier, later in zip(errors, errors[2:], strict=False))


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical"), GRASSMANN], ids=str)
def test_cayley_descent_is_riemannian_descent_with_the_cayley_retraction(manifold):
    exact = Stiefel(manifold.metric, Cayley()) if isinstance(manifold, Stiefel) else type(manifold)(Cayley())
    ours, theirs = frame(7, 3, manifold=manifold), frame(7, 3, manifold=exact)
    follow([ours, theirs], [CayleySGD([ours], lr=2e-3, momentum=0.9), RiemannianSGD([theirs], lr=2e-3, momentum=0.9)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    assert (ours - frame(7, 3)).norm() > 1e-2


def test_a_cayley_step_is_never_longer_than_the_contraction_allows():
    point = frame(6, 2)
    start = point.detach().clone()
    point.grad = 1e6 * draw(6, 2)
    CayleySGD([point], lr=1.0).step()
    assert 0.5 < (point.detach() - start).norm() < 1
    assert orthogonality_error(point) < 1e-6


# --- landing and POGO ---


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rate", [0.05, 1.0, 1e3])
def test_landing_never_leaves_its_region_and_lands(rate, momentum):
    points = [frame(8, 3, seed=seed) for seed in range(5)]
    optimizer = Landing(points, lr=rate, momentum=momentum)
    largest = 0.0
    for step in range(60):
        for index, point in enumerate(points):
            point.grad = 10 * draw(8, 3, seed=100 * index + step)
        optimizer.step()
        largest = max(largest, float(orthogonality_error(torch.stack(points)).max()))
    assert 0.01 < largest <= 0.5 + 1e-12
    fresh = Landing(points, lr=0.3)
    for _ in range(80):
        for point in points:
            point.grad = torch.zeros_like(point)
        fresh.step()
    assert orthogonality_error(torch.stack(points)).max() < 1e-12


def test_a_frame_off_the_manifold_comes_no_farther():
    point = frame(8, 3)
    with torch.no_grad():
        point *= 1.2  # ‖XᵀX − I‖_F = 0.76, beyond the region
    optimizer = Landing([point], lr=0.1)
    distances = [float(orthogonality_error(point))]
    for step in range(100):
        point.grad = draw(8, 3, seed=step)
        optimizer.step()
        distances.append(float(orthogonality_error(point)))
    assert distances[0] > 0.5 > distances[-1]
    inside = next(index for index, distance in enumerate(distances) if distance <= 0.5)
    assert all(later <= earlier for earlier, later in itertools.pairwise(distances[:inside]))


@pytest.mark.parametrize("radius", [0.1, 0.5, 1.3])
def test_pogo_stays_within_the_reach_of_newton_and_schulz(radius):
    """From a frame, singular values √(1 + s²), s ≤ radius, go to √(1 + s²)(1 − s²/2)."""
    points = [frame(8, 3, seed=seed) for seed in range(5)]
    optimizer = POGO(points, lr=1e4, radius=radius)
    for index, point in enumerate(points):
        point.grad = draw(8, 3, seed=index)
    optimizer.step()
    values = torch.linalg.svdvals(torch.stack(points).detach())
    least = (1 + radius**2) ** 0.5 * (1 - radius**2 / 2)
    assert least - 1e-12 <= values.min() < 1 - (1 - least) / 10
    assert values.max() < 1 + 1e-12
    optimizer.param_groups[0]["lr"] = 0.0
    for _ in range(12):
        optimizer.step()
    assert orthogonality_error(torch.stack(points)).max() < 1e-12


def test_a_short_pogo_step_leaves_three_quarters_of_its_fourth_power():
    point = frame(8, 1)
    point.grad = draw(8, 1)
    start = point.detach().clone()
    optimizer = POGO([point], lr=1.0)
    tangent = Stiefel().proju(start, point.grad)
    length = 0.05
    optimizer.param_groups[0]["lr"] = length * float(point.grad.square().mean().sqrt() / tangent.norm())
    optimizer.step()
    assert float(orthogonality_error(point)) == pytest.approx(0.75 * length**4, rel=0.02)


# --- random submanifolds ---


def test_only_the_drawn_rows_move_and_other_rows_later():
    point = frame(12, 4)
    optimizer = RandomSubmanifoldDescent([point], lr=0.1, size=3)
    moved = torch.zeros(12, dtype=torch.long)
    for step in range(15):
        before = point.detach().clone()
        point.grad = draw(12, 4, seed=step)
        optimizer.step()
        rows = (point.detach() - before).abs().amax(dim=1) > 1e-12
        assert rows.sum() == 3
        moved += rows
    assert moved.min() >= 1
    assert orthogonality_error(point) < 1e-13


@pytest.mark.parametrize("sampling", ["permutation", "haar"])
def test_equal_seeds_give_equal_runs_and_others_do_not(sampling):
    points = [frame(9, 3) for _ in range(3)]
    optimizers = [
        RandomSubmanifoldDescent([point], lr=0.1, size=4, sampling=sampling, seed=seed)
        for point, seed in zip(points, (5, 5, 6), strict=True)
    ]
    follow(points, optimizers)
    assert torch.equal(points[0], points[1])
    assert (points[0] - points[2]).norm() > 1e-3


def test_with_all_rows_it_descends_as_the_rotation_group_does():
    """To first order a full submanifold step is −η·skew(GXᵀ)X, whatever was drawn."""
    for sampling in ("permutation", "haar"):
        point = frame(6, 2)
        start = point.detach().clone()
        gradient = point.grad = draw(6, 2)
        RandomSubmanifoldDescent([point], lr=1e-6, size=99, sampling=sampling).step()
        skew = (gradient @ start.mT - start @ gradient.mT) / 2
        torch.testing.assert_close((point.detach() - start) / 1e-6, -skew @ start, rtol=0, atol=1e-5)


# --- momentum Stiefel ---


@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
def test_without_gradients_and_friction_the_motion_is_the_metrics_geodesic(metric):
    """The error at a fixed time falls as the step: the method is of first order."""
    errors = []
    for count in (50, 100, 200):
        point = frame(7, 3, manifold=Stiefel(metric, Exponential()))
        start = point.detach().clone()
        optimizer = MomentumStiefelSGD([point], lr=1.0 / count, momentum=1.0)
        point.grad = draw(7, 3)
        velocity = -point.manifold.egrad2rgrad(start, point.grad)
        optimizer.step()
        point.grad = torch.zeros_like(point)
        for _ in range(count - 1):
            optimizer.step()
        errors.append(float((point.detach() - point.manifold.retr(start, velocity)).norm()))
    assert velocity.norm() > 1
    assert errors[-1] < 0.02
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_without_gradients_the_momentum_keeps_its_length_and_its_place():
    point = frame(7, 3)
    optimizer = MomentumStiefelSGD([point], lr=0.3, momentum=1.0)
    lengths = []
    for step in range(30):
        point.grad = draw(7, 3) if step == 0 else torch.zeros_like(point)
        optimizer.step()
        state = optimizer.state[point]
        lengths.append([float(state[name].norm()) for name in ("inside", "outside")])
        assert (point.detach().mT @ state["outside"]).norm() < 1e-12
        assert (state["inside"] + state["inside"].mT).norm() < 1e-12
    assert lengths[-1] == pytest.approx(lengths[0], rel=1e-12)


# --- optimizers of torch, retracted ---


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical", Polar()), GRASSMANN, geoopt.Sphere()], ids=str)
def test_retracted_descent_is_riemannian_descent(manifold):
    ours, theirs = (
        geoopt.ManifoldParameter(manifold.projx(draw(6, 2, seed=3)).detach(), manifold=manifold) for _ in range(2)
    )
    follow([ours, theirs], [Retracted(torch.optim.SGD([ours], lr=0.05)), RiemannianSGD([theirs], lr=0.05)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.RMSprop, torch.optim.NAdam, torch.optim.Adagrad])
def test_any_torch_optimizer_descends_on_frames_and_moves_plain_parameters_as_alone(kind):
    generator = generator_of(0)
    target = haar_frame(8, 3, dtype=torch.float64, generator=generator)
    point, beside, alone = frame(8, 3, seed=5), nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer, reference = Retracted(kind, [point, beside], lr=0.02), kind([alone], lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        reference.zero_grad()
        loss = -(target * point).sum()
        (loss + beside.pow(4).sum()).backward()
        alone.pow(4).sum().backward()
        optimizer.step()
        reference.step()
        losses.append(float(loss.detach()))
    assert torch.equal(beside, alone)
    assert losses[-1] < losses[0] - 0.5
    assert orthogonality_error(point) < 1e-12


def test_decoupled_weight_decay_does_nothing_to_a_frame():
    decayed, free = frame(6, 2), frame(6, 2)
    follow(
        [decayed, free],
        [
            Retracted(torch.optim.AdamW([decayed], lr=0.05, weight_decay=0.5)),
            Retracted(torch.optim.AdamW([free], lr=0.05, weight_decay=0.0)),
        ],
    )
    torch.testing.assert_close(decayed, free, rtol=0, atol=1e-12)


def test_a_width_scales_the_steps_of_frames_by_their_rows_alone():
    scaled, plain = (
        [frame(6, 2), frame(24, 2), geoopt.ManifoldParameter(frame(6, 2).detach(), geoopt.Stiefel()), beside]
        for beside in (nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3)))
    )
    ours = copy.deepcopy(Retracted(torch.optim.SGD(scaled, lr=0.05), width=24))
    scaled = ours.param_groups[0]["params"]
    rates = [0.1, 0.05, 0.1, 0.05]
    theirs = Retracted(torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(plain, rates, strict=True)]))
    for parameters in (scaled, plain):
        sum(parameter.sin().sum() for parameter in parameters).backward()
    ours.step()
    theirs.step()
    for one, other in zip(scaled, plain, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=0, atol=1e-12)


def test_a_retracted_optimizer_is_printed_and_refuses_what_it_cannot_do():
    point = frame(6, 2)
    assert repr(Retracted(torch.optim.SGD, [point], lr=0.25)).startswith("Retracted(SGD (")
    for arguments, options, message in (
        ((torch.optim.SGD,), {}, "params must be given where optimizer is a class"),
        ((torch.optim.SGD([point]), [point]), {}, "got them beside a SGD"),
        ((torch.optim.SGD([point]),), {"lr": 0.1}, "got them beside a SGD"),
        (("adam",), {}, "must be an optimizer of torch or its class, got 'adam'"),
        ((torch.optim.LBFGS([point]),), {}, "got LBFGS; use sttp.optim.minimize"),
    ):
        with pytest.raises(TypeError, match=message):
            Retracted(*arguments, **options)


# --- the size of a step, and its direction on Grassmann ---


@pytest.mark.parametrize("kind", [kind for kind in (*FRAMES, ManifoldMuon) if kind is not RandomSubmanifoldDescent])
def test_on_grassmann_frames_move_horizontally(kind):
    """Also where the cost is no function of the subspace, as that of one frame of a train is not."""
    point = frame(7, 3, manifold=GRASSMANN)
    start = point.detach().clone()
    options = {"momentum": 0.5} if kind is Landing else {}
    optimizer = kind([point], lr=1e-6, **options)
    for step in range(3):
        point.grad = draw(7, 3, seed=step)
        optimizer.step()
    moved = point.detach() - start
    assert (start.mT @ moved).norm() < 1e-4 * moved.norm()
    assert moved.norm() > 1e-7


@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
@pytest.mark.parametrize("kind", [CayleySGD, Landing, MomentumStiefelSGD])
def test_on_short_steps_momentum_is_that_of_torch(kind, metric):
    """Over distances at which the manifold is flat, along the field that each follows."""
    manifold, rate = Stiefel(metric), 1e-7
    point = frame(8, 3, manifold=manifold)
    start = point.detach().clone()
    gradients = [draw(8, 3, seed=step) for step in range(5)]
    plain = nn.Parameter(torch.zeros(8, 3, dtype=torch.float64))
    optimizers = [kind([point], lr=rate, momentum=0.7), torch.optim.SGD([plain], lr=rate, momentum=0.7)]
    for gradient in gradients:
        point.grad = gradient
        # The field of landing is half the canonical gradient, whichever the metric.
        half = Stiefel("canonical").egrad2rgrad(start, gradient) / 2
        plain.grad = half if kind is Landing else manifold.egrad2rgrad(start, gradient)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close((point.detach() - start) / rate, plain.detach() / rate, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [CayleyAdam, POGO, MomentumStiefelAdam])
def test_entries_move_by_about_the_learning_rate_a_step(kind):
    """Under a steady tangent gradient, as torch's Adam moves a plain entry; also after many other gradients."""
    rate = 1e-5
    point = frame(60, 3)
    start = point.detach().clone()
    point.grad = Stiefel().proju(start, draw(60, 3))
    optimizer = kind([point], lr=rate)
    for step in range(1, 5):
        optimizer.step()
        assert (point.detach() - start).square().mean().sqrt() == pytest.approx(step * rate, rel=0.04)
    steady = kind([point], lr=rate, betas=(0.5, 0.6))
    for scale in (1.0, 30.0):
        point.grad = scale * point.grad
        for _ in range(60):
            start = point.detach().clone()
            steady.step()
        assert (point.detach() - start).square().mean().sqrt() == pytest.approx(rate, rel=0.04)


# --- plain parameters and hyperparameters ---


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True}], ids=str)
def test_plain_parameters_move_as_in_torch(kind, options):
    adaptive = kind in (CayleyAdam, POGO, MomentumStiefelAdam, SPEL)
    reference = torch.optim.Adam if adaptive else torch.optim.SGD
    first, second = nn.Parameter(torch.linspace(-1, 1, 6)), nn.Parameter(torch.linspace(-1, 1, 6))
    ours = kind([frame(6, 2), first], lr=0.1, **options)
    momentum = ours.defaults.get("momentum", 0.0)
    theirs = reference([second], lr=0.1, **options, **({} if adaptive else {"momentum": momentum}))
    follow([first, second], [ours, theirs])
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (CayleySGD, {"iterations": 6}, "iterations must be an integer from 1 to 5, got 6"),
        (CayleyAdam, {"iterations": 0}, "iterations must be"),
        (CayleyAdam, {"betas": (0.9, 1.0)}, r"betas\[\d\] must be finite and at least 0 and below 1"),
        (Landing, {"attraction": 0.0}, "attraction must be .*, got 0.0"),
        (Landing, {"attraction": float("nan")}, "attraction must be finite"),
        (Landing, {"momentum": -0.1}, "momentum must be finite and at least 0"),
        (POGO, {"radius": 1.5}, "radius must be finite and above 0 and below 1.41421"),
        (POGO, {"eps": -1.0}, "eps must be finite and at least 0"),
        (RandomSubmanifoldDescent, {"size": 1}, "size must be at least 2, got 1"),
        (RandomSubmanifoldDescent, {"sampling": "rows"}, "'permutation', 'haar', got 'rows'"),
        (MomentumStiefelSGD, {"momentum": float("nan")}, "momentum must be finite and at least 0"),
        (MomentumStiefelAdam, {"betas": (-0.1, 0.9)}, r"betas\[\d\] must be finite and at least 0 and below 1"),
        (ManifoldMuon, {"lr": 1.0}, "lr must be .*below 1, got 1.0"),
        (ManifoldMuon, {"dual_steps": -1}, "dual_steps must be at least 0"),
        (SPEL, {"lr": 2.0}, "lr must be .*below 1, got 2.0"),
    ],
)
def test_bad_hyperparameters_are_refused_for_all_parameters_or_for_a_group(kind, options, message):
    point = frame(6, 2)
    with pytest.raises(ValueError, match=message):
        kind([point], **options)
    with pytest.raises(ValueError, match=message):
        kind([{"params": [point], **options}])


@pytest.mark.parametrize("kind", [*FRAMES, ManifoldMuon])
def test_a_gradient_that_is_not_finite_raises_where_that_is_asked_for(kind):
    points = [frame(6, 2), frame(6, 2, seed=1)]
    optimizer = kind(points, lr=0.1, error_if_nonfinite=True)
    start = [point.detach().clone() for point in points]
    points[0].grad, points[1].grad = draw(6, 2), torch.full((6, 2), float("nan"), dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"\(6, 2\) is not finite, and no parameter has been moved"):
        optimizer.step()
    assert all(torch.equal(point, before) for point, before in zip(points, start, strict=True))


def test_frames_of_networks_train_with_every_retraction_of_the_manifold():
    for retraction in (QR(), Polar(), Cayley()):
        point = frame(6, 2, manifold=Stiefel(retraction=retraction))
        follow([point], [Retracted(torch.optim.Adam, [point], lr=0.05)])
        assert orthogonality_error(point) < 1e-12
