"""The blocks of a page as Markdown, the pictures as files in a folder beside it; foreign text stays text."""

import os
import re
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from urllib.parse import quote

from ..errors import UsageError
from ..files import write_whole
from .blocks import Code, KeyValues, Picture, Section, Table, Text
from .html import CONTROL
from .images import picture_bytes

_SPECIAL = re.compile(r"([\\`*\[\]|~])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")

# What would make a line a list, a heading, a quotation or a rule.
_BEGINNING = re.compile(r"^(\d*)([.)](?= |$)|[-+](?= |$)|#|>|-(?=-)|=)")
_NUMBERED = re.compile(r"\d{2,}\.(png|jpeg|webp|gif)")


def escape(text: object) -> str:
    """Any value as one line of Markdown that cannot become markup, a link, a cell's end or HTML."""
    line = " ".join(CONTROL.sub("\ufffd", str(text)).split())
    marked = _SPECIAL.sub(lambda found: "\\" + found[0], line)
    marked = _BEGINNING.sub(r"\1\\\2", marked)
    return marked.replace("&", "&amp;").replace("<", "&lt;")


def table_markdown(block: Table) -> str:
    """A table with its caption before and its notes behind it."""
    rule = [":---", *["---:"] * (len(block.header) - 1)]
    lines = [[escape(cell) for cell in block.header], rule, *([escape(cell) for cell in row] for row in block.rows)]
    if any(len(line) != len(rule) for line in lines):
        raise UsageError(f"table: expected {len(rule)} cells in every row, received {sorted({len(line) for line in lines})}; "
                         "fill missing cells with n/a.")
    text = ["| " + " | ".join(line) + " |" for line in lines]
    notes = ["", *(f"- {escape(note)}" for note in block.notes)] if block.notes else []
    return "\n".join([*([escape(block.caption), ""] if block.caption else []), *text, *notes])


def images_folder(path: str | os.PathLike) -> Path:
    """The folder beside a Markdown file that holds its pictures."""
    path = Path(path)
    return path.with_name(f"{path.stem}_images")


@singledispatch
def _render(block: object, pictures: "_Pictures") -> str:
    raise UsageError(f"block: expected Text, Table, Picture, KeyValues or Code, received {type(block).__name__}; wrap "
                     "the content in one of these.")


class _Pictures:
    """Writes the pictures as they come, numbered, and knows their names."""

    def __init__(self, folder: Path):
        self.folder, self.names = folder, []

    def add(self, image: object) -> str:
        content, kind = picture_bytes(image)
        name = f"{len(self.names) + 1:02d}.{kind}"
        write_whole(self.folder / name, content)
        self.names.append(name)
        return f"{quote(self.folder.name)}/{name}"

    def remove_others(self) -> None:
        """Pictures that a former, longer report left."""
        for old in self.folder.glob("*.*"):
            if _NUMBERED.fullmatch(old.name) and old.name not in self.names:
                old.unlink()


@_render.register
def _(block: Text, pictures: _Pictures) -> str:
    paragraphs = [escape(p) for p in re.split(r"\n\s*\n", block.text) if p.strip()]
    mark, line = ("> ", "\n>\n") if block.warning else ("", "\n\n")
    return line.join(f"{mark}{'**Warning:** ' if block.warning and n == 0 else ''}{p}" for n, p in enumerate(paragraphs))


@_render.register
def _(block: Table, pictures: _Pictures) -> str:
    return table_markdown(block)


@_render.register
def _(block: Picture, pictures: _Pictures) -> str:
    address = pictures.add(block.image)
    return f"![{escape(block.alt or block.caption)}]({address})\n\n{escape(block.caption)}"


@_render.register
def _(block: KeyValues, pictures: _Pictures) -> str:
    return "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in block.values.items())


@_render.register
def _(block: Code, pictures: _Pictures) -> str:
    text = CONTROL.sub("\ufffd", block.text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return "\n".join([*([escape(block.caption), ""] if block.caption else []), fence, text, fence])


def write_markdown(path: str | os.PathLike, title: str, sections: Sequence[Section], subtitle: str = "") -> Path:
    """Write a page as Markdown, its pictures into `images_folder(path)`; arguments as of `write_html`.

    The file appears when all its pictures are there. Numbered pictures of a former page in that folder are removed.
    """
    pictures = _Pictures(images_folder(path))
    parts = [f"# {escape(title)}", *([escape(subtitle)] if subtitle else [])]
    for section in sections:
        parts += [f"## {escape(section.title)}", *(_render(block, pictures) for block in section.blocks)]
    written = write_whole(path, ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8"))
    pictures.remove_others()
    return written
