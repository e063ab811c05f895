"""The demo data: drawn volumes, and files that obey the fastMRI layout to the letter."""

import os

import h5py
import numpy as np
import pytest

from tfrecon.data.phantoms import ANATOMIES, phantom_volume, write_demo_volumes
from tfrecon.errors import ResourceError, UsageError


def centred_inverse_fft(kspace):
    """Written out here on purpose: the files must agree with the definition, not with the package's own transform."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(kspace.astype(np.complex128), axes=axes)
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=axes)


def contents(path):
    with h5py.File(path, "r") as file:
        return {name: values[()] for name, values in file.items()}, dict(file.attrs)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_volumes(tmp_path_factory.mktemp("demo"), volumes=4, slices=3, size=64, seed=5)


def test_layout_keys_shapes_and_types(demo):
    for path in demo:
        data, _ = contents(path)
        assert set(data) == {"kspace", "reconstruction_esc", "reconstruction_rss"}
        assert data["kspace"].shape == (3, 128, 72) and data["kspace"].dtype == np.complex64
        for name in ("reconstruction_esc", "reconstruction_rss"):
            assert data[name].shape == (3, 64, 64) and data[name].dtype == np.float32


def test_target_is_the_cropped_magnitude_of_the_kspace(demo):
    for path in demo:
        data, _ = contents(path)
        image = np.abs(centred_inverse_fft(data["kspace"]))[:, 32:96, 4:68]
        for name in ("reconstruction_esc", "reconstruction_rss"):
            assert np.linalg.norm(image - data[name]) <= 1e-6 * np.linalg.norm(image)


def test_dc_is_in_the_centre_of_kspace(demo):
    """Energy, not the single brightest sample: a phase ramp moves the peak by a few samples."""
    for path in demo:
        energy = (np.abs(contents(path)[0]["kspace"]) ** 2).sum(0)
        middle = energy[48:80, 24:48].sum()
        assert middle > 0.75 * energy.sum()  # an eighth of the samples


def test_attributes(demo):
    attributes = [contents(path)[1] for path in demo]
    for path, found in zip(demo, attributes):
        target = contents(path)[0]["reconstruction_esc"]
        assert found["max"] == target.max()
        assert found["norm"] == pytest.approx(np.linalg.norm(target), rel=1e-6)
        assert found["demo"]
        assert found["acquisition"].startswith("DEMO_")
    assert [found["patient_id"] for found in attributes] == ["demo-01", "demo-01", "demo-02", "demo-03"]
    assert {found["acquisition"] for found in attributes} == {"DEMO_BRAIN", "DEMO_KNEE", "DEMO_CARDIAC"}


def test_intensities_are_those_of_fastmri(demo):
    for path in demo:
        assert 4e-4 < contents(path)[1]["max"] < 6e-4


def test_scans_of_one_patient_share_the_anatomy_but_are_not_copies():
    """Two scans may differ in contrast, so the outlines are compared: the same head, not the same picture."""
    from tfrecon.data.phantoms import _volume

    first, second, other = (np.abs(_volume((64, 64), 3, "brain", person, scan, 0.01, 1.0, 64)) > 0.06
                            for person, scan in (((5, 0), (5, 0, 1)), ((5, 0), (5, 1, 1)), ((5, 3), (5, 4, 1))))
    assert (first != second).mean() < 0.03
    assert (first != other).mean() > 2 * (first != second).mean()


def test_same_seed_same_files_other_seed_other_files(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_demo_volumes(tmp_path / name, volumes=2, slices=2, size=64, seed=seed)
    a, b, c = (contents(tmp_path / name / "demo_01_brain.h5")[0] for name in "abc")
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])
    assert not np.allclose(a["reconstruction_esc"], c["reconstruction_esc"], rtol=0.1)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_volume_is_complex_finite_and_persons_differ(anatomy):
    first, again, other = (phantom_volume((64, 80), 4, anatomy, seed) for seed in (0, 0, 1))
    assert first.shape == (4, 64, 80) and first.dtype == np.complex64
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    difference = np.linalg.norm(np.abs(first) - np.abs(other)) / np.linalg.norm(first)
    assert difference > 0.2
    inside = np.abs(first[0]) > 1e-4
    assert np.ptp(np.angle(first[0])[inside]) > 0.5, "the phase must not be constant"


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_neighbouring_slices_resemble_each_other_more_than_distant_ones(anatomy):
    volume = np.abs(phantom_volume((64, 64), 8, anatomy, noise=0.0))
    near, far = np.linalg.norm(volume[1] - volume[0]), np.linalg.norm(volume[7] - volume[0])
    assert 0 < near < far


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_undersampling_hurts(anatomy):
    """A blurred blob would survive four-fold undersampling; a phantom worth training on must not."""
    image = phantom_volume((128, 128), 1, anatomy, noise=0.0)[0]
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    mask = np.zeros(128, bool)
    mask[::4] = mask[59:69] = True
    error = np.abs(centred_inverse_fft(kspace * mask)) - np.abs(image)
    assert 0.005 < np.linalg.norm(error) ** 2 / np.linalg.norm(image) ** 2 < 0.5


def test_noise_has_the_stated_deviation_and_scale_the_stated_maximum():
    clean = phantom_volume((64, 64), 2, noise=0.0, scale=2.0)
    noisy = phantom_volume((64, 64), 2, noise=0.05, scale=2.0)
    assert np.abs(clean).max() == pytest.approx(2.0, rel=1e-5)
    assert np.std(noisy - clean) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("arguments", [{"anatomy": "liver"}, {"slices": 0}, {"shape": (16, 128)}])
def test_wrong_arguments_are_refused_with_what_was_expected(arguments):
    with pytest.raises(UsageError, match="expected"):
        phantom_volume(**arguments)


def test_no_volumes_is_refused(tmp_path):
    with pytest.raises(UsageError, match="volumes"):
        write_demo_volumes(tmp_path, volumes=0)


def test_folder_that_is_a_file_is_a_clean_error(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ResourceError, match="could not be written"):
        write_demo_volumes(tmp_path / "taken", volumes=1, slices=1, size=64)


def test_interrupted_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    (path,) = write_demo_volumes(tmp_path, volumes=1, slices=1, size=64)
    before = path.read_bytes()

    def refuse(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ResourceError, match="No space left"):
        write_demo_volumes(tmp_path, volumes=1, slices=1, size=64, seed=9)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before
