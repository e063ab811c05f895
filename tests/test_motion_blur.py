"""Motion blur: the original's paths and kernels draw by draw, and a blur that is the convolution it says it is."""

import numpy as np
import pytest

from tfrecon.errors import DataError, UsageError
from tfrecon.physics import blur, motion_blur
from tfrecon.physics.motion_blur import fast_length, motion_kernel, path_kernels, random_state, trajectory


def golden_path(case, i):
    facts = case.meta["cases"][i]
    rng = random_state(facts["seed"])
    path = trajectory(rng, facts["canvas"], facts["max_len"], facts["expl_given"], facts["iters"])
    return facts, rng, path, path_kernels(path, facts["canvas"], case.meta["fraction"])


@pytest.mark.parametrize("i", range(5))
def test_equal_to_the_original_draw_by_draw(golden, i):
    case = golden("motion_blur")
    facts, rng, path, kernels = golden_path(case, i)
    expected = case[f"t{i}_real"] + 1j * case[f"t{i}_imag"]
    np.testing.assert_allclose(path[:: len(path) // len(expected)], expected, atol=1e-10, rtol=0)
    np.testing.assert_allclose(kernels, case[f"psf{i}"], atol=1e-12, rtol=0)
    np.testing.assert_allclose(kernels.sum((1, 2)), facts["psf_sums"], atol=1e-12)
    assert rng.uniform() == facts["next_uniform"]
    assert np.abs(np.diff(path)).sum() == pytest.approx(facts["tot_length"], abs=1e-9)


@pytest.mark.parametrize("j, dtype", [(0, np.uint8), (1, np.uint8), (0, np.float64), (1, np.float64)])
def test_blurred_images_equal_the_originals(golden, j, dtype):
    case = golden("motion_blur")
    facts = case.meta["blur"][j]
    kernel = golden_path(case, facts["psf_case"])[3][facts["part"]]
    rgb = blur(case[f"im{j}"][None].astype(dtype), kernel, stretch=True)[0]
    # The file is float32: two units in its last place.
    np.testing.assert_allclose(rgb[..., ::-1], case[f"blur{j}"], atol=2.4e-7, rtol=0)


def test_one_fraction_alone_is_the_same_kernel():
    path = trajectory(3, exposure=0.005)
    np.testing.assert_allclose(path_kernels(path, 64, (0.5,))[0], path_kernels(path, 64, (0.01, 0.1, 0.5, 1))[2], atol=1e-15)


def test_a_path_that_leaves_the_canvas_stays_at_its_edge():
    path = trajectory(0, canvas=16, max_length=200, exposure=0.0, iterations=400)
    assert path.real.max() > 16 or path.imag.max() > 16  # the original ends with an index error here
    kernel = path_kernels(path, 16, (1,))[0]
    assert kernel.shape == (16, 16) and kernel.sum() == pytest.approx(1 - 1 / 400)


def test_seeds_of_names_and_numbers():
    name = "file1.dcm"
    np.testing.assert_array_equal(motion_kernel(name), motion_kernel(tuple(map(ord, name))))
    assert not np.array_equal(motion_kernel(0), motion_kernel(1))
    assert not np.array_equal(motion_kernel(None), motion_kernel(None))
    kernel = motion_kernel(0, fraction=0.1)
    assert kernel.dtype == np.float32 and kernel.sum() == pytest.approx(1, abs=1e-6) and kernel.min() >= 0


@pytest.mark.parametrize("size, side", [((40, 40), 16), ((40, 33), 15), ((9, 30), 16), ((1, 1), 5)])
def test_is_scipys_fftconvolve_same(size, side):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=size), rng.random((side, side))
    np.testing.assert_allclose(blur(image, kernel), signal.fftconvolve(image, kernel, "same"), atol=1e-12)


def test_a_point_shows_where_the_kernel_lies():
    kernel = np.zeros((4, 4))
    kernel[1, 1] = 1  # (side - 1) // 2: the middle of "same"
    image = np.random.default_rng(0).random((6, 7))
    np.testing.assert_allclose(blur(image, kernel), image, atol=1e-15)
    kernel = np.roll(kernel, 1, axis=1)
    np.testing.assert_allclose(blur(image, kernel)[:, 1:], image[:, :-1], atol=1e-15)  # rows are rows


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("shape, per_image", [((50, 41), False), ((3, 20, 31, 2), False), ((3, 20, 31, 2), True)])
def test_tensors_equal_arrays_with_and_without_xla(shape, per_image, stretch):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = rng.normal(size=shape).astype(np.float32)
    kernel = motion_kernel(0, 16, 10)
    kernel = np.stack([kernel, kernel[::-1], kernel.T]) if per_image else kernel
    expected = blur(images, kernel, stretch)
    assert expected.dtype == np.float32 and expected.shape == shape
    for compiled in (False, True):
        function = tf.function(lambda x, k: blur(x, k, stretch), jit_compile=compiled)
        found = function(tf.constant(images), tf.constant(kernel))
        assert found.shape == shape
        np.testing.assert_allclose(found, expected, atol=3e-6)
    exact = blur(tf.constant(images, tf.float64), kernel, stretch)
    np.testing.assert_allclose(exact, blur(images.astype(np.float64), kernel, stretch), atol=1e-12)


def test_runs_in_a_pipeline_of_unknown_sizes():
    import tensorflow as tf

    image, kernel = np.random.default_rng(0).random((21, 34)).astype(np.float32), motion_kernel(0, 16, 10)
    source = tf.data.Dataset.from_generator(lambda: [image], output_signature=tf.TensorSpec((None, None), tf.float32))
    data = source.map(lambda x: blur(x, kernel))
    np.testing.assert_allclose(next(iter(data)), blur(image, kernel), atol=1e-6)


def test_grey_levels_are_kept_and_the_blur_has_a_gradient():
    import tensorflow as tf

    kernel, flat = motion_kernel(0, 16, 10), tf.fill((1, 60, 60, 1), 0.7)
    np.testing.assert_allclose(blur(flat, kernel)[0, 20:-20, 20:-20, 0], 0.7, rtol=1e-5)
    x = tf.Variable(np.random.default_rng(0).random((12, 12)).astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(blur(x, kernel) ** 2)
    assert np.abs(tape.gradient(total, x)).max() > 0


def test_a_constant_image_survives_the_stretch():  # row 17
    kernel = motion_kernel(0, 16, 10)
    assert np.isfinite(blur(np.full((1, 20, 20, 3), 7, np.uint8), kernel, stretch=True)).all()


@pytest.mark.parametrize("options, message", [
    ({"canvas": 2}, "canvas"), ({"canvas": 8.5}, "canvas"), ({"iterations": 1}, "iterations"), ({"max_length": 0}, "length"),
    ({"max_length": np.nan}, "length"), ({"exposure": -1}, "exposure"), ({"exposure": np.inf}, "exposure"),
])
def test_misuse_of_the_path_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        trajectory(0, **options)


def test_misuse_of_kernels_and_images_is_refused():
    path = trajectory(0, iterations=10)
    for fractions in ((), (0.5, 0.1), (0,), (1.5,), (0.5, 0.5)):
        with pytest.raises(UsageError, match="fractions"):
            path_kernels(path, 64, fractions)
    with pytest.raises(UsageError, match="Expected images"):
        blur(np.zeros((3, 4, 5)), np.ones((3, 3)))
    with pytest.raises(UsageError, match="Expected images"):
        blur(np.zeros((4, 5)), np.ones((2, 3, 3)))
    with pytest.raises(DataError, match="positive sum"):
        motion_blur.normalized(np.zeros((3, 3)))


def test_fft_lengths_have_small_factors_only():
    assert [fast_length(n) for n in (1, 7, 382, 575, 577)] == [1, 8, 384, 576, 600]
