"""`check` and `mask`; row numbers are those of the list of bad inputs."""

import subprocess

import h5py
import numpy as np
import pytest
from cli_tools import call, disc, fingerprint, volume
from ct_tools import png

from tfrecon.data.prior import evenly
from tfrecon.physics import fft2c
from tfrecon.physics.masks import random_mask


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate("ab"):
        volume(tmp_path / "data" / f"{name}.h5", {"patient_id": "SECRET"}, images=disc(3, 36, 32, seed))
    return tmp_path / "data"


@pytest.mark.parametrize("count, wanted, expected", [
    (15, 8, [0, 1, 3, 5, 7, 9, 11, 13]), (3, 8, [0, 1, 2]), (4, None, [0, 1, 2, 3]), (0, 4, []),
])
def test_slices_are_chosen_all_over_a_volume(count, wanted, expected):
    """For adaptation and comparisons; not the first ones alone."""
    assert evenly(count, wanted) == expected


def test_sound_files_pass(capsys, data):
    seen = call(capsys, "check", data)
    assert (seen.code, seen.out) == (0, "6 slices in 2 volumes read; all can be used\n")


def test_row_4_and_15_damage_is_found_in_any_slice(capsys, data):
    with h5py.File(data / "b.h5", "r+") as file:
        file["kspace"][2, 1, 3] = np.nan
    (data / "c.h5").write_bytes(b"<html>403</html>")
    seen = call(capsys, "check", data)
    assert seen.code == 1 and "! b.h5: slice 2:" in seen.out and "! c.h5:" in seen.out and "2 findings" in seen.out
    assert call(capsys, "check", data, "--json").json()["files"][1]["unusable"]


