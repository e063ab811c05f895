"""DICOM in: Hounsfield units exact, odd files refused in one sentence, nothing hostile believed, no patient in any text."""

import sys

import numpy as np
import pytest
from conftest import SHARED
from ct_tools import dicom, head, series

from tfrecon.data import ImageReader, index_images
from tfrecon.errors import DataError, ResourceError

pydicom = pytest.importorskip("pydicom")
GE = SHARED / "data" / "raw" / "ct_head_ge"


def read(path, **options):
    """(volume, images in HU, padding) of the only volume under a path."""
    (volume,) = index_images(path, strict=True, **options).volumes
    with ImageReader() as reader:
        images = np.stack([reader.slice(volume, i) for i in range(volume.slices)])
        padding = np.stack([reader.padding(volume, i) for i in range(volume.slices)])
    assert images.dtype == np.float32 and images.shape == (volume.slices, volume.height, volume.width)
    return volume, images, padding


def refused(path, *fragments):
    with pytest.raises(DataError) as caught:
        index_images(path, strict=True)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and "Secret" not in message and "SECRET" not in message
    for fragment in fragments:
        assert fragment in message
    return message


def test_a_series_is_one_volume_in_the_order_of_its_positions(tmp_path):
    images = head(slices=4)
    volume, found, _ = read(series(tmp_path / "scan", images))
    assert (volume.name, volume.format, volume.kind, volume.patient) == ("scan", "dicom", "hu", "SECRET-7")
    np.testing.assert_array_equal(found, images)
    assert "SECRET" not in repr(volume) and "SECRET" not in repr(index_images(tmp_path))


def test_without_positions_the_instance_number_orders(tmp_path):
    images = head(slices=3)
    for i, number in enumerate([30, 4, 100]):  # as text 100 < 30 < 4
        dicom(tmp_path / f"{i}.dcm", images[i].astype("<i2"), InstanceNumber=number)
    np.testing.assert_array_equal(read(tmp_path)[1], images[[1, 0, 2]])


def test_series_sizes_and_folders_are_kept_apart_and_copies_left_out(tmp_path):
    series(tmp_path / "a")
    series(tmp_path / "b", head(2))
    series(tmp_path / "b" / "c", head(2), SeriesInstanceUID="1.9", SeriesNumber=1)
    dicom(tmp_path / "b" / "scout.dcm", np.zeros((8, 9), np.int16))
    for name in ("im8.dcm", "im9.dcm"):
        dicom(tmp_path / "b" / name, np.ones((40, 36), np.int16), SeriesInstanceUID="1.8", SeriesNumber=9, PatientID="x",
              SOPInstanceUID=f"1.5.{name[2]}")
    (tmp_path / "a" / "copy.dcm").write_bytes((tmp_path / "a" / "im1.dcm").read_bytes())
    index = index_images(tmp_path)
    assert {v.name: v.slices for v in index.volumes} == {
        "a": 3, "b/c": 2, "b/scout.dcm": 1, "b/series-01": 2, "b/series-02": 2}
    ((name, reason),) = [(s.name, s.reason) for s in index.skipped]
    assert name == "a/im1.dcm" and "same image as a/copy.dcm" in reason


@pytest.mark.parametrize("slope, intercept", [(1, -1024), (-1, 1024), (0.5, -300.25), (2, 0)])
def test_rescale_with_any_slope(tmp_path, slope, intercept):  # row 80
    stored = np.random.default_rng(0).integers(0, 1200, (6, 5)).astype("<u2")
    _, found, _ = read(dicom(tmp_path / "a.dcm", stored, RescaleSlope=slope, RescaleIntercept=intercept))
    np.testing.assert_array_equal(found[0], (stored.astype(float) * slope + intercept).astype(np.float32))


def test_every_slice_has_its_own_rescale(tmp_path):
    for i, slope in enumerate([1, 2]):
        dicom(tmp_path / f"{i}.dcm", np.full((4, 4), 10, np.int16), RescaleSlope=slope, InstanceNumber=i)
    assert read(tmp_path)[1][:, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("upper", [0x0000, 0xF000, 0x5000])
def test_signed_12_bits_whatever_stands_above_them(tmp_path, upper):  # row 80
    numbers = np.array([[-2048, -1024, -1], [0, 1000, 2047]])
    stored = (numbers & 0xFFF | upper).astype("<u2")
    path = dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    volume, found, _ = read(path)
    expected = np.where(numbers <= -1500, volume.air, numbers)  # below all air: padding though no tag says so
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("value, changes", [
    (-2000, {}), (-2000, {"PixelPaddingValue": -2000}), (-1100, {"PixelPaddingValue": -1100}),
    (-1200, {"PixelPaddingValue": -1300, "PixelPaddingRangeLimit": -1150}), (-32768, {"PixelPaddingValue": -32768}),
])
def test_padding_becomes_air_and_is_remembered(tmp_path, value, changes):  # row 80
    image = head(1)[0]
    image[:5] = value
    _, found, padding = read(dicom(tmp_path / "a.dcm", image.astype("<i2"), **changes))
    assert padding[0, :5].all() and not padding[0, 5:].any()
    assert (found[0, :5] == -1024).all()
    np.testing.assert_array_equal(found[0, 5:], image[5:])


def test_padding_written_as_an_unsigned_number(tmp_path):  # -2000 as 63536 in signed data
    image = head(1)[0].astype("<i2")
    image[0] = -1200
    path = dicom(tmp_path / "a.dcm", image)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 1200)
    dataset.save_as(path)
    assert read(path)[2][0, 0].all()


