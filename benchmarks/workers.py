"""Child processes that measure one alternative each, in turns, and the tables their numbers go into.

A timing on a shared machine means little alone. Here every alternative lives in a process of its own (allocator settings
and thread pools cannot be changed or shared within one), does its warm-up, and then waits; the parent lets one after the
other take one measurement, round after round, so that a noisy minute hits all of them.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# What `tfrecon.cli.process.prepare` does with mallopt, as a user would set it for a script of their own.
MALLOC_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
# PyTorch's threads spin while they wait, which on a busy machine takes the processor from those they wait for.
PASSIVE_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
TORCH_HINT = "not installed: `pip install torch` (CPU build), then `pip install --no-deps fastmri`"


class Worker:
    """A child that runs `script --worker name arguments...` and answers every `measure` with one JSON value."""

    def __init__(self, script: str, name: str, *arguments: str, environment: dict[str, str] | None = None):
        inherited = {k: v for k, v in os.environ.items() if k not in (*MALLOC_ENVIRONMENT, *PASSIVE_WAITING)}
        self.name = name
        self.samples: list[Any] = []
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
        )
        self.start = self._answer()

    def measure(self) -> None:
        """One measurement, kept in `samples`."""
        self.samples.append(self._ask("measure"))

    def stop(self) -> float:
        """End the child; returns its peak memory in MiB."""
        peak = self._ask("stop")
        self._process.communicate()
        return peak

    def _ask(self, word: str) -> Any:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        for line in self._process.stdout:
            if line.startswith("=> "):
                return json.loads(line[3:])
        raise RuntimeError(f"{self.name} ended early:\n{self._process.communicate()[1][-3000:]}")


def serve(prepare: Callable[[], tuple[Any, Callable[[], Any]]]) -> None:
    """The child's side: `prepare` returns what to report at the start and the function that measures once."""
    start, measure = prepare()
    _say(start)
    for line in sys.stdin:
        if line.strip() == "stop":
            _say(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        _say(measure())


def in_turns(workers: Sequence[Worker], rounds: int) -> None:
    """A B C, A B C, ...: every worker takes one measurement per round."""
    for number in range(rounds):
        for worker in workers:
            worker.measure()
        print(f"round {number + 1} of {rounds}", file=sys.stderr)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the columns after the first are aligned right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def surroundings(*packages: str) -> str:
    """Date, processor, load and versions: what a number means nothing without."""
    versions = ", ".join(f"{p} {_version(p)}" for p in packages)
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{os.cpu_count()} cores of {_processor()}; load average {load}"
    return f"{now}; {machine}; Python {platform.python_version()}; {versions}"


def installed(*packages: str) -> bool:
    return all(_version(p) != "not installed" for p in packages)


def _say(value: Any) -> None:
    print("=> " + json.dumps(value), flush=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            info = dict(line.split(":", 1) for line in lines if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    found = {key.strip(): value.strip() for key, value in info.items()}
    return f"{found.get('model name', platform.machine())} (family {found.get('cpu family')}, model {found.get('model')})"
