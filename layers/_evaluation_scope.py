"""What is shared while a network's forward or a ``shared_evaluation`` block runs, and for how long.

It belongs to that forward and to no module: a context variable holds it, so that each thread and each task has its
own. A variable would stay set when a forward ends in a ``KeyboardInterrupt``, after which torch calls no hooks. What a
forward shares is therefore good for code that this very call of the network runs, and for nothing else.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Final, Protocol, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._spectral_weight import Factors, SpectralWeight


class Evaluator(Protocol):
    """What evaluates weights together."""

    def serves(self, weight: SpectralWeight) -> bool:
        """Return whether a weight is among them."""

    def frames(self, weight: SpectralWeight) -> list[Tensor]:
        """Return :meth:`SpectralWeight.stored_frames`."""

    def factors(self, weight: SpectralWeight) -> Factors:
        """Return :meth:`SpectralWeight.factors`."""

    def matrix(self, weight: SpectralWeight) -> Tensor:
        """Return :meth:`SpectralWeight.matrix`."""

    def keeps(self) -> bool:
        """Return whether what is made serves many forwards."""


@final
class Scope:
    """A call of a network, or a block of code, within which weights are evaluated together.

    Args:
        evaluator: what evaluates them, None where outer scopes do.
        call: the Python frame that calls the network's forward, None for a block, which lasts until it is closed.
        outer: the innermost scope so far, if there is one.
    """

    def __init__(self, evaluator: Evaluator | None, call: FrameType | None, outer: Scope | None) -> None:
        self.evaluator = evaluator
        self.call: Final = call
        self.outer: Final = outer
        self._thread: Final = get_ident()  # a copied context may take a block into another thread
        self._is_closed = False
        _current.set(self)

    def close(self) -> None:
        """End it, and drop what was made in it: a task that began within it may hold the scope for longer."""
        self._is_closed = True
        self.evaluator = None
        innermost()

    def is_open(self) -> bool:
        """Return whether the code that asks is within it."""
        if self._is_closed or self._thread != get_ident():
            return False
        return self.call is None or _is_running(self.call)

    def evaluator_of(self, weight: SpectralWeight) -> Evaluator | None:
        """Return what evaluates a weight in this scope, which is open, or in one around it."""
        scope: Scope | None = self
        while scope is not None:
            evaluator = scope.evaluator
            if evaluator is not None and evaluator.serves(weight) and (scope is self or scope.is_open()):
                return evaluator
            scope = scope.outer
        return None


_current: ContextVar[Scope | None] = ContextVar("sttp.layers.scope", default=None)


def evaluator_of(weight: SpectralWeight) -> Evaluator | None:
    """Return what evaluates a weight together with others where this is called; None while torch compiles."""
    scope = None if torch.compiler.is_compiling() else innermost()
    return None if scope is None else scope.evaluator_of(weight)


def end_call(call: FrameType) -> None:
    """Close the scope of a call, unless it ended otherwise."""
    scope = innermost()
    while scope is not None and scope.call is not call:
        scope = scope.outer
    if scope is not None:
        scope.close()


def innermost() -> Scope | None:
    """Return the innermost open scope, and forget those within it: an exception may have left them behind."""
    found = scope = _current.get()
    while scope is not None and not scope.is_open():
        scope = scope.outer
    if scope is not found:
        _current.set(scope)
    return scope


def _is_running(call: FrameType) -> bool:
    """Return whether a call is among those that led here."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not call:
        frame = frame.f_back
    return frame is not None
