"""The weight that a spectral layer shows: a tensor that refuses to be written to.

It is made anew whenever it is read, so that what ``nn.init`` or ``copy_`` wrote into it would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import torch
from torch import Tensor

# All but the last three end in an underscore; so do __getitem__ and its like, which do not write.
_WRITES: Final = (
    *(name for name in dir(Tensor) if name.endswith("_") and not name.startswith("_")),
    *(f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")),
    *("__ilshift__", "__irshift__", "__setitem__"),
)
# What reads a part of a tensor, into which code writes in turn: ``weight[0].zero_()``.
_VIEWS: Final = (
    *("view", "view_as", "reshape", "flatten", "unflatten", "t", "transpose", "permute", "squeeze", "unsqueeze"),
    *("select", "narrow", "diagonal", "__getitem__", "split", "chunk", "unbind"),
)


@final
class ComputedWeight(Tensor):
    """W as it is now: reads as any tensor, makes plain tensors in all products, and refuses to be written to.

    Writes that torch does not call by a method of the tensor, ``out=`` and ``torch.zero_(weight)``, go unnoticed, and
    so do those to ``weight.detach()``, which is a plain tensor for all who make a parameter or an array of it.
    """

    # As nn.Parameter does: without it torch's fast paths of attention and encoders would not take the tensor.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def T(self) -> Tensor:  # type: ignore[override]  # noqa: N802 - its name in torch
        """The transpose, as it is in torch."""
        return computed(self.as_subclass(Tensor).T)

    @property
    def mT(self) -> Tensor:  # type: ignore[override]  # noqa: N802 - its name in torch
        """The transposes of the last two dimensions, as they are in torch."""
        return computed(self.as_subclass(Tensor).mT)

    @property
    def data(self) -> Tensor:
        """The same without its graph, as it is in torch."""
        return computed(self.detach())

    @data.setter
    def data(self, value: Tensor) -> None:
        raise _refusal("data = …")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.as_subclass(Tensor).__deepcopy__(memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).__reduce_ex__(protocol)


def computed(weight: Tensor) -> Tensor:
    """Return a weight that refuses to be written to, or as it is where torch follows what is done with it."""
    if type(weight) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return weight  # torch.jit exports no name for type checkers
    return weight.as_subclass(ComputedWeight)


def _refusal(what: str) -> RuntimeError:
    return RuntimeError(
        f"a spectral layer's weight is made from the parameters in layer.spectral whenever it is read, so that "
        f"{what} would be lost: assign a tensor (layer.weight = tensor), which is fitted, or change those parameters; "
        f"to change a copy, take layer.weight.detach().clone()"
    )


def _refused(name: str) -> Callable[..., Any]:
    def method(self: ComputedWeight, *_: Any, **__: Any) -> Any:
        raise _refusal(name)

    return method


def _guarded(name: str) -> Callable[..., Any]:
    read = getattr(Tensor, name)

    def method(self: ComputedWeight, *args: Any, **options: Any) -> Any:
        found = read(self, *args, **options)
        if isinstance(found, tuple):
            return tuple(computed(part) for part in found)
        return computed(found) if found._is_view() else found

    return method


for _name in _WRITES:
    setattr(ComputedWeight, _name, _refused(_name))
for _name in _VIEWS:
    setattr(ComputedWeight, _name, _guarded(_name))
