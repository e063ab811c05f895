"""Our masks are fastMRI's, bit for bit, wherever its package is installed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfrecon.physics import masks

WIDTHS = (48, 63, 64, 127, 128, 256, 320, 322, 367, 368, 369, 372, 386, 400, 451, 640)
PAIRS = ([4], [0.08]), ([8], [0.04]), ([2], [0.16]), ([5], [0.05]), ([6], [0.06]), ([10], [0.032]), ([4, 8], [0.08, 0.04])
SEEDS = (0, 1, 17, 42, 2**32 - 1, (1, 2, 3), tuple(map(ord, "file1000000.h5")), tuple(map(ord, "file1002570.h5")))
CLASSES = {"random": "RandomMaskFunc", "equispaced": "EquispacedMaskFractionFunc", "magic": "MagicMaskFunc"}


@pytest.fixture(scope="module")
def subsample():
    # An ImportError of something fastmri needs is an absence too.
    pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)
    reason = "fastMRI is not installed: pip install --no-deps fastmri"
    return pytest.importorskip("fastmri.data.subsample", reason=reason, exc_type=ImportError)


@pytest.mark.parametrize("mask_type", CLASSES)
@pytest.mark.parametrize("accelerations, fractions", PAIRS)
def test_equal_bit_for_bit(subsample, mask_type, accelerations, fractions):
    theirs = getattr(subsample, CLASSES[mask_type])(fractions, accelerations)
    for width, seed in itertools.product(WIDTHS, SEEDS):
        expected = theirs((1, width, 2), seed=seed)[0].numpy().ravel() > 0
        received = masks.create_mask(mask_type, width, fractions, accelerations, seed)
        assert np.array_equal(received, expected), (width, seed)


def test_file_name_as_seed(subsample):
    name = "file1000000.h5"
    expected = subsample.RandomMaskFunc([0.04], [8])((1, 368, 2), seed=tuple(map(ord, name)))[0].numpy().ravel() > 0
    assert np.array_equal(masks.random_mask(368, 0.04, 8, name), expected)
