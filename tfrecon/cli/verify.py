"""Run an exported file on the inputs of a golden file and compare: exit code 1 if any answer has drifted."""

from __future__ import annotations

import argparse

from .options import add_json, positive, print_json

HELP = "check an exported file against its golden answers"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="EXPORT", help="a SavedModel's folder, or a file ending in .onnx or .tflite")
    parser.add_argument("--golden", required=True, metavar="FILE", help="golden.npz that `tfrecon export` wrote")
    parser.add_argument("--tolerance", type=positive, default=1e-4, metavar="T",
                        help="largest difference allowed, as a share of the largest value expected (1e-4)")
    parser.add_argument("--max-abs", type=positive, metavar="D", help="largest difference allowed, in the output's units")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..exporting import compare, read_golden
    from .process import load_tensorflow

    cases = read_golden(arguments.golden)
    load_tensorflow()
    rows = []
    for drift in compare(arguments.path, cases):
        ok = drift.within(arguments.tolerance) if arguments.max_abs is None else drift.largest <= arguments.max_abs
        rows.append({"input": list(drift.shape), "largest": drift.largest, "scale": drift.scale, "ok": ok})
    if arguments.json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{'x'.join(map(str, row['input'])):20} largest difference {row['largest']:.1e} of {row['scale']:.3g}  "
                  f"{'ok' if row['ok'] else 'DRIFTED'}")
    return 0 if all(row["ok"] for row in rows) else 1
