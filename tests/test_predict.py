"""`predict` of the training classes: what Keras would mistake is refused in a sentence, and nothing in gives nothing out."""

import numpy as np
import pytest

from tfrecon import create
from tfrecon.errors import UsageError

SMALL = {
    "unet_gan": {"preset": "small", "width": 2},
    "deblurgan_mri": {"preset": "small", "ngf": 2, "ndf": 2, "n_blocks": 1, "image_shape": (64, 64, 3)},
    "ct_deblur": {"preset": "small", "ngf": 2, "ndf": 2, "n_blocks": 1, "image_shape": (64, 64, 1)},
    "modl": {"preset": "published", "denoiser": "resnet", "latent_channels": 2, "num_blocks": 1, "num_unrolls": 1},
}


@pytest.fixture(scope="module")
def models():
    return {name: create(name, **{"vgg_weights": None, **options} if "gan" in name and name != "unet_gan" else options)
            for name, options in SMALL.items()}


@pytest.mark.parametrize("name", ["unet_gan", "deblurgan_mri", "ct_deblur"])
def test_rows_69_to_71_images(models, name):
    model = models[name]
    channels = model.generator.input_shape[-1]
    assert model.predict(np.zeros((0, 32, 32, channels), "f4"), verbose=0).shape == (0, 32, 32, channels)
    for shape, words in (((32, 32), "Add the missing axes"), ((32, 32, channels), "Add the missing axes"),
                         ((1, 32, 32, channels + 1), f"build the model for {channels + 1}")):
        with pytest.raises(ValueError, match=f"(?i){words}"):
            model.predict(np.zeros(shape, "f4"))
    with pytest.raises(TypeError, match="real images"):
        model.predict(np.zeros((1, 32, 32, channels), complex))


def test_row_69_only_a_grey_image_can_be_repeated(models):
    with pytest.raises(ValueError, match=r"Repeat a grey image with np.repeat\(x, 3, -1\)"):
        models["deblurgan_mri"].predict(np.zeros((1, 32, 32, 1), "f4"))
    with pytest.raises(ValueError, match="1 channel, received") as refused:
        models["unet_gan"].predict(np.zeros((1, 32, 32, 3), "f4"))
    assert "repeat" not in str(refused.value).lower()


@pytest.mark.parametrize("name", ["deblurgan_mri", "ct_deblur"])
def test_row_73_sizes_a_network_does_not_take(models, name):
    images = np.zeros((1, 37, 41, models[name].generator.input_shape[-1]), "f4")
    with pytest.raises(ValueError, match=r"37 x 41: pad them to multiples of 4 \(40 x 44\)"):
        models[name].predict(images, verbose=0)
    assert models[name].predict(np.pad(images, [(0, 0), (0, 3), (0, 3), (0, 0)]), verbose=0).shape[1:3] == (40, 44)


def measurement(n=2, coils=3):
    return {"kspace": np.ones((n, coils, 8, 6), np.complex64), "sens_maps": np.ones((n, coils, 8, 6), np.complex64),
            "mask": np.ones((n, 8, 6), np.float32)}


def test_rows_70_and_71_measurements(models):
    model = models["modl"]
    assert model.predict(measurement(), verbose=0).shape == (2, 8, 6)
    assert model.predict(measurement(0), verbose=0).shape == (0, 8, 6)
    without_axis = {name: value[0] for name, value in measurement().items()}
    for wrong in (without_axis, {"kspace": measurement()["kspace"]}, {}, np.zeros((1, 8, 6, 2), "f4"),
                  np.zeros((8, 6, 2), "f4"), np.zeros((1, 8, 6), complex), [1.0]):
        with pytest.raises(ValueError, match="dictionary of kspace and sens_maps"):
            model.predict(wrong)


@pytest.mark.parametrize("rate", [float("nan"), -1.0, float("inf")])
def test_learning_rates_no_training_survives_are_refused(rate):
    with pytest.raises(UsageError, match="learning rate"):
        create("unet_gan", width=2, learning_rate=rate)
