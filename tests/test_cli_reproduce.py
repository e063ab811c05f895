"""`tfrecon reproduce flow-vs-dbp`: the problem, the table with doing nothing first, the knee set, misuse."""

import json

import h5py
import numpy as np
import pytest
from cli_tools import call
from test_pictures import volume

from tfrecon.data import knee_pictures, measured_pictures, prepare_knees
from tfrecon.errors import DataError
from tfrecon.physics import fft2c
from tfrecon.physics.operators import Sense
from tfrecon.weights import save_weights
from tfrecon.zoo import create

OPTIONS = {"image_shape": (16, 16, 1), "levels": 2, "steps_per_level": 1, "hidden_channels": 4, "num_bins": 4, "num_bits": 4}


def test_pictures_are_measured_on_the_flows_scale():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 24, 16)).astype("float32")
    problem = measured_pictures(pictures, 4, 4, 5, seed=1)
    np.testing.assert_array_equal(problem.truth, (pictures // 16 + 0.5) / 16)
    measured = Sense(problem.inputs["sens_maps"], problem.inputs["mask"]).forward(problem.truth.astype("complex64"))
    np.testing.assert_allclose(problem.inputs["kspace"], measured, atol=1e-5)
    assert problem.inputs["kspace"].shape == (3, 5, 24, 16)
    np.testing.assert_allclose((np.abs(problem.inputs["sens_maps"]) ** 2).sum(1), 1, rtol=1e-5)
    assert 0.2 < problem.inputs["mask"].mean() < 0.3 and np.any(problem.inputs["mask"][0] != problem.inputs["mask"][1])


def knees(path):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["imgs"] = rng.normal(size=(2, 32, 32)) + 0j
        file["maps"] = rng.normal(size=(2, 3, 32, 32)) + 0j
        file["masks"] = (rng.uniform(size=(2, 32, 32)) < 0.4).astype("f8")


def test_the_knee_set_keeps_its_maps_and_masks(tmp_path):
    knees(tmp_path / "raw.h5")
    with pytest.raises(DataError, match="slice 0: expected a real picture"):
        knee_pictures(tmp_path / "raw.h5")
    prepare_knees(tmp_path / "raw.h5", tmp_path / "knees.h5", 4, 0.5, [0, 1])
    problem = knee_pictures(tmp_path / "knees.h5")
    with h5py.File(tmp_path / "knees.h5") as file:
        truth, maps, mask = (file[key][1] for key in ("imgs", "maps", "masks"))
    np.testing.assert_allclose(problem.truth[1], (truth * 15 + 0.5) / 16, rtol=1e-6)  # a flow makes (level + noise) / 16
    np.testing.assert_array_equal(problem.inputs["sens_maps"][1], maps.astype("complex64"))
    np.testing.assert_allclose(problem.inputs["kspace"][1], fft2c(problem.truth[1] * maps) * mask, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="slice 0: expected a real picture.*8 levels.*with 3 bits"):
        knee_pictures(tmp_path / "knees.h5", num_bits=3)
    assert [len(knee_pictures(tmp_path / "knees.h5", n).truth) for n in (1, 2, 3)] == [1, 2, 2]


@pytest.mark.parametrize("key, value, message", [
    ("maps", np.nan, "slice 1: the picture or its maps hold NaN"), ("maps", 0, "all zeros"), ("imgs", np.nan, "hold NaN"),
    ("masks", 0, "mask of zeros and ones"), ("masks", 0.3, "mask of zeros and ones"), ("masks", np.nan, "mask of zeros and ones"),
])
def test_a_damaged_knee_set_is_refused_before_anything_is_trained(tmp_path, key, value, message):
    knees(tmp_path / "raw.h5")
    path = prepare_knees(tmp_path / "raw.h5", tmp_path / "knees.h5", 4, 0.5, [0, 1])
    with h5py.File(path, "r+") as file:
        file[key][1] = value
    with pytest.raises(DataError, match=message):
        knee_pictures(path)


@pytest.mark.parametrize("key, shape", [
    ("maps", (1, 3, 16, 16)), ("masks", (2, 16, 8)), ("imgs", (16, 16)), ("maps", (2, 0, 16, 16)),
])
def test_a_knee_set_that_does_not_fit_together(tmp_path, key, shape):
    knees(tmp_path / "raw.h5")
    path = prepare_knees(tmp_path / "raw.h5", tmp_path / "knees.h5", 4, 0.5, [0, 1])
    with h5py.File(path, "r+") as file:
        del file[key]
        file[key] = np.zeros(shape)
    with pytest.raises(DataError, match="do not fit together"):
        knee_pictures(path)
    with pytest.raises(DataError, match="do not fit together"):
        knee_pictures(path, 1)


@pytest.fixture
def files(tmp_path):
    for side, count in (("val", 2), ("train", 3)):
        (tmp_path / side).mkdir()
        volume(tmp_path / side / f"{side}.h5", count, (32, 32), count)
    save_weights(create("spline_flow", preset="small", **OPTIONS).flow, tmp_path / "flow.weights.h5",
                 {"model": "spline_flow", "options": {**OPTIONS, "learning_rate": 1e-3}})
    return tmp_path


def test_nobody_is_judged_whom_the_networks_learn_from(capsys, files):
    """Row 76."""
    both = call(capsys, "reproduce", "flow-vs-dbp", "--train", files / "val", "--data", files / "val", "--flow",
                files / "flow.weights.h5", "--out", files / "out")
    assert both.code == 3 and "both --data and --train" in both.err


def test_no_picture_of_the_knee_set_is_judged_that_is_learned_from(capsys, files):
    """Row 76; a flow of another size is refused before the networks are trained, too."""
    knees(files / "raw.h5")
    path = prepare_knees(files / "raw.h5", files / "knees.h5", 4, 0.5, [0, 1])
    words = ("reproduce", "flow-vs-dbp", "--train", path, "--data", path, "--flow", files / "flow.weights.h5", "--out",
             files / "out")
    same = call(capsys, *words)
    assert same.code == 3 and "2 of the judged pictures are among those of --train" in same.err
    path = prepare_knees(files / "raw.h5", files / "knees.h5", 4, 1.0, [0, 1])
    large = call(capsys, *words)
    assert large.code == 3 and "pictures of 32x32, the flow makes 16x16" in large.err and not (files / "out").exists()


@pytest.mark.slow
def test_nobody_is_judged_whom_the_flow_learned_from(capsys, files):
    """Row 76, by the record beside the flow's weights."""
    sides = {"train": {"val.h5": "patient-01"}, "validation": {}}
    record = {"card": {"model": "spline_flow"}, "best_epoch": 1, "best_val_bits_per_dim": 3.0, "data": sides}
    for name, value in (("run", record), ("history", [{"val_bits_per_dim": 3.0}]), ("settings", {})):
        (files / f"{name}.json").write_text(json.dumps(value))
    words = ("reproduce", "flow-vs-dbp", "--train", files / "train", "--data", files / "val", "--flow", files / "flow.weights.h5",
             "--out", files / "out", "--steps", 1, "--epochs", 1, "--flow-rate", 0.05)
    refused = call(capsys, *words)
    assert refused.code == 3 and "the flow was trained on val.h5" in refused.err and not (files / "out").exists()
    record["data"] = {"train": {"other.h5": "patient-01"}, "validation": {"val.h5": "patient-02"}}
    (files / "run.json").write_text(json.dumps(record))
    result = call(capsys, *words)
    assert result.code == 0
    assert "learned from 1 other volumes; 1 of the 1 judged ones were those its epoch was chosen by" in result.out


@pytest.mark.slow
def test_one_table_and_one_figure(capsys, files):
    words = ("reproduce", "flow-vs-dbp", "--train", files / "train", "--flow", files / "flow.weights.h5", "--pictures", "2",
             "--steps", "2", "--epochs", "1", "--flow-rate", "0.05")
    result = call(capsys, *words, "--data", files / "val", "--out", files / "out", "--json")
    assert result.code == 0, result.err
    rows = {row["name"]: row for row in result.json()["rows"]}
    assert list(rows) == ["zero_filled", "CG-SENSE", "MoDL", "DBP", "flow, norm", "flow, log prob", "flow, both"]
    assert all(np.isfinite(row["psnr"]) and row["n"] == 2 for row in rows.values())
    assert rows["CG-SENSE"]["psnr"] > rows["zero_filled"]["psnr"] + 1
    table = (files / "out" / "table.md").read_text()
    assert table.index("zero_filled") < table.index("flow, norm") and "not the pictures of the article" in table
    assert (files / "out" / "figure.png").stat().st_size > 1000 and (files / "out" / "run.json").exists()
    assert "NRMSE 0.18 (U-Net)" in table and "over n pictures" in table
    assert "SECONDS" not in table  # another run must give the same table
    for name in ("MoDL", "DBP"):
        assert (files / "out" / "networks" / name / "generator.weights.h5").exists()
        assert "not a medical device" in (files / "out" / "networks" / name / "MODEL_CARD.md").read_text()
    assert call(capsys, *words, "--data", files / "val", "--out", files / "out").code == 2


@pytest.mark.slow
def test_the_small_form_trains_its_flow_on_the_spot(capsys, tmp_path):
    words = ("reproduce", "flow-vs-dbp", "--out", tmp_path / "out", "--volumes", 4, "--slices", 2, "--size", 64, "--pictures", 2,
             "--epochs", 1, "--steps", 1, "--flow-epochs", 1, "--flow-set", "levels=1", "--flow-set", "steps_per_level=1",
             "--flow-set", "hidden_channels=4", "--flow-set", "num_bins=4")
    result = call(capsys, *words)
    assert result.code == 0, result.err
    assert "by patient, nobody on two sides" in result.out and "This is the small form" in result.out
    assert (tmp_path / "out" / "networks" / "flow" / "MODEL_CARD.md").exists()
    again = call(capsys, *words, "--resume")
    assert again.code == 0 and again.out == result.out
    assert all(f"{name}: trained already" in again.err for name in ("flow", "MoDL", "DBP"))


def test_misuse(capsys, files):
    words = ("reproduce", "flow-vs-dbp", "--train", files / "train", "--data", files / "val", "--out")
    inside = call(capsys, *words, files / "val" / "out", "--flow", files / "flow.weights.h5")
    assert inside.code == 2 and "inside the data" in inside.err
    missing = call(capsys, *words, files / "out", "--flow", files / "none.h5")
    assert missing.code in (3, 4) and "none.h5" in missing.err and not (files / "out").exists()
