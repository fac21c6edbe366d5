"""What all layers with a spectral weight share: a thin shell around it that looks like a torch.nn layer."""

from __future__ import annotations

import abc
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor, nn

from ..manifolds import described, require_instance, require_integer, require_tensor
from ._computed_weight import ComputedWeight, computed
from ._evaluation_scope import evaluator_of
from ._plan import Forward, Plan, Route, require_forward
from ._specification import Specification
from ._spectral_weight import SpectralWeight
from ._weight_shape import WeightShape

# What a torch.nn layer keeps in its __dict__ on behalf of nn.Module itself and not of its own call.
MODULE_STATE: Final = frozenset(vars(nn.Module()))
# The hooks that a forward or backward runs; those of state dicts speak of the weight that is gone.
_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)

# Arguments of torch.nn layers that are sizes, of which torch itself says little where they are none.
_SIZES: Final = frozenset(f"{side}_{kind}" for side in ("in", "out") for kind in ("features", "channels")) | {
    "groups",
    "num_embeddings",
    "embedding_dim",
    "embed_dim",
    "num_heads",
    "kdim",
    "vdim",
}


class SpectralLayer(nn.Module):
    """Base of the layers: same call, attributes, bias and printed form as the torch.nn layer :attr:`namesake`.

    The constructor takes the namesake's own arguments and ``spec``. ``weight`` is a property that makes W anew from the
    parameters in :attr:`spectral`, so that code which reads weights works.

    Args:
        args: the namesake's arguments.
        spec: ``STTP(…)`` or ``SVDP(…)``.
        generator: draws the fresh frames; torch's global one by default.
        kwargs: the namesake's keyword arguments.

    Attributes:
        spectral: the parameters of the weight.
        bias: the bias, or None.
        rows: (start, stop) of the rows of the spectral weight that are this layer's, None where all are.
        plan: how the product with the weight can be taken, and which way the specification's ``forward`` asks for.
    """

    namesake: ClassVar[type[nn.Module]]
    spectral: SpectralWeight
    bias: nn.Parameter | None
    rows: tuple[int, int] | None = None
    plan: Plan
    _has_fallen_back: bool = False

    def __init__(
        self, *args: Any, spec: Specification, generator: torch.Generator | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        require_spec(spec, generator)
        with naming_arguments(self.namesake, args, kwargs):
            template = self.namesake(*args, **kwargs)
            self._adopt(template, _fresh_weight(template, spec, generator), spec.forward)

    @classmethod
    def of(
        cls,
        layer: nn.Module,
        spectral: SpectralWeight,
        forward: Forward = "auto",
        rows: tuple[int, int] | None = None,
    ) -> Self:
        """Return the spectral form of a torch.nn layer: its attributes, hooks and bias (the object), another weight.

        Args:
            layer: the layer.
            spectral: its weight.
            forward: how it takes the product with it.
            rows: of a linear layer that has only some rows of the weight, beside others that have the rest.
        """
        _require_layer(layer, cls.namesake)
        require_instance("spectral", spectral, SpectralWeight, "a SpectralWeight")
        require_forward(forward)
        instance = cls.__new__(cls)
        nn.Module.__init__(instance)
        if rows is not None:
            instance.rows = rows
        instance._adopt(layer, spectral, forward)
        return instance

    @classmethod
    def fresh(cls, layer: nn.Module, spec: Specification, generator: torch.Generator | None = None) -> Self:
        """Return the spectral form of a torch.nn layer with a fresh weight; see :meth:`of`."""
        _require_layer(layer, cls.namesake)
        require_spec(spec, generator)
        return cls.of(layer, _fresh_weight(layer, spec, generator), spec.forward)

    def dense(self) -> nn.Module:
        """Return a torch.nn layer with equal outputs, whose weight and bias are copies."""
        layer = self.namesake.__new__(self.namesake)
        nn.Module.__init__(layer)
        layer.__dict__.update(self._own_attributes())
        layer.weight = nn.Parameter(
            self._weight().detach().clone(), requires_grad=self.spectral.coordinates[0].requires_grad
        )
        bias = self.bias
        layer.register_parameter(
            "bias", None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        )
        return layer.train(self.training)

    @property
    def weight(self) -> Tensor:
        """W in the shape of torch's weight, differentiable. It refuses to be written to.

        A tensor that is assigned is fitted, as by :meth:`SpectralWeight.fit`, with a warning where the spectrum cannot
        hold its scale; nothing keeps the tensor itself.

        Writes by methods of the tensor or of parts of it are refused, since they would be lost. Those that torch makes
        without them cannot be seen: ``torch.zero_(weight)``, ``torch.nn.functional.relu_(weight)``, ``out=weight``,
        ``torch._foreach_…``, and all to ``weight.detach()``, a plain tensor. They change nothing.
        """
        return computed(self._weight())

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":  # nn.Module would take a parameter for one that is to be registered
            self._fit(value)
        else:
            super().__setattr__(name, value)

    def _weight(self) -> Tensor:
        """Return W as the forward takes it."""
        return self.spectral.weight()

    def _fit(self, weight: Any) -> None:
        require_tensor("weight", weight)
        if isinstance(weight, ComputedWeight):
            raise ValueError(
                "weight is that of a spectral layer: to share it, assign layer.spectral = other.spectral; to fit it, "
                "assign layer.weight = other.weight.detach()"
            )
        if self.rows is not None:
            raise ValueError(
                "weight is some rows of one that other layers have a part in, and cannot be fitted alone; use "
                "decompress(network), assign, and reparameterize again"
            )
        shape = self.spectral.weight_shape.shape
        if weight.shape != shape:
            raise ValueError(f"weight must have shape {shape}, got {tuple(weight.shape)}; reshape it")
        scale = float(self.spectral.fit(weight).scale)
        if scale != 1:
            warnings.warn(
                f"the spectrum {type(self.spectral.manifold.spectrum).__name__} cannot hold the scale {scale:.4g} of "
                f"the weight, which is dropped; spectrum=Free() would keep it",
                UserWarning,
                stacklevel=3,
            )

    @abc.abstractmethod
    def forward(self, input: Tensor) -> Tensor:
        """Return what the namesake returns with this layer's weight."""

    def extra_repr(self) -> str:
        """Return what the namesake prints."""
        return self.namesake.extra_repr(self)  # reads attributes that both have

    @abc.abstractmethod
    def _plan(self, forward: Forward) -> Plan:
        """Return the plan of this layer's product with its weight."""

    def route(self, number: int) -> Route:
        """Return how the forward takes the product with the weight for a number of vectors.

        Where the route that was asked for, or the cheapest, would make a tensor too large, it is another one, and the
        first time with a warning.
        """
        if not isinstance(number, int | torch.SymInt):  # the latter while torch exports
            raise TypeError(f"number must be an integer, got {described(number)}")
        evaluator = evaluator_of(self.spectral)
        formed = evaluator is not None and evaluator.keeps()
        wanted = self.plan.wanted(number, formed)
        if wanted.holds(number):
            return wanted
        route = self.plan.feasible(number, formed)
        if route is not wanted and not self._has_fallen_back and not torch.compiler.is_compiling():
            self._has_fallen_back = True
            warnings.warn(
                f"{self.namesake.__name__}({self.extra_repr()}): forward={wanted.product!r} would make a tensor of "
                f"{wanted.largest(number):,} entries, so that forward={route.product!r} is taken",
                UserWarning,
                stacklevel=3,
            )
        return route

    def _adopt(self, layer: nn.Module, spectral: SpectralWeight, forward: Forward) -> None:
        self.__dict__.update({name: value for name, value in vars(layer).items() if name not in MODULE_STATE})
        share_hooks(layer, self)
        self.spectral = spectral
        bias = layer._parameters.get("bias")
        self.register_parameter("bias", bias)
        self.train(layer.training)
        self.plan = self._plan(forward)  # here and not in the forward, where torch.compile could not trace the search

    def _own_attributes(self) -> dict[str, Any]:
        kept = {"plan", "rows", "_has_fallen_back"}
        return {name: value for name, value in vars(self).items() if name not in MODULE_STATE | kept}


def _require_layer(layer: object, namesake: type[nn.Module]) -> None:
    require_instance("layer", layer, namesake, f"a torch.nn.{namesake.__name__}")


def require_spec(spec: object, generator: object) -> None:
    """Refuse what is no specification, and no generator or None.

    Raises:
        TypeError: one of them is something else.
    """
    require_instance("spec", spec, Specification, "STTP(...) or SVDP(...)")
    if generator is not None:
        require_instance("generator", generator, torch.Generator, "a torch.Generator, or None for torch's global one")


@contextmanager
def naming_arguments(namesake: type[nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
    """Tell in each refusal of a block which arguments of a torch.nn layer it is about: torch itself often does not.

    Raises:
        TypeError: an argument is missing, unknown or of a wrong type.
        ValueError: the block refuses the arguments in another way.
    """
    given = inspect.signature(namesake).bind(*args, **kwargs).arguments
    for name, value in given.items():
        if name in _SIZES and value is not None:
            require_integer(name, value, least=1)
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, IndexError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        listed = ", ".join(f"{name}={described(value)}" for name, value in given.items())
        raise kind(f"{namesake.__name__} with {listed} is refused: {error}") from error


def _fresh_weight(layer: nn.Module, spec: Specification, generator: torch.Generator | None) -> SpectralWeight:
    if spec.tolerance is not None:
        raise ValueError(
            f"tolerance={spec.tolerance} needs a weight to fit, and a fresh layer has none; give a rank alone, or "
            f"reparameterize a layer with init='weights'"
        )
    shape = WeightShape.of(layer)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    spectral = SpectralWeight(spec.manifold(shape), shape, weight.dtype, weight.device)
    return spectral.initialize(spec.initialization, generator)


def share_hooks(source: nn.Module, target: nn.Module) -> None:
    """Let a module run the forward and backward hooks of the one it replaces: the same, so that handles stay good."""
    target.__dict__.update({name: source.__dict__[name] for name in _HOOKS})
