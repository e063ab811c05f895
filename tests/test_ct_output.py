"""Writing back: a network that changes nothing gives back the file's numbers, changes are in HU, derived files say so."""

import warnings

import h5py
import numpy as np
import pytest
from ct_tools import dicom, hdf5, head, nifti, png, series

from tfrecon.data import ImageReader, index_images
from tfrecon.data.ct.output import is_saved, result_files, result_path, save_volume
from tfrecon.errors import DataError, UsageError

pydicom = pytest.importorskip("pydicom")


def images(path):
    """(volume, images) of the only volume."""
    (volume,) = index_images(path).volumes
    with ImageReader() as reader:
        return volume, np.stack([reader.slice(volume, i) for i in range(volume.slices)])


def saved(path, out, change=0.0, format="same", **options):
    """Write a volume back with `change` added; (volume, path, note)."""
    volume, found = images(path)
    with ImageReader() as reader:
        return volume, *save_volume(volume, reader, found + np.float32(change), out, format, **options)


def padded_head(slices=2):
    found = head(slices)
    found[:, :4] = -2000
    return found


def pixels(path):
    return pydicom.dcmread(path).PixelData


@pytest.mark.parametrize("changes", [
    {}, {"RescaleSlope": 2, "RescaleIntercept": -7}, {"RescaleSlope": -0.37, "RescaleIntercept": 123.4},
    {"RescaleSlope": 0.001, "RescaleIntercept": 500000}, {"PhotometricInterpretation": "MONOCHROME1"},
    {"PixelPaddingValue": -2000}, {"BitsStored": 12, "HighBit": 11},
])
def test_identity_gives_back_every_byte_of_dicom(tmp_path, changes):
    path = dicom(tmp_path / "in" / "a.dcm", padded_head(1)[0].astype("<i2"), **changes)
    _, out, note = saved(path, tmp_path / "out")
    assert pixels(out) == pixels(path) and note == ""


def test_identity_with_overlays_in_the_upper_bits_changes_no_value(tmp_path):
    stored = (head(1)[0].astype(np.int64) + 1024).astype("<u2") | np.uint16(0x5000)
    path = dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    _, out, _ = saved(path, tmp_path / "out")
    np.testing.assert_array_equal(images(out)[1], images(path)[1])
    assert (pydicom.dcmread(out).pixel_array < 4096).all()


def test_a_change_is_in_hounsfield_units_and_spares_the_padding(tmp_path):
    path = dicom(tmp_path / "in" / "a.dcm", padded_head(1)[0].astype("<i2"), RescaleSlope=2, RescaleIntercept=-100,
                 PixelPaddingValue=-2000)
    _, out, _ = saved(path, tmp_path / "out", change=10)
    before, after = (pydicom.dcmread(p).pixel_array.astype(int) for p in (path, out))
    outside = (before == -2000) | (before * 2 - 100 <= -1500)
    assert (after[~outside] - before[~outside] == 5).all() and (after[outside] == before[outside]).all()


