"""Shared fixtures: golden cases, a quiet TensorFlow, real data where it lies beside the project."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared"


class Case:
    """One golden npz: arrays by name, its meta data, and the weights its recipe rebuilds."""

    def __init__(self, name: str):
        self.arrays = np.load(GOLDEN / f"{name}.npz")
        self.meta = json.loads(str(self.arrays["meta_json"]))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def image(self, key: str) -> np.ndarray:
        """An NCHW array as NHWC."""
        return np.moveaxis(self.arrays[key], 1, -1)

    def weights(self, prefix: str = "") -> dict[str, np.ndarray]:
        spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
        recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(recipe)
        return recipe.from_npz(self.arrays, prefix)


@pytest.fixture
def golden():
    """`golden("ganno_unet")` loads a case."""
    return Case


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """Four small phantom volumes of three people in fastMRI layout: k-space 128x72, targets 64x64."""
    from tfrecon.data import write_demo_volumes

    folder = tmp_path_factory.mktemp("demo")
    write_demo_volumes(folder, volumes=4, slices=3, size=64)
    return folder
