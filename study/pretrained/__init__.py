"""Networks that somebody has trained: what compression takes from them is learnt again from the dense ones."""

from .recovery import recover

__all__ = ["recover"]