def test_a_derived_series_says_what_it_is(tmp_path):
    path = series(tmp_path / "in" / "scan", head(3))
    facts = {"task": "blur", "weights": "abc"}
    volume, out, _ = saved(path, tmp_path / "out", change=1, attributes=facts, software="tfrecon 9.9")
    assert out == tmp_path / "out" / "scan" and sorted(p.name for p in out.iterdir()) == ["im1.dcm", "im2.dcm", "im3.dcm"]
    made = [pydicom.dcmread(p) for p in sorted(out.iterdir())]
    source = [pydicom.dcmread(p) for p in sorted(path.iterdir())]
    assert len({d.SeriesInstanceUID for d in made}) == 1 and len({d.SOPInstanceUID for d in made + source}) == 6
    for new, old in zip(made, source):
        assert list(new.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert new.SeriesInstanceUID != old.SeriesInstanceUID and new.StudyInstanceUID == old.StudyInstanceUID
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        assert new.SeriesDescription == "tfrecon 9.9"
        assert "tfrecon 9.9" in new.DerivationDescription and "weights abc" in new.DerivationDescription
        assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert list(new.ImagePositionPatient) == list(old.ImagePositionPatient) and new.SeriesNumber > old.SeriesNumber
    again, found = images(out)
    np.testing.assert_array_equal(found, head(3) + 1)
    assert again.name == volume.name and again.patient == volume.patient
    assert is_saved(volume, tmp_path / "out", "same")
    (out / "im2.dcm").unlink()
    assert not is_saved(volume, tmp_path / "out", "same")


def test_the_default_software_names_the_version(tmp_path):
    _, out, _ = saved(dicom(tmp_path / "in" / "a.dcm", head(1)[0].astype("<i2")), tmp_path / "out")
    assert pydicom.dcmread(out).SeriesDescription.startswith("tfrecon ")


def test_results_beyond_the_bits_are_clipped_and_counted(tmp_path):
    stored = np.array([[0, 10], [4090, 4095]], "<u2")
    path = dicom(tmp_path / "in" / "a.dcm", stored, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    _, out, note = saved(path, tmp_path / "out", change=100)
    assert pydicom.dcmread(out).pixel_array.tolist() == [[100, 110], [4095, 4095]]
    assert "2 values did not fit into 12 bits" in note


def test_multi_frame_colour_palette_and_compressed_files(tmp_path):
    frames = dicom(tmp_path / "in" / "f.dcm", head(3).astype("<i2"))
    _, out, _ = saved(frames, tmp_path / "out", change=2)
    np.testing.assert_array_equal(images(out)[1], head(3) + 2)
    grey = np.random.default_rng(0).integers(0, 250, (6, 7)).astype(np.uint8)
    table = (np.arange(256) * 257).astype("<u2").tobytes()
    palette = {f"{c}PaletteColorLookupTableData": table for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    for name, stored, changes, levels in (
        ("rgb.dcm", np.repeat(grey[..., None], 3, -1), {}, grey + 3.0),
        ("pal.dcm", grey, {"PhotometricInterpretation": "PALETTE COLOR", **palette}, grey * 257.0 + 3),
    ):
        _, out, _ = saved(dicom(tmp_path / "in" / name, stored, **changes), tmp_path / "out", change=3)
        made = pydicom.dcmread(out)
        assert (made.SamplesPerPixel, made.PhotometricInterpretation) == (1, "MONOCHROME2")
        np.testing.assert_array_equal(images(out)[1][0], levels)
    packed = pydicom.dcmread(frames)
    packed.compress(pydicom.uid.RLELossless)
    packed.save_as(tmp_path / "in" / "r.dcm")
    _, out, _ = saved(tmp_path / "in" / "r.dcm", tmp_path / "out")
    np.testing.assert_array_equal(images(out)[1], head(3))
    assert not pydicom.dcmread(out).file_meta.TransferSyntaxUID.is_compressed


def test_big_endian_files_are_written_as_little_endian(tmp_path):
    image = head(1)[0]
    path = dicom(tmp_path / "in" / "b.dcm", image.astype("<i2"), syntax=pydicom.uid.ExplicitVRBigEndian,
                 content=image.astype(">i2").tobytes())
    _, out, _ = saved(path, tmp_path / "out")
    np.testing.assert_array_equal(pydicom.dcmread(out).pixel_array, image)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype, slope", [
    (np.int16, None), (np.int16, 0.37), (np.float32, None), (np.float32, 0.1), (np.float64, None),
])
def test_nifti_keeps_numbers_affine_and_type(tmp_path, name, version, dtype, slope):
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[0.5, 0.1, 0, 3], [0, 0.5, 0, -4], [0, 0, 5, 7], [0, 0, 0, 1]])
    path = nifti(tmp_path / "in" / name, padded_head(2), dtype, slope, 12 if slope else None, affine, version)
    _, out, note = saved(path, tmp_path / "out")
    assert out == tmp_path / "out" / name and note == ""
    old, new = nibabel.load(path), nibabel.load(out)
    np.testing.assert_array_equal(new.dataobj.get_unscaled(), old.dataobj.get_unscaled())
    np.testing.assert_array_equal(new.affine, old.affine)
    assert new.get_data_dtype() == old.get_data_dtype() and b"tfrecon" in bytes(new.header["descrip"])
    assert b"Secret" not in new.header.binaryblock
    saved(path, tmp_path / "out", change=37)
    shift = nibabel.load(out).get_fdata() - old.get_fdata()
    inside = old.get_fdata() > -1500
    np.testing.assert_allclose(shift[inside], 37, atol=0.2)
    assert not shift[~inside].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_its_bits(tmp_path, dtype):
    from PIL import Image

    top = np.iinfo(dtype).max
    levels = np.random.default_rng(0).integers(0, top, (9, 8)).astype(dtype)
    levels[0, 0] = top
    path = png(tmp_path / "in" / "a.png", levels)
    _, out, note = saved(path, tmp_path / "out")
    again = np.asarray(Image.open(out))
    np.testing.assert_array_equal(again, levels)
    assert again.dtype == dtype and note == ""
    _, out, note = saved(path, tmp_path / "out", change=1)
    assert np.asarray(Image.open(out))[0, 0] == top and "1 values did not fit" in note