def test_padding_values_the_pixels_cannot_hold_hide_nothing(tmp_path):
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8)  # -2000 modulo 256 is 48
    path = dicom(tmp_path / "a.dcm", stored)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.save_as(path)
    assert not read(path)[2].any()


def test_monochrome1_is_inverted_with_a_note(tmp_path):  # row 79
    stored = np.arange(12, dtype="<u2").reshape(3, 4) * 100
    plain = dict(RescaleIntercept=-1024, BitsStored=12, HighBit=11)
    _, expected, _ = read(dicom(tmp_path / "2.dcm", stored, **plain))
    path = dicom(tmp_path / "1.dcm", 4095 - stored, PhotometricInterpretation="MONOCHROME1", **plain)
    volume, found, _ = read(path)
    np.testing.assert_array_equal(found, expected)
    assert "MONOCHROME1" in volume.notes[0] and "inverted" in volume.notes[0]
    # A negative slope has inverted already: twice would be a negative.
    path = dicom(tmp_path / "3.dcm", stored, PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1, RescaleIntercept=100)
    np.testing.assert_array_equal(read(path)[1][0], 100 - stored.astype(np.float32))


def test_multi_frame_files(tmp_path):  # row 81
    images = head(3).astype("<i2")
    volume, found, _ = read(dicom(tmp_path / "a.dcm", images))
    np.testing.assert_array_equal(found, images)
    assert volume.name == "a.dcm"
    item, group = pydicom.Dataset(), pydicom.Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 2, 5, "HU"
    group.PixelValueTransformationSequence = [item]
    enhanced = dict(RescaleSlope=None, RescaleIntercept=None, RescaleType=None)
    path = dicom(tmp_path / "b.dcm", images, SharedFunctionalGroupsSequence=[group], **enhanced)
    np.testing.assert_array_equal(read(path)[1][1:], np.maximum(images[1:] * 2.0 + 5, -1024) * (images[1:] > -753)
                                  + (images[1:] <= -753) * np.float32(-1024))
    assert read(dicom(tmp_path / "c.dcm", images, **enhanced))[0].kind == "grey"


def test_grey_levels_without_rescale_are_no_hounsfield_units(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.full((4, 4), 300, "<u2"), Modality="MR", BitsStored=12, HighBit=11, RescaleType=None)
    volume, found, _ = read(path)
    assert (volume.kind, volume.grey_range, found.max()) == ("grey", (0, 4095), 300)
    with pytest.raises(DataError, match='window="grey"'):
        index_images(path, window="brain")
    assert index_images(path, window="grey").volumes


def test_colours_are_read_only_where_they_are_grey(tmp_path):  # row 81
    grey = np.random.default_rng(0).integers(0, 256, (5, 6)).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, -1)
    volume, found, _ = read(dicom(tmp_path / "rgb.dcm", rgb))
    np.testing.assert_array_equal(found[0], grey)
    assert (volume.kind, volume.grey_range) == ("grey", (0, 255))
    planar = dicom(tmp_path / "p.dcm", rgb, content=np.moveaxis(rgb, -1, 0).tobytes(), PlanarConfiguration=1)
    np.testing.assert_array_equal(read(planar)[1][0], grey)
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    np.testing.assert_array_equal(read(dicom(tmp_path / "y.dcm", ybr, PhotometricInterpretation="YBR_FULL"))[1][0], grey)
    coloured = rgb.copy()
    coloured[2, 3, 1] ^= 1
    refused(dicom(tmp_path / "c.dcm", coloured), "PhotometricInterpretation RGB", "SamplesPerPixel 3")
    refused(dicom(tmp_path / "z.dcm", ybr + np.uint8(1), PhotometricInterpretation="YBR_FULL"), "YBR_FULL")
    refused(dicom(tmp_path / "x.dcm", rgb, PhotometricInterpretation="YBR_FULL_422"), "YBR_FULL_422")


