"""List the models `train`, `reconstruct` and `create` know, or describe one: where it comes from, what it takes, its presets."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .options import add_json, print_json

HELP = "list the models"
_TITLES = {
    "summary": "what it is", "system": "system", "task": "task", "builder": "built by", "training_class": "trained by",
    "value_range": "value range", "sizes": "heights and widths", "scaling": "scaling", "channels": "channels",
    "batch_size": "batch size", "patch": "training patch", "source": "original", "licence": "licence",
    "published": "published with", "parity": "equal to the original in", "weights": "weights",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="describe this one")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..weights import weight_records
    from ..zoo import RECORDS, record_of

    found = [record_of(arguments.name)] if arguments.name else list(RECORDS.values())
    weights = weight_records().values()
    records = [{**r.describe(), "weights": [w.name for w in weights if w.model == r.name]} for r in found]
    if arguments.json:
        print_json(records)
    elif arguments.name:
        _describe(records[0])
    else:
        width = max(len(record["name"]) for record in records)
        for record in records:
            print(f"{record['name']:{width}} {record['summary']}")
    return 0


def _describe(record: dict[str, Any]) -> None:
    print(f"{'name':25} {record['name']}")
    for key, title in _TITLES.items():
        if key in ("batch_size", "patch") and not record["training_class"]:
            continue
        if record[key] not in (None, "", [], {}):
            print(f"{title:25} {_text(record[key])}")
    for name, options in record["presets"].items():
        print(f"{'preset ' + name:25} {_text(options)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={item if isinstance(item, str) else json.dumps(item)}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
