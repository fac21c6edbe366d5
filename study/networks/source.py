"""Where a pretrained network comes from: a Hugging Face folder, or tensors and a function that builds the network."""

from __future__ import annotations

import abc
import importlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...layers import SPECTRAL_LAYERS
from .._plain import import_object

# What a folder of transformers has beside the weights: tokenizers, image processors, generation.
_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.h5", "*.msgpack", "*.onnx", "*.pt", "*.pth")


class Source(abc.ABC):
    """Where a network comes from, and how it is built again without its weights."""

    @abc.abstractmethod
    def build(self) -> nn.Module:
        """Return the network with any weights."""

    @abc.abstractmethod
    def read(self) -> nn.Module:
        """Return the network with its weights, in float32.

        Raises:
            ValueError: the weights are missing or do not fit.
        """

    @abc.abstractmethod
    def write(self, directory: Path) -> None:
        """Write to a folder what builds the network, beside its tensors."""

    @abc.abstractmethod
    def write_dense(self, network: nn.Module, directory: Path) -> None:
        """Write the network with dense weights, as it was read, to a folder."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain values for :func:`source_from`."""

    def kept(self, network: nn.Module) -> tuple[str, ...]:
        """Return the names of the layers that stay as they are: heads."""
        return ()

    def plain(self, network: nn.Module) -> nn.Module:
        """Return a network with torch.nn layers as it is where it comes from; its own layers may be changed."""
        return network

    def tokenizer(self) -> Any:
        """Return what makes tokens of texts.

        Raises:
            ValueError: there is none.
        """
        raise ValueError("calibration by texts needs a model with a tokenizer; give arrays as .npy, .npz or images")


