"""The model card: what a network is, how it was trained and judged, and what it is not, as Markdown with front matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .tables import metrics_markdown

_TAGS = {"masked": ["mri", "image-reconstruction"], "multicoil": ["mri", "image-reconstruction", "multi-coil"],
         "superres": ["mri", "super-resolution"], "blur": ["ct", "deblurring"], "pictures": ["mri", "normalizing-flow"]}
_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit"}  # as the Hugging Face Hub writes them
_WARNING = ("Research software, not a medical device. A reconstruction can look right and be wrong: structures can be missing "
            "or invented. Never use it for diagnosis.")
_PROTOCOL = ("acceleration", "center_fraction", "mask_type", "combine", "coil_maps", "blur_length", "window", "window_center",
             "window_width", "scaling")
_COLUMNS = ("nmse", "nrmse", "psnr", "ssim")
_SCORES = ("ssim", "psnr", "l1", "nrmse", "bits_per_dim")


def model_card(facts: Mapping[str, Any]) -> str:
    """Markdown whose front matter is YAML (written as JSON values, which YAML is a superset of).

    Args:
        facts: of the zoo's record and the weights' card: `name`, `summary`, `task`, `source`, `licence`, `parity` and, as far as
            known, `system`, `builder`, `training_class`, `value_range`, `sizes`, `published`, `record` and `weights_licence`,
            `scaling`, `options`, how the data were measured, `inputs`, `outputs`, `weights_sha256`, `data`, `training`,
            `scores` (mean values by name) and `baseline_scores`, `judged`: what data -> rows of a table, doing nothing first.
    """
    licence = _LICENCES.get(facts.get("weights_licence", "Apache-2.0"), "other")
    front = {"library_name": "keras", "pipeline_tag": "image-to-image", "license": licence,
             "tags": ["tfrecon", *_TAGS.get(facts["task"], [])], "model_name": facts["name"]}
    parts = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", f"# {facts['name']}", "",
             facts["summary"], "", _WARNING, ""]
    parts += _section("Origin", {"system": facts.get("system"), "original": facts.get("source"),
                                 "licence of this implementation": facts.get("licence"),
                                 "equal to the original in": facts.get("parity"), "weights": facts.get("record"),
                                 "licence of the weights": facts.get("weights_licence"),
                                 "weights, SHA-256": facts.get("weights_sha256"),
                                 "trained by its authors with": facts.get("published") or None})
    parts += _section("Data and protocol", {"data": facts.get("data"), "training": facts.get("training"),
                                            **{name: facts[name] for name in _PROTOCOL if facts.get(name) is not None}})
    parts += _judged(facts) or _scores(facts)
    parts += _section("Inputs", facts.get("inputs", {}))
    parts += _section("Outputs", facts.get("outputs", {}))
    parts += _section("Network", {"task": facts.get("task"), "value range": facts.get("value_range"),
                                  "heights and widths": facts.get("sizes"), "built by": _code(facts.get("builder")),
                                  "trained by": _code(facts.get("training_class")), "options": facts.get("options") or None})
    parts += ["## Known failures", "",
              "- Other masks, accelerations, contrasts, anatomies or scanners than those above were not tried.",
              "- Images scaled otherwise than stated give wrong brightness or noise.",
              "- Data outside the training distribution are answered without a warning.", ""]
    return "\n".join(parts)


def _section(title: str, rows: Mapping[str, Any]) -> list[str]:
    known = {name: value for name, value in rows.items() if value not in (None, "", {})}
    if not known:
        return []
    return [f"## {title}", "", *(f"- {name}: {_text(value)}" for name, value in known.items()), ""]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return " ".join(text.split())


def _code(path: str | None) -> str | None:
    return f"tfrecon.{path}" if path else None


def _judged(facts: Mapping[str, Any]) -> list[str]:
    """Tables on data that were held out from training and from the choice of the epoch, unless their names say otherwise."""
    lines = []
    for data, rows in (facts.get("judged") or {}).items():
        columns = [name for name in _COLUMNS if any(name in row for row in rows)]
        lines += [f"{data}:", "", metrics_markdown(rows, columns, rows[0]["name"], "cases"), ""]
    return ["## Scores", "", *lines] if lines else []


def _scores(facts: Mapping[str, Any]) -> list[str]:
    scores, baseline = facts.get("scores") or {}, facts.get("baseline_scores") or {}
    names = [name for name in _SCORES if name in scores]
    if not names:
        return ["## Scores", "", "None are stored with these weights.", ""]
    rows = [("doing nothing", baseline), ("this network", scores)]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    lines += [f"| {title} | {' | '.join(_number(values.get(name)) for name in names)} |" for title, values in rows]
    return ["## Scores", "", "On the validation data of its training, means over slices.", "", *lines, ""]


def _number(value: Any) -> str:
    return "n/a" if value is None else f"{value:.4f}"
