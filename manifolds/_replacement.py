"""How an optimizer learns that a parameter it holds is no longer its network's, without knowing the network."""

from __future__ import annotations

from typing import Final

from torch import Tensor

# On the parameter itself: a registry would need weak references, which keep torch from swapping parameters.
_MARK: Final = "_sttp_replaced"


def mark_replaced(parameter: Tensor) -> None:
    """Mark a parameter in whose place its module has another one now.

    Its gradient goes as well: it belongs to a graph that the module is no longer part of. So an optimizer need ask
    :func:`require_current` only of parameters without a gradient, and all others pay nothing.
    """
    parameter.__dict__[_MARK] = True
    parameter.grad = None


def mark_current(parameter: Tensor) -> None:
    """Take the mark off a parameter that its module has, perhaps again."""
    parameter.__dict__.pop(_MARK, None)


def require_current(parameter: Tensor) -> None:
    """Refuse a parameter that was replaced in its module.

    Raises:
        RuntimeError: it was, and training it would change no network.
    """
    if _MARK in parameter.__dict__:
        raise RuntimeError(
            f"the optimizer holds a parameter of shape {tuple(parameter.shape)} that its network has replaced since, "
            f"as load_state_dict(assign=True), to_empty(), moves to or from the meta device and "
            f"sttp.layers.parametrized do; build the optimizer anew from network.parameters() and, but for the last of "
            f"these, give it the old one's state_dict() to go on"
        )
