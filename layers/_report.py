"""Counts of degrees of freedom, per layer and in all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, final

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..manifolds import SpectralTensorTrain, require_instance
from ._candidates import Candidate, patterns_of
from ._feasibility import require_feasible
from ._joint import chosen_by
from ._specification import Specification
from ._spectral_layer import SpectralLayer
from ._spectral_weight import SpectralWeight, require_network, spectral_weights


@final
@dataclass(frozen=True)
class LayerReport:
    """One reparameterized weight: its matrix, rank, degrees of freedom and number of entries.

    ``rank`` is that of the matrix, and ``ranks`` has those of all bonds of its train, with the former among them.
    ``fit_error`` is the relative Frobenius error of the weight that it was fitted to, None for a fresh one, and
    ``calibrated_error`` that in the norm of the layer's inputs, None without calibration data.
    """

    name: str
    rows: int
    columns: int
    rank: int
    dof: int
    dense: int
    fit_error: float | None = None
    calibrated_error: float | None = None
    ranks: tuple[int, ...] = ()


@final
@dataclass(frozen=True)
class DenseTensor:
    """A parameter of two or more dimensions that is not reparameterized.

    ``shape`` is None and ``numel`` 0 for the parameter of a lazy layer that has not seen an input.
    """

    name: str
    shape: tuple[int, ...] | None
    numel: int


@final
@dataclass(frozen=True)
class CompressionReport:
    """What a network's reparameterization saves (Obukhov et al. 2021, Eq. 11). Printed, it is a table.

    Attributes:
        layers: the reparameterized weights, shared ones once, in the network's order.
        kept: number of all other parameters and running statistics.
        left_dense: those of the other parameters that have two or more dimensions: weights that were skipped, or that
            :func:`~sttp.layers.reparameterize` does not know, such as those of recurrent layers.
    """

    layers: tuple[LayerReport, ...]
    kept: int
    left_dense: tuple[DenseTensor, ...] = ()

    @property
    def dof(self) -> int:
        """Degrees of freedom of all reparameterized weights."""
        return sum(layer.dof for layer in self.layers)

    @property
    def dense(self) -> int:
        """Number of entries of the same weights."""
        return sum(layer.dense for layer in self.layers)

    @property
    def z(self) -> float:
        """Compression Z in percent: 100 (dof + kept) / (dense + kept)."""
        return 100 * (self.dof + self.kept) / (self.dense + self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return z, dof, dense, kept, the layers and what is left dense as plain values, for JSON."""
        return {
            "z": self.z,
            "dof": self.dof,
            "dense": self.dense,
            "kept": self.kept,
            "layers": [{**asdict(layer), "ranks": list(layer.ranks)} for layer in self.layers],
            "left_dense": [
                {"name": tensor.name, "shape": tensor.shape and list(tensor.shape), "numel": tensor.numel}
                for tensor in self.left_dense
            ],
        }

    def __str__(self) -> str:
        rows = self._cells()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        head, *body = self._cells()
        return f"<table>{_line('th', head)}{''.join(_line('td', row) for row in body)}</table>"

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the table with its head; the last columns are there where a layer was fitted, or calibrated."""
        shown = [any(errors) for errors in zip(*map(_errors, self.layers), strict=True)] or [False, False]
        rows = [("layer", "matrix", "rank", "freedom", "dense", "%", "fit error", "calibrated")]
        for layer in self.layers:
            size = f"{layer.rows} x {layer.columns}"
            rows.append((layer.name, size, str(layer.rank), *_counts(layer.dof, layer.dense), *_errors(layer)))
        rows.append(("all weights", "", "", *_counts(self.dof, self.dense), "", ""))
        rows.append(("the rest", "", "", *_counts(self.kept, self.kept), "", ""))
        for tensor in self.left_dense:
            size = "not known yet" if tensor.shape is None else " x ".join(map(str, tensor.shape))
            rows.append((f"  left dense: {tensor.name}", size, "", *_counts(tensor.numel, tensor.numel), "", ""))
        total = _counts(self.dof + self.kept, self.dense + self.kept)
        rows.append(("all with the rest", "", "", *total, "", ""))
        columns = len(rows[0]) - len(shown) + sum(shown)
        return [row[:columns] for row in rows]


def report(
    network: nn.Module, spec: Specification | None = None, skip: Iterable[str] = (), joint: Iterable[str] = ()
) -> CompressionReport:
    """Count the degrees of freedom of a network.

    Args:
        network: a reparameterized network, or with ``spec`` any other, also on the meta device.
        spec: count what :func:`~sttp.layers.reparameterize` with this specification would give.
        skip: as there.
        joint: as there.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the network has no spectral layer and no ``spec`` is given, or frames off their manifold,
            or see ``reparameterize``.
    """
    require_network(network)
    skip = patterns_of(skip)
    weights = spectral_weights(network)
    chosen: list[Candidate] = []
    if spec is not None:
        require_instance("spec", spec, Specification, "STTP(...) or SVDP(...), or None for what the network has")
        chosen = chosen_by(spec, network, skip, joint)
    elif skip:
        raise ValueError(f"skip must be left out where no spec= is given, got {skip!r}: all spectral layers count")
    elif not weights:
        raise ValueError(
            f"network has no spectral layer: {type(network).__name__} is dense; pass spec= to count what it would have"
        )
    require_feasible(weights)
    rows = [_row(name, w.manifold, w.fit_error, w.calibrated_error) for name, w in weights.items()]
    rows += [_row(candidate.names[0], candidate.manifold(spec)) for candidate in chosen if spec is not None]
    order = {name: place for place, (name, _) in enumerate(network.named_modules(remove_duplicate=False))}
    # A weight of attention has the place of its layer, which is where the network has none of that name.
    rows.sort(key=lambda row: order.get(row.name, order.get(row.name.rpartition(".")[0], 0)))
    replaced = {id(layer._parameters[name]) for c in chosen for layer, name in zip(c.layers, c.parameters, strict=True)}
    left = [(name, p) for name, p in _parameters(network).items() if id(p) not in replaced]
    dense = tuple(_dense_tensor(name, parameter) for name, parameter in left if _is_weight(parameter))
    return CompressionReport(tuple(rows), sum(_size(p) for _, p in left) + _statistics(network), dense)


def _row(
    name: str, manifold: SpectralTensorTrain, fit_error: float | None = None, calibrated_error: float | None = None
) -> LayerReport:
    shape, dof = manifold.shape, manifold.degrees_of_freedom
    dense = shape.rows * shape.columns
    errors, bonds = (fit_error, calibrated_error), tuple(shape.ranks[1:-1])
    return LayerReport(name, shape.rows, shape.columns, shape.center_rank, dof, dense, *errors, bonds)


def _errors(layer: LayerReport) -> tuple[str, str]:
    first, second = ("" if e is None else f"{e:.4g}" for e in (layer.fit_error, layer.calibrated_error))
    return first, second


def _line(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _counts(dof: int, dense: int) -> tuple[str, str, str]:
    return f"{dof:,}", f"{dense:,}", f"{100 * dof / dense if dense else 100.0:.3f}"


def _parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters outside spectral weights, shared ones once."""
    inside = {id(p) for weight in spectral_weights(network).values() for p in weight.parameters()}
    return {name: parameter for name, parameter in network.named_parameters() if id(parameter) not in inside}


def _statistics(network: nn.Module) -> int:
    """Count the running statistics, shared ones once."""
    tensors: dict[int, Tensor] = {}
    for module in network.modules():
        if not isinstance(module, SpectralWeight | SpectralLayer):  # whose only buffer stands for a row of its weight
            buffers = {name: b for name, b in module._buffers.items() if b is not None and b.is_floating_point()}
            tensors.update({id(b): b for name, b in buffers.items() if name not in module._non_persistent_buffers_set})
    return sum(map(_size, tensors.values()))


def _size(tensor: Tensor) -> int:
    return 0 if is_lazy(tensor) else tensor.numel()


def _is_weight(parameter: nn.Parameter) -> bool:
    return is_lazy(parameter) or parameter.dim() > 1


def _dense_tensor(name: str, parameter: nn.Parameter) -> DenseTensor:
    return DenseTensor(name, None if is_lazy(parameter) else tuple(parameter.shape), _size(parameter))
