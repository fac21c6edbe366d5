"""Data sets of images: the bundled digits, CIFAR-10 and CIFAR-100, STL-10, and folders of one's own."""

from .augmentation import augment, flip, pad_and_crop
from .batches import Batch, batches
from .image_data import ImageData, Images
from .loading import CACHE, DATA, fetch_missing, load, require_published
from .normalization import Normalization, from_symmetric, to_symmetric
from .source import Archive, DataSource, Found, MissingDataError

__all__ = [
    "CACHE",
    "DATA",
    "Archive",
    "Batch",
    "DataSource",
    "Found",
    "ImageData",
    "Images",
    "MissingDataError",
    "Normalization",
    "augment",
    "batches",
    "fetch_missing",
    "flip",
    "from_symmetric",
    "load",
    "pad_and_crop",
    "require_published",
    "to_symmetric",
]
