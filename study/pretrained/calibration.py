"""Batches of what a network takes, read from a file of texts or arrays, or a folder of images."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..networks.source import HuggingFace, Source

TEXTS: Final = (".txt", ".csv", ".parquet")
ARRAYS: Final = (".npy", ".npz")
IMAGES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# What processors of images have where a model says nothing else.
_GREY: Final = (0.5, 0.5, 0.5)


def read_batches(
    path: str | Path,
    source: Source,
    *,
    count: int = 256,
    batch_size: int = 32,
    column: str | None = None,
    longest: int = 128,
    seed: int = 0,
) -> list[Any]:
    """Return batches of examples for a network. Only texts of equal length come together, so that nothing is padded.

    What stands for padding is given to every layer of a network, and would count in the metrics of fits as words do.

    Args:
        path: texts, a line each in ``.txt`` or a column of ``.csv`` or ``.parquet``, which the model's tokenizer reads;
            arrays in ``.npy``, or ``.npz`` of named arguments, an example along the first dimension; or a folder of
            images, which are resized and normalized as the model's configuration says.
        source: of the model.
        count: examples that are drawn, without replacement; all where there are fewer.
        batch_size: of them.
        column: of the texts; by default the first one of texts.
        longest: most tokens of a text.
        seed: of the draw.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is nothing in it, or nothing that the model takes.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"calibration={str(path)!r} does not exist; give texts, arrays or a folder of images")
    examples: Any
    if place.is_dir():
        examples = sorted(file for file in place.rglob("*") if file.suffix.lower() in IMAGES)
    elif place.suffix in ARRAYS:
        examples = _arrays(place)
    elif place.suffix in TEXTS:
        examples = _texts(place, column)
    else:
        kinds = ", ".join((*TEXTS, *ARRAYS))
        raise ValueError(
            f"calibration={str(path)!r} must be one of {kinds}, or a folder of images, got {place.suffix!r}"
        )
    size = len(next(iter(examples.values()), ())) if isinstance(examples, dict) else len(examples)
    if size == 0:
        raise ValueError(f"calibration={str(path)!r} has no examples; give a file that has some")
    chosen = np.random.default_rng(seed).permutation(size)[:count]
    parts = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    if isinstance(examples, dict):
        return [{name: torch.from_numpy(array[part]) for name, array in examples.items()} for part in parts]
    if isinstance(examples, np.ndarray):
        return [torch.from_numpy(examples[part]) for part in parts]
    if place.is_dir():
        settings = _image_settings(source)
        return [{"pixel_values": torch.stack([_image(examples[k], *settings) for k in part])} for part in parts]
    tokenizer = source.tokenizer()
    found = tokenizer([examples[k] for k in chosen], truncation=True, max_length=longest, padding=False)["input_ids"]
    equal: dict[int, list[list[int]]] = {}
    for tokens in filter(None, found):
        equal.setdefault(len(tokens), []).append(tokens)
    groups = [same[k : k + batch_size] for same in equal.values() for k in range(0, len(same), batch_size)]
    order = np.random.default_rng(seed).permutation(len(groups))
    return [{"input_ids": torch.tensor(groups[k])} for k in order]


def _arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return an array, or several by name, with a row for each example; numbers in float32, as layers are."""
    try:
        read = np.load(path, allow_pickle=False)
        arrays = {"": read} if isinstance(read, np.ndarray) else {name: read[name] for name in read.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"calibration={str(path)!r} cannot be read ({error}); write it by numpy.save or savez"
        ) from None
    if not all(array.dtype.kind in "fiub" for array in arrays.values()):
        raise ValueError(f"calibration={str(path)!r} must have real numbers, got {[a.dtype for a in arrays.values()]}")
    rows = [array.shape[:1] for array in arrays.values()]
    if len(set(rows)) > 1 or () in rows:
        raise ValueError(f"calibration={str(path)!r} must have arrays with a row for each example, got rows {rows}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(f"calibration={str(path)!r} has entries that are NaN or infinite; leave these examples out")
    found = {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in arrays.items()}
    return found[""] if set(found) == {""} else found


def _texts(path: Path, column: str | None) -> list[str]:
    if path.suffix == ".txt":
        try:
            return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise ValueError(f"calibration={str(path)!r} is no text in UTF-8 ({error}); convert it") from None
    import pandas as pd

    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # of which pandas' and pyarrow's are
        raise ValueError(f"calibration={str(path)!r} cannot be read as a table ({error})") from None
    if column is None:
        texts = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
        if not texts:
            raise ValueError(f"calibration={str(path)!r} has no column of texts, but {list(table.columns)}")
        column = texts[0]
    if column not in table.columns:
        raise ValueError(f"column={column!r} is none of {str(path)!r}; it has {', '.join(map(repr, table.columns))}")
    return [text for text in map(str, table[column].dropna()) if text.strip()]


def _image_settings(source: Source) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    if not isinstance(source, HuggingFace):
        raise ValueError("calibration by images needs a model whose configuration says their size; give arrays as .npy")
    size = source.image_size()
    file = Path(source.place) / "preprocessor_config.json"
    about = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return size, tuple(about.get("image_mean", _GREY)), tuple(about.get("image_std", _GREY))


def _image(path: Path, size: int, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    return ((torch.from_numpy(pixels) - torch.tensor(mean)) / torch.tensor(deviation)).permute(2, 0, 1)
