"""A multi-scale neural spline flow in plain PyTorch, written from the description of bayesiains/nsf@eaa9377, for comparison of
speed: every layer by itself, triangular solves at every call, splines by boolean selection as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from step_start import Case, flow_start
from torch import nn
from torch.nn import functional as F

MINIMUM = 1e-3


def build(case: Case) -> tuple[list[nn.Module], Callable[..., tuple[float]]]:
    """(nothing left to fill, the training step on pictures 0..255: its loss, bits for each value)."""
    flow = Flow((80, 64), 4, 10, 612)
    for layers, (steps, last) in zip(flow.levels, flow_start()):
        for layer, arrays in zip(layers, [*steps, last]):
            _fill(layer, arrays)
    adam, noise = torch.optim.Adam(flow.parameters(), 1.5e-3), case.uniform((case.batch, 80, 64, 1))

    def step(pictures: torch.Tensor) -> tuple[float]:
        values = torch.floor(pictures / 16.0) + torch.from_numpy(next(noise)).movedim(-1, 1)
        adam.zero_grad()
        loss = -flow.log_prob(values).mean() / (math.log(2.0) * pictures[0].numel())
        loss.backward()
        adam.step()
        return (loss.item(),)

    return [], step


@torch.no_grad()
def _fill(layer: Step | Linear, arrays: dict[str, Any]) -> None:
    linear = layer if isinstance(layer, Linear) else layer.linear
    pairs = [(getattr(linear, name), arrays[name]) for name in ("lower", "upper", "diagonal", "bias", "order")]
    if linear is not layer:
        pairs += [(layer.log_scale, arrays["log_scale"]), (layer.shift, arrays["shift"])]
        pairs += [(own, array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
                  for own, array in zip(layer.net.parameters(), arrays["network"], strict=True)]
    for own, array in pairs:
        own.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def spline(x: torch.Tensor, shape: torch.Tensor, bins: int, bound: float, inverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """x (...) inside the bound, shape (..., 3 bins - 1): (y, log slope)."""
    widths, heights, slopes = shape[..., :bins], shape[..., bins : 2 * bins], shape[..., 2 * bins :]
    slopes = F.pad(slopes, (1, 1), value=math.log(math.expm1(1 - MINIMUM)))
    slopes = MINIMUM + F.softplus(slopes)

    def knots(raw: torch.Tensor) -> torch.Tensor:
        shares = MINIMUM + (1 - MINIMUM * bins) * F.softmax(raw, -1)
        ends = F.pad(torch.cumsum(shares, -1), (1, 0)) * 2 * bound - bound
        ends[..., 0], ends[..., -1] = -bound, bound
        return ends

    xs, ys = knots(widths), knots(heights)
    edges = (ys if inverse else xs).clone()
    edges[..., -1] += 1e-6
    index = (torch.sum(x[..., None] >= edges, -1) - 1)[..., None]

    def pick(values: torch.Tensor) -> torch.Tensor:
        return values.gather(-1, index)[..., 0]

    x0, width = pick(xs), pick(xs[..., 1:] - xs[..., :-1])
    y0, height = pick(ys), pick(ys[..., 1:] - ys[..., :-1])
    first, last, mean = pick(slopes), pick(slopes[..., 1:]), height / width
    excess = first + last - 2 * mean
    if inverse:
        above = x - y0
        a, b, c = above * excess + height * (mean - first), height * first - above * excess, -mean * above
        theta = 2 * c / (-b - torch.sqrt(b**2 - 4 * a * c))
        y = theta * width + x0
    else:
        theta = (x - x0) / width
        y = y0 + height * (mean * theta**2 + first * theta * (1 - theta)) / (mean + excess * theta * (1 - theta))
    rest = theta * (1 - theta)
    slope = mean**2 * (last * theta**2 + 2 * mean * rest + first * (1 - theta) ** 2) / (mean + excess * rest) ** 2
    return y, -torch.log(slope) if inverse else torch.log(slope)


class Step(nn.Module):
    """Activation norm, 1x1 LU convolution, coupling."""

    def __init__(self, channels: int, hidden: int, bins: int, bound: float):
        super().__init__()
        self.bent, self.bins, self.bound, self.hidden = (channels + 1) // 2, bins, bound, hidden
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.linear = Linear(channels)
        self.net = nn.Sequential(
            nn.Conv2d(channels - self.bent, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(),
            nn.Conv2d(hidden, self.bent * (3 * bins - 1), 3, padding=1))

    def forward(self, x: torch.Tensor, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        n, _, h, w = x.shape
        scale, shift = torch.exp(self.log_scale)[:, None, None], self.shift[:, None, None]
        log = torch.full((n,), h * w, dtype=x.dtype) * self.log_scale.sum()
        if inverse:
            x, minus = self._couple(x, True)
            x, more = self.linear(x, True)
            return (x - shift) / scale, minus + more - log
        x, more = self.linear(x * scale + shift)
        x, plus = self._couple(x, False)
        return x, plus + more + log

    def _couple(self, x: torch.Tensor, inverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        bent, kept = x[:, : self.bent], x[:, self.bent :]
        n, c, h, w = bent.shape
        shape = self.net(kept).reshape(n, c, 3 * self.bins - 1, h, w).permute(0, 1, 3, 4, 2)
        root = math.sqrt(self.hidden)
        shape = torch.cat([shape[..., : 2 * self.bins] / root, shape[..., 2 * self.bins :]], -1)
        inside = (bent >= -self.bound) & (bent <= self.bound)
        y, log = bent.clone(), torch.zeros_like(bent)
        y[inside], log[inside] = spline(bent[inside], shape[inside], self.bins, self.bound, inverse)
        return torch.cat([y, kept], 1), log.sum((1, 2, 3))


class Linear(nn.Module):
    """L U P at every pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.lower, self.upper = (nn.Parameter(torch.zeros(channels, channels)) for _ in range(2))
        self.diagonal = nn.Parameter(torch.full((channels,), math.log(math.expm1(1 - MINIMUM))))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, x: torch.Tensor, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        n, c, h, w = x.shape
        diagonal = F.softplus(self.diagonal) + MINIMUM
        lower, upper = torch.tril(self.lower, -1) + torch.eye(c), torch.triu(self.upper, 1) + torch.diag(diagonal)
        log = torch.full((n,), h * w, dtype=x.dtype) * torch.log(diagonal).sum()
        rows = x.permute(0, 2, 3, 1).reshape(-1, c)
        if inverse:
            half = torch.linalg.solve_triangular(lower, (rows - self.bias).T, upper=False, unitriangular=True)
            rows = torch.linalg.solve_triangular(upper, half, upper=True).T[:, torch.argsort(self.order)]
        else:
            rows = F.linear(rows[:, self.order], lower @ upper, self.bias)
        return rows.reshape(n, h, w, c).permute(0, 3, 1, 2), -log if inverse else log


