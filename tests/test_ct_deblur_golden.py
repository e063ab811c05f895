"""The CT DeblurGAN equals KupynOrest's: forward passes, penalty, perceptual loss, and two batches of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import arrays_of, norms, precision, recording, samples, to_torch, vgg_loss

from tfrecon import losses
from tfrecon.errors import WeightsError
from tfrecon.models.ct_deblur import discriminator_model, generator_model
from tfrecon.training import CTDeblurGAN
from tfrecon.weights import load_weights

# Ten times the spread GOLDEN.md measured between two implementations.
GENERATOR, CRITIC, PENALTY = 1e-4, 6.1e-5, 5e-6


@pytest.mark.parametrize("x, y, prefix, options", [
    ("x", "y_residual0", "", {"learn_residual": False}), ("x", "y_residual1", "", {}),
    ("x_1ch", "y_1ch_residual1", "ch1_", {}),
    ("x", "y_batchnorm_eval", "bn_", {"learn_residual": False, "norm": "batch"}),
])
def test_generator_forward(golden, x, y, prefix, options):
    case = golden("kupyn_generator_2018")
    model = generator_model((None, None, case[x].shape[1]), dropout=0.0, **options)
    load_weights(model, case.weights(prefix))
    np.testing.assert_allclose(model(case.image(x), training=False), case.image(y), atol=GENERATOR)


def test_weights_of_a_build_with_dropout_or_without_fit_both(golden):
    """A dropout layer shifts the original's numbering by one: conv_block.5 or conv_block.6."""
    case = golden("kupyn_generator_2018")
    with_dropout = generator_model((None, None, 3), dropout=0.5)
    report = load_weights(with_dropout, case.weights())
    assert report.loaded == 48 and "dropout" in report.notes[0]
    np.testing.assert_allclose(with_dropout(case.image("x"), training=False), case.image("y_residual1"), atol=GENERATOR)
    renamed = {name.replace("conv_block.5", "conv_block.6"): w for name, w in case.weights().items()}
    assert not load_weights(with_dropout, renamed).notes
    assert load_weights(generator_model((None, None, 3), dropout=0.0), renamed).loaded == 48
    for change in (lambda w: w.pop("model.12.conv_block.5.weight"), lambda w: w.update({"model.12.conv_block.9.bias": 0})):
        spoiled = dict(case.weights())
        change(spoiled)
        with pytest.raises(WeightsError):
            load_weights(with_dropout, spoiled)


def test_intermediate_activations(golden):
    """A mistake that a later norm would hide shows here."""
    case = golden("kupyn_generator_2018")
    model = generator_model((None, None, 3), dropout=0.0)
    load_weights(model, case.weights())
    stages = {"act_stem": "model_3", "act_down2": "model_9", "act_block1": "model_10_add", "act_block9": "model_18_add",
              "act_up2": "model_24", "act_lastconv": "model_26"}
    stored = {key: value for key, value in case.meta.items() if key.startswith("act_")}
    assert set(stored) == set(stages)
    for key, name in stages.items():
        output = np.asarray(keras.Model(model.input, model.get_layer(name).output)(case.image("x")))
        found = [output.mean(), output.std(), output.min(), output.max()]
        np.testing.assert_allclose(found, [stored[key][k] for k in ("mean", "std", "min", "max")], atol=2e-4, err_msg=name)


@pytest.mark.parametrize("y, prefix, options, training", [
    ("y", "", {}, False), ("y_sigmoid", "", {"use_sigmoid": True}, False),
    ("y_bn_eval", "bn_", {"norm": "batch"}, False), ("y_bn_train", "bn_", {"norm": "batch"}, True),
])
def test_critic_forward(golden, y, prefix, options, training):
    case = golden("kupyn_discriminator")
    model = discriminator_model((None, None, 3), **options)
    load_weights(model, case.weights(prefix))
    np.testing.assert_allclose(model(case.image("x"), training=training), case.image(y), atol=CRITIC)
    for key in [k for k in case.arrays.files if training and k.startswith("after_")]:
        layer, leaf = key[len("after_"):].rsplit(".", 1)
        found = getattr(model.get_layer(layer.replace(".", "_")), leaf.replace("running_var", "moving_variance")
                        .replace("running_mean", "moving_mean"))
        np.testing.assert_allclose(found, case[key], atol=1e-5, err_msg=key)


