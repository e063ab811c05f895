"""The part of a report that judges: tables against doing nothing, pictures with their errors, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..judging import Judged
from ..tasks import baseline_of
from .portable import without_places
from .run_folders import Reconstruction, Training, mapping_of, text_of

_METRICS = ("nmse", "psnr", "ssim")
_MOST_NAMED = 40
_PANEL_INCHES, _DPI = 2.1, (110, 220)


@dataclass(frozen=True)
class Judgement:
    """Judged reconstructions under the name they have in the report, and their record.

    Attributes:
        known: volumes of the training that has made the weights, volume -> "train" or "validation".
        places: folders that messages may name and the report should not.
    """

    label: str
    judged: Judged
    record: Reconstruction | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    places: Sequence[Any] = ()

    @property
    def evaluation(self) -> Any:
        return self.judged.evaluation

    @property
    def missing(self) -> list[str]:
        """Targets without a reconstruction, those aside that the network was trained or chosen with."""
        return [name for name in self.evaluation.missing if name not in self.known]

    def rows(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of doing nothing and of this run."""
        baseline, own = self.evaluation.summary()
        return {**baseline, "name": baseline["name"].replace("_", "-")}, {**own, "name": self.label}


def groups(judgements: Sequence[Judgement]) -> list[list[Judgement]]:
    """Those judged on the same volumes against the same baseline, which one table can hold."""
    found: dict[Any, list[Judgement]] = {}
    for each in judgements:
        values = tuple(None if each.rows()[0][m] is None else f"{each.rows()[0][m]:.6g}" for m in _METRICS)
        found.setdefault((tuple(sorted(each.evaluation.volumes)), values), []).append(each)
    return list(found.values())