def test_palettes_of_greys(tmp_path):  # row 81
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    table = (np.arange(256) * 257).astype("<u2")
    palette = {f"{c}PaletteColorLookupTableData": table.tobytes() for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    volume, found, _ = read(dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **palette))
    np.testing.assert_array_equal(found[0], stored * 257.0)
    assert volume.grey_range == (0, 65535)
    palette["BluePaletteColorLookupTableData"] = table[::-1].tobytes()
    refused(dicom(tmp_path / "b.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **palette), "PALETTE COLOR")


def test_compressed_files(tmp_path):  # row 81
    images = head(2).astype("<i2")
    path = dicom(tmp_path / "a.dcm", images)
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    np.testing.assert_array_equal(read(path)[1], images)
    unknown = dicom(tmp_path / "b.dcm", images[0], content=pydicom.encaps.encapsulate([b"0123"]),
                    syntax=pydicom.uid.MPEG2MPML)
    refused(unknown, "compressed as MPEG2", "decompress")
    deflated = dicom(tmp_path / "c.dcm", images[0], syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    refused(deflated, "deflated", "dcmconv")


def test_big_endian_and_implicit_syntax(tmp_path):
    image = head(1)[0]
    big = dicom(tmp_path / "b.dcm", image.astype(">i2").view("<i2"), syntax=pydicom.uid.ExplicitVRBigEndian,
                content=image.astype(">i2").tobytes())
    implicit = dicom(tmp_path / "i.dcm", image.astype("<i2"), syntax=pydicom.uid.ImplicitVRLittleEndian)
    for path in (big, implicit):
        np.testing.assert_array_equal(read(path)[1][0], image)


@pytest.mark.parametrize("changes, fragments", [
    ({"content": None}, ["without pixel data", "Modality CT"]), ({"content": b"12"}, ["truncated", "2 bytes", "2880"]),
    ({"Rows": None}, ["Rows"]), ({"Rows": 0}, ["empty"]), ({"Rows": 65535, "Columns": 65535}, ["declares", "limits"]),
    ({"NumberOfFrames": 10**6}, ["limits"]),
    ({"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63}, ["BitsAllocated 64"]),
    ({"HighBit": 11}, ["HighBit 11"]),
    ({"RescaleSlope": 0}, ["RescaleSlope", "other than 0"]),
    ({"PhotometricInterpretation": "HSV"}, ["PhotometricInterpretation HSV"]),
    ({"SamplesPerPixel": 4}, ["SamplesPerPixel 4"]),
])
def test_odd_headers_are_refused_with_their_tags(tmp_path, changes, fragments):  # row 81
    refused(dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"), **changes), *fragments)


def test_no_preamble(tmp_path):  # row 81
    path = dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"))
    path.write_bytes(path.read_bytes()[132:])
    refused(path, "without the preamble", "DICM")


def test_truncated_files_name_both_numbers(tmp_path):
    path = dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "truncated", "2780", "2880")


def test_odd_files_in_a_folder_are_set_aside(tmp_path):
    series(tmp_path)
    dicom(tmp_path / "report.dcm", np.zeros((4, 4), np.int16), content=None, Modality="SR")
    (tmp_path / "notes.txt").write_text("hello")
    index = index_images(tmp_path)
    assert [v.slices for v in index.volumes] == [3]
    assert [(s.name, "Modality SR" in s.reason) for s in index.skipped] == [("report.dcm", True)]


def test_values_that_break_the_standard_are_counted_not_shown(tmp_path):
    path = dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"))
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4", b"1.x.3.4"))
    volume, _, _ = read(path)
    assert volume.notes == ("1 values of its header break the DICOM standard; they were read as they are",)


def test_bit_flips_and_cuts_end_in_a_sentence_or_an_image(tmp_path):
    good = dicom(tmp_path / "good.dcm", head(1, 12, 10)[0].astype("<i2")).read_bytes()
    rng, path, ends = np.random.default_rng(0), tmp_path / "fuzz.dcm", {"read": 0, "refused": 0}
    for _ in range(250):
        data = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.3 else good)
        for place in rng.integers(0, len(data), 6):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            read(path)
            ends["read"] += 1
        except DataError as error:
            assert "\n" not in str(error) and "SECRET" not in str(error)
            ends["refused"] += 1
    assert min(ends.values()) > 20


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    path = series(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ResourceError, match=r'pip install "tfrecon\[dicom\]"'):
        index_images(path)


def test_a_file_that_changes_is_noticed(tmp_path):
    path = dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"))
    (volume,) = index_images(path).volumes
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(DataError, match="changed since it was indexed"):
        ImageReader().slice(volume, 0)


@pytest.mark.skipif(not GE.is_dir(), reason="no real CT beside the project")
def test_a_real_head():
    volume, found, padding = read(GE)
    assert (volume.name, found.shape, volume.kind) == ("ct_head_ge", (6, 512, 512), "hu")
    for i, path in enumerate(sorted(GE.glob("*.dcm"))):
        expected = pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(padding[i], expected == -1500)
        np.testing.assert_array_equal(found[i][~padding[i]], expected[~padding[i]])
    assert 20 < np.median(found[3, 200:300, 200:300]) < 60  # brain


def test_a_value_that_runs_on_into_the_patients_name_is_not_shown(tmp_path):
    path = dicom(tmp_path / "a.dcm", head(1)[0].astype("<i2"), content=None)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"CS\x02\x00CT")
    raw[at + 2] = 40  # Modality now takes the next elements in
    path.write_bytes(raw)
    refused(path)
