"""Shared fixtures: golden cases, a quiet TensorFlow, real data where it lies beside the project."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared"


def pytest_configure(config):
    """With `-n`, a file's tests stay in one process, so that what they share is made once."""
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_behind():
    """Models and graphs of a file go with it: kept, they grow to gigabytes that every later collection walks through."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
    gc.collect()


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
        return _recipe(GOLDEN / "recipe.py").from_npz(self.arrays, prefix)


class FlowCase(Case):
    """One of golden/flow: they call their meta data `meta` or `meta_json`, and have a recipe of their own."""

    def __init__(self, name: str):
        self.arrays = np.load(GOLDEN / "flow" / f"{name}.npz")
        self.meta = json.loads(str(self.arrays["meta" if "meta" in self.arrays else "meta_json"]))

    def weights(self, prefix: str = "w_") -> dict[str, np.ndarray]:
        return _recipe(GOLDEN / "flow" / "recipe.py").weights_from_npz(self.arrays, prefix)


def _recipe(path):
    spec = importlib.util.spec_from_file_location("golden_recipe", path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


@pytest.fixture
def golden():
    """`golden("ganno_unet")` loads a case."""
    return Case


@pytest.fixture
def flow():
    """`flow("modl")` loads a case of golden/flow."""
    return FlowCase


@pytest.fixture
def tiny_unet(monkeypatch):
    """The U-Net GAN's generator in this process is six layers, for tests of what commands do around it."""
    import tiny

    from tfrecon.models import unet_gan

    monkeypatch.setattr(unet_gan, "generator_model", lambda shape, **_: tiny.image_to_image(shape, 2))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """Four small phantom volumes of three people in fastMRI layout: k-space 128x72, targets 64x64."""
    from tfrecon.data import write_demo_volumes

    folder = tmp_path_factory.mktemp("demo")
    write_demo_volumes(folder, volumes=4, slices=3, size=64)
    return folder
