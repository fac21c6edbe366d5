"""Learning rates that a sampler of Optuna proposes, by ask and tell."""

from __future__ import annotations

import bisect
import functools
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from ..manifolds import require_integer, require_number
from ._plain import require_known
from .search import STRATEGIES, Order, Progress, Strategy, rounded


@final
@dataclass(frozen=True)
class OptunaSearch(Strategy):
    """Rates between two bounds, one after another, each proposed by a sampler of Optuna from those before it.

    The rates that were tried are told to a fresh, seeded sampler in the order in which it proposes them, so that a
    search that was interrupted goes on with the same rates. Runs are ordered by several numbers: the sampler is told
    where a run stands among those before it.

    Attributes:
        lowest_rate, highest_rate: the bounds.
        trials: number of runs.
        sampler: name of a class of ``optuna.samplers`` that takes a seed.
        sampler_seed: its seed.

    Raises:
        TypeError, ValueError: a value is not of its kind, or out of range.
    """

    lowest_rate: float = 1e-4
    highest_rate: float = 1.0
    trials: int = 8
    sampler: str = "TPESampler"
    sampler_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("lowest_rate", "highest_rate"):
            require_number(name, getattr(self, name), above=0)
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.lowest_rate >= self.highest_rate:
            raise ValueError(
                f"lowest_rate must be below highest_rate, got {self.lowest_rate} and {self.highest_rate}; exchange them"
            )
        require_integer("trials", self.trials, least=1)
        require_integer("sampler_seed", self.sampler_seed, least=0)
        if not isinstance(self.sampler, str):
            raise TypeError(f"sampler must be a string such as 'TPESampler', got {self.sampler!r}")

    def follow(self, tried: Mapping[float, Order]) -> Progress:
        """Follow the search."""
        if not _is_installed() and len(tried) >= self.trials:
            return _finished(list(tried), tried)  # such as where a folder of results is drawn
        told: list[tuple[float, float]] = []
        places: list[tuple[Order, float]] = []
        while len(told) < self.trials:
            rate = _proposed(self, tuple(told))
            if rate not in tried:
                rates = sorted({rate, *(known for known, _ in told)})
                return Progress(tuple(rates), (rate,), None, self.trials)
            told.append((rate, _place(places, tried[rate])))
        return _finished([rate for rate, _ in told], tried)


STRATEGIES.add("optuna", OptunaSearch)


def _finished(rates: list[float], tried: Mapping[float, Order]) -> Progress:
    ascending = tuple(sorted(set(rates)))
    return Progress(ascending, (), max(ascending, key=lambda rate: tried[rate]), len(ascending))


def _place(places: list[tuple[Order, float]], order: Order) -> float:
    """Return a number that is ordered among those of earlier runs as the run is, and add it to them."""
    index = bisect.bisect_left(places, order, key=lambda place: place[0])
    if index < len(places) and places[index][0] == order:
        return places[index][1]
    below = places[index - 1][1] if index else None
    above = places[index][1] if index < len(places) else None
    if below is not None and above is not None:
        found = (below + above) / 2
    else:
        found = below + 1 if below is not None else above - 1 if above is not None else 0.0
    places.insert(index, (order, found))
    return found


@functools.lru_cache(maxsize=2**16)
def _proposed(search: OptunaSearch, told: tuple[tuple[float, float], ...]) -> float:
    """Return the rate that a fresh sampler proposes after it was told these rates and places."""
    optuna = _optuna()
    kinds = [name for name in optuna.samplers.__all__ if _takes_a_seed(getattr(optuna.samplers, name))]
    sampler = getattr(optuna.samplers, require_known("sampler", search.sampler, kinds))(seed=search.sampler_seed)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=sampler, direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    rates = optuna.distributions.FloatDistribution(search.lowest_rate, search.highest_rate, log=True)
    for _, place in told:
        study.tell(study.ask({"learning_rate": rates}), place)
    return rounded(study.ask({"learning_rate": rates}).params["learning_rate"])


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("optuna") is not None


def _takes_a_seed(thing: object) -> bool:
    """Whether this is a sampler that can be made of a seed alone."""
    if not inspect.isclass(thing):
        return False
    parameters = inspect.signature(thing).parameters
    return "seed" in parameters and all(
        name == "seed" or parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
        for name, parameter in parameters.items()
    )


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ValueError(
            f"search 'optuna' needs a package that cannot be imported ({error}): pip install 'sttp-torch[optuna]', "
            f"or choose the search 'grid'"
        ) from None
