"""One network of a comparison: trained, applied and judged by the functions of `train`, `reconstruct` and `evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError, shown
from ...files import read_json, without_version
from ...zoo import record_of
from ..options import say
from ..runs import RECORD, WEIGHTS
from ..tasks import task_of
from .forms import NETWORKS, Parts, data_path

_RESULTS = "reconstructions"
_REACHED = ("epochs", "best_epoch", "seconds", "weights_sha256")  # of what `train` says of its run
# What `train` and `reconstruct` mean the same by.
_HOW_READ = ("key", "complex_axis", "shift", "strict", "acceleration", "center_fraction", "mask_type", "mask_seed", "combine")
# (target, prediction), volumes (slices, H, W), to a number.
Metric = Callable[[Any, Any], float]
Configure = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Judged:
    """A network's results on the judged volumes.

    Attributes:
        baseline, row: rows of a table, of doing nothing and of the network.
        triples: name -> (doing nothing, result, target) of a volume, each (slices, H, W).
        volumes: names of the judged volumes. trained: what `train` reached.
    """

    baseline: dict[str, Any]
    row: dict[str, Any]
    triples: Callable[[str], tuple[Any, Any, Any]]
    volumes: tuple[str, ...]
    trained: dict[str, Any]


def train_arguments(arguments: argparse.Namespace, out: Any, **chosen: Any) -> argparse.Namespace:
    from ..train import configure

    return command_arguments(configure, arguments, out, **chosen)


def command_arguments(configure: Configure, arguments: argparse.Namespace, out: Any, **chosen: Any) -> argparse.Namespace:
    """The arguments of `train` or `compare`: its defaults, over them what the comparison was given, over them what is chosen."""
    defaults = vars(_defaults(configure, "--data", data_path(arguments), "--out", str(out)))
    given = {name: value for name, value in vars(arguments).items() if name in defaults and name not in ("data", "out")}
    return argparse.Namespace(**{**defaults, **given, **chosen, "argv": arguments.argv})


def network(
    arguments: argparse.Namespace, label: str, name: str, parts: Parts, chosen: Mapping[str, Any], flag: str | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> Judged:
    """Train a network (or take the finished one with --resume), reconstruct the judged volumes, judge them.

    Args:
        label: names its folder. name: names its row.
        chosen: arguments of `train` that make this network. flag: of `reconstruct`, that degrades the targets first.
        metrics: further metrics by column; their means over volumes join those of `evaluate`.
    """
    folder = Path(arguments.out) / NETWORKS / label
    options = train_arguments(arguments, folder, **chosen)
    reached = trained(options, folder, parts, name)
    _reconstruct(options, folder, parts, flag)
    found = _judge(options, folder, parts)
    evaluation, triples = found.evaluation, found.triple
    baseline, row = evaluation.summary()
    for column, metric in (metrics or {}).items():
        values = [(metric(truth, nothing), metric(truth, made)) for nothing, made, truth in map(triples, evaluation.volumes)]
        for target, scores in zip((baseline, row), zip(*values)):
            target.update(_mean(column, scores))
    row["name"] = name
    return Judged(baseline, row, triples, tuple(evaluation.volumes), reached)


def trained(options: argparse.Namespace, folder: Path, parts: Parts, name: str) -> dict[str, Any]:
    """What `train` reached, or with --resume had reached when it was finished before."""
    from ..train import train_model
    from ..trainer import check_requests

    if options.resume and (folder / RECORD).exists():
        say(f"{name}: trained already")
        found = without_version(read_json(folder / RECORD, dict), shown(folder / RECORD), DataError)
        if missing := [key for key in _REACHED if key not in found]:
            raise DataError(f"{shown(folder / RECORD)} is damaged: it lacks {', '.join(missing)}; bring it back, or repeat the "
                            "run.")
    else:
        say(f"{name}: training in {folder}")
        check_requests(options)
        found = train_model(task_of(options), folder, parts.train, parts.validation)
    return {key: found[key] for key in _REACHED}


def _reconstruct(options: argparse.Namespace, folder: Path, parts: Parts, flag: str | None) -> None:
    from ..reconstruct import configure, reconstructed

    given = {name: getattr(options, name) for name in _HOW_READ}
    if record_of(options.model).task != "masked":
        given["key"] = options.target  # images have no k-space; their targets are what is read
    arguments = _defaults(configure, parts.judged, str(folder / _RESULTS), "--model", options.model, "--weights",
                          str(folder / WEIGHTS), "--overwrite", *([flag] if flag else []))
    reconstructed(argparse.Namespace(**{**vars(arguments), **given}), parts.names)


def _judge(options: argparse.Namespace, folder: Path, parts: Parts) -> Any:
    """The `judging.Judged` results of the judged volumes alone; others of the folder have none, or one of a former split."""
    from ...errors import DataError
    from ..evaluate import configure
    from ..judging import judge, rules_of

    key = ["--target-key", options.target] if options.target not in (None, "kspace") else []
    results = str(folder / _RESULTS)
    found = judge(results, parts.judged, rules_of(_defaults(configure, results, "--target", parts.judged, *key)))
    evaluation = found.evaluation
    evaluation.volumes = {name: scores for name, scores in evaluation.volumes.items() if name in parts.names}
    for name in sorted(parts.names - set(evaluation.volumes)):
        say(f"not judged: {name}: {evaluation.failed.get(name, 'no result')}")
    if not evaluation.volumes:
        raise DataError("none of the volumes to judge by could be judged; the reasons stand above")
    return found


def _defaults(configure: Configure, *words: str) -> argparse.Namespace:
    """What a command makes of these words alone."""
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(words)


def _mean(column: str, values: Sequence[float]) -> dict[str, Any]:
    import numpy as np

    return {column: float(np.mean(values)), f"{column}_sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}
