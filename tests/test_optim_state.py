"""Optimizer state: its size, its way through a file, gradients that come and go, scaled losses, and what is refused."""

import io

import geoopt
import pytest
import torch
from torch import Tensor, nn

from sttp.manifolds import Grassmann, Stiefel, haar_frame
from sttp.optim import RiemannianAdam, RiemannianSGD

KINDS = [
    pytest.param(RiemannianAdam, {}, id="adam"),
    pytest.param(RiemannianAdam, {"lr": torch.tensor(0.02)}, id="adam-tensor-lr"),
    pytest.param(RiemannianSGD, {}, id="sgd"),
    pytest.param(RiemannianSGD, {"momentum": 0.9, "nesterov": True}, id="sgd-momentum"),
]


def frame(*shape: int, manifold: geoopt.Manifold | None = None, seed: int = 0) -> geoopt.ManifoldParameter:
    generator = torch.Generator().manual_seed(seed)
    return geoopt.ManifoldParameter(haar_frame(*shape, generator=generator), manifold=manifold or Stiefel())


def mixed_parameters() -> list[nn.Parameter]:
    equal = [frame(6, 2, seed=seed) for seed in range(3)]
    others = [frame(5, 3, manifold=Grassmann(), seed=3), frame(2, 6, 2, seed=4)]
    return [*equal, *others, nn.Parameter(torch.linspace(0, 1, 4))]


def fill_gradients(parameters: list[nn.Parameter], step: int) -> None:
    """Give gradients to all parameters but one, which changes from step to step."""
    generator = torch.Generator().manual_seed(step)
    for index, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        parameter.grad = None if (index + step) % 3 == 0 else gradient


def train(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        fill_gradients(parameters, step)
        optimizer.step()


# --- what is kept ---


def test_the_second_moment_of_a_frame_is_one_number():
    single, batch, plain = frame(6, 2), frame(4, 6, 2), nn.Parameter(torch.zeros(3))
    optimizer = RiemannianAdam([single, batch, plain])
    for parameter in (single, batch, plain):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    sizes = [optimizer.state[parameter]["exp_avg_sq"].numel() for parameter in (single, batch, plain)]
    assert sizes == [1, 4, 3]
    assert optimizer.state[single]["exp_avg"].shape == (6, 2)


def test_descent_without_momentum_keeps_nothing():
    parameters = mixed_parameters()
    optimizer = RiemannianSGD(parameters)
    train(parameters, optimizer, range(3))
    assert not any(optimizer.state.values())


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_state_dict_has_tensors_of_its_own(kind, options):
    """A view of the stack that many frames are moved in would drag all of it into every file."""
    parameters = mixed_parameters()
    optimizer = kind(parameters, **options)
    train(parameters, optimizer, range(3))
    for state in optimizer.state_dict()["state"].values():
        for tensor in state.values():
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_state_that_is_replaced_from_outside_is_what_the_next_step_takes(kind):
    """The stack of the last step must not outlive a change of the state that it stands for."""
    names = {RiemannianAdam: "exp_avg", RiemannianSGD: "momentum_buffer"}
    options = {RiemannianAdam: {"lr": 0.1}, RiemannianSGD: {"lr": 0.1, "momentum": 0.9}}
    ends = []
    for replace in (False, True):
        parameters = [frame(6, 2, seed=seed) for seed in range(3)]
        optimizer = kind(parameters, **options[kind])
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        state = optimizer.state[parameters[1]]
        before = parameters[1].detach().clone()
        if replace:
            state[names[kind]] = torch.zeros_like(parameters[1])
        else:
            state[names[kind]].zero_()  # in place it reaches the stack itself
        optimizer.step()
        torch.testing.assert_close(parameters[1].detach(), before)
        assert not torch.allclose(parameters[0], before)
        ends.append([parameter.detach().clone() for parameter in parameters])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


def test_a_state_dict_does_not_change_with_further_steps():
    parameters = [frame(6, 2, seed=seed) for seed in range(3)]
    optimizer = RiemannianAdam(parameters)
    train(parameters, optimizer, range(3))
    saved = optimizer.state_dict()["state"][0]["exp_avg"]
    kept = saved.clone()
    train(parameters, optimizer, range(3, 6))
    assert torch.equal(saved, kept)


# --- through a file ---


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_run_continues_to_the_last_bit_after_saving_and_loading(kind, options):
    uninterrupted, interrupted = mixed_parameters(), mixed_parameters()
    optimizer = kind(uninterrupted, **options)
    train(uninterrupted, optimizer, range(9))

    first = kind(interrupted, **options)
    train(interrupted, first, range(4))
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "parameters": [p.detach() for p in interrupted]}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    resumed = mixed_parameters()
    with torch.no_grad():
        for parameter, values in zip(resumed, saved["parameters"], strict=True):
            parameter.copy_(values)
    second = kind(resumed, lr=123.0)
    second.load_state_dict(saved["optimizer"])
    train(resumed, second, range(4, 9))
    for one, other in zip(uninterrupted, resumed, strict=True):
        assert torch.equal(one, other)
        assert optimizer.state[one].keys() == second.state[other].keys()


