"""The denoisers and the unrolled reconstructions equal their originals: outputs, losses, every gradient, CG counts."""

import numpy as np
import pytest
import tensorflow as tf

from tfrecon.models import unrolled
from tfrecon.transforms import channels_to_complex, complex_to_channels
from tfrecon.weights import load_weights


def channels(x):
    return np.asarray(complex_to_channels(x))


def gradients(model, function):
    """Norm of every trainable variable's gradient by PyTorch's leaf order of the case's names."""
    with tf.GradientTape() as tape:
        value = function()
    found = tape.gradient(value, model.trainable_variables)
    return {v.path: float(tf.norm(g)) for v, g in zip(model.trainable_variables, found)}


def by_torch_name(model, norms, names):
    """The norms in the case's order: layers are named after the state dict."""
    leaves = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta"), "l2lam": ("l2lam",)}
    result = []
    for name in names:
        prefix, _, leaf = name.rpartition(".")
        layer = prefix.removeprefix("denoiser.").replace(".", "_") or "consistency"
        result.append(next(norms[p] for p in norms if p.split("/")[-2] == layer and p.split("/")[-1] in leaves[leaf]))
    return result


DENOISERS = {
    "resnet": lambda m: unrolled.resnet_denoiser(m["latent_channels"], m["num_blocks"]),
    "resnet_bn_soft": lambda m: unrolled.resnet_denoiser(m["latent_channels"], m["num_blocks"], m["kernel_size"], True,
                                                         m["l1lam"]),
    "resnet5block": lambda m: unrolled.resnet5block_denoiser(m["num_filters"], m["filter_size"]),
    "unet": lambda m: unrolled.unet_denoiser(),
}


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers(flow, name):
    case = flow(name)
    model = DENOISERS[name](case.meta)
    weights = case.weights()
    report = load_weights(model, weights)
    assert report.loaded == len([n for n in weights if "num_batches" not in n])
    x = case["in_x"] if case["in_x"].shape[-1] == 2 else channels(case["in_x"])
    expected = case["out_y"] if case["out_y"].shape[-1] == 2 else channels(case["out_y"])
    np.testing.assert_allclose(model(x), expected, atol=1e-5 * np.abs(expected).max())
    if "out_grad_norms" in case.arrays:
        norms = gradients(model, lambda: tf.reduce_sum(model(x) ** 2))
        np.testing.assert_allclose(by_torch_name(model, norms, case.meta["grad_names"]), case["out_grad_norms"], rtol=1e-4)


def test_resnet_batch_statistics(flow):
    case = flow("resnet_bn_soft")
    model = DENOISERS["resnet_bn_soft"](case.meta)
    load_weights(model, case.weights())
    expected = channels(case["out_y_train_mode"])
    np.testing.assert_allclose(model(channels(case["in_x"]), training=True), expected, atol=1e-5 * np.abs(expected).max())
    norm = model.get_layer("ResNetBlocks_0_bn1")
    np.testing.assert_allclose(norm.moving_mean, case["out_running_mean_after"], atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, case["out_running_var_after"], atol=1e-6)


def test_parameter_counts():
    assert [unrolled.resnet_denoiser(num_blocks=n).count_params() for n in (3, 4, 10)] == [815_616, 1_217_024, 3_625_472]
    assert unrolled.unet_denoiser().count_params() == unrolled.unet_denoiser(residual=True).count_params() == 1_796_323
    assert max(layer.filters for layer in unrolled.unet_denoiser(depth=3).layers if hasattr(layer, "filters")) == 128


def test_a_residual_unet_adds_its_input():
    plain, residual = unrolled.unet_denoiser(2, 4), unrolled.unet_denoiser(2, 4, residual=True)
    residual.set_weights(plain.get_weights())
    image = np.random.default_rng(0).normal(size=(1, 6, 8, 2)).astype("float32")
    np.testing.assert_allclose(residual(image), plain(image) + image, atol=1e-6)


