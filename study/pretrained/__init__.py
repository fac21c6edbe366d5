"""Networks that somebody has trained: made small, and taught again what compression took from them."""

from .compression import Compressed, compress, load_compressed
from .distillation import distillation, fitted
from .recovery import recover

__all__ = ["Compressed", "compress", "distillation", "fitted", "load_compressed", "recover"]
