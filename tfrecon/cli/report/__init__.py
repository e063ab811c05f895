"""Make one report of one run or of several of a task: folders of `tfrecon train`, and of `tfrecon reconstruct` with --target.

Scores beside doing nothing with their spread, the best, median and worst volume with their errors, curves, what failed, data and
split, recipe, environment, how to repeat it, what to cite. HTML is one file; Markdown has a folder of pictures beside it. The
runs are only ever read. Exit code 3 if files could not be read, 1 if targets have no reconstruction.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..judging import add_rules, judge, rules_of
from ..options import add_json, print_json, say
from .portable import portable
from .run_folders import Reconstruction, Run, Training, read_runs

HELP = "make a report of runs, as HTML or Markdown"
_ENDINGS = (".html", ".htm", ".md")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of `tfrecon train` or `tfrecon reconstruct`")
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the report, ending in .html or .md")
    parser.add_argument("--target", metavar="TARGETS", help="file or folder with the target images, to judge reconstructions by")
    parser.add_argument("--title", help="(the task and the models)")
    parser.add_argument("--author", help="whose report this is (nobody's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    add_rules(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from .page import default_title, subtitle_of, write_page
    from .scores import group_rows, groups

    out = Path(arguments.out)
    _check_output(out, arguments)
    rules = rules_of(arguments)
    runs = read_runs(arguments.runs)
    _check_together(runs, arguments.target)
    judgements = _judge(runs, arguments.target, rules)
    commands = [*(each.command for each in runs if each.command), ["tfrecon", *arguments.argv]]
    places = [each.path for each in runs]
    write_page(out, arguments.title or default_title(runs), subtitle_of(arguments.author), runs, judgements,
               [*dict.fromkeys(portable(words, places) for words in commands)])
    tables = [group_rows(group) for group in groups(judgements)]
    if arguments.json:
        print_json({"report": str(out.resolve()), "runs": [each.label for each in runs], "tables": tables,
                    "below_baseline": {each.label: each.evaluation.below_baseline() for each in judgements}})
    else:
        _print(tables, out)
    return _exit_code(judgements)


def _check_output(out: Path, arguments: argparse.Namespace) -> None:
    """Refuse, before anything is read, a place where the report cannot or should not stand."""
    from ...data import check_folder
    from ...errors import UsageError
    from ...report import images_folder

    if out.suffix.lower() not in _ENDINGS:
        raise UsageError(f"-o takes a file ending in .html or .md, received {out}.")
    check_folder(out.parent)
    if out.is_dir():
        raise UsageError(f"{out} is a folder. Name a file for the report.")
    for folder in filter(None, (*arguments.runs, arguments.target)):
        place = Path(folder).resolve()
        if place == out.resolve() or place in out.resolve().parents:
            raise UsageError(f"The report ({out}) would lie inside what it is made of ({folder}). Name another place.")
    written = [out, images_folder(out)] if out.suffix.lower() == ".md" else [out]
    existing = next((path for path in written if path.exists()), None)
    if existing is not None and not arguments.overwrite:
        raise UsageError(f"{existing} exists. Use --overwrite to replace it, or name another file.")


def _check_together(runs: Sequence[Run], target: str | None) -> None:
    """Refuse runs that cannot be set side by side, or judged."""
    from ...errors import UsageError
    from ..tasks import baseline_of

    tasks = {baseline_of(each.model): f"{each.label} ({each.model})" for each in runs}
    if len(tasks) > 1:
        raise UsageError(f"Runs of one task are set side by side; {' and '.join(tasks.values())} are of different ones. Make a "
                         "report of each.")
    made = [each.label for each in runs if isinstance(each, Reconstruction)]
    if made and not target:
        raise UsageError(f"{', '.join(made)}: reconstructions are judged by their targets. Give the folder with --target.")
    if target and not made:
        raise UsageError("--target judges reconstructions, and none of the runs holds any. Give the folder of `tfrecon "
                         "reconstruct` too, or leave --target out.")


def _judge(runs: Sequence[Run], target: str | None, rules: Any) -> list[Any]:
    """The `Judgement` of every folder of reconstructions."""
    from ...errors import DataError
    from .page import known_volumes
    from .scores import Judgement

    trainings, judgements = [each for each in runs if isinstance(each, Training)], []
    for each in runs:
        if not isinstance(each, Reconstruction):
            continue
        say(f"judging {each.label}")
        judged = judge(each.path, target, rules)
        if not judged.evaluation.volumes:
            reason = next(iter(judged.evaluation.failed.values()), "the names differ")
            raise DataError(f"{each.label}: none of the targets in {target} has a reconstruction that can be judged ({reason}).")
        judgements.append(Judgement(each.label, judged, each, known_volumes(each, trainings), [*each.places, target]))
    return judgements


def _print(tables: Sequence[Any], out: Path) -> None:
    from ...report import metrics_table

    for rows in tables:
        print(metrics_table(rows, baseline=rows[0]["name"]) + "\n")
    print(f"report: {out.resolve()}")


def _exit_code(judgements: Sequence[Any]) -> int:
    if any(each.evaluation.unreadable for each in judgements):
        return 3
    return 1 if any(each.missing or each.evaluation.failed for each in judgements) else 0
