"""Judge a CT deblurring network over many blurs, the blurred images first.

    python benchmarks/ct_deblur.py SHARP WEIGHTS [--seeds 20] [--window head_wide] [--json]

Two slices blurred once say little: a blur may be hardly visible or hopeless. SHARP is blurred once for every seed 0, 1, ...
(all slices with the seed's kernel), deblurred and judged; the table shows the mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import tfrecon
from tfrecon.data.ct import Blurring, ImageReader, index_images
from tfrecon.reconstruction import ImageSettings, evaluate_images, reconstruct_images
from tfrecon.report import metrics_table
from tfrecon.weights import read_card

METRICS = ("nmse", "psnr", "ssim")


def judge(arguments: argparse.Namespace, seed: int, model, folder: Path) -> list[dict]:
    """The two rows of one seed."""
    card = read_card(arguments.weights)
    index = index_images(arguments.sharp, arguments.window)
    blurring = Blurring(max_length=card.get("blur_length", 60.0), seed=seed)
    settings = ImageSettings(arguments.window, blurring=blurring)
    with ImageReader() as reader:
        done = reconstruct_images(index, folder, model.predict_on_batch, settings, reader, overwrite=True, strict=True)
        for _ in done:
            pass
    return evaluate_images(folder, arguments.sharp).summary()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sharp")
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--window", default="head_wide")
    parser.add_argument("--json", action="store_true", help="the rows for benchmarks/ship_weights.py, no table")
    arguments = parser.parse_args()
    model = tfrecon.create(read_card(arguments.weights)["model"], weights=arguments.weights)
    with tempfile.TemporaryDirectory() as folder:
        found = [judge(arguments, seed, model, Path(folder)) for seed in range(arguments.seeds)]
    rows = []
    for number in range(2):
        values = {m: np.array([rows_[number][m] for rows_ in found]) for m in METRICS}
        row = {"name": found[0][number]["name"], "n": len(found)}
        for metric, scores in values.items():
            row[metric], row[f"{metric}_sd"] = float(scores.mean()), float(scores.std(ddof=1))
        rows.append(row)
    if arguments.json:
        print(json.dumps({"rows": rows}))
        return
    print(metrics_table(rows, baseline="blurred", counted="blurs"))
    better = np.mean([b["psnr"] < p["psnr"] for b, p in found])
    print(f"PSNR better than the blurred images for {better:.0%} of the blurs")


if __name__ == "__main__":
    main()
