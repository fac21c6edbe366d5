"""Training under the embedded metric: the optimizers take all parameters of a weight together."""

import copy
import io
import pickle

import geoopt
import pytest
import torch
from torch import nn
from trains import generator

from sttp.layers import STTP, SVDP, Free, Identity, Lipschitz, Riemannian, reparameterize, spectral_weights
from sttp.manifolds import (
    Cayley,
    Embedded,
    EmbeddedTrain,
    Polar,
    SpectralTensorTrain,
    TrainMember,
    TrainPoint,
    TrainShape,
    TrainTangent,
    parameter_manifolds,
)
from sttp.optim import RiemannianAdam, RiemannianSGD

EMBEDDED = Riemannian(redundant=False, metric="embedded")
SPECIFICATIONS = {
    "sttp": STTP(3, EMBEDDED),
    "sttp-identity": STTP(3, EMBEDDED, Identity()),
    "sttp-polar": STTP(3, Riemannian(redundant=False, metric="embedded", retraction=Polar())),
    "sttp-cayley": STTP(3, Riemannian(redundant=False, metric="embedded", retraction=Cayley())),
    "svdp": SVDP(3, EMBEDDED),
    "svdp-identity": SVDP(3, EMBEDDED, Identity()),
}
OPTIMIZERS = {
    "adam": lambda parameters: RiemannianAdam(parameters, lr=2e-2),
    "sgd": lambda parameters: RiemannianSGD(parameters, lr=2e-2, momentum=0.9),
    "nesterov": lambda parameters: RiemannianSGD(parameters, lr=2e-2, momentum=0.9, nesterov=True),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def embedded_or(metric, damping):
    return Embedded(damping) if metric == "embedded" else metric


def make_network(specification=SPECIFICATIONS["sttp"]) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    return reparameterize(network, specification, generator=generator(0))


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    source = generator(1)
    labels = torch.arange(32) % 4
    patterns = torch.randn(4, 1, 4, 4, generator=source)
    images = patterns[labels] + 0.5 * torch.randn(32, 1, 4, 4, generator=source)
    images = images.to(next(network.parameters()).dtype)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def layer_of(
    shape: TrainShape, seed=0, damping=0.0, spectrum=None, values=None
) -> tuple[list[nn.Parameter], TrainPoint]:
    """Return the parameters of a random weight in float64, and the point that they stand for."""
    manifold = SpectralTensorTrain(shape, Riemannian(redundant=False, metric=Embedded(damping=damping)), spectrum)
    point = manifold.random(dtype=torch.float64, generator=generator(seed))
    if values is not None:
        point = TrainPoint(point.coordinates, torch.tensor(values, dtype=torch.float64), point.signs)
    return parameters_of(manifold, point), point


def parameters_of(manifold: SpectralTensorTrain, point: TrainPoint) -> list[nn.Parameter]:
    tensors = [*point.coordinates, *([point.spectrum] if point.spectrum.numel() else [])]
    return [
        nn.Parameter(tensor.clone()) if kind is None else geoopt.ManifoldParameter(tensor.clone(), manifold=kind)
        for tensor, kind in zip(tensors, parameter_manifolds(manifold), strict=False)
    ]


def weight_of(manifold: SpectralTensorTrain, parameters: list[nn.Parameter]) -> torch.Tensor:
    frames = tuple(parameters[: len(manifold.charts)])
    spectrum = parameters[-1] if len(parameters) > len(frames) else frames[0].new_empty(0)
    return manifold.to_matrix(TrainPoint(frames, spectrum, (None,) * len(frames)))


def whole_of(parameters: list[nn.Parameter]) -> EmbeddedTrain:
    return parameters[0].manifold.whole


SHAPE = TrainShape((2, 3, 2), (2, 2, 3), 3)


# --- networks ---


@pytest.mark.parametrize(
    ("specification", "optimizer"), [*zip(SPECIFICATIONS.values(), [*OPTIMIZERS.values()] * 2, strict=True)]
)
def test_the_loss_falls_and_all_parameters_move(specification, optimizer):
    network = make_network(specification)
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    losses = train(network, optimizer(network.parameters()), steps=40)
    assert losses[0] > 1
    assert losses[-1] < 0.2 * losses[0]
    for weight in spectral_weights(network).values():
        assert weight.orthogonality_error() < 1e-5
    unmoved = [name for name, parameter in network.named_parameters() if torch.equal(parameter, start[name])]
    # But a single sign, which has no freedom; the gradient of a bias that goes into a normalization is rounding.
    assert all(start[name].numel() <= 1 for name in unmoved if not name.endswith("bias"))


@every_optimizer
def test_frames_stay_feasible_in_float32(optimizer):
    frames = Riemannian(redundant=False, metric="embedded")
    manifold = SpectralTensorTrain(TrainShape((2, 4, 4), (4, 4, 2), 8), frames)
    point = manifold.random(dtype=torch.float32, generator=generator(2))
    parameters = parameters_of(manifold, point)
    target = torch.randn(32, 32, generator=generator(3))
    steps = optimizer(parameters)
    weight = None
    for _ in range(200):
        steps.zero_grad()
        weight = weight_of(manifold, parameters)
        ((weight - target).square().sum() / 2).backward()
        steps.step()
    for frame in parameters[:-1]:
        gram = frame.detach().double().mT @ frame.detach().double()
        assert torch.linalg.matrix_norm(gram - torch.eye(gram.shape[-1])) < 1e-5
    assert (weight - target).norm() < target.norm()


@every_optimizer
def test_a_padded_train_is_trained(optimizer):
    manifold = SpectralTensorTrain(TrainShape((2, 3), (2, 2, 2), 3, 5, 7, pad=True), EMBEDDED)
    goal = manifold.to_matrix(manifold.random(dtype=torch.float64, generator=generator(5)))
    parameters = parameters_of(manifold, manifold.random(dtype=torch.float64, generator=generator(4)))
    steps = optimizer(parameters)
    losses = []
    for _ in range(150):
        steps.zero_grad()
        loss = (weight_of(manifold, parameters) - goal).square().sum()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


# --- one step ---


def set_slopes(parameters, seed):
    source = generator(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=source)


def point_and_slope(parameters, manifold):
    count = len(manifold.charts)
    point = TrainPoint(tuple(p.detach().clone() for p in parameters[:count]), parameters[count].detach().clone(), ())
    point = TrainPoint(point.coordinates, point.spectrum, (None,) * count)
    slopes = [parameter.grad.clone() for parameter in parameters]
    return point, TrainTangent(tuple(slopes[:count]), slopes[count])


def test_gradient_descent_moves_the_weight_along_the_projected_residual():
    parameters, point = layer_of(SHAPE)
    manifold = whole_of(parameters).train
    target = torch.randn(12, 12, dtype=torch.float64, generator=generator(3))
    rate = 1e-6
    optimizer = RiemannianSGD(parameters, lr=rate)
    weight = weight_of(manifold, parameters)
    ((weight - target).square().sum() / 2).backward()
    optimizer.step()
    change = weight_of(manifold, parameters) - weight
    expected = -rate * manifold.project_matrix(point, (weight - target).detach())
    assert (change - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("maximize", [False, True])
def test_steps_are_those_of_the_product_manifold(maximize):
    parameters, _ = layer_of(SHAPE, damping=1e-2)
    manifold = whole_of(parameters).train
    sign = 1 if maximize else -1
    set_slopes(parameters, 1)
    before = [parameter.grad.clone() for parameter in parameters]
    point, slope = point_and_slope(parameters, manifold)
    gradient = manifold.egrad2rgrad(point, slope)
    for kind, scale in (
        (RiemannianSGD, 1.0),
        # Adam's first step: m̂ = g, and v̂ = ⟨g, g⟩/N of the whole train, N its entries.
        (RiemannianAdam, float((whole_of(parameters).dimension / manifold.inner(point, gradient)).sqrt())),
    ):
        ours = copy.deepcopy(parameters)
        for parameter, grad in zip(ours, before, strict=True):
            parameter.grad = grad.clone()
        kind(ours, lr=1e-2, maximize=maximize).step()
        step = TrainTangent(
            tuple(sign * 1e-2 * scale * x for x in gradient.coordinates), sign * 1e-2 * scale * gradient.spectrum
        )
        end = manifold.retr(point, step)
        for parameter, expected in zip(ours, (*end.coordinates, end.spectrum), strict=True):
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-9)
        for parameter, grad in zip(ours, before, strict=True):
            assert torch.equal(parameter.grad, grad)


@every_optimizer
def test_weights_taken_together_move_as_they_do_alone(optimizer):
    shapes = [SHAPE, SHAPE, TrainShape((4,), (6,), 2), SHAPE]
    trains = [layer_of(shape, seed, damping=1e-3)[0] for seed, shape in enumerate(shapes)]
    alone = copy.deepcopy(trains)
    together = [parameter for parameters in reversed(trains) for parameter in reversed(parameters)]  # in any order
    one_for_all, one_each = optimizer(together), [optimizer(parameters) for parameters in alone]
    for step in range(4):
        for index, (ours, theirs) in enumerate(zip(trains, alone, strict=True)):
            set_slopes(ours, 10 * step + index)
            set_slopes(theirs, 10 * step + index)
        one_for_all.step()
        for each in one_each:
            each.step()
    for ours, theirs in zip(trains, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.detach(), other.detach(), rtol=0, atol=1e-12)


def test_adam_keeps_one_second_moment_for_a_weight():
    parameters, _ = layer_of(SHAPE, damping=1e-2)
    manifold = whole_of(parameters).train
    for convention, entries in (("entry", whole_of(parameters).dimension), ("frame", 1)):
        ours = copy.deepcopy(parameters)
        set_slopes(ours, 1)
        point, slope = point_and_slope(ours, manifold)
        expected = 1e-3 * manifold.inner(point, manifold.egrad2rgrad(point, slope)) / entries
        optimizer = RiemannianAdam(ours, second_moment=convention)
        optimizer.step()
        moments = [optimizer.state[parameter]["exp_avg_sq"] for parameter in ours]
        assert all(moment.shape == (1,) for moment in moments)
        torch.testing.assert_close(torch.cat(moments), expected.expand(len(moments)))


def test_each_parameter_owns_its_state_in_a_state_dict():
    """Nothing of the stack that a step is made in gets into a file: saved states are then no larger than needed."""
    parameters, _ = layer_of(SHAPE, damping=1e-2)
    for optimizer in (RiemannianAdam(parameters), RiemannianSGD(parameters, momentum=0.9)):
        set_slopes(parameters, 1)
        optimizer.step()
        tensors = [tensor for state in optimizer.state_dict()["state"].values() for tensor in state.values()]
        assert len(tensors) >= len(parameters)
        assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_weight_decay_reaches_the_spectrum_alone(kind):
    plain, decayed = (layer_of(SHAPE, damping=1e-2)[0] for _ in range(2))
    set_slopes(plain, 1)
    for parameter, source in zip(decayed, plain, strict=True):
        parameter.grad = source.grad.clone()
    decayed[-1].grad -= 0.5 * decayed[-1].detach()
    kind(plain, lr=1e-2).step()
    kind(decayed, lr=1e-2, weight_decay=0.5).step()
    for one, other in zip(plain, decayed, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("spectrum", [Free(), Identity()])
@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_weights_of_one_entry_a_row_or_a_column(kind, spectrum):
    for rows, columns in ((1, 1), (1, 6), (6, 1)):
        parameters, _ = layer_of(TrainShape((rows,), (columns,), 2), spectrum=spectrum)
        manifold = whole_of(parameters).train
        goal = torch.ones(rows, columns, dtype=torch.float64) / (rows * columns) ** 0.5
        goal = goal * torch.where(weight_of(manifold, parameters).detach()[0, 0] < 0, -1.0, 1.0)
        optimizer = kind(parameters, lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            (weight_of(manifold, parameters) - goal).square().sum().backward()
            optimizer.step()
        assert (weight_of(manifold, parameters) - goal).norm() < 0.1


# --- state ---


@every_optimizer
def test_a_saved_run_continues_to_the_last_bit(optimizer):
    network = make_network()
    steps = optimizer(network.parameters())
    train(network, steps, 5)
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": steps.state_dict()}, file)
    expected = train(network, steps, 5)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = make_network()
    again_steps = optimizer(again.parameters())
    again.load_state_dict(saved["network"])
    again_steps.load_state_dict(saved["optimizer"])
    assert train(again, again_steps, 5) == expected
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@every_optimizer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copied_network_trains_alike_and_apart(duplicate, optimizer):
    network = make_network()
    twin = duplicate(network)
    wholes = [
        {id(parameter.manifold.whole) for parameter in each.parameters() if hasattr(parameter, "manifold")}
        for each in (network, twin)
    ]
    assert len(wholes[0]) == len(wholes[1]) == 4
    assert not wholes[0] & wholes[1]
    losses = train(network, optimizer(network.parameters()), 5)
    assert train(twin, optimizer(twin.parameters()), 5) == losses


def test_a_network_and_its_optimizer_copied_together_go_on():
    network = make_network()
    optimizer = RiemannianAdam(network.parameters(), lr=1e-2)
    train(network, optimizer, 3)
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    assert train(twin, twin_optimizer, 3) == train(network, optimizer, 3)


def test_a_converted_network_still_trains_under_the_metric():
    network = make_network().double()
    assert all(isinstance(p.manifold, TrainMember) for p in network.parameters() if hasattr(p, "manifold"))
    losses = train(network, RiemannianAdam(network.parameters(), lr=2e-2), 30)
    assert losses[-1] < 0.5 * losses[0]


# --- what is refused ---


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_a_weight_in_parts_is_refused_and_left_as_it_was(kind):
    parameters, _ = layer_of(SHAPE)
    for groups in (
        [{"params": parameters[:-1]}, {"params": parameters[-1:]}],
        [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:]}],
        [{"params": parameters[1:]}],
    ):
        set_slopes(parameters, 1)
        start = [parameter.detach().clone() for parameter in parameters]
        with pytest.raises(ValueError, match=r"takes the 5 parameters of a weight together.*metric='euclidean'"):
            kind(groups, lr=1e-2).step()
        assert all(torch.equal(parameter, old) for parameter, old in zip(parameters, start, strict=True))
    set_slopes(parameters, 1)
    parameters[1].grad = None
    optimizer = kind(parameters, lr=1e-2)
    with pytest.raises(ValueError, match="got 4 of them"):
        optimizer.step()
    for parameter in parameters:
        parameter.grad = None
    optimizer.step()  # a weight that is not trained at all is no error
    set_slopes(parameters, 1)
    optimizer.step()


@pytest.mark.parametrize(
    "stock",
    [
        lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=1e-2),
        lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=1e-2),
        lambda parameters: geoopt.optim.RiemannianLineSearch(parameters),
    ],
    ids=["adam", "sgd", "line-search"],
)
def test_stock_geoopt_optimizers_are_told_the_cure(stock):
    parameters, _ = layer_of(SHAPE)
    manifold = whole_of(parameters).train

    def closure():
        for parameter in parameters:
            parameter.grad = None
        loss = weight_of(manifold, parameters).square().sum()
        loss.backward()
        return loss

    closure()
    start = [parameter.detach().clone() for parameter in parameters]
    with pytest.raises(TypeError, match=r"sttp.optim.RiemannianAdam or RiemannianSGD.*or metric='euclidean'"):
        stock(parameters).step(closure)
    assert all(torch.equal(parameter, old) for parameter, old in zip(parameters, start, strict=True))


