"""Counts of what adapters store, per weight and in all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, final

from torch import nn

from ._adapt import require_adapted
from ._change import Change


@final
@dataclass(frozen=True)
class ChangeReport:
    """One change of one weight.

    ``stored`` and ``dimension`` are 0 where the change shares all its parameters with one that is listed before.
    """

    layer: str
    adapter: str
    kind: str
    rows: int
    columns: int
    stored: int
    dimension: int
    active: bool
    defect: str | None = None


@final
@dataclass(frozen=True)
class AdapterReport:
    """What a network's adapters store. Printed, it is a table.

    Attributes:
        changes: in the network's order, those of a weight that layers share once.
        base: number of parameters of the network without adapters.
    """

    changes: tuple[ChangeReport, ...]
    base: int

    @property
    def stored(self) -> int:
        """Number of trained numbers of all adapters."""
        return sum(change.stored for change in self.changes)

    @property
    def dimension(self) -> int:
        """Dimension of the set of weights that all adapters reach."""
        return sum(change.dimension for change in self.changes)

    @property
    def share(self) -> float:
        """Stored numbers in percent of the base's."""
        return 100 * self.stored / self.base

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        own = {"stored": self.stored, "dimension": self.dimension, "base": self.base, "share": self.share}
        return {**own, "changes": [asdict(change) for change in self.changes]}

    def __str__(self) -> str:
        rows = [("layer", "adapter", "kind", "matrix", "stored", "dimension")]
        for change in self.changes:
            name = change.adapter if change.active else f"{change.adapter} (off)"
            size = f"{change.rows} x {change.columns}"
            rows.append((change.layer, name, change.kind, size, f"{change.stored:,}", f"{change.dimension:,}"))
        rows.append(
            (f"all, {self.share:.3f} % of {self.base:,}", "", "", "", f"{self.stored:,}", f"{self.dimension:,}")
        )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index < 3 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        defects = dict.fromkeys(
            f"{change.adapter} is not the identity at its start: {change.defect}"
            for change in self.changes
            if change.defect is not None
        )
        return "\n".join([*lines, *defects])


def report(network: nn.Module) -> AdapterReport:
    """Count what the adapters of a network store.

    Raises:
        TypeError: the network is no module.
        ValueError: it has no adapter.
    """
    layers = require_adapted(network, ())
    rows: list[ChangeReport] = []
    counted: set[int] = set()
    seen: set[int] = set()
    for place, layer in layers.items():
        shape = layer.weight_shape
        for name, attachment in layer.attachments.items():
            change = layer.changes[name]
            assert isinstance(change, Change)
            if id(change) in seen:
                continue
            seen.add(id(change))
            new = [p for p in change.parameters() if p.requires_grad and id(p) not in counted]
            counted.update(map(id, new))
            kind, defect = type(attachment.adapter).__name__, attachment.adapter.defect
            numbers = sum(parameter.numel() for parameter in new), change.dimension if new else 0
            rows.append(
                ChangeReport(place, name, kind, shape.rows, shape.columns, *numbers, name in layer.active, defect)
            )
    inside = {id(p) for layer in layers.values() for p in layer.changes.parameters()}
    base = sum(p.numel() for p in network.parameters() if id(p) not in inside)
    return AdapterReport(tuple(rows), base)
