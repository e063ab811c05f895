"""Puts together the page of a judged reconstruction: scores, pictures, curves, environment, how to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_STRIP_VOLUMES = 3


def write_report(
    path: Path,
    title: str,
    subtitle: str,
    evaluation: Any,
    pairs: dict[str, tuple[str, str]],
    masking: Any,
    facts: dict[str, Any],
    curves: Path | None,
    command: str,
) -> Path:
    """Write one self-contained HTML page.

    Args:
        evaluation: a `reconstruction.Evaluation`.
        pairs: volume name -> (prediction file, target file).
        masking: the rule of the zero-filled images.
        facts: shown as they are; no identifiers.
        curves: PNG of the training, or None.
        command: what repeats the run.
    """
    from ..report import Code, KeyValues, Picture, Section, Text, write_html
    from .process import PACKAGES, device, version_of

    versions = {name: version_of(name) for name in ("tfrecon", *PACKAGES)}
    sections = [
        Section("Scores", _score_blocks(evaluation)),
        Section("From k-space to error", [_panel(pairs, evaluation, masking)]),
        Section("Slices", [_strip(pairs, evaluation, masking)]),
        Section("Run", [KeyValues({**_readable(facts), **versions, "device": device()})]),
        Section("How to repeat this", [Code(command), Text(
            "The original system: seed 001, after milesial/Pytorch-UNet. Research software, not a medical device.")]),
    ]
    if curves is not None:
        sections.insert(3, Section("Training", [Picture(curves, "Losses and validation scores per epoch.")]))
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
    methods = ("zero_filled", "prediction")
    per_volume = [{"name": f"{name}, {method}", **scores[method]}
                  for name, scores in evaluation.volumes.items() for method in methods if scores[method]]
    blocks.append(metrics_table_block(per_volume, caption="By volume."))
    return blocks


def _load(pair: tuple[str, str], masking: Any) -> tuple[Any, Any, Any, Any]:
    """(zero-filled, prediction, target, mask) of a volume."""
    from ..reconstruction import load_pair, load_zero_filled

    truth, prediction = load_pair(*pair, None, "reconstruction")
    baseline, mask = load_zero_filled(*pair, truth.shape[1:], masking)
    return baseline, prediction, truth, mask


def _panel(pairs: dict[str, tuple[str, str]], evaluation: Any, masking: Any) -> Any:
    from ..data import SliceReader, index_volumes
    from ..report import Picture, reconstruction_panel

    name = next(iter(evaluation.volumes))
    baseline, prediction, truth, mask = _load(pairs[name], masking)
    middle = len(truth) // 2
    volume = index_volumes(pairs[name][1]).volumes[0]
    with SliceReader() as reader:
        kspace = reader.kspace(volume, middle)
    figure = reconstruction_panel(kspace, mask, baseline[middle], prediction[middle], truth[middle])
    return Picture(figure, f"{name}, slice {middle}.")


def _strip(pairs: dict[str, tuple[str, str]], evaluation: Any, masking: Any) -> Any:
    """Best, median and worst volume by SSIM."""
    from ..report import Picture, strip

    ranked = sorted(evaluation.volumes, key=lambda n: -evaluation.volumes[n]["prediction"]["ssim"])
    chosen = [ranked[i] for i in sorted({round(i) for i in np.linspace(0, len(ranked) - 1, _STRIP_VOLUMES)})]
    rows, titles = [], []
    for name in chosen:
        baseline, prediction, truth, _ = _load(pairs[name], masking)
        middle = len(truth) // 2
        rows.append((baseline[middle], prediction[middle], truth[middle]))
        titles.append(f"{name}\nslice {middle}")
    return Picture(strip(rows, titles), "Best, median and worst volume: zero-filled input, output, target, error.")
