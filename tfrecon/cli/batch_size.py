"""`train --batch-size auto`: the model's own batch size, or as much less as the memory of this machine or its GPU asks for.

Every size is tried by a dry run in another process: where memory ends, a process may end with it.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ResourceError, UsageError
from .cluster import worker
from .memory import usual_batch
from .options import count, say
from .runs import former_settings

AUTO = "auto"
_TOLD = "out of (device )?memory;|before the memory is full|Cannot allocate memory|start new thread"
# How processes end where memory does: by the system, or because a library was refused some.
_DEATHS = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV) if sys.platform != "win32" else ()


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
    former = former_settings(Path(arguments.out)) if arguments.resume and arguments.batch_size == AUTO else {}
    return former.get("batch_size", arguments.batch_size)


def settled(arguments: argparse.Namespace) -> int | None:
    """The batch size to train with: as it was given, or the one found.

    Raises:
        UsageError: several machines are to share each batch, of which each could find another size.
    """
    if arguments.batch_size != AUTO:
        return arguments.batch_size
    if worker() is not None:
        raise UsageError("--batch-size auto is for one machine; TF_CONFIG names several. Give the size of the batch they share.")
    size = usual_batch(arguments)
    while size > 1:
        say(f"trying a step with batch size {size}")
        if not _is_short_of_memory(arguments.argv, size):
            break
        say("the memory is not enough")
        size //= 2
    return size


def _is_short_of_memory(argv: Sequence[str], size: int) -> bool:
    """Whether the same command, with this size, ends over its first steps. What else may be wrong, the run itself will say."""
    from ..hdf5.tasting import WITHOUT_THE_FOLDER, own_environment

    command, words = f"{WITHOUT_THE_FOLDER}; from tfrecon.cli import entry; entry()", list(argv)
    end = words.index("--") if "--" in words else len(words)
    words[end:end] = ["--batch-size", str(size), "--dry-run"]
    tried = subprocess.run([sys.executable, "-c", command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, env=own_environment(), text=True, errors="replace", check=False)
    last = tried.stderr.strip().rpartition("\n")[2]
    return -tried.returncode in _DEATHS or (tried.returncode == ResourceError.exit_code and re.search(_TOLD, last) is not None)