def test_parameter_counts():
    def count(model):
        return sum(v.numpy().size for v in model.trainable_variables)

    assert count(generator_model()) == 11_378_179 and count(generator_model((None, None, 1))) == 11_365_633
    assert count(generator_model(norm="batch")) == 11_383_427
    assert count(discriminator_model()) == 2_764_737 and count(discriminator_model(norm="batch")) == 2_765_633


def test_gradient_penalty(golden):
    case = golden("kupyn_wgan_gp")
    critic = discriminator_model((None, None, 3))
    load_weights(critic, case.weights())
    real, fake = (tf.constant(case.image(k)) for k in ("real", "fake"))
    alpha = case.meta["alpha"]
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(critic, real, fake, alpha)
    assert float(penalty) == pytest.approx(case.meta["gradient_penalty_original"], abs=PENALTY)
    gradients = dict(zip((v.path for v in critic.trainable_variables), tape.gradient(penalty, critic.trainable_variables)))
    expected = case.meta["penalty_grad_wrt_params_norms"]
    for name, norm in expected.items():
        layer = critic.get_layer(name.rsplit(".", 1)[0].replace(".", "_"))
        variable = layer.kernel if name.endswith("weight") else layer.bias
        found = gradients[variable.path]
        assert np.linalg.norm(0.0 if found is None else found) == pytest.approx(norm or 0.0, rel=1e-4, abs=1e-5), name
    sample = losses.gradient_penalty(critic, real, fake, alpha, norm="sample")
    assert float(sample) == pytest.approx(case.meta["gradient_penalty_if_flattened_per_sample (not the original)"], rel=1e-5)


def test_gradient_penalty_of_linear_critics():
    """A critic with a known slope: the pixel norm sees each pixel's slope, the sample norm the whole image's."""
    slope = np.array([3.0, 4.0], np.float32)
    real, fake = np.ones((2, 4, 4, 2), np.float32), np.zeros((2, 4, 4, 2), np.float32)

    def critic(x):
        return tf.reduce_sum(x * slope, axis=(1, 2, 3))

    assert float(losses.gradient_penalty(critic, real, fake, 0.3, 10.0, "pixel")) == pytest.approx(10 * (5 - 1) ** 2)
    assert float(losses.gradient_penalty(critic, real, fake, 0.3, 1.0, "sample")) == pytest.approx((20 - 1) ** 2)
    with pytest.raises(Exception, match="pixel, sample"):
        losses.gradient_penalty(critic, real, fake, 0.3, norm="image")


def test_gradient_penalty_where_nothing_depends_on_a_pixel():
    weight = tf.Variable(1.0)
    with tf.GradientTape() as tape:
        value = losses.gradient_penalty(lambda x: weight * x[:, :1, :1, 0], np.ones((1, 3, 3, 2), np.float32),
                                        np.zeros((1, 3, 3, 2), np.float32), 0.5)
    assert np.isfinite(float(tape.gradient(value, weight)))


def test_perceptual_loss_before_the_relu(golden):
    case = golden("kupyn_perceptual_vgg19")
    weights = [w.transpose(2, 3, 1, 0) if w.ndim == 4 else w for w in case.weights().values()]
    for distance, key in (("mse", "perceptual_mse"), ("mae", "perceptual_l1")):
        loss = losses.PerceptualLoss("vgg19", pre_activation=True, distance=distance, weights=None)
        loss.features.set_weights(weights)
        features = np.moveaxis(np.asarray(loss.features(case.image("fake"))), -1, 1)
        np.testing.assert_allclose(features[:, :32], case["features_fake_ch0_31"], atol=1e-4)
        value = float(loss(case.image("real"), case.image("fake")))
        assert value == pytest.approx(case.meta[key], rel=1e-5)


