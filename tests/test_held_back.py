"""Training on a part of the measured samples, judged by the others, and its use on one scan."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from cli_tools import call
from test_multicoil import TINY, coils
from test_training_unrolled import EAGER, batch, dataset, equal, small

from tfrecon.errors import DataError, UsageError
from tfrecon.models import unrolled
from tfrecon.physics.operators import Sense
from tfrecon.training import ScanAdaptation, UnrolledRecon
from tfrecon.training.held_back import held_back_loss, split_mask

LEARNING = {"supervised": False, "held_back": 0.4}


def columns(count=2, height=24, width=60, seed=0):
    sampled = np.random.default_rng(seed).uniform(size=(count, 1, width)) < 0.6
    return np.broadcast_to(sampled, (count, height, width)).astype(np.float32)


def points(count=2, height=40, width=60, seed=0):
    return (np.random.default_rng(seed).uniform(size=(count, height, width)) < 0.6).astype(np.float32)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("make", [columns, points])
def test_split_loses_no_sample_and_gives_none_twice(make, centered):
    mask, generator = make(), keras.random.SeedGenerator(0)
    given, held = (np.asarray(m) for m in split_mask(tf.constant(mask), 0.4, centered, generator))
    np.testing.assert_array_equal(given + held, mask)
    assert not (given * held).any()
    assert 0.3 < held.sum() / mask.sum() < 0.42  # the centre is never held back
    again = np.asarray(split_mask(tf.constant(mask), 0.4, centered, generator)[1])
    assert (again != held).any() and (held[0] != held[1]).any()
    if make is columns:
        assert (held == held[:, :1]).all()
    move = (lambda m: m) if centered else (lambda m: np.fft.fftshift(m, axes=(1, 2)))
    height, width = mask.shape[1:]
    rows = slice(None) if make is columns else slice(height // 2 - 4, height // 2 + 4)
    near = np.s_[:, rows, width // 2 - 4 : width // 2 + 4]
    np.testing.assert_array_equal(move(given)[near], move(mask)[near])


def test_one_batch_may_hold_columns_and_points():
    mask = np.concatenate([columns(1, 40), points(1)])
    held = np.asarray(split_mask(tf.constant(mask), 0.5, True, keras.random.SeedGenerator(0))[1])
    assert (held[0] == held[0, :1]).all() and (held[1] != held[1, :1]).any()


def test_loss_is_the_relative_error_in_both_norms():
    inputs, image = batch(2)
    inputs = {name: tf.constant(x) for name, x in inputs.items()}
    operator = Sense(inputs["sens_maps"], inputs["mask"])
    found = held_back_loss(operator, inputs, 1.5 * image)
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-5)  # half of y is too much, in either norm
    nothing = {**inputs, "kspace": tf.zeros_like(inputs["kspace"]), "mask": tf.zeros_like(inputs["mask"])}
    x = tf.Variable(image)
    with tf.GradientTape() as tape:
        loss = held_back_loss(Sense(inputs["sens_maps"], nothing["mask"]), nothing, x)
    np.testing.assert_array_equal(loss, [0, 0])
    assert not np.any(tape.gradient(loss, x))


def test_the_model_never_sees_what_judges_it():
    """All is held back that may be, so that the step has to reconstruct from the centre alone."""
    trainer, (inputs, _) = small("modl", supervised=False, held_back=0.9999999), batch()
    seen, reconstruct = [], trainer.model.call
    trainer.model.call = lambda inputs, training=None: (seen.append(inputs), reconstruct(inputs, training))[1]
    trainer.train_on_batch(inputs)
    outside = np.s_[..., [0, 9]]  # of 10 columns the 8 in the middle stay
    assert inputs["mask"][outside].any() and np.any(np.asarray(seen[0]["mask"]))
    assert not np.any(np.asarray(seen[0]["mask"])[outside]) and not np.any(np.asarray(seen[0]["kspace"])[outside])


def test_the_zoo_hands_the_share_on():
    from tfrecon import create

    options = {"preset": "small", "supervised": False, "held_back": 0.3, "draw_seed": 5}
    for name in ("modl", "deep_basis_pursuit"):
        trainer = create(name, **options)
        assert (trainer.held_back, trainer.seed) == (0.3, 5)


@pytest.mark.parametrize("name", ["modl", "dbp"])
def test_it_trains_and_moves_every_weight(name):
    trainer = small(name, **LEARNING)
    before = [v.numpy() for v in trainer.trainable_variables]
    history = trainer.fit(tf.data.Dataset.from_tensors((batch()[0],)), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["nrmse"] == [0, 0]
    assert all((a != v.numpy()).any() for a, v in zip(before, trainer.trainable_variables))


def test_compiled_step_equals_the_plain_one():
    """All that may be is held back: XLA draws other numbers than the plain graph."""
    everything = {"supervised": False, "held_back": 0.9999999}
    trainers = [small("cg", options, **everything) for options in ({"jit_compile": True}, EAGER)]
    logs = [t.train_on_batch(batch()[0], return_dict=True) for t in trainers]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-4) and logs[0]["loss"] > 0
    equal(*trainers, atol=1e-5)


def test_saved_model_goes_on_with_the_next_draw(tmp_path):
    trainer = small("modl", **LEARNING, seed=3)
    trainer.fit(dataset(), verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert (copy.held_back, copy.seed) == (0.4, 3)
    for model in (trainer, copy):
        model.train_on_batch(*batch(seed=1))
    equal(trainer, copy)


@pytest.mark.parametrize("options, words", [({"held_back": 0.4}, "supervised=False"),
                                            ({"supervised": False, "held_back": 1}, "below 1"),
                                            ({"supervised": False, "held_back": float("nan")}, "below 1")])
def test_share_out_of_range(options, words):
    with pytest.raises(UsageError, match=words):
        UnrolledRecon(unrolled.CGSense(), **options)


@pytest.fixture(scope="module")
def scan():
    """One undersampled slice of smooth content, and its image."""
    from test_coil_maps import phantom

    kspace, maps, _ = phantom(4, 48, 40)
    mask = np.broadcast_to((np.arange(40) % 2 == 0) | (abs(np.arange(40) - 20) < 5), (48, 40)).astype(np.float32)
    image = np.abs(np.asarray(Sense(maps[None], np.ones((1, 48, 40))).adjoint(kspace[None])))[0]
    scale = image.max()
    return {"kspace": (kspace * mask / scale).astype("c8"), "sens_maps": maps.astype("c8"), "mask": mask}, image / scale


def network():
    keras.utils.set_random_seed(2)
    return unrolled.MoDL(unrolled.resnet_denoiser(4, 1, 3), 2, l2lam=0.3, cg_max_iter=4)


def test_adaptation_brings_the_image_nearer_to_the_truth_it_never_sees(scan):
    inputs, image = scan
    model = network()

    def error():
        return np.linalg.norm(np.abs(np.asarray(model({k: v[None] for k, v in inputs.items()}))[0]) - image)

    before = error()
    losses = ScanAdaptation(model, 40, learning_rate=3e-3)([inputs])
    assert len(losses) == 40 and np.mean(losses[-8:]) < np.mean(losses[:8])
    assert error() < 0.9 * before


def test_every_scan_begins_with_the_same_weights(scan):
    """Results must not depend on the order of files."""
    inputs, _ = scan
    adaptation = ScanAdaptation(network(), 3)
    first = adaptation([inputs])
    moved = [v.numpy() for v in adaptation.trainer.model.trainable_variables]
    adaptation([{**inputs, "kspace": inputs["kspace"][:, ::-1]}, inputs])
    assert adaptation([inputs]) == first
    for a, b in zip(moved, adaptation.trainer.model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nonsense_is_refused_and_nothing_learned_is_not_called_learning(scan):
    for options in ({"steps": 0}, {"steps": 2.5}, {"held_back": 0}, {"held_back": "0.4"}):
        with pytest.raises(UsageError):
            ScanAdaptation(network(), **options)
    with pytest.raises(UsageError, match="denoiser"):
        ScanAdaptation(unrolled.CGSense())
    adaptation, (inputs, _) = ScanAdaptation(network(), 2), scan
    with pytest.raises(UsageError, match="at least one slice"):
        adaptation([])
    with pytest.raises(DataError, match="not finite"):
        adaptation([{**inputs, "sens_maps": inputs["sens_maps"] * np.nan}])
    centre = np.zeros_like(inputs["mask"])
    centre[:, 16:24] = 1
    assert adaptation([{**inputs, "mask": centre}]) == [0, 0]


def test_batch_statistics_stay(scan):
    """One slice's statistics in every step would replace those the network was trained with."""
    model = unrolled.MoDL(unrolled.cnn_denoiser(2, 3), 2, l2lam=0.3, cg_max_iter=2)
    statistics = [v for v in model.denoiser.variables if "moving" in v.path]
    before = [v.numpy() for v in statistics]
    ScanAdaptation(model, 2)([scan[0]])
    assert len(before) == 4
    for a, b in zip(before, statistics, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_command(capsys, tmp_path):
    coils(tmp_path / "data" / "a.h5", slices=2)
    words = ("--data", tmp_path / "data", "--validation", tmp_path / "data", "--model", "modl", "--preset", "small", *TINY)
    trained = call(capsys, "train", *words, "--epochs", "1", "--out", tmp_path / "run", "--set", "supervised=false",
                   "--set", "held_back=0.4", "--allow-leak")
    assert trained.code == 0, trained.err
    weights = tmp_path / "run" / "generator.weights.h5"
    images = {}
    for name, more in (("plain", ()), ("adapted", ("--adapt", "2"))):
        made = call(capsys, "reconstruct", tmp_path / "data", tmp_path / name, "--model", "modl", "--weights", weights, *more)
        assert made.code == 0, made.err
        assert ("adapted in 2 steps" in made.err) == bool(more)
        with h5py.File(tmp_path / name / "a.h5") as file:
            images[name] = file["reconstruction"][()]
            assert file.attrs["adapted_steps"] == (2 if more else 0)
        for other in ((), ("--adapt", "2")):
            if other != more:
                mixed = call(capsys, "reconstruct", tmp_path / "data", tmp_path / name, "--model", "modl", "--weights", weights,
                             *other, "--resume")
                assert mixed.code == 2 and "another adapted_steps" in mixed.err
    assert (images["plain"] != images["adapted"]).any()
    for model in ("cg_sense", "zero_filled"):
        refused = call(capsys, "reconstruct", tmp_path / "data", tmp_path / "x", "--model", model, "--adapt", "5")
        assert refused.code == 2 and "--adapt is for" in refused.err
