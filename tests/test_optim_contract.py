"""What every optimizer owes its user: batches, files, schedulers, closures, scaled losses, gradients left alone."""

import copy
import io

import geoopt
import pytest
import torch
from optimizer_registry import GRASSMANN, NAMES, ROWS, Row
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sttp.manifolds import Cayley, Grassmann, Riemannian, Stiefel, haar_frame, orthogonality_error

rows = pytest.mark.parametrize("row", ROWS, ids=NAMES)
RATE = 0.05


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frame(*shape: int, manifold: geoopt.Manifold | None = None, seed: int = 0, dtype=torch.float64) -> Tensor:
    start = haar_frame(*shape, dtype=dtype, generator=generator_of(seed))
    return geoopt.ManifoldParameter(start, manifold=manifold or Stiefel())


def several(row: Row, dtype=torch.float64) -> list[Tensor]:
    """Return frames of several manifolds and shapes, the extreme ones p = 1 and p = n among them, and a plain one."""
    manifolds = [
        m for m in (Stiefel(), Stiefel("canonical", Cayley()), Grassmann()) if type(m) in map(type, row.manifolds)
    ]
    frames = []
    for index, shape in enumerate([(7, 3), (7, 3), (6, 1), (4, 4), (2, 7, 3), (7, 3)]):
        manifold = manifolds[index % len(manifolds)]
        square = isinstance(manifold, Grassmann) and shape == (4, 4)
        frames.append(frame(*shape, manifold=Stiefel() if square else manifold, seed=index, dtype=dtype))
    return [*frames, nn.Parameter(torch.linspace(-1, 1, 4, dtype=dtype))]


def fill_gradients(parameters: list[Tensor], step: int, gaps: bool = True) -> None:
    """Give random gradients; with ``gaps`` to all parameters but one, another one at each step."""
    generator = generator_of(step)
    for index, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, dtype=torch.float64, generator=generator).to(parameter.dtype)
        parameter.grad = None if gaps and (index + step) % len(parameters) == 0 else gradient


def train(parameters: list[Tensor], optimizer: torch.optim.Optimizer, steps: range, gaps: bool = True) -> None:
    for step in steps:
        fill_gradients(parameters, step, gaps)
        optimizer.step()


def values(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


# --- feasibility ---


@rows
def test_float32_frames_stay_as_orthonormal_as_claimed_over_rough_steps(row):
    for manifold in row.manifolds:
        points = [frame(16, 4, manifold=manifold, seed=seed, dtype=torch.float32) for seed in range(3)]
        start = values(points)
        optimizer = row.make(points, lr=row.rough)
        worst = 0.0
        for step in range(120):
            train(points, optimizer, range(step, step + 1), gaps=False)
            worst = max(worst, float(orthogonality_error(torch.stack(points)).max()))
        assert worst < row.feasibility
        assert all((point - before).abs().max() > 0.05 for point, before in zip(points, start, strict=True))


# --- batches ---


@rows
def test_many_frames_move_as_each_would_alone(row):
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-4)):
        together, apart = several(row, dtype), several(row, dtype)
        start = values(together)
        optimizer = row.make(together, lr=RATE)
        others = [row.make([parameter], lr=RATE) for parameter in apart]
        for step in range(5):
            fill_gradients(together, step)
            fill_gradients(apart, step)
            for each in (optimizer, *others):
                each.step()
        for one, other, before in zip(together, apart, start, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
            assert (one - before).abs().max() > 1e-3


# --- conventions of torch ---


@rows
def test_a_run_continues_to_the_last_bit_after_saving_and_loading(row):
    uninterrupted, interrupted, resumed = several(row), several(row), several(row)
    optimizer = row.make(uninterrupted, lr=RATE)
    train(uninterrupted, optimizer, range(9))
    first = row.make(interrupted, lr=RATE)
    train(interrupted, first, range(4))
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "parameters": values(interrupted)}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    with torch.no_grad():
        for parameter, kept in zip(resumed, saved["parameters"], strict=True):
            parameter.copy_(kept)
    second = row.make(resumed, lr=123.0 if row.name not in ("manifold-muon", "spel") else 0.5)
    second.load_state_dict(saved["optimizer"])
    train(resumed, second, range(4, 9))
    for one, other in zip(uninterrupted, resumed, strict=True):
        assert torch.equal(one, other)
        assert optimizer.state[one].keys() == second.state[other].keys()


