"""sttp: geometric optimization of spectral tensor train layers.

A weight is a point on a product of Stiefel manifolds (the cores of its tensor train) times its singular values.
``sttp.manifolds`` has the geometry, ``sttp.optim`` the optimizers, ``sttp.layers`` the layers and the conversion of
whole networks, ``sttp.adapters`` the changes of frozen networks, and ``sttp.study`` (with the extra `study`) the
comparison studies. Each is loaded on first use.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

__version__ = version("sttp-torch")
__all__ = ["__version__", "adapters", "layers", "manifolds", "optim", "study"]

if TYPE_CHECKING:
    from . import adapters, layers, manifolds, optim, study
else:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'sttp' has no attribute {name!r}; it has {', '.join(__all__)}")
        try:
            return import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if name != "study":
                raise
            words = "sttp.study needs the extra `study`: pip install 'sttp-torch[study]'"
            raise ModuleNotFoundError(f"{words} ({error})", name=error.name) from error

    def __dir__():
        return sorted({*globals(), *__all__})
