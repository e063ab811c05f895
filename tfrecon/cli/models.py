"""List the models `train`, `reconstruct` and `create` know, or describe one."""

from __future__ import annotations

import argparse

from .options import add_json, print_json

HELP = "list the models"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="describe this one")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..zoo import RECORDS, record_of

    records = [record_of(arguments.name)] if arguments.name else list(RECORDS.values())
    if arguments.json:
        print_json([r.describe() for r in records])
    elif arguments.name:
        for key, value in records[0].describe().items():
            print(f"{key:10} {value}")
    else:
        width = max(len(record.name) for record in records)
        for record in records:
            print(f"{record.name:{width}} {record.summary}")
    return 0
