"""Look at this machine: what is installed, what computes, what traps are set, and how fast each stage of training runs here.

Exit code 1 if something was found that keeps tfrecon from working as it should; notes alone are 0.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import add_json, print_json, say

HELP = "look at this machine and its speed"


def configure(parser: argparse.ArgumentParser) -> None:
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--data", metavar="DIR", help="measure the speed of these volumes' k-space (phantoms made up for it)")
    speed.add_argument("--no-speed", action="store_true", help="look only, measure nothing")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..process import load_tensorflow
    from .checks import findings

    load_tensorflow()
    facts, found = findings()
    result: dict[str, Any] = {"facts": facts, "findings": [vars(f) for f in found]}
    if not arguments.json:
        _print(facts, found)
    broken = any(f.broken for f in found)
    if not arguments.no_speed and broken:
        say("not measured: what is wrong above comes first")
    elif not arguments.no_speed:
        from .speed import advice, measure

        say("measuring (about half a minute) ...")
        speeds = measure(arguments.data)
        result.update(slices_per_second=speeds, advice=advice(speeds))
        if not arguments.json:
            for stage, rate in speeds.items():
                print(f"{stage:14} {rate:8.1f} slices/s")
            print(result["advice"])
    if arguments.json:
        print_json(result)
    return 1 if broken else 0


def _print(facts: dict[str, str], found: list[Any]) -> None:
    for name, value in facts.items():
        print(f"{name:14} {value}")
    for finding in found:
        print(f"{'PROBLEM' if finding.broken else 'note':14} {finding.text}")
    if not found:
        print(f"{'checks':14} nothing wrong was found")
