"""`evaluate`; row numbers are those of the list of bad inputs."""

import h5py
import numpy as np
import pytest
from cli_tools import arrays, call, disc, volume, volumes


@pytest.fixture
def data(tmp_path):
    return volumes(tmp_path / "data")


@pytest.fixture
def predictions(capsys, data, tmp_path):
    assert call(capsys, "reconstruct", data, tmp_path / "out", "--model", "zero_filled").code == 0
    return tmp_path / "out"


def evaluate(capsys, predictions, data, *more):
    return call(capsys, "evaluate", predictions, "--target", data, *more)


def replace(path, values):
    with h5py.File(path, "r+") as file:
        del file["reconstruction"]
        file["reconstruction"] = values


def test_the_baseline_comes_first_and_equals_a_zero_filled_prediction(capsys, data, predictions):
    result = evaluate(capsys, predictions, data, "--json")
    base, own = result.json()["mean"]
    assert result.code == 0 and (base["name"], own["name"]) == ("zero_filled", "prediction") and not result.err
    assert all(base[m] == pytest.approx(own[m], rel=1e-6) for m in ("nmse", "psnr", "ssim")) and base["n"] == 3
    lines = evaluate(capsys, predictions, data).out.splitlines()
    assert lines[2].startswith("zero_filled (baseline)") and lines[3].startswith("prediction")


def test_a_perfect_prediction_is_strict_json(capsys, data, predictions):
    replace(predictions / "a.h5", arrays(data / "a.h5")["reconstruction_esc"])
    scores = evaluate(capsys, predictions, data, "--json").json()["volumes"]["a.h5"]["prediction"]
    assert scores == {"nmse": 0.0, "psnr": None, "ssim": 1.0}  # an infinite ratio has no number in JSON


def test_two_single_files_need_no_common_name(capsys, data, predictions):
    moved = (predictions / "a.h5").rename(predictions / "other.h5")
    assert evaluate(capsys, moved, data / "a.h5").code == 0


def test_row_77_missing_predictions_and_other_slice_counts(capsys, data, predictions):
    (predictions / "a.h5").unlink()
    replace(predictions / "b.h5", np.ones((1, 20, 20), "f4"))
    result = evaluate(capsys, predictions, data, "--json")
    found = result.json()
    assert result.code == 1 and found["missing"] == ["a.h5"] and list(found["volumes"]) == ["c.h5"]
    assert "target (2, 20, 20), prediction (1, 20, 20)" in found["failed"]["b.h5"]
    assert result.err.splitlines()[:2] == ["evaluated 1 of 3 volumes", "no prediction for a.h5"]


def test_row_77_nothing_to_compare(capsys, data, predictions):
    for name in "abc":
        (predictions / f"{name}.h5").rename(predictions / f"other_{name}.h5")
    result = evaluate(capsys, predictions, data)
    assert result.code == 1 and "evaluated 0 of 3" in result.err and not result.out
    (predictions.parent / "empty").mkdir()
    assert evaluate(capsys, predictions.parent / "empty", data).code == 3


@pytest.mark.parametrize(("spoil", "fragment"), [
    (lambda path: path.write_bytes(path.read_bytes()[:2500]), "truncated"),
    (lambda path: replace(path, np.full((2, 20, 20), np.nan, "f4")), "holds NaN or infinity in slices [0, 1]"),
    (lambda path: replace(path, np.ones((2, 20, 20), "c8")), "must be real images (slices, H, W), found complex64"),
    (lambda path: replace(path, np.ones((2, 2, 20, 20))), "must be real images (slices, H, W)"),
    (lambda path: replace(path, "text"), "must be real images"),
    (lambda path: replace(path, h5py.ExternalLink("b.h5", "/reconstruction")), "another file"),
])
def test_rows_1_to_49_unreadable_predictions_are_listed_and_the_others_judged(capsys, data, predictions, spoil, fragment):
    spoil(predictions / "a.h5")
    result = evaluate(capsys, predictions, data, "--json")
    assert result.code == 3 and list(result.json()["volumes"]) == ["b.h5", "c.h5"]
    assert fragment in result.json()["failed"]["a.h5"] and "evaluated 2 of 3 volumes" in result.err


