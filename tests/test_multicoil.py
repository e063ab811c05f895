"""Multi-coil files through pairs, `train`, `reconstruct` and `evaluate`; row numbers are those of the list of bad inputs."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from cli_tools import call
from test_coil_maps import phantom

from tfrecon import create
from tfrecon.data import EpochClock, create_paired_dataset
from tfrecon.errors import DataError, UsageError
from tfrecon.physics import ifft2c, rss
from tfrecon.physics.masks import create_mask
from tfrecon.physics.operators import Sense

TINY = ("--set", "num_blocks=2", "--set", "latent_channels=4", "--set", "num_unrolls=2", "--set", "cg_max_iter=4")


def coils(path, count=4, slices=2, height=48, width=40, scale=1e-4, **datasets):
    """A fastMRI-like multi-coil file; slice i is i + 1 times as bright."""
    kspace, maps, _ = phantom(count, height, width)
    kspace = np.stack([(i + 1) * scale * kspace for i in range(slices)]).astype(np.complex64)
    images = rss(ifft2c(kspace)).astype(np.float32)
    content = {"kspace": kspace, "reconstruction_rss": images[:, :, :], **datasets}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, value in content.items():
            file[key] = value
        file.attrs.update({"patient_id": path.stem, "acquisition": "T2"})
    return np.stack([maps] * slices).astype(np.complex64), kspace


def test_pairs_are_a_measurement_and_its_image(tmp_path):
    _, kspace = coils(tmp_path / "a.h5")
    dataset = create_paired_dataset(tmp_path, "multicoil", 2, metadata=True)
    assert int(dataset.cardinality()) == 1
    inputs, image, facts = next(iter(dataset))
    coil = ("complex64", (2, 4, 48, 40))
    found = {k: (v.dtype.name, tuple(v.shape)) for k, v in inputs.items()}
    assert found == {"kspace": coil, "sens_maps": coil, "mask": ("float32", (2, 48, 40))}
    mask = create_mask("random", 40, None, 4, "a.h5")
    np.testing.assert_array_equal(inputs["mask"][0], np.broadcast_to(mask, (48, 40)).astype(np.float32))
    scale = np.asarray(facts["scale"])
    measured = np.where(mask, kspace, 0) / scale[:, None, None, None]
    np.testing.assert_allclose(inputs["kspace"], measured, rtol=1e-5, atol=1e-6)
    zero_filled = Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"])
    np.testing.assert_allclose(np.abs(zero_filled).max((1, 2)), 1, rtol=1e-5)
    # Good maps explain the coil images, whose root sum of squares the image then is.
    expected = rss(ifft2c(kspace)) / scale[:, None, None]
    assert np.linalg.norm(np.abs(image) - expected) < 0.05 * np.linalg.norm(expected)
    np.testing.assert_allclose(facts["data_range"] * scale, rss(ifft2c(kspace)).max(), rtol=1e-5)


def test_maps_see_nothing_outside_the_sampled_centre(tmp_path):
    """Else the scores would be too good: the same maps whatever lies beyond."""
    _, kspace = coils(tmp_path / "a" / "x.h5")
    mask = create_mask("random", 40, None, 2, "x.h5")
    spoiled = np.where(mask, kspace, 7 * kspace[..., ::-1])
    coils(tmp_path / "b" / "x.h5", kspace=spoiled)
    one, two = (next(iter(create_paired_dataset(tmp_path / n, "multicoil", accelerations=2)))[0]["sens_maps"] for n in "ab")
    np.testing.assert_array_equal(one, two)


def test_given_maps_are_taken_and_normalised(tmp_path):
    maps, _ = coils(tmp_path / "a.h5")
    coils(tmp_path / "a.h5", sens_maps=3 * maps)
    inputs, _ = next(iter(create_paired_dataset(tmp_path, "multicoil", 2)))
    np.testing.assert_allclose(inputs["sens_maps"], maps, atol=1e-6)


def test_mixed_coil_counts_and_a_single_coil_come_in_batches_of_their_own(tmp_path):  # row 35
    for name, count in (("a", 4), ("b", 6), ("c", 4)):
        coils(tmp_path / f"{name}.h5", count)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["kspace"] = phantom(1)[0].astype(np.complex64)  # one slice, no coil axis
    dataset = create_paired_dataset(tmp_path, "multicoil", 4)
    shapes = sorted(tuple(inputs["kspace"].shape[:2]) for inputs, _ in dataset)
    assert shapes == [(1, 1), (2, 6), (4, 4)] and int(dataset.cardinality()) == 3
    for inputs, _ in dataset:
        if inputs["kspace"].shape[1] == 1:
            np.testing.assert_array_equal(inputs["sens_maps"], np.ones((1, 1, 48, 40)))


def test_fresh_masks_every_epoch_and_the_same_after_a_restart(tmp_path):
    coils(tmp_path / "a.h5")
    clock = EpochClock()
    dataset = create_paired_dataset(tmp_path, "multicoil", 2, mask_seed=None, shuffle=True, clock=clock, seed=3)
    first, second = (next(iter(dataset))[0]["mask"].numpy() for _ in range(2))
    assert (first != second).any()
    clock.epoch = 1
    np.testing.assert_array_equal(next(iter(dataset))[0]["mask"], second)


def test_unsupervised_data_have_no_image(tmp_path):
    _, kspace = coils(tmp_path / "a.h5")
    mask = np.arange(40) % 3 == 0
    mask[14:26] = True
    coils(tmp_path / "a.h5", kspace=np.where(mask, kspace, 0), mask=mask)
    (inputs,) = next(iter(create_paired_dataset(tmp_path, "multicoil", target="none")))
    np.testing.assert_array_equal(inputs["mask"][0, 0], mask.astype(np.float32))
    with pytest.raises(DataError, match='target="none"'):
        create_paired_dataset(tmp_path, "multicoil")


def test_columns_measured_already_are_the_mask_where_nothing_else_says_so(tmp_path):
    """Else conjugate gradient would take zeros nobody measured for samples."""
    _, kspace = coils(tmp_path / "a.h5")
    mask = (np.arange(40) % 3 == 0) | (abs(np.arange(40) - 20) < 7)
    coils(tmp_path / "a.h5", kspace_4af=np.where(mask, kspace, 0))
    (inputs,) = next(iter(create_paired_dataset(tmp_path, "multicoil", target="none", kspace_key="kspace_4af")))
    np.testing.assert_array_equal(inputs["mask"][0, 0], mask.astype(np.float32))


def test_slices_nobody_asked_for_are_not_read(tmp_path):
    """The whole volume is only looked at for its range, which is metadata."""
    _, kspace = coils(tmp_path / "a.h5", slices=3)
    kspace[2, 2, 3, 4] = np.nan
    coils(tmp_path / "a.h5", slices=3, kspace=kspace)
    options = {"samples": [(0, 0), (0, 1)], "nan": "refuse"}
    assert len(list(create_paired_dataset(tmp_path, "multicoil", 1, **options))) == 2
    with pytest.raises((DataError, tf.errors.OpError), match="slice 2"):
        list(create_paired_dataset(tmp_path, "multicoil", 1, metadata=True, **options))


@pytest.mark.parametrize("datasets, how, message", [
    ({"sens_maps": np.ones((2, 4, 48, 39), "c8")}, "auto", r"\(2, 4, 48, 39\), the k-space \(2, 4, 48, 40\)"),
    ({"sens_maps": np.ones((2, 3, 48, 40), "c8")}, "auto", r"\(2, 3, 48, 40\)"),
    ({"sens_maps": np.zeros((2, 4, 48, 40), "c8")}, "auto", "zero everywhere"),
    ({"sens_maps": np.full((2, 4, 48, 40), np.nan, "c8")}, "auto", "NaN"),
    ({"sens_maps": np.ones((2, 4, 48, 40), "f4")}, "auto", "must be complex"),
    ({}, "file", "no coil maps"),
    ({"mask": np.eye(48, 40) > 2}, "auto", "all zeros"),
    ({"mask": np.ones(39, bool)}, "auto", "width 39"),
    ({"mask": np.isin(np.arange(40), [3, 9])}, "auto", "estimating coil maps"),
])
def test_rows_28_29_37_maps_and_masks_that_do_not_fit(tmp_path, datasets, how, message):
    coils(tmp_path / "a.h5", **datasets)
    with pytest.raises((DataError, tf.errors.OpError), match=message):
        next(iter(create_paired_dataset(tmp_path / "a.h5", "multicoil", coil_maps=how, strict=True)))


@pytest.mark.parametrize("options, message", [
    ({"target": "reconstruction_rss"}, "kspace or none"), ({"batch_size": 0}, "at least 1"), ({"nan": "foo"}, "skip, refuse"),
    ({"coil_maps": "walsh"}, "espirit"),
    ({"scaling": "symmetric"}, "zero_filled_max or none"), ({"accelerations": 0.5}, "at least 1"),
])
def test_rows_32_33_wrong_options(tmp_path, options, message):
    coils(tmp_path / "a.h5")
    with pytest.raises((UsageError, DataError), match=message):
        create_paired_dataset(tmp_path, "multicoil", **options)


def test_row_15_a_slice_with_nan_is_replaced_by_its_neighbour(tmp_path):
    _, kspace = coils(tmp_path / "a.h5", slices=3)
    kspace[1, 2, 3, 4] = np.nan
    coils(tmp_path / "a.h5", slices=3, kspace=kspace)
    batches = list(create_paired_dataset(tmp_path, "multicoil", 1))
    assert len(batches) == 3 and all(np.isfinite(np.abs(inputs["kspace"])).all() for inputs, _ in batches)
    with pytest.raises((DataError, tf.errors.OpError), match="slice 1"):
        list(create_paired_dataset(tmp_path, "multicoil", 1, nan="refuse"))


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        coils(tmp_path / "data" / f"{name}.h5")
    return tmp_path / "data"


def test_cg_sense_is_reconstructed_and_judged_with_the_zero_filled_row(capsys, folder, tmp_path):
    coils(folder / "d.h5", count=6)  # row 35
    made = call(capsys, "reconstruct", folder, tmp_path / "out", "--model", "cg_sense", "--acceleration", "2")
    assert made.code == 0, made.err
    assert "residual on the measured samples" in made.err
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        assert file["reconstruction"].shape == (2, 48, 40) and file["reconstruction"].dtype == np.float32
        assert file.attrs["coil_maps"] == "auto" and file["mask"].shape == (40,)
    judged = call(capsys, "evaluate", tmp_path / "out", "--target", folder, "--json").json()
    scores = {row["name"]: row for row in judged["mean"]}
    assert scores["prediction"]["psnr"] > scores["zero_filled"]["psnr"] + 3, scores
    again = call(capsys, "reconstruct", folder, tmp_path / "out", "--model", "cg_sense", "--acceleration", "4", "--resume")
    assert again.code == 2 and "mask_accelerations" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["modl", "deep_basis_pursuit"])
def test_trained_models_resume_and_reconstruct(capsys, folder, tmp_path, model):
    words = ("train", "--data", folder, "--model", model, "--preset", "small", *TINY, "--acceleration", "2")
    assert call(capsys, *words, "--out", tmp_path / "run", "--epochs", "1").code == 0
    more = call(capsys, *words, "--out", tmp_path / "run", "--epochs", "2", "--resume", "--json")
    assert more.code == 0, more.err
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history) == 2 and {"loss", "nrmse", "val_ssim", "val_nrmse"} <= set(history[0])
    assert len(list((tmp_path / "run" / "strips").glob("*.png"))) == 2
    weights = tmp_path / "run" / "generator.weights.h5"
    made = call(capsys, "reconstruct", folder, tmp_path / "out", "--model", model, "--weights", weights)
    assert made.code == 0, made.err
    assert "3 volumes reconstructed" in made.out


@pytest.mark.slow
@pytest.mark.parametrize("model, preset, more", [
    ("modl", "published", ("--set", "features=4", "--set", "num_unrolls=1")),
    ("deep_basis_pursuit", "seed", ("--set", "width=2", "--set", "num_unrolls=1")),
])
def test_weights_of_another_preset_are_used_as_their_card_says(capsys, tmp_path, model, preset, more):
    """Nothing of the default preset comes in; and the U-Net takes sizes that are no multiples of 8."""
    for name in ("train/a.h5", "val/b.h5"):
        coils(tmp_path / name, 4, 1, 45, 38)
    words = ("--set", "cg_max_iter=2", *more, "--epochs", "1", "--out", tmp_path / "run")
    trained = call(capsys, "train", "--data", tmp_path / "train", "--validation", tmp_path / "val", "--model", model, "--preset",
                   preset, *words)
    assert trained.code == 0, trained.err
    made = call(capsys, "reconstruct", tmp_path / "val", tmp_path / "out", "--model", model, "--weights",
                tmp_path / "run" / "generator.weights.h5")
    assert made.code == 0, made.err


def test_foreign_weights_are_used_with_a_preset(capsys, tmp_path):
    coils(tmp_path / "in" / "a.h5")
    model = create("modl", preset="published").model
    np.savez(tmp_path / "foreign.npz", **{v.path: np.asarray(v) for v in model.weights})
    words = ("reconstruct", tmp_path / "in", tmp_path / "out", "--model", "modl", "--weights", tmp_path / "foreign.npz")
    assert call(capsys, *words).code == 4
    made = call(capsys, *words, "--preset", "published")
    assert made.code == 0, made.err


@pytest.mark.slow
def test_undersampled_data_train_without_images(capsys, tmp_path):
    _, kspace = coils(tmp_path / "val" / "b.h5")
    mask = (np.arange(40) % 3 == 0) | (abs(np.arange(40) - 20) < 7)
    (tmp_path / "train").mkdir()
    with h5py.File(tmp_path / "train" / "a.h5", "w") as file:
        file["kspace_4af"] = np.where(mask, kspace, 0)
    words = ("train", "--data", tmp_path / "train", "--validation", tmp_path / "val", "--model", "modl", "--preset", "small",
             *TINY, "--epochs", "1", "--out", tmp_path / "run")
    refused = call(capsys, *words)
    assert refused.code == 3 and "supervised=false" in refused.err
    trained = call(capsys, *words, "--set", "supervised=false")
    assert trained.code == 0, trained.err
    wrong = call(capsys, *words, "--target", "reconstruction_rss", "--overwrite")
    assert wrong.code == 2 and "kspace or none" in wrong.err


@pytest.mark.parametrize("spoiled", ["sens_maps", "kspace"])
def test_maps_and_masks_follow_the_slice_that_takes_anothers_place(tmp_path, spoiled):
    """A neighbour's k-space with the maps of its own slice, whichever of the two was not finite."""
    maps, kspace = coils(tmp_path / "a.h5", slices=2)
    own = np.stack([maps[0], maps[1] * np.exp(1j)]).astype(np.complex64)
    masks = np.stack([np.ones((48, 40)), np.eye(48, 40) + (np.arange(40) > 9)])
    arrays = {"sens_maps": own, "kspace": np.stack([kspace[0], kspace[0]])}
    arrays[spoiled] = arrays[spoiled].copy()
    arrays[spoiled][1, 2, 3, 4] = np.nan
    coils(tmp_path / "a.h5", **arrays, masks=np.minimum(masks, 1))
    (one, image), (two, again) = create_paired_dataset(tmp_path, "multicoil", 1)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    np.testing.assert_array_equal(image, again)


