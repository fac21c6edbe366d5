"""Data sets of images (digits, CIFAR, STL-10, folders of one's own), and any other ones that a user brings."""

from .batches import (
    Batch,
    Normalization,
    augment,
    batch_indices,
    batches,
    flip,
    from_symmetric,
    pad_and_crop,
    to_symmetric,
)
from .image_data import ImageData, Images
from .loading import CACHE, fetch_missing, load, require_published
from .own import Examples, OwnData, own_data, read_examples
from .source import DATA, Archive, DataSource, Found, MissingDataError, register_data

__all__ = [
    "CACHE",
    "DATA",
    "Archive",
    "Batch",
    "DataSource",
    "Examples",
    "Found",
    "ImageData",
    "Images",
    "MissingDataError",
    "Normalization",
    "OwnData",
    "augment",
    "batch_indices",
    "batches",
    "fetch_missing",
    "flip",
    "from_symmetric",
    "load",
    "own_data",
    "pad_and_crop",
    "read_examples",
    "register_data",
    "require_published",
    "to_symmetric",
]
