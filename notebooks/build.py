"""Make the notebooks of the percent scripts beside this file, stripped of outputs.

    python notebooks/build.py

`# %%` begins a cell of code, `# %% [markdown]` one of text. `pass  # %pip ...` becomes the magic, which is no Python.
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent
_MAGIC = "pass  # %"


def cells(text: str) -> list[dict]:
    """The cells of a percent script, as a notebook has them."""
    found = []
    for number, block in enumerate(("\n" + text).split("\n# %%")[1:]):
        head, _, body = block.partition("\n")
        lines, markdown = body.strip("\n").split("\n"), head.strip() == "[markdown]"
        if markdown:
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        else:
            lines = [line.replace(_MAGIC, "%") for line in lines]
        cell = {"cell_type": "markdown" if markdown else "code", "id": f"cell-{number}", "metadata": {}}
        source = [line + "\n" for line in lines[:-1]] + lines[-1:]
        found.append({**cell, **({} if markdown else {"execution_count": None, "outputs": []}), "source": source})
    return found


def notebook(text: str) -> str:
    """The notebook of a percent script, as JSON."""
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
              "language_info": {"name": "python"}}
    return json.dumps({"cells": cells(text), "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def sources() -> list[Path]:
    """The percent scripts."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


if __name__ == "__main__":
    for source in sources():
        source.with_suffix(".ipynb").write_text(notebook(source.read_text()))
        print(source.with_suffix(".ipynb").name)
