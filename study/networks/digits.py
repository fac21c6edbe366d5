"""A small convolutional network for 8×8 images."""

from __future__ import annotations

from torch import nn

from ...manifolds import require_integer


def digits(base_width: int = 16, number_of_classes: int = 10, channels: int = 1) -> nn.Sequential:
    """Build three convolutions, each with batch norm and ReLU, two of them followed by max-pooling, and a linear layer.

    Shapes: images ``(batch, channels, 8, 8)`` to logits ``(batch, number_of_classes)``. The layers with weights are
    called ``conv1``, ``conv2``, ``conv3`` and ``linear``.

    Args:
        base_width: channels after the first convolution; the others have twice as many.
        number_of_classes: number of logits.
        channels: of the images.

    Raises:
        TypeError, ValueError: an argument is not a positive integer.
    """
    sizes = {"base_width": base_width, "number_of_classes": number_of_classes, "channels": channels}
    for name, value in sizes.items():
        require_integer(name, value, least=1)
    network = nn.Sequential()
    widths = (channels, base_width, 2 * base_width, 2 * base_width)
    for stage in (1, 2, 3):
        network.add_module(f"conv{stage}", nn.Conv2d(widths[stage - 1], widths[stage], kernel_size=3, padding=1))
        network.add_module(f"norm{stage}", nn.BatchNorm2d(widths[stage]))
        network.add_module(f"relu{stage}", nn.ReLU())
        if stage > 1:
            network.add_module(f"pool{stage}", nn.MaxPool2d(2))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(4 * widths[-1], number_of_classes))
    return network
