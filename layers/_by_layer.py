"""Values for each layer by patterns of their names, such as a rank of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, final

from ..manifolds import require_instance


@final
class ByLayer(Mapping[str, Any]):
    """Values by glob patterns of layers' names. A pattern that matches a module holds for all that it contains.

    A layer takes the value of its own name if that is there, else of the first pattern that matches it. It is a mapping
    that does not change, so that it can be a part of a specification.

    Args:
        argument: the name of the argument that it is, for messages.
        values: {pattern: value}.
        checked: returns a value as it is to be kept, and refuses wrong ones.

    Raises:
        TypeError: a pattern is no string, or a value is refused.
        ValueError: there is none, or a value is refused.
    """

    def __init__(
        self, argument: str, values: Mapping[str, Any], checked: Callable[[Any], Any] = lambda value: value
    ) -> None:
        require_instance("argument", argument, str, "the name of an argument")
        require_instance("values", values, Mapping, "{pattern: value}")
        self.argument = argument
        for pattern in values:
            require_instance(f"each pattern of {argument}", pattern, str, "a layer's name or a glob pattern")
        if not values:
            raise ValueError(f"{argument} must have a pattern, got {dict(values)!r}; '*' stands for all layers")
        self._items = tuple((pattern, checked(value)) for pattern, value in values.items())

    def __getitem__(self, pattern: str) -> Any:
        for key, value in self._items:
            if key == pattern:
                return value
        raise KeyError(pattern)

    def __iter__(self) -> Iterator[str]:
        return iter(pattern for pattern, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash((self.argument, self._items))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __repr__(self) -> str:
        return repr(dict(self))

    def pattern_of(self, name: str) -> str:
        """Return the pattern that holds for a layer.

        Raises:
            ValueError: none does.
        """
        if name in self:
            return name
        parts = name.split(".")
        owners = [".".join(parts[: k + 1]) for k in range(len(parts))]
        for pattern in self:
            if any(fnmatchcase(owner, pattern) for owner in owners):
                return pattern
        raise ValueError(
            f"{self.argument} has no pattern for layer {name!r}, got {list(self)}; add one, or '*' as the last for all "
            f"other layers"
        )

    def of(self, names: Sequence[str]) -> Any:
        """Return the value of the layers with these names, which share one weight.

        Raises:
            ValueError: there is none, or they have different ones.
        """
        first, *others = ((name, self[self.pattern_of(name)]) for name in names)
        for name, value in others:
            if value != first[1]:
                raise ValueError(
                    f"{self.argument} must be one for layers that share a weight, got {first[1]} for {first[0]!r} and "
                    f"{value} for {name!r}; give them one, or untie them"
                )
        return first[1]

    def require_used(self, names: Sequence[str]) -> None:
        """Refuse patterns that hold for no layer.

        Raises:
            ValueError: there is one.
        """
        used = {self.pattern_of(name) for name in names}
        for pattern in self:
            if pattern not in used:
                raise ValueError(
                    f"{self.argument} has the pattern {pattern!r}, which holds for none of the layers "
                    f"{', '.join(map(repr, names[:5]))}{', …' if len(names) > 5 else ''}, or only for those that an "
                    f"earlier pattern holds for; mend it, or put '*' last"
                )


def by_layer(argument: str, value: Any, checked: Callable[[Any], Any]) -> Any:
    """Return a value that is one for all layers, checked, or a mapping as :class:`ByLayer` with its values checked."""
    return ByLayer(argument, value, checked) if isinstance(value, Mapping) else checked(value)
