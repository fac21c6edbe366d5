"""Parts from outside the package, defined here, in every place where the package's own work."""

import copy
import json
from dataclasses import dataclass, field
from typing import ClassVar

import geoopt
import pytest
import torch
from torch import Tensor, nn
from trains import generator
from typer.testing import CliRunner

from sttp.layers import (
    STTP,
    SVDP,
    Haar,
    Riemannian,
    decompress,
    factorize,
    load,
    repair,
    reparameterize,
    report,
    save,
    spectral_weights,
)
from sttp.manifolds import (
    Chart,
    FrameManifold,
    Geometry,
    Retraction,
    Spectrum,
    Stiefel,
    Transport,
    _register,
    checks,
    haar_frame,
    qr_positive,
    register_geometry,
    register_retraction,
    register_spectrum,
)
from sttp.optim import (
    LBFGS,
    ConjugateGradient,
    FrameOptimizer,
    Iterate,
    Method,
    Retracted,
    RiemannianAdam,
    TrustRegions,
    WolfeSearch,
    minimize,
)
from sttp.study.cli import app
from sttp.study.cli import run as run_command_line

# --- the parts ---


@register_retraction
@dataclass(frozen=True)
class Folded(Retraction):
    """The orthogonal factor of X + Ξ, by torch's QR and after as many passes as one likes."""

    passes: int = 1

    def retract(self, manifold, point, tangent_vector):
        frame = point + tangent_vector
        for _ in range(self.passes):
            frame = qr_positive(frame)[0]
        return frame


class Rows(geoopt.Manifold):
    """Matrices (..., p, n) with orthonormal rows: nothing that sttp knows."""

    name = "Rows"
    ndim = 2
    reversible = False

    def _check_point_on_manifold(self, x, *, atol=1e-5, rtol=1e-5):
        return torch.allclose(x @ x.mT, torch.eye(x.shape[-2], dtype=x.dtype), atol=atol, rtol=rtol), None

    def _check_vector_on_tangent(self, x, u, *, atol=1e-5, rtol=1e-5):
        return torch.allclose(self.proju(x, u), u, atol=atol, rtol=rtol), None

    def projx(self, x):
        left, _, right = torch.linalg.svd(x, full_matrices=False)
        return left @ right

    def proju(self, x, u):
        inside = u @ x.mT
        return u - (inside + inside.mT) @ x / 2

    def egrad2rgrad(self, x, u):
        return self.proju(x, u)

    def inner(self, x, u, v=None, *, keepdim=False):
        return (u * (u if v is None else v)).sum(dim=(-2, -1), keepdim=keepdim)

    def retr(self, x, u):
        return qr_positive((x + u).mT)[0].mT

    def expmap(self, x, u):
        raise NotImplementedError("no geodesics")

    def transp(self, x, y, v):
        return self.proju(y, v)

    def random(self, *size, dtype=None, device=None):
        rows, columns = sorted(size[-2:])
        return haar_frame(*size[:-2], columns, rows, dtype=dtype, device=device).mT.contiguous()


class RowsChart(Chart):
    """The transpose of a frame."""

    def __init__(self, rows, columns):
        self.manifold, self.shape, self.columns = Rows(), (columns, rows), columns

    def frame(self, coordinates, signs):
        return coordinates.mT

    def coordinates(self, frame):
        return frame.mT, frame.new_ones(*frame.shape[:-2], frame.shape[-1])


@register_geometry
@dataclass(frozen=True)
class Transposed(Geometry):
    """Every frame as its transpose."""

    redundant: bool = True
    name: str = "transposed"

    def chart(self, frame, gauge_fixed):
        return RowsChart(frame.rows, frame.columns)


class FactorChart(Chart):
    """Any matrix, whose orthogonal factor is the frame, and the signs of the frame that it was made of."""

    keeps_signs = True

    def __init__(self, rows, columns):
        self.manifold, self.shape, self.columns = geoopt.Euclidean(ndim=2), (rows, columns), columns

    def frame(self, coordinates, signs):
        frame = qr_positive(coordinates)[0]
        return frame if signs is None else frame * signs.unsqueeze(-2)

    def coordinates(self, frame):
        signs = 1 - 2 * (frame.sum(dim=-2) < 0).to(frame.dtype)
        return frame * signs.unsqueeze(-2), signs


@register_geometry
@dataclass(frozen=True)
class Factored(Geometry):
    """Frames as orthogonal factors of Euclidean parameters."""

    redundant: bool = True
    name: str = "factored"

    def chart(self, frame, gauge_fixed):
        return FactorChart(frame.rows, frame.columns)


