"""Linear layers that read the same input, with one weight of all their rows: joint rank-k (arXiv 2402.16319)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import nn

from ._candidates import Candidate, patterns_of, require_candidates
from ._linear import Linear
from ._specification import Specification
from ._weight_shape import WeightShape

_CURE = "a glob pattern of layers' names, or a tuple of them, such as ('*.self.query', '*.self.key')"


def joined(candidates: Sequence[Candidate], patterns: Sequence[str]) -> list[Candidate]:
    """Return the candidates, those of linear layers that match a pattern and are in one module made one.

    Args:
        candidates: the weights of a network.
        patterns: each joins, in every module, the layers whose names match it.

    Raises:
        ValueError: a pattern matches nothing, or a single layer in a module, or what is no linear layer or shares its
            weight already, or layers that differ in the size of their inputs, dtype or device.
    """
    groups: dict[int, list[Candidate]] = {}
    taken: dict[str, str] = {}
    for pattern in patterns:
        by_owner: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if any(fnmatchcase(name, pattern) for name in candidate.names):
                _require_single(candidate, pattern, taken)
                by_owner.setdefault(candidate.names[0].rpartition(".")[0], []).append(candidate)
        if not by_owner:
            raise ValueError(
                f"joint={pattern!r} matches no layer that is to be reparameterized; give names such as "
                f"{candidates[0].names[0]!r}, or glob patterns"
            )
        for members in by_owner.values():
            if len(members) == 1:
                raise ValueError(
                    f"joint={pattern!r} matches {members[0].names[0]!r} alone in its module, where a joint weight "
                    f"needs two layers; mend the pattern"
                )
            groups[id(members[0])] = members
    others = {id(member) for members in groups.values() for member in members[1:]}
    return [stacked(groups[id(c)]) if id(c) in groups else c for c in candidates if id(c) not in others]


def stacked(members: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the rows of some linear layers, below each other.

    Raises:
        ValueError: they differ in the size of their inputs, dtype or device.
    """
    kinds = {(member.shape.columns, member.weight.dtype, member.weight.device) for member in members}
    if len(kinds) > 1:
        names = ", ".join(repr(member.names[0]) for member in members)
        raise ValueError(
            f"the layers {names} have inputs of different sizes, dtypes or devices, {sorted(map(str, kinds))}, and "
            f"cannot be one weight; join layers that read the same input"
        )
    sizes = [member.shape.rows for member in members]
    stops = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    first = members[0]
    weight = torch.cat([member.weight.detach() for member in members])
    return replace(
        first,
        names=tuple(member.names[0] for member in members),
        layers=tuple(member.layers[0] for member in members),
        parameters=tuple(member.parameters[0] for member in members),
        weight=weight.requires_grad_(any(member.weight.requires_grad for member in members)),
        shape=WeightShape((stops[-1], first.shape.columns), stacked=len(members) if len(set(sizes)) == 1 else 1),
        rows=tuple((stop - size, stop) for stop, size in zip(stops, sizes, strict=True)),
    )


def _require_single(candidate: Candidate, pattern: str, taken: dict[str, str]) -> None:
    name, layer = candidate.names[0], candidate.layers[0]
    if isinstance(layer, nn.MultiheadAttention):
        raise ValueError(f"joint={pattern!r} matches {name!r}, a part of attention; use attention='joint' of the spec")
    if not issubclass(Linear.namesake, type(layer)):
        raise ValueError(
            f"joint={pattern!r} matches {name!r}, a {type(layer).__name__}; only linear layers can be joined"
        )
    if len(candidate.names) > 1:
        raise ValueError(
            f"joint={pattern!r} matches {name!r}, which shares its weight with {candidate.names[1]!r}; untie"
        )
    if name in taken:
        raise ValueError(f"joint={pattern!r} matches {name!r}, as {taken[name]!r} does; let one pattern match a layer")
    taken[name] = pattern


def chosen_by(
    spec: Specification, network: nn.Module, skip: Iterable[str] = (), joint: Iterable[str] = ()
) -> list[Candidate]:
    """Return what a specification is for: :func:`require_candidates`, some joined, and each of its patterns with some.

    Raises:
        ValueError: a pattern holds for none, or a weight has no pattern; or see there and :func:`joined`.
    """
    patterns = patterns_of(joint, "joint", _CURE)
    chosen = joined(require_candidates(network, skip, spec.attention), patterns)
    spec.require_used([name for candidate in chosen for name in candidate.names])
    return chosen
