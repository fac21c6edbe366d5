"""sttp: geometric optimization of spectral tensor train layers.

A weight is a point on a product of Stiefel manifolds (the cores of its tensor train) times its singular values.
``sttp.manifolds`` has the geometry, ``sttp.optim`` the optimizers, ``sttp.layers`` the layers and the conversion of
whole networks, and ``sttp.study`` (with the extra `study`) the comparison studies.
"""

from importlib.metadata import version

from . import layers, manifolds, optim

__version__ = version("sttp-torch")
__all__ = ["__version__", "layers", "manifolds", "optim"]
