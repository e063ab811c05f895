"""Judge reconstructions against their targets, with the row of doing nothing first: zero-filled, blurred or bicubic.

Metrics are fastMRI's; those of CT are taken on the windowed images with the window as data range.
"""

from __future__ import annotations

import argparse
from typing import Any

from .judging import add_rules, judge, rules_of
from .options import add_json, print_json, say

HELP = "judge reconstructions against targets"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="PREDICTIONS", help="file or folder with dataset reconstruction")
    parser.add_argument("--target", required=True, metavar="TARGETS", help="file or folder with the target images")
    add_rules(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    result = judge(arguments.predictions, arguments.target, rules_of(arguments)).evaluation
    show(result, arguments.json)
    if result.unreadable:
        return 3
    return 0 if result.complete else 1


def show(result: Any, as_json: bool) -> None:
    """Print the table (or JSON) on stdout and what went wrong on stderr."""
    from ..report import metrics_table

    rows = result.summary()
    if as_json:
        print_json({"volumes": result.volumes, "mean": rows, "missing": result.missing, "failed": result.failed,
                    "notes": result.notes, "below_baseline": result.below_baseline()})
    elif result.volumes:
        print(metrics_table(rows, baseline=rows[0]["name"]))
    total = len(result.volumes) + len(result.missing) + len(result.failed)
    if not result.complete:
        say(f"evaluated {len(result.volumes)} of {total} volumes")
    for name in result.missing:
        say(f"no prediction for {name}")
    for name, reason in (*result.failed.items(), *result.notes.items()):
        say(f"{name}: {reason}")