@register_spectrum
@dataclass(frozen=True)
class Positive(Spectrum):
    """s = b · exp(t), which is never zero."""

    scale: float = 1.0

    def initial(self, rank, dtype=None, device=None):
        return torch.zeros(rank, dtype=dtype, device=device)

    def values(self, parameter, rank):
        return self.scale * parameter.exp()

    def fit(self, values):
        return (values.abs() / self.scale).clamp(min=1e-6).log(), values.new_ones(values.shape[:-1])


class Weighted(FrameManifold):
    """Frames with twice the Euclidean metric, of which no geodesics are known."""

    name = "Weighted"

    def dimension(self, size):
        n, p = size[-2:]
        return n * p - p * (p + 1) // 2

    def proju(self, x, u):
        inside = x.mT @ u
        return u - x @ (inside + inside.mT) / 2

    def egrad2rgrad(self, x, u):
        return self.proju(x, u) / 2

    def inner(self, x, u, v=None, *, keepdim=False):
        return 2 * (u * (u if v is None else v)).sum(dim=(-2, -1), keepdim=keepdim)

    def geodesic_generators(self, x, u):
        raise NotImplementedError("no geodesics")


@dataclass(frozen=True)
class Momentum(Method):
    """Descent along the mean of the gradient and the last direction, where that descends."""

    search: WolfeSearch = field(default_factory=lambda: WolfeSearch(curvature=0.5))
    second_order: ClassVar[bool] = False

    def iterates(self, problem, start):
        space, here, direction, length = problem.space, start, -start.gradient, 1 / start.gradient_norm
        while True:
            slope = float(space.inner(here.point, here.gradient, direction))
            trial = self.search.search(problem, here, direction, slope, length) if slope < 0 else None
            if trial is None:
                return
            there, length = trial.evaluation, trial.length
            moved = space.transport(here.point, length * direction, there.point, direction)
            step = length * space.norm(here.point, direction)
            here, direction = there, (moved - 3 * there.gradient) / 2
            if float(space.inner(here.point, here.gradient, direction)) >= 0:
                direction = -here.gradient
            yield Iterate(here, step)


class Descent(FrameOptimizer):
    """X ← R_X(−lr g)."""

    def __init__(self, params, lr=0.05):
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "maximize": False})

    def _require_valid(self, group):
        pass

    def _step_plain(self, parameters, group):
        for parameter in parameters:
            parameter.sub_(parameter.grad, alpha=group["lr"])

    def _move(self, manifold, points, gradients, state, group):
        return manifold.retr(points, -group["lr"] * manifold.egrad2rgrad(points, gradients)), state


def unnamed() -> Rows:
    """Return a manifold: a factory."""
    return Rows()


def broken() -> Rows:
    raise RuntimeError("no such luck")


# --- networks with them ---

PARTS = {
    "retraction": STTP(rank=3, frames=Riemannian(retraction=Folded(passes=2)), initialization=Haar()),
    "grassmann": STTP(
        rank=3,
        frames=Riemannian(False, "canonical", Folded(transport=Transport.DIFFERENTIAL)),
        spectrum=Positive(2.0),
        initialization=Haar(),
    ),
    "manifold": STTP(rank=3, frames=Transposed(), initialization=Haar()),
    "chart": STTP(rank=3, frames=Factored(), spectrum=Positive(), initialization=Haar()),
    "not redundant": SVDP(rank=2, frames=Transposed(redundant=False), spectrum=Positive(), initialization=Haar()),
}
INPUT = torch.randn(16, 6, dtype=torch.float64, generator=generator())
TARGET = torch.randn(16, 4, dtype=torch.float64, generator=generator(1))
with_all_parts = pytest.mark.parametrize("spec", PARTS.values(), ids=PARTS)


def plain():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def built(spec):
    return reparameterize(plain(), spec, generator=generator(2))


def loss_of(network):
    return (network(INPUT) - TARGET).square().mean()


def trained(network, optimizer, steps=20):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(network)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@with_all_parts
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: RiemannianAdam(parameters, lr=0.02),
        lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.05),
    ],
    ids=["RiemannianAdam", "geoopt"],
)
def test_networks_train(spec, optimizer):
    network = built(spec)
    losses = trained(network, optimizer(list(network.parameters())))
    assert losses[-1] < losses[0]
    assert max(float(weight.orthogonality_error()) for weight in spectral_weights(network).values()) < 1e-12


