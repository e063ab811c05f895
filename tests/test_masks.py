"""Masks: bit for bit as fastMRI draws them, and every value out of range refused."""

import numpy as np
import pytest

from tfrecon.errors import UsageError
from tfrecon.physics import masks


def test_random_masks_equal_fastmri(golden):
    case = golden("fastmri_masks")
    for i, c in enumerate(case.meta["cases"]):
        mask = masks.random_mask(c["width"], c["center_fractions"], c["accelerations"], c["seed"])
        assert mask.dtype == bool and mask.shape == (c["width"],)
        np.testing.assert_array_equal(mask, case[f"mask{i}"].astype(bool), err_msg=f"case {i}")


def test_scalar_arguments_are_lists_of_one():
    np.testing.assert_array_equal(masks.random_mask(368, 0.08, 4, 0), masks.random_mask(368, [0.08], [4], 0))


def test_no_seed_draws_anew():
    assert any((masks.random_mask(368, 0.08, 4) != masks.random_mask(368, 0.08, 4)).any() for _ in range(3))


@pytest.mark.parametrize("mask_type", sorted(masks.MASK_TYPES))
@pytest.mark.parametrize("width", [64, 331, 368])
@pytest.mark.parametrize("acceleration", [1, 4, 8])
def test_centre_is_full_and_rate_is_near(mask_type, width, acceleration):
    drawn = [masks.create_mask(mask_type, width, None, acceleration, seed) for seed in range(60)]
    low = round(width * masks.default_center_fraction(acceleration))
    start = (width - low + 1) // 2
    assert all(mask[start : start + low].all() for mask in drawn)
    # The magic mask keeps its rate outside the centre, as fastMRI's does.
    expected = 1 / acceleration if mask_type != "magic" else 1 / acceleration + low / width * (1 - 1 / acceleration)
    assert np.mean(drawn) == pytest.approx(expected, rel=0.1)


def test_default_center_fractions_are_fastmris():
    assert masks.default_center_fraction(4) == pytest.approx(0.08)
    assert masks.default_center_fraction(8) == pytest.approx(0.04)


@pytest.mark.parametrize("acceleration", [0, -1, 0.5, float("nan"), float("inf"), "four", "4", None])  # row 32
def test_bad_acceleration_is_refused(acceleration):
    with pytest.raises(UsageError, match="at least 1"):
        masks.random_mask(64, 0.04, acceleration, 0)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, 0.25, float("nan"), "0.1"])  # row 33; 0.25 is 1/4
def test_bad_center_fraction_is_refused(fraction):
    with pytest.raises(UsageError, match="uses up every line"):
        masks.random_mask(64, fraction, 4, 0)


def test_other_misuse_is_refused():
    with pytest.raises(UsageError, match="As many"):
        masks.random_mask(64, [0.08, 0.04], [4], 0)
    with pytest.raises(UsageError, match="width"):
        masks.random_mask(0, 0.08, 4, 0)
    with pytest.raises(UsageError, match="mask type"):
        masks.create_mask("spiral", 64)
    with pytest.raises(UsageError, match="whole acceleration"):
        masks.magic_mask(64, 0.08, 2.5, 0)


def test_variable_density_keeps_its_centre_and_the_acceleration():
    from tfrecon.physics.masks import variable_density_mask

    mask = variable_density_mask((230, 180), 6, seed=0)
    assert mask.shape == (230, 180) and mask[115 - 8 : 115 + 8, 90 - 8 : 90 + 8].all()
    assert mask.size / mask.sum() == pytest.approx(6, rel=0.03)
    assert mask[95:135, 70:110].mean() > 3 * mask[:30].mean()  # denser towards the centre
    np.testing.assert_array_equal(mask, variable_density_mask((230, 180), 6, seed=0))
    assert (mask != variable_density_mask((230, 180), 6, seed=1)).any()
    for wrong in ({"acceleration": 0.5}, {"acceleration": 8, "center": 0}, {"acceleration": 300}):
        with pytest.raises(UsageError):
            variable_density_mask((230, 180), **wrong)
