"""SRResCycGAN and its training step in plain PyTorch, from the description of JanPanjan/SRResCycGAN_MRI.

Every network runs once for each image it is asked about, but for the critics, which see each fake a second time, detached.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from step_start import Case
from torch import nn
from torch.nn import functional as F
from torch_parts import Added, ChannelsLast, Same, vgg

_CRITIC = ((1, 4, 2), (2, 3, 1), (2, 4, 2), (4, 3, 1), (4, 4, 2), (8, 3, 1), (8, 4, 2), (8, 3, 1), (8, 4, 2))
_MEAN_BGR = (103.939, 116.779, 123.68)


def _norm(filters: int) -> nn.Module:
    return nn.InstanceNorm2d(filters, eps=1e-3, affine=True)


class Enlarging(nn.Module):
    """G_HR: (N, 3, H, W) -> (N, 3, 4 H, 4 W)."""

    def __init__(self, n: int = 64):
        super().__init__()
        self.encoder = nn.ConvTranspose2d(3, n, 5, stride=4)
        blocks = (Added(*(part for _ in range(2) for part in (nn.PReLU(n), nn.Conv2d(n, n, 3, padding=1, bias=False), _norm(n))))
                  for _ in range(5))
        self.body = nn.Sequential(Same(n, n, 5), *blocks, Same(n, n, 5), Same(n, n, 5))
        self.head = nn.Conv2d(n, 3, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        enlarged = self.encoder(x)[..., :-1, :-1]
        return self.head(enlarged - self.body(enlarged)).clamp(0.0, 255.0)


def reducing(n: int = 64) -> nn.Sequential:
    """G_LR: (N, 3, 4 H, 4 W) -> (N, 3, H, W)."""

    def part(inputs: int, size: int, stride: int = 1) -> list[nn.Module]:
        return [Same(inputs, n, size, stride), _norm(n), nn.LeakyReLU(0.2)]

    blocks = (Added(*part(n, 3), Same(n, n, 3), _norm(n), last=nn.LeakyReLU(0.2)) for _ in range(6))
    return nn.Sequential(*part(3, 7), *part(n, 3, 2), *part(n, 3, 2), *blocks, *part(n, 3), *part(n, 3), Same(n, 3, 7),
                         nn.Hardtanh(0.0, 255.0))


def large_critic(side: int, n: int = 64) -> nn.Sequential:
    """D_HR: (N, 3, side, side) -> (N, 1)."""
    layers, channels, side = [nn.Conv2d(3, n, 3), nn.LeakyReLU(0.3)], n, side - 2
    for multiple, size, stride in _CRITIC:
        layers += [nn.Conv2d(channels, multiple * n, size, stride), _norm(multiple * n), nn.LeakyReLU(0.3)]
        channels, side = multiple * n, (side - size) // stride + 1
    return nn.Sequential(*layers, ChannelsLast(), nn.Linear(side * side * channels, 100), nn.LeakyReLU(0.3), nn.Linear(100, 1))


def small_critic(n: int = 64) -> nn.Sequential:
    """D_LR: (N, 3, H, W) -> (N, 1, H / 4, W / 4)."""
    layers, channels = [], 3
    for multiple, stride in ((1, 2), (2, 2), (4, 1)):
        layers += [Same(channels, multiple * n, 5, stride), _norm(multiple * n), nn.LeakyReLU(0.3)]
        channels = multiple * n
    return nn.Sequential(*layers, Same(channels, 1, 5))


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float, float]]]:
    """(the networks and the VGG, the step: the losses of generators and critics)."""
    g_hr, g_lr, d_hr, d_lr = networks = [Enlarging(), reducing(), large_critic(case.side), small_critic()]
    features = vgg((2, 2, 3))
    optimizers = [torch.optim.Adam(network.parameters(), 1e-4, eps=1e-7) for network in networks]
    mean = torch.tensor(_MEAN_BGR)[:, None, None]

    def step(small: torch.Tensor, large: torch.Tensor) -> tuple[float, float]:
        fake_large, fake_small = g_hr(small), g_lr(large)
        pairs = ((d_hr, large, fake_large), (d_lr, small, fake_small))
        d_loss = sum(0.5 * (_bce(critic(real), 1.0) + _bce(critic(fake.detach()), 0.0)) for critic, real, fake in pairs)
        adversarial = sum(_bce(critic(fake), 1.0) for critic, _, fake in pairs)
        cycles = F.l1_loss(g_lr(fake_large), small) + F.l1_loss(g_hr(fake_small), large)
        with torch.no_grad():
            wanted = features(large.flip(1) - mean)
        perceptual = F.mse_loss(features(fake_large.flip(1) - mean), wanted)
        g_loss = (perceptual + adversarial + _total_variation(large - fake_large) + 5.0 * F.l1_loss(fake_large, large)
                  + 10.0 * cycles)
        generators, critics = [*g_hr.parameters(), *g_lr.parameters()], [*d_hr.parameters(), *d_lr.parameters()]
        for parameters, loss in ((generators, g_loss), (critics, d_loss)):
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        return g_loss.item(), d_loss.item()

    return [*networks, features], step


def _bce(logits: torch.Tensor, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _total_variation(error: torch.Tensor) -> torch.Tensor:
    down, right = error.diff(dim=2), error.diff(dim=3)
    return (down.abs().sum() + right.abs().sum()) / error.numel()
