"""Pairs for super-resolution: the original's pipeline, scaling and its inverse, sizes, patches, order, foreign files."""

import zlib

import h5py
import numpy as np
import pytest
import tensorflow as tf
from cli_tools import on_tpu
from conftest import GOLDEN

from tfrecon.data import EpochClock, calculate_slices, create_paired_dataset, index_magnitudes, split
from tfrecon.errors import DataError, UsageError
from tfrecon.transforms import crop_or_pad, reduce_by_four, resize_bicubic

RNG = np.random.default_rng(4)


def write(path, images, key="reconstruction_rss", **attributes):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = images
        file.attrs.update(attributes)
    return path


def pairs(path, *args, **options):
    return create_paired_dataset(path, "superres", *args, **options)


def everything(dataset):
    """Every array of a dataset, batches joined."""
    return [np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator())]


def tensorflows_bicubic(images, shape):
    return tf.image.resize(images[..., None], shape, "bicubic").numpy()[..., 0]


def test_pairs_of_the_original(tmp_path):
    case = np.load(GOLDEN / "sr_pipeline.npz", allow_pickle=False)
    images = case["volume_u8"].astype(np.float32) * np.float32(case["peak"] / 255)
    path = write(tmp_path / "v.h5", images, max=float(case["attr_max"]))
    small, large = everything(pairs(path, 2, size=320, value_range="raw"))
    np.testing.assert_allclose(small[..., 0], case["lr_channel0"], rtol=0, atol=2.5e-7 * case["peak"])  # three roundings
    assert zlib.crc32(np.ascontiguousarray(np.repeat(large, 3, -1))) == case["hr_crc32"]


