"""The U-Net GAN equals its originals: forward passes, running statistics, and one optimiser step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecon.models.unet_gan import discriminator_model, generator_model
from tfrecon.training import TorchAdagrad, TorchAdam, UNetGAN
from tfrecon.weights import load_weights

# Ten times the spread GOLDEN.md measured between two implementations.
EVAL, TRAIN, SCORE = 5.5e-6, 2.9e-4, 9e-7
LOSSES = {"KLDivLoss": "kldiv", "BCELoss": "bce", "MSELoss": "mse"}
OPTIMIZERS = {"AdamW": lambda: TorchAdam(2e-4, weight_decay=0.01), "Adam": lambda: TorchAdam(2e-4),
              "Adagrad": lambda: TorchAdagrad(2e-4)}
LEAVES = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta"), "running_mean": ("moving_mean",),
          "running_var": ("moving_variance",)}


def variable(model, torch_name):
    """The Keras variable behind a state-dict name, in PyTorch's layout."""
    prefix, leaf = torch_name.rsplit(".", 1)
    layer = model.get_layer(prefix.replace(".", "_"))
    found = next(getattr(layer, n) for n in LEAVES[leaf] if getattr(layer, n, None) is not None)
    return to_torch(np.asarray(found))


def to_torch(array):
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


@pytest.fixture(scope="module")
def generator():
    return generator_model((None, None, 1))


@pytest.mark.parametrize("i", [0, 1])  # 1 has odd sizes: the pad on the way up is exercised
def test_generator_forward(golden, generator, i):
    case = golden("ganno_unet")
    assert load_weights(generator, case.weights()).loaded == 110
    np.testing.assert_allclose(generator(case.image(f"x{i}"), training=False), case.image(f"y{i}_eval"), atol=EVAL)
    np.testing.assert_allclose(generator(case.image(f"x{i}"), training=True), case.image(f"y{i}_train"), atol=TRAIN)


def test_running_statistics_after_one_training_pass(golden, generator):
    case = golden("ganno_unet")
    load_weights(generator, case.weights())
    generator(case.image("x0"), training=True)
    stored = [key for key in case.arrays.files if key.startswith("after_")]
    assert len(stored) == 12
    for key in stored:
        np.testing.assert_allclose(variable(generator, key[len("after_"):]), case[key], atol=5e-6, err_msg=key)


def test_parameter_counts():
    trainable = lambda m: sum(v.numpy().size for v in m.trainable_variables)  # noqa: E731
    assert trainable(generator_model((None, None, 1))) == 13_394_242
    assert trainable(generator_model((None, None, 1), revision="2024")) == 17_261_890
    assert trainable(generator_model((None, None, 1), bilinear=False, revision="2024")) == 31_036_546
    assert trainable(discriminator_model((None, None, 1))) == 42_240


@pytest.mark.parametrize("kind", ["bilinear", "transposed"])
def test_2024_revision(golden, kind):
    case = golden("milesial_unet_head")
    model = generator_model((None, None, 1), bilinear=kind == "bilinear", revision="2024")
    load_weights(model, case.weights(f"{kind}_"))
    output = model(case.image(f"{kind}_x"), training=False)
    np.testing.assert_allclose(output, case.image(f"{kind}_y_eval"), atol=EVAL)


@pytest.mark.parametrize("i", [0, 1])
def test_discriminator_forward(golden, i):
    case = golden("ganno_discriminator")
    model = discriminator_model((None, None, 1))
    load_weights(model, case.weights())
    np.testing.assert_allclose(model(case.image(f"x{i}")), case[f"y{i}"].reshape(-1, 1), atol=SCORE)
    before = keras.Model(model.input, model.get_layer("l6_0").output)(case.image(f"x{i}"))
    # The sigmoid's slope is at most 1/4, so a spread of the scores is four times as large on the logits.
    np.testing.assert_allclose(before, case.image(f"map{i}_before_maxpool"), atol=4 * SCORE)


class Step:
    """One training step of a golden variant, its gradients recorded on the way into the optimizers.

    In float64 the arithmetic is exact next to the original's float32: what is left is the original's own rounding. In
    float32 a single activation that rounds to the other side of a ReLU or a tied maximum moves a whole filter's
    gradient by a percent, here as there.
    """

    def __init__(self, case, number, floatx="float64", jit_compile=False):
        loss, optimizer = case.meta["variants"][number]
        self.results = case.meta["results"][f"v{number}_{loss}_{optimizer}"]
        former = keras.config.floatx()
        set_precision(floatx)
        try:
            self._build(case, LOSSES[loss], OPTIMIZERS[optimizer], jit_compile)
            self.image, self.target = case.image("x").astype(floatx), case["real"][None, ..., None].astype(floatx)
            self.logs = self.trainer.train_on_batch(self.image, self.target, return_dict=True)
        finally:
            set_precision(former)

    def _build(self, case, loss, optimizer, jit_compile):
        self.generator, self.discriminator = generator_model((None, None, 1)), discriminator_model((None, None, 1))
        load_weights(self.generator, case.weights("gen_"))
        load_weights(self.discriminator, case.weights("disc_"))
        self.trainer = UNetGAN(self.generator, self.discriminator, loss=loss)
        self.optimizers = {"g": recording(optimizer()), "d": recording(optimizer())}
        self.trainer.compile(*self.optimizers.values(), run_eagerly=not jit_compile, jit_compile=jit_compile)

    def gradient(self, which, torch_name):
        model = self.generator if which == "g" else self.discriminator
        prefix, leaf = torch_name.rsplit(".", 1)
        layer = model.get_layer(prefix.replace(".", "_"))
        found = next(getattr(layer, n) for n in LEAVES[leaf] if getattr(layer, n, None) is not None)
        return to_torch(np.asarray(self.optimizers[which].seen[found.path]))


