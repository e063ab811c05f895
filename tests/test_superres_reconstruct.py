"""Enlarging volumes with any callable, and the bicubic row beside them."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tfrecon.data import SliceReader, index_magnitudes
from tfrecon.errors import DataError, UsageError
from tfrecon.metrics import evaluate_volume
from tfrecon.reconstruction import SuperresSettings, bicubic, enlarge_folder, enlarge_volume, evaluate_superres
from tfrecon.transforms import resize_bicubic

RNG = np.random.default_rng(9)


def repeat(images):
    """A model that repeats every pixel, its three channels 1 apart."""
    large = np.repeat(np.repeat(images, 4, 1), 4, 2)
    return np.concatenate([large - 1, large, large + 1], -1)


def interpolate(images):
    return resize_bicubic(np.asarray(images)[..., 0], [4 * n for n in images.shape[1:3]])[..., None]


def volume(path, images, key="reconstruction_rss", **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = images
        file.attrs.update(attributes)
    return path


def enlarge(path, model=repeat, **settings):
    with SliceReader() as reader:
        return enlarge_volume(index_magnitudes(path).volumes[0], reader, model, SuperresSettings(**settings))


@pytest.mark.parametrize("value_range", ["volume", "slice", "raw"])
@pytest.mark.parametrize("shape", [(3, 7, 10), (1, 1, 1)])
def test_result_is_four_times_as_large_in_the_files_units(tmp_path, shape, value_range):
    images = (RNG.random(shape) * 8e-4 + 1e-5).astype(np.float32)
    path = volume(tmp_path / "v.h5", images)
    output = enlarge(path, value_range=value_range, batch_size=2)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, np.repeat(np.repeat(images, 4, 1), 4, 2), rtol=1e-5, atol=1e-7)


def test_model_sees_the_volumes_maximum_as_255(tmp_path):
    images, seen = RNG.random((2, 8, 8)).astype(np.float32), []
    images[0] /= 2

    def model(x):
        seen.append(x)
        return repeat(x)

    enlarge(volume(tmp_path / "v.h5", images), model)
    enlarge(volume(tmp_path / "w.h5", images, max=2.0), model)  # the file knows it better
    largest = [float(x.max()) for x in seen]
    assert largest[0] < 200 and largest[1] == pytest.approx(255) and largest[3] == pytest.approx(127.5 * images.max())


def test_empty_slice_stays_empty(tmp_path):
    images = RNG.random((2, 8, 8)).astype(np.float32)
    images[1] = 0
    output = enlarge(volume(tmp_path / "v.h5", images))
    assert output[0].any() and not output[1].any()
    assert not enlarge(volume(tmp_path / "w.h5", np.zeros((2, 8, 8), np.float32))).any()


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (5, 6)])
def test_reduced_first_and_enlarged_again_has_the_size_it_had(tmp_path, size):
    images = RNG.random((2, *size)).astype(np.float32)
    path = volume(tmp_path / "v.h5", images)
    output = enlarge(path, interpolate, reduce=True)
    np.testing.assert_allclose(output, bicubic(images), atol=1e-5)


def test_bicubic_row_is_tensorflows():
    images = RNG.random((2, 16, 24)).astype(np.float32)
    small = tf.image.resize(images[..., None], (4, 6), "bicubic")
    np.testing.assert_allclose(bicubic(images), tf.image.resize(small, (16, 24), "bicubic")[..., 0], atol=1e-6)


def test_tiles_give_the_same_picture(tmp_path):
    path = volume(tmp_path / "v.h5", RNG.random((1, 50, 41)).astype(np.float32))
    whole = enlarge(path, interpolate)
    tiled = enlarge(path, interpolate, tile=24, overlap=8)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(tiled[inside], whole[inside], atol=0.05)  # a tile's edge weighs little, not nothing
    np.testing.assert_allclose(enlarge(path, tile=24, overlap=8), enlarge(path), rtol=1e-5)  # exact for one pixel


def test_wrong_models_are_told(tmp_path):
    path = volume(tmp_path / "v.h5", np.ones((1, 8, 8), np.float32))
    with pytest.raises(DataError, match=r"returned \(1, 8, 8, 1\) .* expected \(1, 32, 32, 'channels'\)"):
        enlarge(path, lambda x: x)
    with pytest.raises(DataError, match="not finite"):
        enlarge(path, lambda x: repeat(x) * np.nan)
    with pytest.raises(UsageError, match="batch size"):
        SuperresSettings(batch_size=0)
    with pytest.raises(UsageError, match="value range"):
        SuperresSettings("0..1")


def test_memory_is_looked_at_before_the_images(tmp_path, monkeypatch):
    path = volume(tmp_path / "v.h5", np.ones((1, 64, 64), np.float32))
    monkeypatch.setattr("tfrecon.data.memory.free_memory", lambda: 100e6)
    with pytest.raises(DataError, match="GiB are free"):
        enlarge(path, lambda x: 1 / 0)
    enlarge(path, tile=16, overlap=4)
    enlarge(path, interpolate, reduce=True)


def test_folder_with_a_bad_volume(tmp_path):
    volume(tmp_path / "in" / "a.h5", np.ones((2, 8, 8), np.float32))
    volume(tmp_path / "in" / "sub" / "b.h5", np.full((2, 8, 8), np.nan, np.float32))
    index, settings = index_magnitudes(tmp_path / "in"), SuperresSettings(attributes={"model": "m"})
    run = lambda **more: list(enlarge_folder(  # noqa: E731
        index, tmp_path / "out", repeat, settings, SliceReader(), **more))
    good, bad = run()
    assert good.path == tmp_path / "out" / "a.h5" and "NaN" in bad.error
    with h5py.File(good.path) as file:
        assert file["reconstruction"].shape == (2, 32, 32) and file.attrs["task"] == "superres"
    assert run(resume=True)[0].note == "complete already"
    with pytest.raises(UsageError, match="exist already"):
        run()
    with pytest.raises(UsageError, match="another model"):
        list(enlarge_folder(index, tmp_path / "out", repeat, SuperresSettings(attributes={"model": "n"}), SliceReader(),
                            resume=True))
    with pytest.raises(UsageError, match="holds the inputs"):
        list(enlarge_folder(index, tmp_path / "in", repeat, settings, SliceReader(), overwrite=True))
    with pytest.raises(DataError):
        run(overwrite=True, strict=True)


def test_evaluation_shows_bicubic_first(tmp_path):
    images = RNG.random((2, 16, 16)).astype(np.float32) + 0.1
    target = volume(tmp_path / "in" / "a.h5", images)
    volume(tmp_path / "in" / "b.h5", images)
    made = volume(tmp_path / "out" / "a.h5", bicubic(images), "reconstruction")
    result = evaluate_superres(tmp_path / "out", tmp_path / "in")
    first, second = result.summary()
    assert first["name"] == "bicubic" and first["ssim"] == pytest.approx(second["ssim"], abs=1e-6)
    assert second["psnr"] == pytest.approx(evaluate_volume(images, bicubic(images))["psnr"], abs=1e-6)
    assert result.missing == ["b.h5"] and not result.complete
    volume(made, np.ones((2, 4, 4), np.float32), "reconstruction")
    assert "a.h5" in evaluate_superres(made, target).failed


def test_evaluation_takes_the_images_training_took(tmp_path):
    images = RNG.random((1, 16, 16)).astype(np.float32)
    target = volume(tmp_path / "t.h5", images)
    with h5py.File(target, "r+") as file:
        file["reconstruction_esc"] = images * 2
    made = volume(tmp_path / "p.h5", images, "reconstruction")
    assert evaluate_superres(made, target).volumes["t.h5"]["prediction"]["nmse"] == 0
    assert evaluate_superres(made, target, "reconstruction_esc").volumes["t.h5"]["prediction"]["nmse"] > 0.1
