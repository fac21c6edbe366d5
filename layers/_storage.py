"""Reparameterized networks on disk: safetensors and a JSON description, rebuilt from the plain network."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from torch import Tensor, nn

from ..manifolds import (
    SpectralTensorTrain,
    from_description,
    require_flag,
    require_instance,
    require_number,
    to_description,
)
from ._atomic_write import write_atomically
from ._candidates import Candidate, candidates_named
from ._conversion import replace_layers
from ._evaluation import attach
from ._feasibility import TOLERANCE, error_of, require_feasible
from ._joint import stacked
from ._outline import outline_of
from ._plan import Forward, require_forward
from ._repair import repair as project_frames
from ._spectral_layer import SpectralLayer
from ._spectral_weight import SpectralWeight, spectral_weights

TENSORS: Final = "model.safetensors"
DESCRIPTION: Final = "sttp.json"
FORMAT: Final = 1

# The length of a safetensors header, which the file begins with.
_LENGTH: Final = 8


def save(network: nn.Module, directory: str | os.PathLike[str]) -> None:
    """Write a reparameterized network to a folder: ``model.safetensors`` and ``sttp.json``, each atomically.

    The tensors carry the description as well, so that a kill between the two files loses neither network.

    Raises:
        TypeError: ``network`` is no module.
        ValueError: the network has no spectral layer, or frames off their manifold, or uses a retraction, geometry or
            spectrum that is not registered.
        OSError: the disk is full, or the folder cannot be written.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    require_instance("directory", directory, str | os.PathLike, "a path")  # type: ignore[arg-type]
    for name in spectral_weights(network):
        if not isinstance(network.get_submodule(name), SpectralLayer):
            raise ValueError(
                f"network has a spectral weight outside its spectral layers, {name!r}, as adapters are; save those by "
                f"sttp.adapters.save, and take them off before"
            )
    require_feasible(spectral_weights(network), exactly=True)
    layers = {
        name: {
            "shape": to_description(weight.manifold.shape),
            "geometry": to_description(weight.manifold.geometry),
            "spectrum": to_description(weight.manifold.spectrum),
            "fit_error": weight.fit_error,
            "calibrated_error": weight.calibrated_error,
            "joint": _layers_of_rows(network, weight),
            "forward": cast(SpectralLayer, network.get_submodule(name)).plan.forward,
        }
        for name, weight in spectral_weights(network).items()
    }
    if not layers:
        raise ValueError(f"network has no spectral layer to save: {type(network).__name__} is dense; use torch.save")
    tensors = _separate_tensors(network)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "layers": layers}, indent=1)
    write_atomically(folder / TENSORS, lambda path: save_file(tensors, path, {DESCRIPTION: text}))
    write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def load(network: nn.Module, directory: str | os.PathLike[str], *, repair: bool = False) -> nn.Module:
    """Rebuild a saved network from the plain one, in place: its layers are replaced and all tensors read.

    Nothing is changed before everything is read and checked: all is done to an outline of the network first.

    Args:
        network: the network as it was before :func:`~sttp.layers.reparameterize`, with any weights.
        directory: the folder that :func:`save` wrote.
        repair: project frames that are off their manifold, as a file that was rounded has them.

    Returns:
        The network.

    Raises:
        TypeError: an argument is of another kind.
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: the description cannot be read, or does not fit the network, or frames are off their manifold.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    require_instance("directory", directory, str | os.PathLike, "a path")  # type: ignore[arg-type]
    require_flag("repair", repair)
    saved = _Saved.read(Path(directory))
    saved.rehearse(network, repair)
    network = saved.fill(network)
    attach(network)
    if repair:
        project_frames(network)
    return network


@final
@dataclass(frozen=True)
class _Layer:
    """What a description says of a layer."""

    manifold: SpectralTensorTrain
    fit_error: float | None
    forward: Forward
    calibrated_error: float | None = None
    joint: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read the plain values of a layer."""
        errors = values["fit_error"], values.get("calibrated_error")
        forward = values.get("forward", "auto")
        for name, error in zip(("fit_error", "calibrated_error"), errors, strict=True):
            if error is not None:
                require_number(name, error, least=0)
        require_forward(forward)
        geometry = _with_damping_in_metric(values["geometry"])
        manifold = SpectralTensorTrain(*map(from_description, (values["shape"], geometry, values["spectrum"])))
        joint = values.get("joint", [])
        for member in joint:
            require_instance("each layer of joint", member, str, "a layer's name")
        return cls(manifold, errors[0], forward, errors[1], tuple(joint))


