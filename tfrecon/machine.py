"""What this machine has left, asked of the system without any library."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes this process can still take: the machine's or, if less, its container's; None where it cannot be known."""
    found = []
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024)
    with suppress(OSError, ValueError):  # "max" is not a number: no limit
        used = int((_CGROUP / "memory.current").read_text()) - _reclaimable()
        found.append(max(int((_CGROUP / "memory.max").read_text()) - used, 0))
    with suppress(OSError, ValueError, AttributeError):
        if not found:
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found) if found else None


def _reclaimable() -> int:
    """Bytes of cached files that count as used and are given up on demand."""
    with suppress(OSError, ValueError):
        lines = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return int(lines.get("inactive_file", 0))
    return 0
