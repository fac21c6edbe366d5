"""Wrong arguments of manifolds, charts and trains are refused by name: no obscure error, no number without meaning."""

import inspect
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sttp.manifolds import (
    QR,
    Cayley,
    Embedded,
    Exponential,
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
    haar_frame,
    householder_entries,
    householder_frames,
    newton_schulz_polish,
    orthogonality_error,
    prime_modes,
    qr_positive,
    rq_positive,
)

WRONG = (
    None,
    "3",
    3,
    -1,
    2.5,
    float("nan"),
    True,
    [],
    {},
    object(),
    (3, 6),
    torch.ones(3),
    torch.ones(3, 6),
    torch.ones(6, 3, dtype=torch.int64),
    torch.ones(6, 3, dtype=torch.float16),
    torch.ones(6, 3, dtype=torch.complex64),
    torch.ones(6, 3),
    torch.ones(5, 2, dtype=torch.float64),
    torch.ones(7, 5, 6, 3, dtype=torch.float64),
    torch.full((2, 6, 3), torch.nan, dtype=torch.float64),
    torch.ones(6, 3).to_sparse(),
    torch.ones(6, 3, dtype=torch.float64, device="meta"),
    nn.UninitializedParameter(),
    nn.Linear(3, 6),
    torch.device("cuda", 99),
    torch.float16,
)
SHAPE = TrainShape((2, 3), (4,), 2)
TRAIN = SpectralTensorTrain(SHAPE)
CHART = HouseholderChart(6, 3, False)


DRAWN = {"dtype": torch.float64, "device": "cpu", "generator": torch.Generator()}


POINT = TRAIN.random(dtype=torch.float64)