def built(case):
    """The case's reconstruction with its weights, and its inputs and images."""
    h, kind = case.meta["hparams"], case.meta.get("kind", "dbp")
    settings = {"l2lam": h["l2lam_init"], "cg_max_iter": h["cg_max_iter"], "cg_eps": h["cg_eps"], "centered": False}
    if h["network"] == "UNet":
        denoiser = unrolled.unet_denoiser()
    else:
        denoiser = unrolled.resnet_denoiser(h["latent_channels"], h["num_blocks"])
    if kind == "cgsense":
        model = unrolled.CGSense(**settings)
    elif kind == "modl":
        model = unrolled.MoDL(denoiser, h["num_unrolls"], **settings)
    else:
        model = unrolled.DeepBasisPursuit(denoiser, h["num_unrolls"], h["num_admm"], h["stdev"], **settings)
    load_weights(model, case.weights())
    arrays = {k: case[f"in_{k}"] for k in ("imgs", "out", "maps", "masks")}
    arrays = {k: np.asarray(channels_to_complex(v)) if v.shape[-1] == 2 and k != "masks" else v for k, v in arrays.items()}
    return model, {"kspace": arrays["out"], "sens_maps": arrays["maps"], "mask": arrays["masks"]}, arrays["imgs"]


def complexes(x):
    return np.asarray(channels_to_complex(x)) if x.shape[-1] == 2 else x


@pytest.mark.parametrize("name, form", [
    *((name, False) for name in ("cgsense", "modl", "dbp", "dbp_noiseless", "dbp_unet_fork")), ("modl", True), ("dbp", True)])
def test_reconstructions(flow, name, form):
    case = flow(name)
    model, inputs, images = built(case)
    model.consistency.unrolled = form
    x, counts = model.reconstruct(inputs)
    expected = complexes(case["out_x_hat"])
    np.testing.assert_allclose(x, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(np.array(counts, float).ravel(), case["out_num_cg"].astype(float).ravel())
    operator = model.operator(inputs)
    np.testing.assert_allclose(operator.adjoint(inputs["kspace"]), complexes(case["out_x_adj"]), atol=1e-5)
    if "out_eps" in case.arrays:
        np.testing.assert_allclose(model.epsilon(inputs) * np.ones(2), case["out_eps"], rtol=1e-6)
    # The fork sums over the batch where DeepInPy takes the mean.
    batch = 1 if name.endswith("fork") else len(images)
    losses = {"sup": lambda x: x - images, "selfsup": lambda x: operator.forward(x) - inputs["kspace"]}
    for kind, difference in losses.items():
        def loss(difference=difference):
            return tf.reduce_sum(tf.abs(difference(model(inputs))) ** 2) / batch

        np.testing.assert_allclose(loss(), case[f"out_loss_{kind}"], rtol=1e-4)
        norms = by_torch_name(model, gradients(model, loss), case.meta.get("grad_names") or list(case.weights()))
        np.testing.assert_allclose(norms, case[f"out_grad_norms_{kind}"], rtol=1e-3,
                                   atol=1e-4 * float(np.max(case[f"out_grad_norms_{kind}"])))


def test_resnet_reconstruction_is_the_denoised_zero_filled_image(flow):
    case = flow("resnet_recon")
    h = case.meta["hparams"]
    denoiser = unrolled.resnet_denoiser(h["latent_channels"], h["num_blocks"])
    load_weights(denoiser, {n.removeprefix("network."): a for n, a in case.weights().items()})
    x = channels_to_complex(denoiser(complex_to_channels(case["out_x_adj"])))
    np.testing.assert_allclose(x, case["out_x_hat"], atol=1e-5)


def test_the_forks_epsilon(flow):
    case = flow("dbp_unet_fork")
    model = unrolled.DeepBasisPursuit(unrolled.resnet_denoiser(4, 1), stdev=1.0, epsilon_rule="batch", centered=False)
    inputs = {"kspace": tf.zeros((2, 3, 16, 24), tf.complex64), "mask": case["in_masks"]}
    np.testing.assert_allclose(model.epsilon(inputs), case["out_eps_rule_fork"], rtol=1e-6)


def test_scores_of_the_notebook(flow):
    """PSNR with range 1 by scikit-image and the complex NRMSE."""
    from tfrecon.metrics import psnr
    from tfrecon.training.unrolled_recon import nrmse

    case = flow("metrics")
    a, b = case["in_a"], case["in_b"]
    np.testing.assert_allclose([psnr(x[None], y[None], 1.0) for x, y in zip(a, b)], case["out_psnr_each"], rtol=1e-6)
    assert psnr(a, b, 1.0) == pytest.approx(float(case["out_psnr_batch"]), rel=1e-6)
    np.testing.assert_allclose(np.mean(nrmse(case["in_za"], tf.constant(case["in_zb"]))), case["out_nrmse_complex"], rtol=1e-5)
