"""Blurred and sharp pairs: equal to the plain form, the same crop and flip for both, the same stream again when resumed."""

import numpy as np
import pytest
from conftest import SHARED
from ct_tools import hdf5, head, png

from tfrecon.data import Blurring, EpochClock, ImageReader, blur_pairs, index_images
from tfrecon.data.ct import blur_slice, choose_window
from tfrecon.errors import DataError, NonFiniteError, UsageError
from tfrecon.physics import blur

SMALL = Blurring(canvas=16, max_length=10)
GE = SHARED / "data" / "raw" / "ct_head_ge"


@pytest.fixture
def scan(tmp_path):
    return hdf5(tmp_path / "scan.h5", hu=head(4, 48, 40))


def batches(dataset):
    return [tuple(np.asarray(x) for x in element[:2]) for element in dataset]


def plain(path, kernels, window="brain"):
    """(blurred, sharp) whole slices in [-1, 1] in NumPy."""
    (volume,) = index_images(path).volumes
    chosen = choose_window(window, volume)
    with ImageReader() as reader:
        sharp = [reader.slice(volume, i) for i in range(volume.slices)]
    blurred = [blur_slice(x, k, np.float32(volume.air)) for x, k in zip(sharp, kernels)]
    return chosen.to_network(blurred), chosen.to_network(sharp)


def test_whole_slices_equal_the_plain_form(scan):
    kernels = [SMALL.draw("scan.h5", (i,)) for i in range(4)]
    blurred, sharp = plain(scan, kernels)
    data = blur_pairs(scan, 3, window="brain", patch=None, blurring=SMALL, channels=2)
    assert data.element_spec[0].shape.as_list() == [None, 48, 40, 2] and int(data.cardinality()) == 2
    image, target = (np.concatenate(x) for x in zip(*batches(data)))
    for channel in range(2):
        np.testing.assert_array_equal(target[..., channel], sharp)
        np.testing.assert_allclose(image[..., channel], blurred, atol=5e-5)  # 1e-6 of the range of HU, seen through 80 HU
    assert np.abs(image - target).max() > 0.5


def find(patch, whole):
    """Where a patch lies in a whole slice."""
    view = np.lib.stride_tricks.sliding_window_view(whole, patch.shape)
    hits = np.argwhere((view == patch).all((-1, -2)))
    return tuple(hits[0]) if len(hits) else None


def test_crops_are_those_of_the_whole_blurred_slice_and_flip_together(scan):
    kernels = [SMALL.draw("scan.h5", (i,)) for i in range(4)]
    blurred, sharp = plain(scan, kernels, "bone")
    data = blur_pairs(scan, 1, window="bone", patch=24, channels=1, blurring=SMALL, samples=[(0, 2)] * 60)
    places, flips = set(), set()
    for image, target in batches(data):
        image, target = image[0, ..., 0], target[0, ..., 0]
        turned = find(target, sharp[2]) is None
        image, target = (image[:, ::-1], target[:, ::-1]) if turned else (image, target)
        top, left = find(target, sharp[2])
        np.testing.assert_allclose(image, blurred[2][top : top + 24, left : left + 24], atol=5e-6)
        places.add((top, left))
        flips.add(turned)
    assert flips == {True, False} and len(places) > 40
    # The original's offsets: randint(0, n - patch - 1), both ends included.
    assert max(top for top, _ in places) == 48 - 24 - 1 and max(left for _, left in places) == 40 - 24 - 1
    assert min(top for top, _ in places) == 0 == min(left for _, left in places)


@pytest.mark.parametrize("patch", [40, 39, 1])
def test_patches_as_large_as_the_slice(scan, patch):
    (image, target), *_ = batches(blur_pairs(scan, 4, window="bone", patch=patch, blurring=SMALL))
    assert image.shape == target.shape == (4, patch, patch, 3)


def test_stretch_is_the_originals_blur_of_the_windowed_slice(scan):
    kernel = SMALL.draw("scan.h5", (1,))
    _, sharp = plain(scan, [kernel] * 4)
    data = blur_pairs(scan, 1, window="brain", patch=None, blurring=SMALL, samples=[(0, 1)], stretch=True)
    ((image, target),) = batches(data)
    np.testing.assert_allclose(image[0, ..., 0], 2 * blur(sharp[1], kernel, stretch=True) - 1, atol=5e-6)
    np.testing.assert_array_equal(target[0, ..., 0], sharp[1])
    ((image, _),) = batches(blur_pairs(scan, 1, window="brain", patch=24, blurring=SMALL, samples=[(0, 1)], stretch=True))
    assert image.shape == (1, 24, 24, 3)


