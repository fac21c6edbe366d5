"""Right calls of what ``sttp.manifolds``, ``sttp.layers`` and ``sttp.optim`` have to offer, for others to spoil."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

from sttp import layers, manifolds, optim
from sttp.layers import STTP, SVDP, SpectralWeight, WeightShape, reparameterize
from sttp.manifolds import (
    QR,
    Cayley,
    Embedded,
    EmbeddedTrain,
    Exponential,
    FrameShape,
    Free,
    Grassmann,
    Householder,
    HouseholderChart,
    Identity,
    Lipschitz,
    Polar,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainShape,
    TrainTangent,
    Transport,
    checks,
    haar_frame,
)
from sttp.optim import Retracted, WolfeSearch

from .bad_values import HUGE

Maker = Callable[[], Any]


@dataclass(frozen=True)
class Call:
    """A public function with right arguments, each made anew for every call.

    Attributes:
        package: where it is public.
        name: for the record.
        function: what is called.
        right: the arguments by name.
        changes: names of the arguments that it is there to change.
    """

    package: str
    name: str
    function: Callable[..., Any]
    right: dict[str, Maker]
    changes: tuple[str, ...] = ()


def all_calls(folder: Path) -> list[Call]:
    """Return all calls; what they write goes to a folder."""
    return [*_manifolds(), *_layers(folder), *_optim()]


# What takes functions refuses none that fails in its own way.
FUNCTIONS = frozenset({"cost", "callback", "preconditioner", "modes", "closure", "write", "gradient"})

# Constants, base classes, results, values without a check; kernels and marks that the packages of sttp alone use; the
# checks of arguments themselves; and an enumeration, whose refusals are Python's.
NOT_CALLED = {
    "manifolds": {
        "Transport",
        "METRICS",
        "SHORT",
        "Metric",
        "SpectrumOwner",
        "TrainMember",
        "Chart",
        "FrameManifold",
        "Geometry",
    }
    | {"Retraction", "Spectrum", "MatrixFit", "TrainPoint", "TrainTangent", "described", "identity_like"}
    | {name for name in manifolds.__all__ if name.startswith(("require_", "mark_"))}
    | {"without_autocast", "merge_frames", "train_product", "left_factor_rows", "frames_of_charts", "declared_region"},
    "layers": {"SPECTRAL_LAYERS", "CompressionReport", "DenseTensor", "Factors", "Initialization", "LayerReport"}
    | {"OffManifoldWarning", "SpectralLayer", "Specification"},
    "optim": {"Evaluation", "FrameOptimizer", "Iterate", "Method", "MinimizeResult", "Problem", "RiemannianOptimizer"}
    | {"keep_freed_memory", "FletcherReeves", "HestenesStiefel"},
}


def _fixed(value: Any) -> Maker:
    return lambda: value


def _values(**values: Any) -> dict[str, Maker]:
    """Return makers: functions as they are, and of all else, which no call changes, what returns it."""
    return {name: value if inspect.isroutine(value) else _fixed(value) for name, value in values.items()}


# --- manifolds ---

SHAPE = TrainShape((2, 3), (4,), 2)
TRAIN = SpectralTensorTrain(SHAPE)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _frame(seed: int = 0, rows: int = 6) -> Tensor:
    return haar_frame(2, rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _manifolds() -> Iterator[Call]:
    call = functools.partial(Call, "manifolds")
    for manifold in (Stiefel(), Stiefel("canonical", Cayley()), Stiefel(retraction=Polar()), Grassmann(Exponential())):
        yield from _methods(manifold)
    for kind in (QR, Exponential):
        yield call(kind.__name__, kind, _values(transport=Transport.DIFFERENTIAL))
    for kind in (Cayley, Polar):
        yield call(kind.__name__, kind, _values(polishes=3, transport="projection"))
    yield call("Stiefel", Stiefel, _values(metric="canonical", retraction=QR()))
    yield call("Grassmann", Grassmann, _values(retraction=QR()))
    yield call("Embedded", Embedded, _values(damping=1e-3))
    yield call("Riemannian", Riemannian, _values(redundant=False, metric="canonical", retraction=QR()))
    yield call("Householder", Householder, _values(redundant=True))
    drawn = {name: maker for name, maker in _drawn().items() if name != "size"}
    yield call("haar_frame", lambda shape, **options: haar_frame(2, shape, 3, **options), {"shape": _fixed(6), **drawn})
    yield call("householder_frames", manifolds.householder_frames, _values(entries=_frame, reduced=True))
    yield call("householder_entries", manifolds.householder_entries, _values(frame=_frame))
    free = {"free": lambda: torch.ones(2, 3, 3), "rows": _fixed(6), "columns": _fixed(3), "reduced": _fixed(True)}
    yield call("entries_of_free", manifolds.entries_of_free, free)
    yield call("prime_modes", manifolds.prime_modes, _values(channels=12, filter_size=9))
    for name in ("qr_positive", "rq_positive", "symmetric_part"):
        yield call(name, getattr(manifolds, name), _values(matrix=lambda: _frame(0, 3)))
    for name in ("newton_schulz_polish", "orthogonality_error"):
        yield call(name, getattr(manifolds, name), _values(frame=_frame))
    yield call("longest_step", manifolds.longest_step, _values(dtype=torch.float32))
    parameter = lambda: nn.Parameter(torch.ones(3))  # noqa: E731
    yield call("declare_region", manifolds.declare_region, _values(parameter=parameter, distance=0.5), ("parameter",))
    for name in ("retraction", "geometry", "spectrum"):
        kind = {"retraction": QR, "geometry": Riemannian, "spectrum": Free}[name]
        yield call(f"register_{name}", getattr(manifolds, f"register_{name}"), _values(kind=kind))
    yield call("to_description", manifolds.to_description, _values(value=Riemannian()))
    yield call("from_description", manifolds.from_description, _values(description={"kind": "QR"}))
    frame_shape = {"left": True, "outer_rank": 2, "mode": 3, "columns": 2, "at_center": True}
    yield call("FrameShape", FrameShape, _values(**frame_shape))
    yield call("FrameShape.degrees_of_freedom", SHAPE.frames[0].degrees_of_freedom, _values(gauge_fixed=True))
    chart = {"rows": 6, "columns": 3, "reduced": True}
    yield call("HouseholderChart", HouseholderChart, _values(**chart))
    for made in (HouseholderChart(6, 3, True), HouseholderChart(6, 3, False)):
        coordinates, signs = made.coordinates(_frame())
        yield call("chart.frame", made.frame, _values(coordinates=coordinates.clone, signs=signs.clone))
        yield call("chart.coordinates", made.coordinates, _values(frame=_frame))
    for geometry in (Riemannian(), Householder()):
        place = _values(frame=SHAPE.frames[0], gauge_fixed=True)
        yield call(f"{type(geometry).__name__}.chart", geometry.chart, place)
    for spectrum in (Free(), Lipschitz(), Identity()):
        name = type(spectrum).__name__
        parameter = spectrum.initial(3).clone
        yield call(f"{name}.values", spectrum.values, _values(parameter=parameter, rank=3))
        yield call(f"{name}.fit", spectrum.fit, {"values": lambda: torch.ones(3)})
        yield call(f"{name}.initial", spectrum.initial, _values(rank=3, dtype=torch.float32, device="cpu"))
        yield call(f"{name}.size", spectrum.size, _values(rank=3))
        yield call(name, type(spectrum), {})
    yield from _trains()
    yield from _checks()


def _drawn() -> dict[str, Maker]:
    return {"size": _fixed((2, 6, 3)), "dtype": _fixed(torch.float64), "device": _fixed("cpu"), "generator": _generator}


def _methods(manifold: Any) -> Iterator[Call]:
    tangents = {name: functools.partial(_tangent, manifold, scale) for name, scale in (("u", 0.1), ("v", 0.2))}
    points = {"x": _frame, "y": lambda: _near(manifold)}
    names = ["projx", "proju", "egrad2rgrad", "inner", "retr", "transp", "retr_transp", "transp_follow_retr"]
    names += ["inverse_retr", "expmap", "expmap_transp", "transp_follow_expmap", "representative", "component_inner"]
    names += ["norm", "logmap", "dist", "geodesic_generators"]
    unknown = ("logmap", "dist") if isinstance(manifold, Stiefel) and manifold.metric == "euclidean" else ()
    unknown += ("inverse_retr",) if isinstance(manifold.retraction, Exponential) else ()
    for name in names:
        if name in unknown:
            continue
        function = getattr(manifold, name)
        right = {**points, **tangents, "keepdim": _fixed(True), "unreachable": _fixed("nan"), "short": _fixed(True)}
        wanted = {key: right[key] for key in inspect.signature(function).parameters if key in right}
        yield Call("manifolds", f"{manifold.name}.{name}", function, wanted)
    for name in ("random", "random_naive", "origin"):
        function = getattr(manifold, name)
        options = {k: v for k, v in _drawn().items() if k == "size" or k in inspect.signature(function).parameters}
        yield Call("manifolds", f"{manifold.name}.{name}", functools.partial(_sized, function), options)
    yield Call("manifolds", f"{manifold.name}.dimension", manifold.dimension, _values(size=(6, 3)))


def _sized(function: Callable[..., Any], size: Any, **options: Any) -> Any:
    return function(size, **options)


def _tangent(manifold: Any, scale: float) -> Tensor:
    x = _frame()
    return manifold.proju(x, torch.ones_like(x) * scale)


def _near(manifold: Any) -> Tensor:
    return manifold.retr(_frame(), _tangent(manifold, 0.3))


def _trains() -> Iterator[Call]:
    call = functools.partial(Call, "manifolds")
    shape = {"row_modes": (2, 3), "column_modes": (4,), "rank": 2, "rows": 6, "columns": 4, "pad": False}
    yield call("TrainShape", TrainShape, _values(**shape))
    yield call("TrainShape.degrees_of_freedom", SHAPE.degrees_of_freedom, _values(identity_spectrum=True))
    gauge = _values(frame=SHAPE.frames[0], identity_spectrum=True)
    yield call("TrainShape.is_gauge_fixed", SHAPE.is_gauge_fixed, gauge)
    parts = {"shape": SHAPE, "geometry": Riemannian(), "spectrum": Free()}
    yield call("SpectralTensorTrain", SpectralTensorTrain, _values(**parts))
    grassmann = SpectralTensorTrain(SHAPE, Riemannian(redundant=False))
    for train in (
        TRAIN,
        grassmann,
        SpectralTensorTrain(SHAPE, Householder()),
        SpectralTensorTrain(SHAPE, Householder(True)),
    ):
        yield from _train_methods(train)
    embedded = SpectralTensorTrain(SHAPE, Riemannian(redundant=False, metric="embedded"))
    yield call("EmbeddedTrain", EmbeddedTrain, _values(train=embedded))
    yield call("parameter_manifolds", manifolds.parameter_manifolds, _values(train=embedded))


_TRAIN_METHODS = (
    *("factors", "to_matrix", "singular_values", "from_matrix", "from_frames", "to_frames", "convert", "canonical"),
    *("projx", "proju", "egrad2rgrad", "retr", "transp", "inner", "differential", "project_matrix"),
)


def _train_methods(train: SpectralTensorTrain) -> Iterator[Call]:
    def point() -> Any:
        return train.random(dtype=torch.float64, generator=_generator())

    def tangent() -> TrainTangent:
        here = point()
        ones = TrainTangent(tuple(map(torch.ones_like, here.coordinates)), torch.ones_like(here.spectrum))
        return train.proju(here, ones)

    def matrix() -> Tensor:
        return torch.randn(6, 4, dtype=torch.float64, generator=_generator())

    right: dict[str, Maker] = {
        **dict.fromkeys(("point", "end"), point),
        **dict.fromkeys(("tangent", "vector", "gradient", "first", "second"), tangent),
        "matrix": matrix,
        "target": _fixed(train),
        "frames": lambda: train.to_frames(point()),
        "spectrum": lambda: torch.ones(2, dtype=torch.float64),
    }
    name = f"SpectralTensorTrain({train.geometry.name})"
    for method in _TRAIN_METHODS:
        function = getattr(train, method)
        wanted = {key: right[key] for key in inspect.signature(function).parameters}
        yield Call("manifolds", f"{name}.{method}", function, wanted)
    drawn = {"batch": _fixed(2), **{key: maker for key, maker in _drawn().items() if key != "size"}}
    yield Call("manifolds", f"{name}.random", lambda batch, **options: train.random(batch, **options), drawn)


def _checks() -> Iterator[Call]:
    def cost(x: Tensor) -> Tensor:
        return x.square().sum() + x.sum()

    call = functools.partial(Call, "manifolds")
    where = _values(manifold=Stiefel(), shape=(4, 2), dtype=torch.float64, device="cpu")
    yield call(
        "check_manifold", checks.check_manifold, {**where, **_values(dimension=5, isometric=False, uniform=True)}
    )
    yield call("check_retraction", checks.check_retraction, {**where, **_values(method="retr", second_order=False)})
    yield call("check_gradient", checks.check_gradient, {**where, "cost": _fixed(cost)})
    yield call("check_hessian", checks.check_hessian, {**where, "cost": _fixed(cost)})


# --- layers ---

SPEC = STTP(2)
SPECIFICATION = {
    "rank": 2,
    "frames": Riemannian(),
    "spectrum": Free(),
    "initialization": layers.Haar(),
    "forward": "auto",
    "attention": "joint",
}


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.MultiheadAttention(6, 2))


def _spectral() -> nn.Module:
    return reparameterize(_plain(), SPEC, generator=_generator())


def _weight() -> SpectralWeight:
    shape = WeightShape((4, 6))
    return SpectralWeight(SPEC.manifold(shape), shape).initialize(layers.Haar(), _generator())


def _layers(folder: Path) -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    plain, spectral = {"network": _plain}, {"network": _spectral}
    yield call(
        "reparameterize",
        reparameterize,
        {**plain, **_values(spec=SPEC, skip=(), init="weights", inplace=True), "generator": _generator},
        ("network",),
    )
    yield call("report", layers.report, {**plain, **_values(spec=SPEC, skip=())})
    yield call("report of a spectral one", layers.report, spectral)
    yield call("ranks_for", layers.ranks_for, {**plain, **_values(z=95.0, spec=SPEC, skip=("2*",))})
    yield call("decompress", layers.decompress, spectral)
    yield call("factorize", layers.factorize, {**spectral, "skip": _fixed(("0",))})
    yield call("repair", layers.repair, spectral, ("network",))
    yield call("parametrized", layers.parametrized, spectral, ("network",))
    yield call("spectral_weights", layers.spectral_weights, spectral)
    yield call("shared_evaluation", _evaluated, spectral)
    for name in ("candidates", "require_candidates"):
        yield call(name, getattr(layers, name), {**plain, **_values(skip=(), attention="joint")})
    layers.save(_spectral(), folder / "saved")
    yield call("save", layers.save, {**spectral, "directory": lambda: tempfile.mkdtemp(dir=folder)})
    read = {**plain, **_values(directory=folder / "saved", repair=True)}
    yield call("load", layers.load, read, ("network",))
    written = {"path": lambda: Path(tempfile.mkdtemp(dir=folder)) / "file", "write": lambda: Path.touch}
    yield call("write_atomically", layers.write_atomically, written)
    yield call("STTP", STTP, _values(**SPECIFICATION, modes=((2, 2), (2, 3)), pad=False))
    yield call("SVDP", SVDP, _values(**SPECIFICATION))
    for method in ("manifold", "shape"):
        yield call(f"STTP.{method}", getattr(SPEC, method), _values(weight=WeightShape((4, 6))))
    yield call("NoisyIdentity", layers.NoisyIdentity, _values(scale=1e-4))
    for initialization in (layers.NoisyIdentity(), layers.Haar(), layers.TruncatedIdentity()):
        drawn = {**_values(rows=4, columns=2), "generator": _generator}
        yield call(f"{type(initialization).__name__}.frame", initialization.frame, drawn)
    yield call("manifold_parameter", layers.manifold_parameter, {"values": _frame, "manifold": Stiefel})
    yield from _weights()
    yield from _constructors()


def _evaluated(network: Any) -> None:
    with layers.shared_evaluation(network):
        pass


def _weights() -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    yield call("WeightShape", WeightShape, _values(shape=(4, 6, 3), groups=2, transposed=True))
    yield call("WeightShape.of", WeightShape.of, {"module": lambda: nn.Linear(4, 3)})
    shape = WeightShape((4, 6, 3), groups=2, transposed=True)
    yield call("WeightShape.to_matrix", shape.to_matrix, {"weight": lambda: torch.ones(4, 6, 3)})
    yield call("WeightShape.to_weight", shape.to_weight, {"matrix": lambda: torch.ones(12, 6)})
    train = SPEC.manifold(WeightShape((4, 6)))
    parts = {"manifold": train, "weight_shape": WeightShape((4, 6)), "dtype": torch.float32, "device": "cpu"}
    yield call("SpectralWeight", SpectralWeight, _values(**parts))

    drawn = {"weight": _weight, "initialization": _fixed(layers.Haar()), "generator": _generator}
    yield _bound("SpectralWeight.initialize", "initialize", drawn)
    yield _bound("SpectralWeight.set_point", "set_point", {"point": train.random})
    yield _bound("SpectralWeight.fit", "fit", {"weight": lambda: torch.ones(4, 6)})
    yield call("layer.weight =", _assigned, {"weight": lambda: torch.ones(4, 6)})
    for layer in (layers.Linear, layers.Conv2d):
        arguments = (6, 4) if layer is layers.Linear else (6, 4, 3)
        namesake = functools.partial(layer.namesake, *arguments)
        fresh = {"layer": namesake, "spec": _fixed(SPEC), "generator": _generator}
        yield call(f"{layer.__name__}.fresh", layer.fresh, fresh)
    of = {"layer": lambda: nn.Linear(6, 4), "spectral": _weight, "forward": _fixed("cores")}
    yield call("Linear.of", layers.Linear.of, of)
    yield call("Linear.route", layers.Linear(6, 4, spec=SPEC).route, _values(number=3))


def _bound(name: str, method: str, right: dict[str, Maker]) -> Call:
    right = {key: maker for key, maker in right.items() if maker is not _weight}
    return Call("layers", name, lambda **arguments: getattr(_weight(), method)(**arguments), right)


def _assigned(weight: Any) -> None:
    layers.Linear(6, 4, spec=SPEC).weight = weight


def _constructors() -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    common = {"spec": _fixed(SPEC), "generator": _generator}
    features = _values(in_features=4, out_features=6, bias=True, device="cpu", dtype=torch.float32)
    yield call("Linear", layers.Linear, {**features, **common})
    table = _values(num_embeddings=9, embedding_dim=4, padding_idx=1, max_norm=2.0, norm_type=2.0, sparse=False)
    yield call("Embedding", layers.Embedding, {**table, **common})
    window = {"kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1, "groups": 2, "bias": True}
    for dimensions in (1, 2, 3):
        sizes = _values(in_channels=4, out_channels=6, **window)
        for name, option in (("Conv", {"padding_mode": "zeros"}), ("ConvTranspose", {"output_padding": 0})):
            kind = getattr(layers, f"{name}{dimensions}d")
            yield call(kind.__name__, kind, {**sizes, **_values(**option), **common})
    heads = _values(embed_dim=6, num_heads=2, dropout=0.0, bias=True, add_bias_kv=True, kdim=4, batch_first=True)
    yield call("MultiheadAttention", layers.MultiheadAttention, {**heads, **common})


# --- optim ---

OPTIMIZERS = (
    optim.RiemannianSGD,
    optim.RiemannianAdam,
    optim.CayleySGD,
    optim.CayleyAdam,
    optim.Landing,
    optim.POGO,
    optim.RandomSubmanifoldDescent,
    optim.MomentumStiefelSGD,
    optim.MomentumStiefelAdam,
    optim.ManifoldMuon,
    optim.SPEL,
)
# Which differ from one optimizer of torch to another, and are its own to refuse.
_TORCHS = {"foreach", "fused", "differentiable", "decoupled_weight_decay", "amsgrad", "capturable", "eps", "betas"}
_TORCHS |= {"alpha", "centered"}


def _parameter(dtype: torch.dtype = torch.float32) -> geoopt.ManifoldParameter:
    start = haar_frame(4, 2, dtype=dtype, generator=_generator())
    return geoopt.ManifoldParameter(start, manifold=Stiefel())


def _with_gradient() -> list[Tensor]:
    parameter = _parameter()
    parameter.grad = torch.ones_like(parameter)
    return [parameter]


def _parameters() -> list[Tensor]:
    return [_parameter(), nn.Parameter(torch.ones(3))]


def _stepped(kind: Callable[..., torch.optim.Optimizer], **arguments: Any) -> None:
    """Build an optimizer and make a step with it: what a constructor takes must serve."""
    optimizer = kind(**arguments)
    if any(value == HUGE for value in arguments.values() if isinstance(value, int)):
        return  # so many iterations do not end
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _optimizer(kind: type[torch.optim.Optimizer]) -> dict[str, Maker]:
    """Return right arguments: all options that an optimizer has."""
    wanted = [name for name in inspect.signature(kind).parameters if name not in ("params", *_foreign(kind))]
    made = kind([nn.Parameter(torch.ones(2))])
    return {"params": _parameters, **_values(**{name: made.defaults[name] for name in wanted if name in made.defaults})}


def _foreign(kind: type[torch.optim.Optimizer]) -> set[str]:
    return set() if kind.__module__.startswith("sttp") else _TORCHS


def _optim() -> Iterator[Call]:
    call = functools.partial(Call, "optim")
    for kind in OPTIMIZERS:
        yield call(kind.__name__, functools.partial(_stepped, kind), _optimizer(kind), ("params",))
        right = {"param_group": lambda: {"params": [_parameter()], "lr": 0.1}}
        yield call(f"{kind.__name__}.add_param_group", functools.partial(_grown, kind), right, ("param_group",))
        state = {"state_dict": functools.partial(_state, kind)}
        yield call(f"{kind.__name__}.load_state_dict", functools.partial(_loaded, kind), state)
        yield call(f"{kind.__name__}.step", functools.partial(_closed, kind), {"closure": lambda: float})
    for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop):
        retracted = functools.partial(_stepped, functools.partial(Retracted, kind))
        yield call(f"Retracted({kind.__name__})", retracted, _optimizer(kind), ("params",))
    built = {"optimizer": lambda: torch.optim.SGD(_parameters())}
    yield call("Retracted", Retracted, built)
    beside = {"optimizer": _fixed(torch.optim.SGD), "params": _parameters, **_values(lr=0.1, momentum=0.9)}
    yield call("Retracted of a class", Retracted, beside)
    yield from _methods_of_descent()
    yield call("gradient_norm", optim.gradient_norm, {"parameters": _with_gradient})
    clipped = {"parameters": _with_gradient, **_values(max_norm=1.0, error_if_nonfinite=False)}
    yield call("clip_gradient_norm_", optim.clip_gradient_norm_, clipped, ("parameters",))
    yield call("d_optimal", optim.d_optimal, {"network": _spectral})
    yield call("divergence", optim.divergence, {"network": _spectral, "width": _fixed(0.1)})
    yield call("matrix_sign", optim.matrix_sign, {"matrix": lambda: torch.eye(4, 2), **_values(floor=0.1, bound=2.0)})


def _grown(kind: type[torch.optim.Optimizer], param_group: Any) -> None:
    kind([_parameter()]).add_param_group(param_group)


def _state(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    return kind(_with_gradient()).state_dict()


def _loaded(kind: type[torch.optim.Optimizer], state_dict: Any) -> None:
    optimizer = kind(_with_gradient())
    optimizer.load_state_dict(state_dict)
    optimizer.step()


def _closed(kind: type[torch.optim.Optimizer], closure: Any) -> None:
    kind(_with_gradient()).step(closure)


def _methods_of_descent() -> Iterator[Call]:
    call = functools.partial(Call, "optim")
    yield call("LBFGS", optim.LBFGS, _values(memory=3, search=WolfeSearch()))
    yield call("ConjugateGradient", optim.ConjugateGradient, _values(rule=optim.HagerZhang(), search=WolfeSearch()))
    yield call("SteepestDescent", optim.SteepestDescent, _values(search=WolfeSearch()))
    yield call("HagerZhang", optim.HagerZhang, _values(eta=0.1))
    yield call("PolakRibiere", optim.PolakRibiere, _values(nonnegative=True))
    search = {field.name: field.default for field in fields(WolfeSearch)}
    yield call("WolfeSearch", WolfeSearch, _values(**search))
    region = {"kappa": 0.1, "theta": 1.0, "acceptance": 0.1, "initial_radius": 1.0, "largest_radius": 2.0}
    regions = _values(**region, max_products=3, preconditioner=lambda: list)
    yield call("TrustRegions", optim.TrustRegions, regions)
    for method in (optim.SteepestDescent(), optim.LBFGS(), optim.ConjugateGradient(), optim.TrustRegions()):
        tolerances = {"gradient_tolerance": 1e-3, "step_tolerance": 0.0, "max_iterations": 5, "max_seconds": 1.0}
        right = {
            "parameters": lambda: [_parameter(torch.float64)],
            **_values(method=method, **tolerances, progress=False),
            "callback": lambda: bool,
        }
        yield call(f"minimize by {type(method).__name__}", _minimized, right, ("parameters",))
    costs = {"cost": lambda: COST, "parameters": lambda: [COST.parameter]}
    yield call("minimize", optim.minimize, costs, ("parameters",))


def _minimized(parameters: Any, **arguments: Any) -> None:
    """Minimize a cost of whatever parameters there are."""
    listed = list(parameters) if isinstance(parameters, list | tuple) else []

    def cost() -> Tensor:
        tensors = [item for item in listed if isinstance(item, Tensor)]
        return sum(((item - 0.5).square().sum() for item in tensors), torch.zeros((), dtype=torch.float64))

    optim.minimize(cost, parameters, **arguments)


class _Cost:
    """A cost of one parameter."""

    def __init__(self) -> None:
        self.parameter = _parameter(torch.float64)

    def __call__(self) -> Tensor:
        return (self.parameter - 0.5).square().sum()


COST = _Cost()
