"""The spline, the flow's layers and whole flows equal bayesiains/nsf: values, log-determinants, gradients, latent order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import precision

from tfrecon.errors import WeightsError
from tfrecon.layers import ActNorm, Conv1x1LU, RationalQuadraticCoupling, Squeeze
from tfrecon.layers.rational_quadratic import rational_quadratic_spline, unconstrained_spline
from tfrecon.models.conditioners import convnet_conditioner, residual_conditioner
from tfrecon.models.spline_flow import bits_per_dimension, spline_flow_model
from tfrecon.weights import load_weights


def nhwc(x):
    return np.moveaxis(x, 1, -1)


def close(actual, case, key, factor=5):
    """Within a few times the original's own float32 noise, or 1e-5 of the scale, of its float64 result where there is one."""
    name = key.removeprefix("out_")
    noise, scale = case.meta["f32_vs_f64_maxabs_and_scale"][name]
    expected = case[f"out64_{name}"] if f"out64_{name}" in case.arrays else case[key]
    np.testing.assert_allclose(np.asarray(actual).reshape(expected.shape), expected, rtol=0,
                               atol=max(factor * noise, 1e-5 * scale))


@pytest.mark.parametrize("jit", [False, True])
def test_spline_on_a_box(flow, jit):
    case = flow("rqs_box")
    shape = (case["in_widths"], case["in_heights"], case["in_derivs"])
    function = tf.function(rational_quadratic_spline, jit_compile=jit)
    y, log = function(case["in_x"], *shape)
    close(y, case, "out_fwd")
    close(log, case, "out_fwd_logabsdet")
    x, log = function(case["in_y"], *shape, inverse=True)
    close(x, case, "out_inv")
    close(log, case, "out_inv_logabsdet")
    close(function(y, *shape, inverse=True)[0], case, "out_roundtrip")


@pytest.mark.parametrize("inverse, key", [(False, "fwd"), (True, "inv")])
def test_spline_with_linear_tails(flow, inverse, key):
    case = flow("rqs_linear_tails")
    x, *shape = (case[f"in_{name}"] for name in ("x", "widths", "heights", "derivs"))
    y, log = unconstrained_spline(x, *shape, inverse=inverse, tail_bound=case.meta["tail_bound"])
    close(y, case, f"out_{key}")
    close(log, case, f"out_{key}_logabsdet")


def test_squeeze(flow):
    case, layer = flow("squeeze"), Squeeze()
    y, _ = layer(nhwc(case["in_x"]))
    np.testing.assert_array_equal(y, nhwc(case["out_y"]))
    np.testing.assert_array_equal(layer(y, inverse=True)[0], nhwc(case["out_back"]))


def test_actnorm_and_its_start(flow):
    case, layer, x = flow("actnorm"), ActNorm(name="norm"), nhwc(flow("actnorm")["in_x"])
    layer.build(x.shape)
    weights = case.weights()
    layer.log_scale.assign(weights["log_scale"])
    layer.shift.assign(weights["shift"])
    layer.initialized.assign(1)
    y, log = layer(x, training=True)  # started already: nothing changes
    close(y, Moved(case), "out_y")
    close(log, case, "out_logabsdet")
    back, log = layer(x, inverse=True)
    close(back, Moved(case), "out_inv")
    close(log, case, "out_inv_logabsdet")
    fresh = ActNorm()
    y, log = fresh(x, training=True)
    close(fresh.log_scale, case, "out_init_log_scale")
    close(fresh.shift, case, "out_init_shift")
    close(y, Moved(case), "out_init_y")
    close(log, case, "out_init_logabsdet")
    assert float(fresh.initialized) == 1


class Moved:
    """A case whose four-dimensional results are wanted channels last."""

    def __init__(self, case):
        self.case, self.meta, self.arrays = case, case.meta, case.arrays

    def __getitem__(self, key):
        return nhwc(self.case[key]) if self.case[key].ndim == 4 else self.case[key]


def test_lu_convolution(flow):
    case, layer, x = flow("conv1x1_lu"), Conv1x1LU(), nhwc(flow("conv1x1_lu")["in_x"])
    layer.build(x.shape)
    weights = {name.rpartition(".")[2].lstrip("_"): array for name, array in case.weights().items()}
    for variable in layer.weights:
        variable.assign(weights[variable.name])
    lower, upper, _ = layer.factors()
    close(lower, case, "out_lower")
    close(upper, case, "out_upper")
    for inverse, key in ((False, "y"), (True, "inv")):
        y, log = layer(x, inverse=inverse)
        close(y, Moved(case), f"out_{key}")
        close(log, case, {"y": "out_logabsdet", "inv": "out_inv_logabsdet"}[key])


