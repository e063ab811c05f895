"""The CT DeblurGAN and its training step in plain PyTorch, from the description of KupynOrest/DeblurGAN@00f6ab1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from step_start import Case
from torch import nn
from torch.nn import functional as F
from torch_parts import Added, vgg


def _part(convolution: nn.Module, filters: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(filters), nn.ReLU(inplace=True)]


class Generator(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W)."""

    def __init__(self, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), *_part(nn.Conv2d(3, 64, 7), 64), *_part(nn.Conv2d(64, 128, 3, 2, 1), 128),
            *_part(nn.Conv2d(128, 256, 3, 2, 1), 256), *(self._block(256, dropout) for _ in range(9)),
            *_part(nn.ConvTranspose2d(256, 128, 3, 2, 1, 1), 128), *_part(nn.ConvTranspose2d(128, 64, 3, 2, 1, 1), 64),
            nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())

    @staticmethod
    def _block(n: int, dropout: float) -> nn.Module:
        return Added(nn.ReflectionPad2d(1), *_part(nn.Conv2d(n, n, 3), n), nn.Dropout(dropout),
                     nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3), nn.InstanceNorm2d(n))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.layers(x)).clamp(-1.0, 1.0)


def _critic() -> nn.Module:
    layers, channels = [nn.Conv2d(3, 64, 4, 2, 2), nn.LeakyReLU(0.2)], 64
    for filters, stride in ((128, 2), (256, 2), (512, 1)):
        layers += [nn.Conv2d(channels, filters, 4, stride, 2), nn.InstanceNorm2d(filters), nn.LeakyReLU(0.2)]
        channels = filters
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 2))


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float, float]]]:
    """(the networks and the VGG, the step: the losses of generator and critic)."""
    generator, critic = networks = [Generator(case.dropout), _critic()]
    features, share = vgg((2, 2, 3), last_activation=False), case.uniform(())
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 1e-4, (0.5, 0.999)) for network in networks)

    def penalty(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        alpha = float(next(share))
        between = (alpha * real + (1.0 - alpha) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return 10.0 * ((gradient.norm(2, dim=1) - 1.0) ** 2).mean()

    def critic_step(real: torch.Tensor, fake: torch.Tensor) -> float:
        d_adam.zero_grad()
        loss = critic(fake).mean() - critic(real).mean() + penalty(real, fake)
        loss.backward()
        d_adam.step()
        return loss.item()

    def step(image: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
        fake = generator(image)
        d_loss = sum(critic_step(target, fake.detach()) for _ in range(5)) / 5.0
        with torch.no_grad():
            wanted = features(target)
        g_adam.zero_grad()
        critic.requires_grad_(False)
        g_loss = 100.0 * F.mse_loss(features(fake), wanted) - critic(fake).mean()
        g_loss.backward()
        critic.requires_grad_(True)
        g_adam.step()
        return g_loss.item(), d_loss

    return [*networks, features], step
