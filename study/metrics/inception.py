"""Inception Score, FID and KID by the package torch-fidelity, of the extra `gan`; nothing is downloaded unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .scores import SUBSET_SIZE

INCEPTION_SCORE: Final = "Inception Score"
FID: Final = "FID"
KID: Final = "KID"
# The file in which torch-fidelity keeps the weights of TensorFlow's Inception network of 2015.
WEIGHTS: Final = "weights-inception-2015-12-05-6726825d.pth"


class _Images(Dataset[Tensor]):
    """Images in three channels, one by one."""

    def __init__(self, images: Tensor) -> None:
        self._images = images.cpu().expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index]


def inception_weights(path: Path | None = None, download: bool = False) -> Path | None:
    """Return the file of the network's weights, by default where torch-fidelity keeps it; None where it may fetch it.

    Raises:
        FileNotFoundError: the file is not there, and is not to be downloaded.
    """
    found = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS if path is None else path
    if found.is_file():
        return found
    if download and path is None:
        return None
    raise FileNotFoundError(
        f"the weights of Inception are not at hand: {str(found)!r} is no file; put {WEIGHTS} there, which "
        f"torch-fidelity publishes, or ask for the download, or take the scores of a classifier of the data set"
    )


def require_inception() -> None:
    """Refuse scores that could not be computed at the end of a training, before it begins."""
    try:
        _torch_fidelity()
        inception_weights()
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        raise ValueError(f"inception must be false here, where its scores cannot be computed: {error}") from None


def inception_scores(
    generated: Tensor,
    real: Tensor,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    download: bool = False,
) -> dict[str, float]:
    """Return the Inception Score, of which more is better, and FID and KID, of which less is.

    Images are resized to 299 pixels by torch-fidelity as TensorFlow did; grey ones are shown in three equal channels.

    Args:
        generated: images ``(n, 1 or 3, H, W)`` of uint8.
        real: the data set's images, alike.
        weights: file of the network's weights, a pickle, so one that you trust; None for where torch-fidelity keeps it.
        device: the CPU or torch's present CUDA device, where the network runs.
        seed: draws splits and subsets.
        download: whether the weights may be fetched where they are missing.

    Raises:
        ModuleNotFoundError: torch-fidelity is not installed.
        FileNotFoundError: the weights are not at hand.
        TypeError: the images are no uint8.
        ValueError: there are fewer than ten images, or they have another shape.
    """
    for name, images in (("generated", generated), ("real", real)):
        if images.dtype != torch.uint8:
            raise TypeError(
                f"{name} must be uint8, got {images.dtype}; sttp.study.data.from_symmetric makes it of numbers in "
                f"[−1, 1]"
            )
        if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) < 10:
            raise ValueError(
                f"{name} must have shape (n, 1 or 3, H, W) with n of at least 10, got {tuple(images.shape)}"
            )
    fidelity = _torch_fidelity()
    found = inception_weights(weights, download)
    measured = fidelity.calculate_metrics(
        input1=_Images(generated),
        input2=_Images(real),
        isc=True,
        fid=True,
        kid=True,
        kid_subset_size=min(SUBSET_SIZE, len(generated), len(real)),
        feature_extractor_weights_path=None if found is None else str(found),
        cuda=torch.device(device).type == "cuda",
        rng_seed=seed,
        cache=False,
        save_cpu_ram=True,  # which is how it is told to load images in this process
        verbose=False,
    )
    return {
        INCEPTION_SCORE: float(measured["inception_score_mean"]),
        FID: float(measured["frechet_inception_distance"]),
        KID: float(measured["kernel_inception_distance_mean"]),
    }


def _torch_fidelity() -> Any:
    try:
        import torch_fidelity
        import torchvision  # noqa: F401 which torch-fidelity needs, some versions of it not before the first score
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Inception Score, FID and KID need torch-fidelity ({error}); pip install 'sttp-torch[gan]', or take the "
            f"scores of a classifier of the data set"
        ) from None
    return torch_fidelity