def set_precision(floatx):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)  # kept apart from floatx once it has been asked for


def recording(optimizer):
    """The optimizer, keeping the gradients of its last step by variable path."""
    optimizer.seen = {}
    apply = optimizer.apply

    def keep(gradients, variables=None):
        optimizer.seen.update({v.path: g for v, g in zip(variables, gradients)})
        apply(gradients, variables)

    optimizer.apply = keep
    return optimizer


def head(array, like):
    """The first values of a flattened tensor, as the case stores the large ones."""
    return array.reshape(-1)[: like.size].reshape(like.shape)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_training_step(golden, number):
    """Losses, every stored gradient and every stored updated weight of one step through the same fake."""
    case = golden("ganno_step")
    step = Step(case, number)
    assert step.logs["d_loss"] == pytest.approx(step.results["d_error"], rel=1e-5)
    assert step.logs["g_loss"] == pytest.approx(step.results["g_error"], rel=1e-5)
    stored = [k for k in case.arrays.files if k.startswith((f"v{number}_d", f"v{number}_g"))]
    assert len(stored) == 22
    for key in stored:
        kind, name = key[len(f"v{number}_"):].split("_", 1)
        which, expected = kind[0], case[key]
        if kind.endswith("grad"):
            got = head(step.gradient(which, name), expected)
            limit = 1e-3 if name.startswith("inc.") else 1e-4  # GOLDEN.md allows the first layer 3e-2
            assert np.linalg.norm(got - expected) <= limit * np.linalg.norm(expected), key
        else:
            model = step.generator if which == "g" else step.discriminator
            check_updated(case, step, number, which, name, head(variable(model, name), expected), expected)
    # Through all layers a step of lr in the other direction is amplified some ten times, as rounding is (TRAIN).
    after = np.asarray(step.trainer(step.image, training=True))[0, ..., 0]
    np.testing.assert_allclose(after, case[f"v{number}_fake_after"], atol=10 * 4e-4)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_discriminator_step_in_float32(golden, number):
    """Fed with the original's own fake, the step that trains users' networks gives the original's discriminator."""
    case = golden("ganno_step")
    loss, optimizer = case.meta["variants"][number]
    discriminator = discriminator_model((None, None, 1))
    load_weights(discriminator, case.weights("disc_"))
    trainer = UNetGAN(generator_model((None, None, 1), width=1), discriminator, loss=LOSSES[loss])
    trainer.compile(OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]())
    real, fake = (tf.constant(case[key][None, ..., None]) for key in ("real", "fake_before"))
    error = trainer._discriminator_step(real, fake)
    assert float(error) == pytest.approx(
        case.meta["results"][f"v{number}_{loss}_{optimizer}"]["d_error"], rel=1e-6)
    for key in [k for k in case.arrays.files if k.startswith(f"v{number}_dafter_")]:
        name = key.split("_", 2)[2]
        gradient = case[key.replace("dafter", "dgrad")]
        sure = np.abs(gradient) > 1e-6  # below, float32 does not know the sign the first step goes by
        np.testing.assert_allclose(head(variable(discriminator, name), case[key])[sure], case[key][sure], atol=1e-5)


def check_updated(case, step, number, which, name, got, expected):
    """Updated weights agree to 1e-5. The first step of these optimisers is +-lr by the gradient's sign, so an entry
    whose gradient is smaller than its own error may have gone the other way, by 2 * lr."""
    gradient = case[f"v{number}_{which}grad_{name}"]
    noise = np.abs(head(step.gradient(which, name), expected) - gradient).max()
    sure = np.abs(gradient) > noise
    assert (~sure).sum() <= (0.05 * sure.size if name == "inc.double_conv.0.weight" else max(1, 0.01 * sure.size)), name
    np.testing.assert_allclose(got[sure], expected[sure], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(got, expected, atol=4.01e-4, err_msg=name)


def test_kldiv_gives_the_discriminator_nothing_from_fakes(golden):
    case = golden("ganno_step")
    results = case.meta["results"]["v0_KLDivLoss_AdamW"]
    assert set(results["grad_norm_D_from_fake_only"].values()) == {0.0}
    step = Step(case, 0)
    for name, norm in results["grad_norm_D"].items():
        assert np.linalg.norm(step.gradient("d", name)) == pytest.approx(norm, rel=1e-4)


def test_running_statistics_after_the_step(golden):
    case = golden("ganno_step")
    step = Step(case, 0, "float32")
    for key in [k for k in case.arrays.files if k.startswith("bn_after_")]:
        np.testing.assert_allclose(variable(step.generator, key[len("bn_after_"):]), case[key], atol=1e-5, err_msg=key)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("number, jit_compile", [
    (0, False), (1, False), (2, False), *(pytest.param(number, True, marks=SLOW) for number in range(3)),
])
def test_float32_step_eager_and_compiled(golden, number, jit_compile):
    """The step as users run it, with and without XLA: losses, and the generator's last layers, which no flip reaches."""
    case = golden("ganno_step")
    step = Step(case, number, "float32", jit_compile)
    assert step.logs["d_loss"] == pytest.approx(step.results["d_error"], rel=1e-5)
    assert step.logs["g_loss"] == pytest.approx(step.results["g_error"], rel=3e-5)
    for name in ("outc.conv.weight", "outc.conv.bias", "up4.conv.double_conv.4.weight"):
        np.testing.assert_allclose(variable(step.generator, name), case[f"v{number}_gafter_{name}"], atol=1e-5, err_msg=name)
