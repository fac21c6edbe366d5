"""Which weights of a network can be reparameterized, and in which layers they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..manifolds import (
    InputMetric,
    SpectralTensorTrain,
    TrainShape,
    described,
    ranks_within,
    require_choice,
    require_instance,
)
from . import _convolution as convolution
from ._attention import projections
from ._embedding import Embedding
from ._linear import Linear
from ._specification import ATTENTION, Attention, Specification
from ._spectral_layer import SpectralLayer
from ._spectral_weight import require_network
from ._weight_shape import WeightShape

_CURE: Final = "a module's name, or a tuple of names or glob patterns, such as ('head', '*.0')"
# The layers that have one weight. nn.MultiheadAttention, which has more, becomes MultiheadAttention, and
# NonDynamicallyQuantizableLinear is the Linear in it.
SPECTRAL_LAYERS: Final[dict[type[nn.Module], type[SpectralLayer]]] = {
    nn.Linear: Linear,
    nn.modules.linear.NonDynamicallyQuantizableLinear: Linear,
    nn.Conv1d: convolution.Conv1d,
    nn.Conv2d: convolution.Conv2d,
    nn.Conv3d: convolution.Conv3d,
    nn.ConvTranspose1d: convolution.ConvTranspose1d,
    nn.ConvTranspose2d: convolution.ConvTranspose2d,
    nn.ConvTranspose3d: convolution.ConvTranspose3d,
    nn.Embedding: Embedding,
}


@final
@dataclass(frozen=True)
class Candidate:
    """A weight that can be reparameterized, with all layers that share it.

    Attributes:
        names: of the spectral layers that will have it: for most the name of the layer there is, for attention of one
            in it, such as ``self_attn.q_proj``.
        layers: the torch.nn layers that have it, one for each name.
        parameters: the name of their parameter that it is, or that it is some rows of, one for each layer.
        weight: the parameter, or a view of these rows.
        shape: how it is read as a matrix.
        rows: (start, stop) of the rows that each layer has; all where there are none.
    """

    names: tuple[str, ...]
    layers: tuple[nn.Module, ...]
    parameters: tuple[str, ...]
    weight: Tensor
    shape: WeightShape
    rows: tuple[tuple[int, int], ...] = ()

    def rows_of(self, name: str) -> tuple[int, int] | None:
        """Return the rows that the layer with a name has, None where it has all."""
        return self.rows[self.names.index(name)] if self.rows else None

    def manifold(self, spec: Specification, metric: InputMetric | None = None) -> SpectralTensorTrain:
        """Return what a specification makes of the weight; what it refuses is told with the layer's name.

        Args:
            spec: the specification, which may have a tolerance where the weight has values.
            metric: of the layer's inputs, in whose norm the tolerance is meant; by default the Frobenius norm.
        """
        try:
            spec = spec.for_layer(self.names)
            manifold = spec.manifold(self.shape)
            if spec.tolerance is None:
                return manifold
            if self.weight.is_meta:
                raise ValueError("tolerance needs the values of weights, and these lie on the meta device; load them")
            shape = manifold.shape
            metric = None if metric is None else metric.padded(padded_size(shape, metric))
            shape = ranks_within(self.padded_matrix(shape), shape, cast(float, spec.tolerance), metric)
            return SpectralTensorTrain(shape, manifold.geometry, manifold.spectrum)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {self.names[0]!r}: {error}") from None

    def padded_matrix(self, shape: TrainShape) -> Tensor:
        """Return the weight as a matrix in float64, with zeros where a train of some shape is padded."""
        matrix = self.shape.to_matrix(self.weight.detach()).to(torch.float64)
        return pad(matrix, (0, shape.padded_columns - shape.columns, 0, shape.padded_rows - shape.rows))


def padded_size(shape: TrainShape, metric: InputMetric) -> int:
    """Return the number of rows or columns that a metric must have for a padded matrix."""
    return shape.padded_rows if metric.of_rows else shape.padded_columns


@final
@dataclass(frozen=True)
class _Place:
    """Where a layer has a weight: rows of a parameter, or all of it."""

    name: str
    owner: str
    layer: nn.Module
    parameter: str
    rows: tuple[int, int] | None = None

    @property
    def whole(self) -> nn.Parameter:
        return cast(nn.Parameter, self.layer._parameters[self.parameter])

    @property
    def full_name(self) -> str:
        return _joined(self.owner, self.parameter)

    def shape(self) -> WeightShape:
        if self.rows is None:
            return WeightShape.of(self.layer)
        return WeightShape((self.rows[1] - self.rows[0], self.whole.shape[1]))

    def weight(self) -> Tensor:
        whole = self.whole
        if self.rows is None or self.rows == (0, len(whole)):
            return whole
        return whole.detach()[slice(*self.rows)].requires_grad_(whole.requires_grad)


def candidates(network: nn.Module, skip: Iterable[str] = (), attention: Attention = "separate") -> list[Candidate]:
    """Return the weights of a network that can be reparameterized, in its order, shared ones once.

    Args:
        network: any module.
        skip: names of modules, or glob patterns for them, to leave out with all that they contain.
        attention: whether queries, keys and values have a weight each; see :class:`~sttp.layers.Specification`.

    Raises:
        TypeError: the network is no module, or ``skip`` is neither a string nor strings.
        ValueError: a pattern in ``skip`` matches nothing, or a weight is shared with something that cannot follow.
    """
    require_choice("attention", attention, ATTENTION)
    left_alone = skipped_names(network, skip)
    places = [place for place in _places(network, lambda _: attention == "joint") if place.owner not in left_alone]
    return _grouped(network, places)


def require_candidates(
    network: nn.Module, skip: Iterable[str] = (), attention: Attention = "separate"
) -> list[Candidate]:
    """Return :func:`candidates`, of which there must be one.

    Raises:
        ValueError: there is none; or see there.
    """
    skip = patterns_of(skip)
    chosen = candidates(network, skip, attention)
    if not chosen:
        raise ValueError(
            f"network has nothing to reparameterize: {type(network).__name__} has no linear, convolution, embedding or "
            f"attention layer outside skip={skip!r}; pass another network or skip less"
        )
    return chosen


def candidates_named(network: nn.Module, names: Collection[str]) -> dict[str, Candidate]:
    """Return the candidates of which spectral layers with some names were made, by each of their names.

    The names tell whether queries, keys and values of an attention layer are one weight. What shares no weight with a
    named layer is left out, whatever it is tied to; names that the network has no weight for are missing.
    """
    one_piece = set()  # the ids of parameters that are one weight
    for name in names:
        owner, _, leaf = name.rpartition(".")
        for module_name, parameter in ((name, "weight"), *([(owner, "in_proj_weight")] if leaf == "in_proj" else [])):
            module = _submodule(network, module_name)
            if module is not None and module._parameters.get(parameter) is not None:
                one_piece.add(id(module._parameters[parameter]))
    places = list(_places(network, lambda layer: id(layer._parameters.get("in_proj_weight")) in one_piece))
    wanted = {id(place.whole) for place in places if place.name in names}
    found = _grouped(network, [place for place in places if id(place.whole) in wanted])
    return {name: candidate for candidate in found for name in candidate.names}


def skipped_names(network: nn.Module, skip: Iterable[str]) -> set[str]:
    """Return the names of the modules that match a pattern or lie in one that does.

    Raises:
        TypeError: the network is no module, or ``skip`` is neither a string nor strings.
        ValueError: a pattern matches nothing.
    """
    require_network(network)
    patterns = patterns_of(skip)
    unused, names = set(patterns), set()
    for name, _ in network.named_modules(remove_duplicate=False):
        parts = name.split(".")
        ancestors = [".".join(parts[: k + 1]) for k in range(len(parts))]
        matches = {pattern for pattern in patterns if any(fnmatchcase(a, pattern) for a in ancestors)}
        unused -= matches
        if matches:
            names.add(name)
    if unused:
        raise ValueError(
            f"skip={sorted(unused)[0]!r} matches no module; give qualified names, such as "
            f"{next((name for name, _ in network.named_modules() if name), 'conv1')!r}, or glob patterns, such as '*.0'"
        )
    return names


def patterns_of(given: Iterable[str], argument: str = "skip", cure: str = _CURE) -> tuple[str, ...]:
    """Return the patterns that an argument such as ``skip`` names.

    Raises:
        TypeError: it is neither a string nor strings; the message has the cure.
    """
    if isinstance(given, str):
        return (given,)
    require_instance(argument, given, Iterable, cure)
    if isinstance(given, Tensor):  # which is iterable, but for one of no dimensions
        raise TypeError(f"{argument} must be {cure}, got {described(given)}")
    patterns = tuple(given)
    for pattern in patterns:
        require_instance(f"each pattern of {argument}", pattern, str, cure)
    return patterns


def _places(network: nn.Module, is_joint: Callable[[nn.Module], bool]) -> Iterator[_Place]:
    """Give all weights, in the network's order and in every place, for the kinds of attention that are asked for."""
    for name, module in network.named_modules(remove_duplicate=False):
        if type(module) is nn.MultiheadAttention:
            for part in projections(module, is_joint(module)):
                yield _Place(_joined(name, part.layer), name, module, part.parameter, (part.start, part.stop))
        elif type(module) in SPECTRAL_LAYERS and module._parameters.get("weight") is not None:
            yield _Place(name, name, module, "weight")


