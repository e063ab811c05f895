"""Write weight files with TensorFlow 2.15, Keras 2.15 and tensorflow-addons 0.23, and what their networks compute.

    python make_files.py OUT GOLDEN [OURS]

runs in an environment of its own (requirements.txt beside this file, Python 3.9 to 3.11). GOLDEN is the folder with the
recorded cases: their inputs and weights are taken from it, their outputs computed anew. Each `<case>.npz` holds `x` and the
outputs `y0`, `y1`; the rewritten golden cases keep their names. OURS holds files that tfrecon wrote: they are loaded, and
`read_<name>.npz` has what the networks then compute.
"""

import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import deblurgan
import networks
import numpy as np
import tensorflow_addons as tfa
from tensorflow import keras


def write(out, name, model, seed, save):
    """Fill, save and run one network."""
    networks.fill(model, seed)
    save(model, out)
    x = networks.image(seed)
    outputs = model(x, training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    np.savez_compressed(out / f"{name}.npz", x=x, **{f"y{i}": y.numpy() for i, y in enumerate(outputs)})
    keras.backend.clear_session()


def as_weights(name):
    return lambda model, out: model.save_weights(str(out / name), True)


def nested(freeze):
    """Generator and critic in one; `freeze` gets both before they are saved."""
    model = networks.combined(keras, networks.generator(keras), networks.critic(keras))
    freeze(*[layer for layer in model.layers if isinstance(layer, keras.Model)])
    return model


def part_frozen(generator, critic):
    critic.trainable = False
    for layer in generator.layers[1:7]:  # the stem and the first block, normalisation included
        layer.trainable = False


def whole(model, out):
    """A whole model with its optimizer and a Lambda, whose code is in the file."""
    model.compile("adam", "mae")
    model.save(str(out / "whole_model.h5"))



def small_cases(out):
    write(out, "flat", networks.generator(keras), 1, as_weights("flat.h5"))
    write(out, "branches", networks.branches(keras), 2, as_weights("branches.h5"))
    write(out, "blocks", networks.blocks(keras), 3, as_weights("blocks.h5"))
    write(out, "nested", nested(lambda *_: None), 4, as_weights("nested.h5"))
    write(out, "nested_frozen", nested(lambda g, d: setattr(d, "trainable", False)), 5, as_weights("nested_frozen.h5"))
    write(out, "nested_part_frozen", nested(part_frozen), 6, as_weights("nested_part_frozen.h5"))
    named = networks.combined(keras, networks.generator(keras, "g_"), networks.critic(keras, "d_"))
    part_frozen(*[layer for layer in named.layers if isinstance(layer, keras.Model)])
    write(out, "nested_part_frozen_named", named, 7, as_weights("nested_part_frozen_named.h5"))
    write(out, "whole_model", networks.generator(keras), 8, whole)
    write(out, "keras2_weights", networks.generator(keras), 9, as_weights("keras2.weights.h5"))
    write(out, "keras2_archive", networks.critic(keras), 10, lambda model, out: model.save(str(out / "keras2.keras")))
    write(out, "checkpoint", nested(part_frozen), 11, as_weights("checkpoint/weights"))
    write(out, "saved_model", networks.critic(keras), 12, lambda model, out: model.save(str(out / "saved_model")))
    addons = networks.addons(keras, tfa.layers.InstanceNormalization, tfa.layers.SpectralNormalization)
    write(out, "addons", addons, 13, as_weights("addons.h5"))
    spectral = networks.addons(keras, tfa.layers.InstanceNormalization, keras.layers.SpectralNormalization)
    write(out, "spectral", spectral, 14, as_weights("spectral.h5"))


def golden_deblurgan(out, golden):
    """keras_*_n8.h5 and their outputs, from the recorded inputs and the recipe's weights."""
    spec = importlib.util.spec_from_file_location("recipe", golden / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    case = np.load(golden / "keras_h5_io.npz")
    generator, critic = deblurgan.generator((64, 64, 3), 8), deblurgan.critic((64, 64, 3), 8)
    set_all(generator, recipe.from_npz(case, "generator_"))
    set_all(critic, recipe.from_npz(case, "discriminator_"))
    generator.save_weights(str(out / "keras_generator_n8.h5"), True)
    critic.save_weights(str(out / "keras_discriminator_n8_same_session.h5"), True)  # its names count on
    x = case["x"]
    np.savez_compressed(out / "keras_h5_io.npz", y_generator=generator(x, training=False),
                        y_discriminator=critic(x, training=False))
    keras.backend.clear_session()
    alone = deblurgan.critic((64, 64, 3), 8)
    alone.set_weights(critic.get_weights())
    alone.save_weights(str(out / "keras_discriminator_n8.h5"), True)


def set_all(model, arrays):
    """Set weights layer by layer, as the recipe lists them."""
    values = iter(arrays.values())
    for layer in model.layers:
        layer.set_weights([next(values) for _ in layer.weights])


def golden_addons(out, golden):
    """instance_norm_generator.h5 and tfa_layers.npz, from the recorded inputs and weights."""
    case = np.load(golden / "tfa_layers.npz")
    x = case["x"]
    keras.backend.clear_session()
    model = addons_generator()
    model.load_weights(str(golden / "instance_norm_generator.h5"))
    model.save_weights(str(out / "instance_norm_generator.h5"), True)
    affine = [case["gamma"], case["beta"]]
    found = {
        "y_generator": model(x),
        "y_instance_norm": run(tfa.layers.InstanceNormalization(), x, affine),
        "y_instance_norm_no_affine_eps1e5": run(
            tfa.layers.InstanceNormalization(epsilon=1e-5, center=False, scale=False), x, []),
        "y_group_norm_3": run(tfa.layers.GroupNormalization(groups=3), x, affine),
    }
    np.savez_compressed(out / "tfa_layers.npz", **{k: np.asarray(v) for k, v in {**found, **spectral(case, x)}.items()})


def addons_generator():
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    y = layers.Conv2D(8, 5, padding="same")(inputs)
    y = layers.Activation("relu")(tfa.layers.InstanceNormalization()(y))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(y)
    y = layers.LeakyReLU(0.2)(tfa.layers.InstanceNormalization(epsilon=1e-5)(y))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same", activation="tanh")(y))


def run(layer, x, weights):
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer(x)


def spectral(case, x):
    """Spectral normalisation before, at and after its updates."""
    layer = tfa.layers.SpectralNormalization(keras.layers.Conv2D(4, 3, padding="same"))
    layer.build(x.shape)
    start = {"kernel": case["sn_kernel"], "bias": case["sn_bias"], "sn_u": case["sn_u0"]}
    for variable in layer.weights:
        variable.assign(start[variable.name.rsplit("/", 1)[-1].removesuffix(":0")])
    found = {"y_sn_inference": layer(x, training=False), "y_sn_train1": layer(x, training=True)}
    after = {v.name.rsplit("/", 1)[-1].removesuffix(":0"): v.numpy() for v in layer.weights}
    return {**found, "sn_kernel_after1": after["kernel"], "sn_u_after1": after["sn_u"],
            "y_sn_train2": layer(x, training=True)}


def read_ours(out, ours):
    """Load tfrecon's files with Keras 2's own loader and run the networks on the images beside them."""
    for name, build in (("generator", networks.generator), ("branches", networks.branches),
                        ("nested", lambda _: nested(lambda *_: None))):
        model = build(keras)
        model.load_weights(str(ours / f"{name}.h5"))
        outputs = model(np.load(ours / f"{name}.npz")["x"], training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        np.savez(out / f"read_{name}.npz", **{f"y{i}": y.numpy() for i, y in enumerate(outputs)})


def main():
    out, golden = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    small_cases(out)
    golden_deblurgan(out, golden)
    golden_addons(out, golden)
    if len(sys.argv) > 3:
        read_ours(out, Path(sys.argv[3]))
    versions = {name: metadata.version(name) for name in ("tensorflow", "keras", "tensorflow-addons", "numpy", "h5py")}
    (out / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
