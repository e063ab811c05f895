"""Motion blur along a random path: the path, the kernel it leaves on a canvas, and the blur of images with it.

The generator is KupynOrest/DeblurGAN@2499a87 `motion_blur/` draw by draw: the same seed gives the same path and kernel.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from .fourier import is_tensor

CANVAS = 64
MAX_LENGTH = 60
ITERATIONS = 2000
_LARGEST_PRIME = 5  # FFT lengths made of 2, 3 and 5 only are fast everywhere


def random_state(seed: Any = None) -> np.random.RandomState:
    """NumPy's legacy generator, which the original draws from.

    Args:
        seed: whole number, sequence of them, a string (its characters, as in `masks`), None for fresh entropy, or a
            `RandomState` to go on with.
    """
    if isinstance(seed, np.random.RandomState):
        return seed
    return np.random.RandomState(tuple(map(ord, seed)) if isinstance(seed, str) else seed)


def trajectory(
    seed: Any = None,
    canvas: int = CANVAS,
    max_length: float = MAX_LENGTH,
    exposure: float | None = None,
    iterations: int = ITERATIONS,
) -> np.ndarray:
    """A random path with inertia, pull towards its start and rare impulsive shakes.

    Args:
        seed: see `random_state`.
        canvas: side of the square the path is placed in, pixels.
        max_length: length of the path in pixels.
        exposure: the original's `expl`: how nervous the path is; 0 gives a straight line, None draws 0.1 * U(0, 1).
        iterations: points of the path, at least 2.

    Returns:
        complex128 (iterations,), x + iy in pixels. A path longer than the canvas may leave it.

    Raises:
        UsageError: an argument is out of range.

    Reference: KupynOrest/DeblurGAN@2499a87 motion_blur/generate_trajectory.py `Trajectory.fit`.
    """
    _check_path(canvas, max_length, exposure, iterations)
    rng = random_state(seed)
    exposure = 0.1 * rng.uniform() if exposure is None else float(exposure)
    return _placed(_walk(rng, exposure, max_length / (iterations - 1), iterations), canvas)


def _walk(rng: np.random.RandomState, exposure: float, step: float, iterations: int) -> np.ndarray:
    """The path from the origin, in the original's order of draws; plain floats, as NumPy's scalars take thrice as long."""
    uniform, normal = rng.random_sample, rng.randn
    pull, shake, noise, angle = 0.7 * uniform(), 0.2 * uniform(), 10 * uniform(), math.radians(360 * uniform())
    velocity = cmath.rect(1, angle) * (exposure if exposure > 0 else step)
    points, here = [0j], 0j
    for _ in range(iterations - 1):
        impulse = 0j
        if uniform() < shake * exposure:
            impulse = 2 * velocity * cmath.exp(1j * (math.pi + uniform() - 0.5))
        velocity += impulse + exposure * (noise * complex(normal(), normal()) - pull * here) * step
        velocity = velocity / abs(velocity) * step
        here += velocity
        points.append(here)
    return np.array(points)


def _placed(path: np.ndarray, canvas: int) -> np.ndarray:
    """Moved into the canvas as the original does: its box in the middle, the start on whole pixels."""
    path = path - complex(path.real.min(), path.imag.min())
    path = path - complex(path[0].real % 1, path[0].imag % 1) + complex(1, 1)
    return path + complex(math.ceil((canvas - path.real.max()) / 2), math.ceil((canvas - path.imag.max()) / 2))


def path_kernels(path: np.ndarray, canvas: int = CANVAS, fractions: Sequence[float] = (0.01, 0.1, 0.5, 1)) -> np.ndarray:
    """What a path leaves on the canvas during growing fractions of its time.

    Args:
        path: complex (iterations,) from `trajectory`.
        canvas: side in pixels.
        fractions: ascending, in (0, 1].

    Returns:
        float64 (fractions, canvas, canvas), not negative; rows are the imaginary part. Kernel j sums to fractions[j], the
        last of a whole path to 1 - 1 / iterations, less what lies outside of pixel 1.

    Departures: where a path leaves the canvas the original stops with an index error; here it stays at the edge.

    Reference: KupynOrest/DeblurGAN@2499a87 motion_blur/generate_PSF.py `PSF.fit`.
    """
    if list(fractions) != sorted(set(fractions)) or not fractions or not 0 < fractions[0] <= fractions[-1] <= 1:
        raise UsageError(f"The fractions must ascend within (0, 1], received {tuple(fractions)}.")
    if max(path.real.max(), path.imag.max()) >= canvas - 1:
        path = np.clip(path.real, 1, canvas - 1) + 1j * np.clip(path.imag, 1, canvas - 1)
    kernel, kernels = np.zeros((canvas, canvas)), []
    for before, until in zip([0, *fractions], fractions):  # one accumulator, never cleared
        _deposit(kernel, path, _time_weights(len(path), before, until))
        kernels.append(kernel / len(path))
    return np.stack(kernels)


def _time_weights(count: int, before: float, until: float) -> np.ndarray:
    """The share of each point's time that lies between two fractions, case by case in the original's order."""
    t, low, high = np.arange(count), before * count, until * count
    return np.select(
        [
            (high >= t) & (low < t - 1),
            (high >= t - 1) & (low < t - 1),
            (high >= t) & (low < t),
            (high >= t - 1) & (low < t),
        ],
        [1.0, high - (t - 1), t - low, (until - before) * count],
        0.0,
    )


def _deposit(kernel: np.ndarray, path: np.ndarray, weights: np.ndarray) -> None:
    """Add the points to the four pixels around each, with tent weights."""
    path, weights = path[weights != 0], weights[weights != 0]
    last = kernel.shape[0] - 1
    column, row = (np.clip(np.floor(x), 1, last).astype(int) for x in (path.real, path.imag))
    for i in (row, row + 1):
        for j in (column, column + 1):
            tent = np.maximum(0, 1 - np.abs(path.real - j)) * np.maximum(0, 1 - np.abs(path.imag - i))
            np.add.at(kernel, (np.minimum(i, last), np.minimum(j, last)), weights * tent)


def motion_kernel(
    seed: Any = None,
    canvas: int = CANVAS,
    max_length: float = MAX_LENGTH,
    exposure: float | None = None,
    fraction: float = 1.0,
) -> np.ndarray:
    """One blur kernel that keeps grey levels: float32 (canvas, canvas), not negative, sum 1.

    Args:
        seed, canvas, max_length, exposure: see `trajectory`. fraction: the share of the path's time that is seen.
    """
    kernel = path_kernels(trajectory(seed, canvas, max_length, exposure), canvas, (fraction,))[0]
    return normalized(kernel).astype(np.float32)


def normalized(kernel: np.ndarray) -> np.ndarray:
    """The kernel divided by its sum."""
    total = float(kernel.sum())
    if not total > 0:
        raise DataError(f"A blur kernel needs a positive sum, received {total:.3g}; the path lies outside of its canvas.")
    return kernel / total


def centred(kernel: np.ndarray) -> np.ndarray:
    """The kernel moved by whole pixels until its centre of mass lies in the middle, or what it covers meets the border.

    The middle is where a kernel of one pixel leaves an image where it is.
    """
    total = kernel.sum()
    for axis, size in enumerate(kernel.shape):
        profile = kernel.sum(axis=1 - axis)
        covered = np.flatnonzero(profile)
        if not covered.size:
            return kernel
        wanted = (size - 1) // 2 - round(float(profile @ np.arange(size)) / float(total))
        kernel = np.roll(kernel, int(np.clip(wanted, -covered[0], size - 1 - covered[-1])), axis=axis)
    return kernel


def blur(images: Any, kernel: Any, stretch: bool = False) -> Any:
    """Convolve images with a kernel: output of the input's size, zeros outside ("same" of SciPy's fftconvolve).

    Args:
        images: real (H, W) or (N, H, W, C), array or tensor, any range. Tensors need a known rank; sizes may be unknown.
        kernel: real (h, w), or (N, h, w) for one kernel per image; of a known size, and as given: `motion_kernel`'s sum 1
            keeps grey levels, the scale does not matter with `stretch`.
        stretch: the original's way: each image to [0, 1] by its smallest and largest value over all channels before the
            blur, and again after it, which changes the contrast.

    Returns:
        As the images: shape and kind; float64 stays, everything else becomes float32. With `stretch` in [0, 1].

    The original pads the kernel to the image's size first; that moves nothing, so it is left out. NumPy computes in
    float64, TensorFlow in the images' precision, in any graph and under XLA.

    Reference: KupynOrest/DeblurGAN@2499a87 motion_blur/blur_image.py `BlurImage.blur_image` (channels in the order given).
    """
    rank = len(images.shape)
    if rank not in (2, 4) or len(kernel.shape) not in ((2,) if rank == 2 else (2, 3)):
        raise UsageError(f"Expected images (H, W) or (N, H, W, C) and a kernel (h, w) or one per image (N, h, w), received "
                         f"{tuple(images.shape)} and {tuple(kernel.shape)}.")
    if is_tensor(images):
        return _blur_tensor(images, kernel, stretch)
    return _blur_array(np.asarray(images), np.asarray(kernel), stretch)


def _blur_array(images: np.ndarray, kernel: np.ndarray, stretch: bool) -> np.ndarray:
    dtype = np.float64 if images.dtype == np.float64 else np.float32
    x = images.astype(np.float64)
    x = _stretched_array(x) if stretch else x
    planes = x if x.ndim == 2 else np.moveaxis(x, -1, 1)
    kernel = kernel.astype(np.float64)
    kernel = kernel[:, None] if kernel.ndim == 3 else kernel
    sizes = [fast_length(n + k - 1) for n, k in zip(planes.shape[-2:], kernel.shape[-2:])]
    full = np.fft.irfft2(np.fft.rfft2(planes, s=sizes) * np.fft.rfft2(kernel, s=sizes), s=sizes)
    top, left = ((k - 1) // 2 for k in kernel.shape[-2:])
    same = full[..., top : top + planes.shape[-2], left : left + planes.shape[-1]]
    same = same if x.ndim == 2 else np.moveaxis(same, 1, -1)
    return (np.abs(_stretched_array(same)) if stretch else same).astype(dtype)


def _stretched_array(x: np.ndarray) -> np.ndarray:
    axes = (0, 1) if x.ndim == 2 else (1, 2, 3)
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1)


def _blur_tensor(images: Any, kernel: Any, stretch: bool) -> Any:
    import tensorflow as tf

    x = images if images.dtype in (tf.float32, tf.float64) else tf.cast(images, tf.float32)
    x = _stretched_tensor(x) if stretch else x
    flat = x.shape.rank == 2
    planes = x if flat else tf.transpose(x, (0, 3, 1, 2))
    kernel = tf.cast(kernel, x.dtype)
    kernel = kernel[:, None] if kernel.shape.rank == 3 else kernel
    height, width = _sizes(planes, tf)
    lengths = [fast_length(n + k - 1) if isinstance(n, int) else n + k - 1
               for n, k in zip((height, width), kernel.shape[-2:])]
    full = tf.signal.irfft2d(tf.signal.rfft2d(planes, lengths) * tf.signal.rfft2d(kernel, lengths), lengths)
    top, left = ((k - 1) // 2 for k in kernel.shape[-2:])
    same = full[..., top : top + height, left : left + width]
    same = tf.ensure_shape(same if flat else tf.transpose(same, (0, 2, 3, 1)), x.shape)
    return tf.abs(_stretched_tensor(same)) if stretch else same


def _sizes(planes: Any, tf: Any) -> list:
    """Height and width as numbers where they are known, so that FFT lengths can be chosen and shapes stay static."""
    dynamic = tf.shape(planes)
    return [dynamic[axis] if planes.shape[axis] is None else planes.shape[axis] for axis in (-2, -1)]


def _stretched_tensor(x: Any) -> Any:
    import tensorflow as tf

    axes = (0, 1) if x.shape.rank == 2 else (1, 2, 3)
    low, high = tf.reduce_min(x, axes, keepdims=True), tf.reduce_max(x, axes, keepdims=True)
    return (x - low) / tf.where(high > low, high - low, tf.ones_like(high))


def fast_length(least: int) -> int:
    """The smallest number from `least` on with no prime factor above 5."""
    length = least
    while True:
        rest = length
        for prime in range(2, _LARGEST_PRIME + 1):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _check_path(canvas: int, max_length: float, exposure: float | None, iterations: int) -> None:
    if not (int(canvas) == canvas and canvas >= 3 and int(iterations) == iterations and iterations >= 2):
        raise UsageError("The canvas must be a whole number of at least 3 and the iterations of at least 2, received "
                         f"{canvas!r} and {iterations!r}.")
    if not (math.isfinite(max_length) and max_length > 0):
        raise UsageError(f"The path's length must be a positive number of pixels, received {max_length!r}.")
    if exposure is not None and not (math.isfinite(exposure) and exposure >= 0):
        raise UsageError(f"The exposure must be a number of at least 0, or None to draw it, received {exposure!r}.")