class Training:
    """Both batches of a training case with the recorded interpolations."""

    def __init__(self, case, distance, floatx):
        with precision(floatx):
            size = case["blur_u8"].shape[2:]
            self.generator = generator_model(size, ngf=8, dropout=0.0)
            self.critic = discriminator_model(size, ndf=8)
            load_weights(self.generator, case.weights("gen_"))
            load_weights(self.critic, case.weights("disc_"))
            content = vgg_loss(case, "vgg19", pre_activation=True, distance=distance)
            self.trainer = CTDeblurGAN(self.generator, self.critic, content=content)
            self.trainer.compile(run_eagerly=True)
            for optimizer in (self.trainer.g_optimizer, self.trainer.d_optimizer):
                recording(optimizer)
            self.run(case, floatx)

    def run(self, case, floatx):
        alphas = iter(case["alphas"].reshape(-1))
        self.trainer.draw_alpha = lambda images: next(alphas)
        self.d_losses, self.logs, self.snapshots = [], [], [self.snapshot()]
        step = self.trainer._critic_step

        def kept(target, fake):
            means = [float(tf.reduce_mean(self.critic(x))) for x in (fake, target)]
            loss, penalty = step(target, fake)
            self.d_losses.append([float(loss), *means, float(penalty)])
            return loss, penalty

        self.trainer._critic_step = kept
        for blur, sharp in zip(case["blur_u8"], case["sharp_u8"]):
            blur, sharp = (((x / 255.0 - 0.5) / 0.5).astype(np.float32).astype(floatx) for x in (blur, sharp))
            self.trainer.reset_metrics()
            self.logs.append(self.trainer.train_on_batch(blur, sharp, return_dict=True))
            self.snapshots.append(self.snapshot())

    def snapshot(self):
        return [to_torch(v) for v in (*arrays_of(self.generator), *arrays_of(self.critic))]


@pytest.fixture(scope="module", params=["mse", "l1"])
def training(request):
    from conftest import Case

    case = Case(f"kupyn_train_{request.param}")
    return case, Training(case, {"mse": "mse", "l1": "mae"}[request.param], "float64")


def test_training_losses_equal_the_originals(training):
    """To 1e-6: TensorFlow's LeakyReLU has a slope of float32(0.2) even in float64."""
    case, run = training
    np.testing.assert_allclose(np.reshape(run.d_losses, (2, 5, 4)), case["d_losses_64"], rtol=1e-6, atol=1e-6)
    got = [[logs["g_loss"], 100 * logs["content_loss"]] for logs in run.logs]
    np.testing.assert_allclose(got, case["g_losses_64"][:, [0, 2]], rtol=1e-6)


def test_training_moves_every_variable_as_the_original(training):
    case, run = training
    alive = ~case["var_dead"]
    for number, snapshot in enumerate(run.snapshots):
        np.testing.assert_allclose(norms(snapshot)[alive], case["var_l2_64"][number][alive], rtol=1e-6)
        got = np.array([samples(a, i) for a, i in zip(snapshot, case["sample_idx"])])
        np.testing.assert_allclose(got[alive], case["var_samples_64"][number][alive], atol=2e-6)


def test_gradients_equal_the_originals(training):
    """The first critic gradient has the second derivatives of the critic's norms in it."""
    case, run = training
    alive = {name.split(":", 1)[-1]: not dead for name, dead in zip(case["var_names"], case["var_dead"])}
    first = norms([run.trainer.d_optimizer.seen[0][v.path] for v in run.critic.trainable_variables])
    kept = [alive[str(name)] for name in case["disc_names"]]
    np.testing.assert_allclose(first[kept], case["d_grad_first_l2_64"][kept], rtol=1e-5)
    for gradients, expected in zip(run.trainer.g_optimizer.seen, case["g_grad_l2_64"]):
        got = norms([gradients[v.path] for v in run.generator.trainable_variables])
        kept = [alive[str(name)] for name in case["gen_names"]]
        np.testing.assert_allclose(got[kept], expected[kept], rtol=1e-5)


@pytest.mark.slow
def test_training_in_float32(golden):
    """As users run it; GOLDEN.md's limits for float32."""
    case = golden("kupyn_train_mse")
    run = Training(case, "mse", "float32")
    d_losses = np.reshape(run.d_losses, (2, 5, 4))
    np.testing.assert_allclose(d_losses[0, 0], case["d_losses_64"][0, 0], atol=2e-5)
    np.testing.assert_allclose(d_losses[0], case["d_losses_64"][0], atol=2e-2)
    np.testing.assert_allclose(d_losses[1], case["d_losses_64"][1], atol=4e-2)
    for number, limit in ((0, 5e-3), (1, 2e-2)):
        assert run.logs[number]["g_loss"] == pytest.approx(case["g_losses_64"][number][0], rel=limit)
    alive = ~case["var_dead"]
    np.testing.assert_allclose(norms(run.snapshots[2])[alive], case["var_l2_64"][2][alive], rtol=1e-4)
