"""The folder of a run: what may stand in it, whether a run may begin there or go on, and with which settings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .options import masking, say

WEIGHTS, RECORD, SETTINGS, _DIGEST = "generator.weights.h5", "run.json", "settings.json", "data_digest"
# What may differ between a run and its resumption.
FREE = ("resume", "overwrite", "dry_run", "epochs", "json", "debug", "run", "command", "jit", "argv", "strict",
        "time_limit")
_BEFORE = {"precision": "float32"}  # what was done before there was an option for it, which older runs do not name
FREE_BUT_EPOCHS = tuple(name for name in FREE if name != "epochs")  # of tables and figures: all their curves are as long
_RESULTS = (WEIGHTS, "MODEL_CARD.md", "config.json", "history.json", "curves.png", RECORD, "series.json", "compare.png",
            "log.txt", "table.md", "figure.png", "losses.png", "optimizers.png")


def check_run(out: Path, arguments: argparse.Namespace, free: tuple[str, ...] = FREE) -> None:
    """Refuse wrong arguments, and to mix runs: an existing one is replaced with --overwrite and continued, unchanged,
    with --resume. Writes nothing, so that a mistyped command leaves no folder that stands in the way of the next.
    """
    from ..zoo import check_trainable, record_of
    from .process import load_tensorflow

    options = dict(getattr(arguments, "set", ()))
    if options and record_of(arguments.model).takes:
        load_tensorflow()  # where the options of other classes are looked up; without its chatter
    check_trainable(arguments.model, arguments.preset, options)
    masking(arguments)
    check_out(out, arguments.data)
    check_settings(out, arguments, free)


def check_out(out: Path, data: Any) -> None:
    """Refuse a folder for results that cannot be written to, or whose results would be taken for data; None: no data yet."""
    from ..data import check_folder
    from ..errors import UsageError

    check_folder(out)
    if data is None:
        return
    if out.exists() and out.resolve() == Path(data).resolve():
        raise UsageError(f"--out is the folder of the data ({out}). Name another: results would be taken for data.")
    check_not_inside(out, data)


def check_settings(out: Path, arguments: argparse.Namespace, free: tuple[str, ...] = FREE) -> None:
    """Refuse to mix runs: see `check_run`."""
    from ..errors import UsageError

    settings, path = _settings(arguments, free), out / SETTINGS
    if path.exists() and arguments.resume:
        former = {**_BEFORE, **former_settings(out)}
        changed = [k for k, v in settings.items() if former.get(k) != v]
        if changed:
            raise UsageError(f"--resume needs the same settings; {path} has others for {', '.join(changed)}.")
    elif path.exists() and not arguments.overwrite:
        raise UsageError(f"{out} holds a run already. Use --resume to go on with it or --overwrite to replace it.")
    elif not path.exists():
        _check_not_in_the_way(out)
        if arguments.resume:
            say(f"note: no run in {out} yet; a new one begins")


def check_not_inside(out: Path, data: Any) -> None:
    """UsageError for results in a folder below the data: they would be taken for data the next time."""
    from ..errors import UsageError

    if Path(data).resolve() in Path(out).resolve().parents:
        raise UsageError(f"The results would lie inside the data ({out}) and be taken for data the next time. Name another "
                         "folder.")


def check_same_data(out: Path, digest: str) -> None:
    """UsageError where a run is to go on with other files than it began with: steps and order would be others."""
    from ..errors import UsageError

    former = former_settings(out).get(_DIGEST, digest)
    if former != digest:
        raise UsageError(f"The data are not those the run in {out} began with (names or sizes of files differ). Bring them "
                         "back, or begin anew with --overwrite.")


def former_settings(out: Path) -> dict[str, Any]:
    """With which settings the run in a folder began; none where there is no run."""
    from ..errors import UsageError

    path = out / SETTINGS
    if not path.exists():
        return {}
    try:
        former = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({error}); use --overwrite to begin anew.") from error
    return former if isinstance(former, dict) else {}


def _check_not_in_the_way(out: Path) -> None:
    """A folder that is no run of ours may hold other files, but none with the names a run writes."""
    from ..errors import UsageError

    taken = [name for name in (*_RESULTS, "checkpoint") if (out / name).exists()]
    if taken:
        raise UsageError(f"{out} holds {', '.join(taken)} but no run of ours ({SETTINGS}). Name another folder.")


def begin_run(out: Path, arguments: argparse.Namespace, free: tuple[str, ...] = FREE, digest: str = "") -> None:
    """Remove what a former run left, unless it is to be resumed, and note the settings of this one and the data's digest."""
    from ..files import write_json

    if not arguments.resume:
        states, strips = out.glob("checkpoint/state-*.weights.h5"), out.glob("strips/epoch-*.png")
        for old in [*states, *strips, *(out / name for name in _RESULTS)]:
            old.unlink(missing_ok=True)
    write_json(out / SETTINGS, {**_settings(arguments, free), **({_DIGEST: digest} if digest else {})})


def _settings(arguments: argparse.Namespace, free: tuple[str, ...]) -> dict[str, Any]:
    settings = {k: v for k, v in sorted(vars(arguments).items()) if k not in free}
    return json.loads(json.dumps(settings))  # as they come back from the file: lists, no tuples
