"""Networks as other programs run them: the units inside equal those of `tfrecon reconstruct`, names, sizes, refused numbers."""

import numpy as np
import pytest
import tensorflow as tf
from tiny import image_to_image

from tfrecon.data.ct.window import parse_window
from tfrecon.data.superres import choose_scale
from tfrecon.errors import UsageError
from tfrecon.models.served import Served, ServedFlow
from tfrecon.models.spline_flow import spline_flow_model
from tfrecon.reconstruction.images import ImageSettings, _through
from tfrecon.reconstruction.volumes import Settings, _apply

RNG = np.random.default_rng(0)


def network(channels=3, **options):
    return image_to_image((None, None, channels), **options)


@pytest.mark.parametrize("units, scaling", [("magnitude", "zero_filled_max"), ("symmetric", "symmetric")])
def test_magnitudes_as_reconstruct_has_them(units, scaling):
    net, images = network(), RNG.uniform(0, 5e-4, (2, 11, 14)).astype("float32")
    scale = images.max((1, 2))[:, None, None]
    expected = scale * _apply(net, images / scale, Settings(scaling=scaling, channels=3, multiple=4))
    found = Served(net, units=units, multiple=4)(images)["reconstruction"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_a_window_as_reconstruct_has_it():
    net, values = network(), RNG.uniform(-1000, 2000, (2, 10, 13)).astype("float32")
    window = parse_window("brain")
    windowed = window.to_network(values)
    expected = window.write_back(values, windowed, _through(net, windowed, ImageSettings(channels=3, multiple=4)))
    found = Served(net, units="window", window=(40, 80), multiple=4)(values)["reconstruction"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_grey_levels_as_reconstruct_has_them():
    net, images = network(enlarge=4), RNG.uniform(0, 9e-4, (2, 8, 9)).astype("float32")
    scales = [choose_scale("volume", image, lambda image=image: float(image.max())) for image in images]
    seen = np.stack([scale.to_network(image) for scale, image in zip(scales, images)])
    answers = np.asarray(net(np.repeat(seen[..., None], 3, -1))).mean(-1)
    expected = np.stack([scale.from_network(answer) for scale, answer in zip(scales, answers)])
    found = Served(net, units="grey255", factor=4)(images)["reconstruction"]
    assert found.shape == (2, 32, 36)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("units", ["magnitude", "symmetric", "grey255"])
def test_an_empty_image_stays_empty_beside_others(units):
    images = np.stack([np.zeros((8, 8)), RNG.uniform(1, 2, (8, 8))]).astype("float32")
    found = Served(network(), units=units)(images)["reconstruction"].numpy()
    assert np.all(found[0] == 0) and np.all(np.isfinite(found[1])) and found[1].any()


def test_saved_with_names_any_size_and_numbers_checked(tmp_path):
    served = Served(network(2), finish=lambda answer: tf.norm(answer, axis=-1, keepdims=True), multiple=4)
    served.export(tmp_path / "out", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    serve = loaded.signatures["serving_default"]
    for shape in ((1, 8, 12, 2), (3, 13, 9, 2)):
        image = RNG.normal(size=shape).astype("float32")
        found = serve(image=tf.constant(image))["reconstruction"]
        np.testing.assert_allclose(found, served(image)["reconstruction"], atol=1e-5)
    image[0, 0, 0, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="would look like a picture"):
        serve(image=tf.constant(image))


def test_the_picture_does_not_depend_on_its_neighbours():
    served, images = Served(network(), units="symmetric", multiple=4), RNG.uniform(0, 3, (3, 9, 10)).astype("float32")
    images[1] *= 100
    together = served(images)["reconstruction"]
    for i in range(3):
        np.testing.assert_allclose(together[i], served(images[i : i + 1])["reconstruction"][0], rtol=1e-4, atol=1e-4)


def test_a_flow_makes_pictures_of_latents(tmp_path):
    flow = spline_flow_model((8, 8, 1), 1, 1, 8, 4)
    latents = RNG.normal(size=(3, 64)).astype("float32")
    ServedFlow(flow).export(tmp_path / "out", verbose=False)
    serve = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    for part in (latents, latents[:1]):
        expected = np.asarray(flow.inverse(part)[0])[..., 0] / 2**flow.num_bits
        np.testing.assert_allclose(serve(latents=tf.constant(part))["reconstruction"], expected, atol=1e-4)


@pytest.mark.parametrize("options, message", [
    ({"units": "inches"}, "network, magnitude"), ({"units": "window"}, "A window"), ({"window": (40, 80)}, "A window"),
    ({"multiple": 0}, "multiple"),
])
def test_misuse(options, message):
    with pytest.raises(UsageError, match=message):
        Served(network(), **options)
