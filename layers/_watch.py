"""Notice in training that frames have left their manifold, as optimizers that know no manifolds make them do.

A look costs the Gram matrices of the frames, one batch for each shape, and is taken at every 31st evaluation with
gradients. Nothing waits for it: what it found is read at a later evaluation, when the device is done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, Self, final
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

import torch
from torch import Tensor
from torch.utils import _python_dispatch

from ._feasibility import CAUSE, CURE, frames_on_manifolds, limit, orthogonality_errors

if TYPE_CHECKING:
    from ._spectral_weight import SpectralWeight

# A prime, so that of evaluations that take turns, of a network and of one of its layers alone, each has its look.
_PERIOD: Final = 31
# Inside a transform of torch.func a tensor is a wrapper; versions of torch without this function give no way to ask.
_unwrapped: Final[Callable[[Tensor], Tensor]] = getattr(torch.func, "debug_unwrap", lambda tensor: tensor)
# What counts or fakes operations, such as FlopCounterMode, would take the look for the network's own.
_dispatch_mode: Final[Callable[[], object]] = getattr(_python_dispatch, "_get_current_dispatch_mode", lambda: None)


@final
class OffManifoldWarning(UserWarning):
    """Frames have left their manifold in training: most likely their optimizer knows no manifolds."""


def watch(weights: Sequence[SpectralWeight]) -> None:
    """Take a look at the frames of weights that are evaluated together, if it is time, and warn of what the last found.

    The second evaluation with gradients has a look, which sees what the first step did, and then every 31st. One
    warning is given for weights that left their manifolds together, and another after they have been back.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not torch.is_grad_enabled():  # type: ignore[attr-defined]
        return  # torch.jit exports no name for type checkers
    watcher = _watchers.get(weights[0])
    if watcher is None:
        watcher = _watchers.setdefault(weights[0], _Watcher())
    watcher.pass_by(weights)


@final
class _Watcher:
    """When the next look is due, and what the last one has not told yet."""

    def __init__(self) -> None:
        self._remaining = 2
        self._look: _Look | None = None

    def pass_by(self, weights: Sequence[SpectralWeight]) -> None:
        look = self._look  # which another thread may take as well: see _Look.warn
        self._remaining -= 1
        if self._remaining <= 0:
            self._remaining = _PERIOD
            self._look = _Look.at(weights)
        elif look is not None and look.is_done():
            self._look = None
            look.warn()


# By the first of the weights, and apart from them: nothing of this is copied, saved, or keeps a network alive.
_watchers: Final[WeakKeyDictionary[SpectralWeight, _Watcher]] = WeakKeyDictionary()
_warned: Final[WeakSet[SpectralWeight]] = WeakSet()
_telling: Final = Lock()


class _Seen(NamedTuple):
    """One frame of a look: its weight, its shape, and the ‖XᵀX − I‖_F that it may have."""

    weight: ReferenceType[SpectralWeight]
    shape: tuple[int, ...]
    limit: float


@final
class _Look:
    """The ‖XᵀX − I‖_F of frames on their way to the host."""

    def __init__(self, errors: Tensor, seen: list[_Seen], done: torch.cuda.Event | None) -> None:
        self._errors = errors
        self._seen = seen
        self._done = done

    @classmethod
    def at(cls, weights: Sequence[SpectralWeight]) -> Self | None:
        """Return a look at the frames that are trained, None where there are none or they cannot be looked at."""
        frames: list[Tensor] = []
        seen: list[_Seen] = []
        for weight in weights:
            for frame in frames_on_manifolds(weight):
                if frame.requires_grad and frame.device.type in ("cpu", "cuda"):
                    frames.append(frame)
                    seen.append(_Seen(ref(weight), tuple(frame.shape), limit(frame)))
        on_cuda = bool(frames) and frames[0].is_cuda
        if not frames or _dispatch_mode() is not None or (on_cuda and torch.cuda.is_current_stream_capturing()):
            return None
        errors = orthogonality_errors(frames)
        if type(errors) is not Tensor or _unwrapped(errors) is not errors:
            return None
        if not on_cuda:
            return cls(errors, seen, None)
        host = torch.empty(errors.shape, dtype=errors.dtype, device="cpu", pin_memory=True)
        host.copy_(errors, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(errors.device))
        return cls(host, seen, done)

    def is_done(self) -> bool:
        """Return whether the numbers have arrived, without waiting for them."""
        return self._done is None or (not torch.cuda.is_current_stream_capturing() and self._done.query())

    def warn(self) -> None:
        """Warn if there are frames further from their manifold than they may be, and nobody has been told so."""
        weights = {weight for seen in self._seen if (weight := seen.weight()) is not None}
        # Not NaN, which losses show.
        found = [pair for pair in zip(self._errors.tolist(), self._seen, strict=True) if pair[0] > pair[1].limit]
        with _telling:
            known = all(seen.weight() in _warned for _, seen in found)
            (_warned.update if found else _warned.difference_update)(weights)
        if known:
            return
        error, worst = max(found, key=lambda pair: pair[0])
        weight = worst.weight()
        where = "" if weight is None else f" in the weight {weight.extra_repr()}"
        warnings.warn(
            f"{len(found)} of {len(self._seen)} frames have left their manifold in training, most likely by {CAUSE}: "
            f"‖XᵀX − I‖_F = {error:.2g} for one of shape {worst.shape}{where}. {CURE}",
            OffManifoldWarning,
            stacklevel=2,
        )
