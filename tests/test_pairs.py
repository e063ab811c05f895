"""The data pipeline: equal to the originals' preprocessing, to the plain form, and to itself under one seed."""

import h5py
import numpy as np
import pytest

from tfrecon.data import EpochClock, Masking, SliceReader, create_paired_dataset, folds, index_volumes, slice_folds, split
from tfrecon.data.checks import examine_slice, sampled_fraction
from tfrecon.data.splits import check_no_shared_patient, pseudonyms
from tfrecon.errors import DataError, UsageError
from tfrecon.hdf5 import open_hdf5
from tfrecon.physics import fft2c, zero_filled
from tfrecon.transforms import center_crop


def write(path, kspace, patient="p", **datasets):
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        for name, value in datasets.items():
            file[name] = value
        file.attrs["patient_id"] = patient
    return path


def random_kspace(seed, shape):
    """k-space of a random positive image: its peak is in the centre, as real data's."""
    return fft2c(np.random.default_rng(seed).random(shape).astype(np.float32))


def batches(dataset):
    return [tuple(np.asarray(x) for x in element[:2]) for element in dataset]


def test_seed_001s_preprocessing(golden, tmp_path):
    case = golden("fastmri_pipeline")
    meta = case.meta
    path = write(tmp_path / meta["fname"], case["kspace"])
    dataset = create_paired_dataset(
        path, batch_size=1, target="kspace", accelerations=meta["acceleration"], center_fractions=meta["center_fraction"],
        crop=meta["crop"], scaling="zero_filled_max_uncropped", samples=[(0, meta["slice"])], metadata=True,
    )
    image, target, facts = next(iter(dataset))
    assert float(facts["scale"][0]) == pytest.approx(meta["norm"], rel=1e-6)
    np.testing.assert_allclose(image[0, ..., 0], case["ganno_gen_input"], atol=2e-6)
    np.testing.assert_allclose(target[0, ..., 0], case["ganno_real"], atol=2e-6)
    mask = Masking(meta["acceleration"], meta["center_fraction"]).draw(76, meta["fname"])
    np.testing.assert_array_equal(mask, case["ganno_mask"].astype(bool))


def test_seed_000s_whole_volume_unscaled(golden, tmp_path):
    case = golden("fastmri_pipeline")
    path = write(tmp_path / case.meta["fname"], case["kspace"])
    dataset = create_paired_dataset(path, batch_size=6, target="kspace", mask_seed=0, crop=case.meta["crop"],
                                    scaling="none", accelerations=8, center_fractions=0.04)
    ((image, target),) = batches(dataset)
    np.testing.assert_allclose(image[..., 0], case["deblurgan_A_ch0"], rtol=2e-5, atol=1e-10)
    np.testing.assert_allclose(target[..., 0], case["deblurgan_B_ch0"], rtol=2e-5, atol=1e-10)


def test_symmetric_pairs_in_three_channels(demo_folder):
    """DeblurGAN's: [-1, 1] instead of [0, 1], three equal channels, and the scale that undoes it."""
    plain, symmetric = (create_paired_dataset(demo_folder, batch_size=2, crop=64, metadata=True, channels=channels,
                                              scaling=scaling)
                        for channels, scaling in ((1, "zero_filled_max"), (3, "symmetric")))
    for (x, y, facts), (x3, y3, facts3) in zip(plain, symmetric):
        for one, three in ((x, x3), (y, y3)):
            assert three.shape == (*one.shape[:3], 3)
            np.testing.assert_allclose(three, np.repeat(2 * np.asarray(one) - 1, 3, -1), atol=1e-6)
        np.testing.assert_array_equal(facts["scale"], facts3["scale"])
        np.testing.assert_array_equal(facts["data_range"], facts3["data_range"])
    with pytest.raises(UsageError, match="channels"):
        create_paired_dataset(demo_folder, channels=2)


@pytest.mark.parametrize("target", [None, "kspace", "reconstruction_rss"])
def test_pairs_equal_the_plain_form(demo_folder, target):
    index = index_volumes(demo_folder, target or "reconstruction_esc")
    dataset = create_paired_dataset(index, batch_size=4, metadata=True)
    assert int(dataset.cardinality()) == 3  # 12 slices, from headers alone
    images = np.concatenate([np.asarray(x) for x, _, _ in dataset])[..., 0]
    targets = np.concatenate([np.asarray(y) for _, y, _ in dataset])[..., 0]
    scales = np.concatenate([np.asarray(f["scale"]) for _, _, f in dataset])
    ranges = np.concatenate([np.asarray(f["data_range"]) for _, _, f in dataset])
    k = 0
    with SliceReader() as reader:
        for volume in index.volumes:
            with open_hdf5(volume.path) as file:
                stored = file["reconstruction_esc"][()]
            for i in range(volume.slices):
                mask = Masking().draw(volume.width, volume.name)
                plain = center_crop(zero_filled(reader.kspace(volume, i), mask), (64, 64))
                assert images[k].max() == 1.0
                np.testing.assert_allclose(images[k] * scales[k], plain, atol=2e-6 * plain.max())
                np.testing.assert_allclose(targets[k] * scales[k], stored[i], atol=2e-6 * stored.max())
                assert ranges[k] * scales[k] == pytest.approx(stored.max(), rel=1e-5)
                k += 1