@final
@dataclass(frozen=True)
class HuggingFace(Source):
    """A model of the library transformers.

    Args:
        place: a folder with ``config.json`` and safetensors, or an id on the hub.
        download: whether an id may be fetched; else it is looked up in the cache alone.
    """

    place: str
    download: bool = False

    def build(self) -> nn.Module:
        """Return the network with any weights."""
        config = self._config()
        return _with_linear(self._class(config)._from_config(config).float().eval())

    def read(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode."""
        config = self._config()
        self._require_weights()
        try:
            network, about = self._class(config).from_pretrained(
                self.place,
                local_files_only=not self.download,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ValueError(f"model={self.place!r} cannot be read: {error}") from None
        if missing := sorted(about["missing_keys"]):  # which transformers would draw at random
            raise ValueError(
                f"model={self.place!r} is incomplete: it lacks {missing[0]!r}, one of {len(missing)} tensors that "
                f"{type(network).__name__} has; give a folder that save_pretrained wrote of one"
            )
        return _with_linear(network.eval())

    def write(self, directory: Path) -> None:
        """Write what builds the network."""
        self._config().save_pretrained(directory)
        folder = Path(self.place)
        if not folder.is_dir():
            from transformers.utils import cached_file

            with suppress(ValueError):  # which a model of images has none of
                self.tokenizer()
            folder = Path(cached_file(self.place, "config.json", local_files_only=not self.download)).parent
        weights = {path for pattern in _WEIGHTS for path in folder.glob(pattern)}
        for path in folder.iterdir():
            if path.is_file() and path not in weights and not (directory / path.name).exists():
                shutil.copyfile(path, directory / path.name)

    def write_dense(self, network: nn.Module, directory: Path) -> None:
        """Write the network with dense weights."""
        self.write(directory)
        self.plain(network).save_pretrained(directory)  # type: ignore[operator]

    def plain(self, network: nn.Module) -> nn.Module:
        """Put the layers back that transformers has of its own."""
        from transformers.pytorch_utils import Conv1D

        config = self._config()
        with torch.device("meta"):
            names = [
                name
                for name, module in self._class(config)._from_config(config).named_modules()
                if isinstance(module, Conv1D)
            ]
        for name in names:
            layer = network.get_submodule(name)
            if isinstance(layer, nn.Linear):
                put = Conv1D(layer.out_features, layer.in_features)
                put.weight, put.bias = nn.Parameter(layer.weight.detach().mT.contiguous()), layer.bias
                parent, _, leaf = name.rpartition(".")
                setattr(network.get_submodule(parent), leaf, put)
        return network

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"kind": "transformers"}

    def kept(self, network: nn.Module) -> tuple[str, ...]:
        """Return the names of the layers around the base model, and of those tied to what cannot be compressed."""
        owners: dict[int, list[tuple[str, nn.Module]]] = {}
        for name, module in network.named_modules(remove_duplicate=False):
            weight = module._parameters.get("weight")
            if weight is not None and weight.dim() > 1:
                owners.setdefault(id(weight), []).append((name, module))
        prefix = getattr(network, "base_model_prefix", "")
        prefix = f"{prefix}." if prefix and hasattr(network, prefix) else ""
        return tuple(
            name
            for places in owners.values()
            if not any(name.startswith(prefix) for name, _ in places)
            or any(type(module) not in SPECTRAL_LAYERS for _, module in places)
            for name, _ in places
        )

    def tokenizer(self) -> Any:
        """Return the model's tokenizer."""
        try:
            found = transformers_or_refuse().AutoTokenizer.from_pretrained(
                self.place, local_files_only=not self.download, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"model={self.place!r} has no tokenizer: {str(error).splitlines()[0]}") from None
        # Without its files transformers makes a tokenizer that knows no word. Those of bytes have none.
        folder, files = Path(self.place), {"tokenizer.json", *found.vocab_files_names.values()}
        if folder.is_dir() and found.vocab_files_names and not any((folder / file).is_file() for file in files):
            raise ValueError(
                f"model={self.place!r} has no vocabulary of a tokenizer, none of {', '.join(sorted(files))}; fetch all "
                f"of it, or give arrays for calibration"
            )
        return found

    def image_size(self) -> int:
        """Return height and width of the images that the model takes.

        Raises:
            ValueError: it takes none.
        """
        size = getattr(self._config(), "image_size", None)
        if not isinstance(size, int):
            raise ValueError(f"model={self.place!r} takes no images; give texts for calibration")
        return size

    def _require_weights(self) -> None:
        """Refuse a folder that lacks files of weights."""
        folder = Path(self.place)
        if not folder.is_dir():
            return
        if not any(folder.glob("*.safetensors")):
            raise ValueError(
                f"model={self.place!r} has no weights in *.safetensors; pickles run code and are not read: convert "
                f"them with save_pretrained(…)"
            )
        index = folder / "model.safetensors.index.json"
        if index.is_file() and not (folder / "model.safetensors").is_file():
            try:
                shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"model={self.place!r} has an index that cannot be read: {error}") from None
            if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
                raise ValueError(f"model={self.place!r} is incomplete: it has no {missing[0]}; fetch all of it")

    def _config(self) -> Any:
        AutoConfig = transformers_or_refuse().AutoConfig
        if Path(self.place).is_dir() and not (Path(self.place) / "config.json").exists():
            raise ValueError(f"model={self.place!r} has no config.json; give a folder that save_pretrained wrote")
        try:
            return AutoConfig.from_pretrained(self.place, local_files_only=not self.download, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            cure = "" if self.download else "; it is no folder here: download=True (--download) fetches an id"
            raise ValueError(f"model={self.place!r} cannot be read: {str(error).splitlines()[0]}{cure}") from None

    def _class(self, config: Any) -> Any:
        transformers = transformers_or_refuse()
        if not config.architectures:
            return transformers.AutoModel
        found = getattr(transformers, config.architectures[0], None)
        if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
            raise ValueError(
                f"model={self.place!r} is of {config.architectures[0]!r}, which transformers does not have; code that "
                f"comes with a model is not run"
            )
        return found


@final
@dataclass(frozen=True)
class StateDict(Source):
    """Tensors in a safetensors file, and a function without arguments that builds their network.

    Args:
        file: the file.
        function: ``module:function``.
    """

    file: Path
    function: str

    def build(self) -> nn.Module:
        """Return the network with any weights."""
        network = import_object("network", self.function)()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network={self.function!r} must build a torch.nn.Module, got {type(network).__name__}")
        return network

    def read(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode."""
        network = self.build()
        try:
            tensors = load_file(self.file)
            names = network.state_dict(keep_vars=True)
            found = network.load_state_dict(tensors, strict=False)
            read = {id(tensor) for name, tensor in names.items() if name in tensors}
            missing = [name for name in found.missing_keys if id(names[name]) not in read]  # nor by a name it shares
            if missing or found.unexpected_keys:
                raise RuntimeError(f"missing tensors {missing[:3]}, unexpected tensors {found.unexpected_keys[:3]}")
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ValueError(f"model={str(self.file)!r} does not fit what {self.function} builds: {error}") from None
        return network.eval()

    def write(self, directory: Path) -> None:
        """Write nothing: the description names the function."""

    def write_dense(self, network: nn.Module, directory: Path) -> None:
        """Write the network with dense weights."""
        from safetensors.torch import save_file

        # Copies, since the file keeps no two tensors in one memory, as tied ones are.
        tensors = {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}
        save_file(tensors, directory / self.file.name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"kind": "function", "function": self.function}


def _with_linear(network: nn.Module) -> nn.Module:
    """Put ``torch.nn.Linear`` in the places of transformers' Conv1D, which is the same with the weight transposed."""
    from transformers.pytorch_utils import Conv1D

    for name, module in list(network.named_modules()):
        if isinstance(module, Conv1D):
            layer = nn.Linear(*module.weight.shape)
            layer.weight, layer.bias = nn.Parameter(module.weight.detach().mT.contiguous()), module.bias
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, layer.train(module.training))
    return network


def source_of(model: str | Path, network: str | None = None, download: bool = False) -> Source:
    """Return where a model is to be read from.

    Args:
        model: a folder or id of Hugging Face's, or with ``network`` a safetensors file.
        network: ``module:function`` that builds the network of that file.
        download: whether an id may be fetched.

    Raises:
        ValueError: there is no such file, or it is no safetensors file, or its network is not named.
    """
    path = Path(model)
    if network is not None:
        if path.suffix != ".safetensors" or not path.is_file():
            raise ValueError(f"model={str(model)!r} must be a safetensors file where network={network!r} is given")
        return StateDict(path, network)
    if path.is_file():
        raise ValueError(
            f"model={str(model)!r} is a file; say with network= (--network) module:function what builds it"
        )
    if not path.exists() and (path.is_absolute() or str(model).count("/") > 1 or str(model).startswith(".")):
        raise ValueError(
            f"model={str(model)!r} does not exist; give a folder, a safetensors file or an id such as org/name"
        )
    return HuggingFace(str(model), download)


def transformers_or_refuse() -> Any:
    """Return the package transformers.

    Raises:
        ValueError: it cannot be imported.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ValueError(
            f"model needs a package that cannot be imported ({error}): pip install 'sttp-torch[transformers]'"
        ) from None
