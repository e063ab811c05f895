"""HDF5 files are first given to another process, the taster: the library crashes over some that are damaged or hostile.

One taster serves a process for as long as it lives, and knows what it has tasted by size, time and place on the disk. Reading a
file's structure twice takes milliseconds, starting the taster a fraction of a second.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import DataError, shown

_HERE = Path(__file__).resolve().parent
# Without the folder a user happens to be in, which Python would look for modules in first.
COMMAND = [sys.executable, "-c",
           "import sys; sys.path = [p for p in sys.path if p]; from tfrecon.hdf5.taster import main; main()"]


class Taster:
    """The other process, and which files it survived."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._survived: dict[tuple[int, ...], bool] = {}
        self._lock = threading.Lock()

    def check(self, path: str) -> None:
        """DataError if the library breaks down over the file; nothing where there is no Python to start another process of."""
        if not sys.executable or getattr(sys, "frozen", False):
            return
        status = os.stat(path)
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if known not in self._survived:
                self._survived[known] = self._survives(path)
        if not self._survived[known]:
            raise DataError(f"{shown(path)}: HDF5 itself breaks down over it; the file is damaged or hostile, get it again")

    def start(self) -> None:
        """Have the process running, also after it died."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            places = [str(_HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
                start_new_session=True)  # a Ctrl-C is not for it

    def _survives(self, path: str) -> bool:
        self.start()
        process = self._process
        assert process and process.stdin and process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write(os.fsencode(os.path.abspath(path)).replace(b"\n", b"\0") + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if answer:
                return answer == b"survived\n"
        self.stop()  # without fork it died itself
        return False

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with suppress(BrokenPipeError), self._process as process:
                process.kill()
            self._process = None


_taster = Taster()
atexit.register(lambda: own_taster().stop())


def own_taster() -> Taster:
    """This process's own: answers to two on one pipe would go astray."""
    global _taster
    if _taster.owner != os.getpid():
        _taster = Taster()
    return _taster