def _grouped(network: nn.Module, places: Iterable[_Place]) -> list[Candidate]:
    groups: dict[tuple[int, int], list[_Place]] = {}
    readers: dict[int, list[_Place]] = {}
    for place in places:
        groups.setdefault((id(place.whole), 0 if place.rows is None else place.rows[0]), []).append(place)
        readers.setdefault(id(place.whole), []).append(place)
    for sharing in readers.values():
        _require_whole_sharing(network, sharing)
    for sharing in groups.values():
        _require_equal_reading(sharing)
    return [
        Candidate(
            tuple(place.name for place in sharing),
            tuple(place.layer for place in sharing),
            tuple(place.parameter for place in sharing),
            sharing[0].weight(),
            sharing[0].shape(),
        )
        for sharing in groups.values()
    ]


def _require_whole_sharing(network: nn.Module, places: list[_Place]) -> None:
    parameter = places[0].whole
    owners = {name for name, other in network.named_parameters(remove_duplicate=False) if other is parameter}
    others = sorted(owners - {place.full_name for place in places})
    if others:
        raise ValueError(
            f"the weight of {places[0].name!r} is also {others[0]!r}, which is not reparameterized; skip both, or "
            f"untie them"
        )


def _require_equal_reading(places: list[_Place]) -> None:
    if len({place.shape() for place in places}) > 1:
        raise ValueError(
            f"the layers {', '.join(repr(place.name) for place in places)} share a weight but read it as different "
            f"matrices; skip or untie them"
        )


def _submodule(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None


def _joined(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name