def test_a_prediction_smaller_than_its_target_is_never_compared(capsys, data, predictions):
    replace(predictions / "a.h5", np.ones((2, 18, 18), "f4"))
    result = evaluate(capsys, predictions, data)
    assert result.code == 1 and "smaller than its target" in result.err
    wrong = evaluate(capsys, predictions, data, "--target-key", "reconstruction_rss")
    assert wrong.code == 3 and "no key reconstruction_rss" in wrong.err


def test_row_78_a_wrong_scale_is_named(capsys, data, predictions):
    esc = [arrays(data / f"{name}.h5")["reconstruction_esc"] for name in "abc"]
    for name, factor, values in zip("abc", (20, 0.1, -1), esc):
        replace(predictions / f"{name}.h5", values * factor)
    result = evaluate(capsys, predictions, data)
    assert result.code == 0 and "best-fit scale 0.05: the prediction looks ×20 too large" in result.err
    assert "best-fit scale 10: the prediction looks ×10 too small" in result.err and "looks inverted" in result.err


def test_row_78_a_poor_image_is_no_matter_of_units(capsys, data, predictions):
    for seed, name in enumerate("abc"):
        truth = arrays(data / f"{name}.h5")["reconstruction_esc"]
        replace(predictions / f"{name}.h5", (truth.max() * np.random.default_rng(seed).random(truth.shape)).astype("f4"))
    assert "units mixed up" not in evaluate(capsys, predictions, data).err


def test_row_16_an_empty_target_has_no_scores_and_does_not_count(capsys, data, tmp_path):
    before = call(capsys, "reconstruct", data, tmp_path / "out", "--model", "zero_filled")
    assert before.code == 0
    mean = evaluate(capsys, tmp_path / "out", data, "--json").json()["mean"]
    volume(data / "empty.h5", images=disc() * 0)
    call(capsys, "reconstruct", data, tmp_path / "out", "--model", "zero_filled", "--resume")
    result = evaluate(capsys, tmp_path / "out", data, "--json")
    found = result.json()
    assert result.code == 0 and found["mean"] == mean and mean[1]["n"] == 3
    assert found["volumes"]["empty.h5"]["prediction"] == {"nmse": None, "psnr": None, "ssim": None}
    assert "empty.h5: the target is zero everywhere: its metrics are n/a and it is left out of the mean" in result.err


def test_rows_10_16_17_18_odd_targets_are_judged_with_a_note(capsys, tmp_path):
    images = disc(2)
    images[1] = 0
    negative = np.abs(images[:, 2:22]).astype(np.float32)
    negative[0, 0, 0] = -1e-5
    volume(tmp_path / "data" / "black_slice.h5", images=images)
    volume(tmp_path / "data" / "constant.h5", images=np.ones((1, 24, 20), np.complex64))
    volume(tmp_path / "data" / "negative.h5", images=images, reconstruction_esc=negative)
    assert call(capsys, "reconstruct", tmp_path / "data", tmp_path / "out", "--model", "zero_filled").code == 0
    result = evaluate(capsys, tmp_path / "out", tmp_path / "data", "--json")
    assert result.code == 0 and "black_slice.h5: the target is zero everywhere in slices [1]" in result.err
    assert "negative.h5: " in result.err and "negative values though it should be a magnitude; they are kept" in result.err
    assert result.json()["volumes"]["constant.h5"]["prediction"]["ssim"] == pytest.approx(1)
    single = evaluate(capsys, tmp_path / "out" / "constant.h5", tmp_path / "data" / "constant.h5")
    assert single.code == 0 and "± n/a" in single.out


def test_a_prediction_worse_than_doing_nothing_is_said(capsys, data, predictions):
    replace(predictions / "a.h5", np.random.default_rng(0).random((2, 20, 20)).astype("f4") * 1e-3)
    result = evaluate(capsys, predictions, data, "--json")
    assert result.json()["below_baseline"] == ["nmse", "psnr", "ssim"]
    assert "below the baseline" in evaluate(capsys, predictions, data).out


def test_targets_without_kspace_have_no_baseline(capsys, data, predictions, tmp_path):
    volume(tmp_path / "images" / "a.h5", kspace=None)
    result = evaluate(capsys, predictions, tmp_path / "images", "--json")
    assert result.code == 0 and result.json()["volumes"]["a.h5"]["zero_filled"] is None
    assert "a.h5: no zero-filled row: " in result.err
