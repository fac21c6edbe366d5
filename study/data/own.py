"""Data sets of a user's own from plain things: a torch data set, arrays, an .npz file or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, final

import numpy as np
import torch
from torch import Tensor

from .._plain import shown
from ..random_streams import seeded
from .folder import SPLIT_SEED, TEST_SHARE, stratified_split
from .image_data import checksum_of
from .table import Table, read_table

# What is taken from the training examples to choose by; nothing is ever chosen on the test split.
VALIDATION_SHARE: Final = 0.1
KINDS: Final = (
    "a torch data set or a list of pairs (input, target), a tuple (inputs, targets) of arrays or tensors, or the path "
    "of a .npz or .csv file"
)


class Examples(NamedTuple):
    """Inputs ``(n, ...)`` and targets: classes from 0, ``(n, ...)`` of int64, or numbers ``(n, k, ...)``.

    Both are on the CPU. Floating-point numbers have torch's default dtype, other inputs int64.
    """

    inputs: Tensor
    targets: Tensor


@final
@dataclass(frozen=True, eq=False)
class OwnData:
    """Three splits, and what their targets are.

    Attributes:
        training, validation, test: the splits.
        classes: number of classes; None where the targets are numbers, as in a regression.
        class_names: a name for each class where the data names them, as text or in a CSV file; else empty.
    """

    training: Examples
    validation: Examples
    test: Examples
    classes: int | None
    class_names: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of examples for training, validation and test."""
        return len(self.training.targets), len(self.validation.targets), len(self.test.targets)

    @property
    def is_classified(self) -> bool:
        """Whether the targets are classes."""
        return self.classes is not None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.training.inputs.shape[1:])

    def batch(self, indices: Tensor, seed: int, position: int) -> Examples:
        """Return training examples; they depend on neither the seed of a run nor the position of the batch."""
        indices = indices.to(self.training.targets.device)
        return Examples(self.training.inputs[indices], self.training.targets[indices])

    def pieces(self, split: Literal["validation", "test"], size: int) -> Iterator[Examples]:
        """Yield all examples of a split, some at a time."""
        inputs, targets = self.validation if split == "validation" else self.test
        return (Examples(*pair) for pair in zip(inputs.split(size), targets.split(size), strict=True))

    def to(self, device: str) -> Self:
        """Return the splits on a device."""
        parts = (self.training, self.validation, self.test)
        training, validation, test = (Examples(part.inputs.to(device), part.targets.to(device)) for part in parts)
        return replace(self, training=training, validation=validation, test=test)

    @cached_property
    def checksum(self) -> str:
        """Eight hexadecimal digits, the CRC-32 of all inputs and targets, their shapes, and the classes."""
        tensors = [tensor for part in (self.training, self.validation, self.test) for tensor in part]
        described = [self.classes, self.class_names, [[*map(str, (t.dtype, tuple(t.shape)))] for t in tensors]]
        return checksum_of(described, tensors)


def own_data(train: Any, validation: Any = None, test: Any = None, *, target: str | None = None) -> OwnData:
    """Return the splits of a user's own data as tensors.

    Each split is a torch ``Dataset`` with a length, or a list, of pairs (input, target), of which each is read once; or
    a tuple (inputs, targets) of NumPy arrays or tensors; or the path of an ``.npz`` file with the arrays ``inputs`` and
    ``targets``; or that of a CSV file, whose first line names its columns.

    Targets of text or integers are classes, and others numbers. Integers count from 0, but in a CSV file each that
    occurs is a class. Numbers of the shape ``(n,)`` become ``(n, 1)``, which is the shape of a network's output.

    Args:
        train: what is trained on.
        validation: what is chosen by; None for a tenth of the training examples, of each class alike.
        test: what results are reported on; None for a fifth of the training examples, taken before.
        target: the column of a CSV file that is to be learnt; None for the last.

    Raises:
        TypeError: a split is of none of these kinds, or has no length.
        ValueError: a split is empty, has other shapes than the training's, or something in it is no number.
    """
    given = {"train": train, "validation": validation, "test": test}
    raw = {name: _read(name, value, target) for name, value in given.items() if value is not None or name == "train"}
    first = raw["train"]
    for name, part in raw.items():
        for what, own, expected in (
            ("columns", shown(", ".join(part.columns)) or "none", shown(", ".join(first.columns)) or "none"),
            ("inputs", _look(part.inputs), _look(first.inputs)),
        ):
            if own != expected:
                raise ValueError(f"{name} must have the {what} of train, {expected}, got {own}")
    targets, classes, names = _targets({name: part.targets for name, part in raw.items()})
    parts = {name: Examples(part.inputs, targets[name]) for name, part in raw.items()}
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if name not in parts:
            parts["train"], parts[name] = _hold_out(name, parts["train"], share, classes is not None)
    return OwnData(parts["train"], parts["validation"], parts["test"], classes, names)


