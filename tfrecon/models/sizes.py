"""The sizes a fully convolutional generator takes."""

from __future__ import annotations


def check_sizes(image_shape: tuple, multiple: int, smallest: int) -> None:
    """ValueError unless height and width are None, or multiples of `multiple` and at least `smallest`."""
    if any(n is not None and (n % multiple or n < smallest) for n in image_shape[:2]):
        raise ValueError(
            f"Expected a height and width that are multiples of {multiple} and at least {smallest}, or None, received "
            f"image_shape={image_shape}. Pad the images, or use `tfrecon reconstruct`, which pads and crops back."
        )
