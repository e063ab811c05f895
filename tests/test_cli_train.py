"""`train` on data as they come; row numbers are those of the list of bad inputs."""

import json

import h5py
import numpy as np
import pytest
from cli_tools import TINY, arrays, as_shown_to_users, call, disc, nan_slice, results, volume, volumes

from tfrecon.physics import fft2c


@pytest.fixture
def data(tmp_path):
    """Three volumes of two 32x32 slices, each of its own patient."""
    for seed, name in enumerate("abc"):
        volume(tmp_path / "data" / f"{name}.h5", images=disc(2, 36, 32, seed))
    return tmp_path / "data"


def train(capsys, data, out, *more, epochs=1):
    return call(capsys, "train", "--data", data, "--out", out, *TINY, "--epochs", epochs, *more)


def states(out):
    return sorted(p.name for p in (out / "checkpoint").iterdir())


def test_rows_4_15_16_17_24_26_27_74_a_run_over_odd_slices(capsys, caplog, data, tmp_path):
    """One run, for the sake of time: each oddity is said, none of them changes the count of steps or the finite end."""
    nan_slice(data / "a.h5")
    black = disc(2, 36, 32)
    black[0] = 0
    volume(data / "black_slice.h5", images=black)
    volume(data / "constant.h5", images=np.ones((1, 36, 32), np.complex64))
    volume(data / "integers.h5", images=disc(1, 36, 32), reconstruction_esc=np.ones((1, 32, 32), np.uint8))
    (data / "broken.h5").write_bytes((data / "a.h5").read_bytes()[:3000])
    out = tmp_path / "[out] größe"
    result = train(capsys, data, out, "--json", "--lr", "1e-4", "--batch-size", "3", epochs=2)
    assert result.code == 3 and result.json()["skipped"].keys() == {"broken.h5"}
    assert "skipped broken.h5: truncated" in result.err and "integers.h5: reconstruction_esc is uint8" in result.err
    notes = [r.message for r in caplog.records if "neighbour" in r.message]
    assert len(notes) == 1 and "a.h5: kspace slice 1 has 1 NaN" in notes[0]
    history = json.loads((out / "history.json").read_text())
    assert len(history) == 2 and all(np.isfinite(v) for epoch in history for v in epoch.values())
    assert results(out) == sorted(["checkpoint/state-00002-0000000.weights.h5", "curves.png", "generator.weights.h5",
                                   "history.json", "run.json", "settings.json"])
    with h5py.File(out / "checkpoint" / states(out)[0]) as file:
        iterations = [v[()] for k, v in arrays(file.filename).items() if v.shape == () and v.dtype.kind in "iu"]
    train_slices = sum(2 if n in ("a.h5", "b.h5", "c.h5", "black_slice.h5") else 1
                       for n in json.loads((out / "run.json").read_text())["data"]["train"])
    assert set(iterations) == {2 * -(-train_slices // 3)}  # the incomplete batch is trained on, too


def test_row_16_a_black_validation_volume_says_nothing(capsys, data, tmp_path):
    both = tmp_path / "validation"
    volume(both / "d.h5", images=disc(2, 36, 32, 5))
    alone = train(capsys, data, tmp_path / "one", "--validation", both, "--json").json()
    volume(both / "e.h5", images=disc(2, 36, 32) * 0)
    result = train(capsys, data, tmp_path / "two", "--validation", both, "--json").json()
    for key in ("zero_filled_ssim", "best_val_ssim"):
        assert result[key] == pytest.approx(alone[key], abs=1e-6)
    (both / "d.h5").unlink()
    black = train(capsys, data, tmp_path / "black", "--validation", both)
    assert black.code == 3 and "zero everywhere" in black.err and not (tmp_path / "black").exists()


def test_row_15_a_volume_without_a_finite_slice_stops_the_run_with_its_name(capsys, data, tmp_path):
    volume(data / "b.h5", images=disc(2, 36, 32), kspace=np.full((2, 36, 32), np.nan, np.complex64))
    result = train(capsys, data, tmp_path / "out")
    assert result.code == 3 and "b.h5: kspace slice" in result.err and result.err.strip().count("\n") < 6


@pytest.mark.parametrize(("change", "fragment"), [
    ({"reconstruction_esc": None}, "row 5: looks like a test split: no target; use reconstruct, not train"),
    ({"reconstruction_esc": np.ones((1, 8, 8))}, "row 39: has 1 slices, the k-space 2"),
    ({"mask": np.ones(7)}, "row 28: has width 7"), ({"mask": np.zeros(20)}, "row 30: all zeros"),
    ({"kspace": np.ones((2, 3, 24, 20), "c8")}, "row 36: has 3 coils"),
])
def test_rows_5_28_30_36_39_nothing_to_train_on(capsys, tmp_path, change, fragment):
    volumes(tmp_path / "data", **change)
    result = train(capsys, tmp_path / "data", tmp_path / "out")
    assert result.code == 3 and fragment.split(": ", 1)[1] in result.err and not result.out
    assert not (tmp_path / "out").exists()


def test_row_31_undersampled_data_are_noticed(capsys, data, tmp_path):
    mask = np.arange(32) % 2 == 0
    for name in "abc":
        volume(data / f"{name}.h5", images=disc(2, 36, 32), kspace=fft2c(disc(2, 36, 32)) * mask)
    result = train(capsys, data, tmp_path / "out")
    assert result.code == 0 and "50% of the k-space columns are measured" in result.err


def test_rows_18_27_negative_targets_and_other_units_are_noticed_and_kept(capsys, data, tmp_path):
    for name in "abc":
        target = arrays(data / f"{name}.h5")["reconstruction_esc"]
        volume(data / f"{name}.h5", images=disc(2, 36, 32), reconstruction_esc=-1e4 * target)
    assert "show different pictures" in train(capsys, data, tmp_path / "negative").err
    for seed, name in enumerate("abc"):
        images = disc(2, 36, 32, seed)
        target = 1e3 * np.abs(images[:, 2:34])
        target[:, 0, 0] = -1
        volume(data / f"{name}.h5", images=images, reconstruction_esc=target)
    result = train(capsys, data, tmp_path / "out")
    assert result.code == 0 and "negative values though it should be a magnitude; they are kept" in result.err


def test_row_27_a_wrong_unit_is_named_with_its_factor(capsys, data, tmp_path):
    for seed, name in enumerate("abc"):
        images = disc(2, 36, 32, seed)
        volume(data / f"{name}.h5", images=images, reconstruction_esc=1e3 * np.abs(images[:, 2:34]))
    assert "the target is 1e+03 times the image of the k-space" in train(capsys, data, tmp_path / "out").err


def test_rows_26_27_unscaled_intensities_warn_with_numbers(data):
    import tfrecon

    with as_shown_to_users():
        model = tfrecon.create("unet_gan", preset="small", width=2)
        pairs = tfrecon.data.create_paired_dataset(data, batch_size=2, scaling="none")
        with pytest.warns(UserWarning, match=r"largest magnitude is 0\.00\d+, outside 0\.01\.\.1000"):
            model.fit(pairs, epochs=1, verbose=0)


def test_rows_21_70_71_predict_refuses_what_keras_would_mistake(data):
    import tfrecon

    with as_shown_to_users():
        model = tfrecon.create("unet_gan", preset="small", width=2)
        with pytest.raises(TypeError, match="complex values. Take the magnitude, or give real"):
            model.predict(disc(2, 32, 32)[..., None])
        with pytest.raises(ValueError, match=r"\(N, H, W, channels\), received shape \(2, 32, 32\)"):
            model.predict(np.ones((2, 32, 32), np.float32))
        assert model.predict(np.ones((0, 32, 32, 1))).shape == (0, 32, 32, 1)


def test_row_38_mixed_sizes_train_in_batches_of_their_own(capsys, data, tmp_path):
    volume(data / "d.h5", images=disc(3, 45, 41, 3))
    volume(data / "e.h5", images=disc(3, 45, 41, 4))
    result = train(capsys, data, tmp_path / "out", "--validation", data, "--allow-leak")
    assert result.code == 0
    assert "train: images of several sizes, in batches of their own: 32x32 (6 slices), 41x41 (6 slices)" in result.err
    assert "warning: 5 patients are in both training and validation data" in result.err  # row 76
    cropped = train(capsys, data, tmp_path / "cropped", "--crop", "35")
    assert cropped.code == 3 and "a.h5: the crop (35, 35) does not fit" in cropped.err
    assert not (tmp_path / "cropped").exists()


def test_row_75_too_few_patients(capsys, data, tmp_path):
    result = train(capsys, data / "a.h5", tmp_path / "out")
    assert result.code == 3 and "2 parts need ≥2 volumes of different patients, have 1" in result.err
    for name in "abc":
        volume(data / f"{name}.h5", {"patient_id": "one"}, images=disc(2, 36, 32))
    same = train(capsys, data, tmp_path / "out")
    assert same.code == 3 and "have 1 (3 volumes)" in same.err and not (tmp_path / "out").exists()
    folds = call(capsys, "compare", "--data", data, "--out", tmp_path / "out", "--folds", "3")
    assert folds.code == 3 and "3 folds need ≥3 volumes" in folds.err and not (tmp_path / "out").exists()
    single = call(capsys, "compare", "--data", data, "--out", tmp_path / "out", "--folds", "1")
    assert single.code == 2 and "At least 2 folds" in single.err


def test_row_76_a_patient_on_both_sides_is_refused(capsys, data, tmp_path):
    volume(tmp_path / "validation" / "x.h5", {"patient_id": "b"}, images=disc(2, 36, 32, 7))
    result = train(capsys, data, tmp_path / "out", "--validation", tmp_path / "validation")
    assert result.code == 3 and "files b.h5, x.h5" in result.err and "--allow-leak" in result.err
    assert not (tmp_path / "out").exists()


def test_rows_53_55_the_output_folder(capsys, data, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for out, fragment in ((data, "is the folder of the data"), (tmp_path / "file", "is a file"),
                          (tmp_path / "file" / "x", "is a file")):
        result = train(capsys, data, out)
        assert result.code == 2 and fragment in result.err
    out = tmp_path / "out"
    assert train(capsys, data, out).code == 0
    before = (out / "generator.weights.h5").read_bytes()
    refused = train(capsys, data, out)
    assert refused.code == 2 and "Use --resume to go on with it or --overwrite" in refused.err
    changed = train(capsys, data, out, "--resume", "--seed", "5")
    assert changed.code == 2 and "--resume needs the same settings; seed differ" in changed.err
    best = json.loads((out / "run.json").read_text())["best_val_ssim"]
    assert train(capsys, data, out, "--resume").code == 0  # nothing left to do
    assert (out / "generator.weights.h5").read_bytes() == before
    longer = train(capsys, data, out, "--resume", "--json", epochs=3)
    assert longer.json()["best_val_ssim"] >= best and states(out) == ["state-00003-0000000.weights.h5"]
    monkeypatch.setattr("tfrecon.files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    full = train(capsys, data, tmp_path / "full")  # row 54
    assert full.code == 5 and "bytes are needed and 1000 are free" in full.err
    assert results(tmp_path / "full") == ["settings.json"]


def test_a_diverging_run_stops_and_says_where(capsys, data, tmp_path):
    result = train(capsys, data, tmp_path / "out", "--lr", "1e30", epochs=3)
    assert result.code == 1 and "became NaN or infinite at batch" in result.err and "Lower the learning rate" in result.err
