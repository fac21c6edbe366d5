"""Wrong arguments of optimizers, methods, penalties and clipping are refused by name, before anything is changed."""

import math

import geoopt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_registry import ROWS, Row
from torch import nn

from sttp.layers import STTP, reparameterize
from sttp.manifolds import Stiefel, haar_frame
from sttp.optim import (
    LBFGS,
    ConjugateGradient,
    HagerZhang,
    PolakRibiere,
    Retracted,
    RiemannianAdam,
    RiemannianSGD,
    SteepestDescent,
    TrustRegions,
    WolfeSearch,
    clip_gradient_norm_,
    d_optimal,
    divergence,
    gradient_norm,
    matrix_sign,
    minimize,
)

NAN, INFINITY = math.nan, math.inf
OWN = [row for row in ROWS if row.name != "smallest"]


def frame():
    start = haar_frame(4, 2, generator=torch.Generator().manual_seed(0))
    return geoopt.ManifoldParameter(start, manifold=Stiefel())


FRAME = frame()
NETWORK = reparameterize(nn.Linear(6, 6), STTP(2), generator=torch.Generator().manual_seed(0))


def optimizer(row):
    """Return a constructor and right arguments: all options that the optimizer has."""
    made = row.make([frame()])
    options = getattr(made, "optimizer", made).defaults
    skipped = ("foreach", "fused", "differentiable", "decoupled_weight_decay") if "retracted" in row.name else ()
    return row.kind, {"params": [FRAME], **{name: value for name, value in options.items() if name not in skipped}}


def group_of(kind):
    """Return a function that adds a group of which one part may be wrong, and shows that none is added then."""

    def add(**param_group):
        made = kind([frame()])
        before = [dict(group) for group in made.param_groups]
        try:
            made.add_param_group(param_group)
        except (TypeError, ValueError):
            after = [dict(group) for group in made.param_groups]
            assert [list(group) for group in after] == [list(group) for group in before]
            raise

    return add


def adamw(params):
    return Retracted(torch.optim.AdamW, params)


CALLS = {
    **dict(map(optimizer, OWN)),
    group_of(RiemannianAdam): {"params": [FRAME], "lr": 0.1, "betas": (0.9, 0.99), "amsgrad": True},
    group_of(adamw): {"params": [FRAME], "lr": 0.1, "weight_decay": 0.0},
    Retracted: {"optimizer": torch.optim.SGD, "params": [FRAME], "width": 8, "lr": 0.1, "momentum": 0.9},
    lambda **a: RiemannianSGD([frame()]).add_param_group(**a): {"param_group": {"params": [FRAME]}},
    lambda **a: adamw([frame()]).add_param_group(**a): {"param_group": {"params": [FRAME]}},
    lambda **a: RiemannianSGD([FRAME]).load_state_dict(**a): {"state_dict": RiemannianSGD([FRAME]).state_dict()},
    lambda **a: adamw([FRAME]).load_state_dict(**a): {"state_dict": adamw([FRAME]).state_dict()},
    lambda **a: RiemannianSGD([frame()]).step(**a): {"closure": lambda: 0.5},
    lambda **a: adamw([frame()]).step(**a): {"closure": lambda: 0.5},
    LBFGS: {"memory": 3, "search": WolfeSearch()},
    ConjugateGradient: {"rule": HagerZhang(), "search": WolfeSearch()},
    SteepestDescent: {"search": WolfeSearch()},
    HagerZhang: {"eta": 0.1},
    PolakRibiere: {"nonnegative": True},
    WolfeSearch: {"sufficient_decrease": 1e-4, "curvature": 0.9, "max_doublings": 20},
    TrustRegions: {
        "kappa": 0.1,
        "theta": 1.0,
        "acceptance": 0.1,
        "initial_radius": 1.0,
        "largest_radius": 2.0,
        "max_products": 3,
        "preconditioner": list,
    },
    minimize: {
        "cost": lambda: FRAME.square().sum() + FRAME.sum(),
        "parameters": [FRAME],
        "method": SteepestDescent(),
        "gradient_tolerance": 1e-6,
        "step_tolerance": 0.0,
        "max_iterations": 1,
        "max_seconds": 1.0,
        "callback": lambda iterate: False,
        "progress": False,
    },
    gradient_norm: {"parameters": [FRAME]},
    clip_gradient_norm_: {"parameters": [FRAME], "max_norm": 1.0, "error_if_nonfinite": True},
    d_optimal: {"network": NETWORK},
    divergence: {"network": NETWORK, "width": 0.1},
    matrix_sign: {"matrix": torch.eye(4, 2), "floor": 0.1, "bound": 2.0},
}
WRONG = {
    "none": None,
    "text": "x",
    "digit": "3",
    "rate": "1e-3",
    "bytes": b"abc",
    "minus": -1,
    "half": 2.5,
    "minus-half": -0.5,
    "huge": 10**400,
    "larger": 1e300,
    "nan": NAN,
    "infinity": INFINITY,
    "true": True,
    "complex": 1j,
    "list": [],
    "single": (0.9,),
    "triple": (0.9, 0.9, 0.9),
    "above": (0.9, 1.5),
    "texts": ("a", "b"),
    "nans": (NAN, 0.9),
    "dict": {"a": 1},
    "empty": {},
    "state": {"state": 1, "param_groups": 3},
    "groups": {"state": {}, "param_groups": [{}, {}]},
    "set": {1},
    "object": object(),
    "class": LBFGS,
    "module": nn.ReLU(),
    "tensor": torch.zeros(2, 3),
    "integers": torch.ones(3, 2, dtype=torch.int64),
    "complex-tensor": torch.ones((), dtype=torch.complex64),
    "nan-tensor": torch.tensor(NAN),
    "wide": torch.ones(2, 3),
    "array": np.zeros(3),
    "lambda": lambda *_: 3,
    "generator": iter([]),
    "mixed": [torch.ones(2, requires_grad=True), "a"],
}