class Flow(nn.Module):
    """Images (N, 1, H, W) in 0..2^bits and latents (N, D)."""

    def __init__(self, shape: tuple[int, int], levels: int, steps: int, hidden: int, bins: int = 12, bound: float = 1.0,
                 bits: int = 4):
        super().__init__()
        self.bits, self.sizes, self.levels = bits, [], nn.ModuleList()
        (height, width), channels = shape, 1
        for _ in range(levels):
            height, width, channels = height // 2, width // 2, 4 * channels
            self.sizes.append((channels, height, width))
            layers = [Step(channels, hidden, bins, bound) for _ in range(steps)] + [Linear(channels)]
            self.levels.append(nn.ModuleList(layers))
            channels //= 2

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = x[0].numel()
        x, total, parts = x / 2**self.bits - 0.5, torch.full((len(x),), -self.bits * math.log(2.0) * size), []
        for number, layers in enumerate(self.levels):
            x = F.pixel_unshuffle(x, 2)
            for layer in layers:
                x, log = layer(x)
                total = total + log
            if number < len(self.levels) - 1:
                parts.append(x[:, : x.shape[1] // 2].flatten(1))
                x = x[:, x.shape[1] // 2 :]
        return torch.cat([*parts, x.flatten(1)], 1), total

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size, total, x, end = z.shape[1], 0.0, None, z.shape[1]
        for (channels, height, width), layers in zip(reversed(self.sizes), reversed(self.levels)):
            given = channels if x is None else channels // 2
            start = end - given * height * width
            part = z[:, start:end].reshape(-1, given, height, width)
            x, end = part if x is None else torch.cat([part, x], 1), start
            for layer in reversed(layers):
                x, log = layer(x, True)
                total = total + log
            x = F.pixel_shuffle(x, 2)
        return (x + 0.5) * 2**self.bits, total + self.bits * math.log(2.0) * size

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        z, log = self(x)
        return log - 0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
