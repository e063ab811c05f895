"""Undersampling masks over the columns of k-space, drawn bit for bit as fastMRI draws them; and one over single points.

Those of columns take `(width, center_fractions, accelerations, seed)`; several fractions with as many accelerations mean that
one pair is drawn. A string as seed is a file name: fastMRI seeds with the tuple of its characters.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError

Seed = int | str | Sequence[int] | None

# fastMRI's pairs of acceleration and centre fraction; other accelerations share the product 0.32.
_CENTER_PRODUCT = 0.32

_own = threading.local()  # the generator of each thread


def default_center_fraction(acceleration: float) -> float:
    """The centre fraction that goes with an acceleration: 0.08 at 4x and 0.04 at 8x, 0.32 / acceleration else."""
    check_acceleration(acceleration)
    return _CENTER_PRODUCT / float(acceleration)


def random_mask(width: int, center_fractions: Any, accelerations: Any, seed: Seed = None) -> np.ndarray:
    """Fully sampled centre, every other column kept with the probability that gives the acceleration on average.

    Args:
        width: number of columns.
        center_fractions: fraction of columns in the centre, one number or a list.
        accelerations: at least 1, one number or as many as fractions.
        seed: int, file name, tuple of ints, or None for fresh entropy.

    Returns:
        bool (width,), True where sampled.

    Raises:
        UsageError: a value is out of range.

    Reference: facebookresearch/fastMRI@a55a1b1 common/subsample.py `MaskFunc`.
    """
    rng, _fraction, acceleration, low = _begin(width, center_fractions, accelerations, seed)
    probability = (width / acceleration - low) / (width - low) if low < width else 1.0
    return _with_center(rng.uniform(size=width) < probability, low)


def equispaced_mask(width: int, center_fractions: Any, accelerations: Any, seed: Seed = None) -> np.ndarray:
    """Fully sampled centre and equidistant columns spaced so that the WHOLE mask has the acceleration.

    Arguments and result as `random_mask`. Reference: facebookresearch/fastMRI@91f2df4 fastmri/data/subsample.py
    `EquispacedMaskFractionFunc`.
    """
    rng, _fraction, acceleration, low = _begin(width, center_fractions, accelerations, seed)
    if acceleration == 1:  # fastMRI's formula leaves the last column out
        return np.ones(width, bool)
    if low * acceleration >= width:  # rounding made the centre alone the whole budget
        return _with_center(np.zeros(width, bool), low)
    spacing = acceleration * (low - width) / (low * acceleration - width)
    offset = rng.randint(0, high=round(spacing))
    columns = np.around(np.arange(offset, width - 1, spacing)).astype(int)
    mask = np.zeros(width, bool)
    mask[columns] = True
    return _with_center(mask, low)


def magic_mask(width: int, center_fractions: Any, accelerations: Any, seed: Seed = None) -> np.ndarray:
    """Fully sampled centre and equidistant columns whose two halves interleave under conjugate symmetry.

    Arguments and result as `random_mask`; the acceleration is a whole number here and holds outside the centre.
    Reference: facebookresearch/fastMRI@91f2df4 fastmri/data/subsample.py `MagicMaskFunc`.
    """
    rng, _fraction, acceleration, low = _begin(width, center_fractions, accelerations, seed)
    if acceleration != int(acceleration):
        raise UsageError(f"A magic mask needs a whole acceleration, received {acceleration}; use mask type random.")
    step = int(acceleration)
    if step == 1:  # fastMRI's formula leaves columns out
        return np.ones(width, bool)
    offset = rng.randint(0, high=step)
    first, second = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive = np.zeros((width + 1) // 2, bool)
    negative = np.zeros(width - (width + 1) // 2, bool)
    positive[first::step] = True
    negative[second::step] = True
    return _with_center(np.fft.fftshift(np.concatenate([positive, negative[::-1]])), low)


def variable_density_mask(
    shape: Sequence[int], acceleration: float, center: int = 16, power: float = 3.0, seed: Seed = None
) -> np.ndarray:
    """Single points of k-space (two phase-encoded axes), denser towards a fully sampled square in the centre.

    Args:
        shape: (H, W).
        acceleration: at least 1: about H W / acceleration points are sampled.
        center: side of the square.
        power: points at a distance r (1 at the middle of an edge) are drawn with a probability of about (1 - r)^power.
        seed: as in `random_mask`.

    Returns:
        bool (H, W), True where sampled.

    Raises:
        UsageError: a value is out of range, or the square alone has more points than the acceleration allows.
    """
    height, width = (int(n) for n in shape)
    wanted = height * width / check_acceleration(acceleration)
    if not 0 < center <= min(height, width) or center**2 > wanted:
        raise UsageError(f"The centre of {center} x {center} does not fit into {height} x {width} at acceleration "
                         f"{acceleration}; take a smaller centre.")
    y, x = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in (height, width))
    density = np.clip(1 - np.hypot(y[:, None], x) / np.sqrt(2), 0, 1) ** power
    square = np.zeros((height, width), bool)
    square[height // 2 - center // 2 :, width // 2 - center // 2 :][:center, :center] = True
    low, high = 0.0, 1e6
    for _ in range(60):  # the factor that gives the acceleration on average
        factor = (low + high) / 2
        expected = np.where(square, 1, np.minimum(factor * density, 1)).sum()
        low, high = (factor, high) if expected < wanted else (low, factor)
    return square | (_generator(seed).uniform(size=(height, width)) < low * density)


MASK_TYPES: dict[str, Callable[..., np.ndarray]] = {
    "random": random_mask,
    "equispaced": equispaced_mask,
    "magic": magic_mask,
}


def create_mask(
    mask_type: str, width: int, center_fractions: Any = None, accelerations: Any = 4, seed: Seed = None
) -> np.ndarray:
    """Draw a mask by the name of its type; `center_fractions=None` takes fastMRI's for each acceleration."""
    if mask_type not in MASK_TYPES:
        raise UsageError(f"The mask type must be one of {', '.join(MASK_TYPES)}; received {mask_type!r}.")
    if center_fractions is None:
        center_fractions = [default_center_fraction(a) for a in _as_list(accelerations)]
    return MASK_TYPES[mask_type](width, center_fractions, accelerations, seed)


