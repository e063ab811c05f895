"""What this machine has left, asked of the system without any library."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CACHED, _UNWRITTEN = ("inactive_file", "active_file"), ("file_dirty", "file_writeback", "dirty", "writeback")
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_memory(swap: bool = False) -> int | None:
    """Bytes this process can still take: the machine's or, if less, its container's; None where it cannot be known.

    Args:
        swap: count the disk too on which memory is put aside: nobody is ended as long as there is some.
    """
    host = _host()
    found = [host.get("MemAvailable"), _container(), _older_container()]
    if swap and host:
        found = [host["MemAvailable"] + host.get("SwapFree", 0), _container(host.get("SwapFree", 0)), _older_container()]
    known = [n for n in found if n is not None]
    if not known:
        with suppress(OSError, ValueError, AttributeError):
            known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(known, default=None)


def _host() -> dict[str, int]:
    """Bytes by the names of /proc/meminfo; nothing without MemAvailable."""
    with suppress(OSError, ValueError, IndexError):
        rows = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        sizes = {name: 1024 * int(rows[name].split()[0]) for name in ("MemAvailable", "SwapFree") if name in rows}
        return sizes if "MemAvailable" in sizes else {}
    return {}


def _container(swap: int = 0) -> int | None:
    """What control groups of version 2 leave, with at most so much swap."""
    with suppress(OSError, ValueError):  # "max" is not a number: no limit
        left = max(_number("memory.max") - _number("memory.current") + _reclaimable(), 0)
        with suppress(OSError, ValueError):
            swap = min(swap, max(_number("memory.swap.max") - _number("memory.swap.current"), 0))
        return left + swap
    return None


def _older_container() -> int | None:
    """What those of version 1 leave; their limit of memory with swap is seldom set, and not looked at."""
    with suppress(OSError, ValueError):  # without a limit it is a number no machine has
        used = _number("memory/memory.usage_in_bytes") - _reclaimable("memory/", "total_")
        return max(_number("memory/memory.limit_in_bytes") - used, 0)
    return None


def _number(name: str) -> int:
    return int((_CGROUP / name).read_text())


def _reclaimable(folder: str = "", prefix: str = "") -> int:
    """Bytes of cached files that count as used and are given up on demand: all but what has yet to be written to the disk."""
    with suppress(OSError, ValueError):
        found = dict(line.split() for line in (_CGROUP / f"{folder}memory.stat").read_text().splitlines())
        cached, unwritten = (sum(int(found.get(prefix + name, 0)) for name in names) for names in (_CACHED, _UNWRITTEN))
        return max(cached - unwritten, 0)
    return 0