def test_a_layer_without_the_metric_is_refused():
    with pytest.raises(ValueError, match="redundant=False"):
        STTP(3, Riemannian(metric="embedded"))
    with pytest.raises(ValueError, match="got Lipschitz"):
        make_network(STTP(3, EMBEDDED, Lipschitz()))


# --- what it is for ---


def steps_to_fit(metric, damping, rate, condition, most):
    """Return the gradient steps from a nearby start to an error of 1e-5 for a target of given condition number."""
    manifold = SpectralTensorTrain(
        TrainShape((2, 2, 2, 2), (2, 2, 2, 2), 4),
        Riemannian(redundant=False, metric=embedded_or(metric, damping)),
    )
    source = generator(0)
    goal = manifold.random(dtype=torch.float64, generator=source)
    values = torch.tensor([condition ** (-k / 3) for k in range(4)], dtype=torch.float64)
    target = manifold.to_matrix(TrainPoint(goal.coordinates, values, goal.signs))
    noise = torch.randn(16, 16, generator=source, dtype=torch.float64)
    start = manifold.from_matrix(target + 0.01 / condition * noise).point
    parameters = parameters_of(manifold, start)
    optimizer = RiemannianSGD(parameters, lr=rate)
    for step in range(most):
        optimizer.zero_grad()
        residual = weight_of(manifold, parameters) - target
        if residual.norm() < 1e-5 * target.norm():
            return step
        (residual.square().sum() / 2).backward()
        optimizer.step()
    return most


def test_the_metric_makes_an_ill_conditioned_target_easy():
    """At the best of five rates each, condition 30 takes 2 steps undamped and 6 damped; the Euclidean metric 2017."""
    rates = (0.3, 0.6, 1.0, 1.5, 1.9)
    undamped, damped, euclidean = (
        min(steps_to_fit(metric, damping, rate, condition=30.0, most=60) for rate in rates)
        for metric, damping in (("embedded", 0.0), ("embedded", 1e-3), ("euclidean", 0.0))
    )
    assert undamped <= 4
    assert damped <= 12
    assert euclidean == 60  # where it is stopped here
