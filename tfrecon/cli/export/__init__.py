"""Write a trained network as SavedModel, ONNX or TensorFlow Lite, and check that the files give the same numbers.

Beside them: golden.npz (inputs and answers, for `tfrecon verify`), export.json (what it takes and gives, hashes) and
MODEL_CARD.md. Sizes stay open unless they are fixed here; TensorFlow Lite wants them fixed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from ...exporting.formats import FORMATS
from ..options import add_json, count, print_json, say

HELP = "write a trained network for other programs"
_TOLERANCE = 1e-4


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS", help="weights written by `tfrecon train`, or any strict fit; also a "
                                                            "record's name or an address (`tfrecon weights list`)")
    parser.add_argument("output", metavar="OUT", help="folder for the results")
    parser.add_argument("--model", metavar="NAME", help="the network the weights are for, where their file does not say it")
    parser.add_argument("--preset", help="option set the weights were made with, where their file does not say it")
    parser.add_argument("--format", type=_formats, default=["saved_model"], metavar="NAME[,NAME]",
                        help=f"any of {', '.join(FORMATS)} (saved_model)")
    parser.add_argument("--units", choices=["network", "file"], default="network",
                        help="of input and output: scaled as the network takes it, or numbers as files hold them (network)")
    parser.add_argument("--batch", type=count, metavar="N", help="fix the number of images")
    parser.add_argument("--size", type=_size, default=(None, None), metavar="HxW", help="fix height and width")
    parser.add_argument("--merged", action="store_true",
                        help="the form for inference: linear layers merged, the same numbers to 1e-4 with less work")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in OUT")
    add_json(parser)


def _formats(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"must be any of {', '.join(FORMATS)}, received {text!r}")
    return list(dict.fromkeys(names))


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return count(height), count(width)


def run(arguments: argparse.Namespace) -> int:
    from ...data import check_folder
    from ...errors import UsageError
    from ...weights import read_card, sha256_of
    from .facts import described

    out, card = Path(arguments.output), read_card(arguments.weights)
    arguments.model = arguments.model or card.get("model")
    if not arguments.model:
        raise UsageError(f"{arguments.weights} does not say which network it is for; add --model NAME (`tfrecon models`).")
    check_folder(out)
    if not arguments.overwrite and any((out / name).exists() for name in ("export.json", *FORMATS.values())):
        raise UsageError(f"{arguments.output} holds an export already. Use --overwrite, or name another folder.")
    facts = described(arguments, card, sha256_of(arguments.weights))
    return _export(arguments, out, facts)


def _export(arguments: argparse.Namespace, out: Path, facts: Any) -> int:
    from ...exporting import compare, write, write_golden
    from ...files import with_version, write_json, write_whole
    from ...report import model_card
    from ...zoo import create
    from ..process import load_tensorflow
    from .facts import golden_cases, hashes

    load_tensorflow()
    trainer = create(arguments.model, weights=arguments.weights, preset=arguments.preset)
    cases = golden_cases(trainer, arguments, facts)
    write_golden(out / "golden.npz", cases)
    rows = []
    for format in arguments.format:
        served = trainer.served(**facts.options(format), **({"merged": True} if arguments.merged else {}))
        signature = served.signature(arguments.batch, *arguments.size) if facts.images else None
        path = write(format, served, out, signature)
        drifts = compare(path, cases)
        rows += [{"format": format, "input": list(drift.shape), "largest": drift.largest, "scale": drift.scale,
                  "ok": drift.within(_TOLERANCE)} for drift in drifts]
        say(f"{path}: checked on {len(drifts)} inputs")
    _drop_others(out, arguments.format)
    files = hashes(out, [FORMATS[format] for format in arguments.format])
    record = with_version({**facts.record, "parity": rows, "files": files})
    write_json(out / "export.json", record)
    write_whole(out / "MODEL_CARD.md", model_card(facts.card).encode())
    _print(arguments, record)
    return 0 if all(row["ok"] for row in rows) else 1


def _drop_others(out: Path, formats: list[str]) -> None:
    """Formats of an export before this one: golden.npz and the card are no longer theirs."""
    if not (out / "export.json").exists():
        return  # not an export of ours
    for name in set(FORMATS.values()) - {FORMATS[format] for format in formats}:
        if (out / name).is_dir() and not (out / name).is_symlink():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


def _print(arguments: argparse.Namespace, record: dict[str, Any]) -> None:
    if arguments.json:
        print_json(record)
        return
    for side in ("inputs", "outputs"):
        for name, what in record[side].items():
            print(f"{side[:-1]:7} {name:15} {what}")
    for row in record["parity"]:
        verdict = "ok" if row["ok"] else "DIFFERS"
        print(f"{row['format']:12} {'x'.join(map(str, row['input'])):20} largest difference {row['largest']:.1e} of "
              f"{row['scale']:.3g}  {verdict}")
