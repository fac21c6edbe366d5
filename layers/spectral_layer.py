"""What all layers with a spectral weight share: a thin shell around it that looks like a torch.nn layer."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self, get_args

import torch
from torch import Tensor, nn

from .product import Product
from .specification import Specification
from .spectral_weight import SpectralWeight
from .weight_shape import WeightShape

# What a torch.nn layer keeps in its __dict__ on behalf of nn.Module itself and not of its own call.
_MODULE_STATE = frozenset(vars(nn.Module()))
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


class SpectralLayer(nn.Module):
    """Base of the layers: same call, attributes, bias and printed form as the torch.nn layer :attr:`namesake`.

    The constructor takes the namesake's own arguments, which torch itself checks, and ``spec``. ``weight`` is a
    property that makes W anew from the parameters in :attr:`spectral`, so that code which reads weights works.

    Args:
        args: the namesake's arguments.
        spec: ``STTP(…)`` or ``SVDP(…)``.
        generator: draws the fresh frames; torch's global one by default.
        kwargs: the namesake's keyword arguments.

    Attributes:
        spectral: the parameters of the weight.
        bias: the bias, or None.
        product: how the product with the weight is taken: ``"factors"`` applies V, s and U one after another,
            ``"dense"`` forms W, ``"auto"`` takes what needs fewer operations.
    """

    namesake: ClassVar[type[nn.Module]]
    spectral: SpectralWeight
    bias: nn.Parameter | None
    product: Product = "auto"

    def __init__(
        self, *args: Any, spec: Specification, generator: torch.Generator | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        template = self.namesake(*args, **kwargs)
        shape = WeightShape.of(template)
        weight = template.weight
        assert isinstance(weight, Tensor)
        spectral = SpectralWeight(spec.manifold(shape), shape, weight.dtype, weight.device)
        self._adopt(template, spectral.initialize(spec.initialization, generator))

    @classmethod
    def of(cls, layer: nn.Module, spectral: SpectralWeight) -> Self:
        """Return the spectral form of a torch.nn layer: its attributes, hooks and bias (the object), another weight."""
        instance = cls.__new__(cls)
        nn.Module.__init__(instance)
        instance._adopt(layer, spectral)
        return instance

    def dense(self) -> nn.Module:
        """Return a torch.nn layer with equal outputs, whose weight and bias are copies."""
        layer = self.namesake.__new__(self.namesake)
        nn.Module.__init__(layer)
        layer.__dict__.update(self._own_attributes())
        layer.weight = nn.Parameter(self.weight.detach().clone(), requires_grad=self.spectral.frames[0].requires_grad)
        bias = self.bias
        layer.register_parameter(
            "bias", None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        )
        return layer.train(self.training)

    @property
    def weight(self) -> Tensor:
        """W in the shape of torch's weight, differentiable."""
        return self.spectral.weight()

    @abc.abstractmethod
    def forward(self, input: Tensor) -> Tensor:
        """Return what the namesake returns with this layer's weight."""

    def extra_repr(self) -> str:
        """Return what the namesake prints."""
        return self.namesake.extra_repr(self)  # reads attributes that both have

    def multiplies_factors(self) -> bool:
        """Return whether the forward applies the factors and does not form W.

        Raises:
            ValueError: ``product`` is none of its three values.
        """
        if self.product not in get_args(Product):
            raise ValueError(f"product must be one of {', '.join(get_args(Product))}, got {self.product!r}")
        return (self.spectral.cheapest_product if self.product == "auto" else self.product) == "factors"

    def _adopt(self, layer: nn.Module, spectral: SpectralWeight) -> None:
        self.__dict__.update({name: value for name, value in vars(layer).items() if name not in _MODULE_STATE})
        share_hooks(layer, self)
        self.spectral = spectral
        bias = layer._parameters.get("bias")
        self.register_parameter("bias", bias)
        self.train(layer.training)

    def _own_attributes(self) -> dict[str, Any]:
        kept = {"product"}
        return {name: value for name, value in vars(self).items() if name not in _MODULE_STATE | kept}


def share_hooks(source: nn.Module, target: nn.Module) -> None:
    """Let a module run the forward and backward hooks of the one it replaces: the same, so that handles stay good."""
    target.__dict__.update({name: source.__dict__[name] for name in _HOOKS})
