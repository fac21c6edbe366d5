"""Multi-head attention, whose queries, keys and values are spectral layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ._linear import Linear
from ._specification import Specification
from ._spectral_layer import MODULE_STATE, naming_arguments, require_spec, share_hooks

_BIASES: Final = ("in_proj_bias", "bias_k", "bias_v")
_JOINT: Final = "in_proj"
_SEPARATE: Final = ("q_proj", "k_proj", "v_proj")


@final
@dataclass(frozen=True)
class Projection:
    """A weight of torch's attention: the spectral layer that takes its place, and its rows of a parameter."""

    layer: str
    parameter: str
    start: int
    stop: int


def projections(attention: nn.MultiheadAttention, joint: bool) -> tuple[Projection, ...]:
    """Return the weights of queries, keys and values, none where something else makes one of them.

    Args:
        attention: torch's layer.
        joint: take them as one where they have inputs of one size.
    """
    size = attention.embed_dim
    if not attention._qkv_same_embed_dim:
        found = [Projection(name, f"{name}_weight", 0, size) for name in _SEPARATE]
    elif joint:
        found = [Projection(_JOINT, "in_proj_weight", 0, 3 * size)]
    else:
        found = [Projection(name, "in_proj_weight", k * size, (k + 1) * size) for k, name in enumerate(_SEPARATE)]
    whole = all(attention._parameters.get(projection.parameter) is not None for projection in found)
    return tuple(found) if whole else ()


