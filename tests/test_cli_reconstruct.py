"""`reconstruct` and `inspect` on data as they come; row numbers are those of the list of bad inputs."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_tools import ROOT, arrays, as_shown_to_users, call, disc, nan_slice, process, results, volume, volumes

from tfrecon.data import memory
from tfrecon.physics import fft2c
from tfrecon.physics.masks import random_mask


@pytest.fixture
def data(tmp_path):
    return volumes(tmp_path / "data")


def reconstruct(capsys, data, out, *more):
    return call(capsys, "reconstruct", data, out, "--model", "zero_filled", *more)


def image(path):
    return arrays(path)["reconstruction"]


def test_a_good_folder(capsys, data, tmp_path):
    result = reconstruct(capsys, data, tmp_path / "out", "--json")
    assert result.code == 0 and result.json()["reconstructed"] == ["a.h5", "b.h5", "c.h5"]
    for i, (name, line) in enumerate(zip("abc", result.err.splitlines(), strict=True), 1):
        assert re.fullmatch(rf"\[{i}/3\] {name}\.h5: done \(\d+\.\d s\)", line)
    assert list(result.json()["seconds_each"]) == ["a.h5", "b.h5", "c.h5"]
    assert results(tmp_path / "out") == ["a.h5", "b.h5", "c.h5", "run.json"]
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        assert file["reconstruction"].dtype == np.float32 and file["reconstruction"].shape == (2, 20, 20)
        np.testing.assert_array_equal(file["mask"][()], random_mask(20, 0.08, 4, "a.h5"))
    assert "3 volumes reconstructed" in reconstruct(capsys, data, tmp_path / "again").out


def skipped_files(data):
    """One file or entry of each kind that a folder can hold and nobody can read."""
    (data / "row1.h5").write_bytes((data / "a.h5").read_bytes()[:3000])
    (data / "row2.h5").touch()
    (data / "row3.h5").write_text("<html>403 Forbidden</html>")
    with h5py.File(data / "row6.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones(2)
    volume(data / "row7.h5", kspace="text")
    volume(data / "row8.h5", kspace=np.ones((1, 1, 1, 4, 4), "c8"))
    volume(data / "row9.h5", kspace=np.ones((0, 4, 4), "c8"))
    volume(data / "row19.h5", kspace=np.ones((2, 24, 20), "f4"))
    volume(data / "row28.h5", mask=np.ones(19))
    volume(data / "row29.h5", mask=np.full(20, 0.5))
    volume(data / "row30.h5", mask=np.zeros(20))
    (data / "row42.h5").symlink_to("nowhere.h5")
    (data / "row43.h5").mkdir()
    (data / "row44").symlink_to("row44")
    with h5py.File(data / "row48.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink("a.h5", "/kspace")
    with h5py.File(data / "row49.h5", "w") as file:
        file["kspace"] = h5py.SoftLink("/kspace")


SKIPPED = {"row1.h5": "truncated", "row2.h5": "empty file", "row3.h5": "web page", "row6.h5": "Keras weight file",
           "row7.h5": "found text", "row8.h5": "found shape", "row9.h5": "no slices", "row19.h5": "expected complex",
           "row28.h5": "width 19, the k-space 20", "row29.h5": "only 0 and 1", "row30.h5": "all zeros",
           "row42.h5": "dangling link", "row43.h5": "a folder named like", "row44": "circle",
           "row48.h5": "another file", "row49.h5": "broken link kspace"}


def test_rows_1_to_49_unreadable_files_are_skipped_counted_and_the_others_done(capsys, data, tmp_path):
    skipped_files(data)
    result = reconstruct(capsys, data, tmp_path / "out", "--json")
    failed = result.json()["failed"]
    assert result.code == 3 and set(failed) == set(SKIPPED)
    for name, fragment in SKIPPED.items():
        assert fragment in failed[name] and f"skipped {name}: {failed[name]}" in result.err
    assert results(tmp_path / "out") == ["a.h5", "b.h5", "c.h5", "run.json"]
    assert f"3 volumes reconstructed into {tmp_path / 'out2'}, 16 failed" in reconstruct(capsys, data, tmp_path / "out2").out
    strict = reconstruct(capsys, data, tmp_path / "strict", "--strict")
    assert strict.code == 3 and not (tmp_path / "strict").exists() and strict.err.count("\n") == 1
    seen = call(capsys, "inspect", data, "--json")
    assert seen.code == 3 and {s["name"] for s in seen.json()["skipped"]} == set(SKIPPED)


@pytest.mark.parametrize(("make", "fragment"), [
    (lambda p: (p / "x").mkdir(parents=True), "row 41: no .h5 in"),
    (lambda p: p.parent.mkdir(exist_ok=True), "row 42: does not exist; the nearest folder"),
    (lambda p: volumes(p, "a", kspace=None), "row 5: no usable volume among 1 files: a.h5: no key kspace"),
])
@pytest.mark.parametrize("command", ["inspect", "reconstruct", "train"])
def test_rows_5_41_42_nothing_to_work_on(capsys, tmp_path, make, fragment, command):
    make(tmp_path / "data")
    rest = {"inspect": (tmp_path / "data",), "train": ("--data", tmp_path / "data", "--out", tmp_path / "out"),
            "reconstruct": (tmp_path / "data", tmp_path / "out", "--model", "zero_filled")}[command]
    result = call(capsys, command, *rest)
    assert result.code == 3 and fragment.split(": ", 1)[1] in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


AS_ANOTHER_USER = """
import os, sys
from tfrecon.cli import main
data, closed, out = sys.argv[1:]
run = lambda out: main(["reconstruct", data, out, "--model", "zero_filled"])
run(out + "/warm")  # whatever is imported late, before this user loses sight of it
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(run(out + "/x"), run(closed))
"""


def test_rows_45_53_files_and_folders_of_somebody_else(data):
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "out").mkdir()
        (folder / "closed").mkdir()
        shutil.copytree(data, folder / "data")
        for path, mode in ((folder, 0o755), (folder / "out", 0o777), (folder / "closed", 0o555), (folder / "data/b.h5", 0)):
            path.chmod(mode)
        done = subprocess.run([sys.executable, "-c", AS_ANOTHER_USER, folder / "data", folder / "closed", folder / "out"],
                              cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "3 5", done.stderr
        assert "skipped b.h5: no permission to read it (user id" in done.stderr
        assert f"{folder / 'closed'}: no permission to write there" in done.stderr
        assert results(folder / "out" / "x") == ["a.h5", "c.h5", "run.json"] and results(folder / "closed") == []
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(("array", "fragment"), [
    (fft2c(disc()) * np.nan, "row 15: kspace slice 0 has 480 NaN"),
    (np.full((1, 24, 20), 1e300 + 0j), "row 24: 480 infinite values"),
    (np.full((1, 24, 20), np.inf, [("r", "f2"), ("i", "f2")]), "row 24: infinite values"),
])
def test_rows_15_24_volumes_that_are_not_finite(capsys, data, tmp_path, array, fragment):
    volume(data / "bad.h5", kspace=array, reconstruction_esc=None)
    result = reconstruct(capsys, data, tmp_path / "out")
    assert result.code == 3 and fragment.split(": ", 1)[1] in result.err
    assert results(tmp_path / "out") == ["a.h5", "b.h5", "c.h5", "run.json"]


def test_row_15_one_bad_slice_is_named_and_refuses_its_volume_or_becomes_zero(capsys, data, tmp_path):
    nan_slice(data / "b.h5")
    seen = call(capsys, "inspect", data, "--deep")
    assert "! slice 1: " in seen.out and "1 NaN" in seen.out and seen.out.count("! slice") == 1
    assert reconstruct(capsys, data, tmp_path / "out").code == 3
    assert results(tmp_path / "out") == ["a.h5", "c.h5", "run.json"]
    zeroed = reconstruct(capsys, data, tmp_path / "zero", "--nan", "zero")
    assert zeroed.code == 0 and "b.h5: 1 values that are not finite were set to 0 in slices [1]" in zeroed.err
    assert np.isfinite(image(tmp_path / "zero" / "b.h5")).all()


def test_row_4_inspect_finds_damage_in_the_stored_image_too(capsys, tmp_path):
    target = np.abs(disc()[:, 2:22]).astype(np.float32)
    target[0, 5, 5] = np.nan
    volume(tmp_path / "a.h5", reconstruction_esc=target)
    found = call(capsys, "inspect", tmp_path / "a.h5", "--deep", "--json").json()["volumes"][0]["findings"]
    assert len(found) == 1 and found[0].startswith("slice 0: ") and "reconstruction_esc slice 0 has 1 NaN" in found[0]


def test_rows_16_17_empty_and_constant_images(capsys, tmp_path):
    images = disc(3)
    images[1] = 0
    volume(tmp_path / "data" / "a.h5", images=images)
    volume(tmp_path / "data" / "b.h5", images=images * 0)
    volume(tmp_path / "data" / "c.h5", images=np.ones((1, 24, 20), np.complex64))
    result = reconstruct(capsys, tmp_path / "data", tmp_path / "out")
    assert result.code == 0 and "a.h5: slices [1] are empty" in result.err and "b.h5: slices [0, 1, 2]" in result.err
    assert not image(tmp_path / "out" / "b.h5").any()
    np.testing.assert_allclose(image(tmp_path / "out" / "c.h5"), 1, rtol=1e-5)
    seen = call(capsys, "inspect", tmp_path / "data", "--deep").out
    assert "slice 1: empty: every sample is zero" in seen and "the target is constant, 1 everywhere" in seen


def test_rows_11_12_sizes_below_the_crop(capsys, tmp_path):
    volume(tmp_path / "a.h5", images=disc(1, 33, 17), reconstruction_esc=None)
    assert reconstruct(capsys, tmp_path / "a.h5", tmp_path / "out").code == 0
    assert image(tmp_path / "out" / "a.h5").shape == (1, 17, 17)
    result = reconstruct(capsys, tmp_path / "a.h5", tmp_path / "large", "--crop", "18")
    assert result.code == 3 and "(18, 18) does not fit" in result.err and not (tmp_path / "large").exists()


def test_replaced_values_are_counted_for_their_own_volume_while_others_are_read(capsys, tmp_path):
    for k in range(12):
        nan_slice(volume(tmp_path / "in" / f"{k:02d}.h5", images=disc(3, 24, 20, k)), k % 3)
    result = reconstruct(capsys, tmp_path / "in", tmp_path / "out", "--nan", "zero", "--workers", "4")
    assert result.code == 0 and result.err.count("1 values that are not finite were set to 0 in slices") == 12
    assert all(f"{k:02d}.h5: 1 values that are not finite were set to 0 in slices [{k % 3}]" in result.err for k in range(12))


def test_row_13_a_volume_that_does_not_fit_into_memory_is_refused_with_numbers(capsys, data, tmp_path, monkeypatch):
    volume(data / "large.h5", images=disc(2, 96, 80))
    monkeypatch.setattr(memory, "free_memory", lambda: 200_000)
    text = r"its slices of 96 x 80 need about"
    result = reconstruct(capsys, data, tmp_path / "out")
    assert result.code == 3 and text in result.err and "GiB are free" in result.err
    assert results(tmp_path / "out") == ["a.h5", "b.h5", "c.h5", "run.json"]
    assert text in call(capsys, "inspect", data, "--deep").out
    train = call(capsys, "train", "--data", data / "large.h5", "--out", tmp_path / "run")
    assert train.code == 3 and text in train.err and not (tmp_path / "run").exists()


def test_row_13_memory_of_this_machine_is_known():
    assert 2**20 < memory.free_memory() < 2**50


@pytest.mark.parametrize("shape", [(20,), (1, 20), (1, 20, 1), (24, 20)], ids=str)
def test_rows_29_31_a_mask_in_the_file_is_used_and_no_second_one(capsys, tmp_path, shape):
    mask = random_mask(20, 0.08, 4, 7)
    stored = np.broadcast_to(mask.reshape(1, 20, 1) if len(shape) == 3 else mask, shape)
    volume(tmp_path / "a.h5", mask=stored.astype(np.float32))
    result = reconstruct(capsys, tmp_path / "a.h5", tmp_path / "out")
    assert result.code == 0 and "the file's own mask was used" in result.err
    np.testing.assert_array_equal(arrays(tmp_path / "out" / "a.h5")["mask"], mask)


def test_row_30_a_mask_of_ones_removes_nothing_and_says_so(capsys, tmp_path):
    volume(tmp_path / "a.h5", mask=np.ones(20, bool))
    result = reconstruct(capsys, tmp_path / "a.h5", tmp_path / "out")
    assert result.code == 0 and "acceleration 1, nothing is removed" in result.err
    target = arrays(tmp_path / "a.h5")["reconstruction_esc"]
    np.testing.assert_allclose(image(tmp_path / "out" / "a.h5"), target, rtol=1e-4, atol=1e-8)


def test_row_31_undersampled_data_get_no_second_mask(capsys, tmp_path):
    mask = random_mask(20, 0.08, 4, 7)
    kspace = fft2c(disc()) * mask
    volume(tmp_path / "a.h5", kspace=kspace)
    result = reconstruct(capsys, tmp_path / "a.h5", tmp_path / "out")
    assert result.code == 0 and f"undersampled already ({mask.mean():.0%} of the columns); no mask" in result.err
    assert "mask" not in arrays(tmp_path / "out" / "a.h5")
    assert f"{mask.mean():.0%} of the k-space columns are measured" in call(capsys, "inspect", tmp_path / "a.h5").out


def test_row_50_equal_names_in_subfolders_stay_apart(capsys, tmp_path):
    volumes(tmp_path / "data" / "x", "a")
    volumes(tmp_path / "data" / "y", "a", attributes={"max": 1})
    assert reconstruct(capsys, tmp_path / "data", tmp_path / "out").code == 0
    assert results(tmp_path / "out") == ["run.json", "x/a.h5", "y/a.h5"]


NAMES = ["two words.h5", "größe-膝.h5", "[a]*?.h5", "-lead.h5", "x" * 250 + ".h5", "膝" * 84 + ".h5",
         os.fsdecode(b"\xff.h5"), "line\nbreak\x1b[31m.h5"]


def test_row_51_names_of_every_kind(capsys, tmp_path, monkeypatch):
    for name in NAMES:
        volume(tmp_path / "[in] put*" / name, {"patient_id": "p"})
    result = reconstruct(capsys, tmp_path / "[in] put*", tmp_path / "[out] größe*", "--json")
    assert result.code == 0 and sorted(result.json()["reconstructed"]) == sorted(NAMES)
    assert results(tmp_path / "[out] größe*") == sorted([*NAMES, "run.json"])
    assert "\x1b" not in result.err and r"line\nbreak\x1b[31m.h5" in result.err
    assert call(capsys, "inspect", tmp_path / "[in] put*").code == 0
    evaluated = call(capsys, "evaluate", tmp_path / "[out] größe*", "--target", tmp_path / "[in] put*", "--json")
    assert len(evaluated.json()["volumes"]) == len(NAMES)
    monkeypatch.chdir(tmp_path / "[in] put*")
    lead = call(capsys, "reconstruct", "--model", "zero_filled", "--", "-lead.h5", "-out")
    assert lead.code == 0 and results("-out") == ["-lead.h5", "run.json"]


def test_row_53_results_never_replace_inputs_and_need_a_folder(capsys, data, tmp_path):
    (tmp_path / "link").symlink_to(data)
    for out in (data, tmp_path / "link", data / ".." / "data"):
        same = reconstruct(capsys, data, out, "--overwrite")
        assert same.code == 2 and "would replace the inputs" in same.err
    for out in (data / "a.h5", data / "a.h5" / "sub"):
        file = reconstruct(capsys, data, out)
        assert file.code == 2 and "a.h5 is a file" in file.err
    assert results(data) == ["a.h5", "b.h5", "c.h5"]
    wrong = call(capsys, "inspect", data, "--picture", data / "a.h5")
    assert wrong.code == 2 and "must end in .png" in wrong.err


def test_row_54_a_full_disk_leaves_no_file(tmp_path):
    data = volumes(tmp_path / "data", "a", attributes={"max": 1})
    volume(data / "b.h5", images=disc(8, 128, 128))
    script = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
              "from tfrecon.cli import main; sys.exit(main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", script, "reconstruct", data, tmp_path / "out", "--model", "zero_filled"],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 5 and "b.h5: could not be written" in done.stderr and "disk is not full" in done.stderr
    assert "Traceback" not in done.stderr and results(tmp_path / "out") == ["a.h5"]


def test_row_54_free_space_is_asked_first(capsys, data, tmp_path, monkeypatch):
    monkeypatch.setattr("tfrecon.files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    result = reconstruct(capsys, data, tmp_path / "out")
    assert result.code == 5 and re.search("[1-9][0-9]{3} bytes are needed and 10 are free", result.err)
    assert results(tmp_path / "out") == []


def test_row_55_existing_results(capsys, data, tmp_path):
    out = tmp_path / "out"
    reconstruct(capsys, data, out)
    refused = reconstruct(capsys, data, out)
    assert refused.code == 2 and "3 results exist already" in refused.err and "--resume" in refused.err
    whole = (out / "b.h5").read_bytes()
    (out / "a.h5").unlink()
    (out / "b.h5").write_bytes(whole[:900])
    volume(out / "c.h5", images=disc(1), reconstruction=np.ones((1, 20, 20), "f4"))  # of another number of slices
    kept = (out / "run.json").stat().st_mtime_ns
    resumed = reconstruct(capsys, data, out, "--resume")
    assert resumed.code == 0 and "complete" not in resumed.err
    assert image(out / "c.h5").shape == (2, 20, 20) and (out / "b.h5").read_bytes() == whole
    again = reconstruct(capsys, data, out, "--resume")
    assert again.code == 0 and again.err.count("complete already") == 3
    other = reconstruct(capsys, data, out, "--resume", "--acceleration", "8")
    assert other.code == 2 and "a.h5 was made with another mask_accelerations" in other.err
    assert reconstruct(capsys, data, out, "--overwrite").code == 0 and (out / "run.json").stat().st_mtime_ns > kept


def test_interrupting_says_how_to_go_on(capsys, data, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfrecon.reconstruction.volumes.save_reconstruction", interrupt)
    result = reconstruct(capsys, data, tmp_path / "out", "--overwrite")
    assert result.code == 130
    assert f"go on with: tfrecon reconstruct --resume {data} {tmp_path / 'out'} --model zero_filled\n" in result.err


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from tfrecon import models
    from tfrecon.weights import save_weights

    folder = tmp_path_factory.mktemp("weights")
    card = {"model": "unet_gan", "options": {"width": 4}, "acceleration": 4}
    with as_shown_to_users():
        network = models.unet_gan.generator_model((None, None, 1), width=2)
        save_weights(network, folder / "other_width.weights.h5", card)
        save_weights(network, folder / "good.weights.h5", {**card, "options": {"width": 2}})
        save_weights(network, folder / "other_model.weights.h5", {**card, "model": "modl"})
    volume(folder / "volume.h5")
    (folder / "random.h5").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "pointer.h5").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "cut.h5").write_bytes((folder / "good.weights.h5").read_bytes()[:9000])
    with h5py.File(folder / "links.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("good.weights.h5", "/layers")
    return folder


@pytest.mark.parametrize(("name", "fragment"), [
    ("other_width.weights.h5", "does not fit"), ("other_model.weights.h5", "Use --model modl"),
    ("volume.h5", "a volume of images (fastMRI layout, key kspace), not weights"),
    ("random.h5", "not a weight file"),
    ("pointer.h5", "git lfs pull"), ("cut.h5", "truncated"), ("missing.h5", "does not exist"),
    (".", "a folder, expected a file with weights"),
    ("links.h5", "another file"),
])
def test_weights_that_do_not_fit(capsys, data, tmp_path, weights, name, fragment):
    result = call(capsys, "reconstruct", data, tmp_path / "out", "--weights", weights / name)
    assert result.code == 4 and fragment in result.err and not result.out and not (tmp_path / "out").exists()


def test_row_34_weights_of_another_acceleration_and_an_untrained_network(capsys, data, tmp_path, weights):
    result = call(capsys, "reconstruct", data / "a.h5", tmp_path / "out", "--weights", weights / "good.weights.h5",
                  "--acceleration", "8")
    assert result.code == 0 and "trained at 4x and the data are taken at 8x" in result.err
    none = call(capsys, "reconstruct", data, tmp_path / "none")
    assert none.code == 2 and "needs --weights" in none.err


def test_row_16_a_network_makes_nothing_of_an_empty_slice(capsys, tmp_path, weights):
    images = disc(2)
    images[1] = 0
    volume(tmp_path / "a.h5", images=images)
    call(capsys, "reconstruct", tmp_path / "a.h5", tmp_path / "out", "--weights", weights / "good.weights.h5")
    found = image(tmp_path / "out" / "a.h5")
    assert found[0].any() and not found[1].any()


def test_reconstruct_as_a_process_keeps_stdout_for_the_result(data, tmp_path):
    done = process("reconstruct", data, tmp_path / "out", "--model", "zero_filled")
    assert done.returncode == 0 and done.stdout.startswith("3 volumes") and done.stdout.count("\n") == 1
    assert done.stderr.startswith("[1/3] a.h5: done (")
