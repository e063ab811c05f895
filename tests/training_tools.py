"""What the golden training tests share: precision, arrays in original order, figures per variable, recorded gradients."""

from contextlib import contextmanager

import keras
import numpy as np

from tfrecon.losses import PerceptualLoss


@contextmanager
def precision(floatx):
    """Everything built inside computes in that type; Keras keeps the policy apart from floatx once it was asked for."""
    former = keras.config.floatx()
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    try:
        yield
    finally:
        keras.config.set_floatx(former)
        keras.config.set_dtype_policy(former)


def arrays_of(model):
    """The model's arrays in order, the states of random generators aside."""
    return [v for v in model.weights if "seed" not in v.path]


def assign_in_order(model, weights):
    """Recipe weights of a Keras original: the order of the arrays is the model's own."""
    variables = arrays_of(model)
    assert [tuple(v.shape) for v in variables] == [w.shape for w in weights.values()]
    for variable, array in zip(variables, weights.values()):
        variable.assign(array)


def recording(optimizer):
    """The optimizer, keeping the gradients of every step: a list of {variable path: gradient}."""
    optimizer.seen = []
    apply = optimizer.apply

    def keep(gradients, variables=None):
        optimizer.seen.append({v.path: np.asarray(g) for v, g in zip(variables, gradients)})
        apply(gradients, variables)

    optimizer.apply = keep
    return optimizer


def to_torch(array):
    """A Keras kernel in PyTorch's layout (transposed convolutions included)."""
    array = np.asarray(array)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def vgg_loss(case, backbone, **options):
    """A perceptual loss over the recipe's random VGG, in the present precision."""
    loss = PerceptualLoss(backbone, "block3_conv3", weights=None, **options)
    weights = [w.transpose(2, 3, 1, 0) if backbone == "vgg19" and w.ndim == 4 else w for w in case.weights("vgg_").values()]
    loss.features.set_weights(weights)
    return loss


def norms(arrays):
    return np.array([np.linalg.norm(np.asarray(a, np.float64)) for a in arrays])


def samples(array, index):
    """Entries at flat positions, -1 meaning none; the case stores 0 there."""
    flat = np.asarray(array).reshape(-1)
    return np.where(index >= 0, flat[np.maximum(index, 0)], 0.0)
