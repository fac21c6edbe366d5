"""A small convolutional classifier, whose last hidden layer gives features of images."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

FEATURES = 128


@final
class FeatureNetwork(nn.Module):
    """Four 3×3 convolutions, each with batch norm and ReLU, a mean over space, and a linear layer.

    Shapes: normalized images ``(batch, channels, height, width)`` of any size to logits ``(batch, classes)``; the
    features are ``(batch, 128)``.

    Args:
        channels: of the images.
        classes: number of logits.
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
