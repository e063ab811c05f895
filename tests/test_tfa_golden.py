"""Networks published with tensorflow-addons' layers compute the same here (recorded with tensorflow-addons 0.23)."""

import keras
import numpy as np
import pytest
from conftest import GOLDEN
from test_weights_legacy import instance_norm_generator

from tfrecon.layers import InstanceNormalization
from tfrecon.weights import load_weights


@pytest.fixture(scope="module")
def case():
    return np.load(GOLDEN / "tfa_layers.npz")


def difference(one, other):
    return float(np.abs(np.asarray(one) - other).max())


def built(layer, x, **arrays):
    layer.build(x.shape)
    for name, array in arrays.items():
        getattr(layer, name).assign(array)
    return layer


def test_published_generator(case):
    model = instance_norm_generator()
    assert load_weights(model, GOLDEN / "instance_norm_generator.h5").loaded == 9
    assert difference(model(case["x"]), case["y_generator"]) < 8e-6


@pytest.mark.parametrize("layer", [InstanceNormalization, lambda **k: keras.layers.GroupNormalization(groups=-1, **k)],
                         ids=["ours", "keras"])
def test_instance_normalization(case, layer):
    """Ours for gradient penalties and Keras' with groups=-1 stand for tensorflow-addons' layer."""
    x = case["x"]
    affine = built(layer(), x, gamma=case["gamma"], beta=case["beta"])
    assert difference(affine(x), case["y_instance_norm"]) < 1e-5
    plain = built(layer(epsilon=1e-5, center=False, scale=False), x)
    assert difference(plain(x), case["y_instance_norm_no_affine_eps1e5"]) < 1e-5
    assert difference(built(layer(center=False, scale=False), x)(x), case["y_instance_norm_no_affine_eps1e5"]) > 1e-4


def test_group_normalization(case):
    layer = built(keras.layers.GroupNormalization(groups=3), case["x"], gamma=case["gamma"], beta=case["beta"])
    assert difference(layer(case["x"]), case["y_group_norm_3"]) < 1e-5


def test_spectral_normalization(case):
    """Two training calls: outputs, the stored kernel and the vector of the power iteration."""
    x = case["x"]
    layer = keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3, padding="same"))
    layer.build(x.shape)
    layer.layer.kernel.assign(case["sn_kernel"])
    layer.layer.bias.assign(case["sn_bias"])
    layer.vector_u.assign(case["sn_u0"])
    assert difference(layer(x, training=False), case["y_sn_inference"]) < 1e-5
    assert difference(layer(x, training=True), case["y_sn_train1"]) < 1e-5
    assert difference(layer.layer.kernel, case["sn_kernel_after1"]) < 1e-6
    assert difference(layer.vector_u, case["sn_u_after1"]) < 1e-6
    assert difference(layer(x, training=True), case["y_sn_train2"]) < 1e-5