def frame(seed=0):
    return haar_frame(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def methods(manifold):
    x, y = frame(0), frame(1)
    u, v = (manifold.proju(x, torch.ones_like(x) * scale) for scale in (0.1, 0.2))
    arguments = {"x": x, "y": y, "u": u, "v": v}
    names = ["projx", "proju", "egrad2rgrad", "inner", "retr", "transp", "retr_transp", "transp_follow_retr"]
    names += ["inverse_retr", "expmap", "expmap_transp", "transp_follow_expmap"]
    names += ["logmap", "dist"] if manifold != Stiefel() else []
    for name in names:
        method = getattr(manifold, name)
        wanted = [p for p in inspect.signature(method).parameters if p in arguments]
        yield f"{manifold.name}.{name}", method, {p: arguments[p] for p in wanted}
    yield f"{manifold.name}.random", lambda **a: manifold.random(6, 3, **a), dict(DRAWN)
    yield f"{manifold.name}.origin", lambda **a: manifold.origin(6, 3, **a), {"dtype": torch.float32, "device": "cpu"}


def train_methods(train):
    point = train.random(dtype=torch.float64)
    ones = TrainTangent(tuple(map(torch.ones_like, point.coordinates)), torch.ones_like(point.spectrum))
    right = {
        **dict.fromkeys(("point", "end"), point),
        **dict.fromkeys(("vector", "gradient", "tangent", "first", "second"), ones),
        "matrix": torch.ones(6, 4, dtype=torch.float64),
        "frames": train.to_frames(point),
        "spectrum": point.spectrum,
    }
    names = ["factors", "to_matrix", "singular_values", "from_frames", "to_frames", "canonical", "projx", "proju"]
    names += ["egrad2rgrad", "retr", "transp", "inner", "differential", "project_matrix"]
    for name in names:
        method = getattr(train, name)
        yield f"{train.geometry.name}.{name}", method, {p: right[p] for p in inspect.signature(method).parameters}
    yield f"{train.geometry.name}.random", train.random, dict(DRAWN)


CALLS = (
    {
        name: (method, arguments)
        for manifold in (Stiefel(), Stiefel("canonical", Cayley()), Grassmann(Polar()))
        for name, method, arguments in methods(manifold)
    }
    | {
        "Stiefel": (Stiefel, {"metric": "canonical", "retraction": QR()}),
        "Grassmann": (Grassmann, {"retraction": QR()}),
        "Stiefel.dimension": (Stiefel().dimension, {"size": (6, 3)}),
        "Grassmann.dimension": (Grassmann().dimension, {"size": (6, 3)}),
        "Stiefel.random": (lambda size: Stiefel().random(size), {"size": (6, 3)}),
        "Stiefel.origin": (lambda size: Stiefel().origin(size), {"size": (6, 3)}),
        "haar_frame": (lambda shape: haar_frame(shape, 3), {"shape": 6}),
        "householder_frames": (householder_frames, {"entries": frame(), "reduced": False}),
        "householder_entries": (householder_entries, {"frame": frame()}),
        "prime_modes": (prime_modes, {"channels": 12, "filter_size": 9}),
        "QR": (QR, {"transport": "projection"}),
        "Cayley": (Cayley, {"transport": "projection", "polishes": 3}),
        "Exponential": (Exponential, {"transport": "isometric"}),
        "Embedded": (Embedded, {"damping": 1e-3}),
        "Riemannian": (Riemannian, {"redundant": True, "metric": "canonical", "retraction": QR()}),
        "Householder": (Householder, {"redundant": True}),
        "TrainShape": (
            TrainShape,
            {"row_modes": (2, 3), "column_modes": (4,), "rank": 2, "rows": 6, "columns": 4, "pad": False},
        ),
        "SpectralTensorTrain": (SpectralTensorTrain, {"shape": SHAPE, "geometry": Riemannian(), "spectrum": Free()}),
        "from_matrix": (TRAIN.from_matrix, {"matrix": torch.ones(6, 4)}),
        "convert": (TRAIN.convert, {"point": TRAIN.random(), "target": TRAIN}),
        "qr_positive": (qr_positive, {"matrix": frame()}),
        "rq_positive": (rq_positive, {"matrix": frame()[..., :3, :]}),
        "newton_schulz_polish": (newton_schulz_polish, {"frame": frame()}),
        "orthogonality_error": (orthogonality_error, {"frame": frame()}),
        "drawn frame": (lambda **options: haar_frame(6, 3, **options), dict(DRAWN)),
        "chart": (Householder().chart, {"frame": SHAPE.frames[0], "gauge_fixed": True}),
        "chart.coordinates": (CHART.coordinates, {"frame": frame()}),
        "chart.frame": (CHART.frame, dict(zip(("coordinates", "signs"), CHART.coordinates(frame()), strict=True))),
        "is_gauge_fixed": (SHAPE.is_gauge_fixed, {"frame": SHAPE.frames[0], "identity_spectrum": True}),
        **{
            f"{type(spectrum).__name__}.{name}": (getattr(spectrum, name), right)
            for spectrum in (Free(), Lipschitz(), Identity())
            for name, right in (
                ("values", {"parameter": spectrum.initial(3), "rank": 3}),
                ("fit", {"values": torch.ones(3)}),
                ("initial", {"rank": 3, "dtype": torch.float32, "device": "cpu"}),
            )
        },
    }
    | {
        name: (method, arguments)
        for train in (
            TRAIN,
            SpectralTensorTrain(SHAPE, Riemannian(False)),
            SpectralTensorTrain(SHAPE, Householder(True)),
        )
        for name, method, arguments in train_methods(train)
    }
)


def attempt(name, argument, value):
    """Return None where the call succeeds or is refused by name, else what it did."""
    call, arguments = CALLS[name]
    try:
        call(**{**arguments, argument: value})
    except (TypeError, ValueError) as error:
        said = str(error)
        names = (*arguments, "shape", "modes", "points", "rank")
        if any(re.search(rf"\b{name}\b", said) for name in names) and "got" in said:
            return None
        return f"{name}({argument}={value!r}): {type(error).__name__}: {error}"
    except Exception as error:
        return f"{name}({argument}={value!r}): {type(error).__name__}: {error}"
    return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.data())
def test_wrong_arguments_are_refused_by_name(data):
    name = data.draw(st.sampled_from(sorted(CALLS)))
    argument = data.draw(st.sampled_from(sorted(CALLS[name][1])))
    assert attempt(name, argument, data.draw(st.sampled_from(WRONG))) is None


def test_right_arguments_are_taken():
    for name, (call, arguments) in CALLS.items():
        call(**arguments), name


