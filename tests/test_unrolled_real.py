"""The published MoDL on a real brain, where the originals' data lie beside the project."""

import importlib.util
import json

import numpy as np
import pytest
from conftest import SHARED

from tfrecon.models import unrolled
from tfrecon.physics import estimate_maps, fft2c
from tfrecon.transforms import channels_to_complex, complex_to_channels
from tfrecon.weights import load_weights

REAL, WEIGHTS = SHARED / "golden" / "real", SHARED / "weights" / "modl_5l" / "model-50"
BRAIN = SHARED / "data" / "raw" / "espirit_t1_brain_8ch" / "full.cfl"
pytestmark = pytest.mark.skipif(not (REAL.is_dir() and BRAIN.exists()), reason="needs ../shared, which is no part of the project")


def published(**options):
    model = unrolled.MoDL(unrolled.cnn_denoiser(), 10, "zero", cg_eps=1e-5, **options)
    report = load_weights(model, WEIGHTS)
    assert (report.loaded, report.total) == (26, 26)
    assert float(model.consistency.l2lam) == pytest.approx(0.11434, abs=1e-5)
    return model


def psnr(image, reference):
    error = np.abs(image) - np.abs(reference)
    return 20 * np.log10(np.abs(reference).max() / np.sqrt((error**2).mean()))


@pytest.fixture(scope="module")
def brain():
    """(coil maps, reference, k-space of the case, mask, fully sampled coil images); DC at index 0."""
    spec = importlib.util.spec_from_file_location("modl_data", REAL / "modl_data.py")
    data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data)
    maps, reference, coils = data.prepare(data.read_cfl(BRAIN, (1, 230, 180, 8)).squeeze())
    case = np.load(REAL / "modl_published_recon.npz")
    mask = np.unpackbits(case["mask_packed"])[: reference.size].reshape(reference.shape)
    return maps, reference, data.undersample(coils, maps, mask)[0], mask, coils


def test_denoiser():
    case, model = np.load(REAL / "modl_published_denoiser.npz"), published()
    x = case["x"].reshape(1, *case["x"].shape[-2:])
    found = channels_to_complex(model.denoiser(complex_to_channels(x), training=False))
    np.testing.assert_allclose(found[0], case["y"].reshape(found.shape[1:]), atol=1e-6)


def test_reconstruction_equals_the_authors(brain):
    maps, reference, kspace, mask, _ = brain
    case = np.load(REAL / "modl_published_recon.npz")
    inputs = {"kspace": kspace[None], "sens_maps": maps[None], "mask": mask[None].astype(np.float32)}
    model = published(centered=False)
    x = np.asarray(model(inputs))[0]
    np.testing.assert_allclose(x, case["x_modl"], atol=5e-5)
    meta = json.loads(str(case["meta_json"]))
    assert psnr(x, reference) == pytest.approx(meta["psnr_modl"][-1], abs=0.01)
    first = unrolled.MoDL(model.denoiser, 1, "zero", float(model.consistency.l2lam), cg_eps=1e-5, centered=False)
    np.testing.assert_allclose(np.asarray(first(inputs))[0, ::3, ::3], case["x_iter1_sub"], atol=1e-5)
    sense = np.asarray(unrolled.CGSense(0.0, cg_eps=0.0, centered=False)(inputs))[0]
    np.testing.assert_allclose(sense[::3, ::3], case["cg_sense_sub"], atol=1e-5)
    zero_filled = model.operator(inputs).adjoint(inputs["kspace"])[0]
    np.testing.assert_allclose(zero_filled[::3, ::3], case["x_zero_filled_sub"], atol=1e-5)


def test_maps_from_the_sampled_centre_alone_reach_36_decibels(brain):
    _, _, _, mask, coils = brain
    mask = np.fft.fftshift(mask)
    kspace = fft2c(coils)
    maps = estimate_maps(kspace, mask)
    inputs = {"kspace": (kspace * mask)[None].astype(np.complex64), "sens_maps": maps[None],
              "mask": mask[None].astype(np.float32)}
    reference = (coils * maps.conj()).sum(0)
    assert psnr(np.asarray(published()(inputs))[0], reference) > 36.5
    untrained = unrolled.MoDL(unrolled.cnn_denoiser(), 10, "zero", 0.11434, cg_eps=1e-5)
    sense = psnr(np.asarray(unrolled.CGSense(0.0)(inputs))[0], reference)
    assert psnr(np.asarray(untrained(inputs))[0], reference) < sense < 36
