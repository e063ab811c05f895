"""What the PyTorch forms of the training steps share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class Same(nn.Conv2d):
    """A convolution padded with zeros as TensorFlow's "same" is: what is odd goes below and to the right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]))
        return super().forward(F.pad(x, pads))


class Added(nn.Module):
    """Layers, then their input added, then perhaps a rectifier."""

    def __init__(self, *layers: nn.Module, last: nn.Module | None = None):
        super().__init__()
        self.layers, self.last = nn.Sequential(*layers), last or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(x) + x)


class ChannelsLast(nn.Module):
    """Flattened in the order of channels-last images, so that dense layers behind it have Keras' weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def vgg(counts: Sequence[int], last_activation: bool = True) -> nn.Sequential:
    """The VGG's blocks of so many convolutions, frozen."""
    layers: list[nn.Module] = []
    channels = 3
    for block, count in enumerate(counts):
        layers += [nn.MaxPool2d(2)] if block else []
        for _ in range(count):
            layers += [nn.Conv2d(channels, 64 * 2**block, 3, padding=1), nn.ReLU(inplace=True)]
            channels = 64 * 2**block
    return nn.Sequential(*(layers if last_activation else layers[:-1])).requires_grad_(False)
