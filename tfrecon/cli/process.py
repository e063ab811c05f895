"""What a command does to its own process before heavy imports, and the record it leaves of its run."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..files import with_version, write_json
from .options import say

PACKAGES = ("tensorflow", "keras", "numpy", "h5py", "scikit-image", "matplotlib")
# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_NEVER_RETURN = 1 << 30


def prepare() -> None:
    """Keep freed memory in the process and TensorFlow quiet.

    glibc gives every large temporary back to the kernel and faults it in again, which costs the data pipeline up to a
    tenth of its time and, on some machines, a training step much more (benchmarks/README.md). Only commands do this to
    their own process; importing the package changes nothing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its optimiser complains about graphs it then leaves alone
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name must not break a terminal without its letters
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_M_MMAP_THRESHOLD, _NEVER_RETURN), (_M_TRIM_THRESHOLD, _NEVER_RETURN), (_M_ARENA_MAX, 1)):
            mallopt(parameter, value)


def load_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, its start-up chatter on stderr silenced.

    TF_CPP_MIN_LOG_LEVEL does not reach what is logged before its logging is set up. Errors are exceptions, not text.
    """
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # many networks of one class, one after the other, look to it like a mistake
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks built inside have this dtype policy."""
    load_tensorflow()
    import tensorflow as tf

    from ..models.policy import built_under

    if precision != "float32" and not [d for d in tf.config.list_physical_devices() if d.device_type != "CPU"]:
        say(f"warning: {precision} is many times slower than float32 on a processor")
    with built_under(precision):
        yield


def write_record(folder: Any, argv: Sequence[str], **facts: Any) -> Path:
    """Write `run.json`: the command, versions, device, time and the facts given. No identifiers, no file contents."""
    record = {
        "command": ["tfrecon", *argv],
        "tfrecon": version_of("tfrecon"),
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "device": device(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **facts,
    }
    return write_json(Path(folder) / "run.json", with_version(record))


def version_of(package: str) -> str:
    """Installed version of a package, "not installed" if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def device() -> str:
    """The accelerators TensorFlow sees, else the number of processors; without importing TensorFlow for it."""
    tf = sys.modules.get("tensorflow")
    gpus = tf.config.list_physical_devices("GPU") if tf else []
    return ", ".join(g.name for g in gpus) or f"CPU, {os.cpu_count()} cores"