@rows
def test_a_copy_goes_on_by_itself_as_the_original_does(row):
    parameters = several(row)
    optimizer = row.make(parameters, lr=RATE)
    train(parameters, optimizer, range(3))
    twins, twin = copy.deepcopy((parameters, optimizer))
    train(twins, twin, range(3, 6))
    assert not torch.equal(twins[0], parameters[0])
    train(parameters, optimizer, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(parameters, twins, strict=True))


@rows
def test_parameter_groups_have_rates_of_their_own_and_schedulers_drive_them(row):
    slow, fast, still = frame(6, 2), frame(6, 2), frame(6, 2)
    optimizer = row.make([{"params": [slow], "lr": 0.001}, {"params": [fast]}], lr=RATE)
    optimizer.add_param_group({"params": [still], "lr": 0.0})
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    start = slow.detach().clone()
    fill_gradients([slow, slow], 1, gaps=False)
    fast.grad = still.grad = slow.grad
    optimizer.step()
    scheduler.step()
    moved = [float((point.detach() - start).norm()) for point in (slow, fast, still)]
    assert 0 < 5 * moved[0] < moved[1]
    assert moved[2] < 1e-14
    assert scheduler.get_last_lr() == [0.0005, RATE / 2, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.0005, RATE / 2, 0.0]


@rows
def test_a_closure_is_called_once_with_gradients_and_its_loss_returned(row):
    point = frame(6, 2)
    optimizer = row.make([point], lr=1e-2)
    losses = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (point - torch.ones_like(point)).pow(3).sum()
        loss.backward()
        losses.append(loss)
        return loss

    with torch.no_grad():
        returned = optimizer.step(closure)
    assert losses == [returned]
    optimizer.step(closure)
    assert losses[1] < losses[0]


