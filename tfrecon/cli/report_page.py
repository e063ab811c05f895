"""Puts together the page of a judged reconstruction: scores, pictures, curves, environment, how to repeat it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_STRIP_VOLUMES = 3
# (doing nothing, prediction, target) of a volume by name, each (slices, H, W).
Triples = Callable[[str], tuple[Any, Any, Any]]


def write_report(
    path: Path,
    title: str,
    subtitle: str,
    evaluation: Any,
    triples: Triples,
    panel: Any,
    facts: dict[str, Any],
    curves: Path | None,
    command: str,
    source: str,
) -> Path:
    """Write one self-contained HTML page.

    Args:
        evaluation: a `reconstruction.Evaluation`.
        triples: gives the images of a volume.
        panel: a figure of the way of one slice, or None.
        facts: shown as they are; no identifiers.
        curves: PNG of the training, or None.
        command: what repeats the run.
        source: the original system.
    """
    from ..report import Code, KeyValues, Picture, Section, Text, write_html
    from .process import PACKAGES, device, version_of

    versions = {name: version_of(name) for name in ("tfrecon", *PACKAGES)}
    sections = [
        Section("Scores", _score_blocks(evaluation)),
        Section("Slices", [_strip(triples, evaluation)]),
        Section("Run", [KeyValues({**_readable(facts), **versions, "device": device()})]),
        Section("How to repeat this", [Code(command), Text(
            f"The original system: {source}. Research software, not a medical device.")]),
    ]
    if curves is not None:
        sections.insert(2, Section("Training", [Picture(curves, "Losses and validation scores per epoch.")]))
    if panel is not None:
        name = next(iter(evaluation.volumes))
        sections.insert(1, Section("From k-space to error", [Picture(panel, f"{name}, middle slice.")]))
    return write_html(path, title, sections, subtitle)


def _readable(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in facts.items()}


def _score_blocks(evaluation: Any) -> list[Any]:
    from ..report import Text, metrics_table_block

    rows = evaluation.summary()
    rows[1]["name"] = "network"
    blocks: list[Any] = [metrics_table_block(rows, caption="Mean over volumes, fastMRI's definitions.")]
    below = evaluation.below_baseline()
    if below:
        blocks.insert(0, Text(f"Worse than doing nothing in {', '.join(below)}. Do not use it.", warning=True))
    for name, reason in {**evaluation.failed, **evaluation.notes}.items():
        blocks.append(Text(f"{name}: {reason}", warning=True))
    methods = (evaluation.baseline, "prediction")
    per_volume = [{"name": f"{name}, {method}", **scores[method]}
                  for name, scores in evaluation.volumes.items() for method in methods if scores[method]]
    blocks.append(metrics_table_block(per_volume, caption="By volume."))
    return blocks


def _strip(triples: Triples, evaluation: Any) -> Any:
    """Best, median and worst volume by SSIM."""
    from ..report import Picture, strip

    ranked = sorted(evaluation.volumes, key=lambda n: -evaluation.volumes[n]["prediction"]["ssim"])
    chosen = [ranked[i] for i in sorted({round(i) for i in np.linspace(0, len(ranked) - 1, _STRIP_VOLUMES)})]
    rows, titles = [], []
    for name in chosen:
        baseline, prediction, truth = triples(name)
        middle = len(truth) // 2
        rows.append((baseline[middle], prediction[middle], truth[middle]))
        titles.append(f"{name}\nslice {middle}")
    return Picture(strip(rows, titles), "Best, median and worst volume: input, output, target, error.")
