"""Networks over folders of CT images, judged against the sharp ones with the blurred row first."""

import h5py
import numpy as np
import pytest
from ct_tools import dicom, hdf5, head, png, series

from tfrecon.data import Blurring, ImageReader, index_images
from tfrecon.errors import DataError, UsageError
from tfrecon.metrics import psnr
from tfrecon.reconstruction import Evaluation, ImageSettings, evaluate_images, load_image_triple, reconstruct_images

SMALL = Blurring(canvas=16, max_length=10)


def nothing(images):
    assert images.dtype == np.float32 and images.ndim == 4
    return images


@pytest.fixture
def sharp(tmp_path):
    for i, name in enumerate(["a.h5", "sub/b.h5"]):
        hdf5(tmp_path / "sharp" / name, hu=head(2, 38, 33, seed=i))
    return tmp_path / "sharp"


def run(path, out, model=nothing, window="bone", options=None, **settings):
    index = index_images(path)
    with ImageReader() as reader:
        return list(reconstruct_images(index, out, model, ImageSettings(window, **settings), reader, **(options or {})))


def stored(path):
    with h5py.File(path) as file:
        return file["reconstruction"][()]


@pytest.mark.parametrize("settings", [{}, {"channels": 1, "multiple": 16}, {"tile": 16, "overlap": 4}, {"batch_size": 5}])
def test_identity_returns_every_value_also_beyond_the_window(tmp_path, sharp, settings):
    outcomes = run(sharp, tmp_path / "out", window="brain", **settings)
    assert [o.name for o in outcomes] == ["a.h5", "sub/b.h5"] and not any(o.error for o in outcomes)
    np.testing.assert_array_equal(stored(tmp_path / "out" / "a.h5"), head(2, 38, 33))


def test_the_output_moves_the_input_by_half_a_width_per_unit(tmp_path, sharp):
    run(sharp, tmp_path / "out", lambda x: x[..., :1] + np.float32(0.25), window=(40, 80))
    np.testing.assert_allclose(stored(tmp_path / "out" / "a.h5"), head(2, 38, 33) + 10, atol=1e-3)


def test_channels_are_averaged_and_seen_in_the_window(tmp_path, sharp):
    seen = []

    def model(x):
        seen.append(x)
        return x + np.array([0.0, 0.1, 0.2], np.float32)

    run(sharp, tmp_path / "out", model, window=(0, 200))
    assert all(x.shape == (1, 40, 36, 3) and x.min() == -1 and x.max() == 1 for x in seen)
    np.testing.assert_allclose(stored(tmp_path / "out" / "a.h5"), head(2, 38, 33) + 10, atol=1e-2)


def test_blurred_first_then_judged_with_the_rule_from_the_files(tmp_path, sharp):
    run(sharp, tmp_path / "out", window="bone", blurring=SMALL, attributes={"model": "nothing"})
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        facts = dict(file.attrs)
    assert (facts["task"], facts["window"], facts["blur_seed"], facts["units"]) == ("blur", "bone", "file", "HU")
    assert facts["model"] == "nothing"
    result = evaluate_images(tmp_path / "out", sharp)
    base, own = result.summary()
    assert (base["name"], own["name"], base["n"]) == ("blurred", "prediction", 2) and result.complete
    for metric in ("nmse", "psnr", "ssim"):  # a network that does nothing is the blurred image
        assert own[metric] == pytest.approx(base[metric], rel=1e-4)
    assert 5 < base["psnr"] < 40


