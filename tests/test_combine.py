"""Several coils combined for networks on magnitudes (row 36 of the list of bad inputs): pairs, `train`, `reconstruct`."""

import numpy as np
import pytest
from cli_tools import call
from test_multicoil import coils

from tfrecon.data import create_paired_dataset
from tfrecon.errors import DataError, UsageError
from tfrecon.hdf5 import open_hdf5
from tfrecon.physics import ifft2c, rss
from tfrecon.physics.coil_maps import estimate_maps
from tfrecon.physics.masks import create_mask


@pytest.fixture
def folder(tmp_path):
    for name, count in (("a", 4), ("b", 6)):
        coils(tmp_path / "in" / f"{name}.h5", count)
    return tmp_path / "in"


def undersampled(kspace, name):
    return np.where(create_mask("random", kspace.shape[-1], None, 4, name), kspace, 0)


def test_coils_are_undersampled_and_then_combined(tmp_path):
    """The root sum of squares of undersampled coils, not an undersampled root sum of squares; the target is the file's."""
    _, kspace = coils(tmp_path / "a.h5")
    image, target, facts = next(iter(create_paired_dataset(tmp_path, combine="rss", crop=32, metadata=True)))
    scale = np.asarray(facts["scale"])[:, None, None, None]
    expected, full = (rss(ifft2c(k))[:, 8:40, 4:36, None] for k in (undersampled(kspace, "a.h5"), kspace))
    np.testing.assert_allclose(image * scale, expected, rtol=2e-4, atol=1e-6 * expected.max())
    np.testing.assert_allclose(target * scale, full, rtol=1e-5)
    np.testing.assert_allclose(np.max(image, (1, 2, 3)), 1, rtol=1e-5)


@pytest.mark.parametrize("how", ["rss", "sense"])
def test_computed_targets_are_the_full_coils_combined_alike(tmp_path, how):
    _, kspace = coils(tmp_path / "a.h5")
    options = {"target": "kspace", "combine": how, "crop": 32, "metadata": True}
    _, target, facts = next(iter(create_paired_dataset(tmp_path, **options)))
    if how == "rss":
        full = rss(ifft2c(kspace))
    else:
        maps = np.stack([estimate_maps(k, np.ones(40, bool)) for k in kspace])
        full = np.abs((maps.conj() * ifft2c(kspace)).sum(1))
    expected, scale = full[:, 8:40, 4:36], np.asarray(facts["scale"])
    np.testing.assert_allclose(target[..., 0] * scale[:, None, None], expected, rtol=1e-4, atol=1e-5 * expected.max())
    # fastMRI's range: of the whole volume in the size its results will have.
    np.testing.assert_allclose(facts["data_range"] * scale, full[:, 4:44].max(), rtol=1e-4)


def test_sense_is_the_magnitude_of_the_coils_weighted_by_their_maps(tmp_path):
    _, kspace = coils(tmp_path / "a.h5")
    image, _, facts = next(iter(create_paired_dataset(tmp_path, combine="sense", crop=32, metadata=True)))
    mask = create_mask("random", 40, None, 4, "a.h5")
    maps = np.stack([estimate_maps(k, mask) for k in kspace])
    expected = np.abs((maps.conj() * ifft2c(undersampled(kspace, "a.h5"))).sum(1))[:, 8:40, 4:36, None]
    scale = np.asarray(facts["scale"])[:, None, None, None]
    np.testing.assert_allclose(image * scale, expected, rtol=2e-4, atol=1e-5 * expected.max())


def test_undersampled_coils_have_no_target_to_compute(tmp_path):
    _, kspace = coils(tmp_path / "in" / "a.h5")
    coils(tmp_path / "a.h5", kspace_4af=undersampled(kspace, "a.h5"))
    with pytest.raises(DataError, match="would equal the input"):
        create_paired_dataset(tmp_path / "a.h5", target="kspace", combine="rss", kspace_key="kspace_4af")


def test_masks_by_slice_need_a_stored_target_and_follow_their_slice(tmp_path):
    _, kspace = coils(tmp_path / "a.h5", slices=2)
    kspace[1, 2, 3, 4] = np.nan
    masks = np.stack([np.arange(40) % 2 > 0, np.arange(40) % 3 > 0])[:, None] * np.ones((2, 48, 1))
    coils(tmp_path / "a.h5", kspace=kspace, masks=masks)
    (one, two), (target, again) = next(iter(create_paired_dataset(tmp_path, combine="rss")))[:2]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(target, again)
    coils(tmp_path / "b" / "b.h5", kspace=kspace[:, 0], masks=masks)
    with pytest.raises(DataError, match="b.h5: it has masks for every slice"):
        create_paired_dataset(tmp_path / "b", target="kspace")