def test_training_order_and_masks_depend_on_seed_and_epoch_alone(demo_folder):
    def epoch(number, seed=0):
        clock = EpochClock(number)
        data = create_paired_dataset(demo_folder, batch_size=5, shuffle=True, mask_seed=None, seed=seed, clock=clock)
        return batches(data)

    def same(a, b):
        return all(np.array_equal(x[0], y[0]) and np.array_equal(x[1], y[1]) for x, y in zip(a, b, strict=True))

    assert same(epoch(3), epoch(3))
    assert not same(epoch(3), epoch(4))
    assert not same(epoch(3), epoch(3, seed=1))


def test_passes_count_epochs_without_a_clock_of_ones_own(demo_folder):
    data = create_paired_dataset(demo_folder, batch_size=12, shuffle=True, mask_seed=None)
    first, second = batches(data)[0], batches(data)[0]
    assert not np.array_equal(first[0], second[0])
    # Every slice comes exactly once per pass, whatever the order.
    np.testing.assert_allclose(np.sort(first[1].mean(axis=(1, 2, 3)) * 0 + 1), 1)
    clock = EpochClock()
    data = create_paired_dataset(demo_folder, batch_size=1, shuffle=True, scaling="none", clock=clock)
    passes = [sorted(float(y.sum()) for _, y in batches(data)) for _ in range(2)]
    assert passes[0] == passes[1] and len(set(passes[0])) == 12


def test_mixed_sizes_come_in_batches_of_their_own(tmp_path):  # row 38
    for i, (h, w) in enumerate([(40, 36), (40, 36), (52, 50)]):
        write(tmp_path / f"v{i}.h5", random_kspace(i, (3, h, w)))
    data = create_paired_dataset(tmp_path, batch_size=4, target="kspace")
    shapes = sorted(image.shape for image, _ in batches(data))
    assert shapes == [(2, 36, 36, 1), (3, 50, 50, 1), (4, 36, 36, 1)]
    assert int(data.cardinality()) == 3
    dropped = create_paired_dataset(tmp_path, batch_size=4, target="kspace", drop_remainder=True)
    assert [i.shape for i, _ in batches(dropped)] == [(4, 36, 36, 1)] and int(dropped.cardinality()) == 1


@pytest.mark.parametrize("crop", [None, 32, 31, 30])
def test_input_and_target_lie_on_each_other_at_odd_and_even_crops(tmp_path, crop):
    kspace = random_kspace(0, (2, 45, 41))
    target = center_crop(zero_filled(kspace), (36, 32))
    path = write(tmp_path / "v.h5", kspace, reconstruction_esc=target)
    ((image, full),) = batches(create_paired_dataset(path, accelerations=1, crop=crop, scaling="none"))
    np.testing.assert_allclose(image, full, atol=1e-5)


def test_undersampled_keys_are_not_masked_twice_nor_their_own_target(tmp_path):
    mask = Masking(4).draw(48, "v.h5")
    full = random_kspace(0, (1, 48, 48))
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["kspace_4af"], file["reconstruction_esc"] = full * mask, zero_filled(full)
    ((image, _),) = batches(create_paired_dataset(path, scaling="none"))
    np.testing.assert_allclose(image[0, ..., 0], zero_filled(full * mask)[0], atol=1e-5)
    with pytest.raises(DataError, match="would equal the input"):
        create_paired_dataset(path, target="kspace")
    write(tmp_path / "masked.h5", full * mask, mask=mask)
    with pytest.raises(DataError, match="would equal the input"):
        create_paired_dataset(tmp_path / "masked.h5", target="kspace")
    write(tmp_path / "full.h5", full, mask=mask)  # a full k-space with the mask to apply is a pair
    ((image, target),) = batches(create_paired_dataset(tmp_path / "full.h5", target="kspace", scaling="none"))
    np.testing.assert_allclose(image[0, ..., 0], zero_filled(full, mask)[0], atol=1e-5)
    np.testing.assert_allclose(target[0, ..., 0], zero_filled(full)[0], atol=1e-5)