def read_examples(name: str, source: Any, seed: int = 0) -> Examples:
    """Return examples of a data set as tensors; what its transformations draw depends on the seed alone.

    Args:
        name: what errors call the data set.
        source: a torch ``Dataset`` with a length, or a list, of pairs (input, target) whose targets are no text.
        seed: of torch's generator, NumPy's and Python's, which are left as they were.

    Raises:
        TypeError: it has no length.
        ValueError: it is empty, its examples have several shapes, or something in it is no number.
    """
    inputs, targets = _read_examples(name, source, seed)
    tensors = [
        _numbers(f"{name}: {what}", values, classes=False)
        for what, values in (("inputs", inputs), ("targets", targets))
    ]
    first, second = (torch.as_tensor(tensor) for tensor in tensors)
    return Examples(first, second[:, None] if second.is_floating_point() and second.dim() == 1 else second)


def _hold_out(name: str, whole: Examples, share: float, by_class: bool) -> tuple[Examples, Examples]:
    by_class = by_class and whole.targets.dim() == 1
    labels = whole.targets.numpy() if by_class else np.zeros(len(whole.targets))
    held = torch.from_numpy(stratified_split(labels, share, SPLIT_SEED))
    if not held.any():
        raise ValueError(
            f"{name} must be given where train has no two examples{' of a class' if by_class else ''}, got None"
        )
    rest, part = (Examples(whole.inputs[mask], whole.targets[mask]) for mask in (~held, held))
    return rest, part


def _targets(raw: dict[str, Tensor | np.ndarray]) -> tuple[dict[str, Tensor], int | None, tuple[str, ...]]:
    """Return targets as tensors, the number of classes, and their names."""
    first = raw["train"]
    if isinstance(first, Tensor) and first.is_floating_point():  # a CSV file's integers are numbers then
        raw = {name: _floats(part) if part.dtype == np.int64 else part for name, part in raw.items()}
    for name, values in raw.items():
        if _look(values) != _look(first):
            raise ValueError(f"{name} must have the targets of train, {_look(first)}, got {_look(values)}")
    if isinstance(first, np.ndarray):
        known = np.unique(first)
        for name, values in raw.items():
            unknown = np.setdiff1d(values, known)
            if len(unknown):
                raise ValueError(f"{name} has the target {shown(unknown[0])!r}, which no training example has")
        places = {name: torch.from_numpy(np.searchsorted(known, values)) for name, values in raw.items()}
        return places, len(known), tuple(map(str, known))
    tensors = {name: torch.as_tensor(values) for name, values in raw.items()}
    if first.is_floating_point():
        return {name: part[:, None] if part.dim() == 1 else part for name, part in tensors.items()}, None, ()
    for name, part in tensors.items():
        if part.min() < 0:
            raise ValueError(f"{name} has the class {int(part.min())}; count classes from 0")
    return tensors, 1 + max(int(part.max()) for part in tensors.values()), ()


def _look(values: Tensor | np.ndarray) -> str:
    """Return what examples are and their shape."""
    kind = "names" if isinstance(values, np.ndarray) else str(values.dtype)
    return f"{kind} of the shape {tuple(values.shape[1:])} each"


