"""Sound folders and records as commands leave them and read them again: text that anybody may have sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

RECORD = {"version": 1, "name": "record", "model": "unet_gan", "summary": "for a test", "file": "x.weights.h5", "bytes": 5,
          "sha256": "ab" * 32, "value_range": "0 to 1", "licence": "Apache-2.0", "source": "nowhere", "url": "https://x.org/x",
          "options": {"width": 4}, "scaling": "slice", "facts": {"acceleration": 4, "scores": {"val_ssim": 0.8}}}
CONFIG = {"version": 1, "data": "kspace", "out": "run", "model": "unet_gan", "preset": "recommended", "epochs": 2,
          "acceleration": 4, "learning_rate": 1e-3, "seed": 3, "set": {"width": 4}, "loss": "bce", "center_fraction": 0.08}
SETTINGS = {"model": "unet_gan", "data": "x", "set": [["width", 4]], "seed": 0, "decay": 1.0, "crop": None}
_FACTS = {"model": "unet_gan", "mask_accelerations": "4", "acquisition": "TEST", "task": "masked"}


def write(folder: Path, rng: np.random.Generator) -> None:
    """A training, a reconstruction beside its targets, a run to go on with, a config, a record of weights, golden answers."""
    _training(folder / "run-train")
    _reconstruction(folder / "run-reconstruct", rng)
    _json(folder / "run-settings" / "settings.json", {**SETTINGS, "data_digest": "dd"})
    _json(folder / "config", CONFIG)
    _json(folder / "weight-record" / "record.json", RECORD)
    _golden(folder / "golden", rng)


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _training(folder: Path) -> None:
    epochs = [{"epoch": n, "g_loss": 2.0 - n, "val_psnr": 20.0 + n, "val_ssim": 0.6 + 0.05 * n} for n in range(3)]
    _json(folder / "history.json", epochs)
    _json(folder / "config.json", CONFIG)
    _json(folder / "run.json", {
        "format_version": 1, "command": ["tfrecon", "train", "--data", "/home/someone/volumes"], "tfrecon": "0.1.0",
        "python": "3.11.7", "packages": {"keras": "3.15"}, "device": "CPU, 2 cores", "finished": "2026-11-22", "seconds": 61.0,
        "card": {"model": "unet_gan", "acceleration": 4, "options": {"width": 16, "loss": "bce"}},
        "data": {"train": {"t1.h5": "patient-01"}, "validation": {"v.h5": "patient-03"}, "digest": "dd"}, "seed": 7, "epochs": 3,
        "epochs_asked": 3, "baseline_ssim": 0.55, "weights_sha256": "ab" * 32, "best_epoch": 3, "best_val_ssim": 0.7})


def _reconstruction(folder: Path, rng: np.random.Generator) -> None:
    made = folder / "made"
    _json(made / "run.json", {"command": ["tfrecon", "reconstruct", "data", "made"], "failed": {"b.h5": "no slices"},
                              "seconds": 2.0, "reconstructed": ["a.h5"], "model": "unet_gan", "weights_sha256": "ab" * 32})
    target = rng.random((3, 16, 16), np.float32)
    with h5py.File(made / "a.h5", "w") as file:
        file["reconstruction"] = target + np.float32(0.1) * rng.random((3, 16, 16), np.float32)
        file.attrs.update(_FACTS)
    (folder / "targets").mkdir(exist_ok=True)
    with h5py.File(folder / "targets" / "a.h5", "w") as file:
        file["kspace"] = (rng.standard_normal((3, 16, 16)) * (1 + 1j)).astype(np.complex64)
        file["reconstruction_esc"] = target
        file.attrs.update({"max": 1.0, "patient_id": "someone", "acquisition": "TEST"})


def _golden(path: Path, rng: np.random.Generator) -> None:
    from tfrecon.exporting.golden import Case, write_golden

    shape = (1, 8, 8, 1)
    write_golden(path, [Case({"image": rng.random(shape, np.float32)}, rng.random(shape, np.float32)) for _ in range(2)])
