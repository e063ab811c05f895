"""DeblurGAN for MRI and the CT models on the command line: train, resume, reconstruct, judge, and what is refused."""

import json

import h5py
import numpy as np
import pytest
from cli_tools import arrays, call, results, volume, volumes

from tfrecon.physics import fft2c
from tfrecon.weights import load_weights, read_card

TINY_MRI = ("--model", "deblurgan_mri", "--preset", "small", "--set", "ngf=2", "--set", "ndf=2", "--set", "n_blocks=1",
            "--batch-size", "2")
TINY_CT = ("--model", "ct_deblur", "--preset", "small", "--set", "ngf=2", "--set", "ndf=2", "--set", "n_blocks=1",
           "--batch-size", "2", "--crop", "32", "--blur-length", "8")


def ct(folder, names="abc", slices=2, size=40, patient=None):
    """HDF5 volumes of a disc of tissue in air, in Hounsfield units."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        hu = np.where(x**2 + y**2 < 0.7, 40 + 60 * np.sin(9 * x + seed) * np.cos(7 * y), -1000.0)
        path = folder / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["hu"] = (hu + 5 * rng.standard_normal((slices, size, size))).astype(np.float32)
            file.attrs["patient_id"] = patient or name
    return folder


@pytest.fixture(scope="module")
def mri_run(tmp_path_factory):
    from cli_tools import as_shown_to_users

    from tfrecon import cli

    folder = tmp_path_factory.mktemp("mri")
    data = volumes(folder / "data")
    with as_shown_to_users():
        assert cli.main(["train", "--data", str(data), "--out", str(folder / "run"), *TINY_MRI, "--epochs", "2",
                         "--keep-epochs"]) == 0
    return folder


@pytest.fixture(scope="module")
def ct_run(tmp_path_factory):
    from cli_tools import as_shown_to_users

    from tfrecon import cli

    folder = tmp_path_factory.mktemp("ct")
    data = ct(folder / "data")
    with as_shown_to_users():
        assert cli.main(["train", "--data", str(data), "--out", str(folder / "run"), *TINY_CT, "--epochs", "2",
                         "--visits", "2", "--generator-first", "1"]) == 0
    return folder


def test_mri_run_leaves_what_the_original_left_and_a_card(mri_run):
    run = mri_run / "run"
    history = json.loads((run / "history.json").read_text())
    dated = sorted(p.name for p in (run / "weights").glob("*/*"))
    expected = [f"generator_{e}_{int(history[e]['g_loss'])}.h5" for e in (0, 1)]
    assert dated == ["discriminator_0.h5", "discriminator_1.h5", *sorted(expected)]
    assert len((run / "log.txt").read_text().splitlines()) == 2
    card = read_card(run / "generator.weights.h5")
    assert card["scaling"] == "symmetric" and card["options"]["image_shape"] == [20, 20, 3]


def test_per_epoch_files_load_as_published_weights(mri_run):
    import tfrecon

    path = next((mri_run / "run" / "weights").glob("*/generator_1_*.h5"))
    with h5py.File(path) as file:
        assert {"layer_names", "backend", "keras_version"} <= set(file.attrs)
    options = {"ngf": 2, "ndf": 2, "n_blocks": 1, "image_shape": (20, 20, 3), "preset": "small"}
    model = tfrecon.create("deblurgan_mri", weights=path, **options)
    report = load_weights(model.generator, path)
    assert report.loaded == report.total == 44


def test_mri_reconstruction_keeps_size_and_units_and_is_judged(capsys, mri_run, tmp_path):
    data, weights = volumes(tmp_path / "data", "x"), mri_run / "run" / "generator.weights.h5"
    result = call(capsys, "reconstruct", data, tmp_path / "out", "--model", "deblurgan_mri", "--weights", weights)
    assert result.code == 0, result.err
    image = arrays(tmp_path / "out" / "x.h5")["reconstruction"]
    assert image.shape == (2, 20, 20) and 0 < np.abs(image).max() < 2e-3
    table = call(capsys, "evaluate", tmp_path / "out", "--target", data, "--json").json()
    assert [row["name"] for row in table["mean"]] == ["zero_filled", "prediction"]


def test_volumes_of_the_course_get_their_own_name_too(capsys, mri_run, tmp_path):
    from cli_tools import disc

    kspace = fft2c(disc(height=30, width=22))
    kspace[..., ::2] = 0
    volume(tmp_path / "data" / "test.h5", kspace=None, kspace_4af=kspace, reconstruction_esc=None)
    result = call(capsys, "reconstruct", tmp_path / "data", tmp_path / "out", "--model", "deblurgan_mri", "--weights",
                  mri_run / "run" / "generator.weights.h5")
    assert result.code == 0, result.err
    with h5py.File(tmp_path / "out" / "test.h5") as file:
        assert file["recon_4af"] == file["reconstruction"]  # the same array, not a copy
        assert len(file["recon_4af"]) == 2  # all slices, not the first alone


@pytest.mark.slow
def test_original_preset_trains_on_raw_images_the_other_way_round(capsys, tmp_path):
    words = [w for w in TINY_MRI if w not in ("--preset", "small")]
    data = volumes(tmp_path / "data")
    result = call(capsys, "train", "--data", data, "--out", tmp_path / "run", *words, "--preset", "original", "--content",
                  "l1", "--set", "critic_updates=1", "--epochs", 1)
    assert result.code == 0, result.err
    assert "largest magnitude" in result.err  # raw magnitudes of 1e-4 train to nothing, and it says so
    card = read_card(tmp_path / "run" / "generator.weights.h5")
    assert card["scaling"] == "none" and card["options"]["swapped"] is True


@pytest.mark.slow
def test_ct_run_resumes_to_the_same_weights(capsys, ct_run, tmp_path):
    first = ("train", "--data", ct_run / "data", "--out", tmp_path / "run", *TINY_CT, "--visits", 2, "--generator-first", 1)
    assert call(capsys, *first, "--epochs", 1).code == 0
    resumed = call(capsys, *first, "--epochs", 2, "--resume")
    assert resumed.code == 0, resumed.err
    state = "checkpoint/state-00002-0000000.weights.h5"
    ours, theirs = arrays(tmp_path / "run" / state), arrays(ct_run / "run" / state)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], name)


def test_ct_is_blurred_deblurred_and_judged_with_the_blurred_row(capsys, ct_run, tmp_path):
    weights = ct_run / "run" / "generator.weights.h5"
    result = call(capsys, "reconstruct", ct_run / "data", tmp_path / "out", "--model", "ct_deblur", "--weights", weights,
                  "--blur")
    assert result.code == 0, result.err
    table = call(capsys, "evaluate", tmp_path / "out", "--target", ct_run / "data", "--json").json()
    assert [row["name"] for row in table["mean"]] == ["blurred", "prediction"] and table["mean"][0]["n"] == 3
    words = ("evaluate", ct_run / "data", "--target", ct_run / "data", "--window", "brain", "--blur-seed", "file", "--json")
    sharp = call(capsys, *words).json()
    assert sharp["mean"][1]["ssim"] == pytest.approx(1.0) and sharp["mean"][0]["ssim"] < 0.99


def test_ct_taken_as_it_is_without_blur_and_in_tiles(capsys, ct_run, tmp_path):
    data = ct(tmp_path / "data", "t", size=70)
    weights = ct_run / "run" / "generator.weights.h5"
    words = ("reconstruct", data, tmp_path / "out", "--model", "ct_deblur", "--weights", weights)
    assert call(capsys, *words, "--tile", 64).code == 2  # the overlap of 32 does not fit into half of it
    result = call(capsys, *words, "--tile", 68, "--overwrite")
    assert result.code == 0, result.err
    assert arrays(tmp_path / "out" / "t.h5")["reconstruction"].shape == (2, 70, 70)


def test_data_of_one_person_are_cut_by_slice_only_knowingly(capsys, tmp_path):
    data = ct(tmp_path / "data", "ab", patient="one")
    words = ("train", "--data", data, "--out", tmp_path / "run", *TINY_CT, "--epochs", 1)
    refused = call(capsys, *words)
    assert refused.code == 3 and "different patients" in refused.err and not (tmp_path / "run").exists()
    allowed = call(capsys, *words, "--allow-leak")
    assert allowed.code == 0 and "one patient stands on both sides" in allowed.err, allowed.err


def test_row_82_grey_images_ask_for_a_window(capsys, ct_run, tmp_path):
    skimage = pytest.importorskip("skimage.io")
    skimage.imsave(tmp_path / "slice.png", np.full((40, 40), 90, np.uint8), check_contrast=False)
    words = ("reconstruct", tmp_path / "slice.png", tmp_path / "out", "--model", "ct_deblur", "--weights",
             ct_run / "run" / "generator.weights.h5")
    refused = call(capsys, *words)
    assert refused.code == 3 and "--window grey" in refused.err
    result = call(capsys, *words, "--window", "grey", "--format", "same")
    assert result.code == 0, result.err
    assert skimage.imread(tmp_path / "out" / "slice.png").shape == (40, 40)


@pytest.mark.parametrize("more, code, message", [
    (("--crop", "8"), 2, "at least 16"),  # row 72: too small for the critic
    (("--crop", "18"), 2, "multiple"),  # row 73
    (("--set", "learning_rate=1e-2"), 2, "--learning-rate"), (("--set", "image_shape=[8,8,1]"), 2, "--crop"),
    (("--set", "depth=3"), 2, "depth"), (("--set", "=3"), 2, "NAME=VALUE"), (("--loss", "l1"), 2, "loss"),
    (("--content", "perceptual", "--vgg-weights", "/nowhere/vgg.h5"), 4, "/nowhere/vgg.h5"),
])
def test_wrong_options_are_told_in_one_line(capsys, tmp_path, more, code, message):
    data = volumes(tmp_path / "data")
    result = call(capsys, "train", "--data", data, "--out", tmp_path / "run", *TINY_MRI, "--epochs", 1, *more)
    assert result.code == code and message in result.err.splitlines()[-1], result.err
    assert "generator.weights.h5" not in results(tmp_path / "run") if (tmp_path / "run").exists() else True


def test_row_53_the_folder_of_the_inputs_is_no_output(capsys, ct_run, tmp_path):
    data = ct(tmp_path / "data", "a")
    for out in (data, tmp_path):  # itself, and one it lies in
        result = call(capsys, "reconstruct", data, out, "--model", "ct_deblur", "--weights",
                      ct_run / "run" / "generator.weights.h5")
        assert result.code == 2 and "holds the inputs" in result.err
    assert results(data) == ["a.h5"]


def test_blurred_row_only_where_the_blur_is_known(capsys, ct_run, tmp_path):
    weights = ct_run / "run" / "generator.weights.h5"
    words = ("reconstruct", ct_run / "data", tmp_path / "out", "--model", "ct_deblur", "--weights", weights)
    assert call(capsys, *words).code == 0
    judged = call(capsys, "evaluate", tmp_path / "out", "--target", ct_run / "data", "--json").json()
    assert judged["mean"][0]["n"] == 0 and "no blurred row" in judged["notes"]["a.h5"]
    longer = call(capsys, *words, "--blur", "--blur-length", 20, "--blur-seed", 3, "--overwrite")
    assert longer.code == 0, longer.err
    with h5py.File(tmp_path / "out" / "a.h5") as file:  # what was asked for, not what the card says
        assert (file.attrs["blur_max_length"], file.attrs["blur_seed"]) == (20.0, 3)
    table = call(capsys, "evaluate", tmp_path / "out", "--target", ct_run / "data")
    assert "blurred (baseline)" in table.out


@pytest.mark.parametrize("model, depth", [
    pytest.param("ct_deblur", "n_blocks=1", marks=pytest.mark.slow), ("pix2pix", "num_downs=5")])
def test_slices_that_are_no_multiple_are_validated_in_part(capsys, tmp_path, model, depth):
    data = ct(tmp_path / "data", size=37)
    tiny = ("--set", "ngf=2", "--set", "ndf=2", "--set", depth, "--batch-size", 2, "--crop", 32, "--blur-length", 8)
    result = call(capsys, "train", "--data", data, "--out", tmp_path / "run", "--model", model, "--preset", "small", *tiny,
                  "--epochs", 1)
    assert result.code == 0, result.err


@pytest.mark.slow
def test_wrong_commands_leave_nothing_in_the_way(capsys, tmp_path):
    data, run = volumes(tmp_path / "data"), tmp_path / "run"
    tiny = ("--data", data, "--out", run, "--epochs", 1)
    for words in (("train", *tiny, *TINY_MRI, "--content", "perceptual", "--vgg-weights", tmp_path / "none.h5"),
                  ("train", *tiny, *TINY_MRI, "--generator-first", 1),
                  ("compare", *tiny, "--model", "deblurgan_mri", "--preset", "small")):
        assert call(capsys, *words).code in (2, 4)
        assert not (run / "settings.json").exists(), words
    assert call(capsys, "train", *tiny, *TINY_MRI, "--linear-decay", 1, 1).code == 0


def test_tensorboard_logs_or_the_package_to_install(capsys, tmp_path):
    import importlib.util

    data = volumes(tmp_path / "data")
    result = call(capsys, "train", "--data", data, "--out", tmp_path / "run", *TINY_MRI, "--epochs", 1, "--tensorboard")
    if importlib.util.find_spec("tensorboard"):
        assert result.code == 0 and list((tmp_path / "run" / "tensorboard").rglob("events*"))
    else:
        assert result.code == 5 and "tfrecon[tensorboard]" in result.err and not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["deblurgan_mri", "ct_deblur", "pix2pix"])
def test_demo_of_every_model(capsys, tmp_path, model):
    result = call(capsys, "demo", "--model", model, "--out", tmp_path / "demo", "--epochs", 2, "--volumes", 4, "--slices", 2)
    assert result.code in (0, 1) and "report:" in result.out, result.err
    page = (tmp_path / "demo" / "report.html").read_text()
    assert model in page and ("blurred" in page) == (model != "deblurgan_mri")