def test_reducing_and_enlarging_are_tensorflows_bicubic():
    images = RNG.random((2, 16, 24)).astype(np.float32) * 255
    expected = tensorflows_bicubic(images, (4, 6))
    np.testing.assert_allclose(reduce_by_four(tf.constant(images[..., None]))[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(reduce_by_four(images[..., None])[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(resize_bicubic(images, (4, 6)), expected, atol=1e-4)
    np.testing.assert_allclose(resize_bicubic(images, (64, 96)), tensorflows_bicubic(images, (64, 96)), atol=2e-4)
    np.testing.assert_allclose(resize_bicubic(images, (50, 33)), tensorflows_bicubic(images, (50, 33)), atol=0.4)


def test_reducing_compiles_and_keeps_every_channel():
    images = RNG.random((1, 8, 8, 3)).astype(np.float32)
    compiled = tf.function(reduce_by_four, jit_compile=True)(tf.constant(images))
    np.testing.assert_allclose(compiled, reduce_by_four(images), atol=1e-6)
    np.testing.assert_allclose(compiled[..., 2], reduce_by_four(images[..., 2:])[..., 0], atol=1e-6)


def test_crop_or_pad_keeps_the_centre():
    image = np.arange(1.0, 13.0).reshape(3, 4)
    np.testing.assert_array_equal(crop_or_pad(image, (4, 2)), [[2, 3], [6, 7], [10, 11], [0, 0]])
    padded = crop_or_pad(image, (8, 8))
    np.testing.assert_array_equal(padded[2:5, 2:6], image)
    assert padded.sum() == image.sum()


def test_volume_range_and_its_inverse(tmp_path):
    images = RNG.random((3, 20, 24)).astype(np.float32) * 8e-4
    images[0] *= 0.5
    path = write(tmp_path / "v.h5", images, max=float(images.max()))
    ((small, large, facts),) = pairs(path, 4, metadata=True).as_numpy_iterator()
    assert large.max() == pytest.approx(255, rel=1e-6) and large.dtype == small.dtype == np.float32
    assert large[0].max() < 130  # of the volume, not of the slice
    np.testing.assert_allclose(large[..., 0] * facts["scale"][:, None, None], images, rtol=1e-6)
    np.testing.assert_allclose(facts["data_range"] * facts["scale"], images.max(), rtol=1e-6)
    assert not facts["offset"].any()


def test_volume_range_reads_the_maximum_where_no_attribute_says_it(tmp_path):
    images = RNG.random((3, 8, 8)).astype(np.float32)
    for i, attributes in enumerate(({}, {"max": float("nan")}, {"max": -1.0}, {"max": "large"})):
        _, large = everything(pairs(write(tmp_path / f"{i}.h5", images, **attributes)))
        assert large.max() == pytest.approx(255, rel=1e-6)


@pytest.mark.parametrize("stated", [1e-9, 0.01, 1e3])
def test_maximum_of_other_images_is_not_believed(tmp_path, stated):
    """In any of the volumes, not only in the first."""
    for name in "ab":
        write(tmp_path / "d" / f"{name}.h5", np.ones((2, 8, 8), np.float32), max=1.0 if name == "a" else stated)
    with pytest.warns(UserWarning, match="b.h5: its attribute max is .* belongs to other images"):
        dataset = pairs(tmp_path / "d")
    np.testing.assert_allclose(everything(dataset)[1], 255)


@pytest.mark.parametrize("stated", [0.7, 1.6])
def test_maximum_of_another_reconstruction_is_believed(tmp_path, stated):
    dataset = pairs(write(tmp_path / "v.h5", np.ones((2, 8, 8), np.float32), max=stated))
    np.testing.assert_allclose(everything(dataset)[1], 255 / stated, rtol=1e-6)


def test_slice_range_and_its_inverse(tmp_path):
    images = RNG.random((2, 8, 8)).astype(np.float32) + 3
    images[1] = 7.0
    ((_, large, facts),) = pairs(write(tmp_path / "v.h5", images), value_range="slice", metadata=True).as_numpy_iterator()
    assert large[0].min() == 0 and large[0].max() == pytest.approx(255, rel=1e-6) and not large[1].any()
    back = large[..., 0] * facts["scale"][:, None, None] + facts["offset"][:, None, None]
    np.testing.assert_allclose(back, images, rtol=1e-6)


def test_empty_volume_stays_empty(tmp_path):
    small, large = everything(pairs(write(tmp_path / "v.h5", np.zeros((2, 8, 8), np.float32), max=0.0)))
    assert not small.any() and not large.any()


def test_small_image_belongs_to_the_large_one_after_cropping(tmp_path):
    images = RNG.random((1, 37, 46)).astype(np.float32)
    small, large = everything(pairs(write(tmp_path / "v.h5", images)))
    assert large.shape == (1, 36, 44, 1)
    np.testing.assert_allclose(large[0, ..., 0], images[0, :36, 1:45] * 255 / images.max(), rtol=1e-5)
    np.testing.assert_allclose(small[..., 0], tensorflows_bicubic(large[..., 0], (9, 11)), atol=1e-4)


def test_one_size_for_all_by_cropping_and_padding(tmp_path):
    write(tmp_path / "d" / "a.h5", np.ones((1, 12, 24), np.float32))
    write(tmp_path / "d" / "b.h5", np.ones((1, 18, 10), np.float32))
    dataset = pairs(tmp_path / "d", 2, size=(16, 16), drop_remainder=True)
    assert dataset.element_spec[0].shape == (2, 4, 4, 1) and dataset.element_spec[1].shape == (2, 16, 16, 1)
    _, large = everything(dataset)
    assert [int((image > 0).sum()) for image in large] == [12 * 16, 16 * 10]


def test_other_sizes_come_in_batches_of_their_own(tmp_path):
    for name, side in (("a", 8), ("b", 12), ("c", 8)):
        write(tmp_path / "d" / f"{name}.h5", RNG.random((3, side, side)).astype(np.float32))
    dataset = pairs(tmp_path / "d", 4, shuffle=True)
    shapes = [large.shape for _, large in dataset]
    assert sorted(map(tuple, shapes)) == [(2, 8, 8, 1), (3, 12, 12, 1), (4, 8, 8, 1)]
    assert int(dataset.cardinality()) == len(shapes)
    assert int(pairs(tmp_path / "d", 4, drop_remainder=True).cardinality()) == 1


def test_patches_are_cut_from_the_slice_and_differ_by_epoch(tmp_path):
    images = np.arange(2 * 40 * 30, dtype=np.float32).reshape(2, 40, 30)
    path = write(tmp_path / "v.h5", images)
    clock = EpochClock()
    dataset = pairs(path, 2, patch=16, value_range="raw", seed=3, clock=clock, samples=[(0, 0), (0, 0), (0, 1)])
    first, second = everything(dataset), everything(dataset)
    for small, large in (first, second):
        assert large.shape == (3, 16, 16, 1) and small.shape == (3, 4, 4, 1)
        for i, patch in zip((0, 0, 1), large[..., 0]):
            top, left = divmod(int(patch[0, 0]) - i * 1200, 30)
            np.testing.assert_array_equal(patch, images[i, top : top + 16, left : left + 16])
    assert not np.array_equal(first[1][0], first[1][1])  # two visits of one slice
    assert not np.array_equal(first[1], second[1])
    clock.epoch = 0
    np.testing.assert_array_equal(everything(dataset)[1], first[1])


def test_patches_reach_the_last_row_and_column(tmp_path):
    images = np.zeros((1, 9, 9), np.float32)
    images[0, -1, -1] = images[0, 0, 0] = 1
    _, large = everything(pairs(write(tmp_path / "v.h5", images), patch=8, samples=[(0, 0)] * 60))
    assert large[:, -1, -1].any() and large[:, 0, 0].any()


def test_slices_smaller_than_the_patch_are_padded(tmp_path):
    _, large = everything(pairs(write(tmp_path / "v.h5", np.ones((1, 5, 30), np.float32)), patch=12))
    assert large.shape == (1, 12, 12, 1) and int((large > 0).sum()) == 5 * 12


def test_order_depends_on_seed_and_epoch_alone(tmp_path):
    path = write(tmp_path / "v.h5", np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32))
    order = lambda seed, epoch: everything(pairs(  # noqa: E731
        path, 3, shuffle=True, seed=seed, clock=EpochClock(epoch), value_range="raw"))[1][:, 0, 0, 0].tolist()
    assert order(0, 0) == order(0, 0) and sorted(order(0, 0)) == list(range(8))
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)


def test_keys_in_their_order_and_files_without_kspace(tmp_path):
    images = np.ones((2, 8, 8), np.float32)
    write(tmp_path / "d" / "a.h5", images, "reconstruction_rss")
    write(tmp_path / "d" / "b.h5", images, "reconstruction")
    write(tmp_path / "d" / "c.h5", images, "kspace")
    (tmp_path / "d" / "d.h5").write_bytes(b"<html>403")
    index = index_magnitudes(tmp_path / "d")
    assert [(v.name, v.target_key) for v in index.volumes] == [("a.h5", "reconstruction_rss"), ("b.h5", "reconstruction")]
    reasons = {s.name: s.reason for s in index.skipped}
    assert "reconstruct it first" in reasons["c.h5"] and "a web page" in reasons["d.h5"]
    assert calculate_slices(tmp_path / "d") == 4
    with pytest.raises(DataError):
        index_magnitudes(tmp_path / "d", strict=True)


def test_slices_are_counted_without_reading_them(tmp_path, monkeypatch):
    path = write(tmp_path / "v.h5", np.ones((7, 8, 8), np.float32))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("pixels were read"))
    assert calculate_slices(path) == 7


def test_split_is_by_patient(tmp_path):
    for name in "abcd":
        write(tmp_path / "d" / f"{name}.h5", np.ones((1, 8, 8), np.float32), patient_id=name in "ab" and "twice" or name)
    train, validation = split(index_magnitudes(tmp_path / "d"), (0.7, 0.3))
    assert {v.patient for v in train.volumes}.isdisjoint(v.patient for v in validation.volumes)
    assert len(train.volumes) + len(validation.volumes) == 4


def test_slice_that_is_not_finite(tmp_path):
    images = np.ones((3, 8, 8), np.float32)
    images[0, 1, 1], images[2] = np.nan, 5
    path = write(tmp_path / "v.h5", images)
    with pytest.raises(DataError, match="slice 0 has 1 NaN"):
        everything(pairs(path, nan="refuse"))
    np.testing.assert_array_equal(everything(pairs(path, value_range="raw"))[1][0], 1)
    assert everything(pairs(path, value_range="raw", nan="zero"))[1][0, 1, 1] == 0


@pytest.mark.parametrize("options, message", [
    ({"batch_size": 0}, "batch size"), ({"patch": 10}, "multiple of 4"), ({"patch": 2}, "at least 4"),
    ({"seed": -1}, "seed"),
    ({"size": 30}, "multiples of 4"), ({"size": "large"}, "number or"), ({"size": 8.5}, "multiples of 4"),
    ({"value_range": "0..1"}, "volume, slice, raw"), ({"nan": "keep"}, "skip, refuse or zero"),
    ({"samples": [(0, 9)]}, "no slice 9"),
    ({"batch_size": 8, "drop_remainder": True}, "larger than the 2 slices"),
])
def test_wrong_arguments(tmp_path, options, message):
    path = write(tmp_path / "v.h5", np.ones((2, 8, 8), np.float32))
    with pytest.raises(UsageError, match=message):
        pairs(path, **options)


@pytest.mark.parametrize("shape", [(0, 8, 8), (2, 8, 0), (2, 3, 8), (2, 2, 8, 8)])
def test_images_that_cannot_be_reduced(tmp_path, shape):
    with pytest.raises(DataError):
        pairs(write(tmp_path / "v.h5", np.ones(shape, np.float32)))


def test_index_for_other_images_is_refused(tmp_path):
    index = index_magnitudes(write(tmp_path / "v.h5", np.ones((2, 8, 8), np.float32)))
    with pytest.raises(UsageError, match="made for reconstruction_rss"):
        pairs(index, target="reconstruction_esc")


def test_files_read_by_python_are_refused_under_a_tpu(tmp_path):  # row 84
    path = write(tmp_path / "v.h5", np.ones((2, 8, 8), np.float32))
    with on_tpu(), pytest.raises(UsageError, match="tfrecon convert IN OUT"):
        pairs(path)