@final
@dataclass(frozen=True)
class _Saved:
    """What a folder holds: layers and tensors, by name."""

    folder: Path
    layers: dict[str, _Layer]
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder. The file of the tensors is opened once, so that a save beside it leaves the old or the new.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one cannot be read.
        """
        data = (folder / TENSORS).read_bytes()
        try:
            tensors = tensors_of(data)
            size = int.from_bytes(data[:_LENGTH], "little")
            about = json.loads(data[_LENGTH : _LENGTH + size]).get("__metadata__") or {}
            # What the tensors say of themselves counts: see save.
            text = about.get(DESCRIPTION) or (folder / DESCRIPTION).read_text(encoding="utf-8")
            description = json.loads(text)
            if description["format"] != FORMAT:
                raise ValueError(f"format {description['format']!r}, where this version reads {FORMAT}")
            layers = {name: _Layer.of(values) for name, values in description["layers"].items()}
        except FileNotFoundError:
            raise
        except (
            SafetensorError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            MemoryError,
        ) as error:
            raise ValueError(
                f"directory={str(folder)!r} has no description of a network in {DESCRIPTION}, or no tensors in "
                f"{TENSORS} ({type(error).__name__}: {error}); pass a folder that save() wrote"
            ) from None
        return cls(folder, layers, tensors)

    def rehearse(self, network: nn.Module, repair: bool) -> None:
        """Do to an outline of a network what :meth:`fill` does to the network, and look at what comes of it.

        Raises:
            ValueError: something does not fit, or the spectral weights are none.
        """
        with warnings.catch_warnings():  # an outline takes no values
            warnings.filterwarnings("ignore", r".*copying from a non-meta parameter", UserWarning)
            outline = self.fill(outline_of(network), "cpu")
        for layer, weight in spectral_weights(outline).items():
            for name, tensor in weight.state_dict().items():
                if not tensor.isfinite().all():
                    raise self._misfit(f"layer {layer!r} has entries in {name!r} that are NaN or infinite")
                if name.startswith("signs_") and not (tensor.abs() == 1).all():
                    raise self._misfit(f"layer {layer!r} has entries in {name!r} that are neither 1 nor -1")
            pairs = zip(weight.parameter_manifolds, weight.coordinates, strict=False)
            error = max((error_of(manifold, point) for manifold, point in pairs if manifold is not None), default=0.0)
            if error > TOLERANCE and not repair:
                raise self._misfit(
                    f"layer {layer!r} has frames off their manifold, ‖XᵀX − I‖_F = {error:.2g} > {TOLERANCE:g}, by an "
                    f"edit or a low precision; repair=True projects them"
                )
        if repair:
            project_frames(outline)

    def fill(self, network: nn.Module, device: str | None = None) -> nn.Module:
        """Replace a plain network's layers and read all tensors; return the network.

        Args:
            network: the network.
            device: where spectral weights lie, by default where the weights there are do.

        Raises:
            ValueError: something does not fit.
        """
        for layer, candidate in self._candidates(network).values():
            dense = candidate.weight
            weight = SpectralWeight(layer.manifold, candidate.shape, dense.dtype, device or dense.device)
            weight.fit_error = layer.fit_error
            weight.calibrated_error = layer.calibrated_error
            weight.refuses_infeasible = False  # looked at already
            weight.requires_grad_(dense.requires_grad)
            network = replace_layers(network, candidate, weight, layer.forward)
        tensors = network.state_dict(keep_vars=True)
        for name, tensor in self.tensors.items():
            if name in tensors and _kind(tensor) != _kind(tensors[name]):
                raise self._misfit(f"{name!r} has dtype {tensor.dtype}, and the network's {tensors[name].dtype}")
        try:
            found = network.load_state_dict(self.tensors, strict=False)
            read = {id(tensor) for name, tensor in tensors.items() if name not in found.missing_keys}
            missing = [name for name in found.missing_keys if id(tensors.get(name)) not in read]  # under no other name
            if missing or found.unexpected_keys:
                raise RuntimeError(f"missing tensors {missing}, unexpected tensors {list(found.unexpected_keys)}")
        except (RuntimeError, TypeError) as error:
            raise self._misfit(str(error)) from None
        finally:
            for weight in spectral_weights(network).values():
                weight.refuses_infeasible = True
        return network

    def _misfit(self, reason: str) -> ValueError:
        return ValueError(f"network does not fit {str(self.folder / TENSORS)!r}: {reason}")

    def _candidates(self, network: nn.Module) -> dict[str, tuple[_Layer, Candidate]]:
        """Return for each saved layer what it says, and the network's layers in its place."""
        members = [member for layer in self.layers.values() for member in layer.joint]
        found = candidates_named(network, [*self.layers, *members])
        stored = sum(tensor.numel() for tensor in self.tensors.values())
        for name, layer in self.layers.items():
            train = layer.manifold.shape
            if name not in found:
                raise ValueError(
                    f"network has no layer {name!r} as the saved one has; pass the network it was made from"
                )
            if missing := [member for member in layer.joint if member not in found]:
                raise ValueError(
                    f"network has no layer {missing[0]!r} as the saved one has; pass the network it was made from"
                )
            if layer.joint:
                found[name] = stacked([found[member] for member in layer.joint])
            shape = found[name].shape
            if (shape.rows, shape.columns) != (train.rows, train.columns):
                raise ValueError(
                    f"layer {name!r} has a {shape.rows} x {shape.columns} weight, the saved one "
                    f"{train.rows} x {train.columns}; pass the network it was made from"
                )
            entries = sum(math.prod(chart.shape) for chart in layer.manifold.charts)
            if entries > stored:
                raise self._misfit(f"layer {name!r} is described with {entries} entries, more than all tensors have")
        return {name: (layer, found[name]) for name, layer in self.layers.items()}


