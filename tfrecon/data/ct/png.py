"""PNG images: grey, 8 or 16 bits, one slice a file. They never say what their levels mean."""

from __future__ import annotations

import os
import struct

import numpy as np

from ...errors import DataError, shown
from ..index import file_stamp
from .extras import load, reading
from .volumes import ImageVolume, check_sizes

# Pillow warns above this and refuses above twice as much, because a small file may unpack to it.
_MAX_PIXELS = 2**26
_GREY, _COLOUR = 0, {2: "RGB", 3: "palette", 4: "grey with transparency", 6: "RGB with transparency"}


def index_png(path: str, name: str) -> ImageVolume:
    """One file as a volume of one slice, from its first 26 bytes.

    Images of one folder count as one person: a split that tore neighbouring slices apart would leak.

    Raises:
        DataError: not a plain image, colours in it, or absurdly large.
    """
    width, height, bits, colour = _first_chunk(path)
    where = shown(path)
    check_sizes(where, 1, height, width)
    if height * width > _MAX_PIXELS:
        raise DataError(f"{where}: PNG of {height} x {width}, the limit is {_MAX_PIXELS} pixels; store it as NIfTI")
    if colour not in (_GREY, 2) or bits not in (8, 16) or (colour == 2 and bits != 8):
        kind = "grey" if colour == _GREY else _COLOUR.get(colour, f"colour type {colour}")
        raise DataError(f"{where}: PNG with {bits} bits, {kind}; expected grey with 8 or 16 bits; convert it to grey")
    if colour != _GREY:
        _decode(path, (height, width), bits)  # says if there is colour in it
    return ImageVolume(
        paths=(path,), name=name, format="png", kind="grey", slices=1, height=height, width=width, rescale=((1.0, 0.0),),
        levels=f"{bits} bits", grey_range=(0.0, float(2**bits - 1)),
        person=f"folder {os.path.dirname(os.path.abspath(path))}",
        notes=("PNG names no patient; images of one folder count as one person",), stamps=(file_stamp(path),), source=bits,
    )


def _first_chunk(path: str) -> tuple[int, int, int, int]:
    with reading(path, "PNG header"), open(path, "rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[12:16] != b"IHDR":
        raise DataError(f"{shown(path)}: PNG without its first chunk; the file is damaged, get it again")
    return struct.unpack(">IIBB", head[16:26])


def read_png(volume: ImageVolume) -> np.ndarray:
    """The grey levels, uint8 or uint16 (height, width)."""
    return _decode(volume.paths[0], (volume.height, volume.width), volume.source)


def _decode(path: str, shape: tuple[int, int], bits: int) -> np.ndarray:
    images = load("PIL.Image", "PNG")
    with reading(path, "PNG image"), images.open(path, formats=("PNG",)) as image:
        if getattr(image, "n_frames", 1) != 1:
            raise DataError(f"{shown(path)}: an animated PNG with {image.n_frames} images, expected one; split it")
        values = np.asarray(image)
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise DataError(f"{shown(path)}: PNG with colours in it, expected grey; convert it to grey")
        values = values[..., 0]
    if values.shape != shape:
        raise DataError(f"{shown(path)}: PNG decodes to {values.shape}, its header declares {shape}; get it again")
    return values.astype(np.uint8 if bits == 8 else np.uint16)
