"""Undersample volumes of full k-space into a folder, or show the mask of a number of columns.

    tfrecon mask volumes/ masked/ --acceleration 8         what a scanner would have measured, without the truth
    tfrecon mask 368 --acceleration 4 --seed 0             which columns a mask keeps, and what its acceleration really is
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import add_existing, add_json, add_mask, add_reading, masking, print_json, report_skipped, say
from .runs import check_not_inside

_WIDEST = 100_000

HELP = "undersample volumes, or show a mask"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("input", metavar="IN", help="file or folder of full k-space, or a number of columns")
    parser.add_argument("output", nargs="?", metavar="OUT", help="folder for the undersampled volumes")
    add_mask(parser)
    add_existing(parser, "replace existing files", "keep the files that are there")
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..errors import UsageError

    if arguments.input.isdecimal():
        if arguments.output:
            raise UsageError(f"A number of columns ({arguments.input}) has no volumes to write; leave OUT away.")
        return _show(arguments, int(arguments.input))
    if not arguments.output:
        raise UsageError("Name a folder for the undersampled volumes, or give a number of columns to see a mask.")
    return _write(arguments)


def _show(arguments: argparse.Namespace, width: int) -> int:
    from ..data.undersampled import check_measured
    from ..errors import UsageError

    if width > _WIDEST:
        raise UsageError(f"A mask of {width} columns is wider than any image; expected at most {_WIDEST}.")
    mask = masking(arguments).draw(width, "mask")
    check_measured(mask, arguments.acceleration)
    centre = _centre(mask)
    result = {"columns": width, "sampled": mask.nonzero()[0].tolist(), "fraction": float(mask.mean()),
              "acceleration": float(width / mask.sum()), "centre_columns": centre, **masking(arguments).as_attributes()}
    if arguments.json:
        print_json(result)
    else:
        print("".join("|" if column else "." for column in mask))
        print(f"{int(mask.sum())} of {width} columns, {centre} of them side by side in the centre: "
              f"{result['acceleration']:.2f}x, asked for {arguments.acceleration:g}x")
    return 0


def _centre(mask: Any) -> int:
    """Columns sampled without a gap around the middle."""
    middle = len(mask) // 2
    right = next((i for i, kept in enumerate(mask[middle:]) if not kept), len(mask) - middle)
    left = next((i for i, kept in enumerate(mask[:middle][::-1]) if not kept), middle)
    return int(left + right)


def _write(arguments: argparse.Namespace) -> int:
    from ..data import SliceReader, index_volumes, pseudonyms
    from ..data.undersampled import save_undersampled
    from ..reconstruction.batches import Batching, Work
    from ..reconstruction.folder import each_hdf5

    rule = masking(arguments)
    check_not_inside(Path(arguments.output), arguments.input)
    index = index_volumes(arguments.input, None, arguments.key, arguments.strict, arguments.complex_axis)
    report_skipped(index)
    patients, rows, failed = pseudonyms(index.volumes), [], {s.name: s.reason for s in index.skipped}
    with SliceReader(arguments.complex_axis, shift=arguments.shift) as reader:
        def work(volume: Any, path: Path) -> Work:
            def make(_: Any) -> str:
                mask = save_undersampled(volume, reader, rule, path, patients[volume.name])
                rows.append({"name": volume.name, "fraction": float(mask.mean()), "centre_columns": _centre(mask)})
                return f"{mask.mean():.1%} of {len(mask)} columns, {rows[-1]['centre_columns']} in the centre"

            return Work(path, make)

        facts = {f"mask_{name}": str(value) for name, value in rule.as_attributes().items()}
        for outcome in each_hdf5(index.volumes, arguments.output, work, facts, arguments.overwrite, arguments.resume,
                                 arguments.strict, Batching(), "kspace"):
            say(f"{outcome.name}: {outcome.error or outcome.note}")
            failed.update({outcome.name: outcome.error} if outcome.error else {})
    if arguments.json:
        print_json({"written": rows, "failed": failed, "output": arguments.output})
    else:
        print(f"{len(rows)} volumes undersampled into {arguments.output}, {len(failed)} failed")
    return 3 if failed else 0
