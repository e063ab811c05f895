"""The knee set is prepared as the original prepared it, number for number."""

import h5py
import numpy as np
import pytest

from tfrecon.data import bit_scale, create_paired_dataset, prepare_knees, resize_area, resize_nearest
from tfrecon.errors import DataError, UsageError
from tfrecon.physics import fft2c, ifft2c
from tfrecon.physics.operators import Sense


def test_scaling_and_resizing(flow):
    case = flow("scale")
    image, maps, mask = case["in_img"], case["in_maps"], case["in_mask"]
    bits, scale = case.meta["bits"], case.meta["scale"]
    np.testing.assert_array_equal(bit_scale(image, bits), case["out_bit"])
    np.testing.assert_allclose(bit_scale(image, bits) / 15, case["out_zero_one"], rtol=1e-6)
    np.testing.assert_allclose(resize_area(np.abs(image), scale), case["out_size"], rtol=1e-5)
    np.testing.assert_allclose(resize_area(maps, scale), case["out_maps"], atol=1e-6)
    np.testing.assert_array_equal(resize_nearest(mask, scale), case["out_mask"])
    small, small_maps = bit_scale(case["out_size"], bits) / 15, resize_area(maps, scale)
    np.testing.assert_allclose(small, case["out_all_img"], rtol=1e-6)
    np.testing.assert_allclose(small_maps, case["out_all_maps"], atol=1e-6)
    ksp = fft2c(small * small_maps)
    np.testing.assert_allclose(ksp, case["out_ksp"], atol=1e-5)
    np.testing.assert_allclose(ksp * case["out_all_mask"], case["out_ksp_masked"], atol=1e-5)
    for data, key in ((ksp, "out_adj"), (ksp * case["out_all_mask"], "out_adj_masked")):
        np.testing.assert_allclose((small_maps.conj() * ifft2c(data)).sum(0), case[key], atol=1e-5)


def source(case, path):
    with h5py.File(path, "w") as file:
        for key in ("imgs", "maps", "masks"):
            file[key] = case[f"in_{key}"]
    return path


def test_a_prepared_file(flow, tmp_path):
    case = flow("process_data")
    path = prepare_knees(source(case, tmp_path / "in.h5"), tmp_path / "out.h5", case.meta["bits"], case.meta["scale"],
                         range(*case.meta["data_range"]))
    with h5py.File(path) as file:
        for key in ("imgs", "ksp", "maps", "masks"):
            np.testing.assert_allclose(file[key][()], case[f"out_{key}"], atol=1e-5, err_msg=key)
        assert file["ksp"].dtype == np.complex128 and file["imgs"].dtype == np.float64
        assert file["kspace"] == file["ksp"]


def test_a_prepared_file_streams_as_multicoil_pairs_with_its_own_maps(flow, tmp_path):
    case = flow("process_data")
    path = prepare_knees(source(case, tmp_path / "in.h5"), tmp_path / "out.h5", 4, 0.25, [0, 2])
    inputs, image = next(iter(create_paired_dataset(path, "multicoil", 2)))
    np.testing.assert_array_equal(inputs["mask"], case["out_masks"])
    power = np.sqrt((np.abs(case["out_maps"]) ** 2).sum(1))
    np.testing.assert_allclose(inputs["sens_maps"], case["out_maps"] / power[:, None], atol=1e-5)
    # Maps that are not normalised are, and the image takes their power.
    expected = case["out_imgs"] * power
    scale = np.abs(image).max((1, 2), keepdims=True) / expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(image, expected * scale, atol=1e-5 * np.abs(image).max())


def fftmod(x):
    """DeepInPy's: it makes an uncentred transform a centred one where (H + W) / 2 is even."""
    rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
    return -x * (-1.0) ** (rows + columns)


def test_items_of_deepinpys_dataset(flow, tmp_path):
    """Its items are ours, fftmod moved into the transform: maps as they are, the mask, the samples, A^H y."""
    case = flow("dataset")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key in ("imgs", "ksp", "maps", "masks"):
            file[key] = case[f"in_{key}"]
    options = {"kspace_key": "ksp", "coil_maps": "file", "scaling": "none"}
    inputs, _ = next(iter(create_paired_dataset(tmp_path, "multicoil", 2, **options)))
    np.testing.assert_allclose(fftmod(inputs["sens_maps"][1]), case["out_maps"], atol=1e-6)
    np.testing.assert_array_equal(inputs["mask"][1], case["out_masks"])
    zero_filled = Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"])[1]
    np.testing.assert_allclose(zero_filled, case["out_out_adjoint_stdev0"], atol=2e-5)
    noise = case.meta["stdev"] / np.sqrt(2) * case["in_noise"][1]  # this file's is real; drawn noise is complex
    expected = np.asarray(inputs["kspace"][1]) + noise * case["in_masks"][1]
    np.testing.assert_allclose(fftmod(expected), case["out_out"], atol=2e-6)
    again, _ = next(iter(create_paired_dataset(tmp_path, "multicoil", 2, stdev=case.meta["stdev"], **options)))
    ours = np.asarray(again["kspace"] - inputs["kspace"])
    measured = np.broadcast_to(case["in_masks"][:, None], ours.shape) == 1
    assert not ours[~measured].any() and np.sqrt((np.abs(ours[measured]) ** 2).mean()) == pytest.approx(0.02, rel=0.1)


def test_training_pictures_of_the_flow(flow):
    """8 bits, transposed, then shrunk in uint8 and cut to 4 bits."""
    case = flow("train_pictures")
    for image, u8, bits4 in zip(case["in_imgs"], case["out_u8"], case["out_bits4"]):
        small = resize_area(bit_scale(image, 8).T, 0.25)
        assert small.dtype == np.uint8
        np.testing.assert_array_equal(small, u8[0])
        np.testing.assert_array_equal(small // 16, bits4[0])


def test_area_of_any_scale_keeps_the_mean_and_flat_images_have_one_level():
    image = np.random.default_rng(0).random((2, 9, 10))
    assert resize_area(image, 0.7).shape == (2, 6, 7)
    np.testing.assert_allclose(resize_area(image, 0.3).shape, (2, 3, 3))
    np.testing.assert_allclose(resize_area(image, 1 / 3).mean((1, 2)), image.mean((1, 2)), rtol=0.05)
    np.testing.assert_allclose(resize_area(image[:, :, :9], 1 / 3), image[:, :, :9].reshape(2, 3, 3, 3, 3).mean((2, 4)))
    assert not bit_scale(np.full((3, 3), 7.0), 4).any()


def test_what_cannot_be_prepared(flow, tmp_path):
    case = flow("process_data")
    path = source(case, tmp_path / "in.h5")
    for call, error, message in (
        (lambda: prepare_knees(path, tmp_path / "o.h5", indices=[9]), DataError, "slices 0 to 3"),
        (lambda: prepare_knees(path, tmp_path / "o.h5", indices=[]), DataError, "other indices"),
        (lambda: prepare_knees(path, tmp_path / "o.h5", 9, indices=[0]), UsageError, "1 to 8"),
        (lambda: prepare_knees(path, tmp_path / "o.h5", 4, 2.0, [0]), UsageError, "at most 1"),
    ):
        with pytest.raises(error, match=message):
            call()
    with h5py.File(path, "r+") as file:
        del file["maps"]
        file["maps"] = np.ones((4, 2, 8, 8), np.complex64)
    with pytest.raises(DataError, match="one size"):
        prepare_knees(path, tmp_path / "o.h5", indices=[0])
    assert not (tmp_path / "o.h5").exists()
