"""The brushes of the demo phantoms: soft-edged shapes, curves, trees and textures on a pixel grid."""

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


class Scene:
    """One slice being painted: a value per pixel, coordinates in [-1, 1] across the field, soft edges one pixel wide."""

    def __init__(self, shape: tuple[int, int], field: int):
        self.pixel = 2.0 / field
        rows, columns = (((np.arange(n) - n // 2) * self.pixel).astype(np.float32) for n in shape)
        self.y, self.x = np.meshgrid(rows, columns, indexing="ij")
        self.image = np.zeros(shape, np.float32)

    def inside(self, distance: Array, softness: float = 1.0) -> Array:
        """Signed distance (negative inside) -> coverage in [0, 1]; a linear ramp is a box-filtered edge."""
        return np.clip(0.5 - distance / (softness * self.pixel), 0.0, 1.0)

    def paint(self, coverage: Array, value: float | Array) -> None:
        self.image += coverage * (value - self.image)

    def box(self, centre: Sequence[float], reach: float) -> tuple[slice, slice]:
        """The part of the picture within `reach` of `centre`: small shapes must not cost a full frame."""
        window = []
        for middle, n in ((centre[1], self.image.shape[0]), (centre[0], self.image.shape[1])):
            first = int(np.floor((middle - reach) / self.pixel)) + n // 2 - 1
            last = int(np.ceil((middle + reach) / self.pixel)) + n // 2 + 2
            window.append(slice(min(max(first, 0), n), min(max(last, 0), n)))
        return window[0], window[1]

    def spot(self, centre: Sequence[float], radii: Sequence[float], value: float, angle: float = 0.0,
             softness: float = 1.0) -> None:
        """Paint one ellipse."""
        part = self.box(centre, max(radii))
        distance = ellipse(self.x[part], self.y[part], centre, radii, angle)
        self.image[part] += self.inside(distance, softness) * (value - self.image[part])

    def line(self, points: Array, width: float | Array, value: float) -> None:
        """Paint a curve given as points (n, 2); `width` may taper along it."""
        widths = np.broadcast_to(width, len(points)) / 2
        for start, stop, radius in zip(points[:-1], points[1:], widths):
            middle, along = (start + stop) / 2, stop - start
            length = float(np.hypot(*along))
            part = self.box(middle, length / 2 + radius + self.pixel)
            x, y = self.x[part] - start[0], self.y[part] - start[1]
            t = np.clip((x * along[0] + y * along[1]) / max(length**2, 1e-12), 0, 1)
            coverage = self.inside(np.hypot(x - t * along[0], y - t * along[1]) - radius)
            # A line thinner than a pixel keeps its partial coverage instead of vanishing.
            self.image[part] += coverage * min(1.0, 2 * radius / self.pixel) * (value - self.image[part])


def ellipse(x: Array, y: Array, centre: Sequence[float], radii: Sequence[float], angle: float = 0.0,
             wobble: Sequence[float] = ()) -> Array:
    """Approximate signed distance to an ellipse whose radius wobbles with cos/sin of 2, 3, ... times the angle."""
    c, s = np.cos(angle), np.sin(angle)
    u, v = x - centre[0], y - centre[1]
    u, v = (c * u + s * v) / radii[0], (c * v - s * u) / radii[1]
    r = np.hypot(u, v)
    edge = 1.0
    if len(wobble):
        direction = turn = (u + 1j * v) / np.maximum(r, 1e-6)
        for a, b in np.reshape(wobble, (-1, 2)):
            turn = turn * direction
            edge = edge + a * turn.real + b * turn.imag
    return (r - edge) * min(radii)


def smooth_union(*distances: Array, blend: float = 0.05) -> Array:
    """Union of shapes with rounded inner corners (polynomial smooth minimum)."""
    result = distances[0]
    for other in distances[1:]:
        h = np.maximum(blend - np.abs(result - other), 0) / blend
        result = np.minimum(result, other) - h * h * blend / 4
    return result


class Texture:
    """Random fields of one person: band-limited noise that changes smoothly from slice to slice."""

    def __init__(self, shape: tuple[int, int], field: int, rng: np.random.Generator):
        self.shape, self.rng = shape, rng
        fy, fx = np.fft.fftfreq(shape[0]) * field / 2, np.fft.rfftfreq(shape[1]) * field / 2
        self.frequency = np.hypot(fy[:, None], fx[None])

    def __call__(self, wavelength: float, spread: float = 0.25, turn: float = 1.0) -> Callable[[float], Array]:
        """A field of unit deviation with this wavelength (in half fields); call it with the slice position."""
        centre = 1.0 / wavelength
        band = np.exp(-0.5 * ((self.frequency - centre) / (spread * centre)) ** 2)
        pair = []
        for _ in range(2):
            noise = np.fft.irfft2(np.fft.rfft2(self.rng.standard_normal(self.shape)) * band, self.shape)
            pair.append((noise / max(noise.std(), 1e-9)).astype(np.float32))
        return lambda z: np.float32(np.cos(turn * z)) * pair[0] + np.float32(np.sin(turn * z)) * pair[1]


def tree(rng: np.random.Generator, start: Sequence[float], heading: float, length: float, width: float,
          depth: int) -> list[tuple[Array, Array]]:
    """Branching vessels: a list of (points, widths)."""
    steps = 5
    turns = heading + np.cumsum(rng.normal(0, 0.16, steps))
    path = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * length / steps, 0) + start
    points = np.concatenate([[start], path])
    branches = [(points, np.linspace(width, 0.75 * width, steps + 1))]
    if depth:
        for side in (-1, 1):
            turn = turns[-1] + side * rng.uniform(0.35, 0.8)
            branches += tree(rng, points[-1], turn, length * rng.uniform(0.6, 0.85), 0.7 * width, depth - 1)
    return branches