def test_every_volume_is_looked_at_before_training(tmp_path):
    """Not the first alone: images of undersampled k-space would equal the inputs."""
    _, kspace = coils(tmp_path / "a.h5")
    mask = (np.arange(40) % 3 == 0) | (abs(np.arange(40) - 20) < 7)
    points = np.broadcast_to(np.eye(48, 40) + (abs(np.arange(40) - 20) < 7) > 0, (2, 48, 40))
    (tmp_path / "b").mkdir()
    for change in ({"kspace": np.where(mask, kspace, 0), "mask": mask},
                   {"kspace": np.where(points[:, None], kspace, 0), "masks": points.astype("f4")}):
        coils(tmp_path / "b" / "z.h5", **change)
        with pytest.raises(DataError, match=r"z\.h5: its k-space is undersampled"):
            create_paired_dataset(tmp_path, "multicoil")
    (tmp_path / "b" / "z.h5").rename(tmp_path / "b" / "z.txt")
    coils(tmp_path / "c" / "z.h5", sens_maps=np.ones((2, 3, 48, 40), "c8"))
    with pytest.raises(DataError, match=r"z\.h5: sens_maps has the shape"):
        create_paired_dataset(tmp_path, "multicoil")
    (tmp_path / "c" / "z.h5").unlink()
    coils(tmp_path / "d" / "z.h5", kspace=np.where(mask, kspace, 0))
    with pytest.warns(UserWarning, match=r"z\.h5, slice 1: .*already undersampled"):
        create_paired_dataset(tmp_path, "multicoil")


