"""What is left of the memory: the machine's, a container's of either version, with and without swap."""

import pytest

from tfrecon import machine

KIB, MIB = 2**10, 2**20
HOST = {"meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\nSwapFree: 500 kB\n"}
SECOND = {"memory.max": 3000 * KIB, "memory.current": 2800 * KIB,
          "memory.stat": f"anon 1\ninactive_file {40 * KIB}\nactive_file {70 * KIB}\nfile_dirty {10 * KIB}\n"}
FIRST = {"memory/memory.limit_in_bytes": 2000 * KIB, "memory/memory.usage_in_bytes": 1900 * KIB,
         "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {50 * KIB}\n"}
NO_LIMIT = {"memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": 0}


@pytest.mark.parametrize("files, without, with_swap", [
    (HOST, 8000, 8500),
    ({**HOST, **NO_LIMIT}, 8000, 8500),
    ({**HOST, **SECOND}, 300, 800),
    ({**HOST, **SECOND, "memory.max": "max"}, 8000, 8500),
    ({**HOST, **SECOND, "memory.swap.max": 40 * KIB, "memory.swap.current": 30 * KIB}, 300, 310),
    ({**HOST, **SECOND, "memory.swap.max": 0, "memory.swap.current": 0}, 300, 300),
    ({**HOST, **SECOND, "memory.swap.max": "max", "memory.swap.current": 0}, 300, 800),
    ({**HOST, **FIRST}, 150, 150),
    (FIRST, 150, 150),
])
def test_the_least_of_what_limits_counts(tmp_path, monkeypatch, files, without, with_swap):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(str(content))
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.free_memory() == without * KIB and machine.free_memory(swap=True) == with_swap * KIB


def test_a_system_that_tells_nothing_has_what_it_was_built_with(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.free_memory() > MIB
