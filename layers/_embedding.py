"""The embedding layer."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..manifolds import without_autocast
from ._plan import Forward, Plan, embedding_plan
from ._spectral_layer import SpectralLayer
from ._spectral_weight import SpectralWeight


@final
class Embedding(SpectralLayer):
    """:class:`torch.nn.Embedding` with a spectral weight: ``spec=`` beside its own arguments.

    Where torch's layer has a rule about single rows, this one keeps it although rows share their parameters:
    the row ``padding_idx`` is a fixed vector, zero for a fresh layer, that is never trained; with ``max_norm`` the rows
    that are looked up are scaled down in the output (torch writes them back, which no shared parameter allows, and
    like torch no gradient flows through the scale).

    Raises:
        ValueError: ``sparse=True``: the gradients of frames are dense.
    """

    namesake = nn.Embedding
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool
    padding_vector: Tensor | None

    def forward(self, input: Tensor) -> Tensor:
        """Return vectors of shape ``(*input.shape, embedding_dim)`` for indices of any shape."""
        route = self.route(input.numel())
        if self.scale_grad_by_freq or route.product == "dense":
            output = F.embedding(input, self._weight(), self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)
        else:
            if route.product == "factors":
                left, values, right = self.spectral.factors()
                rows = F.embedding(input, left)
            else:
                rows, values, right = self.spectral.left_rows(input, route)
            with without_autocast(rows):  # which leaves torch's embedding alone, too
                output = rows @ (right * values).mT
            if self.padding_vector is not None and self.padding_idx is not None:
                is_padding = input.eq(self.padding_idx).unsqueeze(-1)
                output = torch.where(is_padding, self.padding_vector.to(output.dtype), output)
        if self.max_norm is not None:
            norm = torch.linalg.vector_norm(output.detach(), ord=self.norm_type, dim=-1, keepdim=True)
            output = output * torch.where(norm > self.max_norm, self.max_norm / (norm + 1e-7), 1.0).to(output.dtype)
        return output

    def _weight(self) -> Tensor:
        """Return W of shape ``(num_embeddings, embedding_dim)``, with the padding vector in its row."""
        weight = self.spectral.weight()
        if self.padding_vector is None or self.padding_idx is None:
            return weight
        is_padding = torch.arange(self.num_embeddings, device=weight.device).eq(self.padding_idx)
        return torch.where(is_padding.unsqueeze(-1), self.padding_vector.to(weight.dtype), weight)

    def _fit(self, weight: Any) -> None:
        super()._fit(weight)
        if self.padding_vector is not None and self.padding_idx is not None:
            self.padding_vector.copy_(weight.detach()[self.padding_idx])

    def _plan(self, forward: Forward) -> Plan:
        return embedding_plan(self.spectral.manifold, forward)

    def _adopt(self, layer: nn.Module, spectral: SpectralWeight, forward: Forward) -> None:
        if layer.sparse:
            raise ValueError("sparse must be False, got True: the gradients of frames are dense; leave the option out")
        super()._adopt(layer, spectral, forward)
        weight, index = layer._parameters["weight"], layer.padding_idx
        row = weight.detach()[index].clone() if weight is not None and isinstance(index, int) else None
        self.register_buffer("padding_vector", row)

    def dense(self) -> nn.Module:
        """Return a torch.nn.Embedding with equal outputs; see the base class."""
        layer = super().dense()
        del layer._parameters["bias"]
        return layer

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Embedding:
        """Refuse torch's constructor from a weight, which has no place for a specification.

        Raises:
            TypeError: always, with the cure.
        """
        raise TypeError("Embedding.from_pretrained takes no spec; use reparameterize(layer, spec, init='weights')")
