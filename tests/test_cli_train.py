"""`train` on data as they come; row numbers are those of the list of bad inputs."""

import json

import numpy as np
import pytest
from cli_tools import TINY, arrays, as_shown_to_users, call, disc, nan_slice, results, volume, volumes

from tfrecon.errors import TfreconError
from tfrecon.physics import fft2c

pytestmark = pytest.mark.usefixtures("tiny_unet")


@pytest.fixture
def data(tmp_path):
    """Three volumes of two 32x32 slices, each of its own patient."""
    for seed, name in enumerate("abc"):
        volume(tmp_path / "data" / f"{name}.h5", images=disc(2, 36, 32, seed))
    return tmp_path / "data"


def train(capsys, data, out, *more, epochs=1):
    return call(capsys, "train", "--data", data, "--out", out, *TINY, "--epochs", epochs, *more)


def states(out):
    return sorted(p.name for p in (out / "checkpoint").iterdir() if p.suffix == ".h5")


def test_rows_4_15_16_17_26_38_74_a_run_over_odd_slices(capsys, caplog, data, tmp_path):
    """One run, for the sake of time: each oddity is said, none of them changes the count of steps or the finite end."""
    nan_slice(data / "a.h5")
    black = disc(2, 36, 32)
    black[0] = 0
    volume(data / "black_slice.h5", images=black)
    volume(data / "constant.h5", images=np.ones((1, 36, 32), np.complex64))
    for seed, name in enumerate(("large1.h5", "large2.h5")):
        volume(data / name, images=disc(2, 45, 41, seed))
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
    assert results(out) == ["MODEL_CARD.md", "checkpoint/state-00002-0000000.weights.h5", "config.json", "curves.png",
                            "generator.weights.h5", "history.json", "run.json", "settings.json",
                            "strips/epoch-00001.png", "strips/epoch-00002.png"]
    state = arrays(out / "checkpoint" / states(out)[0])
    iterations = [v[()] for v in state.values() if v.shape == () and v.dtype.kind in "iu"]
    used = json.loads((out / "run.json").read_text())["data"]["train"]
    large = sum(name.startswith("large") for name in used) * 2
    small = sum(1 if name in ("constant.h5", "integers.h5") else 2 for name in used) - large
    # Sizes do not mix, and the incomplete last batch of each is trained on.
    assert set(iterations) == {2 * (-(-large // 3) + -(-small // 3))}


def test_row_16_a_black_validation_volume_says_nothing(capsys, data, tmp_path):
    import tfrecon
    from tfrecon.cli.baseline import baseline_ssim

    both = tmp_path / "validation"
    volume(both / "d.h5", images=disc(2, 36, 32, 5))
    volume(both / "e.h5", images=disc(2, 36, 32) * 0)
    with as_shown_to_users():
        model = tfrecon.create("unet_gan", preset="small", width=2)
        alone, mixed = (tfrecon.data.create_paired_dataset(path, batch_size=4, metadata=True)
                        for path in (both / "d.h5", both))
        assert baseline_ssim(mixed) == pytest.approx(baseline_ssim(alone), abs=1e-6)
        scores = [{name: float(value) for name, value in model.evaluate(pairs, verbose=0, return_dict=True).items()}
                  for pairs in (alone, mixed)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4) and set(scores[0]) == {"ssim", "psnr", "l1"}
    black = train(capsys, data, tmp_path / "black", "--validation", both / "e.h5")
    assert black.code == 3 and "zero everywhere" in black.err and not (tmp_path / "black").exists()


def test_row_15_a_volume_without_a_finite_slice_stops_the_run_with_its_name(capsys, data, tmp_path):
    volume(data / "b.h5", images=disc(2, 36, 32), kspace=np.full((2, 36, 32), np.nan, np.complex64))
    result = train(capsys, data, tmp_path / "out")
    assert result.code == 3 and "b.h5: kspace slice" in result.err and result.err.strip().count("\n") < 6


@pytest.mark.parametrize(("change", "fragment"), [
    ({"reconstruction_esc": None}, "row 5: looks like a test split: no target; use reconstruct, not train"),
    ({"reconstruction_esc": np.ones((1, 8, 8))}, "row 39: has 1 slices, the k-space 2"),
    ({"mask": np.ones(7)}, "row 28: has width 7"), ({"mask": np.zeros(20)}, "row 30: all zeros"),
    ({"kspace": np.ones((2, 3, 24, 20), "c8")}, "row 36: has a coil axis (3 coils)"),
])
def test_rows_5_28_30_36_39_nothing_to_train_on(capsys, tmp_path, change, fragment):
    volumes(tmp_path / "data", **change)
    result = train(capsys, tmp_path / "data", tmp_path / "out")
    assert result.code == 3 and fragment.split(": ", 1)[1] in result.err and not result.out
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_fit(monkeypatch):
    """The run ends where training would begin: for tests of what is said before."""
    def stop(*_, **__):
        raise TfreconError("would train now")

    monkeypatch.setattr("tfrecon.training.fit_resumable", stop)


def negative(images):
    target = np.abs(images[:, 2:34])
    target[:, 0, 0] = -1e-5
    return target


@pytest.mark.parametrize(("change", "fragment"), [
    (lambda images: {"kspace": fft2c(images) * (np.arange(32) % 2 == 0)},
     "row 31: 52% of the k-space columns are measured, the others are zero: the data are already undersampled"),
    (lambda images: {"reconstruction_esc": negative(images)}, "row 18: negative values though it should be a magnitude"),
    (lambda images: {"reconstruction_esc": 1e3 * np.abs(images[:, 2:34])}, "row 27: the target is 1e+03 times the image"),
    (lambda images: {"reconstruction_esc": np.abs(images[:, 2:34])[:, ::-1, ::-1] ** 3}, "show different pictures"),
    (lambda images: {"kspace": np.fft.ifftshift(fft2c(images), axes=(1, 2))}, "row 40: try --shift"),
    (lambda images: {"mask": np.ones(32)}, "row 30: acceleration 1, nothing is removed"),
])
def test_rows_18_27_30_31_40_what_looks_wrong_is_said_before_training(capsys, tmp_path, no_fit, change, fragment):
    for seed, name in enumerate("abc"):
        images = disc(2, 36, 32, seed)
        volume(tmp_path / "data" / f"{name}.h5", images=images, **change(images))
    result = train(capsys, tmp_path / "data", tmp_path / "out")
    assert fragment.split(": ", 1)[-1] in result.err and result.err.endswith("would train now\n") and result.code == 1


def test_row_27_unscaled_intensities_warn_with_numbers(data, monkeypatch):
    import tfrecon

    monkeypatch.setattr("keras.Model.fit", lambda *_, **__: None)

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


def test_rows_38_76_mixed_sizes_and_shared_patients_are_said(capsys, data, tmp_path, no_fit):
    volume(data / "d.h5", images=disc(3, 45, 41, 3))
    result = train(capsys, data, tmp_path / "out", "--validation", data, "--allow-leak")
    assert "train: images of several sizes, in batches of their own: 32x32 (6 slices), 41x41 (3 slices)" in result.err
    assert "warning: 4 patients are in both training and validation data" in result.err
    cropped = train(capsys, data, tmp_path / "cropped", "--crop", "35")
    assert cropped.code == 3 and "a.h5: the crop (35, 35) does not fit" in cropped.err
    assert not (tmp_path / "cropped").exists()


def test_row_38_a_batch_never_mixes_sizes(data):
    import tfrecon

    volume(data / "d.h5", images=disc(3, 45, 41, 3))
    pairs = tfrecon.data.create_paired_dataset(data, batch_size=4, shuffle=True)
    shapes = sorted(tuple(image.shape) for image, _ in pairs)
    assert shapes == [(2, 32, 32, 1), (3, 41, 41, 1), (4, 32, 32, 1)] and int(pairs.cardinality()) == 3


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


def test_rows_53_55_the_output_folder(capsys, data, tmp_path, no_fit):
    (tmp_path / "file").touch()
    for out, fragment in ((data, "is the folder of the data"), (tmp_path / "file", "is a file"),
                          (tmp_path / "file" / "x", "is a file")):
        result = train(capsys, data, out)
        assert result.code == 2 and fragment in result.err
    out = tmp_path / "out"
    assert train(capsys, data, out).code == 1 and results(out) == ["config.json", "settings.json"]
    refused = train(capsys, data, out)
    assert refused.code == 2 and "Use --resume to go on with it or --overwrite" in refused.err
    changed = train(capsys, data, out, "--resume", "--seed", "5")
    assert changed.code == 2 and "others for seed" in changed.err
    assert results(out) == ["config.json", "settings.json"]


def test_row_55_overwriting_removes_the_former_run_first(capsys, data, tmp_path, no_fit):
    out = tmp_path / "out"
    (out / "checkpoint").mkdir(parents=True)
    state = "checkpoint/state-00003-0000000.weights.h5"
    for name in (state, "MODEL_CARD.md", "generator.weights.h5", "history.json", "settings.json", "mine"):
        (out / name).write_text("{}")
    train(capsys, data, out, "--overwrite")
    assert results(out) == ["config.json", "mine", "settings.json"]


def test_a_diverging_run_stops_and_says_where():
    from tfrecon.training.callbacks import StopOnNaN

    with pytest.raises(TfreconError, match="g_loss became NaN or infinite at step 5 of the epoch; .* Lower the lea"):
        StopOnNaN().on_train_batch_end(4, {"g_loss": np.float32(np.nan), "d_loss": 1.0})


def test_images_too_small_for_the_critic_are_refused_at_once(capsys, tmp_path):
    data = volumes(tmp_path / "in")
    made = call(capsys, "train", "--data", data, "--out", tmp_path / "run", *TINY)
    assert made.code == 2 and "32" in made.err and not (tmp_path / "run").exists(), made.err