def test_order_crops_and_kernels_depend_on_seed_and_epoch_alone(scan):
    def epoch(number, seed=0):
        data = blur_pairs(scan, 3, window="bone", patch=24, blurring=Blurring(16, 10, seed=None), shuffle=True, seed=seed,
                          clock=EpochClock(number))
        return batches(data)

    def same(a, b):
        return all(np.array_equal(x, y) for pair in zip(a, b, strict=True) for x, y in zip(*pair))

    assert same(epoch(3), epoch(3))
    assert not same(epoch(3), epoch(4)) and not same(epoch(3), epoch(3, seed=1))
    data = blur_pairs(scan, 3, window="bone", patch=24, blurring=Blurring(16, 10, seed=None), shuffle=True)
    first, second = batches(data), batches(data)
    assert not same(first, second)
    clock = EpochClock(1)
    assert same(second, batches(blur_pairs(scan, 3, window="bone", patch=24, blurring=Blurring(16, 10, seed=None),
                                           shuffle=True, clock=clock))) and clock.epoch == 2


def test_every_slice_comes_once_per_pass(scan):
    data = blur_pairs(scan, 3, window="bone", patch=None, blurring=SMALL, shuffle=True)
    _, sharp = plain(scan, [SMALL.draw("x")] * 4, "bone")
    for _ in range(2):
        sums = sorted(float(x.sum()) for _, target in batches(data) for x in target[..., 0])
        np.testing.assert_allclose(sums, sorted(float(x.sum()) for x in sharp), rtol=1e-5)


def test_metadata_and_drop_remainder(scan):
    data = blur_pairs(scan, 3, window=(40, 90), patch=24, blurring=SMALL, metadata=True, drop_remainder=True)
    assert int(data.cardinality()) == 1 and data.element_spec[0].shape.as_list() == [3, 24, 24, 3]
    ((_, _, facts),) = list(data)
    np.testing.assert_array_equal(facts["data_range"], np.ones(3))
    np.testing.assert_array_equal(facts["scale"], np.full(3, 45))


def test_mixed_sizes_come_in_batches_of_their_own(tmp_path):  # row 38
    for i, size in enumerate([(20, 24), (24, 20), (20, 24)]):
        hdf5(tmp_path / f"{i}.h5", hu=head(3, *size))
    data = blur_pairs(tmp_path, 4, window="bone", patch=None, blurring=SMALL)
    assert sorted(x.shape[:3] for x, _ in batches(data)) == [(2, 20, 24), (3, 24, 20), (4, 20, 24)]
    assert int(data.cardinality()) == 3
    assert int(blur_pairs(tmp_path, 4, window="bone", patch=16, blurring=SMALL).cardinality()) == 3


def test_grey_images_need_their_window_named(tmp_path):  # row 82
    levels = np.random.default_rng(0).integers(0, 256, (40, 36)).astype(np.uint8)
    png(tmp_path / "a.png", levels)
    with pytest.raises(DataError, match="--window grey"):
        blur_pairs(tmp_path, 1, patch=32)
    ((_, target),) = batches(blur_pairs(tmp_path, 1, window="grey", patch=None, blurring=SMALL, channels=1))
    np.testing.assert_allclose(target[0, ..., 0], levels / 127.5 - 1, atol=1e-6)


def test_an_index_keeps_its_window(scan):
    index = index_images(scan, "brain")
    ((_, target),) = batches(blur_pairs(index, 4, patch=None, blurring=SMALL))
    np.testing.assert_array_equal(target[..., 0], plain(scan, [SMALL.draw("x")] * 4)[1])
    with pytest.raises(UsageError, match="made for the window brain"):
        blur_pairs(index, 4, window="bone", patch=None)
    blur_pairs(index, 4, window="Brain", patch=None)


@pytest.mark.parametrize("options, error, message", [
    ({"batch_size": 0}, UsageError, "batch size"), ({"batch_size": True}, UsageError, "batch size"),
    ({"patch": 0}, UsageError, "patch"), ({"patch": 24.0}, UsageError, "patch"), ({"channels": 0}, UsageError, "channels"),
    ({"seed": -1}, UsageError, "seed"), ({"window": "brian"}, UsageError, "brian"), ({"nan": "keep"}, UsageError, "nan"),
    ({"patch": 41}, DataError, "smaller than the patch of 41"), ({"samples": []}, DataError, "No slices"),
    ({"samples": [(0, 4)]}, UsageError, "no slice 4"), ({"samples": [(1, 0)]}, UsageError, "volume 1"),
    ({"batch_size": 9, "drop_remainder": True}, UsageError, "larger than the 4 slices"),
])
def test_misuse_is_refused(scan, options, error, message):  # rows 12, 74
    with pytest.raises(error, match=message):
        blur_pairs(scan, **{"window": "brain", "patch": 24, "batch_size": 2, **options})


def test_slices_beyond_the_memory_are_refused_with_numbers(scan, monkeypatch):  # row 13
    monkeypatch.setattr("tfrecon.data.memory.free_memory", lambda: 10**5)
    with pytest.raises(DataError, match="48 x 40 need about .* GiB of memory and .* GiB are free"):
        blur_pairs(scan, 1, window="bone", patch=24)


