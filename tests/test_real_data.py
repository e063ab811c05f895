"""On real MR data, where it lies beside the project: the baselines that others measured, and a network that beats them."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from tfrecon.cli import main

RAW = SHARED / "data" / "raw"
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="needs ../shared/data, which is not part of the project")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    builder = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "real_data.py"))
    folder = tmp_path_factory.mktemp("real")
    builder["main"](RAW, folder)
    return folder


def evaluate(capsys, *arguments):
    capsys.readouterr()
    code = main(["evaluate", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("folder, seed, acceleration, psnr, ssim", [
    ("derived/val", "file", 4, 25.79, 0.686), ("derived/val", "file", 8, 21.61, 0.542),
    ("singlecoil", "0", 4, 25.52, 0.644), ("singlecoil", "0", 8, 23.32, 0.601),
])
def test_zero_filled_baselines(real, tmp_path, capsys, folder, seed, acceleration, psnr, ssim):
    """Measured independently with fastMRI's own functions on the same files and masks."""
    options = ["--acceleration", str(acceleration), "--seed", seed]
    assert main(["reconstruct", str(real / folder), str(tmp_path), "--model", "zero_filled", *options]) == 0
    code, result = evaluate(capsys, tmp_path, "--target", real / folder, *options)
    baseline, prediction = result["mean"]
    assert code == 0 and baseline["name"] == "zero_filled"
    for row in (baseline, prediction):
        assert row["psnr"] == pytest.approx(psnr, abs=0.006) and row["ssim"] == pytest.approx(ssim, abs=6e-4)
    assert np.isclose(baseline["nmse"], prediction["nmse"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("acceleration", [4, 8])
def test_trained_network_beats_zero_filling_on_people_it_never_saw(real, tmp_path, capsys, acceleration):
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["train", "--data", str(real / "derived/train"), "--out", str(run), "--preset", "small", "--width", "24",
                 "--acceleration", str(acceleration), "--epochs", "16", "--decay", "0.88", "--batch-size", "2"]) == 0
    weights = run / "generator.weights.h5"
    assert main(["reconstruct", str(real / "derived/val"), str(out), "--weights", str(weights)]) == 0
    code, result = evaluate(capsys, out, "--target", real / "derived/val")
    assert code == 0 and result["below_baseline"] == []