@pytest.mark.parametrize(
    "change",
    [
        {"coordinates": POINT.coordinates[1:]},
        {"coordinates": list(POINT.coordinates)},
        {"coordinates": (POINT.coordinates[0].float(), *POINT.coordinates[1:])},
        {"coordinates": (POINT.coordinates[0][:1], *POINT.coordinates[1:])},
        {"coordinates": (torch.stack([POINT.coordinates[0]] * 2), *POINT.coordinates[1:])},
        {"spectrum": "x"},
        {"spectrum": torch.ones(5, dtype=torch.float64)},
        {"signs": ()},
    ],
)
def test_a_point_of_another_train_is_refused(change):
    with pytest.raises((TypeError, ValueError), match=r"point\b.* must"):
        TRAIN.to_matrix(replace(POINT, **change))


def test_vectors_of_fewer_or_more_dimensions_are_broadcast():
    for manifold in (Stiefel("canonical", Cayley()), Stiefel(retraction=Exponential()), Grassmann(Exponential())):
        x = frame()
        u = manifold.proju(x, torch.ones_like(x)) / 10
        for point, vector in ((x[0], u), (x, torch.stack([u, u])), (torch.stack([x, x]), u)):
            wide, tall = torch.broadcast_tensors(point, vector)
            for method in ("expmap_transp", "retr_transp"):
                found = getattr(manifold, method)(point, vector, vector)
                expected = getattr(manifold, method)(wide.contiguous(), tall.contiguous(), tall.contiguous())
                for one, other in zip(found, expected, strict=True):
                    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: haar_frame(3, 6), "n >= p"),
        (lambda: haar_frame(-2, 3, 2), "at least 0"),
        (lambda: Stiefel().inner(frame(), frame()[..., :2], frame()), "u must be made of matrices"),
        (lambda: Stiefel().inner(frame(), frame(), frame()[..., :1]), "v must be made of matrices"),
        (lambda: Stiefel().proju(frame(), frame()[..., :1]), "u must be made of matrices"),
        (lambda: Stiefel("canonical").dist(frame(), frame()[:, :1]), "y must be made of matrices"),
        (lambda: Stiefel().dimension((3, 6)), "n >= p"),
        (lambda: Grassmann().dimension((6,)), "at least 2 dimensions"),
        (lambda: Riemannian(redundant="no"), "redundant must be True or False"),
        (lambda: Householder(redundant=1), "redundant must be True or False"),
        (lambda: Cayley(polishes=-1), "polishes must be at least 0"),
        (lambda: Polar(polishes=-1), "polishes must be at least 0"),
        (lambda: Embedded(damping=float("nan")), "damping must be finite"),
        (lambda: Stiefel().proju(frame(), frame().float()), "u must have the dtype of x"),
        (lambda: Stiefel().proju(frame(), haar_frame(3, 6, 3, dtype=torch.float64)), "leading dimensions"),
    ],
)
def test_what_was_silent_or_obscure_is_refused(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [1e-45, 0.0, 0.0], [1e-30, 1e-31, 0.0]])
def test_the_lipschitz_spectrum_is_finite_at_zero(values):
    parameter = torch.tensor(values, requires_grad=True)
    normalized = Lipschitz().values(parameter, 3)
    (gradient,) = torch.autograd.grad(normalized.sum(), parameter)
    assert normalized.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [1e-300, 1e-162, 1.0, 1e154, 1e300])
def test_fits_do_not_depend_on_the_scale_of_the_matrix(scale):
    matrix = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fit, scaled = TRAIN.from_matrix(matrix), TRAIN.from_matrix(matrix * scale)
    torch.testing.assert_close(scaled.error, fit.error, rtol=1e-12, atol=0)
    torch.testing.assert_close(scaled.point.spectrum / scale, fit.point.spectrum, rtol=1e-10, atol=0)


def test_the_embedded_metric_has_one_form():
    assert Riemannian(redundant=False, metric="embedded") == Riemannian(redundant=False, metric=Embedded())
    assert Riemannian(redundant=False, metric=Embedded(0.1)) != Riemannian(redundant=False, metric=Embedded())
