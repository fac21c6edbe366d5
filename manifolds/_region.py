"""How an optimizer says that it keeps frames near their manifold and not on it, so that none takes that for a fault."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from ._require import require_number, require_tensor

# On the parameter itself: see _replacement.
_REGION: Final = "_sttp_region"


def declare_region(parameter: Tensor, distance: float) -> None:
    """Say how far from its manifold the optimizer of a parameter may leave it.

    Args:
        parameter: a frame, or a batch of them.
        distance: the largest ‖XᵀX − I‖_F of a frame after a step; 0 where there is nothing but rounding, which is what
            holds where nothing is said.

    Raises:
        ValueError: the distance is negative or not finite.
    """
    require_tensor("parameter", parameter)
    require_number("distance", distance, least=0)
    if distance:
        parameter.__dict__[_REGION] = float(distance)
    else:
        parameter.__dict__.pop(_REGION, None)


def declared_region(parameter: Tensor) -> float:
    """Return the distance that was declared for a parameter, 0 where none was."""
    return float(parameter.__dict__.get(_REGION, 0.0))
