"""Write weight files with Keras 2.2.4 on TensorFlow 1.15, the generation the published DeblurGAN weights come from.

    python make_files_keras224.py OUT

runs in an environment of its own (requirements-keras224.txt beside this file, Python 3.7). This Keras keeps the order of
frozen layers inside a nested model by another rule than Keras 2.15.
"""

import sys
from pathlib import Path

import keras
import networks
import numpy as np


def write(out, name, model, seed):
    """Fill, save and run one network."""
    rng = np.random.RandomState(seed)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else rng.standard_normal(w.shape) / 3
                       for w in model.get_weights()])
    model.save_weights(str(out / (name + ".h5")), True)
    x = networks.image(seed)
    outputs = model.predict(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    np.savez_compressed(str(out / (name + ".npz")), x=x, **{f"y{i}": y for i, y in enumerate(outputs)})


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    generator, critic = networks.generator(keras), networks.critic(keras)
    model = networks.combined(keras, generator, critic)
    write(out, "keras224_nested", model, 21)
    critic.trainable = False
    for layer in generator.layers[1:7]:
        layer.trainable = False
    write(out, "keras224_nested_part_frozen", model, 22)
    generator.trainable = critic.trainable = True
    model.compile("adam", ["mae", "mse"])
    model.save(str(out / "keras224_whole_model.h5"))


if __name__ == "__main__":
    main()
