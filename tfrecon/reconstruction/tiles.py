"""Applies a network to images of any size: padded and cropped back, or tile by tile where memory is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, UsageError

Model = Callable[[np.ndarray], Any]


def apply_padded(model: Model, images: np.ndarray, multiple: int = 4, factor: int = 1) -> np.ndarray:
    """Pad height and width up to a multiple, apply the model, crop back: the output has `factor` times the input's size.

    Args:
        model: callable on float32 (N, H, W, C), returns (N, H, W, any channels).
        images: real (N, H, W, C), any range; what lies outside mirrors what is inside (the edge pixel repeats where an image
            is too small to mirror).
        multiple: what the model's downsampling needs, 4 for two halvings.
        factor: how much larger the model makes images, 4 for super-resolution by four.

    Returns:
        float array (N, factor H, factor W, channels), as the model computes; for no images at all of C channels, without
        asking the model.

    Raises:
        UsageError: not a batch of images, or a multiple below 1. DataError: the model changes the size.
    """
    images = _checked(images, multiple)
    height, width = images.shape[1:3]
    if not len(images):
        return np.zeros((0, factor * height, factor * width, images.shape[-1]), np.float32)
    pads = [((-n) % multiple // 2, (-n) % multiple - (-n) % multiple // 2) for n in (height, width)]
    padded = images
    if any(map(any, pads)):
        small = any(max(pad) >= n for pad, n in zip(pads, (height, width)))
        padded = np.pad(images, [(0, 0), *pads, (0, 0)], mode="edge" if small else "reflect")
    output = np.asarray(model(padded))
    expected = (len(padded), *(factor * n for n in padded.shape[1:3]))
    if output.ndim != 4 or output.shape[:3] != expected:
        raise DataError(f"The model returned {output.shape} for images {padded.shape}; expected {(*expected, 'channels')}.")
    (top, _), (left, _) = ([factor * n for n in pad] for pad in pads)
    return output[:, top : top + factor * height, left : left + factor * width]


def apply_tiled(
    model: Model, images: np.ndarray, multiple: int = 4, tile: int = 512, overlap: int = 32, factor: int = 1
) -> np.ndarray:
    """Apply the model to overlapping tiles and blend them smoothly: memory for one tile, otherwise as `apply_padded`.

    Exact for models that look at one pixel. Others see a tile's edge where the image goes on, which the overlap should
    cover; and instance normalisation takes the mean and variance of the TILE, not of the image, so that flat tiles may come
    out with another contrast than in one piece.

    Args:
        model, images, multiple, factor: see `apply_padded`.
        tile: side of a tile, a multiple of `multiple`; images that fit into one go in one piece.
        overlap: pixels shared by neighbours, below half of the tile.

    Returns:
        As `apply_padded`, float32 where there is more than one tile.
    """
    images = _checked(images, multiple)
    if tile < 1 or tile % multiple or not 0 <= 2 * overlap < tile:
        raise UsageError(f"The tile must be a multiple of {multiple} and the overlap less than half of it, received tile "
                         f"{tile} and overlap {overlap}.")
    height, width = images.shape[1:3]
    if not len(images) or (height <= tile and width <= tile):
        return apply_padded(model, images, multiple, factor)
    height, width, shared = factor * height, factor * width, factor * overlap
    total, weights = None, np.zeros((height, width, 1))
    for rows in _spans(images.shape[1], tile, overlap):
        for columns in _spans(images.shape[2], tile, overlap):
            output = apply_padded(model, np.ascontiguousarray(images[:, rows, columns]), multiple, factor)
            there = tuple(slice(factor * span.start, factor * span.stop) for span in (rows, columns))
            weight = _ramp(there[0], height, shared)[:, None, None] * _ramp(there[1], width, shared)[:, None]
            total = np.zeros((len(images), height, width, output.shape[-1])) if total is None else total
            total[(slice(None), *there)] += weight * output
            weights[there] += weight
    return (total / weights).astype(np.float32)


def _checked(images: Any, multiple: int) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape[1:] or images.dtype.kind not in "fiu":
        raise UsageError(f"Expected real images (N, H, W, C), received {images.dtype} {images.shape}.")
    if isinstance(multiple, bool) or not isinstance(multiple, (int, np.integer)) or multiple < 1:
        raise UsageError(f"The multiple must be a whole number of at least 1, received {multiple!r}.")
    return images.astype(np.float32, copy=False)


def _spans(length: int, tile: int, overlap: int) -> list[slice]:
    """Tiles side by side with at least the overlap, the last one flush with the end."""
    if length <= tile:
        return [slice(0, length)]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    return [slice(start, start + tile) for start in starts]


def _ramp(span: slice, length: int, overlap: int) -> np.ndarray:
    """Weights of a tile along one axis: 1 inside and at the image's edge, a smooth fall over the overlap, never 0."""
    size = span.stop - span.start
    distance = np.minimum(np.arange(size) + 1.0, overlap + 1.0) / (overlap + 1.0)
    smooth = np.sin(0.5 * np.pi * distance) ** 2
    weights = np.ones(size)
    if span.start > 0:
        weights *= smooth
    if span.stop < length:
        weights *= smooth[::-1]
    return weights