def group_rows(group: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The rows of one table, doing nothing first."""
    return [group[0].rows()[0], *(each.rows()[1] for each in group)]


def score_blocks(judgements: Sequence[Judgement]) -> list[Any]:
    """Who is worse than doing nothing, and the table or tables."""
    from ...report import Text, metrics_table_block

    blocks: list[Any] = []
    for each in judgements:
        below = [name.upper() for name in each.evaluation.below_baseline()]
        if below:
            blocks.append(Text(f"{each.label} is worse than doing nothing in {', '.join(below)}. Do not use it.", warning=True))
    found = groups(judgements)
    for group in found:
        rows = group_rows(group)
        caption = f"{rows[0]['n'] or rows[1]['n']} volumes. {_definitions(rows[0]['name'])}"
        blocks.append(metrics_table_block(rows, baseline=rows[0]["name"], caption=caption))
    if len(found) > 1:
        blocks.append(Text("Several tables, because the volumes or what doing nothing scores on them differ: rows of different "
                           "tables cannot be compared."))
    return blocks


def _definitions(baseline: str) -> str:
    if baseline == "blurred":
        return "Metrics of whole volumes, seen through the window, with the window as range."
    return "Metrics of whole volumes by fastMRI's definitions, with the target volume's maximum as range."


def volume_blocks(judgements: Sequence[Judgement]) -> list[Any]:
    """The scores of every volume."""
    from ...report import volumes_table_block

    blocks = []
    for group in groups(judgements):
        baseline = group[0].evaluation.baseline
        volumes = {name: {baseline.replace("_", "-"): scores[baseline],
                          **{each.label: each.evaluation.volumes[name]["prediction"] for each in group}}
                   for name, scores in group[0].evaluation.volumes.items()}
        blocks.append(volumes_table_block(volumes, baseline=baseline.replace("_", "-")))
    return blocks


def picture_blocks(judgements: Sequence[Judgement]) -> list[Any]:
    """Best, median and worst volume of every table, errors below the images."""
    from ...report import Text

    if not judgements:
        return []
    blocks: list[Any] = [Text("All images of a picture share one window, and all errors one that is five times narrower.")]
    for group in groups(judgements):
        chosen = _chosen(group[0])
        if not chosen:
            blocks.append(Text("No volume has a finite SSIM, so there is none to show."))
        for word, name in chosen.items():
            blocks.append(_picture(group, word, name))
    return blocks


def _chosen(judgement: Judgement) -> dict[str, str]:
    """Which volumes are shown, by the SSIM of the group's first run."""
    ranked = _ranked(judgement)
    if len(ranked) < 2:
        return dict(zip(("The only volume",), ranked))
    middle = {"Median": ranked[len(ranked) // 2]} if len(ranked) > 2 else {}
    return {"Best": ranked[0], **middle, "Worst": ranked[-1]}


def _ranked(judgement: Judgement) -> list[str]:
    ssim = {name: scores["prediction"]["ssim"] for name, scores in judgement.evaluation.volumes.items()}
    return sorted((name for name, value in ssim.items() if math.isfinite(value)), key=lambda name: -ssim[name])


def _picture(group: Sequence[Judgement], word: str, name: str) -> Any:
    from ...report import Picture, errors_below, figure_to_png

    images: dict[str, np.ndarray] = {}
    for each in group:
        baseline, prediction, truth = each.judged.triple(name)
        middle = len(truth) // 2
        if baseline is not None and not images:
            images[each.evaluation.baseline.replace("_", "-")] = baseline[middle]
        images[each.label] = prediction[middle]
    dpi = min(max(truth.shape[-1] / _PANEL_INCHES, _DPI[0]), _DPI[1])  # no fewer pixels than the image has
    scores = "; ".join(f"{each.label} SSIM {each.evaluation.volumes[name]['prediction']['ssim']:.4f}" for each in group)
    by = f" by the SSIM of {group[0].label}" if len(group) > 1 else " by SSIM" if word != "The only volume" else ""
    caption = f"{word}{by}: {name}, slice {middle} of {len(truth)}. {scores}."
    alt = f"{', '.join(images)} and target of {name}, with the errors of each"
    return Picture(figure_to_png(errors_below(images, truth[middle]), round(dpi)), caption, alt, wide=len(images) > 2)


def panel_blocks(judgements: Sequence[Judgement]) -> list[Any]:
    """The way of one slice from the measurement to the error, of the first run; none without k-space."""
    from ...report import Picture

    ranked = _ranked(judgements[0]) if judgements else []
    if not ranked:
        return []
    name = ranked[len(ranked) // 2]
    panel = judgements[0].judged.panel(name)
    return [] if panel is None else [Picture(panel, f"{judgements[0].label}: {name}, middle slice.", wide=True)]


def failure_blocks(trainings: Sequence[Training], judgements: Sequence[Judgement]) -> list[Any]:
    """What went wrong or leaves doubts, one paragraph each."""
    from ...report import Text

    sentences = [s for run in trainings for s in training_failures(run)]
    sentences += [s for each in judgements for s in judged_failures(each)]
    if not sentences:
        return [Text("None was found: no volume was left out, none is worse than doing nothing, no epoch has a NaN.")]
    return [Text(sentence, warning=True) for sentence in sentences]


def training_failures(run: Training) -> list[str]:
    """What is doubtful about a training."""
    found, score, baseline = [], f"val_{run.metric}", baseline_of(run.model)
    bad = {name: [n for n, value in enumerate(values, start=1) if not math.isfinite(value)]
           for name, values in run.curves.items()}
    for name, epochs in bad.items():
        if epochs:
            found.append(f"{run.label}: {name} is not a finite number in epoch {listed(epochs)}.")
    lower = run.metric == "bits_per_dim"
    if run.score >= run.baseline if lower else run.score <= run.baseline:
        found.append(f"{run.label}: the best {score}, {run.score:.4f}, is not better than {baseline}, {run.baseline:.4f}.")
    asked = run.record.get("epochs_asked")
    if isinstance(asked, int) and asked > len(run.history):
        found.append(f"{run.label}: the training stopped after {len(run.history)} of {asked} epochs.")
    if run.best == len(run.history):
        found.append(f"{run.label}: the last epoch was the best, so longer training might have gone further.")
    shared = set(run.side("train").values()) & set(run.side("validation").values())
    if shared:
        found.append(f"{run.label}: {len(shared)} patients stand on both sides of the split, so the validation scores flatter.")
    skipped = mapping_of(run.record.get("skipped"))
    return found + [f"{run.label}: {name} was not used: {without_places(text_of(reason), run.places)}"
                    for name, reason in skipped.items()]


def judged_failures(judgement: Judgement) -> list[str]:
    """What is doubtful about judged reconstructions."""
    evaluation, label, found = judgement.evaluation, judgement.label, []
    seen = [name for name in evaluation.volumes if judgement.known.get(name) == "train"]
    if seen:
        found.append(f"{label}: judged volumes have the names of volumes the network was trained on; if they are the same, the "
                     f"scores flatter: {listed(seen)}.")
    chosen = [name for name in evaluation.volumes if judgement.known.get(name) == "validation"]
    if chosen:
        found.append(f"{label}: judged volumes have the names of those the best epoch was chosen by; if they are the same, the "
                     f"scores flatter a little: {listed(chosen)}.")
    worse = [name for name, scores in evaluation.volumes.items() if _worse(scores, evaluation.baseline)]
    if worse:
        found.append(f"{label}: of {len(evaluation.volumes)} volumes {len(worse)} are worse than doing nothing in at least one "
                     f"metric: {listed(worse)}.")
    if judgement.missing:
        found.append(f"{label}: no reconstruction of {listed(judgement.missing)}.")
    if judgement.record:
        found += [f"{label}: {name} was not reconstructed: {_shortened(reason, judgement)}"
                  for name, reason in judgement.record.failed.items()]
    found += [f"{label}: {name} could not be judged: {_shortened(reason, judgement)}"
              for name, reason in evaluation.failed.items()]
    return found + [f"{label}: {name}: {_shortened(note, judgement)}" for name, note in evaluation.notes.items()]


def _shortened(reason: str, judgement: Judgement) -> str:
    return without_places(reason, judgement.places)


def _worse(scores: Mapping[str, Any], baseline: str) -> bool:
    own, base = scores["prediction"], scores[baseline]
    if not base:
        return False
    return own["nmse"] > base["nmse"] or own["psnr"] < base["psnr"] or own["ssim"] < base["ssim"]


def listed(names: Sequence[Any]) -> str:
    """The names, of very many the first."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(str, names[:_MOST_NAMED])) + more