def _layers_of_rows(network: nn.Module, weight: SpectralWeight) -> list[str]:
    """Return the names of the layers that have some rows each of a weight, in the order of the rows."""
    layers = {
        name: module.rows[0]
        for name, module in network.named_modules()
        if isinstance(module, SpectralLayer) and module.spectral is weight and module.rows is not None
    }
    return sorted(layers, key=layers.__getitem__)


def _with_damping_in_metric(geometry: Any) -> Any:
    """Return the description of a geometry with the damping in the metric; version 0.1 had it beside the metric."""
    if not isinstance(geometry, dict) or geometry.get("kind") != "Riemannian" or "damping" not in geometry:
        return geometry
    now = dict(geometry)
    damping = now.pop("damping")
    if now.get("metric") == "embedded":
        now["metric"] = {"kind": "Embedded", "damping": damping}
    return now


def _separate_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return all tensors of a network, each contiguous in memory of its own and under the first of its names.

    Raises:
        ValueError: a module keeps something else than tensors, or a tensor has no values.
    """
    result: dict[str, Tensor] = {}
    tensors: set[int] = set()
    memories: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"network keeps {type(tensor).__name__} as {name!r}, and only tensors can be saved")
        if tensor.is_meta:
            raise ValueError(
                f"network has no values for {name!r}, which lies on the meta device; load or initialize it"
            )
        if id(tensor) not in tensors:
            tensors.add(id(tensor))
            contiguous = tensor.detach().contiguous()
            memory = contiguous.untyped_storage().data_ptr()
            result[name] = contiguous.clone() if memory in memories else contiguous
            memories.add(memory)
    return result


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    """Return what a conversion of dtypes must not change: within floating-point numbers a file may be rounded."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool
