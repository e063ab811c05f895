"""Puts a report together: scores, pictures, curves, failures, data, recipe, environment, how to repeat it, what to cite."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..process import version_of
from ..tasks import baseline_of
from .run_folders import Reconstruction, Run, Training, mapping_of, text_of
from .scores import Judgement, failure_blocks, listed, panel_blocks, picture_blocks, score_blocks, volume_blocks

WARNING = ("Research software, not a medical device. A reconstruction can look right and be wrong: structures can be missing or "
           "invented. Never use it for diagnosis.")
TITLES = {"zero-filled": "Reconstruction of undersampled MRI", "blurred": "Deblurring of CT",
          "bicubic": "Super-resolution of MRI", "uniform": "A prior of MR pictures"}
# Not a part of a recipe: places of this machine, what only told the run how to end or where to write, what differs by volume.
_NO_RECIPE = ("data", "out", "validation", "init", "vgg_weights", "config", "version", "data_digest", "time_limit", "tensorboard",
              "keep_epochs", "model", "set", "baseline_scores", "weights_sha256", "acquisition", "sampled_fraction")


def known_volumes(run: Reconstruction, trainings: Sequence[Training]) -> dict[str, str]:
    """Volume -> side of the split, of the training that has made the run's weights; empty where it is not there."""
    maker = next((t for t in trainings if t.weights and t.weights == run.weights), None)
    if maker is None:
        return {}
    return {name: side for side in ("validation", "train") for name in maker.side(side)}


def write_page(path: Path, title: str, subtitle: str, runs: Sequence[Run], judgements: Sequence[Judgement],
               commands: Sequence[str]) -> Path:
    """Write the report as HTML, in one file, or as Markdown with a folder of pictures, by the ending of its name.

    Args:
        runs: trainings and reconstructions, of one task.
        judgements: of the reconstructions.
        commands: what repeats all of it, ready for a shell, without places of this machine.
    """
    from ...report import write_html, write_markdown

    write = write_markdown if path.suffix.lower() == ".md" else write_html
    return write(path, title, page_sections(runs, judgements, commands), subtitle)


def page_sections(runs: Sequence[Run], judgements: Sequence[Judgement], commands: Sequence[str]) -> list[Any]:
    """The `Section`s of a report; arguments as of `write_page`."""
    from ...report import Code, Section, Text

    trainings = [run for run in runs if isinstance(run, Training)]
    made = [run for run in runs if isinstance(run, Reconstruction)]
    parts = [
        ("Scores", score_blocks(judgements)),
        ("Best, median and worst", picture_blocks(judgements)),
        ("From k-space to error", panel_blocks(judgements)),
        ("Training", training_blocks(trainings, alone=not judgements)),
        ("Failures and doubts", failure_blocks(trainings, judgements)),
        ("Limits", [Text(WARNING, warning=True)]),
        ("Data and split", [*_split_blocks(trainings), *_judged_blocks(judgements)]),
        ("Recipe", _recipe_blocks(trainings, made, judgements)),
        ("Environment", [side_by_side({run.label: _environment(run) for run in runs})]),
        ("How to repeat this", [Code("\n".join(commands)), *_repeat_blocks(runs)]),
        ("What to cite", _citation_blocks(runs)),
        ("Scores by volume", volume_blocks(judgements)),
    ]
    return [Section(name, blocks) for name, blocks in parts if blocks]


def side_by_side(columns: Mapping[str, Mapping[str, Any]]) -> Any:
    """Names and values of one run; of several a table with what differs first."""
    from ...report import KeyValues, Table

    if len(columns) == 1:
        (label, values), = columns.items()
        return KeyValues({"run": label, **{name: text_of(value) for name, value in values.items()}})
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = [[name, *(text_of(values[name]) if name in values else "n/a" for values in columns.values())] for name in names]
    return Table(["", *columns], sorted(rows, key=lambda row: len(set(row[1:])) == 1))


def training_blocks(trainings: Sequence[Training], alone: bool) -> list[Any]:
    """Best epochs against doing nothing, curves, and pictures of the validation data.

    Args:
        alone: nothing was judged, so that these scores are all there are.
    """
    from ...report import Picture, Text, comparison, curves

    if not trainings:
        return []
    metric, baseline = trainings[0].metric, baseline_of(trainings[0].model)
    blocks: list[Any] = _best_tables(trainings)
    if alone:
        blocks.append(Text("These are means over the slices of the validation data, by which the epoch was chosen: they flatter, "
                           "and have no spread over volumes. For both, and for the best and the worst volume, reconstruct a test "
                           "set and give its folder to the report too, with --target."))
    if len(trainings) > 1:
        known = {run.baseline for run in trainings if math.isfinite(run.baseline)}
        series = {run.label: run.curves[f"val_{run.metric}"] for run in trainings}
        figure = comparison(series, metric.upper(), known.pop() if len(known) == 1 else None, baseline)
        blocks.append(Picture(figure, f"Validation {metric.upper()} of all runs, per epoch."))
    for run in trainings:
        blocks.append(Picture(curves(run.curves, columns=2), f"{run.label}: losses and validation scores per epoch.", wide=True))
        blocks += _strip(run)
    return blocks


def _best_tables(trainings: Sequence[Training]) -> list[Any]:
    """A table for every baseline, that is for every set of validation data."""
    from ...report import metrics_table_block

    metric, name = trainings[0].metric, baseline_of(trainings[0].model)
    alike: dict[str, list[Training]] = {}
    for run in trainings:
        alike.setdefault(f"{run.baseline:.6g}", []).append(run)
    tables = []
    for group in alike.values():
        rows = [{"name": name, metric: group[0].baseline},
                *({"name": f"{run.label}, epoch {run.best} of {len(run.history)}", metric: run.score} for run in group)]
        caption = "Validation data during training, mean over slices, the best epoch."
        tables.append(metrics_table_block(rows, (metric,), name, caption))
    return tables


def _strip(run: Training) -> list[Any]:
    """The pictures of the best epoch, if the run kept them."""
    from ...report import Picture

    path = run.path / "strips" / f"epoch-{run.best:05d}.png"
    return [Picture(path, f"{run.label}: validation data after epoch {run.best}, the best.", wide=True)] if path.is_file() else []


def _split_blocks(trainings: Sequence[Training]) -> list[Any]:
    """What was trained on and what the epoch was chosen by; once for the runs that had the same."""
    from ...report import KeyValues

    alike: dict[str, list[Training]] = {}
    for run in trainings:
        alike.setdefault(repr(run.record["data"]), []).append(run)
    return [KeyValues({"runs": ", ".join(run.label for run in group), **_split(group[0])}) for group in alike.values()]


def _split(run: Training) -> dict[str, str]:
    data = mapping_of(run.record["data"])
    sides = {name: run.side(name) for name in ("train", "validation")}
    told = {name: f"{len(side)} volumes of {len(set(side.values()))} patients: {listed(list(side))}"
            for name, side in sides.items()}
    versions = data.get("kaggle_versions")
    return {**told, **({"Kaggle versions": text_of(versions)} if versions else {}),
            "digest of names and sizes": text_of(data.get("digest", "n/a"))[:16]}


def _judged_blocks(judgements: Sequence[Judgement]) -> list[Any]:
    """What was judged; once for the runs that were judged on the same."""
    from ...report import KeyValues

    alike: dict[tuple, list[str]] = {}
    for each in judgements:
        alike.setdefault(tuple(each.evaluation.volumes), []).append(each.label)
    return [KeyValues({"runs": ", ".join(labels), "judged": f"{len(names)} volumes: {listed(names)}"})
            for names, labels in alike.items()]


def _recipe_blocks(trainings: Sequence[Training], made: Sequence[Run], judgements: Sequence[Judgement]) -> list[Any]:
    from ...report import Text

    facts = {id(each.record): each.judged.facts for each in judgements}
    tables = [{run.label: _training_recipe(run) for run in trainings},
              {run.label: _recipe(run, facts.get(id(run), {})) for run in made}]
    return [*(side_by_side(table) for table in tables if table),
            Text("What is not named here is at its default in the version of tfrecon below.")]


def _training_recipe(run: Training) -> dict[str, Any]:
    """Model and options, every one in a row of its own."""
    card = mapping_of(run.record["card"])
    options = mapping_of(card.get("options"))
    measured = {name: value for name, value in card.items() if value is not None and name not in (*_NO_RECIPE, "options")}
    settings = {name: value for name, value in run.settings.items() if name not in (*_NO_RECIPE, *options)}
    return {"model": run.model, **measured, **settings, **options, "epochs": len(run.history),
            "best epoch": run.best, "seed": run.record.get("seed", "n/a")}


def _recipe(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in facts.items() if name not in _NO_RECIPE and value != "None"}
    return {"model": run.model, **told}


def _environment(run: Run) -> dict[str, Any]:
    record, seconds = run.record, run.record.get("seconds")
    found = {"tfrecon": record.get("tfrecon"), "python": record.get("python"), **mapping_of(record.get("packages")),
             "device": record.get("device"), "finished": record.get("finished"),
             "time": f"{seconds:.0f} s" if isinstance(seconds, (int, float)) and math.isfinite(seconds) else None}
    return {name: "n/a" if value is None else text_of(value) for name, value in found.items()}


def _repeat_blocks(runs: Sequence[Run]) -> list[Any]:
    from ...report import KeyValues, Text

    weights = {f"{run.label}: weights, SHA-256": run.weights for run in runs if run.weights}
    told = Text("Folders are named without their places on the machine of the runs. The same seed, data and device give the same "
                "order of slices and the same masks; other devices and versions round otherwise.")
    return [told, *([KeyValues(weights)] if weights else [])]


def _citation_blocks(runs: Sequence[Run]) -> list[Any]:
    from ...report import KeyValues, Text
    from ...zoo import record_of
    from ...zoo.references import BY_MODEL, SHARED

    models = list(dict.fromkeys(run.model for run in runs))
    records = {name: record_of(name) for name in models}
    sources = {name: f"{record.summary} Original: {record.source or 'none'}" for name, record in records.items()}
    articles = dict.fromkeys([article for name in models for article in BY_MODEL[name]] + list(SHARED))
    software = f"tfrecon {version_of('tfrecon')}, Apache-2.0"
    return [KeyValues(sources), Text("\n\n".join([*articles, software, "And the data set, as its owners ask for it."]))]


def subtitle_of(author: str | None) -> str:
    """Who, when, with what."""
    return ", ".join(filter(None, [author, time.strftime("%Y-%m-%d"), f"tfrecon {version_of('tfrecon')}"]))


def default_title(runs: Sequence[Run]) -> str:
    """The task and the models."""
    models = list(dict.fromkeys(run.model for run in runs))
    return f"{TITLES[baseline_of(runs[0].model)]}: {', '.join(models)}"