@rows
def test_maximize_is_descent_on_the_negative(row):
    up, down = several(row), several(row)
    ascent, descent = row.make(up, lr=RATE, maximize=True), row.make(down, lr=RATE)
    for step in range(4):
        fill_gradients(up, step)
        fill_gradients(down, step)
        for parameter in down:
            if parameter.grad is not None:
                parameter.grad.neg_()
        ascent.step()
        descent.step()
    for one, other in zip(up, down, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@rows
def test_the_gradient_is_left_untouched(row):
    parameters = several(row)
    optimizer = row.make(parameters, lr=RATE)
    fill_gradients(parameters, 1)
    kept = [(parameter.grad, None if parameter.grad is None else parameter.grad.clone()) for parameter in parameters]
    optimizer.step()
    for parameter, (gradient, copied) in zip(parameters, kept, strict=True):
        assert parameter.grad is gradient
        assert gradient is None or torch.equal(gradient, copied)


@rows
def test_a_gradient_scaler_changes_nothing_and_skips_overflows(row):
    plain, scaled = frame(6, 2, dtype=torch.float32), frame(6, 2, dtype=torch.float32)
    optimizer, scaled_optimizer = row.make([plain], lr=RATE), row.make([scaled], lr=RATE)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(4):
        optimizer.zero_grad()
        scaled_optimizer.zero_grad()
        scaler.scale(scaled.pow(3).sum() * (float("inf") if step == 1 else 1)).backward()
        scaler.step(scaled_optimizer)
        scaler.update()
        if step != 1:
            plain.pow(3).sum().backward()
            optimizer.step()
    assert torch.equal(plain, scaled)


@rows
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_taken_for_zero_and_spoils_nothing(row, bad):
    """In one frame of a batch, and in one of several parameters of a shape; the state stays finite as well."""
    parameters = [frame(6, 2), frame(6, 2, seed=1), frame(2, 6, 2, seed=2)]
    others = [parameter.detach().clone() for parameter in parameters]
    others = [geoopt.ManifoldParameter(other, manifold=Stiefel()) for other in others]
    optimizer, reference = row.make(parameters, lr=RATE), row.make(others, lr=RATE)
    for step in range(3):
        fill_gradients(parameters, step, gaps=False)
        fill_gradients(others, step, gaps=False)
        if step == 1:
            parameters[0].grad[2, 1] = bad
            parameters[2].grad[1, 0, 0] = bad
            others[0].grad.zero_()
            others[2].grad[1].zero_()
        optimizer.step()
        reference.step()
    for one, other in zip(parameters, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        assert orthogonality_error(one).max() < row.feasibility
    for state in optimizer.state.values():
        assert all(value.isfinite().all() for value in state.values() if isinstance(value, Tensor))


@rows
def test_a_zero_gradient_and_a_stationary_point_leave_a_frame_where_it_is(row):
    """No 0/0: at the optimum of tr(CᵀX) the Riemannian gradient is rounding, and a zero gradient is a zero step."""
    resting, optimal = frame(6, 2), frame(6, 2, seed=1)
    start = values([resting, optimal])
    optimizer = row.make([resting, optimal], lr=1e-3)
    for _ in range(3):
        resting.grad = torch.zeros_like(resting)
        optimal.grad = -3.0 * optimal.detach()
        optimizer.step()
    torch.testing.assert_close(resting.detach(), start[0], rtol=0, atol=1e-13)
    assert (optimal - start[1]).norm() < 1e-2
    assert optimal.isfinite().all()


# --- what is refused ---


@rows
def test_the_embedded_metric_is_refused_or_taken_whole(row):
    from sttp.layers import STTP, reparameterize

    torch.manual_seed(0)
    network = reparameterize(
        nn.Sequential(nn.Linear(8, 8)), STTP(2, frames=Riemannian(redundant=False, metric="embedded"))
    )
    if row.takes_all and not row.name.startswith("retracted"):
        row.make(network.parameters(), lr=RATE)
        return
    with pytest.raises(
        TypeError, match=r"metric='embedded'.*use RiemannianAdam or RiemannianSGD, or metric='euclidean'"
    ):
        row.make(network.parameters(), lr=RATE)


@rows
def test_other_manifolds_are_taken_or_refused_by_name(row):
    point = geoopt.ManifoldParameter(torch.tensor([0.6, 0.8], dtype=torch.float64), manifold=geoopt.Sphere())
    if not row.takes_all:
        with pytest.raises(TypeError, match="got a parameter on Sphere; use RiemannianAdam or RiemannianSGD"):
            row.make([point], lr=RATE)
        optimizer = row.make([frame(3, 2)], lr=RATE)
        with pytest.raises(TypeError, match="Sphere"):
            optimizer.add_param_group({"params": [point]})
        assert len(optimizer.param_groups) == 1
        return
    optimizer = row.make([point], lr=RATE)
    train([point], optimizer, range(3), gaps=False)
    assert abs(point.norm() - 1) < 1e-12
    assert abs(point[0] - 0.6) > 1e-4


@rows
def test_low_precision_sparse_gradients_and_negative_rates_are_refused(row):
    low = geoopt.ManifoldParameter(torch.eye(6, 2, dtype=torch.bfloat16), manifold=Stiefel())
    with pytest.raises(TypeError, match=r"float32 or float64, got torch\.bfloat16"):
        row.make([low], lr=RATE)
    sparse = frame(6, 2)
    sparse.grad = torch.ones(6, 2, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match=r"sparse.*\(6, 2\).*sparse=False"):
        row.make([sparse], lr=RATE).step()
    with pytest.raises(ValueError, match="-1"):
        row.make([frame(6, 2)], lr=-1.0)


def test_the_sweep_is_not_empty():
    assert len(ROWS) >= 16
    assert len(set(NAMES)) == len(NAMES)
    assert sum(GRASSMANN in row.manifolds for row in ROWS) >= 14


class _Count(TorchDispatchMode):
    """Counts the operations that launch a kernel, which a view does not, and those that read a value back."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.reads = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        aten = torch.ops.aten
        reads = function in (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)
        self.reads += reads
        self.operations += not (reads or function.is_view or function is aten._unsafe_view.default)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("row", [row for row in ROWS if "retracted" not in row.name], ids=lambda row: row.name)
def test_a_step_costs_as_many_kernels_for_many_frames_as_for_one(row, monkeypatch):
    """And reads nothing back, as on a GPU; of a retracted optimizer that depends on the optimizer."""
    monkeypatch.setattr("sttp.optim._magnitudes.can_look", lambda tensor: False)
    counts, reads = [], []
    for number in (1, 30):
        points = [frame(6, 2, seed=seed) for seed in range(number)]
        optimizer = row.make(points, lr=RATE)
        train(points, optimizer, range(2), gaps=False)
        with _Count() as count:
            optimizer.step()
        counts.append(count.operations)
        reads.append(count.reads)
    assert counts[0] == counts[1]
    assert counts[0] < 50 or not row.name.startswith("riemannian")
    # Random draws are made from counts of steps, which lie on the CPU wherever the frame is: once a frame, and a stack.
    assert reads == ([2, 31] if "random" in row.name else [0, 0])
