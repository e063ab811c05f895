"""Pictures of a report: Matplotlib figures to PNG, and whatever form a picture comes in to the bytes a page can carry."""

import base64
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from ..files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DATA_URI = re.compile(r"data:image/(png|jpeg|webp|gif);base64,([A-Za-z0-9+/]+={0,2})")  # no SVG: it can carry scripts
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def figure_to_png(figure: "Figure", dpi: int = 110) -> bytes:
    """PNG bytes; without the version stamp, so that equal figures make equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def save_figure(figure: "Figure", path: str | os.PathLike, dpi: int = 110) -> Path:
    """Write the figure as PNG, whole or not at all; the folder must exist."""
    return write_whole(path, figure_to_png(figure, dpi))


def png_to_data_uri(png: bytes) -> str:
    """PNG bytes as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def figure_to_data_uri(figure: "Figure", dpi: int = 110) -> str:
    """The figure as a `data:` address holding the PNG in base64."""
    return png_to_data_uri(figure_to_png(figure, dpi))


def picture_bytes(image: object) -> tuple[bytes, str]:
    """(content, kind) of a picture in any form `blocks.Picture` takes; kind is png, jpeg, webp or gif.

    Raises:
        UsageError: no such form. DataError: the file or the bytes hold no picture.
    """
    if hasattr(image, "savefig"):
        return figure_to_png(image), "png"
    if isinstance(image, bytes):
        return image, _kind(image, "picture")
    if isinstance(image, str) and image.startswith("data:"):
        found = DATA_URI.fullmatch(image)
        if not found:
            raise UsageError(f"picture: expected data:image/png;base64,... received {image[:40]!r}; pass the figure or "
                             "the PNG bytes.")
        return base64.b64decode(found[2] + "=" * (-len(found[2]) % 4)), found[1]
    if not isinstance(image, (str, os.PathLike)):
        raise UsageError(f"picture: expected a figure, PNG bytes, a data address or a path, received "
                         f"{type(image).__name__}; pass one of these.")
    try:
        content = Path(image).read_bytes()
    except OSError as error:
        raise DataError(f"{image}: expected a picture file, received {error}; check the path.") from error
    return content, _kind(content, str(image))


def _kind(content: bytes, name: str) -> str:
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature):
            return kind
    raise DataError(f"{name}: expected a PNG or JPEG picture, received bytes starting with {content[:8]!r}; save the "
                    "picture as PNG.")
