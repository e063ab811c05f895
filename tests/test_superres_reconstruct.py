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
        return enlarge_volume(index_magnitudes(path).volumes[0], reader, model, SuperresSettings(**settings))[0]


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
    enlarge(volume(tmp_path / "w.h5", images, max=1.5), model)  # the file knows it better
    enlarge(volume(tmp_path / "x.h5", images, max=9.0), model)  # of other images
    largest = [float(x.max()) for x in seen]
    assert largest[0] < 200 and largest[1] == largest[5] == pytest.approx(255)
    assert largest[3] == pytest.approx(170 * images.max())


def test_empty_slice_stays_empty(tmp_path):
    images = RNG.random((2, 8, 8)).astype(np.float32)
    images[1] = 0
    output = enlarge(volume(tmp_path / "v.h5", images))
    assert output[0].any() and not output[1].any()
    assert not enlarge(volume(tmp_path / "w.h5", np.zeros((2, 8, 8), np.float32))).any()


@pytest.mark.parametrize("size", [(32, 40), (33, 43)])
def test_reduced_first_and_enlarged_again_has_the_size_it_had(tmp_path, size):
    images = RNG.random((2, *size)).astype(np.float32)
    path = volume(tmp_path / "v.h5", images)
    output = enlarge(path, interpolate, reduce=True)
    np.testing.assert_allclose(output, bicubic(images), atol=1e-5)


@pytest.mark.parametrize("size", [(5, 6), (1, 1)])
def test_tiny_images_reach_the_model_large_enough(tmp_path, size):
    images, seen = RNG.random((1, *size)).astype(np.float32), []
    path = volume(tmp_path / "v.h5", images)
    for reduce, expected in ((True, size), (False, tuple(4 * n for n in size))):
        assert enlarge(path, lambda x: seen.append(x.shape) or repeat(x), reduce=reduce).shape == (1, *expected)
    assert all(min(shape[1:3]) >= 8 for shape in seen)


def test_bicubic_row_is_tensorflows():
    images = RNG.random((2, 16, 24)).astype(np.float32)
    small = tf.image.resize(images[..., None], (4, 6), "bicubic")
    np.testing.assert_allclose(bicubic(images), tf.image.resize(small, (16, 24), "bicubic")[..., 0], atol=1e-6)


@pytest.mark.parametrize("tile", [8, 9, 24])
def test_small_tiles_share_less(tmp_path, tile):
    path = volume(tmp_path / "v.h5", RNG.random((1, 30, 20)).astype(np.float32))
    np.testing.assert_allclose(enlarge(path, tile=tile), enlarge(path), rtol=1e-5)


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
    with pytest.raises(UsageError, match="at least 8 pixels"):
        SuperresSettings(tile=4)


def test_memory_is_looked_at_before_the_images(tmp_path, monkeypatch):
    path = volume(tmp_path / "v.h5", np.ones((1, 64, 64), np.float32))
    monkeypatch.setattr("tfrecon.data.memory.free_memory", lambda: 100e6)
    with pytest.raises(DataError, match="GiB are free"):
        enlarge(path, lambda x: 1 / 0)
    enlarge(path, tile=16, overlap=4)
    enlarge(path, interpolate, reduce=True, batch_size=8)
    large = volume(tmp_path / "w.h5", np.ones((1, 256, 256), np.float32))
    for options in ({"reduce": True}, {"reduce": True, "tile": 64}):
        with pytest.raises(DataError, match="GiB are free"):
            enlarge(large, lambda x: 1 / 0, **options)
    enlarge(large, interpolate, reduce=True, tile=16, overlap=4)


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
    volume(tmp_path / "out" / "a.h5", bicubic(images), "reconstruction")
    result = evaluate_superres(tmp_path / "out", tmp_path / "in")
    first, second = result.summary()
    assert first["name"] == "bicubic" and first["ssim"] == pytest.approx(second["ssim"], abs=1e-6)
    assert second["psnr"] == pytest.approx(evaluate_volume(images, bicubic(images))["psnr"], abs=1e-6)
    assert result.missing == ["b.h5"] and not result.complete
    for side in (4, 64):  # the middle of an image four times as large would be another part of the picture
        volume(tmp_path / f"{side}.h5", np.ones((2, side, side), np.float32), "reconstruction")
        assert "--reduce" in evaluate_superres(tmp_path / f"{side}.h5", target).failed["a.h5"]


def test_evaluation_takes_the_images_training_took(tmp_path):
    images = RNG.random((1, 16, 16)).astype(np.float32)
    target = volume(tmp_path / "t.h5", images)
    with h5py.File(target, "r+") as file:
        file["reconstruction_esc"] = images * 2
    made = volume(tmp_path / "p.h5", images, "reconstruction")
    assert evaluate_superres(made, target).volumes["t.h5"]["prediction"]["nmse"] == 0
    assert evaluate_superres(made, target, "reconstruction_esc").volumes["t.h5"]["prediction"]["nmse"] > 0.1


def test_attribute_of_other_images_is_noted(tmp_path):
    images = RNG.random((2, 8, 8)).astype(np.float32)
    for name, maximum in (("large", 1e9), ("small", 1e-9)):
        volume(tmp_path / "in" / f"{name}.h5", images, max=maximum)
    index = index_magnitudes(tmp_path / "in")
    for outcome in enlarge_folder(index, tmp_path / "out", repeat, SuperresSettings(), SliceReader()):
        assert "belongs to other images" in outcome.note
        with h5py.File(outcome.path) as file:
            np.testing.assert_allclose(file["reconstruction"][:, ::4, ::4], images, rtol=1e-5, atol=1e-6)
