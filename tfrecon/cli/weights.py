"""Look into weight files, check that they fit a model, convert those of other programs, and list what is published."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ..hdf5 import shown
from .options import add_json, print_json, say

HELP = "inspect, verify and convert weight files"
_ROWS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", _list, "the models and where their published weights are")
    info = _add(actions, "info", _info, "what a file holds: format, arrays, labels, SHA-256")
    info.add_argument("file", help="a weight file of any known format, or the prefix of a TensorFlow checkpoint")
    info.add_argument("--all", action="store_true", help=f"list every array, not only the first {_ROWS}")
    convert = _add(actions, "convert", _convert, "load a file strictly and write our .weights.h5 with a card")
    convert.add_argument("file", metavar="IN", help="legacy Keras, PyTorch, safetensors, npz, TensorFlow checkpoint, .keras")
    convert.add_argument("output", metavar="OUT", help="file ending in .weights.h5")
    _add_network(convert)
    convert.add_argument("--overwrite", action="store_true", help="replace OUT")
    verify = _add(actions, "verify", _verify, "load a file strictly: every array, right shapes, finite numbers")
    verify.add_argument("file", help="a weight file of any known format")
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
    parser.add_argument("--model", required=True, metavar="NAME", help="the network the weights are for")
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
    from ..zoo import RECORDS

    # No original's weights can be had from a lasting address today; a record gets its address when there is one.
    rows = [{"model": r.name, "url": None, "sha256": None, "scaling": r.scaling, "licence": r.licence, "source": r.source}
            for r in RECORDS.values() if r.make is not None]
    if arguments.json:
        print_json(rows)
        return 0
    for row in rows:
        print(f"{row['model']:16} not published   input scaled by {row['scaling']}, {row['licence'] or 'no licence stated'}")
    say("No weights can be downloaded today. Train some (tfrecon train), or load a file you have (tfrecon weights convert).")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from ..weights import look_into
    from .process import load_tensorflow

    if os.path.isfile(f"{arguments.file.removesuffix('.index')}.index"):  # the one format TensorFlow itself reads
        load_tensorflow()
    found = look_into(arguments.file)
    facts = {"file": arguments.file, "format": found.format, "arrays": len(found.arrays), "parameters": found.parameters,
             "sha256": found.sha256, **found.labels}
    if arguments.json:
        print_json({**facts, "table": [{"name": n, "shape": list(s), "dtype": d} for n, s, d in found.arrays]})
        return 0
    for name, value in facts.items():
        print(f"{name:14} {shown(_plain(value))}")
    for name, shape, dtype in found.arrays if arguments.all else found.arrays[:_ROWS]:
        print(f"  {shown(name):48} {shape!s:20} {dtype}")
    if len(found.arrays) > _ROWS and not arguments.all:
        print(f"  ... and {len(found.arrays) - _ROWS} more (--all)")
    return 0


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _convert(arguments: argparse.Namespace) -> int:
    from ..errors import UsageError
    from ..weights import save_weights
    from ..zoo import record_of

    output = Path(arguments.output)
    if not output.name.endswith(".weights.h5"):
        raise UsageError(f"OUT must end in .weights.h5, received {arguments.output!r}.")
    if os.path.lexists(output) and not arguments.overwrite:
        raise UsageError(f"{arguments.output} exists. Use --overwrite to replace it, or choose another name.")
    network, report, card = _load(arguments)
    record = record_of(arguments.model)
    preset = record.presets[arguments.preset or next(iter(record.presets))]
    options = {**preset, **card.get("options", {}), **dict(arguments.options)}
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

    if record_of(arguments.model).make is None:
        raise UsageError(f"{arguments.model} has no weights. Choose another model.")
    card = read_card(arguments.file)
    load_tensorflow()
    # The zoo reads the card itself; a file of another program has none and may need the key.
    options = dict(arguments.options)
    built = create(arguments.model, weights=arguments.file if card else None, preset=arguments.preset, **options)
    network = getattr(built, "generator", built)
    return network, load_weights(network, arguments.file, key=arguments.key), card


def _print(arguments: argparse.Namespace, report: Any, extra: dict[str, Any], line: str) -> int:
    facts = {"file": arguments.file, "model": arguments.model, "loaded": report.loaded, "total": report.total,
             "sha256": report.sha256, "notes": list(report.notes), **extra}
    print_json(facts) if arguments.json else print(shown(line))
    return 0
