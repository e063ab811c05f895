"""What a page is made of: sections holding text, tables, pictures, key-value lists and code, as plain data."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines. A warning is set apart from the running text."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row. `flags` marks cells by (row, column): "best" or "below"."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    notes: Sequence[str] = ()
    flags: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A figure, PNG bytes, a `data:image/...;base64,` address, or the path of a PNG or JPEG file.

    `alt` says in words what is to be seen; without it the caption is used. A `wide` one keeps its letters readable on a
    narrow screen, where it is scrolled sideways instead of shrunk.
    """

    image: Union["Figure", bytes, str, os.PathLike]
    caption: str
    alt: str = ""
    wide: bool = False


@dataclass(frozen=True)
class KeyValues:
    """Names and values: environment, settings."""

    values: Mapping[str, object]


@dataclass(frozen=True)
class Code:
    """Text kept as typed: a command, a listing."""

    text: str
    caption: str = ""


Block = Text | Table | Picture | KeyValues | Code


@dataclass(frozen=True)
class Section:
    """A heading and what follows it."""

    title: str
    blocks: Sequence[Block]
