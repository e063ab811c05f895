"""List the weights there are records of, look into weights, check that they fit a model, convert those of other programs.

Wherever weights are given, a file, the name of a record or a pinned address can stand (`tfrecon weights list`).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ..errors import shown
from .options import add_json, print_json, say

HELP = "inspect, verify and convert weight files"
_ROWS = 12
_RECORD_ROWS = ("model", "summary", "value_range", "licence", "source")
_SOURCE = "a weight file of any known format, the name of a record, or an address with #sha256="


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", _list, "the records of weights: for which model, where they are, licence")
    info = _add(actions, "info", _info, "what weights are: their record, and format, arrays, labels, SHA-256 of the file")
    info.add_argument("file", help=f"{_SOURCE}, or the prefix of a TensorFlow checkpoint")
    info.add_argument("--all", action="store_true", help=f"list every array, not only the first {_ROWS}")
    convert = _add(actions, "convert", _convert, "load a file strictly and write our .weights.h5 with a card")
    convert.add_argument("file", metavar="IN", help="legacy Keras, PyTorch, safetensors, npz, TensorFlow checkpoint, .keras; a "
                                                    "record's name or an address")
    convert.add_argument("output", metavar="OUT", help="file ending in .weights.h5")
    _add_network(convert)
    convert.add_argument("--overwrite", action="store_true", help="replace OUT")
    verify = _add(actions, "verify", _verify, "load weights strictly: every array, right shapes, finite numbers")
    verify.add_argument("file", help=_SOURCE)
    _add_network(verify)
    verify.add_argument("--sha256", type=_hexadecimal, metavar="HEX", help="the file must have this SHA-256")


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    # The command has it too; a default here would undo a --debug that stands before the action.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    parser.set_defaults(action=run)
    add_json(parser)
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="the network the weights are for, where they do not say it")
    parser.add_argument("--preset", metavar="NAME", help="option set of the model (its first)")
    parser.add_argument("--set", dest="options", action="append", default=[], type=_option, metavar="NAME=VALUE",
                        help="an option the network is built with, for example --set width=16")
    parser.add_argument("--key", metavar="KEY", help="which state dict to take from a PyTorch file that holds several")


def _option(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must look like width=16, received {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _hexadecimal(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"must be 64 hexadecimal digits, received {text!r}")
    return text.lower()


def run(arguments: argparse.Namespace) -> int:
    return arguments.action(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from ..weights import weight_records, whereabouts
    from ..zoo import RECORDS

    records = list(weight_records().values())
    rows = [{**record.describe(), "whereabouts": whereabouts(record)} for record in records]
    if arguments.json:
        print_json(rows)
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['model']:18} {row['whereabouts']:9} {row['bytes'] / 1e6:5.1f} MB  {row['licence']}; "
              f"{row['summary']}")
    without = [r.name for r in RECORDS.values() if r.make is not None and not any(r.name == row["model"] for row in rows)]
    say(f"No weights are recorded for {', '.join(without)}. Train some (tfrecon train), or give a file you have." if without
        else "Every model has weights here.")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from ..weights import look_into, record_named, record_of_content, whereabouts
    from .process import load_tensorflow

    record = record_named(arguments.file)
    place = whereabouts(record) if record else ""
    told = {**record.describe(), "whereabouts": place} if record else {}
    if place in ("download", "by hand"):  # a question is no reason to fetch something
        print_json(told) if arguments.json else _print_record(told)
        say(f"{record.name} is not on this machine; " + (f"`tfrecon weights verify {record.name}` fetches it." if record.url
                                                          else record.by_hand))
        return 0
    if os.path.isfile(f"{arguments.file.removesuffix('.index')}.index"):  # the one format TensorFlow itself reads
        load_tensorflow()
    found = look_into(arguments.file)
    known = record or record_of_content(found.sha256)
    facts = {"file": arguments.file, "format": found.format, "arrays": len(found.arrays), "parameters": found.parameters,
             "sha256": found.sha256, **found.labels}
    if arguments.json:
        table = [{"name": n, "shape": list(s), "dtype": d} for n, s, d in found.arrays]
        print_json({**facts, "table": table, "record": known.describe() if known else None})
        return 0
    _print_record(facts)
    if known:
        _print_record({"record": known.name, **{key: getattr(known, key) for key in _RECORD_ROWS}})
    for name, shape, dtype in found.arrays if arguments.all else found.arrays[:_ROWS]:
        print(f"  {shown(name):48} {shape!s:20} {dtype}")
    if len(found.arrays) > _ROWS and not arguments.all:
        print(f"  ... and {len(found.arrays) - _ROWS} more (--all)")
    return 0


def _print_record(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if value not in ("", {}):
            print(f"{name:14} {shown(_plain(value))}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _convert(arguments: argparse.Namespace) -> int:
    from ..data import check_folder
    from ..errors import UsageError
    from ..weights import save_weights
    from ..zoo import record_of

    output = Path(arguments.output)
    if not output.name.endswith(".weights.h5"):
        raise UsageError(f"OUT must end in .weights.h5, received {arguments.output!r}.")
    if output.exists() and os.path.isfile(arguments.file) and output.samefile(arguments.file):
        raise UsageError(f"OUT is IN ({arguments.output}), which would be replaced. Choose another name.")
    if os.path.lexists(output) and not arguments.overwrite:
        raise UsageError(f"{arguments.output} exists. Use --overwrite to replace it, or choose another name.")
    check_folder(output.parent)  # before anything is loaded
    network, report, card = _load(arguments)
    record = record_of(arguments.model)
    # As `create` does: where there is a card, a preset is followed only if it was asked for.
    stored = card.get("options", {})
    preset = record.presets[arguments.preset or next(iter(record.presets))] if arguments.preset or not stored else {}
    options = {**stored, **preset, **dict(arguments.options)}
    card = {"scaling": record.scaling, **card, "model": arguments.model, "options": options, "source_sha256": report.sha256}
    save_weights(network, output, card)
    return _print(arguments, report, {"output": arguments.output}, f"{arguments.output}: {report}")


def _verify(arguments: argparse.Namespace) -> int:
    from ..errors import WeightsError

    _, report, _ = _load(arguments)
    if arguments.sha256 not in (None, report.sha256):
        raise WeightsError(f"{arguments.file}: has the SHA-256 {report.sha256}, expected {arguments.sha256}. It is another "
                           "file of the same shapes; get it from its source again.")
    return _print(arguments, report, {}, f"{arguments.file}: {report}, all finite; fits {arguments.model}")


def _load(arguments: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    """The network with the weights in it, the report, and the file's card."""
    from ..errors import UsageError
    from ..weights import load_weights, read_card
    from ..zoo import create, record_of
    from .process import load_tensorflow

    if arguments.model and record_of(arguments.model).make is None:
        raise UsageError(f"{arguments.model} has no weights. Choose another model.")
    card = read_card(arguments.file)
    arguments.model = arguments.model or card.get("model")
    if not arguments.model:
        raise UsageError(f"{shown(arguments.file)} does not say which network it is for; add --model NAME (`tfrecon models`).")
    record_of(arguments.model)
    load_tensorflow()
    # The zoo reads the card itself; an unknown file of another program has none and may need the key.
    options = dict(arguments.options)
    built = create(arguments.model, weights=arguments.file if card else None, preset=arguments.preset, **options)
    network = getattr(built, "generator", built)
    return network, load_weights(network, arguments.file, key=arguments.key), card


def _print(arguments: argparse.Namespace, report: Any, extra: dict[str, Any], line: str) -> int:
    facts = {"file": arguments.file, "model": arguments.model, "loaded": report.loaded, "total": report.total,
             "sha256": report.sha256, "notes": list(report.notes), **extra}
    print_json(facts) if arguments.json else print(shown(line))
    return 0
