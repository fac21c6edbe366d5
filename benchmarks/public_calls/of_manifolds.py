"""Right calls of what ``sttp.manifolds`` has to offer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sttp import manifolds
from sttp.manifolds import (
    QR,
    Cayley,
    Embedded,
    EmbeddedTrain,
    Exponential,
    Fixed,
    FrameShape,
    Free,
    Grassmann,
    Householder,
    HouseholderChart,
    Identity,
    InputMetric,
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

from .call import Call, Maker, fixed, frame, generator, values

SHAPE = TrainShape((2, 3), (4,), 2)
TRAIN = SpectralTensorTrain(SHAPE)


def calls() -> Iterator[Call]:
    call = functools.partial(Call, "manifolds")
    for manifold in (Stiefel(), Stiefel("canonical", Cayley()), Stiefel(retraction=Polar()), Grassmann(Exponential())):
        yield from _methods(manifold)
    for kind in (QR, Exponential):
        yield call(kind.__name__, kind, values(transport=Transport.DIFFERENTIAL))
    for kind in (Cayley, Polar):
        yield call(kind.__name__, kind, values(polishes=3, transport="projection"))
    yield call("Stiefel", Stiefel, values(metric="canonical", retraction=QR()))
    yield call("Grassmann", Grassmann, values(retraction=QR()))
    yield call("Embedded", Embedded, values(damping=1e-3))
    yield call("Riemannian", Riemannian, values(redundant=False, metric="canonical", retraction=QR()))
    yield call("Householder", Householder, values(redundant=True))
    drawn = {name: maker for name, maker in _drawn().items() if name != "size"}
    yield call("haar_frame", lambda shape, **options: haar_frame(2, shape, 3, **options), {"shape": fixed(6), **drawn})
    yield call("householder_frames", manifolds.householder_frames, values(entries=frame, reduced=True))
    yield call("householder_entries", manifolds.householder_entries, values(frame=frame))
    free = {"free": lambda: torch.ones(2, 3, 3), "rows": fixed(6), "columns": fixed(3), "reduced": fixed(True)}
    yield call("entries_of_free", manifolds.entries_of_free, free)
    yield call("prime_modes", manifolds.prime_modes, values(channels=12, filter_size=9))
    yield call("smooth_modes", manifolds.smooth_modes, values(channels=22, filter_size=9, rank=4))
    yield call("balanced_modes", manifolds.balanced_modes, values(channels=24, filter_size=9))
    moment = {"moment": lambda: torch.eye(4, dtype=torch.float64), "of_rows": fixed(False)}
    yield call("InputMetric.damped", InputMetric.damped, moment)
    for name in ("qr_positive", "rq_positive", "symmetric_part"):
        yield call(name, getattr(manifolds, name), values(matrix=lambda: frame(0, 3)))
    for name in ("newton_schulz_polish", "orthogonality_error"):
        yield call(name, getattr(manifolds, name), values(frame=frame))
    yield call("longest_step", manifolds.longest_step, values(dtype=torch.float32))
    parameter = lambda: nn.Parameter(torch.ones(3))  # noqa: E731
    yield call("declare_region", manifolds.declare_region, values(parameter=parameter, distance=0.5), ("parameter",))
    for name in ("retraction", "geometry", "spectrum"):
        kind = {"retraction": QR, "geometry": Riemannian, "spectrum": Free}[name]
        yield call(f"register_{name}", getattr(manifolds, f"register_{name}"), values(kind=kind))
    yield call("to_description", manifolds.to_description, values(value=Riemannian()))
    yield call("from_description", manifolds.from_description, values(description={"kind": "QR"}))
    frame_shape = {"left": True, "outer_rank": 2, "mode": 3, "columns": 2, "at_center": True}
    yield call("FrameShape", FrameShape, values(**frame_shape))
    yield call("FrameShape.degrees_of_freedom", SHAPE.frames[0].degrees_of_freedom, values(gauge_fixed=True))
    chart = {"rows": 6, "columns": 3, "reduced": True}
    yield call("HouseholderChart", HouseholderChart, values(**chart))
    for made in (HouseholderChart(6, 3, True), HouseholderChart(6, 3, False)):
        coordinates, signs = made.coordinates(frame())
        yield call("chart.frame", made.frame, values(coordinates=coordinates.clone, signs=signs.clone))
        yield call("chart.coordinates", made.coordinates, values(frame=frame))
    for geometry in (Riemannian(), Householder()):
        place = values(frame=SHAPE.frames[0], gauge_fixed=True)
        yield call(f"{type(geometry).__name__}.chart", geometry.chart, place)
    for spectrum in (Free(), Lipschitz(), Identity(), Fixed((1.0, 0.5, 0.2))):
        name = type(spectrum).__name__
        parameter = spectrum.initial(3).clone
        yield call(f"{name}.values", spectrum.values, values(parameter=parameter, rank=3))
        yield call(f"{name}.fit", spectrum.fit, {"values": lambda: torch.ones(3)})
        yield call(f"{name}.initial", spectrum.initial, values(rank=3, dtype=torch.float32, device="cpu"))
        yield call(f"{name}.size", spectrum.size, values(rank=3))
        yield call(name, type(spectrum), values(given=(1.0, 0.5)) if name == "Fixed" else {})
    yield from _trains()
    yield from _checks()


def _drawn() -> dict[str, Maker]:
    return {"size": fixed((2, 6, 3)), "dtype": fixed(torch.float64), "device": fixed("cpu"), "generator": generator}


def _methods(manifold: Any) -> Iterator[Call]:
    tangents = {name: functools.partial(_tangent, manifold, scale) for name, scale in (("u", 0.1), ("v", 0.2))}
    points = {"x": frame, "y": lambda: _near(manifold)}
    names = ["projx", "proju", "egrad2rgrad", "inner", "retr", "transp", "retr_transp", "transp_follow_retr"]
    names += ["inverse_retr", "expmap", "expmap_transp", "transp_follow_expmap", "representative", "component_inner"]
    names += ["norm", "logmap", "dist", "geodesic_generators"]
    unknown = ("logmap", "dist") if isinstance(manifold, Stiefel) and manifold.metric == "euclidean" else ()
    unknown += ("inverse_retr",) if isinstance(manifold.retraction, Exponential) else ()
    for name in names:
        if name in unknown:
            continue
        function = getattr(manifold, name)
        right = {**points, **tangents, "keepdim": fixed(True), "unreachable": fixed("nan"), "short": fixed(True)}
        wanted = {key: right[key] for key in inspect.signature(function).parameters if key in right}
        yield Call("manifolds", f"{manifold.name}.{name}", function, wanted)
    for name in ("random", "random_naive", "origin"):
        function = getattr(manifold, name)
        options = {k: v for k, v in _drawn().items() if k == "size" or k in inspect.signature(function).parameters}
        yield Call("manifolds", f"{manifold.name}.{name}", functools.partial(_sized, function), options)
    yield Call("manifolds", f"{manifold.name}.dimension", manifold.dimension, values(size=(6, 3)))


def _sized(function: Callable[..., Any], size: Any, **options: Any) -> Any:
    return function(size, **options)


def _tangent(manifold: Any, scale: float) -> Tensor:
    x = frame()
    return manifold.proju(x, torch.ones_like(x) * scale)


def _near(manifold: Any) -> Tensor:
    return manifold.retr(frame(), _tangent(manifold, 0.3))


def _trains() -> Iterator[Call]:
    call = functools.partial(Call, "manifolds")
    shape = {"row_modes": (2, 3), "column_modes": (4,), "rank": 2, "rows": 6, "columns": 4, "pad": False}
    yield call("TrainShape", TrainShape, values(**shape))
    yield call("TrainShape.degrees_of_freedom", SHAPE.degrees_of_freedom, values(identity_spectrum=True))
    gauge = values(frame=SHAPE.frames[0], identity_spectrum=True)
    yield call("TrainShape.is_gauge_fixed", SHAPE.is_gauge_fixed, gauge)
    parts = {"shape": SHAPE, "geometry": Riemannian(), "spectrum": Free()}
    yield call("SpectralTensorTrain", SpectralTensorTrain, values(**parts))
    grassmann = SpectralTensorTrain(SHAPE, Riemannian(redundant=False))
    for train in (
        TRAIN,
        grassmann,
        SpectralTensorTrain(SHAPE, Householder()),
        SpectralTensorTrain(SHAPE, Householder(True)),
    ):
        yield from _train_methods(train)
    embedded = SpectralTensorTrain(SHAPE, Riemannian(redundant=False, metric="embedded"))
    yield call("EmbeddedTrain", EmbeddedTrain, values(train=embedded))
    yield call("parameter_manifolds", manifolds.parameter_manifolds, values(train=embedded))


_TRAIN_METHODS = (
    *("factors", "to_matrix", "singular_values", "from_matrix", "from_frames", "to_frames", "convert", "canonical"),
    *("projx", "proju", "egrad2rgrad", "retr", "transp", "inner", "differential", "project_matrix"),
)


def _train_methods(train: SpectralTensorTrain) -> Iterator[Call]:
    def point() -> Any:
        return train.random(dtype=torch.float64, generator=generator())

    def tangent() -> TrainTangent:
        here = point()
        ones = TrainTangent(tuple(map(torch.ones_like, here.coordinates)), torch.ones_like(here.spectrum))
        return train.proju(here, ones)

    def matrix() -> Tensor:
        return torch.randn(6, 4, dtype=torch.float64, generator=generator())

    right: dict[str, Maker] = {
        **dict.fromkeys(("point", "end"), point),
        **dict.fromkeys(("tangent", "vector", "gradient", "first", "second"), tangent),
        "matrix": matrix,
        "metric": lambda: InputMetric.damped(torch.eye(4, dtype=torch.float64)),
        "target": fixed(train),
        "frames": lambda: train.to_frames(point()),
        "spectrum": lambda: torch.ones(2, dtype=torch.float64),
    }
    name = f"SpectralTensorTrain({train.geometry.name})"
    for method in _TRAIN_METHODS:
        function = getattr(train, method)
        wanted = {key: right[key] for key in inspect.signature(function).parameters}
        yield Call("manifolds", f"{name}.{method}", function, wanted)
    drawn = {"batch": fixed(2), **{key: maker for key, maker in _drawn().items() if key != "size"}}
    yield Call("manifolds", f"{name}.random", lambda batch, **options: train.random(batch, **options), drawn)


def _checks() -> Iterator[Call]:
    def cost(x: Tensor) -> Tensor:
        return x.square().sum() + x.sum()

    call = functools.partial(Call, "manifolds")
    where = values(manifold=Stiefel(), shape=(4, 2), dtype=torch.float64, device="cpu")
    yield call("check_manifold", checks.check_manifold, {**where, **values(dimension=5, isometric=False, uniform=True)})
    yield call("check_retraction", checks.check_retraction, {**where, **values(method="retr", second_order=False)})
    yield call("check_gradient", checks.check_gradient, {**where, "cost": fixed(cost)})
    yield call("check_hessian", checks.check_hessian, {**where, "cost": fixed(cost)})
