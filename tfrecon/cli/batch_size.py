"""`train --batch-size auto`: the model's own batch size, or as much less as the memory of this machine or its GPU asks for.

Every size is tried by a dry run in another process: where memory ends, a process may end with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cluster import worker
from .memory import usual_batch
from .options import count, say
from .runs import former_settings

AUTO = "auto"
_UNUSABLE = 5


def batch_size(text: str) -> int | str:
    """A number, or `AUTO`."""
    if text == AUTO:
        return AUTO
    try:
        return count(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {AUTO}") from error


def kept(arguments: argparse.Namespace) -> Any:
    """The batch size as it was given, or for "auto" the one with which the run began that is to go on."""
    former = former_settings(Path(arguments.out)).get("batch_size") if arguments.resume else None
    return arguments.batch_size if arguments.batch_size != AUTO or former is None else former


def settled(arguments: argparse.Namespace) -> int | None:
    """The batch size to train with: as it was given, or the one found.

    Raises:
        UsageError: several machines are to share each batch, of which each could find another size.
    """
    from ..errors import UsageError

    if arguments.batch_size != AUTO:
        return arguments.batch_size
    if worker() is not None:
        raise UsageError("--batch-size auto is for one machine; TF_CONFIG names several. Give the size of the batch they share.")
    size = usual_batch(arguments)
    while size > 1 and not _fits(arguments.argv, size):
        say(f"batch size {size}: the memory is not enough")
        size //= 2
    say(f"batch size {size}")
    return size


def _fits(argv: Sequence[str], size: int) -> bool:
    """Whether the same command takes its first steps with this size. What else may be wrong, the run itself will say."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    words[end:end] = ["--batch-size", str(size), "--dry-run"]
    tried = subprocess.run([sys.executable, "-m", "tfrecon", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    last = tried.stderr.strip().rpartition("\n")[2]
    return tried.returncode >= 0 and not (tried.returncode == _UNUSABLE and "memory" in last)