def test_zero_padded_edges_are_not_undersampling():
    kspace = np.pad(random_kspace(0, (48, 40)), ((0, 0), (12, 12)))
    assert sampled_fraction(kspace) == 1.0 and examine_slice(kspace) == []
    kspace[:, 30] = 0
    assert sampled_fraction(kspace) == pytest.approx(39 / 40)
    assert sampled_fraction(0 * kspace) == 0.0
    full = random_kspace(0, (48, 80))
    narrow, partial = full.copy(), full.copy()
    narrow[:, :30] = narrow[:, 50:] = partial[:, :30] = 0
    assert sampled_fraction(narrow) == 20 / 80 and sampled_fraction(partial) == 50 / 80


def test_drop_remainder_gives_static_shapes(demo_folder):
    data = create_paired_dataset(demo_folder, batch_size=5, drop_remainder=True)
    assert data.element_spec[0].shape == (5, 64, 64, 1) and int(data.cardinality()) == 2


def test_file_mask_wins_over_the_rule(tmp_path):
    mask = np.zeros(36, bool)
    mask[10:26] = True
    full = random_kspace(0, (1, 40, 36))
    path = write(tmp_path / "v.h5", full * mask, mask=mask, reconstruction_esc=zero_filled(full))
    ((image, _),) = batches(create_paired_dataset(path, accelerations=8, scaling="none"))
    np.testing.assert_allclose(image[0, ..., 0], zero_filled(full, mask)[0], atol=1e-5)


@pytest.mark.parametrize("options, message", [
    ({"task": "superfast"}, "task"), ({"batch_size": 0}, "batch size"), ({"batch_size": 2.5}, "batch size"),
    ({"scaling": "max"}, "scaling"), ({"accelerations": 0}, "at least 1"), ({"mask_seed": "name"}, "mask seed"),
    ({"batch_size": 100, "drop_remainder": True}, "larger than the 12 slices"), ({"nan": "keep"}, "nan"),
])
def test_misuse_is_refused(demo_folder, options, message):  # rows 32, 74
    with pytest.raises(UsageError, match=message):
        create_paired_dataset(demo_folder, **options)


def test_index_and_target_must_agree(demo_folder):
    index = index_volumes(demo_folder, "reconstruction_esc")
    with pytest.raises(UsageError, match="made for the target reconstruction_esc"):
        create_paired_dataset(index, target="kspace")
    create_paired_dataset(index, target="reconstruction_esc")


def test_crop_must_fit_and_single_coil_only(demo_folder, tmp_path):
    with pytest.raises(DataError, match="does not fit"):
        create_paired_dataset(demo_folder, crop=100)
    write(tmp_path / "multi.h5", random_kspace(0, (2, 4, 20, 20)))
    with pytest.raises(DataError, match=r"coil axis \(4 coils\)"):
        create_paired_dataset(tmp_path, target="kspace")


def test_split_and_folds_keep_patients_together(demo_folder):
    index = index_volumes(demo_folder, "reconstruction_esc")  # four volumes of three people
    for parts in [split(index, (0.5, 0.5), seed) for seed in range(5)] + [f for s in range(3) for f in folds(index, 3, s)]:
        check_no_shared_patient(*parts)
        assert sorted(v.name for p in parts for v in p.volumes) == [v.name for v in index.volumes]
    validated = [v.name for _, val in folds(index, 3) for v in val.volumes]
    assert sorted(validated) == [v.name for v in index.volumes]
    assert split(index, (0.5, 0.5), 1) == split(index, (0.5, 0.5), 1)
    with pytest.raises(DataError, match="4 folds need ≥4"):  # row 75
        folds(index, 4)
    with pytest.raises(UsageError):
        split(index, (0.5, 0.4))


def test_leak_is_found_and_named_by_file_not_by_patient(demo_folder):  # row 76
    index = index_volumes(demo_folder, "reconstruction_esc")
    with pytest.raises(DataError, match="demo_01") as error:
        check_no_shared_patient(index, index)
    assert "demo-01" not in str(error.value)


def test_pseudonyms_hide_the_identifier(demo_folder):
    index = index_volumes(demo_folder, "reconstruction_esc")
    names = pseudonyms(index.volumes)
    assert sorted(set(names.values())) == ["patient-01", "patient-02", "patient-03"]


def test_seed_001s_slice_folds_mix_volumes(demo_folder):
    index = index_volumes(demo_folder, "reconstruction_esc")
    parts = slice_folds(index, 3)
    assert sorted(s for _, val in parts for s in val) == [(v, s) for v in range(4) for s in range(3)]
    assert all(not set(train) & set(val) for train, val in parts)
    assert any({v for v, _ in train} & {v for v, _ in val} for train, val in parts)
