"""DeblurGAN for MRI equals RaphaelMeudec's: forward passes, statistics, losses, and two batches of training."""

import keras
import numpy as np
import pytest
from training_tools import arrays_of, assign_in_order, norms, precision, recording, samples, vgg_loss

from tfrecon import losses
from tfrecon.losses import PerceptualLoss
from tfrecon.models.deblurgan_mri import (
    discriminator_model,
    generator_containing_discriminator,
    generator_containing_discriminator_multiple_outputs,
    generator_model,
)
from tfrecon.training import DeblurGAN

# Ten times the spread GOLDEN.md measured between two implementations.
GENERATOR, CRITIC, CRITIC_TRAINING = 2.6e-5, 3e-7, 1.2e-6


@pytest.fixture(scope="module")
def networks():
    from conftest import Case

    generator, critic = Case("keras_generator"), Case("keras_discriminator")
    models = generator_model(generator["x"].shape[1:], dropout=0.0), discriminator_model(critic["x"].shape[1:])
    return models


def load(golden, networks):
    for name, model in zip(("keras_generator", "keras_discriminator"), networks):
        assign_in_order(model, golden(name).weights())
    return networks


def test_generator_forward(golden, networks):
    case, (generator, _) = golden("keras_generator"), load(golden, networks)
    y = np.asarray(generator(case["x"], training=False))
    np.testing.assert_allclose(y, case["y"], atol=GENERATOR)
    grey = np.abs(np.clip(y * 127.5 + 127.5, 0, 255).astype(np.uint8).astype(int) - case["y_deprocessed"])
    assert grey.max() <= 1 and (grey > 0).mean() < 1e-3  # a value on the edge of a grey level may fall to the other side
    np.testing.assert_allclose(generator(case["x"], training=True), case["y_train_nodropout"], atol=6 * GENERATOR)
    norm = [layer for layer in generator.layers if layer.name.endswith("norm")]
    assert len(norm) == 23
    for number in (1, 23):
        layer = norm[number - 1]
        np.testing.assert_allclose(layer.moving_mean, case[f"after_batch_normalization_{number}_mean"], atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, case[f"after_batch_normalization_{number}_var"], atol=1e-5)


def test_critic_forward(golden, networks):
    case, (_, critic) = golden("keras_discriminator"), load(golden, networks)
    np.testing.assert_allclose(critic(case["x"], training=False), case["y"], atol=CRITIC)
    flat = keras.Model(critic.input, critic.get_layer("flatten").output)(case["x"], training=False)
    np.testing.assert_allclose(flat, case["flatten"], atol=1e-5)
    np.testing.assert_allclose(critic(case["x"], training=True), case["y_train"], atol=CRITIC_TRAINING)
    norms_ = [layer for layer in critic.layers if layer.name.endswith("norm")]
    for number, layer in enumerate(norms_, start=1):
        np.testing.assert_allclose(layer.moving_mean, case[f"after_batch_normalization_{number}_mean"], atol=1e-6)
        np.testing.assert_allclose(layer.moving_variance, case[f"after_batch_normalization_{number}_var"], atol=1e-6)


def test_arrays_under_the_originals_automatic_names_load_by_position(golden, networks):
    """conv2d_1 or conv2d_25: what Keras 2 called a layer depended on what was built before it."""
    from tfrecon.errors import WeightsError
    from tfrecon.weights import load_weights

    for name, model in zip(("keras_generator", "keras_discriminator"), networks):
        case = golden(name)
        weights = case.weights()
        assert load_weights(model, weights).loaded == len(weights)
        np.testing.assert_allclose(model(case["x"], training=False), case["y"], atol=GENERATOR)
        with pytest.raises(WeightsError):
            load_weights(model, dict(list(weights.items())[:-1]))


def test_parameter_counts():
    generator, critic = generator_model(), discriminator_model()
    assert sum(v.numpy().size for v in generator.trainable_variables) == 11_388_675
    assert sum(v.numpy().size for v in arrays_of(generator)) == 11_399_171
    assert sum(v.numpy().size for v in arrays_of(critic)) == 3_098_370


def test_composite_models():
    generator, critic = generator_model((32, 32, 3), ngf=2, n_blocks=1), discriminator_model((32, 32, 3), ndf=2)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    image = generator(x)
    np.testing.assert_allclose(generator_containing_discriminator(generator, critic)(x), critic(image), atol=1e-6)
    both = generator_containing_discriminator_multiple_outputs(generator, critic)(x)
    np.testing.assert_allclose(both[0], image, atol=1e-6)
    np.testing.assert_allclose(both[1], critic(image), atol=1e-6)


@pytest.mark.parametrize("build, shape, message", [
    (generator_model, (30, 32, 3), "multiples of 4"), (generator_model, (4, 32, 3), "at least 8"),
    (discriminator_model, (8, 32, 3), "at least 16"), (discriminator_model, (None, None, 3), "fixed"),
])
def test_rows_72_73_sizes_that_cannot_be(build, shape, message):
    with pytest.raises(ValueError, match=message):
        build(shape)


