"""Memory as the commands watch it: the system would end a process without a word, and a device says it in 200 lines."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..errors import ResourceError

# Bytes that must stay free, and seconds between two looks: what a process takes at once is seldom more.
RESERVE, _EVERY = 2**28, 0.2


@contextmanager
def watched(argv: Sequence[str]) -> Iterator[None]:
    """End this process with one line when the memory is nearly used up. What was written stays: a state, whole results.

    A thread, because a step or a volume that is too large does not come back to ask; for programs alone, never for a notebook.
    """
    over = threading.Event()
    errors = os.dup(2)  # while TensorFlow is loaded, what is said there is thrown away
    threading.Thread(target=_watch, args=(over, errors, " ".join(argv[:1])), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(over: threading.Event, errors: int, command: str) -> None:
    from ..machine import free_memory

    first = free_memory(swap=True)
    reserve = RESERVE if first is None else min(RESERVE, first // 4)  # some machines never have so much
    while not over.wait(_EVERY):
        left = free_memory(swap=True)
        if left is not None and left < reserve:
            with suppress(Exception):
                sys.stdout.flush()
            os.write(errors, f"tfrecon {command}: stopped before the memory is full: {left / 2**20:.0f} MiB are left. Close "
                             "other programs, or take a smaller --batch-size or --crop; --resume goes on with a run\n".encode())
            os._exit(ResourceError.exit_code)


def advice(arguments: argparse.Namespace) -> str:
    """What to try where the memory of the machine or the device was not enough."""
    training = arguments.command == "train"
    size = getattr(arguments, "batch_size", None) or (usual_batch(arguments) if training else None)
    if not isinstance(size, int):
        return "take a smaller --batch-size or --crop"
    ways = [f"--batch-size {max(1, size // 4)} instead of {size}"] if size > 1 else []
    if training:
        ways += ["--batch-size auto"] * (size > 1) + ["--precision mixed_float16"] * (arguments.precision == "float32")
    return f"take {', '.join(ways)}{' or ' if ways else ''}a smaller --crop"


def usual_batch(arguments: argparse.Namespace) -> int:
    """The batch size of a training command that was given none."""
    from ..zoo import record_of

    record = record_of(arguments.model)
    return record.batch_sizes.get(arguments.preset, record.batch_size)