def test_a_loaded_step_count_follows_its_parameter_to_the_device():
    """A file read to the CPU must serve parameters elsewhere; the meta device stands in for a GPU."""
    here = geoopt.ManifoldParameter(torch.ones(3, 2), manifold=geoopt.Euclidean())
    there = geoopt.ManifoldParameter(torch.ones(3, 2, device="meta"), manifold=geoopt.Euclidean())
    first, second = RiemannianAdam([here]), RiemannianAdam([there])
    here.grad = torch.ones(3, 2)
    first.step()
    second.load_state_dict(first.state_dict())
    assert {tensor.device.type for tensor in second.state[there].values()} == {"meta"}


# --- gradients that come and go ---


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_gradients_that_come_only_at_some_steps(kind, options):
    """Frames of one shape that have made different numbers of steps are moved together, each by its own count."""
    together, apart = mixed_parameters(), mixed_parameters()
    optimizers = [kind(together, **options), *(kind([parameter], **options) for parameter in apart)]
    for step in range(7):
        fill_gradients(together, step)
        fill_gradients(apart, step)
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_frozen_parameters_and_those_without_gradient_stay(kind, options):
    moving, frozen, idle = frame(6, 2), frame(6, 2, seed=1), frame(6, 2, seed=2)
    start = [parameter.detach().clone() for parameter in (moving, frozen, idle)]
    frozen.requires_grad_(False)
    optimizer = kind([moving, frozen, idle], weight_decay=0.1, **options)
    moving.pow(3).sum().backward()
    optimizer.step()
    assert not torch.equal(moving, start[0])
    assert torch.equal(frozen, start[1])
    assert torch.equal(idle, start[2])
    assert set(optimizer.state) == {moving}


# --- what is refused ---


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("sparse", [frame(6, 2), nn.Parameter(torch.ones(6, 2))], ids=["frame", "plain"])
def test_a_sparse_gradient_is_refused_before_any_parameter_has_moved(kind, strict, sparse):
    first = frame(6, 2)
    before = first.detach().clone()
    first.grad, sparse.grad = torch.ones(6, 2), torch.ones(6, 2).to_sparse()
    optimizer = kind([{"params": [first]}, {"params": [sparse]}], error_if_nonfinite=strict)
    with pytest.raises(RuntimeError, match=r"sparse.*\(6, 2\).*sparse=False"):
        optimizer.step()
    assert torch.equal(first, before)


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_frames_are_refused_and_the_optimizer_left_as_it_was(kind, dtype):
    low = geoopt.ManifoldParameter(torch.eye(6, 2, dtype=dtype), manifold=Stiefel())
    with pytest.raises(TypeError, match=rf"float32 or float64, got {dtype}"):
        kind([low])
    optimizer = kind([frame(6, 2)])
    with pytest.raises(TypeError, match=str(dtype)):
        optimizer.add_param_group({"params": [low]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RiemannianAdam, {"lr": -1.0}, "lr must be finite and at least 0.*, got -1.0"),
        (RiemannianAdam, {"lr": float("nan")}, "lr must be finite.*, got nan"),
        (RiemannianAdam, {"lr": torch.tensor(-1.0)}, "lr must be finite and at least 0"),
        (RiemannianAdam, {"eps": -1e-8}, "eps must be finite and at least 0.*, got -1e-08"),
        (RiemannianAdam, {"weight_decay": -0.1}, "weight_decay must be finite and at least 0"),
        (RiemannianAdam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be finite and at least 0 and below 1, got 1.0"),
        (RiemannianAdam, {"betas": (-0.1, 0.9)}, r"betas\[0\] must be finite and at least 0"),
        (RiemannianAdam, {"second_moment": "entries"}, "'entry', 'frame', got 'entries'"),
        (RiemannianSGD, {"lr": -1.0}, "lr must be finite and at least 0"),
        (RiemannianSGD, {"momentum": -0.5}, "momentum must be finite and at least 0.*, got -0.5"),
        (RiemannianSGD, {"weight_decay": float("nan")}, "weight_decay must be finite and at least 0"),
        (RiemannianSGD, {"nesterov": True}, "nesterov=True wants momentum > 0"),
        (RiemannianSGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
    ],
)
def test_bad_hyperparameters_are_refused_for_all_parameters_or_for_a_group(kind, options, message):
    parameter: Tensor = frame(6, 2)
    with pytest.raises(ValueError, match=message):
        kind([parameter], **options)
    with pytest.raises(ValueError, match=message):
        kind([{"params": [parameter], **options}])
