"""Disks that are full or only to be read: a limit of this process, and small file systems in a namespace of their own."""

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

from cli_tools import ROOT

# Runs in namespaces of its own, so that no privilege is needed and nothing stays mounted.
_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


@contextmanager
def full_after(size):
    """No file gets larger than this many bytes (EFBIG, as Python ignores the signal); reading is as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def can_mount():
    """Whether a process may mount a file system in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    return tried.returncode == 0


def mounted(script, *arguments, **options):
    """A shell script that may mount; `$PYTHON` runs this Python, `$0` is the first argument."""
    return subprocess.run([*_UNSHARE, "sh", "-c", script, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          timeout=580, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": sys.executable, "HOME": "/tmp",
                                            "PYTHONPATH": str(ROOT)}, **options)
