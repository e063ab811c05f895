"""Pix2Pix equals KupynOrest/DeblurGAN's: forward passes of the U-Net and the conditional critic, and two training steps."""

import numpy as np
import pytest
from training_tools import norms, precision, recording, samples

from tfrecon.models.pix2pix import discriminator_model, generator_model
from tfrecon.training import Pix2Pix
from tfrecon.weights import load_weights

# Ten times the spread between float32 and float64 in the original, which the case records.
GENERATOR, CRITIC = 2e-5, 4e-6
NETWORKS = {"": {"ngf": 4, "num_downs": 6}, "deep_": {"ngf": 2, "num_downs": 7},
            "bn_": {"ngf": 4, "num_downs": 5, "norm": "batch"}}
CRITICS = {"disc_": "instance", "disc_bn_": "batch", "disc_bn1_": "batch"}


def picture(case, key):
    """Stored uint8 images as the network gets them: NHWC, [-1, 1], rounded to float32 once."""
    return ((case.image(key) / 255.0 - 0.5) / 0.5).astype(np.float32)


def generator(case, prefix, size, **options):
    model = generator_model(size, **{"dropout": 0.0, **NETWORKS[prefix], **options})
    report = load_weights(model, case.weights(prefix))
    assert report.loaded == report.total == len(case[f"{prefix}names"])
    return model


def critic(case, prefix, size):
    model = discriminator_model(size, ndf=8, norm=CRITICS[prefix])
    load_weights(model, case.weights(prefix))
    return model


@pytest.fixture(scope="module")
def case():
    from conftest import Case

    return Case("pix2pix_unet")


@pytest.mark.parametrize("prefix, x, y, training, options", [
    ("", "x_u8", "y", False, {}), ("", "x_u8", "y_residual", False, {"learn_residual": True}),
    ("", "x_u8", "y", False, {"dropout": 0.5}), ("deep_", "deep_x_u8", "deep_y", False, {}),
    ("bn_", "bn_x_u8", "bn_y_eval", False, {}), ("bn_", "bn_x_u8", "bn_y_train", True, {}),
])
def test_generator_forward(case, prefix, x, y, training, options):
    model = generator(case, prefix, (None, None, case[x].shape[1]), **options)
    stride = case.meta["subsampling"][y]
    output = np.asarray(model(picture(case, x), training=training))[:, ::stride, ::stride]
    np.testing.assert_allclose(output, case.image(y), atol=GENERATOR)
    for key in [k for k in case.arrays.files if training and k.startswith("after_")]:
        layer, leaf = key[len("after_"):].rsplit(".", 1)
        found = getattr(model.get_layer(layer.replace(".", "_")), leaf.replace("running_var", "moving_variance")
                        .replace("running_mean", "moving_mean"))
        np.testing.assert_allclose(found, case[key], atol=1e-5, err_msg=key)


@pytest.mark.parametrize("prefix, y", [("disc_", "d_y"), ("disc_bn_", "d_bn_y_eval")])
def test_critic_forward_takes_the_input_first(case, prefix, y):
    model = critic(case, prefix, (None, None, 3))
    pair = np.concatenate([picture(case, "x_u8"), picture(case, "sharp_u8")], axis=-1)
    np.testing.assert_allclose(model(pair, training=False), case.image(y), atol=CRITIC)


STEPS = {"step_": ("", "disc_", "x_u8", "sharp_u8"), "step_bn_": ("bn_", "disc_bn1_", "bn_x_u8", "bn_sharp_u8")}


class Steps:
    """Both steps in a given precision, and what the case stores of them."""

    def __init__(self, case, prefix, floatx):
        gen, disc, blur, sharp = STEPS[prefix]
        image, target = (picture(case, key).astype(floatx) for key in (blur, sharp))
        with precision(floatx):
            size = image.shape[1:]
            self.trainer = Pix2Pix(generator(case, gen, size), critic(case, disc, size))
            self.trainer.compile(run_eagerly=True)
            self.variables = {}
            for start, model in (("gen_", self.trainer.generator), ("disc_", self.trainer.discriminator)):
                self.variables.update({start + _torch_name(v): v for v in model.weights})
            optimizers = [recording(o) for o in (self.trainer.g_optimizer, self.trainer.d_optimizer)]
            self.logs, self.arrays = [], []
            for _ in range(2):
                self.trainer.reset_metrics()
                self.logs.append(self.trainer.train_on_batch(image, target, return_dict=True))
                self.arrays.append(self.in_order(case, prefix, _torch_layout))
        self.gradients = [{**g, **d} for g, d in zip(*(optimizer.seen for optimizer in optimizers))]

    def in_order(self, case, prefix, of):
        return [of(self.variables[_flat(str(name))]) for name in case[f"{prefix}var_names"]]


LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var"}


def _torch_name(variable):
    layer, leaf = variable.path.split("/")[-2:]
    return f"{layer}_{LEAVES.get(leaf, leaf)}"


def _flat(name):
    return name.replace(".", "_")


def _torch_layout(variable):
    array = np.array(variable)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


@pytest.fixture(scope="module", params=STEPS)
def steps(request, case):
    return case, request.param, Steps(case, request.param, "float64")


def test_losses(steps):
    """Not to the last digit: TensorFlow's LeakyReLU has a slope of float32(0.2) even in float64."""
    case, prefix, run = steps
    found = [[logs["d_loss"], logs["g_loss"], 100 * logs["content_loss"]] for logs in run.logs]
    np.testing.assert_allclose(found, case[f"{prefix}losses"][:, [0, 3, 5]], rtol=1e-8)


def test_gradients(steps):
    """The generator's have the critic's updated weights in them."""
    case, prefix, run = steps
    trained = ~case[f"{prefix}var_moving"] & ~case[f"{prefix}var_dead"]
    for gradients, expected in zip(run.gradients, case[f"{prefix}grad_l2"]):
        found = norms(run.in_order(case, prefix, lambda v, of=gradients: of.get(v.path, 0.0)))
        np.testing.assert_allclose(found[trained], expected[trained], rtol=1e-6)


def test_steps_move_every_variable_as_the_original(steps):
    """Weights, and with batch norm the statistics: the critic saw the fake, the target and the fake again."""
    case, prefix, run = steps
    alive = ~case[f"{prefix}var_dead"]
    for number, arrays in enumerate(run.arrays):
        np.testing.assert_allclose(norms(arrays)[alive], case[f"{prefix}var_l2"][number][alive], rtol=3e-8)
        found = np.array([samples(a, i) for a, i in zip(arrays, case[f"{prefix}sample_idx"])])
        np.testing.assert_allclose(found[alive], case[f"{prefix}var_samples"][number][alive], atol=1e-8)


@pytest.mark.parametrize("prefix", STEPS)
def test_steps_in_float32(case, prefix):
    """As users run it. The weights to 1e-4: one activation on the other side of a ReLU moves a filter's gradient by 1 %."""
    run = Steps(case, prefix, "float32")
    first, expected = run.logs[0], case[f"{prefix}losses"][0]
    np.testing.assert_allclose([first["d_loss"], first["g_loss"]], expected[[0, 3]], rtol=1e-6)
    alive = ~case[f"{prefix}var_dead"]
    np.testing.assert_allclose(norms(run.arrays[-1])[alive], case[f"{prefix}var_l2"][-1][alive], rtol=1e-4)
