"""Matplotlib figures to PNG: as a file, or as a data URI that a page carries inside itself."""

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