def test_losses(golden):
    case = golden("keras_losses")
    loss = PerceptualLoss("vgg16", "block3_conv3", weights=None)
    loss.features.set_weights(list(case.weights().values()))
    features = np.asarray(loss.features(case["y_true"]))
    np.testing.assert_allclose(features[..., :64], case["features_ytrue_ch0_63"], atol=1e-4)
    assert float(loss(case["y_true"], case["y_pred"])) == pytest.approx(case.meta["perceptual_loss"], rel=1e-5)
    assert float(losses.l1(case["y_true"], case["y_pred"])) == pytest.approx(case.meta["l1_loss"], rel=1e-6)
    wasserstein = losses.wasserstein(case["w_true"], case["w_pred"])
    assert float(wasserstein) == pytest.approx(case.meta["wasserstein_loss(y_true,y_pred)"], rel=1e-6)


STATISTICS = {"keras2": "batch", "tf2": "moving"}


class Training:
    """Both batches of a training case, in a given precision, with what the case stores collected on the way."""

    def __init__(self, case, statistics, floatx):
        with precision(floatx):
            size = case["blur_u8"].shape[2:]
            self.generator = generator_model(size, ngf=8, dropout=0.0)
            self.critic = discriminator_model(size, ndf=8)
            assign_in_order(self.generator, case.weights("gen_"))
            assign_in_order(self.critic, case.weights("disc_"))
            self.trainer = DeblurGAN(self.generator, self.critic, content=vgg_loss(case, "vgg16"),
                                     critic_statistics=statistics)
            self.trainer.compile(run_eagerly=True)
            for optimizer in (self.trainer.g_optimizer, self.trainer.d_optimizer):
                recording(optimizer)
            self.run(case, floatx)

    def run(self, case, floatx):
        self.d_losses, self.generated, self.logs, self.snapshots = [], [], [], [self.snapshot()]
        step = self.trainer._critic_step

        def kept(images, label, real):
            loss = step(images, label, real)
            self.d_losses.append(float(loss))
            return loss

        self.trainer._critic_step = kept
        for blur, sharp in zip(case["blur_u8"], case["sharp_u8"]):
            blur, sharp = (((x.astype(np.float64) - 127.5) / 127.5).astype(np.float32).astype(floatx) for x in (blur, sharp))
            self.generated.append(np.asarray(self.trainer(blur, training=False)))
            self.trainer.reset_metrics()
            self.logs.append(self.trainer.train_on_batch(blur, sharp, return_dict=True))
            self.snapshots.append(self.snapshot())

    def snapshot(self):
        return [np.asarray(v) for v in (*arrays_of(self.generator), *arrays_of(self.critic))]


@pytest.fixture(scope="module", params=STATISTICS)
def training(request):
    from conftest import Case

    case = Case(f"deblurgan_train_{request.param}")
    return case, Training(case, STATISTICS[request.param], "float64")


def test_training_losses_equal_the_originals(training):
    case, run = training
    np.testing.assert_allclose(np.reshape(run.d_losses, case["d_losses_64"].shape), case["d_losses_64"], rtol=1e-8)
    names = ("g_loss", "content_loss", "adversarial_loss")
    got = [[logs[name] for name in names] for logs in run.logs]
    np.testing.assert_allclose(got, case["g_losses_64"], rtol=1e-8)
    expected = case["d_losses_64"].sum(axis=2).mean(axis=1) / 2
    np.testing.assert_allclose([logs["d_loss"] for logs in run.logs], expected, rtol=1e-8)
    for got, expected in zip(run.generated, case["generated_sub"]):
        np.testing.assert_allclose(got[:, ::2, ::2], expected, atol=4e-3)  # stored in float32 only


def test_training_moves_every_variable_as_the_original(training):
    case, run = training
    alive = ~case["var_dead"]
    for number, snapshot in enumerate(run.snapshots):
        np.testing.assert_allclose(norms(snapshot)[alive], case["var_l2_64"][number][alive], rtol=1e-7)
        got = [samples(a, i) for a, i in zip(snapshot, case["sample_idx"])]
        np.testing.assert_allclose(np.array(got)[alive], case["var_samples_64"][number][alive], atol=1e-7)


def test_first_gradients_equal_the_originals(training):
    case, run = training
    dead = dict(zip(case["var_names"], case["var_dead"]))
    pairs = (("g", run.trainer.g_optimizer, run.generator), ("d", run.trainer.d_optimizer, run.critic))
    for which, optimizer, model in pairs:
        got = norms([optimizer.seen[0][v.path] for v in model.trainable_variables])
        alive = [not dead[name] for name in case[f"{which}_grad_names"]]
        np.testing.assert_allclose(got[alive], case[f"{which}_grad_l2_64"][alive], rtol=1e-7)


@pytest.mark.slow
def test_training_in_float32(golden):
    """As users run it; three times the original's own spread between float32 and float64."""
    case = golden("deblurgan_train_keras2")
    run = Training(case, "batch", "float32")
    np.testing.assert_allclose(np.reshape(run.d_losses, (2, 5, 2))[0], case["d_losses_64"][0], atol=1.2e-6)
    np.testing.assert_allclose(np.reshape(run.d_losses, (2, 5, 2))[1], case["d_losses_64"][1], atol=5e-4)
    for number, limit in ((0, 3e-6), (1, 1e-4)):
        assert run.logs[number]["g_loss"] == pytest.approx(case["g_losses_64"][number][0], rel=limit)
    alive = ~case["var_dead"] & ~case["var_moving"]
    np.testing.assert_allclose(norms(run.snapshots[2])[alive], case["var_l2_64"][2][alive], rtol=7e-4)
