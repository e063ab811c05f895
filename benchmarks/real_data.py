"""Write real MR data as HDF5 volumes in the fastMRI layout, and sort real CT, from files of public repositories.

    python benchmarks/real_data.py RAW OUT

RAW holds, under the folder names of the table in benchmarks/README.md, the files named there. OUT gets

  singlecoil/           TRUE single-coil k-space of an axial T2 brain
  multicoil/            TRUE multi-coil k-space of three brains, one slice each (8, 8 and 16 coils)
  derived_coils/train,  multi-coil volumes DERIVED from magnitude images (another brain, hearts; a knee), 128x128: image x
    val/                smooth phase x eight invented coils + noise, then FFT; the *_points volumes hold variable-density masks
                        of single points, 4x, 6x and 8x in turn
  derived/train, val/   volumes DERIVED from cardiac magnitude images: image x smooth phase + noise, then FFT; one file per
                        person where persons are known, attribute derived=True. Good for training, never for claims.
  superres/train, val/  magnitude images, 320x320 or padded to it: a brain and a knee to train on, another knee to judge
  ct/train, ct/test/    six DICOM slices of one head: four to train and choose on, two to judge, of the SAME person

Nothing is downloaded and none of the images belongs to this project. Needs numpy, scipy (comes with scikit-image), h5py,
pydicom, nibabel.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat

from tfrecon.data import resize_area
from tfrecon.physics import fft2c, ifft2c, rss
from tfrecon.physics.masks import variable_density_mask
from tfrecon.transforms import crop_or_pad

PEOPLE_FROM = 24  # frames 24..45 and 46..68 show the same people in the same order; who repeats in 1..23 is not known
VALIDATION_FROM = 40
CT_TEST = ("14.dcm", "16.dcm")


def write(path: Path, patient: str, acquisition: str, kspace: np.ndarray, derived: bool = False, **more: np.ndarray) -> None:
    """One volume (slices, H, W) or (slices, coils, H, W) with its target keys, fastMRI's attributes and more arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kspace = np.ascontiguousarray(kspace, dtype=np.complex64)
    image = np.abs(ifft2c(kspace)) if kspace.ndim == 3 else rss(ifft2c(kspace))
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        for key in ("reconstruction_esc", "reconstruction_rss") if kspace.ndim == 3 else ("reconstruction_rss",):
            file[key] = image.astype(np.float32)
        for key, array in more.items():
            file[key] = array
        file.attrs.update(max=float(image.max()), norm=float(np.linalg.norm(image)), acquisition=acquisition,
                          patient_id=patient, derived=derived)
    print(path, kspace.shape)