def test_metrics_are_of_windowed_images_with_range_one(tmp_path, sharp):
    run(sharp, tmp_path / "out", lambda x: x + np.float32(0.02), window="bone", blurring=SMALL)
    result = evaluate_images(tmp_path / "out", sharp)
    (volume, *_), (made, *_) = (index_images(p).volumes for p in (sharp, tmp_path / "out"))
    blurred, output, truth = load_image_triple(volume, made, ImageReader())
    assert truth.min() == 0 and 0.8 < truth.max() <= 1 and blurred.shape == output.shape == truth.shape
    assert result.volumes["a.h5"]["prediction"]["psnr"] == pytest.approx(psnr(truth, output, 1.0))
    brain = evaluate_images(tmp_path / "out", sharp, window="brain")  # the one asked for wins
    assert brain.volumes["a.h5"]["prediction"]["psnr"] != result.volumes["a.h5"]["prediction"]["psnr"]


def test_a_perfect_prediction_beats_the_blurred_row(tmp_path, sharp):
    result = evaluate_images(sharp, sharp, "bone", SMALL)
    assert result.volumes["a.h5"]["prediction"] == {"nmse": 0, "psnr": np.inf, "ssim": pytest.approx(1)}
    assert result.summary()[0]["psnr"] < 40 and result.below_baseline() == []
    worse = Evaluation({"x": {"prediction": {"nmse": 2, "psnr": 3, "ssim": 0.1},
                              "blurred": {"nmse": 1, "psnr": 9, "ssim": 0.5}}}, baseline="blurred")
    assert worse.below_baseline() == ["nmse", "psnr", "ssim"]


def test_blurred_inputs_taken_as_they_are_have_no_blurred_row(tmp_path, sharp):
    run(sharp, tmp_path / "out")
    result = evaluate_images(tmp_path / "out", sharp)
    assert result.volumes["a.h5"]["blurred"] is None and "no blurred row" in result.notes["a.h5"]
    assert evaluate_images(tmp_path / "out", sharp, blurring=SMALL).volumes["a.h5"]["blurred"]
    with pytest.raises(UsageError, match="drawn the same again"):
        evaluate_images(tmp_path / "out", sharp, blurring=Blurring(16, 10, seed=None))
    with pytest.raises(UsageError, match="drawn the same again"):
        ImageSettings(blurring=Blurring(16, 10, seed=None))


def test_missing_predictions_other_sizes_and_units_are_listed(tmp_path, sharp):  # row 77
    run(sharp, tmp_path / "out")
    hdf5(sharp / "c.h5", hu=head(2))
    hdf5(tmp_path / "out" / "d.h5", reconstruction=head(3))
    hdf5(sharp / "d.h5", hu=head(2))
    png(sharp / "e.png", np.zeros((40, 36), np.uint8))
    hdf5(tmp_path / "out" / "e.h5", reconstruction=head(1))
    (sharp / "f.h5").write_bytes(b"")
    result = evaluate_images(tmp_path / "out", sharp, "bone")
    assert result.missing == ["c.h5"] and set(result.volumes) == {"a.h5", "sub/b.h5"} and not result.complete
    assert "(2, 40, 36)" in result.failed["d.h5"] and "grey levels" in result.failed["e.png"]
    assert result.unreadable == ["f.h5"]