def test_row_4_a_changed_bit_shows_in_the_sums(capsys, data, tmp_path):
    sums = tmp_path / "sums.txt"
    assert call(capsys, "check", data, "--write-hash", sums).code == 0
    assert call(capsys, "check", data, "--write-hash", sums).code == 2  # never replaced by mistake
    checked = subprocess.run(["sha256sum", "-c", sums], cwd=data, capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stdout.count("OK") == 2
    assert call(capsys, "check", data, "--hash", sums).code == 0
    with h5py.File(data / "a.h5", "r+") as file:
        file["kspace"][0, 18, 16] *= 1.5
    volume(data / "new.h5", images=disc(1, 36, 32, 5))
    (data / "b.h5").unlink()
    seen = call(capsys, "check", data, "--hash", sums)
    assert seen.code == 1
    for sentence in ("a.h5: has changed", "b.h5: missing", "new.h5: not in the manifest"):
        assert f"! {sentence}" in seen.out


def test_row_90_manifest_as_windows_writes_it(capsys, data, tmp_path):
    sums = tmp_path / "sums.txt"
    call(capsys, "check", data, "--write-hash", sums)
    sums.write_bytes(b"\xef\xbb\xbf" + sums.read_bytes().replace(b"\n", b"\r\n"))
    assert call(capsys, "check", data, "--hash", sums).code == 0
    sums.write_text("a.h5 is fine\n")
    wrong = call(capsys, "check", data, "--hash", sums)
    assert wrong.code == 3 and "line 1" in wrong.err
    sums.write_text("")
    assert call(capsys, "check", data, "--hash", sums).code == 3
    assert call(capsys, "check", data, "--hash", tmp_path / "none").code == 3


@pytest.mark.parametrize("spoil", ["nan", "zero", "size", "masks", "grey"])
def test_what_belongs_to_a_slice_is_read_too(capsys, tmp_path, spoil):
    """`reconstruct` would refuse these files."""
    maps = np.ones((1, 2, 16, 20), "c8")
    path = tmp_path / "in" / "a.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["kspace"] = fft2c(maps * disc(1, 16, 20, 0)).astype("c8")
        if spoil in ("masks", "grey"):
            file["masks"] = np.full((1, 16, 20), 0.0 if spoil == "masks" else 0.3)
        else:
            maps[0, 0, 3, 3] = np.nan if spoil == "nan" else 1
            file["sens_maps"] = maps[:, :, :-1] if spoil == "size" else maps * (spoil != "zero")
    seen = call(capsys, "check", tmp_path / "in", "--json")
    assert seen.code == 1 and (seen.json()["skipped"] or seen.json()["files"][0]["unusable"])


def test_a_folder_of_nothing_usable_is_a_failed_check(capsys, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.h5").write_bytes(b"<html>403</html>")
    sums = tmp_path / "sums"
    sums.write_text("0" * 64 + "  a.h5\n")
    seen = call(capsys, "check", tmp_path / "in", "--hash", sums, "--json")
    assert seen.code == 1 and seen.json()["skipped"] and seen.json()["manifest"] == ["a.h5: has changed"]
    assert call(capsys, "check", tmp_path / "none").code == 3


def test_names_that_sums_must_escape(capsys, data, tmp_path):
    (data / "a.h5").rename(data / "a\\n\nb.h5")
    sums = tmp_path / "sums"
    assert call(capsys, "check", data, "--write-hash", sums).code == 0
    checked = subprocess.run(["sha256sum", "-c", sums], cwd=data, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert call(capsys, "check", data, "--hash", sums).code == 0
    assert call(capsys, "check", data / "b.h5", "--hash", sums).code == 0  # one file of the list


def test_images_and_ct(capsys, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file["reconstruction_rss"] = np.stack([np.abs(disc(1, 36, 32, 0)[0]), np.full((36, 32), np.inf)]).astype("f4")
    seen = call(capsys, "check", folder, "--as", "images")
    assert seen.code == 1 and "slice 1" in seen.out
    png(tmp_path / "ct" / "a.png", np.full((20, 24), 7, np.uint8))
    seen = call(capsys, "check", tmp_path / "ct", "--as", "ct", "--window", "grey")
    assert seen.code == 0 and "? a.png: slice 0: constant, 7 everywhere" in seen.out


def test_mask_writes_what_a_scanner_would_have_measured(capsys, data, tmp_path):
    made = call(capsys, "mask", data, tmp_path / "out", "--acceleration", "3")
    assert made.code == 0 and "a.h5" in made.err
    mask = random_mask(32, 0.32 / 3, 3, "a.h5")
    with h5py.File(data / "a.h5") as full, h5py.File(tmp_path / "out" / "a.h5") as masked:
        np.testing.assert_array_equal(masked["mask"], mask)
        np.testing.assert_array_equal(masked["kspace"], full["kspace"][()].astype("c8") * mask)
        assert set(masked) == {"kspace", "mask"} and "SECRET" not in str(dict(masked.attrs))
    images = {}
    for name, source, more in (("one", data, ("--acceleration", "3")), ("two", tmp_path / "out", ())):
        assert call(capsys, "reconstruct", source, tmp_path / name, "--model", "zero_filled", *more, "--crop", "32").code == 0
        with h5py.File(tmp_path / name / "b.h5") as file:
            images[name] = file["reconstruction"][()]
    np.testing.assert_array_equal(images["one"], images["two"])
    again = call(capsys, "mask", tmp_path / "out", tmp_path / "twice")
    assert again.code == 3 and "expected fully sampled k-space" in again.err


def test_mask_keeps_coil_maps_and_existing_files(capsys, tmp_path):
    rng = np.random.default_rng(0)
    maps = (rng.normal(size=(1, 2, 16, 20)) + 1j).astype("c8")
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["kspace"], file["sens_maps"] = fft2c(maps * disc(1, 16, 20, 0)), maps
    words = ("mask", tmp_path / "in", tmp_path / "out", "--acceleration", "2")
    assert call(capsys, *words).code == 0
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        np.testing.assert_array_equal(file["sens_maps"], maps)
    assert call(capsys, *words).code == 2
    assert call(capsys, *words, "--resume").code == 0 and call(capsys, *words, "--overwrite").code == 0
    before = fingerprint(tmp_path / "in")
    for out in (tmp_path / "in", tmp_path / "in" / "below"):
        assert call(capsys, "mask", tmp_path / "in", out, "--overwrite").code == 2
    assert fingerprint(tmp_path / "in") == before
    changed = call(capsys, "mask", tmp_path / "in", tmp_path / "out", "--acceleration", "3", "--resume")
    assert changed.code == 2 and "another mask_accelerations" in changed.err


def test_what_was_masked_keeps_the_size_of_its_images(capsys, tmp_path):
    """No target, no size: it would be cut to a square and could not be judged."""
    volume(tmp_path / "in" / "a.h5", images=disc(1, 36, 20, 0), reconstruction_esc=np.abs(disc(1, 36, 20, 0)).astype("f4"))
    assert call(capsys, "mask", tmp_path / "in", tmp_path / "out").code == 0
    assert call(capsys, "reconstruct", tmp_path / "out", tmp_path / "made", "--model", "zero_filled").code == 0
    judged = call(capsys, "evaluate", tmp_path / "made", "--target", tmp_path / "in")
    assert judged.code == 0, judged.err


def test_mask_refuses_what_would_be_no_measurement(capsys, data, monkeypatch, tmp_path):
    nothing = call(capsys, "mask", data, tmp_path / "out", "--acceleration", "1000", "--seed", "0")
    assert nothing.code == 2 and "none of 32 columns" in nothing.err
    with h5py.File(data / "a.h5", "r+") as file:
        file["masks"] = np.ones((3, 36, 32), bool)
    own = call(capsys, "mask", data, tmp_path / "out")
    assert own.code == 3 and "masks of its own" in own.err and not (tmp_path / "out" / "a.h5").exists()
    monkeypatch.setattr("tfrecon.data.memory.free_memory", lambda: 1000)
    short = call(capsys, "mask", data, tmp_path / "small")
    assert short.code == 3 and not list((tmp_path / "small").glob("*.h5"))


def test_mask_of_a_number_of_columns(capsys):
    shown = call(capsys, "mask", "368", "--acceleration", "4", "--seed", "0")
    mask = random_mask(368, 0.08, 4, 0)
    assert shown.out.splitlines()[0] == "".join("|" if kept else "." for kept in mask)
    facts = call(capsys, "mask", "368", "--acceleration", "4", "--seed", "0", "--json").json()
    assert facts["acceleration"] == pytest.approx(368 / mask.sum()) and facts["centre_columns"] >= 29
    assert call(capsys, "mask", "368", "out").code == 2 and call(capsys, "mask", "data").code == 2
    for columns in ("0", "1", "10000000000000"):
        assert call(capsys, "mask", columns).code == 2