@final
class MultiheadAttention(nn.Module):
    """:class:`torch.nn.MultiheadAttention` with spectral weights: ``spec=`` beside its own arguments.

    Queries, keys and values are a :class:`Linear` each, ``q_proj``, ``k_proj`` and ``v_proj``; with
    ``attention="joint"`` in the specification, and inputs of one size, they are a single one, ``in_proj``, that has one
    train. Biases are torch's ``in_proj_bias``, ``bias_k`` and ``bias_v``. ``in_proj_weight`` and the other weights that
    torch's transformers read are properties that make W anew.

    Args:
        args: the namesake's arguments.
        spec: ``STTP(…)`` or ``SVDP(…)``, also for ``out_proj``.
        generator: draws the fresh frames; torch's global one by default.
        kwargs: the namesake's keyword arguments.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, Sec. 3.2.
    """

    namesake = nn.MultiheadAttention
    # torch's transformers call it in their fast path.
    merge_masks = nn.MultiheadAttention.merge_masks

    embed_dim: int
    num_heads: int
    head_dim: int
    dropout: float
    batch_first: bool
    add_zero_attn: bool
    in_proj_bias: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None
    out_proj: nn.Module
    _qkv_same_embed_dim: bool

    def __init__(
        self, *args: Any, spec: Specification, generator: torch.Generator | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        require_spec(spec, generator)
        with naming_arguments(self.namesake, args, kwargs):
            self._adopt(self.namesake(*args, **kwargs), spec.attention == "joint")
            for name, layer in list(self.named_children()):
                setattr(self, name, Linear.fresh(layer, spec, generator))

    @classmethod
    def of(cls, attention: nn.MultiheadAttention, joint: bool) -> MultiheadAttention:
        """Return the form of torch's layer in which queries, keys and values are layers, plain ones so far.

        It has the layer's attributes, hooks, output layer and biases (the objects), and views of its weights.
        """
        instance = cls.__new__(cls)
        nn.Module.__init__(instance)
        instance._adopt(attention, joint)
        return instance

    def dense(self, weights: dict[tuple[int, ...], nn.Parameter]) -> nn.MultiheadAttention:
        """Return torch's layer with this one's plain layers in it: the inverse of :meth:`of`.

        Args:
            weights: those made so far, by the ids of the layers' weights that they consist of; what is shared stays so.
        """
        attention = nn.MultiheadAttention.__new__(nn.MultiheadAttention)
        nn.Module.__init__(attention)
        attention.__dict__.update(self._own_attributes())
        share_hooks(self, attention)
        parts = [cast(nn.Parameter, layer.weight) for layer in self._projections()]
        groups = {"in_proj_weight": parts} if self._qkv_same_embed_dim else {}
        if not groups:
            groups = {f"{name}_weight": [part] for name, part in zip(_SEPARATE, parts, strict=True)}
        for name in (*(f"{name}_weight" for name in _SEPARATE), "in_proj_weight"):
            attention.register_parameter(name, _packed(groups[name], weights) if name in groups else None)
        for name in _BIASES:
            attention.register_parameter(name, self._parameters[name])
        attention.out_proj = cast(nn.modules.linear.NonDynamicallyQuantizableLinear, self.out_proj)
        attention.training = self.training
        return attention

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The weights of queries, keys and values below each other, None where their inputs differ in size."""
        if not self._qkv_same_embed_dim:
            return None
        weights = [cast(Tensor, layer.weight) for layer in self._projections()]
        return weights[0] if len(weights) == 1 else torch.cat(weights)

    @property
    def q_proj_weight(self) -> Tensor | None:
        """The weight of queries, None where there is ``in_proj_weight``."""
        return self._separate_weight("q_proj")

    @property
    def k_proj_weight(self) -> Tensor | None:
        """The weight of keys, None where there is ``in_proj_weight``."""
        return self._separate_weight("k_proj")

    @property
    def v_proj_weight(self) -> Tensor | None:
        """The weight of values, None where there is ``in_proj_weight``."""
        return self._separate_weight("v_proj")

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the namesake returns with these weights: its arguments, shapes and masks.

        Raises:
            TypeError: a mask is neither boolean nor floating-point.
            ValueError: inputs or masks do not fit each other, or ``is_causal`` comes without a mask.
        """
        if query.is_nested or key.is_nested or value.is_nested:  # only torch's kernel, which reads weights, takes these
            arguments = (query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
            return self.namesake.forward(cast(nn.MultiheadAttention, self), *arguments)
        self._require_inputs(query, key, value)
        if is_causal and attn_mask is None:
            raise ValueError("attn_mask must be the causal mask where is_causal=True says so, got None; pass it, too")
        is_batched = query.dim() == 3
        heads = [self._heads(projected, is_batched) for projected in self._projected(query, key, value)]
        queries, keys, values = self._extended(*heads)
        # The hint is enough where nothing is added to the mask and no weights are asked for.
        hinted = is_causal and key_padding_mask is None and not need_weights
        mask = None if hinted else self._mask(attn_mask, key_padding_mask, query, *heads[:2])
        if mask is not None:
            mask = F.pad(mask, (0, keys.shape[2] - mask.shape[3]))
        weights = None
        if need_weights:
            scores = queries * self.head_dim**-0.5 @ keys.mT
            weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = F.dropout(weights, self.dropout, self.training)
            mixed = weights @ values
            weights = weights.mean(dim=1) if average_attn_weights else weights
            weights = weights if is_batched else weights.squeeze(0)
        else:
            dropout = self.dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(queries, keys, values, mask, dropout, hinted)
        output: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not is_batched:
            return output.squeeze(0), weights
        return output if self.batch_first else output.transpose(0, 1), weights

    def _require_inputs(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        shapes = tuple(query.shape), tuple(key.shape), tuple(value.shape)
        listed = f"got the shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        if query.dim() not in (2, 3) or {len(shape) for shape in shapes} != {query.dim()}:
            raise ValueError(f"query, key and value must all have 2 dimensions, or 3 with a batch, {listed}")
        if shapes[1][:-1] != shapes[2][:-1]:
            raise ValueError(f"key and value must have as many positions, {listed}")
        batch = 0 if self.batch_first else 1
        if query.dim() == 3 and shapes[0][batch] != shapes[1][batch]:
            raise ValueError(f"query and key must have one batch size, in dimension {batch}, {listed}")

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> Sequence[Tensor]:
        """Return queries, keys and values of shape ``(…, embed_dim)``, in as few products as the inputs allow."""
        joint = self._modules.get(_JOINT)
        if joint is None:
            layers = self._projections()
            projected = [layer(input) for layer, input in zip(layers, (query, key, value), strict=True)]
        elif query is key is value:
            projected = list(joint(query).chunk(3, dim=-1))
        elif key is value:
            sizes = [self.embed_dim, 2 * self.embed_dim]
            queries, others = _blockwise(cast(Linear, joint), (query, key), sizes)
            projected = [queries, *others.chunk(2, dim=-1)]
        else:
            projected = _blockwise(cast(Linear, joint), (query, key, value), [self.embed_dim] * 3)
        if self.in_proj_bias is None:
            return projected
        biases = self.in_proj_bias.chunk(3)
        return [vectors + bias.to(vectors.dtype) for vectors, bias in zip(projected, biases, strict=True)]

    def _heads(self, vectors: Tensor, is_batched: bool) -> Tensor:
        """Return vectors as ``(batch, heads, length, head_dim)``."""
        if not is_batched:
            vectors = vectors.unsqueeze(0)
        elif not self.batch_first:
            vectors = vectors.transpose(0, 1)
        return vectors.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _extended(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return all heads with what the options add to keys and values: a trained position, and one of zeros."""
        if self.bias_k is not None and self.bias_v is not None:
            added = [self._heads(bias, is_batched=True) for bias in (self.bias_k, self.bias_v)]
            keys, values = (
                torch.cat([vectors, one.to(vectors.dtype).expand(len(vectors), -1, -1, -1)], dim=2)
                for vectors, one in zip((keys, values), added, strict=True)
            )
        if self.add_zero_attn:
            keys, values = F.pad(keys, (0, 0, 0, 1)), F.pad(values, (0, 0, 0, 1))
        return queries, keys, values

    def _mask(
        self,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        query: Tensor,
        queries: Tensor,
        keys: Tensor,
    ) -> Tensor | None:
        """Return what is added to the scores, of a shape that broadcasts to ``(batch, heads, targets, sources)``."""
        batch, heads, targets, sources = (*queries.shape[:3], keys.shape[2])
        mask = None
        if attn_mask is not None:
            stacked = (batch * heads, targets, sources)
            if attn_mask.shape not in ((targets, sources), stacked):
                raise ValueError(
                    f"attn_mask must have shape {(targets, sources)} or {stacked}, got {tuple(attn_mask.shape)}"
                )
            shape = (1, 1, targets, sources) if attn_mask.dim() == 2 else (batch, heads, targets, sources)
            mask = _additive("attn_mask", attn_mask, query.dtype).reshape(shape)
        if key_padding_mask is not None:
            row = (batch, sources)[3 - query.dim() :]
            if key_padding_mask.shape != row:
                raise ValueError(f"key_padding_mask must have shape {row}, got {tuple(key_padding_mask.shape)}")
            padding = _additive("key_padding_mask", key_padding_mask, query.dtype).reshape(batch, 1, 1, sources)
            mask = padding if mask is None else mask + padding
        return mask

    def _separate_weight(self, name: str) -> Tensor | None:
        return None if self._qkv_same_embed_dim else cast(Tensor, self.get_submodule(name).weight)

    def _projections(self) -> list[nn.Module]:
        joint = self._modules.get(_JOINT)
        return [self.get_submodule(name) for name in _SEPARATE] if joint is None else [joint]

    def _adopt(self, attention: nn.MultiheadAttention, joint: bool) -> None:
        left_out = MODULE_STATE | set(_BIASES)
        self.__dict__.update({name: value for name, value in vars(attention).items() if name not in left_out})
        share_hooks(attention, self)
        for projection in projections(attention, joint):
            weight = getattr(attention, projection.parameter)
            layer = skip_init(nn.Linear, weight.shape[1], projection.stop - projection.start, False, device="meta")
            rows = weight.detach()[projection.start : projection.stop]
            layer.weight = nn.Parameter(rows, weight.requires_grad)
            setattr(self, projection.layer, layer.train(attention.training))
        self.out_proj = attention.out_proj
        for name in _BIASES:
            self.register_parameter(name, attention._parameters.get(name))
        self.training = attention.training  # without what is in it, which has modes of its own

    def _own_attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in MODULE_STATE}


def _packed(parts: Sequence[nn.Parameter], made: dict[tuple[int, ...], nn.Parameter]) -> nn.Parameter:
    """Return the parameter that consists of some, one that is trained where any of them is."""
    key = tuple(map(id, parts))
    if len(parts) == 1:
        return made.setdefault(key, parts[0])
    if key not in made:
        made[key] = nn.Parameter(
            torch.cat([part.detach() for part in parts]), any(part.requires_grad for part in parts)
        )
    return made[key]


def _blockwise(layer: Linear, inputs: Sequence[Tensor], sizes: list[int]) -> list[Tensor]:
    """Return x_k W_kᵀ for the blocks W_k of rows that W consists of, by W or by its factors, which are made once."""
    number = max(input.shape[:-1].numel() for input in inputs)
    if layer.route(number).product == "dense":
        return [F.linear(input, block) for input, block in zip(inputs, layer.weight.split(sizes), strict=True)]
    left, values, right = layer.spectral.factors()
    blocks = (left * values).split(sizes)
    return [F.linear(F.linear(input, right.mT), block) for input, block in zip(inputs, blocks, strict=True)]


def _additive(name: str, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what a mask adds to scores: a boolean one −∞ where it is True."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -inf)
    if not mask.is_floating_point():
        raise TypeError(f"{name} must be a boolean or a floating-point tensor, got {mask.dtype}")
    return mask