def test_empty_slices_need_no_maps(tmp_path):
    maps, kspace = coils(tmp_path / "a.h5")
    maps[0], kspace[0] = 0, 0
    coils(tmp_path / "a.h5", kspace=kspace, sens_maps=maps)
    (inputs, image), _ = create_paired_dataset(tmp_path, "multicoil", 1)
    assert not np.any(image) and np.isfinite(inputs["sens_maps"]).all()


def test_multicoil_models_take_whole_frames(capsys, folder, tmp_path):
    cut = call(capsys, "train", "--data", folder, "--out", tmp_path / "run", "--model", "modl", "--crop", "32")
    assert cut.code == 2 and "whole frames" in cut.err


@pytest.mark.slow
def test_data_consistency_behind_a_network(capsys, demo_folder, tmp_path, tiny_unet):
    weights = tmp_path / "run" / "generator.weights.h5"
    assert call(capsys, "train", "--data", demo_folder, "--out", tmp_path / "run", "--preset", "small", "--epochs", "1",
                "--batch-size", "4").code == 0
    scores = {}
    for name, more in (("plain", ()), ("consistent", ("--data-consistency",))):
        made = call(capsys, "reconstruct", demo_folder, tmp_path / name, "--weights", weights, *more)
        assert made.code == 0, made.err
        if more:
            assert "before and" in made.err and "after data consistency" in made.err
        judged = call(capsys, "evaluate", tmp_path / name, "--target", demo_folder, "--json").json()
        scores[name] = {row["name"]: row["psnr"] for row in judged["mean"]}["prediction"]
    assert scores["consistent"] > scores["plain"]
    refused = call(capsys, "reconstruct", demo_folder, tmp_path / "x", "--model", "cg_sense", "--data-consistency")
    assert refused.code == 2 and "--data-consistency is for" in refused.err