def test_combine_takes_one_of_two_names(folder):
    with pytest.raises(UsageError, match="rss or sense, received 'mean'"):
        create_paired_dataset(folder, combine="mean")


def test_train_and_reconstruct_with_combined_coils(capsys, folder, tmp_path, tiny_unet):
    run, weights = tmp_path / "run", tmp_path / "run" / "generator.weights.h5"
    trained = call(capsys, "train", "--data", folder, "--out", run, "--preset", "small", "--epochs", "1", "--combine", "rss")
    assert trained.code == 0, trained.err
    for name, more in (("by card", ()), ("sense", ("--combine", "sense"))):  # the card says what it was trained with
        made = call(capsys, "reconstruct", folder, tmp_path / name, "--weights", weights, *more)
        assert made.code == 0, made.err
        judged = call(capsys, "evaluate", tmp_path / name, "--target", folder, "--json").json()
        assert judged["mean"][0]["n"] == 2
    with open_hdf5(tmp_path / "by card" / "a.h5") as one, open_hdf5(tmp_path / "sense" / "a.h5") as other:
        assert one.attrs["combine"] == "rss" and other.attrs["combine"] == "sense"
        assert one["reconstruction"].shape == (2, 48, 40)
        assert np.any(one["reconstruction"][()] != other["reconstruction"][()])


def test_zero_filled_of_combined_coils_equals_the_baseline(capsys, folder, tmp_path):
    made = call(capsys, "reconstruct", folder, tmp_path / "out", "--model", "zero_filled", "--combine", "rss")
    assert made.code == 0, made.err
    judged = call(capsys, "evaluate", tmp_path / "out", "--target", folder, "--json").json()
    base, own = judged["mean"]
    np.testing.assert_allclose([base["psnr"], base["ssim"]], [own["psnr"], own["ssim"]], rtol=1e-5)


@pytest.mark.parametrize("model", ["single", "rss"])
def test_the_files_own_masks_of_points_are_applied(capsys, tmp_path, model):
    """As the baseline's are, so that doing nothing scores the same twice; and in training pairs."""
    _, kspace = coils(tmp_path / "a.h5")
    masks = np.minimum(np.eye(48, 40) + (abs(np.arange(40) - 20) < 5), 1) * np.ones((2, 1, 1))
    images = rss(ifft2c(kspace)).astype("f4")
    if model == "single":
        kspace, images = kspace[:, 0], np.abs(ifft2c(kspace[:, 0])).astype("f4")
    coils(tmp_path / "in" / "a.h5", kspace=kspace, masks=masks, reconstruction_rss=images)
    more = {} if model == "single" else {"combine": "rss"}
    words = ("reconstruct", tmp_path / "in", tmp_path / "out", "--model", "zero_filled")
    made = call(capsys, *words, *(x for k, v in more.items() for x in (f"--{k}", v)))
    assert made.code == 0 and "own masks" in made.err, made.err
    base, own = call(capsys, "evaluate", tmp_path / "out", "--target", tmp_path / "in", "--json").json()["mean"]
    assert own["psnr"] == pytest.approx(base["psnr"], rel=1e-5)
    image, _, facts = next(iter(create_paired_dataset(tmp_path / "in", target="reconstruction_rss", metadata=True, **more)))
    measured = ifft2c(np.where(masks[:, None] > 0, kspace, 0)) if more else np.abs(ifft2c(np.where(masks > 0, kspace, 0)))
    expected = rss(measured) if more else measured
    scale = np.asarray(facts["scale"])[:, None, None]
    np.testing.assert_allclose(image[..., 0] * scale, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_row_36_refused_without_it_and_where_it_has_no_meaning(capsys, folder, tmp_path):
    words = ("train", "--data", folder, "--out", tmp_path / "run", "--target", "kspace")
    refused = call(capsys, *words, "--model", "unet_gan")
    assert refused.code == 3 and "(4 coils)" in refused.err and "--combine rss" in refused.err and "cg_sense, modl" in refused.err
    for command in ((*words, "--model", "modl"), ("reconstruct", folder, tmp_path / "out", "--model", "cg_sense")):
        useless = call(capsys, *command, "--combine", "rss")
        assert useless.code == 2 and "--combine is for networks on magnitudes" in useless.err
    assert not (tmp_path / "out").exists()


def test_maps_of_another_size_are_refused_before_training(tmp_path):
    coils(tmp_path / "a.h5", sens_maps=np.ones((2, 4, 48, 36), "c8"))
    with pytest.raises(DataError, match="sens_maps"):
        create_paired_dataset(tmp_path, combine="sense")
    create_paired_dataset(tmp_path, combine="rss")