def check_acceleration(acceleration: Any) -> float:
    """Return the acceleration as a float, or raise UsageError unless it is a finite number of at least 1."""
    try:
        value = float(acceleration)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(acceleration, str) or not (math.isfinite(value) and value >= 1):
        raise UsageError(f"The acceleration must be a finite number of at least 1, received {acceleration!r}.")
    return value


def check_center_fraction(fraction: Any, acceleration: float) -> float:
    """Return the fraction as a float, or raise UsageError unless 0 < fraction < 1 / acceleration."""
    try:
        value = float(fraction)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(fraction, str) or not 0 < value < 1 / acceleration:
        raise UsageError(
            f"The centre fraction must lie between 0 and 1/acceleration = {1 / acceleration:.4g}, both excluded, "
            f"received {fraction!r}. At 1/acceleration the centre alone uses up every line the acceleration allows."
        )
    return value


def _begin(width: int, center_fractions: Any, accelerations: Any, seed: Seed) -> tuple[Any, float, float, int]:
    """Seed the generator, draw the pair (drawn even when there is one, as fastMRI does), count the centre lines."""
    if isinstance(width, bool) or int(width) != width or width < 1:
        raise UsageError(f"The mask width must be a whole number of at least 1, received {width!r}.")
    fractions, factors = _as_list(center_fractions), _as_list(accelerations)
    if len(fractions) != len(factors) or not factors:
        raise UsageError(
            f"As many centre fractions as accelerations are needed: received {len(fractions)} and {len(factors)}."
        )
    factors = [check_acceleration(a) for a in factors]
    fractions = [check_center_fraction(f, a) for f, a in zip(fractions, factors)]
    rng = _generator(seed)
    choice = rng.randint(0, len(factors))
    low = int(round(width * fractions[choice]))
    return rng, fractions[choice], factors[choice], low


def _generator(seed: Seed) -> np.random.RandomState:
    """This thread's generator, seeded anew: making one takes ten times as long as seeding it."""
    if not hasattr(_own, "generator"):
        _own.generator = np.random.RandomState()
    _own.generator.seed(tuple(map(ord, seed)) if isinstance(seed, str) else seed)
    return _own.generator


def _with_center(mask: np.ndarray, low: int) -> np.ndarray:
    start = (mask.size - low + 1) // 2
    mask[start : start + low] = True
    return mask


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