def _floats(values: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(values).to(torch.get_default_dtype())


def _read(name: str, value: Any, target: str | None) -> Table:
    """Return one split, whatever it is given as."""
    if isinstance(value, str | os.PathLike):
        path = Path(value).expanduser()
        if not path.is_file():
            raise ValueError(f"{name}={str(value)!r} is no file; give {KINDS}")
        if path.suffix.lower() == ".csv":
            return read_table(f"{name}: {shown(path)}", path, target)
    if target is not None:
        raise ValueError(f"target={target!r} names a column of a CSV file, and {name} is none; leave it out")
    if isinstance(value, str | os.PathLike):
        pair, what = _read_npz(path), f"{name}: {shown(path)}"
    elif isinstance(value, tuple) and len(value) == 2:
        pair, what = value, name
    else:
        pair, what = _read_examples(name, value), name
    inputs = _numbers(f"{what}: inputs", pair[0], classes=False)
    targets = _numbers(f"{what}: targets", pair[1], classes=True)
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            f"{what} must have as many inputs as targets, and one at least, got {len(inputs)} and {len(targets)}"
        )
    assert isinstance(inputs, Tensor)  # names are targets alone
    return Table(inputs, targets)


def _numbers(what: str, values: Any, classes: bool) -> Tensor | np.ndarray:
    """Return finite numbers as a tensor of float or int64; text, which names classes, as an array."""
    tensor = values if isinstance(values, Tensor) else None
    if tensor is None:
        array = np.asarray(values)
        if classes and (array.dtype.kind == "U" or (array.size and all(isinstance(word, str) for word in array.flat))):
            return array.astype(str)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{what} must be numbers, got an array of {array.dtype}; convert them")
        tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    tensor = tensor.detach().cpu()
    if tensor.dim() == 0 or tensor.is_complex():
        raise ValueError(f"{what} must be real numbers (n, ...), got {tensor.dtype} of the shape {tuple(tensor.shape)}")
    if tensor.is_floating_point():
        tensor = _floats(tensor)
        bad = (~tensor.isfinite()).nonzero()
        if len(bad):
            raise ValueError(f"{what} must be finite, got NaN or infinity in example {int(bad[0, 0])}")
        return tensor
    if not classes and tensor.dtype in (torch.uint8, torch.bool):
        raise ValueError(
            f"{what} are of {tensor.dtype}, which no layer takes; give numbers such as inputs / 255, or int64 if they "
            "are indices"
        )
    return tensor.long()


def _read_examples(name: str, source: Any, seed: int = 0) -> tuple[Any, Any]:
    """Return the inputs and the targets of a data set, stacked."""
    if not hasattr(source, "__getitem__"):
        raise TypeError(f"{name} must be {KINDS}, got {type(source).__name__}")
    try:
        count = len(source)
    except (TypeError, NotImplementedError):
        raise TypeError(
            f"{name} must have a length, got a {type(source).__name__} without; give a list of its pairs"
        ) from None
    if not count:
        raise ValueError(f"{name} is empty; give one example at least")
    pairs = []
    with seeded(seed):  # what a transformation draws is the same in every process
        for position in range(count):
            try:
                pair = source[position]
            except Exception as error:  # a data set is a user's program
                raise ValueError(
                    f"{name}[{position}] cannot be read ({type(error).__name__}: {shown(error)}); mend it"
                ) from error
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError(f"{name}[{position}] must be a pair (input, target), got {type(pair).__name__}")
            pairs.append(pair)
    inputs, targets = zip(*pairs, strict=True)
    return _stacked(f"inputs of {name}", inputs), _stacked(f"targets of {name}", targets)


def _stacked(what: str, values: Sequence[Any]) -> Any:
    parts = [value if isinstance(value, Tensor) else np.asarray(value) for value in values]
    for position, part in enumerate(parts):
        if part.shape != parts[0].shape or type(part) is not type(parts[0]):
            raise ValueError(
                f"{what} must have one shape, got {tuple(parts[0].shape)} at 0 and {tuple(part.shape)} at {position}; "
                "give them another size"
            )
    return torch.stack(list(values)) if isinstance(parts[0], Tensor) else np.stack(parts)


def _read_npz(path: Path) -> tuple[Any, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["inputs"], file["targets"]
    except Exception as error:  # a damaged one raises nearly anything
        raise ValueError(
            f"{shown(path)} must be an .npz file of two arrays of numbers, inputs and targets "
            f"({type(error).__name__}: {shown(error)})"
        ) from None