def test_hdf5_is_written_for_every_format(tmp_path):
    path = series(tmp_path / "in" / "scan", padded_head(2))
    volume, out, _ = saved(path, tmp_path / "out", change=1, format="hdf5", attributes={"task": "blur"})
    assert out == tmp_path / "out" / "scan.h5" and is_saved(volume, tmp_path / "out")
    with h5py.File(out) as file:
        found = file["reconstruction"][()]
        assert found.dtype == np.float32 and (file.attrs["units"], file.attrs["task"]) == ("HU", "blur")
    np.testing.assert_array_equal(found, np.where(padded_head(2) == -2000, -1024, padded_head(2) + 1))
    assert "SECRET" not in out.read_bytes().decode("latin1")
    assert images(out)[0].kind == "hu"
    grey = png(tmp_path / "g.png", np.zeros((4, 5), np.uint8))
    assert images(saved(grey, tmp_path / "out", format="hdf5")[1])[0].kind == "grey"


@pytest.mark.parametrize("maker, format", [("png", "dicom"), ("hdf5", "png"), ("png", "nifti"), ("png", "tiff")])
def test_formats_that_would_lose_the_header_are_refused(tmp_path, maker, format):
    path = png(tmp_path / "a.png", np.zeros((4, 5), np.uint8)) if maker == "png" else hdf5(tmp_path / "a.h5", hu=head(1))
    with pytest.raises(UsageError, match="format|written as"):
        saved(path, tmp_path / "out", format=format)


def test_results_of_another_size_or_not_finite_are_refused(tmp_path):
    (volume,) = index_images(hdf5(tmp_path / "a.h5", hu=head(2))).volumes
    for output in (head(1), np.full((2, 40, 36), np.nan)):
        with pytest.raises(DataError, match="finite result of 2 x 40 x 36"):
            save_volume(volume, ImageReader(), output, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_without_an_ending_get_one(tmp_path):
    pytest.importorskip("nibabel")
    path = nifti(tmp_path / "plain.nii", head(1)).rename(tmp_path / "scan")
    (volume,) = index_images(path).volumes
    assert result_path(volume, "out", "same").name == "scan.nii" and result_path(volume, "out").name == "scan.h5"
    single = dicom(tmp_path / "IM0001", head(1)[0].astype("<i2"))
    (volume,) = index_images(single).volumes
    assert [p.name for p in result_files(volume, "out", "dicom")] == ["IM0001"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):  # row 54
    path = dicom(tmp_path / "in" / "a.dcm", head(1)[0].astype("<i2"))
    monkeypatch.setattr(pydicom, "dcmwrite", lambda part, *_, **__: (part.write(b"half"), 1 / 0))
    with pytest.raises(DataError):
        saved(path, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_warnings_of_the_package_are_not_shown(tmp_path):
    path = dicom(tmp_path / "in" / "a.dcm", head(1)[0].astype("<i2"))
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4", b"1.x.3.4"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved(path, tmp_path / "out")
