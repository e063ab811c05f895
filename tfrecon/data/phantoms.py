"""Demo data without a download: cartoons of a brain, a knee and a heart, as images and as fastMRI-layout files.

The pictures are drawn, not measured: good for teaching, tests and a first training run, never for claims about image
quality. Every person is different, neighbouring slices resemble each other, and fine structures (folds, vessels,
trabeculae, thin cartilage) are there so that undersampling hurts and a network has something to learn.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..files import hdf5_when_complete
from ..physics.fourier import fft2c, ifft2c
from ..transforms import center_crop
from .phantom_anatomy import ANATOMIES
from .phantom_canvas import Array, Scene, Texture


def _phase(scene: Scene, rng: np.random.Generator, texture: Texture) -> Array:
    """Smooth phase of a receive coil and an imperfect magnet: a quadratic surface plus a random field."""
    c = rng.normal(size=6) * [2, 1.2, 1.2, 0.6, 0.6, 0.6]
    x, y = scene.x, scene.y
    return c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2 + 0.35 * texture(1.2, 0.4)(0.0)


def _sensitivity(scene: Scene, rng: np.random.Generator) -> Array:
    """Slow brightness change, fading outside the field as a coil does."""
    x, y = scene.x - rng.uniform(-0.3, 0.3), scene.y - rng.uniform(-0.3, 0.3)
    return np.exp(-(0.22 * x**2 + 0.22 * y**2 + 0.10 * y**4)).astype(np.float32)


def _volume(shape: tuple[int, int], slices: int, anatomy: str, person: Sequence[int], scan: Sequence[int],
            noise: float, scale: float, field: int) -> Array:
    """Draw one scan of one person: `person` and `scan` seed the anatomy and the acquisition separately."""
    body, machine = np.random.default_rng(person), np.random.default_rng(scan)
    drawing = ANATOMIES[anatomy](body, machine, Texture(shape, field, body))
    positions = np.linspace(-0.8, 0.8, slices) if slices > 1 else np.zeros(1)
    images, blank = [], Scene(shape, field)
    gain, phase = _sensitivity(blank, machine), _phase(blank, machine, Texture(shape, field, machine))
    drift = machine.normal(0, 0.15)
    for z in positions:
        scene = Scene(shape, field)
        drawing.draw(scene, float(z))
        images.append(scene.image * gain * np.exp(1j * (phase + drift * z)))
    images = np.stack(images)
    images /= np.abs(images).max()
    images += noise / np.sqrt(2) * (machine.standard_normal(images.shape) + 1j * machine.standard_normal(images.shape))
    return (images * scale).astype(np.complex64)


def _check(anatomy: str, shape: Sequence[int], slices: int) -> None:
    if anatomy not in ANATOMIES:
        raise UsageError(f"anatomy: expected one of {', '.join(ANATOMIES)}, received {anatomy!r}; choose one of these.")
    if len(shape) != 2 or min(shape) < 32:
        raise UsageError(f"shape: expected (height, width) of at least 32 pixels, received {tuple(shape)}; the "
                         "structures need that many pixels, ask for a larger picture.")
    if slices < 1:
        raise UsageError(f"slices: expected at least 1, received {slices}; ask for one slice or more.")


def phantom_volume(shape: tuple[int, int] = (128, 128), slices: int = 8, anatomy: str = "brain", seed: int = 0,
                   noise: float = 0.01, scale: float = 5e-4) -> Array:
    """Draw one volume of one invented person.

    Args:
        shape: height and width in pixels; the anatomy fills the central square of side `min(shape)`.
        slices: number of slices; neighbours resemble each other.
        anatomy: "brain" (axial), "knee" (coronal) or "cardiac" (short axis).
        seed: another seed is another person and another scan; the same seed gives the same numbers.
        noise: standard deviation of the complex Gaussian noise, as a fraction of the brightest noise-free pixel.
        scale: magnitude of the brightest noise-free pixel; 5e-4 is what fastMRI volumes have.

    Returns:
        complex64 image of shape (slices, height, width) with a smooth random phase.
    """
    _check(anatomy, shape, slices)
    return _volume(tuple(shape), slices, anatomy, (seed, 0), (seed, 0, 1), noise, scale, min(shape))


def _write(path: Path, datasets: dict[str, Array], attributes: dict[str, object]) -> None:
    with hdf5_when_complete(path) as file:
        for name, values in datasets.items():
            file[name] = values
        file.attrs.update(attributes)


def _demo_file(folder: Path, volume: int, slices: int, size: int, seed: int) -> Path:
    patient = max(volume - 1, 0)  # volumes 0 and 1 are two scans of one person
    anatomy = list(ANATOMIES)[patient % len(ANATOMIES)]
    frame = (2 * size, size + size // 8)
    image = _volume(frame, slices, anatomy, (seed, patient), (seed, volume, 1), 0.01, 5e-4, size)
    kspace = fft2c(image)
    target = np.abs(center_crop(ifft2c(kspace), (size, size))).astype(np.float32)
    path = folder / f"demo_{volume + 1:02d}_{anatomy}.h5"
    # With one coil the root sum of squares is the magnitude itself, so both targets hold the same picture.
    datasets = {"kspace": kspace, "reconstruction_esc": target, "reconstruction_rss": target}
    attributes = {"max": float(target.max()), "norm": float(np.linalg.norm(target)), "demo": True,
                  "patient_id": f"demo-{patient + 1:02d}", "acquisition": f"DEMO_{anatomy.upper()}"}
    _write(path, datasets, attributes)
    return path


def write_demo_volumes(folder: str | os.PathLike, volumes: int = 8, slices: int = 8, size: int = 128,
                       seed: int = 0) -> list[Path]:
    """Write single-coil volumes in the fastMRI layout and return their paths, sorted.

    Each file holds `kspace` complex64 (slices, 2 * size, size + size // 8), centred and orthonormal, and the targets
    `reconstruction_esc` and `reconstruction_rss` float32 (slices, size, size): the centre crop of |ifft2c(kspace)|.
    Attributes: `max` and `norm` of the target, `patient_id`, `acquisition`, `demo`. The first two volumes belong to
    the same patient, so that splitting by patient has something to show. There is no `ismrmrd_header`.

    Args:
        folder: where to write; made if it is missing. Files of an earlier call with the same names are replaced.
        volumes: number of files; the anatomies take turns.
        slices: slices per volume.
        size: height and width of the target.
        seed: the same seed writes the same numbers.
    """
    _check("brain", (size, size), slices)
    if volumes < 1:
        raise UsageError(f"volumes: expected at least 1, received {volumes}; ask for one volume or more.")
    return [_demo_file(Path(folder), volume, slices, size, seed) for volume in range(volumes)]


def write_demo_ct(folder: str | os.PathLike, volumes: int = 8, slices: int = 8, size: int = 128,
                  seed: int = 0) -> list[Path]:
    """Write CT-like volumes and return their paths, sorted: the same cartoons, their grey levels taken for tissue.

    Each file holds `hu` float32 (slices, size, size): air at -1000 HU, tissue from 0 to 150 HU, with noise. Attributes and
    arguments as `write_demo_volumes`.
    """
    _check("brain", (size, size), slices)
    if volumes < 1:
        raise UsageError(f"volumes: expected at least 1, received {volumes}; ask for one volume or more.")
    return [_demo_ct_file(Path(folder), volume, slices, size, seed) for volume in range(volumes)]


def _demo_ct_file(folder: Path, volume: int, slices: int, size: int, seed: int) -> Path:
    patient = max(volume - 1, 0)
    anatomy = list(ANATOMIES)[patient % len(ANATOMIES)]
    magnitude = np.abs(_volume((size, size), slices, anatomy, (seed, patient), (seed, volume, 1), 0.005, 1.0, size))
    hu = -1000 + 1000 * np.minimum(magnitude / 0.05, 1) + 150 * np.maximum(magnitude - 0.05, 0) / 0.95
    path = folder / f"demo_{volume + 1:02d}_{anatomy}.h5"
    _write(path, {"hu": hu.astype(np.float32)}, {"demo": True, "patient_id": f"demo-{patient + 1:02d}"})
    return path
