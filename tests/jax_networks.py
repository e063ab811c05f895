"""Small networks of every system, and a program that runs them on JAX: `KERAS_BACKEND=jax python tests/jax_networks.py FOLDER`.

For every network FOLDER holds NAME.weights.h5 and NAME.npz (inputs, and what TensorFlow answered). Printed is the largest
difference relative to the largest answer, and whether TensorFlow was imported.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tfrecon import models
from tfrecon.models.srresdnet import SRResDNet

SIZE = 64
ANY = (None, None)


def networks():
    """Name -> (network, call, shape of its input)."""
    flow = models.spline_flow.spline_flow_model((16, 16, 1), 2, 1, 8, 4)
    made = {
        "unet_gan": models.unet_gan.generator_model((*ANY, 1), width=2),
        "unet_gan, transposed": models.unet_gan.generator_model((*ANY, 1), bilinear=False, width=2),
        "deblurgan_mri": models.deblurgan_mri.generator_model((*ANY, 3), 4, 1),
        "ct_deblur": models.ct_deblur.generator_model((*ANY, 3), 4, 1),
        "ct_deblur, batch norm": models.ct_deblur.generator_model((*ANY, 3), 4, 1, norm="batch"),
        "pix2pix": models.pix2pix.generator_model((*ANY, 3), 4, 6),
        "Generator_HR": models.srrescycgan.Generator_HR((16, 16, 3), 4, 1),
        "Generator_HR, projection": models.srrescycgan.Generator_HR((16, 16, 3), 4, 1, projection=True),
        "Generator_LR": models.srrescycgan.Generator_LR((SIZE, SIZE, 3), 4),
        "srresdnet": SRResDNet((16, 16, 3), depth=1),
    }
    found = {name: (network, lambda x, network=network: network(x, training=False),
                    (1, *(n or SIZE for n in network.input_shape[1:]))) for name, network in made.items()}
    return {**found, "spline_flow, inverse": (flow, lambda z: flow.inverse(z)[0], (2, 256)),
            "spline_flow, log_prob": (flow, flow.log_prob, (2, 16, 16, 1))}


def main(folder):
    import jax

    from tfrecon.weights import load_weights

    found = {}
    for name, (network, call, _) in networks().items():
        load_weights(network, folder / f"{name}.weights.h5")
        case = np.load(folder / f"{name}.npz")
        answer = np.asarray(jax.jit(call)(case["x"]))
        found[name] = float(np.abs(answer - case["answer"]).max() / np.abs(case["answer"]).max())
    print(json.dumps({"differences": found, "tensorflow": "tensorflow" in sys.modules}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
