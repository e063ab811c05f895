"""Make weights of a run weights of this repository: weights/NAME.weights.h5, its record NAME.json and its card NAME.md.

    python benchmarks/ship_weights.py RUN NAME --summary TEXT --data TEXT --command TEXT --judged "LABEL=FILE" ...

RUN is a folder of `tfrecon train`. FILE is what `tfrecon evaluate --json`, `tfrecon reproduce --json` or
`benchmarks/ct_deblur.py --json` printed of data the network never saw; `--methods` picks the rows of it, doing nothing first.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from tfrecon.cli.export.facts import card_facts
from tfrecon.files import sha256_of, write_whole
from tfrecon.report import model_card
from tfrecon.weights import read_card
from tfrecon.zoo import RECORDS

FOLDER = Path(__file__).resolve().parents[1] / "weights"
LARGEST = 2_000_000
KEPT = ("name", "n", *(name + end for name in ("nmse", "nrmse", "psnr", "ssim") for end in ("", "_sd")))


def main() -> None:
    arguments = _parser().parse_args()
    run = json.loads((Path(arguments.run) / "run.json").read_text())
    content = (Path(arguments.run) / "generator.weights.h5").read_bytes()
    if len(content) > LARGEST:
        raise SystemExit(f"{len(content)} bytes, at most {LARGEST} are shipped")
    path = FOLDER / f"{arguments.name}.weights.h5"
    write_whole(path, content)
    card, sha256 = read_card(path), sha256_of(path)
    model = RECORDS[card["model"]]
    facts = {"data": arguments.data,
             "training": {"command": arguments.command, "seconds": run["seconds"], "device": run["device"],
                          "epochs": run["epochs"], "best epoch": run["best_epoch"], "seed": run["seed"],
                          "finished": run["finished"][:10]},
             "judged": {label: _rows(file, arguments.methods) for label, file in (x.split("=", 1) for x in arguments.judged)}}
    facts |= {name: card[name] for name in ("acceleration", "window", "blur_length") if card.get(name)}
    record = {"version": 1, "name": arguments.name, "model": model.name, "summary": arguments.summary, "file": path.name,
              "sha256": sha256, "bytes": len(content), "value_range": model.value_range, "licence": "Apache-2.0",
              "source": "trained here, see the card", "options": card["options"], "scaling": card.get("scaling", ""),
              "facts": facts}
    write_whole(FOLDER / f"{arguments.name}.json", (json.dumps(record, indent=2) + "\n").encode())
    text = model_card(card_facts(model, {**card, **facts, "record": arguments.name}, sha256))
    write_whole(FOLDER / f"{arguments.name}.md", text.encode())


def _rows(file: str, methods: list[str] | None) -> list[dict]:
    found = json.loads(Path(file).read_text())
    rows = [{key: row[key] for key in KEPT if row.get(key) is not None} for row in found.get("mean", found.get("rows"))]
    if methods:
        rows = [next(row for row in rows if row["name"] == name) for name in methods]
    return [{key: round(value, 6) if isinstance(value, float) and math.isfinite(value) else value for key, value in row.items()}
            for row in rows]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    for name in ("summary", "data", "command"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--judged", action="append", required=True, metavar="LABEL=FILE")
    parser.add_argument("--methods", nargs="+")
    return parser


if __name__ == "__main__":
    main()
