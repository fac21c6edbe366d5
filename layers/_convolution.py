"""Convolutions and transposed convolutions in one to three dimensions.

With few ranks a convolution is applied as its factors: the filters in V make r channels (r for each group), and a
1 × … × 1 convolution with U diag(s) makes the output channels of them (Obukhov et al. 2021, Sec. 6). The cores are
contracted to these factors and not with the input, whose windows they would have to be given one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor, nn

from ._plan import Forward, Plan, convolution_plan
from ._spectral_layer import SpectralLayer


class Convolution(SpectralLayer):
    """Base of the convolutions: stride, padding, padding_mode, dilation and groups as in torch.nn."""

    convolve: ClassVar[Callable[..., Tensor]]
    in_channels: int
    out_channels: int
    groups: int
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    padding_mode: str
    _reversed_padding_repeated_twice: list[int]

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of an input ``(N, C_in, …)`` or ``(C_in, …)``."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * len(self.stride)
        convolve = type(self).convolve
        if self.route(input.numel() // (self.in_channels * math.prod(self.stride))).product == "dense":
            return convolve(input, self._weight(), self.bias, self.stride, padding, self.dilation, self.groups)
        left, values, right = self.spectral.factors()
        hidden = convolve(input, self.filters(right), None, self.stride, padding, self.dilation, self.groups)
        return convolve(hidden, self.pointwise_filters(left * values), self.bias, groups=self.groups)

    def filters(self, right: Tensor) -> Tensor:
        """Return V as the weight of a convolution to r channels for each group."""
        # Contiguous as torch's own weights are: its kernels take strides by chance those of channels_last for a choice.
        filters = right.mT.unflatten(-1, self.spectral.weight_shape.shape[1:]).contiguous()
        return filters if self.groups == 1 else filters.repeat(self.groups, *(1,) * (filters.dim() - 1))

    def pointwise_filters(self, left: Tensor) -> Tensor:
        """Return U as the weight of a 1 × … × 1 convolution from r channels for each group."""
        return left.reshape(*left.shape, *(1,) * len(self.stride)).contiguous()

    def _plan(self, forward: Forward) -> Plan:
        return convolution_plan(self.spectral.manifold, forward, self.spectral.weight_shape)


class TransposedConvolution(SpectralLayer):
    """Base of the transposed convolutions: stride, padding, output_padding, dilation and groups as in torch.nn."""

    namesake: ClassVar[type[nn.modules.conv._ConvTransposeNd]]
    convolve: ClassVar[Callable[..., Tensor]]
    pointwise: ClassVar[Callable[..., Tensor]]
    in_channels: int
    out_channels: int
    groups: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    kernel_size: tuple[int, ...]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of an input ``(N, C_in, …)`` or ``(C_in, …)``, of the given size if any."""
        output_padding = self.namesake._output_padding(
            self,  # type: ignore[arg-type] # reads attributes that both have
            input,
            output_size,
            list(self.stride),
            list(self.padding),
            list(self.kernel_size),
            len(self.stride),
            list(self.dilation),
        )
        options = (self.stride, self.padding, output_padding, self.groups, self.dilation)
        convolve, pointwise = type(self).convolve, type(self).pointwise
        if self.route(input.numel() // self.in_channels).product == "dense":
            return convolve(input, self._weight(), self.bias, *options)
        left, values, right = self.spectral.factors()
        hidden = convolve(input, self.filters(right), None, *options)
        return pointwise(hidden, self.pointwise_filters(left * values), self.bias, groups=self.groups)

    def filters(self, right: Tensor) -> Tensor:
        """Return V as the weight of a transposed convolution to r channels for each group."""
        shape = self.spectral.weight_shape
        # (C_in/groups · k, r) becomes torch's (C_in/groups, r, k), the same for each group.
        filters = right.reshape(shape.column_channels, shape.filter_size, -1).transpose(1, 2)
        filters = filters.unflatten(-1, shape.kernel).contiguous()
        return filters if self.groups == 1 else filters.repeat(self.groups, *(1,) * (filters.dim() - 1))

    def pointwise_filters(self, left: Tensor) -> Tensor:
        """Return U as the weight of a 1 × … × 1 convolution from r channels for each group."""
        return left.reshape(*left.shape, *(1,) * len(self.stride)).contiguous()

    @property
    def outputs(self) -> int:
        """Output positions for each position of the input."""
        return math.prod(self.stride)

    def _plan(self, forward: Forward) -> Plan:
        return convolution_plan(self.spectral.manifold, forward, self.spectral.weight_shape, self.outputs)


@final
class Conv1d(Convolution):
    """:class:`torch.nn.Conv1d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.Conv1d
    convolve = F.conv1d


@final
class Conv2d(Convolution):
    """:class:`torch.nn.Conv2d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.Conv2d
    convolve = F.conv2d


@final
class Conv3d(Convolution):
    """:class:`torch.nn.Conv3d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.Conv3d
    convolve = F.conv3d


@final
class ConvTranspose1d(TransposedConvolution):
    """:class:`torch.nn.ConvTranspose1d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.ConvTranspose1d
    convolve = F.conv_transpose1d
    pointwise = F.conv1d


@final
class ConvTranspose2d(TransposedConvolution):
    """:class:`torch.nn.ConvTranspose2d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.ConvTranspose2d
    convolve = F.conv_transpose2d
    pointwise = F.conv2d


@final
class ConvTranspose3d(TransposedConvolution):
    """:class:`torch.nn.ConvTranspose3d` with a spectral weight: ``spec=`` beside its own arguments."""

    namesake = nn.ConvTranspose3d
    convolve = F.conv_transpose3d
    pointwise = F.conv3d
