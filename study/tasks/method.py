"""The methods that trainings compare: ours, which are words such as ``sttp stiefel``, and those that users bring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import torch
from torch import nn

from ...layers import Specification
from ...manifolds import described, require_flag
from .._plain import import_object, require_known
from ..baselines import spectral_normalization, spectral_regularization
from ..parts import FLAVOURS, GEOMETRIES, OPTIMIZERS, SPECIFICATIONS, SPECTRA, BuildOptimizer, name_of_part
from ..random_streams import seeded
from ..register import Appearance, Register

# What a method is told by keyword if it asks for it; all else that it takes is an option of a study.
TOLD: Final = ("rank", "seed", "skip")


@final
@dataclass(frozen=True)
class Method:
    """A way to parameterize the weights of a network.

    ::

        Method("sttp stiefel")                                  # one of ours
        Method("low rank", build=lambda network, rank: ...)     # yours

    Args:
        name: of yours, by which tables and files know it; or ours in words, where there is no ``build``.
        build: called as ``build(network)``, or as ``build(network, rank)`` if it has a parameter ``rank`` or a second
            one without default, and then once a rank. The network has plain weights: torch's own first ones of the
            seed, or with a rank those that our methods of this rank and seed start from. What it returns is trained;
            that may be the same network, changed in place. It may ask by keyword for the ``seed`` and for the names of
            layers to ``skip``, and have other parameters by keyword, which a study gives as ``method.NAME``. The
            global generators of torch, NumPy and Python are seeded before.
        optimizer: that the method is trained by in place of the study's: a name, a class whose objects are made by
            ``optimizer(parameters, lr=rate)``, or a function of parameters and rate.
        title: how readers see it; the name by default.
        look: how plots show it; one that nobody else has by default.
        fine_tunes: whether it changes a network that was trained before: ``build`` then gets the network with the
            weights that it has, also with a rank, and Z is the share of all of its numbers that are trained.

    Z is otherwise counted by trainable numbers: those of the network that ``build`` returns, but for those that were
    trained outside the weights of linear, convolution, embedding and attention layers, stand in place of these weights.
    Numbers that are frozen count nothing.

    Raises:
        TypeError: a value is not of its kind.
        ValueError: the name is blank, or has a colon.
    """

    name: str
    build: Callable[..., nn.Module] | None = None
    optimizer: str | BuildOptimizer | None = None
    title: str | None = None
    look: Appearance | None = None
    fine_tunes: bool = False

    def __post_init__(self) -> None:
        require_flag("fine_tunes", self.fine_tunes)
        if not isinstance(self.name, str):
            raise TypeError(f"name of a method must be a string such as 'sttp stiefel', got {described(self.name)}")
        if not self.name.strip() or (self.build is not None and ":" in self.name):
            raise ValueError(f"name of a method must be words without a colon, got {self.name!r}")
        words = self.name.split()
        if self.build is not None and words[0] in SPECIFICATIONS and (len(words) < 2 or words[1] in GEOMETRIES):
            raise ValueError(f"name of a method with build= must not be one of ours, got {self.name!r}; give another")
        if self.build is not None and not callable(self.build):
            raise TypeError(f"build must be a function of a network, got {described(self.build)}")
        if self.optimizer is not None and not isinstance(self.optimizer, str) and not callable(self.optimizer):
            raise TypeError(f"optimizer must be a name or a class or function, got {described(self.optimizer)}")

    @property
    def __name__(self) -> str:
        """The name that a register knows it by: ours in other circumstances is not what the words alone are."""
        if self.build is not None:
            return self.name
        own = self.title or getattr(self.optimizer, "__name__", None) or self.optimizer
        return self.name if own is None else f"{self.name} ({own})"

    @property
    def takes_rank(self) -> bool:
        """Whether the method is another one at each rank."""
        return self._rank_parameter is not None

    def takes(self, option: str) -> bool:
        """Return whether the method has an option of this name."""
        found = self._parameters.get(option)
        open_ended = any(p.kind is p.VAR_KEYWORD for p in self._parameters.values())
        return option not in TOLD and (open_ended if found is None else option != self._rank_parameter)

    def built(
        self, network: nn.Module, rank: int | None, seed: int, skip: tuple[str, ...], options: Mapping[str, Any]
    ) -> nn.Module:
        """Return the network that is trained.

        Args:
            network: with plain weights; it may be changed.
            rank: None for a method that takes none.
            seed: of whatever is drawn; the global generators are left alone.
            skip: names of layers that stay as they are.
            options: others by name.

        Raises:
            TypeError: what is returned is no network.
        """
        assert self.build is not None, "ours are built from their specification"
        told: dict[str, Any] = {"seed": seed, "skip": skip, self._rank_parameter or "rank": rank}
        told = {name: value for name, value in told.items() if name in self._parameters}
        with seeded(seed):
            made = self.build(network, **told, **options)
        if not isinstance(made, nn.Module):
            raise TypeError(f"method {self.name!r} must return the network that is trained, got {described(made)}")
        return made

    @property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        try:
            return {} if self.build is None else inspect.signature(self.build).parameters
        except (TypeError, ValueError):
            return {}

    @property
    def _rank_parameter(self) -> str | None:
        """The name of the parameter that is the rank; None where there is none."""
        if "rank" in self._parameters:
            return "rank"
        others = [p for p in list(self._parameters.values())[1:] if p.name not in TOLD]
        first = others[0] if others else None
        positional = first is not None and first.kind is first.POSITIONAL_OR_KEYWORD
        return first.name if first is not None and positional and first.default is first.empty else None


def _require_method(thing: object) -> None:
    if not isinstance(thing, Method) and not callable(thing):
        raise TypeError(f"it must be a Method or a function of a network, got {described(thing)}")


# Methods that are no words for layers of this package; functions of a network may be here as they are.
METHODS: Final[Register[Method | Callable[..., nn.Module]]] = Register("method", _require_method)
METHODS.add(
    "dense",
    Method("dense", lambda network: network, look=Appearance("#333333", "D", ":")),
)
METHODS.add(
    "sn",
    Method(
        "sn",
        lambda network, *, skip, seed: spectral_normalization(network, skip, torch.Generator().manual_seed(seed)),
        title="SN",
        look=Appearance("#777777", "h", ":"),
    ),
)
METHODS.add(
    "sr",
    Method(
        "sr",
        lambda network, *, skip: spectral_regularization(network, skip),
        title="SR",
        look=Appearance("#B00020", "*", ":"),
    ),
)


@final
@dataclass(frozen=True)
class MethodChoice:
    """What the text of a method names.

    Attributes:
        parameterization: name of a specification of layers, or of an entry of ``METHODS``.
        geometry, spectrum: of ours, where the text has them.
        optimizer: name of the method's own; None for the study's.
        method: the entry of ``METHODS`` that builds networks; None for ours.
        shown: the entry that tells title and look; None for ours as they are.
    """

    parameterization: str
    geometry: str | None = None
    spectrum: str | None = None
    optimizer: str | None = None
    method: Method | None = None
    shown: Method | None = None


def read_method(text: object) -> MethodChoice:
    """Read the text of a method: the name of one that is registered, ``package.module:object``, or ours in words.

    Ours are a specification of layers, a geometry, and if it is not the study's a spectrum, such as ``sttp stiefel`` or
    ``sttp stiefel lipschitz``; the last may be written ``sttp stiefel L``, in the paper's letters: C for `identity`, L
    for `lipschitz`, R for `regularized`.

    Raises:
        TypeError: the text is no string, or names something else.
        ValueError: a name is unknown, or there are too many words.
    """
    if not isinstance(text, str):
        raise TypeError(f"methods must be strings such as 'dense' or 'sttp stiefel', got {described(text)}")
    words = text.split()
    if not words:
        raise ValueError("methods must be such as 'dense', 'sttp stiefel' or 'sttp stiefel L', got a blank one")
    if text in METHODS or (words[0] not in SPECIFICATIONS and not _is_specification(words[0])):
        return _registered(text, words)
    if len(words) > 3:
        raise ValueError(f"methods must be such as 'dense', 'sttp stiefel' or 'sttp stiefel L', got {text!r}")
    SPECIFICATIONS.entry(words[0], "method")
    geometry = GEOMETRIES.entry(name_of_part(GEOMETRIES, words[1]), "geometry").name if len(words) > 1 else None
    return MethodChoice(words[0], geometry, read_spectrum(words[2]) if len(words) > 2 else None)


def _registered(text: str, words: list[str]) -> MethodChoice:
    if text not in METHODS and ":" not in text:
        require_known("method", words[0], (*METHODS, *SPECIFICATIONS))
        raise ValueError(f"method {words[0]!r} must stand alone, got {text!r}; leave out {' '.join(words[1:])!r}")
    found = METHODS[text]
    method = found if isinstance(found, Method) else Method(METHODS.title(text), found)
    optimizer = None if method.optimizer is None else OPTIMIZERS.name_for(method.optimizer)
    if method.build is not None:
        return MethodChoice(text, optimizer=optimizer, method=method, shown=method)
    ours = read_method(method.name)
    return replace(ours, optimizer=optimizer or ours.optimizer, shown=method)


def method_of(name: str) -> Method | None:
    """Return the method of a case's parameterization; None for ours."""
    return read_method(name).method


def read_spectrum(name: object) -> str:
    """Return the name of a spectrum, also where it is given by the paper's letter."""
    full = FLAVOURS.get(name, name) if isinstance(name, str) else name
    return SPECTRA.entry(full, "spectrum").name


def name_of_method(method: object) -> str:
    """Return the text of a method, given as an object: a :class:`Method`, a function of a network, or the text."""
    if isinstance(method, Method) and method == Method(method.name):
        return method.name
    name = METHODS.name_for(method)
    read_method(name)
    return name


def _is_specification(name: str) -> bool:
    if ":" not in name:
        return False
    found = import_object("method", name)
    return isinstance(found, type) and issubclass(found, Specification)
