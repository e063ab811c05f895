"""Pictures for the flow: the seed's numbers, crops, streams."""

import h5py
import numpy as np
import pytest

from tfrecon.data import picture_batches, to_picture
from tfrecon.errors import DataError, UsageError


def test_the_seeds_pictures(flow):
    case = flow("train_pictures")
    for image, expected in zip(case["in_imgs"], case["out_u8"]):
        np.testing.assert_array_equal(to_picture(np.abs(image).T, (12, 10)), expected[0])


def test_what_is_no_multiple_is_cropped_about_its_middle():
    image = np.random.default_rng(0).uniform(size=(27, 19))
    np.testing.assert_array_equal(to_picture(image, (8, 6)), to_picture(image[1:25, 0:18], (8, 6)))
    with pytest.raises(DataError, match="27 x 19 are smaller than pictures of 28 x 8"):
        to_picture(image, (28, 8))


def volume(path, slices=5, shape=(16, 12), seed=0):
    images = np.random.default_rng(seed).uniform(0, 1e-4, (slices, *shape)).astype("float32")
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = images
    return images


def test_streams_every_picture_once_and_shuffles_by_epoch(tmp_path):
    images = volume(tmp_path / "a.h5")
    data = picture_batches(tmp_path, 2, size=(8, 6))
    assert int(data.cardinality()) == 3 and data.element_spec.shape == (None, 8, 6, 1)
    got = np.concatenate(list(data.as_numpy_iterator()))
    np.testing.assert_array_equal(got[..., 0], [to_picture(image, (8, 6)) for image in images])
    assert got.dtype == np.float32 and got.max() > 100
    shuffled = picture_batches(tmp_path, 5, size=(8, 6), shuffle=True, seed=1)
    one, two = (np.concatenate(list(shuffled.as_numpy_iterator())) for _ in range(2))
    assert np.any(one != two)
    np.testing.assert_array_equal(np.sort(one, axis=0), np.sort(two, axis=0))
    again = np.concatenate(list(picture_batches(tmp_path, 5, size=(8, 6), shuffle=True, seed=1).as_numpy_iterator()))
    np.testing.assert_array_equal(again, one)


def test_misuse(tmp_path):
    images = volume(tmp_path / "a.h5", 2)
    for options, message in (({"size": 8}, "height, width"), ({"size": (0, 4)}, "at least 1 x 1"), ({"nan": "x"}, "skip, refuse"),
                             ({"batch_size": 0}, "at least 1")):
        with pytest.raises(UsageError, match=message):
            picture_batches(tmp_path, **options)
    with pytest.raises(DataError, match="a.h5: slices of 16 x 12 are smaller"):
        picture_batches(tmp_path)
    images[0] = np.nan
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["reconstruction_rss"] = images
    first, second = next(iter(picture_batches(tmp_path / "b.h5", size=(8, 6)))).numpy()
    np.testing.assert_array_equal(first, second)