def test_a_slice_that_is_not_finite_stops_the_stream(tmp_path):
    import tensorflow as tf

    images = head(2)
    images[1, 0, 0] = np.nan
    path = hdf5(tmp_path / "a.h5", hu=images)
    with pytest.raises(tf.errors.OpError, match="NaN"):
        batches(blur_pairs(path, 1, window="bone", patch=None, blurring=SMALL))
    assert len(batches(blur_pairs(path, 1, window="bone", patch=None, blurring=SMALL, nan="air"))) == 2
    assert issubclass(NonFiniteError, DataError)


@pytest.mark.parametrize("options, message", [
    ({"seed": "name"}, "seed"), ({"seed": -1}, "seed"), ({"seed": True}, "seed"), ({"exposures": ()}, "exposures"),
    ({"exposures": (-1,)}, "exposures"), ({"exposures": 0.1}, "exposures"), ({"fractions": (0.0,)}, "fractions"),
    ({"fractions": (2,)}, "fractions"), ({"canvas": 1}, "canvas"), ({"canvas": 10**6}, "canvas"),
    ({"max_length": -1}, "length"),
])
def test_impossible_blurs_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Blurring(**options)


def test_blur_rule_by_file_number_or_fresh():
    by_file = Blurring(16, 10)
    assert np.array_equal(by_file.draw("a/x.dcm", (9, 3)), by_file.draw("b/x.dcm", (3,)))  # the folder does not matter
    assert not np.array_equal(by_file.draw("x.dcm", (3,)), by_file.draw("x.dcm", (4,)))
    assert not np.array_equal(by_file.draw("x.dcm", (3,)), by_file.draw("y.dcm", (3,)))
    fixed, fresh = Blurring(16, 10, seed=7), Blurring(16, 10, seed=None)
    assert np.array_equal(fixed.draw("x", (1,)), fixed.draw("y", (2,)))
    assert not np.array_equal(fresh.draw("x", (0, 1)), fresh.draw("x", (1, 1)))
    for rule in (by_file, fixed):
        assert Blurring.from_attributes(rule.as_attributes()).as_attributes() == rule.as_attributes()
        again = Blurring.from_attributes({**rule.as_attributes(), "model": "x"})
        assert np.array_equal(again.draw("x", (1,)), rule.draw("x", (1,)))
    assert Blurring.from_attributes(fresh.as_attributes()) is None and Blurring.from_attributes({}) is None
    for damage in ({"blur_fractions": "a"}, {"blur_canvas": 10**9}, {"blur_seed": "x"}, {"blur_more": 1}):
        with pytest.raises(DataError, match="no rule"):
            Blurring.from_attributes({**by_file.as_attributes(), **damage})


def test_draw_is_the_original_scripts():
    """expl by choice, then the path, then the element by choice: all from one seeded generator."""
    from tfrecon.physics.motion_blur import path_kernels, trajectory

    rule = Blurring()
    rng = np.random.RandomState(5)
    path = trajectory(rng, 64, 60, rng.choice(rule.exposures))
    kernel = path_kernels(path, 64)[rng.choice([1, 2, 3])]
    np.testing.assert_allclose(Blurring(seed=5, centred=False).draw("x"), kernel / kernel.sum(), atol=1e-7)


def test_centred_kernels_are_the_same_kernels_without_the_shift():
    """Whole pixels, nothing lost; the centre of mass in the middle unless the path is as long as the canvas."""
    for seed in range(20):
        moved, plain = (Blurring(fractions=(0.1,), seed=seed, centred=c).draw("x") for c in (True, False))
        assert np.count_nonzero(moved) == np.count_nonzero(plain) and moved.sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(np.sort(moved[moved > 0]), np.sort(plain[plain > 0]), rtol=1e-6)
        middle = [float(moved.sum(axis=1 - axis) @ np.arange(64)) for axis in (0, 1)]
        np.testing.assert_allclose(middle, 31, atol=0.5)
    long = Blurring(fractions=(1.0,), seed=3).draw("x")
    assert long.sum() == pytest.approx(1, abs=1e-6) and (long >= 0).all()
    point = np.zeros((64, 64))
    point[5, 60] = 1  # a pure shift is undone
    from tfrecon.physics.motion_blur import blur, centred

    image = np.random.default_rng(0).random((80, 70))
    np.testing.assert_allclose(blur(image, centred(point)), image, atol=1e-9)


@pytest.mark.skipif(not GE.is_dir(), reason="no real CT beside the project")
def test_real_slices():
    pytest.importorskip("pydicom")
    data = blur_pairs(GE, 3, window="brain", patch=256, shuffle=True, blurring=Blurring(seed=None))
    for image, target in batches(data):
        assert image.shape == target.shape == (3, 256, 256, 3)
        assert np.abs(image).max() <= 1 and np.abs(target).max() <= 1 and not np.array_equal(image, target)
