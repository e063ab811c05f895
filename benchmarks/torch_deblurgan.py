"""DeblurGAN for MRI and its training step in plain PyTorch, from the description of RaphaelMeudec/deblur-gan@8b4b15d."""

from __future__ import annotations

from collections.abc import Callable

import torch
from step_start import Case
from torch import nn
from torch.nn import functional as F
from torch_parts import Added, ChannelsLast, Same, vgg


def _norm(filters: int) -> nn.Module:
    return nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)


def _part(inputs: int, filters: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [Same(inputs, filters, size, stride), _norm(filters), nn.ReLU(inplace=True)]


class Generator(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W), 11.4 million parameters."""

    def __init__(self, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), _norm(64), nn.ReLU(inplace=True),
            *_part(64, 128, 3, 2), *_part(128, 256, 3, 2), *(self._block(256, dropout) for _ in range(9)),
            nn.Upsample(scale_factor=2), *_part(256, 128, 3), nn.Upsample(scale_factor=2), *_part(128, 64, 3),
            nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())

    @staticmethod
    def _block(n: int, dropout: float) -> nn.Module:
        return Added(nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3), _norm(n), nn.ReLU(inplace=True), nn.Dropout(dropout),
                     nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3), _norm(n))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self.layers(x) + x)


def _critic(side: int) -> nn.Module:
    layers, channels = [Same(3, 64, 4, 2), nn.LeakyReLU(0.2)], 64
    for filters, stride in ((64, 2), (128, 2), (256, 2), (512, 1)):
        layers += [Same(channels, filters, 4, stride), _norm(filters), nn.LeakyReLU(0.2)]
        channels = filters
    return nn.Sequential(*layers, Same(channels, 1, 4), ChannelsLast(), nn.Linear((side // 16) ** 2, 1024), nn.Tanh(),
                         nn.Linear(1024, 1), nn.Sigmoid())


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float, float]]]:
    """(the networks and the VGG, the step: the losses of generator and critic)."""
    generator, critic = networks = [Generator(case.dropout), _critic(case.side)]
    features = vgg((2, 2, 3))
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 1e-4) for network in networks)

    def critic_step(images: torch.Tensor, label: float) -> float:
        d_adam.zero_grad()
        loss = label * critic(images).mean()
        loss.backward()
        d_adam.step()
        return loss.item()

    def step(image: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
        generator.eval()
        with torch.no_grad():
            generated, wanted = generator(image), features(target)
        generator.train()
        d_loss = sum(0.5 * (critic_step(target, 1.0) + critic_step(generated, -1.0)) for _ in range(5)) / 5.0
        g_adam.zero_grad()
        fake = generator(image)
        critic.requires_grad_(False)
        g_loss = 100.0 * F.mse_loss(features(fake), wanted) + critic(fake).mean()
        g_loss.backward()
        critic.requires_grad_(True)
        g_adam.step()
        return g_loss.item(), d_loss

    return [*networks, features], step