def outcome(function, right, argument, wrong):
    """Return "success", "refused" or what was obscure of a call with one wrong argument."""
    point = FRAME.detach().clone()
    try:
        function(**{**right, argument: wrong})
    except (TypeError, ValueError) as error:
        assert torch.equal(FRAME, point), "a refused call has moved a parameter"
        return "refused" if argument in str(error) or "params" in str(error) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "success"


def test_the_right_arguments_are_right():
    for function, right in CALLS.items():
        argument, value = next(iter(right.items()))
        assert outcome(function, right, argument, value) == "success", (function, argument)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.data())
def test_wrong_arguments_are_refused_by_name(data):
    function = data.draw(st.sampled_from(list(CALLS)))
    argument = data.draw(st.sampled_from(list(CALLS[function])))
    wrong = data.draw(st.sampled_from(list(WRONG)))
    if argument in ("cost", "closure") and wrong == "module":  # which is a function, and refuses its call itself
        return
    found = outcome(function, CALLS[function], argument, WRONG[wrong])
    assert found in ("success", "refused"), (function, argument, wrong, found)


@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
@pytest.mark.parametrize("rate", [INFINITY, NAN, -1.0, "1e-3", True, None, 1e31, torch.tensor(INFINITY), torch.ones(2)])
def test_a_learning_rate_that_is_none_is_refused_and_not_taken(row, rate):
    with pytest.raises((TypeError, ValueError), match="lr must be"):
        row.kind([frame()], lr=rate)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("weight_decay", {"weight_decay": INFINITY}),
        ("momentum", {"momentum": "x"}),
        ("momentum", {"momentum": NAN}),
        ("betas", {"betas": 0.9}),
        ("betas", {"betas": (0.9,)}),
        ("betas", {"betas": (0.9, NAN)}),
        ("eps", {"eps": -1.0}),
        ("seed", {"seed": "3"}),
        ("size", {"size": 2.5}),
        ("amsgrad", {"amsgrad": "no"}),
        ("maximize", {"maximize": 1}),
    ],
)
@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_options_that_are_none_are_refused_and_not_taken(row: Row, name, options):
    if name not in optimizer(row)[1]:
        return
    with pytest.raises((TypeError, ValueError), match=rf"{name}\b"):
        row.kind([frame()], **options)
    if "retracted" in row.name and name in ("betas", "eps"):  # which differ from optimizer to optimizer of torch
        return
    made = row.kind([frame()])
    with pytest.raises((TypeError, ValueError), match=rf"{name}\b"):
        made.load_state_dict(
            {**made.state_dict(), "param_groups": [{**made.state_dict()["param_groups"][0], **options}]}
        )


@pytest.mark.parametrize("row", [row for row in OWN if "retracted" not in row.name], ids=lambda row: row.name)
def test_what_a_scheduler_makes_of_a_rate_is_refused_before_anything_moves(row):
    point = frame()
    made = row.kind([point], lr=0.1)
    point.grad = torch.ones_like(point)
    made.step()
    before = point.detach().clone()
    made.param_groups[0]["lr"] = NAN
    with pytest.raises(ValueError, match="lr must be"):
        made.step()
    assert torch.equal(point, before)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LBFGS(memory=-1),
        lambda: LBFGS(memory=2.5),
        lambda: LBFGS(search=3),
        lambda: TrustRegions(kappa="x"),
        lambda: TrustRegions(max_products=1.5),
        lambda: WolfeSearch(curvature=NAN),
        lambda: minimize(lambda: FRAME.sum(), [FRAME], max_iterations=2.5),
        lambda: minimize(lambda: FRAME.sum(), FRAME),
        lambda: minimize(FRAME.sum(), [FRAME]),
        lambda: clip_gradient_norm_([FRAME], "1"),
        lambda: divergence(NETWORK, width="wide"),
        lambda: matrix_sign(torch.ones(2, 3)),
    ],
)
def test_these_are_refused_and_not_taken(call):
    with pytest.raises((TypeError, ValueError), match=r"must be|must have"):
        call()


def test_complex_manifolds_are_refused_by_name_at_construction():
    manifold = geoopt.UpperHalf()
    point = geoopt.ManifoldParameter(manifold.random(2, 2), manifold=manifold)
    for call in (RiemannianAdam, adamw, lambda params: minimize(lambda: point.abs().sum(), params)):
        with pytest.raises(TypeError, match=r"complex.*UpperHalf.*geoopt\.optim"):
            call([point])


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1), torch.tensor([0.1]), np.float32(0.1), 1])
def test_numbers_and_tensors_of_one_number_are_learning_rates(rate):
    point = frame()
    point.grad = torch.ones_like(point)
    RiemannianAdam([point], lr=rate).step()
    assert point.isfinite().all()
