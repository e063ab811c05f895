"""`train` on several machines: which worker this process is, and going on when another one was lost.

Every worker runs the same command with its own TF_CONFIG, --out on a disk all of them see. The first one writes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .options import say

_REJOINED, _MOST = "TFRECON_REJOINED", 100
# What TensorFlow raises where another process does not answer any more.
_LOST = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError")


def worker() -> int | None:
    """The number of this process among the workers that TF_CONFIG names; None where it names no others."""
    try:
        found = json.loads(os.environ.get("TF_CONFIG") or "{}")
        several = len(found.get("cluster", {}).get("worker", ())) > 1
        return int(found["task"]["index"]) if several else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # said in words where the strategy is made


@contextmanager
def rejoining(argv: Sequence[str]) -> Iterator[None]:
    """When another worker was lost, begin this command again with --resume: it waits until all are there."""
    try:
        yield
    except Exception as error:
        if worker() is None or type(error).__name__ not in _LOST:
            raise
        times = int(os.environ.get(_REJOINED, 0))
        if times >= _MOST:
            raise
        say(f"another worker was lost ({str(error).splitlines()[0][:200]}); going on from the last state when it is back")
        sys.stdout.flush()
        os.environ[_REJOINED] = str(times + 1)
        words = [word for word in argv if word not in ("--overwrite", "--resume")]
        os.execv(sys.executable, [sys.executable, "-m", "tfrecon", words[0], "--resume", *words[1:]])
