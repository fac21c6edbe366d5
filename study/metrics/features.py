"""A classifier that the toolkit trains on a data set itself, to score generated images by: nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, final

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...layers import write_atomically
from ...manifolds import require_integer, require_number
from ..data import Images, Normalization, batches
from ..random_streams import seeded
from .scores import GaussianStatistics, frechet_distance, inception_score, kernel_distance

# Raised when equal images and options give another classifier than before.
FORMAT: Final = 1
PIECE: Final = 500  # images that are looked at together
FEATURES: Final = 128
# Their names say what they are: numbers on the features of Inception are others, and the two do not compare.
CLASSIFIER_SCORE: Final = "classifier score"
CLASSIFIER_FRECHET_DISTANCE: Final = "classifier Fréchet distance"
CLASSIFIER_KERNEL_DISTANCE: Final = "classifier kernel distance"


@final
@dataclass(frozen=True)
class ClassifierOptions:
    """How the classifier is trained: Adam, a learning rate that falls linearly to 0.

    Attributes:
        seed: of the first weights and the batches.
        epochs: how often each image is seen, at least.
        steps: number of steps, at least; small data sets are seen more often for it.
        batch_size: images a step, or all there are.
        learning_rate: at the first step.

    Raises:
        ValueError: a number is out of range.
        TypeError: a value is no number.
    """

    seed: int = 0
    epochs: int = 12
    steps: int = 200
    batch_size: int = 128
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        require_integer("seed", self.seed, least=0)
        for name in ("epochs", "steps", "batch_size"):
            require_integer(name, getattr(self, name), least=1)
        require_number("learning_rate", self.learning_rate, above=0)


@final
class FeatureNetwork(nn.Module):
    """Four 3×3 convolutions, each with batch norm and ReLU, a mean over space, and a linear layer.

    Shapes: normalized images ``(batch, channels, height, width)`` of any size to logits ``(batch, classes)``; the
    features are ``(batch, 128)``.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        widths = (channels, FEATURES // 4, FEATURES // 2, FEATURES, FEATURES)
        for index, stride in enumerate((1, 2, 2, 1)):
            convolution = nn.Conv2d(widths[index], widths[index + 1], 3, stride=stride, padding=1, bias=False)
            self.layers.extend((convolution, nn.BatchNorm2d(widths[index + 1]), nn.ReLU()))
        self.linear = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the features."""
        maps: Tensor = self.layers(images)
        return maps.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.linear(self.features(images))
        return logits


class Seen(NamedTuple):
    """What a classifier sees in images: features ``(n, 128)`` and probabilities of the classes ``(n, classes)``."""

    features: Tensor
    probabilities: Tensor


@final
class FeatureClassifier:
    """A trained classifier of images ``(n, C, H, W)`` of uint8.

    Args:
        network: in evaluation mode, on the device where images are to be looked at.
        normalization: of the images that it was trained on.
    """

    def __init__(self, network: FeatureNetwork, normalization: Normalization) -> None:
        self._network = network.eval().requires_grad_(False)
        self._normalization = normalization

    @torch.no_grad()
    def see(self, images: Tensor) -> Seen:
        """Return features and probabilities, on the CPU.

        Raises:
            TypeError: the images are no uint8.
            ValueError: there are none, or they are of another number of channels.
        """
        _require_images(images, len(self._normalization.mean))
        device = self._normalization.mean.device
        features, probabilities = [], []
        for piece in images.split(PIECE):
            features.append(self._network.features(self._normalization(piece.to(device))))
            probabilities.append(self._network.linear(features[-1]).softmax(dim=1))
        return Seen(torch.cat(features).cpu(), torch.cat(probabilities).cpu())

    def accuracy(self, images: Images) -> float:
        """Return the share of images that are classified right."""
        named = self.see(images.images).probabilities.argmax(dim=1)
        return (named == images.labels.cpu()).double().mean().item()


def feature_classifier(
    training: Images,
    classes: int | None = None,
    options: ClassifierOptions | None = None,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
) -> FeatureClassifier:
    """Return the classifier of a data set, from the cache if it is there, and else trained and put there.

    A cached one belongs to the content of the images and labels and to the options, and not to a device or number of
    threads, on which its last digits depend. A damaged one is trained anew. Of several processes with one cache one
    trains, and the others wait for it. torch's global generator is left alone.

    Args:
        training: training images with their labels.
        classes: number of classes; None is the largest label and one.
        options: seed and training; None for the defaults.
        cache: a folder, such as ``sttp.study.data.CACHE``; None for none.
        device: where it is trained and looks at images.

    Raises:
        ValueError: a label is out of range.
    """
    options = ClassifierOptions() if options is None else options
    highest = int(training.labels.max())
    classes = highest + 1 if classes is None else classes
    if highest >= classes:
        raise ValueError(f"classes must be above the largest label, {highest}, got {classes}")
    with seeded(options.seed):
        network = FeatureNetwork(training.images.shape[1], classes)
    normalization = Normalization.of(training.images).to(device)
    path = None if cache is None else cache / f"classifier-{_key(training, classes, options)}.safetensors"
    if path is None:
        _train(network.to(device), normalization, training, options)
    elif not _read(path, network):
        path.parent.mkdir(parents=True, exist_ok=True)
        import filelock  # of the extra `study`

        with filelock.FileLock(path.with_suffix(".lock")):
            if not _read(path, network):
                _train(network.to(device), normalization, training, options)
                state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
                write_atomically(path, lambda target: save_file(state, target))
    return FeatureClassifier(network.to(device), normalization)


def classifier_scores(
    classifier: FeatureClassifier, generated: Tensor, real: Tensor | Seen, seed: int = 0
) -> dict[str, float]:
    """Return the score, of which more is better, and the two distances, of which less is.

    The score is formed like the Inception Score, the distances like FID and KID.

    Args:
        classifier: trained on the data set.
        generated: images ``(n, C, H, W)`` of uint8, at least ten.
        real: the data set's images, alike; or what the classifier sees in them, where many are compared with the same.
        seed: draws the subsets of the kernel distance.

    Raises:
        TypeError: the images are no uint8.
        ValueError: there are too few of them, or they do not fit the classifier.
    """
    ours = classifier.see(generated)
    theirs = classifier.see(real) if isinstance(real, Tensor) else real
    statistics = [GaussianStatistics.of(seen.features) for seen in (ours, theirs)]
    return {
        CLASSIFIER_SCORE: inception_score(ours.probabilities).mean,
        CLASSIFIER_FRECHET_DISTANCE: frechet_distance(*statistics),
        CLASSIFIER_KERNEL_DISTANCE: kernel_distance(ours.features, theirs.features, seed).mean,
    }


def _train(network: FeatureNetwork, normalization: Normalization, training: Images, options: ClassifierOptions) -> None:
    size = min(options.batch_size, len(training))
    steps = max(options.epochs * (len(training) // size), options.steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    network.train()
    device = normalization.mean.device
    for images, labels in islice(batches(training, size, options.seed, device=device), steps):
        loss = F.cross_entropy(network(normalization(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _read(path: Path, network: FeatureNetwork) -> bool:
    """Load a network from a file, if it is there and whole."""
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _key(training: Images, classes: int, options: ClassifierOptions) -> str:
    """Return sixteen hexadecimal digits of all that decides a classifier."""
    settings = {"format": FORMAT, "shape": list(training.images.shape), "classes": classes, **asdict(options)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (training.images, training.labels):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _require_images(images: Tensor, channels: int) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(
            f"images must be uint8, got {images.dtype}; sttp.study.data.from_symmetric makes them of numbers in [−1, 1]"
        )
    if images.ndim != 4 or not len(images) or images.shape[1] != channels:
        raise ValueError(
            f"images must have shape (n, {channels}, H, W) with n of at least 1, got {tuple(images.shape)}"
        )
