"""One HTML file that needs nothing else: style inside, pictures inside, every text escaped, no script, no address.

A content security policy in the page forbids browsers to load anything from elsewhere, should a text ever slip through.
"""

import base64
import html
import os
import re
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from ..errors import UsageError
from ..files import write_whole
from .blocks import Code, KeyValues, Picture, Section, Table, Text
from .images import picture_bytes
from .style import STYLE

CONTENTS_FROM = 5  # a table of contents is shown from this many sections on
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # not allowed in HTML or not encodable


def escape(text: object) -> str:
    """Any value as text that cannot become markup."""
    return html.escape(CONTROL.sub("\ufffd", str(text)), quote=True)


def _source(image: object) -> str:
    """The data URI of a picture, whatever form it came in."""
    content, kind = picture_bytes(image)
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


@singledispatch
def render(block: object) -> str:
    """One block as HTML."""
    raise UsageError(f"block: expected Text, Table, Picture, KeyValues or Code, received {type(block).__name__}; wrap "
                     "the content in one of these.")


@render.register
def _(block: Text) -> str:
    paragraphs = [p for p in re.split(r"\n\s*\n", block.text) if p.strip()]
    body = "\n".join(f"<p>{escape(p.strip())}</p>" for p in paragraphs)
    return f'<div class="warning" role="note">{body}</div>' if block.warning else body


@render.register
def render_table(block: Table) -> str:
    """A table with caption and notes; rows shorter than the header are an error of the caller."""
    for row in block.rows:
        if len(row) != len(block.header):
            raise UsageError(f"table: expected {len(block.header)} cells per row, received {len(row)} in {list(row)!r}; "
                             "fill missing cells with n/a.")
    # A caption inside would be as wide as the table, which may have to be scrolled.
    caption = f'<p class="caption">{escape(block.caption)}</p>' if block.caption else ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in block.header)
    body = []
    for n, (name, *cells) in enumerate(block.rows):
        flags = [block.flags.get((n, k), "") for k in range(1, len(cells) + 1)]
        marked = (f' class="{escape(flag)}"' if flag else "" for flag in flags)
        line = "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(cells, marked))
        body.append(f'<tr><th scope="row">{escape(name)}</th>{line}</tr>')
    notes = "".join(f"<li>{escape(note)}</li>" for note in block.notes)
    notes = f'<ul class="notes">{notes}</ul>' if notes else ""
    rows = "\n".join(body)
    label = f' aria-label="{escape(block.caption)}"' if block.caption else ""
    table = f"<table{label}><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'{caption}<div class="scroll">{table}</div>{notes}'


@render.register
def _(block: Picture) -> str:
    alt = escape(block.alt or block.caption)
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    picture = f'<img src="{_source(block.image)}" alt="{alt}">'
    if block.wide:
        picture = f'<div class="scroll wide">{picture}</div>'
    return f"<figure>{picture}{caption}</figure>"


@render.register
def _(block: KeyValues) -> str:
    items = "\n".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in block.values.items())
    return f"<dl>{items}</dl>"


@render.register
def _(block: Code) -> str:
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    return f'<figure class="code">{caption}<pre><code>{escape(block.text)}</code></pre></figure>'


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < CONTENTS_FROM:
        return ""
    items = "".join(f'<li><a href="#section-{n}">{escape(s.title)}</a></li>' for n, s in enumerate(sections, start=1))
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _section(number: int, section: Section) -> str:
    blocks = "\n".join(render(block) for block in section.blocks)
    return f'<section id="section-{number}"><h2>{escape(section.title)}</h2>\n{blocks}\n</section>'


def page(title: str, sections: Sequence[Section], subtitle: str = "") -> str:
    """The whole page as a string."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    under = f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""
    body = "\n".join(_section(n, section) for n, section in enumerate(sections, start=1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{under}</header>
{_contents(sections)}
<main>
{body}
</main>
</body>
</html>
"""


def write_html(path: str | os.PathLike, title: str, sections: Sequence[Section], subtitle: str = "") -> Path:
    """Write a self-contained page, whole or not at all; the folder must exist.

    Args:
        path: the file to write; an existing one is replaced only when the new one is complete.
        title: heading and name of the page.
        sections: `Section`s of `Text`, `Table`, `Picture`, `KeyValues` and `Code` blocks.
        subtitle: one line under the title (date, author, data set).
    """
    return write_whole(path, page(title, sections, subtitle).encode("utf-8"))
