"""The spline flow through the zoo and `train`: bits per dimension choose the epoch, samples are drawn, weights come back."""

import json

import keras
import numpy as np
import pytest
from cli_tools import call
from test_pictures import volume

from tfrecon import create
from tfrecon.errors import UsageError
from tfrecon.weights import read_card

TINY = ("--preset", "small", "--set", "levels=2", "--set", "steps_per_level=1", "--set", "hidden_channels=4",
        "--set", "num_bins=4")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        volume(tmp_path / "in" / f"p{number}.h5", 3, (160, 128), number)
    return tmp_path / "in"


@pytest.mark.slow
def test_train_resume_and_load(capsys, folder, tmp_path):
    run = tmp_path / "run"
    words = ("train", "--data", folder, "--out", run, "--model", "spline_flow", *TINY, "--batch-size", "3", "--cosine", "3")
    first = call(capsys, *words, "--epochs", "1")
    assert first.code == 0, first.err
    assert "uniform val_bits_per_dim 4.0000: the number to beat" in first.err and "best val_bits_per_dim" in first.out
    more = call(capsys, *words, "--epochs", "2", "--resume", "--json").json()
    history = json.loads((run / "history.json").read_text())
    assert more["best_val_bits_per_dim"] == min(h["val_bits_per_dim"] for h in history) and more["baseline_bits_per_dim"] == 4
    assert len(list((run / "strips").glob("*.png"))) == 2 and (run / "curves.png").exists()
    weights = run / "generator.weights.h5"
    assert read_card(weights)["options"]["hidden_channels"] == 4
    flow = create("spline_flow", weights=weights).flow
    assert flow.sample(1, seed=0).shape == (1, 80, 64, 1)
    assert all(float(v) == 1 for v in flow.variables if v.name == "initialized")
    refused = call(capsys, "reconstruct", folder, tmp_path / "out", "--model", "spline_flow", "--weights", weights)
    assert refused.code == 2 and "solve_with_flow" in refused.err


def test_wrong_requests(capsys, folder, tmp_path):
    words = ("train", "--data", folder, "--out", tmp_path / "run", "--model", "spline_flow", *TINY)
    cropped = call(capsys, *words, "--crop", "64")
    assert cropped.code == 2 and "leave --crop 64 out" in cropped.err
    volume(tmp_path / "in" / "small.h5", 1, (40, 40))
    small = call(capsys, *words)
    assert small.code == 3 and "small.h5: slices of 40 x 40 are smaller" in small.err
    with pytest.raises(UsageError, match="convnet, residual"):
        create("spline_flow", preset="small", conditioner="unet")


def test_the_zoos_flows_take_their_options():
    keras.utils.set_random_seed(0)
    trainer = create("spline_flow", preset="small", image_shape=(8, 8, 1), levels=1, steps_per_level=1, hidden_channels=4)
    assert trainer.flow.image_shape == (8, 8, 1) and np.isclose(float(trainer.optimizer.learning_rate), 2e-3)
