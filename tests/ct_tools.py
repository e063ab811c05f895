"""What the tests of CT images share: small pictures and the files to put them in."""

from pathlib import Path

import h5py
import numpy as np

CT = "1.2.840.10008.5.1.4.1.1.2"


def head(slices=3, height=40, width=36, seed=0):
    """HU of an ellipse with texture in air, float32 (slices, height, width), whole numbers from -1000 to 1200."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radius = np.sqrt(x**2 + (y * 0.9) ** 2)
    rng = np.random.default_rng(seed)
    brain = 35 + 8 * rng.standard_normal((slices, height, width))
    image = np.where(radius < 0.7, brain, np.where(radius < 0.8, 1100 + 30 * rng.random(brain.shape), -1000))
    return np.rint(image).astype(np.float32)


def dicom(path, stored, **changes):
    """One DICOM file around stored numbers (rows, columns), (frames, rows, columns) or (rows, columns, 3).

    `changes` are elements by keyword, None leaves one out; by default a signed 16-bit CT image with values in HU.
    """
    import pydicom
    from pydicom.dataset import FileMetaDataset

    stored = np.asarray(stored)
    syntax = changes.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    content = changes.pop("content", stored.tobytes())
    colour = stored.ndim == 3 and stored.shape[-1] == 3
    rows, columns = stored.shape[:2] if colour else stored.shape[-2:]
    bits = 8 * stored.dtype.itemsize
    elements = {
        "SOPClassUID": CT, "SOPInstanceUID": pydicom.uid.generate_uid(), "Modality": "CT", "PatientID": "SECRET-7",
        "PatientName": "Secret^Person", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 2,
        "InstanceNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Rows": rows, "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1, "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"), "RescaleSlope": 1, "RescaleIntercept": 0,
        "RescaleType": "HU", "NumberOfFrames": len(stored) if stored.ndim == 3 and not colour else None,
        "PlanarConfiguration": 0 if colour else None, **changes,
    }
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = CT
    dataset.file_meta.MediaStorageSOPInstanceUID = elements["SOPInstanceUID"]
    for keyword, value in elements.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if content is not None:
        dataset.PixelData = content
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def series(folder, images=None, **changes):
    """A folder with one DICOM file per slice, their names in the reverse of their order."""
    images = head() if images is None else images
    for i, image in enumerate(images):
        place = {"ImagePositionPatient": [0, 0, 5.0 * i], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        dicom(Path(folder) / f"im{len(images) - i}.dcm", image.astype("<i2"), InstanceNumber=7, **{**place, **changes})
    return Path(folder)


def nifti(path, images, dtype=np.int16, slope=None, intercept=None, affine=None, version=1):
    """A NIfTI file of images (slices, height, width)."""
    import nibabel

    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    affine = np.diag([0.5, 0.5, 5, 1]) if affine is None else affine
    image = kind(np.moveaxis(np.asarray(images), 0, -1).swapaxes(0, 1).astype(dtype), affine)
    if version == 1:
        image.header["db_name"] = b"Secret"
    image.header.set_slope_inter(slope, intercept) if slope is not None else None
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return Path(path)


def png(path, image):
    """A PNG of uint8 or uint16 (height, width), or uint8 with channels."""
    from PIL import Image

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return Path(path)


def hdf5(path, **datasets):
    """An HDF5 file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, value in datasets.items():
            file[key] = value
    return Path(path)
