"""What a comparison leaves: table.md with protocol and the source's figures, pictures, run.json."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..options import print_json, say

FASTMRI = ("fastMRI's definitions over volumes: NMSE, PSNR and SSIM (7x7 window) with the target volume's maximum as data range; "
           "mean over the judged volumes")
SMALL = ("This is the small form: drawn phantoms and small networks, trained for minutes. It shows that the way runs and what "
         "doing nothing scores; its numbers cannot be compared with the source's. `--data` gives the full form.")
_SHOWN = 3


@dataclass(frozen=True)
class Sheet:
    """A comparison on paper.

    Attributes:
        title: of the page.
        tables: heading -> rows as `report.metrics_markdown` takes them; the column `source` is text.
        columns: of all tables, without `source`. baseline: name of the row of doing nothing.
        protocol: what was done, by aspect: metric, split, masks, scaling, training.
        source: sentences on what the source reports, and why the two can or cannot be compared.
        counted: what the tables' n is the number of.
    """

    title: str
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    columns: tuple[str, ...]
    baseline: str
    protocol: Mapping[str, str]
    source: Sequence[str]
    counted: str = "volumes"

    def markdown(self) -> str:
        from ...report import metrics_markdown

        parts = [f"# {self.title}"]
        for heading, rows in self.tables.items():
            parts += [f"## {heading}", metrics_markdown(rows, (*self.columns, "source"), self.baseline, self.counted)]
        parts += ["## Protocol", "\n".join(f"- {name}: {text}" for name, text in self.protocol.items())]
        parts += ["## The source's figures, and whether they compare", "\n".join(f"- {text}" for text in self.source)]
        return "\n\n".join(parts) + "\n"


def masks(arguments: argparse.Namespace) -> str:
    """The mask options in a sentence."""
    share = arguments.center_fraction or "0.32 / acceleration"
    seed = "seeded by the file name, as fastMRI's" if arguments.mask_seed == "file" else f"of seed {arguments.mask_seed}"
    return (f"{arguments.mask_type} columns, {share} of them in the centre; judged under masks {seed}, the same for all slices "
            f"of a volume; trained under a new one for every slice and epoch (seed {arguments.seed})")


def finish(arguments: argparse.Namespace, sheet: Sheet, figures: Mapping[str, Any], **facts: Any) -> int:
    """Write everything and print the table, or its rows as JSON."""
    from ...files import write_whole
    from ...report import save_figure
    from ..process import write_record

    out = Path(arguments.out)
    result = {"comparison": arguments.comparison, "tables": dict(sheet.tables), "protocol": dict(sheet.protocol),
              "source": list(sheet.source), **facts}
    for name, figure in figures.items():
        save_figure(figure, out / name)
    write_whole(out / "table.md", sheet.markdown().encode())
    write_record(out, arguments.argv, seed=arguments.seed, **result)
    if arguments.json:
        print_json(result)
    else:
        print(sheet.markdown(), end="")
        say(f"written: {', '.join(str(out / name) for name in ('table.md', *figures, 'run.json'))}")
    return 0


def pictures(judged: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    """Middle slices of the first judged volumes of one size, each in the window of its target.

    Args:
        judged: name of a network -> `Judged`.
        columns: name of a network -> what doing nothing is called before its result; "" where it was shown already.
    """
    import numpy as np

    from ...report import grid

    first = next(iter(judged.values()))
    shown: dict[str, list[Any]] = {}
    for volume in first.volumes[:_SHOWN]:
        truth = first.triples(volume)[2]
        middle, top = len(truth) // 2, float(truth[len(truth) // 2].max()) or 1.0
        row = {}
        for name, each in judged.items():
            nothing, made, _ = each.triples(volume)
            if columns[name]:
                row[columns[name]] = nothing[middle] / top
            row[name] = made[middle] / top
        row["target"] = truth[middle] / top
        if not shown or row["target"].shape == shown["target"][0].shape:
            for name, image in row.items():
                shown.setdefault(name, []).append(image)
    return grid({name: np.stack(images) for name, images in shown.items()})
