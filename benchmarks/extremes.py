"""Steps at extreme learning rates along extreme gradients: are frames finite, and on their manifold?

Each case makes five steps over frames of several shapes: along gradients of one size, which are random or normal to the
manifold, where a Riemannian gradient is nothing but rounding; then ordinary ones, which what came before must not
poison. A case is held if all frames and their state are finite after every step and frames are as near to their
manifold as the optimizer claims, refused if the optimizer refuses an option by name, broken else. Takes about half an
hour; every 23rd case when quick.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import geoopt
import torch
from torch import Tensor

from sttp.manifolds import Grassmann, Stiefel, haar_frame, orthogonality_error
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
    RiemannianAdam,
    RiemannianSGD,
)

from .harness import RESULTS, machine

Options = dict[str, Any]
RATES = (0.0, 1e-30, 1e-20, 1e-10, 1e-6, 1e-3, 0.05, 0.3, 0.9, 1.0, 3.0, 30.0, 1e3, 1e6, 1e10, 1e20, 1e30)
SIZES = (0.0, 1e-45, 1e-37, 1e-30, 1e-20, 1e-10, 1e-3, 1.0, 1e3, 1e6, 1e10, 1e18, 1e20, 1e30, 1e38, 3e38)
LARGER_SIZES = (1e-320, 1e-200, 1e100, 1e154, 1e200, 1e300)  # of float64 alone
SHAPES = ((1, 1), (5, 1), (4, 4), (9, 4), (2, 6, 3))
MANIFOLDS = (Stiefel(), Stiefel("canonical"), Grassmann())
TOLERANCES = {torch.float32: 5e-6, torch.float64: 1e-11}
# Coprime to the numbers of rates, sizes and manifolds, so that every value of each occurs.
_STRIDE = 23
ADAM: tuple[Options, ...] = ({}, {"betas": (0.0, 0.0)}, {"betas": (0.9, 0.0)}, {"betas": (0.0, 0.999)}, {"eps": 0.0})
SGD: tuple[Options, ...] = ({"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 1.0})


@dataclass(frozen=True)
class Contestant:
    """An optimizer, its settings, and the ‖XᵀX − I‖_F that it claims if that is more than rounding."""

    kind: Callable[..., torch.optim.Optimizer]
    settings: tuple[Options, ...]
    region: float = field(default=0.0)


def _retracted(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    return lambda params, **options: Retracted(kind, params, **options)


CONTESTANTS = {
    "RiemannianSGD": Contestant(RiemannianSGD, (*SGD, {"momentum": 0.9, "nesterov": True})),
    "RiemannianAdam": Contestant(RiemannianAdam, (*ADAM, {"amsgrad": True}, {"second_moment": "frame"})),
    "CayleySGD": Contestant(CayleySGD, SGD),
    "CayleyAdam": Contestant(CayleyAdam, ADAM),
    "Landing": Contestant(Landing, SGD, 0.5),
    "POGO": Contestant(POGO, ADAM, 9 / 7 / 4),
    "RandomSubmanifoldDescent": Contestant(RandomSubmanifoldDescent, ({"size": 3}, {"size": 3, "sampling": "haar"})),
    "MomentumStiefelSGD": Contestant(MomentumStiefelSGD, SGD),
    "MomentumStiefelAdam": Contestant(MomentumStiefelAdam, ADAM),
    "ManifoldMuon": Contestant(ManifoldMuon, ({"betas": (0.9, 0.999)}, {"betas": (0.0, 0.999)})),
    "SPEL": Contestant(SPEL, ({"betas": (0.9, 0.999)}, {"betas": (0.0, 0.999)})),
    "Retracted(SGD)": Contestant(_retracted(torch.optim.SGD), SGD),
    "Retracted(Adam)": Contestant(_retracted(torch.optim.Adam), ADAM),
    "Retracted(AdamW)": Contestant(_retracted(torch.optim.AdamW), ADAM),
}


@dataclass(frozen=True)
class Case:
    """One way to make steps."""

    settings: Options
    rate: float
    size: float
    is_normal: bool
    manifold: geoopt.Manifold
    dtype: torch.dtype


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Try all cases, print how many held, and keep the figures.

    Raises:
        SystemExit: a case broke.
    """
    rows: dict[str, dict[str, int]] = {}
    broken: list[str] = []
    for name, contestant in CONTESTANTS.items():
        counts: Counter[str] = Counter()
        for case in itertools.islice(_cases(contestant), 0, None, _STRIDE if quick else 1):
            outcome = attempt(contestant, case, device)
            counts[outcome.split(":")[0]] += 1
            if outcome.startswith("broken"):
                broken.append(f"{name} {case}: {outcome}")
        rows[name] = {"tried": counts.total(), **{word: counts[word] for word in ("held", "refused", "broken")}}
        if not as_json:
            print(f"{name:26s}" + "".join(f"  {word} {count}" for word, count in rows[name].items()), flush=True)
    total = {word: sum(row[word] for row in rows.values()) for word in ("tried", "held", "refused", "broken")}
    record = {"benchmark": "extremes", "machine": machine(device), "total": total, "rows": rows, "broken": broken}
    text = json.dumps(record, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"extremes-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    print(text if as_json else f"{'all':26s}" + "".join(f"  {word} {count}" for word, count in total.items()))
    if broken:
        raise SystemExit("\n".join(broken[:20]))


def _cases(contestant: Contestant) -> Iterator[Case]:
    for dtype in TOLERANCES:
        sizes = SIZES + LARGER_SIZES if dtype is torch.float64 else SIZES
        for parts in itertools.product(contestant.settings, RATES, sizes, (False, True), MANIFOLDS):
            yield Case(*parts, dtype=dtype)


def attempt(contestant: Contestant, case: Case, device: torch.device) -> str:
    """Return "held", "refused", or "broken: " and how."""
    frames = [
        geoopt.ManifoldParameter(_start(shape, case.dtype).to(device), manifold=case.manifold) for shape in SHAPES
    ]
    try:
        optimizer = contestant.kind(frames, lr=case.rate, **case.settings)
    except ValueError:
        return "refused"
    source = torch.Generator().manual_seed(1)
    limit = max(contestant.region * (1 + 1e-5), TOLERANCES[case.dtype])
    for size in (case.size, case.size, 1.0, 1e-3, case.size):
        for frame in frames:
            gradient = torch.rand(frame.shape, dtype=case.dtype, generator=source).mul_(2).sub_(1).to(device)
            if case.is_normal:
                gradient = frame.detach() @ (frame.detach().mT @ gradient) / frame.shape[-2]
            frame.grad = gradient * size
        try:
            optimizer.step()
        except RuntimeError as error:  # that of torch.linalg among them
            return f"broken: {error}"
        worst = max(float(orthogonality_error(frame).max()) for frame in frames)
        if not worst <= limit:  # NaN is not
            return f"broken: ‖XᵀX − I‖ = {worst:.2g}"
        if not all(math.isfinite(float(tensor.detach().abs().amax())) for tensor in _state(optimizer)):
            return "broken: the state is not finite"
    return "held"


_STARTS: dict[object, Tensor] = {}


def _start(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    key = (shape, dtype)
    if key not in _STARTS:
        _STARTS[key] = haar_frame(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return _STARTS[key].clone()


def _state(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
