"""HDF5 files are first given to another process, the taster: the library crashes over some that are damaged or hostile.

One taster serves a process for as long as it lives, and knows what it has tasted by size, time and place on the disk. Reading a
file's structure twice takes a millisecond for each of its arrays, starting the taster a fraction of a second.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import DataError, ResourceError, shown

_HERE = Path(__file__).resolve().parent
# Without the folder a user happens to be in, which Python would look for modules in first.
WITHOUT_THE_FOLDER = "import sys; sys.path = [p for p in sys.path if p]"
COMMAND = [sys.executable, "-c", f"{WITHOUT_THE_FOLDER}; from tfrecon.hdf5.taster import main; main()"]


_ADVICE = f"close other programs and check that {sys.executable} runs"
# As `taster` answers, which is not imported: it is the other process' alone.
_SURVIVED, _DIED, _LATE = "survived", "died", "late"


def own_environment() -> dict[str, str]:
    """The environment of another process that finds this package."""
    places = [str(_HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


class Taster:
    """The other process, and what became of the files it was given."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._verdicts: dict[tuple[int, ...], str] = {}
        self._lock = threading.Lock()

    def check(self, path: str) -> None:
        """Nothing for a file the library survives, or where there is no Python to start another process of.

        Raises:
            DataError: the library breaks down over the file, or does not come to its end.
            ResourceError: the other process could not be started, or was ended from outside, twice.
        """
        if not sys.executable or getattr(sys, "frozen", False):
            return
        status = os.stat(path)
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if known not in self._verdicts:
                self._verdicts[known] = self._verdict(path)
        verdict = self._verdicts[known]
        if verdict == _LATE:
            raise DataError(f"{shown(path)}: a minute of the processor's time was not enough to read its structure; it is "
                            "damaged, or holds too many arrays: divide it")
        if verdict == _DIED:
            raise DataError(f"{shown(path)}: HDF5 itself breaks down over it; the file is damaged or hostile, get it again")

    def start(self) -> None:
        """Have the process running, also after it died."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            self._process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=own_environment(),
                start_new_session=True)  # a Ctrl-C is not for it

    def _verdict(self, path: str) -> str:
        for _ in range(2):  # it may have been ended from outside, which says nothing about the file
            try:
                answer = self._answer(path)
            except OSError as error:
                told = f"the process that tries HDF5 files first could not be started ({error}); {_ADVICE}"
                raise ResourceError(told) from error
            if answer in (_SURVIVED, _DIED, _LATE):
                return answer
            self.stop()
        if not hasattr(os, "fork"):
            return _DIED  # there it tries the files itself
        raise ResourceError(f"the process that tries HDF5 files first ended twice without an answer; {_ADVICE}")

    def _answer(self, path: str) -> str:
        self.start()
        process = self._process
        assert process and process.stdin and process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write(os.fsencode(os.path.abspath(path)).replace(b"\n", b"\0") + b"\n")
            process.stdin.flush()
            return process.stdout.readline().decode().strip()
        return ""

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
