"""The U-Net GAN and its training step in plain PyTorch, as seed 001 has them, for comparison of speed and memory.

Written from the description of the original (milesial/Pytorch-UNet@9fd386f with bilinear=True; BCE; Adam). Only the
fake is detached in the discriminator's step: the seed sent a gradient through the generator there and threw it away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from step_start import Case
from torch import nn
from torch.nn import functional as F


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two times convolution 3x3, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """(N, 1, H, W) -> (N, 2, H, W), 13.4 million parameters at width 64."""

    def __init__(self, width: int = 64):
        super().__init__()
        w = width
        self.inc = double_conv(1, w)
        self.down = nn.ModuleList(double_conv(a, b) for a, b in ((w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w)))
        self.up = nn.ModuleList(double_conv(a, b) for a, b in ((16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w), (2 * w, w)))
        self.outc = nn.Conv2d(w, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = [self.inc(x)]
        for stage in self.down:
            skips.append(stage(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for stage in self.up:
            skip = skips.pop()
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, (dx // 2, dx - dx // 2, dy // 2, dy - dy // 2))
            x = stage(torch.cat([skip, x], dim=1))
        return self.outc(x)


class Discriminator(nn.Module):
    """(N, 1, H, W) -> (N,) probability."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1, bias=False),
            nn.Conv2d(64, 1, 4, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(x).amax(dim=(1, 2, 3)))


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float, float]]]:
    """(the networks, the step: the losses of generator and discriminator)."""
    networks = [UNet(), Discriminator()]
    return networks, Step(*networks)


class Step:
    """One D step, then one G step through the same fake with the updated D."""

    def __init__(self, generator: UNet, discriminator: Discriminator, rate: float = 2e-4):
        self.generator, self.discriminator = generator, discriminator
        self.optimizers = [torch.optim.Adam(m.parameters(), lr=rate) for m in (generator, discriminator)]

    def __call__(self, image: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
        channels = self.generator(image)
        fake = torch.sqrt((channels**2).sum(dim=1, keepdim=True))
        d_loss = self._loss(target, True) + self._loss(fake.detach(), False)
        self._apply(self.optimizers[1], d_loss)
        g_loss = self._loss(fake, True)
        self._apply(self.optimizers[0], g_loss)
        return g_loss.item(), d_loss.item()

    def _loss(self, image: torch.Tensor, real: bool) -> torch.Tensor:
        score = self.discriminator(image)
        return F.binary_cross_entropy(score, torch.full_like(score, float(real)))

    @staticmethod
    def _apply(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
