"""What all configurations have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from peft import PeftConfig

from .._adapter import Adapter
from .._register import adapter_of, describe


@dataclass
class ChangeConfig(PeftConfig):
    """A configuration of PEFT for an adapter of :mod:`sttp.adapters`: a dataclass with the adapter's fields.

    Attributes:
        target_modules: names of modules, or of their last parts; a regular expression; or ``"all-linear"``. By default
            those that PEFT's LoRA takes in a transformer of a known kind.
        exclude_modules: likewise, to leave out.
        layers_to_transform: indices of the layers to which to keep.
        layers_pattern: the name of the list of layers.
        modules_to_save: names of modules that are trained in full and saved, such as a new head.
        base: digest of the frozen weights, which is written when the adapter is attached and compared when it is
            loaded; None for any.
    """

    kind: ClassVar[type[Adapter]]
    method: ClassVar[str]

    target_modules: list[str] | set[str] | str | None = None
    exclude_modules: list[str] | set[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    base: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self, "method"):
            raise TypeError(f"write @sttp.adapters.peft.register_config(…) above the class {type(self).__name__}")
        self.peft_type = self.method
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), list | tuple):
                setattr(self, name, set(getattr(self, name)))
        if isinstance(self.target_modules, str) and (self.layers_to_transform is not None or self.layers_pattern):
            raise ValueError(
                f"target_modules={self.target_modules!r} is a pattern of whole names, beside which layers_to_transform "
                f"and layers_pattern say nothing; give a list of names, or leave these out"
            )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError(f"layers_pattern={self.layers_pattern!r} needs layers_to_transform; give the indices")
        for name in self._adapter_fields():
            setattr(self, name, adapter_of(getattr(self, name)))  # plain values, where a file was read
        self.adapter()

    def adapter(self) -> Adapter:
        """Return the adapter that this describes.

        Raises:
            TypeError: a field is of a wrong type.
            ValueError: it has a value that the adapter refuses.
        """
        return self.kind(**{name: getattr(self, name) for name in self._adapter_fields()})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in the values that JSON has."""
        own = self._adapter_fields()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: describe(value) if name in own else value for name, value in values.items()}

    def _adapter_fields(self) -> list[str]:
        return [field.name for field in fields(self.kind)]  # type: ignore[arg-type]