@pytest.mark.parametrize("name, build, options", [
    ("coupling_convnet", convnet_conditioner, {}), ("coupling_resnet", residual_conditioner, {"num_blocks": 2}),
])
def test_coupling(flow, name, build, options):
    case = flow(name)
    meta, x = case.meta, nhwc(case["in_x"])
    half = x.shape[-1] // 2
    network = build(half, meta["hidden_channels"], half * (3 * meta["num_bins"] - 1), "transform_net", **options)
    weights = {k: v for k, v in case.weights().items() if "features" not in k}
    load_weights(network, weights)
    layer = RationalQuadraticCoupling(network, meta["num_bins"], meta["tail_bound"], meta["hidden_channels"])
    close(network(x[..., half:]), Moved(case), "out_net_output")
    for inverse, key in ((False, "y"), (True, "inv")):
        y, log = layer(x, inverse=inverse)
        close(y, Moved(case), f"out_{key}")
        close(log, case, {"y": "out_logabsdet", "inv": "out_inv_logabsdet"}[key])


def flow_of(meta):
    """The flow of a case's meta data, which name its settings in two ways."""
    own = meta.get("flow", meta)
    channels, height, width = meta["image_chw"]
    return spline_flow_model(
        (height, width, channels), own["levels"], own.get("steps", own.get("steps_per_level")),
        own.get("hidden", own.get("hidden_channels")), own.get("bins", own.get("num_bins")), own.get("B", own.get("tail_bound")),
        own.get("bits", own.get("num_bits")), own.get("multi_scale", True),
        "residual" if own.get("use_resnet") else "convnet", num_blocks=2,
    )


@pytest.mark.parametrize("name", ["flow_multiscale", "flow_flat_resnet"])
def test_whole_flow(flow, name):
    case = Moved(flow(name))
    model = flow_of(case.meta)
    weights = case.case.weights()
    report = load_weights(model, weights)
    assert report.loaded == report.total and len(report.rows) == len(model.weights)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == case.meta["n_params"]
    x = case["in_x"]
    z, log = model.forward(x)
    close(z, case, "out_z")
    close(log, case, "out_logabsdet")
    close(model.log_prob(x), case, "out_log_prob")
    close(bits_per_dimension(tf.reduce_mean(model.log_prob(x)), model.latent_size), case, "out_bits_per_dim_loss")
    close(model.prepared().forward(x)[0], case, "out_z")
    with precision("float64"):
        exact = flow_of(case.meta)
        load_weights(exact, weights)
    for net, factor in ((model, 5), (exact, 1)):
        for latents, image, key in ((case["out_z"], "rec", "rec_logabsdet"), (case["in_noise"], "sample", "sample_logabsdet")):
            for inverse in (net.inverse, net.prepared().inverse):
                result, log = inverse(latents)
                close(result, case, f"out_{image}", factor)
                close(log, case, f"out_{key}", factor)


@pytest.mark.parametrize("name", ["flow_multiscale", "flow_flat_resnet"])
def test_gradients_of_the_loss(flow, name):
    case = flow(name)
    with precision("float64"):
        model = flow_of(case.meta)
    load_weights(model, case.weights())
    with tf.GradientTape() as tape:
        loss = bits_per_dimension(tf.reduce_mean(model.log_prob(nhwc(case["in_x"]))), model.latent_size)
    found = {v.path: g for v, g in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables))}
    close([np.linalg.norm(g) for g in by_name(found, case.meta["grad_names"])], case, "out_grad_norms", 2)
    first = next(g for path, g in found.items() if path.endswith("level_0_step_1_actnorm/log_scale"))
    close(first, case, "out_grad_first_log_scale", 2)


def by_name(found, names):
    """Values by variable path in the order of the original's names."""
    from tfrecon.weights.nsf_names import translated

    leaves = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta")}
    result = []
    for name in names:
        prefix, _, leaf = translated(str(name)).rpartition(".")
        ends = [f"{prefix.replace('.', '_')}/{own}" for own in leaves.get(leaf, (leaf,))]
        result.append(next(value for path, value in found.items() if path.endswith(tuple(ends))))
    return result


@pytest.mark.parametrize("change, message", [
    (lambda w: w.pop(next(k for k in w if k.endswith("log_scale"))), "not in the source"),
    (lambda w: w.update({"_transform._transforms.0._scale": np.float32(1 / 32)}), "_scale: expected 0.0625"),
    (lambda w: w.update({next(k for k in w if k.endswith("_permutation")): np.array([0, 0, 1, 2])}), "once"),
    (lambda w: w.update({next(k for k in w if k.endswith("identity_features")): np.array([0, 1])}), "identity_features"),
    (lambda w: w.update({"more.weight": np.ones(3)}), "no place"),
])
def test_foreign_weights_fit_or_nothing_is_changed(flow, change, message):
    case = flow("flow_multiscale")
    model, weights = flow_of(case.meta), case.weights()
    before = [np.array(v) for v in model.weights]
    change(weights)
    with pytest.raises(WeightsError, match=message):
        load_weights(model, weights)
    for old, variable in zip(before, model.weights):
        np.testing.assert_array_equal(old, variable)


def test_seeds_flow_has_the_seeds_parameters():
    """74.5 million of them; built without allocating anything but the weights."""
    with keras.device("cpu"):
        model = spline_flow_model()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 74_544_440
    assert model.latent_size == 5120
