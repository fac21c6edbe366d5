"""Wide residual networks: WRN-28-10 is the classifier of the paper's CIFAR experiments."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from ...manifolds import require_integer


@final
class PreactivationBlock(nn.Module):
    """Basic residual block, each 3×3 convolution after a batch norm and a ReLU, without dropout.

    Where the width or the size changes, a 1×1 convolution of the activated input stands in for the identity.

    Shapes: ``(batch, input_width, height, width)`` to ``(batch, output_width, height / stride, width / stride)``.
    """

    def __init__(self, input_width: int, output_width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(input_width)
        self.conv1 = nn.Conv2d(input_width, output_width, kernel_size=3, stride=stride, padding=1)
        self.norm2 = nn.BatchNorm2d(output_width)
        self.conv2 = nn.Conv2d(output_width, output_width, kernel_size=3, padding=1)
        self.shortcut: nn.Conv2d | None = None
        if stride > 1 or input_width != output_width:
            self.shortcut = nn.Conv2d(input_width, output_width, kernel_size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        activated = F.relu(self.norm1(x))
        identity = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return identity + residual


@final
class WideResNet(nn.Module):
    """The network that `wide_resnet` builds: ``conv1``, ``blocks``, ``norm``, ``linear``.

    Shapes: images ``(batch, channels, height, width)`` to logits ``(batch, number_of_classes)``; the height and width
    are 32 in CIFAR, any other size of at least 1 works as well.
    """

    def __init__(
        self, widths: tuple[int, ...], blocks_per_stage: int, number_of_classes: int, channels: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], kernel_size=3, padding=1)
        self.blocks = nn.Sequential()
        input_width = widths[0]
        for stage, width in enumerate(widths[1:]):
            for block in range(blocks_per_stage):
                halves = stage > 0 and block == 0
                self.blocks.append(PreactivationBlock(input_width, width, stride=2 if halves else 1))
                input_width = width
        self.norm = nn.BatchNorm2d(input_width)
        self.linear = nn.Linear(input_width, number_of_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        features = F.relu(self.norm(self.blocks(self.conv1(images))))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


def wide_resnet(
    depth: int = 28, widen_factor: int = 10, number_of_classes: int = 10, base_width: int = 16, channels: int = 3
) -> WideResNet:
    """Build WRN-depth-widen_factor, by default the WRN-28-10 of the paper's CIFAR-10 experiment.

    Three stages of (depth − 4)/6 pre-activation blocks each have 1, 2 and 4 times base_width · widen_factor channels.
    All convolutions carry a bias, as the paper's do; there is no dropout. Weights start at torch's defaults.

    Args:
        depth: number of layers on the longest path, shortcuts not counted; 6n + 4 for n ≥ 1.
        widen_factor: how many times wider than an ordinary residual network.
        number_of_classes: number of logits.
        base_width: channels after the first convolution, which is not widened.
        channels: of the images.

    Raises:
        TypeError, ValueError: an argument is not a positive integer, or no such depth exists.

    Source: Zagoruyko, Komodakis, "Wide Residual Networks", BMVC 2016, Table 1.
    """
    sizes = {"widen_factor": widen_factor, "number_of_classes": number_of_classes}
    sizes |= {"base_width": base_width, "channels": channels}
    for name, value in sizes.items():
        require_integer(name, value, least=1)
    if type(depth) is not int or depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth must be 6n + 4 for an integer n of at least 1, as 10, 16 or 28 are, got {depth!r}")
    widest = base_width * widen_factor
    return WideResNet((base_width, widest, 2 * widest, 4 * widest), (depth - 4) // 6, number_of_classes, channels)
