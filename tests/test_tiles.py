"""Networks on images of any size: padded and cropped back, or in tiles."""

import numpy as np
import pytest

from tfrecon.errors import DataError, UsageError
from tfrecon.reconstruction import apply_padded, apply_tiled


class Recorder:
    """An identity that notes the sizes it was asked for."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return images


def picture(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(37, 341), (4, 8), (1, 1), (2, 7), (16, 15)])  # row 11
def test_output_has_the_inputs_size_and_the_model_its_multiple(size):
    model, images = Recorder(), picture(2, *size, 3)
    np.testing.assert_array_equal(apply_padded(model, images, 8), images)
    ((_, height, width, _),) = model.shapes
    assert height % 8 == width % 8 == 0 and height - size[0] < 8 and width - size[1] < 8


def test_padding_mirrors_the_inside():
    seen = []
    apply_padded(lambda x: seen.append(x) or x, picture(1, 6, 8, 1), 4)
    np.testing.assert_array_equal(seen[0][0, 0], seen[0][0, 2])  # not the edge row again, not zeros
    assert seen[0].shape == (1, 8, 8, 1)


@pytest.mark.parametrize("apply", [apply_padded, apply_tiled])
def test_no_images_give_no_images_without_the_model(apply):  # row 71
    assert apply(lambda x: 1 / 0, np.zeros((0, 20, 30, 3), np.float32)).shape == (0, 20, 30, 3)


@pytest.mark.parametrize("size, tile, overlap", [
    ((70, 50), 32, 8), ((64, 64), 32, 0), ((33, 100), 32, 15), ((10, 90), 40, 12),
])
def test_tiles_are_exact_for_models_of_one_pixel(size, tile, overlap):
    images = picture(2, *size, 3)
    found = apply_tiled(lambda x: np.tanh(x[..., :1]) + 1, images, 4, tile, overlap)
    np.testing.assert_allclose(found, np.tanh(images[..., :1]) + 1, rtol=1e-6)
    np.testing.assert_array_equal(apply_tiled(lambda x: x, images, 4, tile, overlap), images)


def test_tiles_never_exceed_their_size_and_cover_everything_smoothly():
    model = Recorder()
    apply_tiled(model, picture(1, 101, 75, 1), 4, 32, 8)
    assert all(h <= 32 and w <= 32 for _, h, w, _ in model.shapes) and len(model.shapes) == 4 * 3
    # Two tiles that disagree meet without a step larger than the ramp's.
    answers = iter([0.0, 1.0])
    row = apply_tiled(lambda x: np.full_like(x, next(answers)), np.zeros((1, 8, 56, 1), np.float32), 4, 32, 8)[0, 0, :, 0]
    assert row[0] == 0 and row[-1] == 1 and (np.diff(row) >= 0).all() and np.diff(row).max() < 0.25


def test_small_images_go_in_one_piece():
    model = Recorder()
    apply_tiled(model, picture(3, 30, 32, 1), 4, 32, 8)
    assert model.shapes == [(3, 32, 32, 1)]


def test_a_convolution_sees_its_neighbours_through_the_overlap():
    images, kernel = picture(1, 90, 90, 1), np.ones((5, 5)) / 25
    view = np.lib.stride_tricks.sliding_window_view

    def model(x):
        return (view(np.pad(x[..., 0], [(0, 0), (2, 2), (2, 2)]), (5, 5), (1, 2)) * kernel).sum((-1, -2))[..., None]

    whole, tiled = apply_padded(model, images, 1), apply_tiled(model, images, 1, 40, 16)
    assert np.abs(whole - tiled).max() < 0.02 < np.abs(whole - apply_tiled(model, images, 1, 40, 0)).max()


@pytest.mark.parametrize("images, options, message", [
    (np.zeros((4, 5, 1)), {}, "N, H, W, C"), (np.zeros((1, 0, 5, 1)), {}, "N, H, W, C"),
    (np.zeros((1, 4, 4, 1), complex), {}, "real"),
    (np.zeros((1, 8, 8, 1)), {"multiple": 0}, "multiple"), (np.zeros((1, 8, 8, 1)), {"tile": 30}, "tile"),
    (np.zeros((1, 8, 8, 1)), {"tile": 32, "overlap": 16}, "overlap"),
])
def test_misuse_is_refused(images, options, message):
    with pytest.raises(UsageError, match=message):
        apply_tiled(lambda x: x, images, **options)


def test_a_model_that_changes_the_size_is_found():
    with pytest.raises(DataError, match="expected .1, 8, 8"):
        apply_padded(lambda x: x[:, ::2], picture(1, 8, 8, 1))
