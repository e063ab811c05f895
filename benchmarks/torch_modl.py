"""MoDL in plain PyTorch, written from the description of utcsilab/deepinpy@eafebc7, for comparison of speed and memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from step_start import Case
from torch import nn
from torch.nn import functional as F


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float]]]:
    """(the denoiser, the step on k-space, coil maps, mask and the full image: its loss)."""
    model = MoDL()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(kspace: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor, image: torch.Tensor) -> tuple[float]:
        optimizer.zero_grad()
        loss = _squared(model(kspace, maps, mask) - image).sum() / case.batch
        loss.backward()
        optimizer.step()
        return (loss.item(),)

    return [model.denoiser], step


class Block(nn.Module):
    """ReLU, convolution, [ReLU], convolution, plus the input or its 1x1 convolution."""

    def __init__(self, inputs: int, middle: int, outputs: int, last: bool):
        super().__init__()
        self.first = nn.Conv2d(inputs, middle, 7, padding=3, padding_mode="reflect", bias=False)
        self.second = nn.Conv2d(middle, outputs, 7, padding=3, padding_mode="reflect", bias=False)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(F.relu(x))
        return self.second(y if self.last else F.relu(y)) + self.skip(x)


class MoDL(nn.Module):
    """{k-space, maps (N, coils, H, W), mask (N, H, W)} -> (N, H, W), DC at index 0."""

    def __init__(self, features: int = 64, blocks: int = 3, unrolls: int = 4, iterations: int = 10):
        super().__init__()
        widths = [2, *[features] * (blocks - 1), 2]
        self.denoiser = nn.Sequential(*(Block(a, features, b, i == blocks - 1)
                                        for i, (a, b) in enumerate(zip(widths, widths[1:]))))
        self.l2lam = nn.Parameter(torch.tensor(1e-3))
        self.unrolls, self.iterations = unrolls, iterations

    def forward(self, kspace: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        mask = mask[:, None]

        def adjoint(y: torch.Tensor) -> torch.Tensor:
            return (torch.fft.ifft2(y * mask, norm="ortho") * maps.conj()).sum(1)

        def normal(x: torch.Tensor) -> torch.Tensor:
            return adjoint(torch.fft.fft2(maps * x[:, None], norm="ortho")) + self.l2lam * x

        zero_filled = x = adjoint(kspace)
        for _ in range(self.unrolls):
            channels = torch.view_as_real(x).movedim(-1, 1)
            prior = channels + self.denoiser(channels)
            prior = torch.view_as_complex(prior.movedim(1, -1).contiguous())
            x = self._solve(normal, zero_filled + self.l2lam * prior, x)
        return x

    def _solve(self, normal: object, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        residual = b - normal(x)
        direction, squared = residual, _squared(residual)
        for _ in range(self.iterations):
            image = normal(direction)
            alpha = squared / (direction.conj() * image).real.sum((1, 2), keepdim=True)
            x, residual = x + alpha * direction, residual - alpha * image
            new = _squared(residual)
            direction, squared = residual + new / squared * direction, new
        return x


def _squared(x: torch.Tensor) -> torch.Tensor:
    return (x.real**2 + x.imag**2).sum((1, 2), keepdim=True)
