"""Parameters and their manifolds: making them, mending what torch drops, noticing what other tools drop."""

from __future__ import annotations

import geoopt
from torch import Tensor, nn

from ..manifolds import described, require_instance, require_tensor


def manifold_parameter(values: Tensor, manifold: geoopt.Manifold | None) -> nn.Parameter:
    """Return a parameter on a manifold, or a plain one where that is None.

    Raises:
        TypeError: the values are no tensor of real numbers, or the manifold is none.
        ValueError: they have not the shape of its points.
    """
    require_tensor("values", values)
    if not values.is_floating_point():
        raise TypeError(f"values must be real numbers, got {described(values)}")
    if manifold is not None:
        require_instance("manifold", manifold, geoopt.Manifold, "a geoopt.Manifold, or None")
        fits, reason = manifold.check_point(values, explain=True)
        if not fits:
            raise ValueError(
                f"values must have the shape of points of {manifold.name}, got {described(values)}: {reason}"
            )
        known = getattr(values, "manifold", manifold)
        if known != manifold:
            raise ValueError(f"values must not lie on another manifold than {manifold.name}, got those of {known.name}")
    return nn.Parameter(values) if manifold is None else geoopt.ManifoldParameter(values, manifold=manifold)


def can_carry_manifold(parameter: Tensor) -> bool:
    """Return whether a parameter is a plain or a manifold one; a sharded one, for instance, is another tool's."""
    return type(parameter) in (nn.Parameter, geoopt.ManifoldParameter)


def restore_manifold(parameter: nn.Parameter, manifold: geoopt.Manifold | None) -> None:
    """Make a plain parameter one on a manifold, in place, so that its gradient and an optimizer's hold of it remain."""
    if manifold is not None and can_carry_manifold(parameter):
        parameter.__class__ = geoopt.ManifoldParameter
        parameter.manifold = manifold  # type: ignore[attr-defined]


def has_lost_manifold(parameter: Tensor, manifold: geoopt.Manifold, sharded: bool) -> bool:
    """Return whether a tensor in a parameter's place would be trained as a Euclidean one.

    Plain tensors are welcome: ``torch.func.functional_call`` and ``vmap`` put them there, and no optimizer trains them.

    Args:
        parameter: the tensor.
        manifold: where it should lie.
        sharded: whether plain tensors are views of parameters that a tool has flattened.
    """
    if isinstance(parameter, geoopt.ManifoldTensor):
        return parameter.manifold is not manifold and parameter.manifold != manifold
    return sharded or isinstance(parameter, nn.Parameter)