def test_dicom_to_dicom_and_back_again(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path = series(tmp_path / "in" / "scan", head(3))
    (outcome,) = run(path, tmp_path / "out", window="brain", options={"format": "same"})
    assert outcome.path == tmp_path / "out" / "scan"
    for old in path.iterdir():
        made = pydicom.dcmread(outcome.path / old.name)
        assert made.PixelData == pydicom.dcmread(old).PixelData and "task blur" in made.DerivationDescription
    assert evaluate_images(tmp_path / "out", path, "brain").volumes["scan"]["prediction"]["psnr"] == np.inf
    assert [o.note for o in run(path, tmp_path / "out", options={"format": "same", "resume": True})] == ["complete already"]


def test_existing_results_and_inputs_are_not_replaced(tmp_path, sharp):  # rows 53, 55
    run(sharp, tmp_path / "out")
    with pytest.raises(UsageError, match="exist already"):
        run(sharp, tmp_path / "out")
    with pytest.raises(UsageError, match="holds the inputs"):
        run(sharp, sharp, options={"overwrite": True})
    with pytest.raises(UsageError, match="is a file"):
        run(sharp, sharp / "a.h5")
    assert [o.note for o in run(sharp, tmp_path / "out", options={"resume": True})] == ["complete already"] * 2
    with pytest.raises(UsageError, match="another window"):
        run(sharp, tmp_path / "out", window="brain", options={"resume": True})
    (tmp_path / "out" / "a.h5").write_bytes(b"half")
    assert [o.note for o in run(sharp, tmp_path / "out", options={"resume": True})] == ["", "complete already"]
    np.testing.assert_array_equal(stored(tmp_path / "out" / "a.h5"), head(2, 38, 33))
    assert not any(o.error for o in run(sharp, tmp_path / "out", options={"overwrite": True}))


def test_results_that_would_share_a_name_are_refused(tmp_path):  # row 50
    hdf5(tmp_path / "in" / "a.h5", hu=head(1))
    png(tmp_path / "in" / "a.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(UsageError, match="both be written"):
        run(tmp_path / "in", tmp_path / "out", window=(0, 100))


def test_bad_volumes_are_told_and_the_others_done(tmp_path, sharp):
    images = head(2, 38, 33)
    images[1, 2, 3] = np.nan
    hdf5(sharp / "bad.h5", hu=images)
    outcomes = {o.name: o for o in run(sharp, tmp_path / "out")}
    assert "slice 1 has 1 values" in outcomes["bad.h5"].error and not (tmp_path / "out" / "bad.h5").exists()
    assert (tmp_path / "out" / "sub" / "b.h5").exists()
    with pytest.raises(DataError, match="slice 1"):
        run(sharp, tmp_path / "other", options={"strict": True})


@pytest.mark.parametrize("model, message", [
    (lambda x: x * np.nan, "not finite"), (lambda x: x[:, ::2], "The model returned"),
    (lambda x: x[0], "The model returned"),
])
def test_models_that_return_nonsense(tmp_path, sharp, model, message):
    assert all(message in o.error for o in run(sharp, tmp_path / "out", model))
    assert not list((tmp_path / "out").rglob("*.h5"))


def test_memory_is_asked_for_first(tmp_path, sharp, monkeypatch):  # row 13
    monkeypatch.setattr("tfrecon.reconstruction.images.free_memory", lambda: 10**6)
    assert all("GiB are free; cut them into tiles (--tile" in o.error for o in run(sharp, tmp_path / "out"))
    assert not any(o.error for o in run(sharp, tmp_path / "out", tile=16, overlap=4))


def test_the_window_of_grey_levels_is_asked_for(tmp_path):  # row 82
    png(tmp_path / "in" / "a.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(DataError, match="--window grey"):
        run(tmp_path / "in", tmp_path / "out", window=None)
    assert not any(o.error for o in run(tmp_path / "in", tmp_path / "out", window="grey", options={"format": "same"}))


def test_padding_is_air_in_results(tmp_path):
    pytest.importorskip("pydicom")
    image = head(1)[0]
    image[:6] = -2000
    dicom(tmp_path / "in" / "a.dcm", image.astype("<i2"), PixelPaddingValue=-2000)
    run(tmp_path / "in", tmp_path / "out", lambda x: x + 1, window="bone")
    assert (stored(tmp_path / "out" / "a.h5")[0, :6] == -1024).all()
    # The baseline is treated alike: doing nothing scores exactly as doing nothing.
    run(tmp_path / "in", tmp_path / "same", window="full", blurring=SMALL)
    base, own = evaluate_images(tmp_path / "same", tmp_path / "in").summary()
    assert own["psnr"] == pytest.approx(base["psnr"], rel=1e-6)


@pytest.mark.parametrize("options", [{"channels": 0}, {"batch_size": 0}, {"batch_size": 1.5}])
def test_impossible_settings(options):
    with pytest.raises(UsageError, match="at least 1"):
        ImageSettings(**options)