def smooth_phase(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """exp(i * a random polynomial of second order over the field)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    c = rng.normal(size=6) * [2, 1.5, 1.5, 0.8, 0.8, 0.8]
    return np.exp(1j * (c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2))


def derived_kspace(images: list[np.ndarray], seed: int, scale: float = 5e-4, noise: float = 0.01) -> np.ndarray:
    """k-space of magnitude images in 0..1 with invented phase and complex noise, at fastMRI's intensities."""
    rng = np.random.default_rng(seed)
    stack = np.stack([image * smooth_phase(image.shape, rng) for image in images])
    stack = stack + noise / np.sqrt(2) * (rng.normal(size=stack.shape) + 1j * rng.normal(size=stack.shape))
    return fft2c(stack * scale)


def cardiac_frame(raw: Path, number: int) -> np.ndarray | None:
    path = raw / "cardiac" / f"im-{number:02d}.mat"
    if not path.exists():
        return None
    with h5py.File(path) as file:
        return file["im_ori"][()].T


def write_cardiac(raw: Path, out: Path) -> None:
    people = {n: [n, n + 22] if n >= PEOPLE_FROM else [n] for n in range(1, 46)}
    for first, numbers in people.items():
        frames = [frame for frame in (cardiac_frame(raw, n) for n in numbers) if frame is not None]
        if frames:
            split = "val" if first >= VALIDATION_FROM else "train"
            patient = f"cardiac-{first:02d}" if first >= PEOPLE_FROM else "cardiac-01-to-23"
            path = out / "derived" / split / f"cardiac-{first:02d}.h5"
            write(path, patient, "CINE", derived_kspace(frames, seed=first), derived=True)


def read_cfl(stem: Path) -> np.ndarray:
    """A BART array: dimensions in the second line of the header, complex64 in Fortran order."""
    shape = [int(n) for n in stem.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(stem.with_suffix(".cfl"), "<c8").reshape(shape, order="F")


def write_multicoil(raw: Path, out: Path) -> None:
    espirit = read_cfl(raw / "espirit_t1_brain_8ch" / "full").squeeze()
    alias = loadmat(raw / "alias_t1_brain_8ch" / "brain_alias_8ch.mat")["DATA"][:, 44:212]
    with h5py.File(raw / "mchiew_brain_16ch" / "raw_data.mat") as file:
        values = file["raw"][()][:, 0]
    for name, patient, kspace in (("espirit_t1_brain_8ch", "espirit", np.moveaxis(espirit, -1, 0)),
                                  ("alias_t1_brain_8ch", "alias", np.moveaxis(alias, -1, 0)),
                                  ("mchiew_brain_16ch", "mchiew", values["real"] + 1j * values["imag"])):
        write(out / "multicoil" / f"{name}.h5", patient, "AXT1", kspace[None])


def derived_coils(images: list[np.ndarray], seed: int, coils: int = 8) -> np.ndarray:
    """Multi-coil k-space of magnitude images in 0..1: invented phase, smooth coils around the field, complex noise of three
    strengths in turn, those of true k-space.
    """
    rng = np.random.default_rng(seed)
    result = []
    for number, image in enumerate(images):
        noise = (0.01, 0.005, 0.002)[number % 3]
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(coils) / coils
        width = rng.uniform(0.7, 1.2)
        maps = np.stack([np.exp(-((x - 1.2 * np.cos(a)) ** 2 + (y - 1.2 * np.sin(a)) ** 2) / (2 * width**2))
                         * smooth_phase(image.shape, rng) for a in angles])
        seen = image * smooth_phase(image.shape, rng) * maps / rss(maps)
        result.append(seen + noise / np.sqrt(2) * (rng.normal(size=seen.shape) + 1j * rng.normal(size=seen.shape)))
    return fft2c(5e-4 * np.stack(result))


TURNS = {"plain": lambda image: image, "turned": lambda image: image.T, "flipped": lambda image: image[::-1],
         "both": lambda image: image.T[::-1]}


def write_derived_coils(raw: Path, out: Path) -> None:
    """Half the size of the originals, which are interpolated: pixels as sharp as in true k-space. Every image to train on in
    several orientations, each with coils, phase and noise of its own; some volumes with masks of points.
    """
    import nibabel
    import pydicom

    brain = np.moveaxis(np.asanyarray(nibabel.load(raw / "flair_brain_nifti" / "t2.nii.gz").dataobj), -1, 0)[3:-3]
    knee = pydicom.dcmread(raw / "moveknee_mr_dicom" / "MOVEKNEE.dcm").pixel_array[::3]
    hearts = [frame for frame in (cardiac_frame(raw, n) for n in range(1, 69)) if frame is not None]
    for number, (name, images) in enumerate((("flair", brain), ("moveknee", knee), ("hearts", hearts))):
        largest = max(image.max() for image in images)
        half = [resize_area(crop_or_pad(np.float32(image / largest)[None], (256, 256))[0], 0.5) for image in images]
        folder = out / "derived_coils" / ("val" if name == "moveknee" else "train")
        for i, (how, turn) in enumerate(TURNS.items()):
            if name == "moveknee" and i:
                continue
            turned = [np.ascontiguousarray(turn(image)) for image in (half[i % 2 :: 2] if name == "hearts" else half)]
            seed = 10 * i + number
            write(folder / f"{name}_{how}_columns.h5", name, "DERIVED", derived_coils(turned, seed), derived=True)
            if i < 2:
                masks = [variable_density_mask((128, 128), (4, 6, 8)[n % 3], seed=n + 100 * i) for n in range(len(turned))]
                write(folder / f"{name}_{how}_points.h5", name, "DERIVED", derived_coils(turned, 1000 + seed), derived=True,
                      masks=np.stack(masks))


def write_images(path: Path, patient: str, images: np.ndarray, largest: float) -> None:
    """A volume of magnitudes alone, brought to fastMRI's intensities (`largest` to 5e-4) and to 320x320."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = crop_or_pad(np.float32(images / largest * 5e-4), (320, 320))
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = images
        file.attrs.update(max=float(images.max()), norm=float(np.linalg.norm(images)), patient_id=patient)
    print(path, images.shape)


def write_superres(raw: Path, out: Path) -> None:
    import nibabel
    import pydicom

    brain = np.moveaxis(np.asanyarray(nibabel.load(raw / "flair_brain_nifti" / "t2.nii.gz").dataobj), -1, 0)
    write_images(out / "superres" / "train" / "flair_brain.h5", "flair", brain[3:-3].astype(np.float32), brain.max())
    knee = pydicom.dcmread(raw / "moveknee_mr_dicom" / "MOVEKNEE.dcm").pixel_array
    write_images(out / "superres" / "train" / "moveknee.h5", "moveknee", knee.astype(np.float32), knee.max())
    other = np.abs(read_cfl(raw / "knee_fse_complex_ref" / "knee-fully-sampled-reference").squeeze())
    write_images(out / "superres" / "val" / "knee_fse.h5", "knee_fse", other[None], other.max())


def main(raw: Path, out: Path) -> None:
    brain = loadmat(raw / "loraks_t2_brain_sc" / "T2_single_channel.mat")["kData"][None]
    write(out / "singlecoil" / "loraks_t2_brain.h5", "loraks", "AXT2", brain)
    write_multicoil(raw, out)
    write_derived_coils(raw, out)
    write_cardiac(raw, out)
    write_superres(raw, out)
    for source in sorted((raw / "ct_head_ge").glob("*.dcm")):
        target = out / "ct" / ("test" if source.name in CT_TEST else "train") / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        print(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
