"""A pretrained network made small: ranks within a budget, fits of the weights, recovery, and the result on disk."""

from __future__ import annotations

import copy
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, final, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...layers import (
    STTP,
    SVDP,
    CompressionReport,
    SpectralLayer,
    candidates,
    decompress,
    load,
    parametrized,
    ranks_for,
    reparameterize,
    report,
    save,
)
from ...manifolds import Riemannian, require_choice, require_instance, require_integer
from ..networks.source import HuggingFace, Source, StateDict, source_of
from . import factored
from ._pairs import descriptions, factored_pairs, joined
from .recovery import recover

Method = Literal["sttp", "svdp", "svd"]
Form = Literal["dense", "factored"]
FORMS: Final = get_args(Form)
DESCRIPTION: Final = "compression.json"
# A folder of their own: beside a configuration transformers would take them for dense ones, and draw what it misses.
SPECTRAL: Final = "sttp"
FORMAT: Final = 1
# Of a matrix with fewer rows or columns, such as an embedding of two types of tokens, rank 1 is an eighth and more.
SMALLEST_SIDE: Final = 8


@final
@dataclass(frozen=True)
class Compressed:
    """A compressed network. Printed, it is the table of its layers.

    Attributes:
        network: with spectral layers; of the method ``svd`` with two plain layers for each.
        report: ranks, errors and counts of the fit, layer by layer.
        losses: of each step of recovery.
        unpadded: embeddings whose vector of padding is not zero, and which have it as one row of their weight.
        source: where the network came from, if it was read.
    """

    network: nn.Module
    report: CompressionReport
    losses: tuple[float, ...] = ()
    unpadded: tuple[str, ...] = ()
    source: Source | None = field(default=None, repr=False)

    @property
    def is_spectral(self) -> bool:
        """Whether the layers are spectral ones, and not two plain ones each."""
        return any(isinstance(module, SpectralLayer) for module in self.network.modules())

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def save(self, directory: str | Path) -> None:
        """Write a folder that :func:`load_compressed` reads: as few numbers as the network has degrees of freedom.

        Raises:
            FileExistsError: it exists.
            OSError: the disk is full, or the folder cannot be written.
        """
        with _new_folder(Path(directory)) as folder:
            self._write(folder)

    def export(self, directory: str | Path, form: Form) -> None:
        """Write a folder of plain torch.nn weights.

        Args:
            directory: the folder.
            form: ``"dense"``, which transformers or ``load_state_dict`` load; or ``"factored"``, two layers for one
                where that is smaller, with a module ``factored.py`` that reads it by torch and safetensors alone.

        Raises:
            FileExistsError: it exists.
            OSError: the disk is full, or the folder cannot be written.
        """
        require_choice("form", form, FORMS)
        with _new_folder(Path(directory)) as folder:
            if form == "factored":
                self._write_factored(folder)
            elif self.source is None:
                # Under all names, as load_state_dict wants them, and in memory of their own, as the file does.
                tensors = {name: t.clone().contiguous() for name, t in self.dense().state_dict().items()}
                save_file(tensors, folder / "model.safetensors")
            else:
                self.source.write_dense(self.dense(), folder)

    def dense(self) -> nn.Module:
        """Return a copy of the network with one dense torch.nn layer for each."""
        return decompress(self.network) if self.is_spectral else joined(self.network)

    def _write(self, folder: Path) -> None:
        if self.is_spectral:
            save(parametrized(copy.deepcopy(self.network), redundant=False), folder / SPECTRAL)
            if self.source is not None:
                self.source.write(folder)
        else:
            self._write_factored(folder)
        source = None if self.source is None else self.source.to_dict()
        content = {
            "format": FORMAT,
            "spectral": self.is_spectral,
            "source": source,
            "unpadded": self.unpadded,
            "z": self.report.z,
        }
        (folder / DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _write_factored(self, folder: Path) -> None:
        network = factored_pairs(self.network) if self.is_spectral else self.network
        network = network if self.source is None else self.source.plain(copy.deepcopy(network))
        shared = _save_tensors(network, folder)
        content = {"layers": descriptions(network), "shared": shared}
        (folder / factored.DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")
        (folder / "factored.py").write_text(inspect.getsource(factored), encoding="utf-8")
        if self.source is not None:
            self.source.write(folder)


def compress(
    model: nn.Module | str | Path,
    z: float | None = None,
    *,
    tolerance: float | None = None,
    method: Method = "sttp",
    modes: Any = "auto",
    skip: Iterable[str] = (),
    joint: Iterable[str] = (),
    calibration: Iterable[Any] | None = None,
    steps: int = 0,
    recovery: Iterable[Any] | None = None,
    lr: float = 1e-3,
    network: str | None = None,
    download: bool = False,
    progress: Callable[[int, float], object] | None = None,
) -> Compressed:
    """Compress a pretrained network: ranks within a budget, fits of its weights, and recovery if that is asked for.

    Biases, norms and buffers stay as they are; so do, of a model of transformers, the layers around its base: heads;
    and weights with fewer than 8 rows or columns. Tied weights stay tied. Weights are float32.

    Args:
        model: a network, which stays as it is; a folder of Hugging Face's, or an id; or a safetensors file.
        z: the budget, in percent of all parameters; see :func:`~sttp.layers.ranks_for`.
        tolerance: instead of the budget, the relative error of each weight.
        method: ``"sttp"``, trains; ``"svdp"``, U diag(s) Vᵀ; or ``"svd"``, the same ranks in two plain factors.
        modes: of trains; see :class:`~sttp.layers.STTP`.
        skip: names of modules, or glob patterns for them, that stay dense.
        joint: see :func:`~sttp.layers.reparameterize`.
        calibration: batches of what the network takes, for the metric of the fits and for recovery.
        steps: of recovery, by :func:`recover`.
        recovery: batches for it; by default those of the calibration.
        lr: of recovery.
        network: ``module:function`` that builds the network of a safetensors file.
        download: whether an id may be fetched; nothing else ever is.
        progress: called after each step of recovery with its number and loss.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the budget cannot be met, a pattern matches nothing, the calibration is none that the network takes,
            the model is incomplete; nothing was changed then.
    """
    if (z is None) == (tolerance is None):
        raise ValueError(f"z or tolerance must be given, and not both, got z={z} and tolerance={tolerance}")
    require_choice("method", method, get_args(Method))
    require_integer("steps", steps, least=0)
    if steps and calibration is None and recovery is None:
        raise ValueError(f"steps={steps} of recovery need batches; give recovery, or calibration")
    source = None
    if isinstance(model, nn.Module):
        dense = model
    else:
        require_instance("model", model, str | Path, "a network, a folder, a file or an id")  # type: ignore[arg-type]
        source = source_of(model, network, download)
        dense = source.read()
    batches = None if calibration is None else list(calibration)
    student = copy.deepcopy(dense).eval()
    unpadded = _unpad(student)
    skipped = _left_dense(student, skip, () if source is None else source.kept(student))
    frames = Riemannian(redundant=False)
    spec = STTP(rank=1, frames=frames, modes=modes) if method == "sttp" else SVDP(rank=1, frames=frames)
    joint = tuple(joint)
    if z is not None:
        ranks = ranks_for(student, spec, z=z, skip=skipped, calibration=batches, joint=joint)
        spec = replace(spec, rank=ranks)
    else:
        spec = replace(spec, rank=None, tolerance=tolerance)
    student = reparameterize(student, spec, skipped, "weights", calibration=batches, joint=joint)
    counted = report(student)
    if method == "svd":
        student = factored_pairs(student)
    losses = recover(student, dense, recovery or batches or (), steps, lr=lr, progress=progress) if steps else []
    return Compressed(student.train(dense.training), counted, tuple(losses), unpadded, source)


def load_compressed(directory: str | Path, network: nn.Module | str | None = None) -> nn.Module:
    """Read a folder that :meth:`Compressed.save` wrote, as ``sttp compress`` does.

    Args:
        directory: the folder.
        network: of what is no model of transformers, the dense network with any weights, or ``module:function`` that
            builds it. Nothing is imported because a file names it.

    Raises:
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: a file cannot be read, or the network is another one, or is needed.
    """
    folder = Path(directory)
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, where this version reads {FORMAT}")
        source, unpadded, spectral = content["source"], content["unpadded"], content["spectral"]
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"directory={str(folder)!r} is none that compress wrote: {DESCRIPTION} has {error}") from None
    model = None
    if isinstance(network, str):
        network = StateDict(folder, network).build()
    elif network is None:
        if source is None or source.get("kind") != "transformers":
            made_by = "" if source is None else f", which {source.get('function')} did when it was written"
            raise ValueError(
                f"network must build what {str(folder)!r} holds{made_by}; pass the dense one, or its function"
            )
        model = HuggingFace(str(folder))
        network = model.build()
    modules = dict(network.named_modules())
    for name in unpadded:
        embedding = modules.get(name)
        if not isinstance(embedding, nn.Embedding):
            raise ValueError(f"network has no embedding {name!r}; pass the one that was compressed")
        embedding.padding_idx = None
    if spectral:
        return load(network, folder / SPECTRAL).eval()
    return factored.load_factored(network if model is None else model.plain(network), folder).eval()


def _left_dense(network: nn.Module, skip: Iterable[str], kept: Iterable[str]) -> tuple[str, ...]:
    """Return the names or patterns of what stays dense: what the user says, heads, and matrices that are too small."""
    left = (*((skip,) if isinstance(skip, str) else skip), *kept)
    for candidate in candidates(network, left):
        if min(candidate.shape.rows, candidate.shape.columns) < SMALLEST_SIDE:
            for name, layer in zip(candidate.names, candidate.layers, strict=True):
                # Projections are in a layer of attention, which alone has a name.
                owner = name.rpartition(".")[0] if isinstance(layer, nn.MultiheadAttention) else name
                left += (owner,) if owner else ()
    return left


def _unpad(network: nn.Module) -> tuple[str, ...]:
    """Let vectors of padding that are not zero be rows as any other, which factors can hold; return where."""
    names = []
    for name, module in network.named_modules():
        if not isinstance(module, nn.Embedding) or module.padding_idx is None:
            continue
        if bool(module.weight[module.padding_idx].any()):
            module.padding_idx = None
            names.append(name)
    return tuple(names)


@torch.no_grad()
def _save_tensors(network: nn.Module, folder: Path) -> dict[str, str]:
    """Write all tensors of a network, and return what else is called like each that has several names."""
    first: dict[int, str] = {}
    shared: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            shared[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    save_file(tensors, folder / factored.TENSORS)
    return shared


@contextmanager
def _new_folder(directory: Path) -> Iterator[Path]:
    """Give a folder that gets its name when all is in it, so that it is whole or not there.

    Raises:
        FileExistsError: there is something of this name, which is not overwritten.
    """
    if os.path.lexists(directory):  # a link to nowhere, too
        raise FileExistsError(f"{str(directory)!r} exists and is not overwritten; give another folder, or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