@with_all_parts
def test_networks_are_saved_and_loaded(spec, tmp_path):
    network = built(spec)
    trained(network, RiemannianAdam(network.parameters(), lr=0.02), steps=3)
    save(network, tmp_path)
    loaded = load(plain(), tmp_path)
    assert loaded[0].spectral.manifold == network[0].spectral.manifold
    assert torch.equal(loaded(INPUT), network(INPUT))
    assert str(report(loaded)) == str(report(network))
    optimizers = [RiemannianAdam(each.parameters(), lr=0.02) for each in (network, loaded)]
    assert trained(loaded, optimizers[1], 3) == trained(network, optimizers[0], 3)


@with_all_parts
def test_networks_are_converted(spec):
    network = built(spec)
    for dense in (decompress(network), factorize(network), copy.deepcopy(network)):
        torch.testing.assert_close(dense(INPUT), network(INPUT))
    source = plain()
    fitted = reparameterize(copy.deepcopy(source), type(spec)(6, spec.frames, spec.spectrum), init="weights")
    torch.testing.assert_close(fitted(INPUT), source(INPUT), rtol=0, atol=1e-4)
    repair(fitted)
    torch.testing.assert_close(fitted(INPUT), source(INPUT), rtol=0, atol=1e-4)


@with_all_parts
@pytest.mark.parametrize(
    "method", [LBFGS(), ConjugateGradient(), TrustRegions(), Momentum()], ids=lambda m: type(m).__name__
)
def test_full_batch_methods_descend(spec, method):
    network = built(spec)
    start = float(loss_of(network).detach())
    result = minimize(lambda: loss_of(network), network.parameters(), method, max_iterations=15)
    assert result.cost < 0.8 * start
    assert result.history.cost[-1] == min(result.history.cost)
    assert max(float(weight.orthogonality_error()) for weight in spectral_weights(network).values()) < 1e-12


def test_files_off_a_manifold_of_another_kind_are_refused_and_repaired(tmp_path):
    network = built(PARTS["manifold"])
    with torch.no_grad():
        network[0].spectral.coordinates[0].mul_(1.01)
    with pytest.raises(RuntimeError, match="layer '0' has frames off their manifold"):
        built(PARTS["manifold"]).load_state_dict(network.state_dict())


# --- manifolds ---

MANIFOLDS = {
    "retraction": (Stiefel("euclidean", Folded()), False),
    "differential": (Stiefel("canonical", Folded(transport=Transport.DIFFERENTIAL)), False),
    "frames": (Weighted(Folded()), False),
    "rows": (Rows(), True),
}


@pytest.mark.parametrize(("manifold", "is_transposed"), MANIFOLDS.values(), ids=MANIFOLDS)
@pytest.mark.parametrize(
    "method", [LBFGS(), ConjugateGradient(), TrustRegions(), Momentum()], ids=lambda m: type(m).__name__
)
def test_minima_are_found(manifold, is_transposed, method):
    matrix = torch.diag(torch.arange(8, dtype=torch.float64)) + torch.full((8, 8), 0.1, dtype=torch.float64)
    weights = torch.arange(1, 4, dtype=torch.float64)
    frame = haar_frame(8, 3, dtype=torch.float64, generator=generator(3))
    point = geoopt.ManifoldParameter(frame.mT.contiguous() if is_transposed else frame, manifold=manifold)

    def cost() -> Tensor:
        x = point.mT if is_transposed else point
        return (x * (matrix @ x) * weights).sum()

    result = minimize(cost, [point], method, gradient_tolerance=1e-7, max_iterations=400)
    values = torch.linalg.eigvalsh(matrix)[:3]
    assert result.cost == pytest.approx(float((values.flip(0) * weights).sum()), abs=1e-10)
    assert result.gradient_norm < 1e-6


@pytest.mark.parametrize("part", ["retraction", "grassmann", "chart"])
def test_optimizers_of_frames(part):
    for optimizer in (Descent, lambda parameters: Retracted(torch.optim.AdamW, parameters, lr=0.02)):
        network = built(PARTS[part])
        losses = trained(network, optimizer(network.parameters()))
        assert losses[-1] < losses[0]
        assert max(float(weight.orthogonality_error()) for weight in spectral_weights(network).values()) < 1e-12
    with pytest.raises(TypeError, match="Descent moves frames"):
        Descent(built(PARTS["manifold"]).parameters())


@pytest.mark.parametrize("part", ["Folded", "Rows", "unnamed", "Transposed", "Factored", "Weighted"])
def test_the_command_checks_them(part):
    name = f"{__name__}:{part}"
    result = CliRunner().invoke(app, ["check", name, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["passed"]
    assert len(answer["manifolds"]) == (3 if part == "Folded" else 1)
    assert all(row["name"].startswith(name) and not row["ours"] for row in answer["manifolds"])


class Wrong(Rows):
    """Goes twice as far as it should."""

    def retr(self, x, u):
        return super().retr(x, 2 * u)


def test_the_command_finds_what_is_wrong(tmp_path):
    result = CliRunner().invoke(app, ["check", "grassmann-qr", f"{__name__}:Wrong", "--plot", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{__name__}:Wrong: velocity" in result.output
    assert "grassmann-qr:" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == f"{__name__}.Wrong-retraction.png"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere_at_all:Class"], "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ([f"{__name__}:Nothing"], "has no 'Nothing'"),
        ([f"{__name__}:broken"], "RuntimeError: no such luck"),
        ([f"{__name__}:INPUT"], "must be a geoopt.Manifold, a Retraction or a Geometry"),
        ([f"{__name__}:plain"], "must be a geoopt.Manifold, a Retraction or a Geometry"),
        (["geoopt:SymmetricPositiveDefinite", "--shape", "4"], "give another one by --shape"),
        (["geoopt:Sphere", "--shape", "4xp"], "--shape must be sizes such as 5x5"),
        (["grassmann-qr", "--shape", "4x4"], "--shape is for manifolds of your own"),
    ],
)
def test_what_is_no_part_is_refused_by_name(arguments, words, capsys):
    assert run_command_line(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_command_takes_shapes():
    result = CliRunner().invoke(app, ["check", "geoopt:Sphere", "--shape", "5", "--json"])
    assert json.loads(result.stdout)["manifolds"][0]["name"] == "geoopt:Sphere"


# --- the register ---


def test_a_file_names_what_must_be_imported_and_runs_nothing(tmp_path, monkeypatch):
    save(built(PARTS["retraction"]), tmp_path)
    monkeypatch.delitem(_register._kinds, "Folded")
    network = plain()
    with pytest.raises(ValueError, match=rf"no kind 'Folded'.*import the module.*{__name__}:Folded"):
        load(network, tmp_path)
    assert type(network[0]) is nn.Linear
    with pytest.raises(ValueError, match=r"Folded.*@sttp\.manifolds\.register_retraction"):
        save(built(PARTS["retraction"]), tmp_path)


def test_names_belong_to_one_class():
    def another(module):
        @dataclass(frozen=True)
        class Folded(Retraction):
            def retract(self, manifold, point, tangent_vector):
                return point

        Folded.__module__ = module
        Folded.__qualname__ = "Folded"
        return Folded

    with pytest.raises(ValueError, match=rf"'Folded' belongs to {__name__}:Folded already"):
        register_retraction(another("elsewhere"))
    again = another(__name__)  # a cell of a notebook that is run again
    try:
        assert register_retraction(again) is again
    finally:
        register_retraction(Folded)
    with pytest.raises(ValueError, match="'QR' belongs to"):
        register_spectrum(dataclass(frozen=True)(type("QR", (Positive,), {"__module__": __name__})))


@pytest.mark.parametrize(
    ("register", "wrong"),
    [
        (register_retraction, Positive),
        (register_retraction, Folded()),
        (register_retraction, Retraction),
        (register_spectrum, type("Bare", (Positive,), {})),
        (register_geometry, dataclass(type("Loose", (Geometry,), {"chart": None, "name": "loose"}))),
        (
            register_spectrum,
            dataclass(frozen=True)(type("Kinds", (Positive,), {"__annotations__": {"kind": str}, "kind": ""})),
        ),
    ],
)
def test_what_cannot_be_registered_is_refused(register, wrong):
    with pytest.raises(TypeError, match=r"register_|field called 'kind'"):
        register(wrong)


def test_what_does_not_come_back_from_its_fields_is_not_saved(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Secretive(Spectrum):
        factor: complex = 1 + 0j

        def values(self, parameter, rank):
            return parameter * self.factor.real

        def fit(self, values):
            return values, values.new_ones(values.shape[:-1])

    monkeypatch.setattr(_register, "_kinds", dict(_register._kinds))
    register_spectrum(Secretive)
    network = reparameterize(plain(), SVDP(2, spectrum=Secretive()))
    with pytest.raises(ValueError, match="numbers, strings, tuples"):
        save(network, tmp_path)
    assert not list(tmp_path.iterdir())


def test_checks_of_a_train_with_them():
    for spec in PARTS.values():
        manifold = built(spec)[0].spectral.manifold
        assert checks.check_manifold(manifold).passed
        assert checks.check_retraction(manifold).passed
