# %% [markdown]
# # Export and serve
#
# A trained network as SavedModel (and ONNX, where the extra is installed), run without tfrecon and compared with what Keras
# answers. Phantoms made on the spot: no account, no download. `TFRECON_WEIGHTS` names weights of your own (`tfrecon train`);
# `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import importlib.util
import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfrecon
from tfrecon.exporting import Case, compare, read_golden, write, write_golden

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "export"))
WEIGHTS = os.environ.get("TFRECON_WEIGHTS", "")  # your own U-Net GAN's
keras.utils.set_random_seed(0)

# %% [markdown]
# ## A network. Without weights of your own, one that has seen a few phantoms

# %%
if WEIGHTS:
    model = tfrecon.create("unet_gan", weights=WEIGHTS)
else:
    tfrecon.data.write_demo_volumes(WORK / "data", volumes=2, slices=2 if FAST else 8, size=64 if FAST else 128)
    pairs = tfrecon.data.create_paired_dataset(WORK / "data", batch_size=2, shuffle=True, mask_seed=None)
    model = tfrecon.create("unet_gan", preset="small", width=2 if FAST else 16)
    model.fit(pairs, epochs=1 if FAST else 5, verbose=0 if FAST else 2)

# %% [markdown]
# ## What goes in, what comes out
#
# `model.export(folder)` writes the network alone: images scaled as it takes them. `served` can put the scaling inside:
# magnitudes in any units in, reconstructions in the same units out, each image divided by its largest value on the way. Batch,
# height and width stay open.

# %%
served = model.served(units="magnitude")
path = write("saved_model", served, WORK / "out")
loaded = tf.saved_model.load(str(path))
serve = loaded.signatures["serving_default"]  # keep `loaded`: without it the variables go
print(serve.structured_input_signature[1], "->", serve.structured_outputs)

# %% [markdown]
# ## The same numbers at several sizes, in a clean process with nothing but TensorFlow

# %%
rng = np.random.default_rng(0)
cases = []
for shape in ((1, 64, 64), (2, 48, 80), (3, 37, 51)):
    image = rng.uniform(0, 5e-4, shape).astype("float32")
    cases.append(Case({"image": image}, np.asarray(served(image)["reconstruction"])))
write_golden(WORK / "out" / "golden.npz", cases)
drifts = compare(path, read_golden(WORK / "out" / "golden.npz"))
for drift in drifts:
    print(drift.shape, f"largest difference {drift.largest:.1e} of {drift.scale:.1e}")
assert all(drift.within(1e-4) for drift in drifts)

# %% [markdown]
# ## NaN in is an error, not a picture

# %%
try:
    serve(image=tf.fill((1, 64, 64), np.float32(np.nan)))
    refused = False
except tf.errors.InvalidArgumentError as error:
    refused = True
    print(str(error).splitlines()[-1][:100])
assert refused

# %% [markdown]
# ## ONNX, where tf2onnx and onnxruntime are installed
#
# From the command line, with the check, a golden file, hashes and a model card in one go:
#
#     tfrecon export runs/unet/generator.weights.h5 exported/ --format saved_model,onnx --units file
#     tfrecon verify exported/model.onnx --golden exported/golden.npz

# %%
if importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnxruntime"):
    plain = model.served(units="magnitude", checked=False)  # ONNX has no assertions: check the numbers before
    onnx = write("onnx", plain, WORK / "out", plain.signature())
    assert all(drift.within(1e-4) for drift in compare(onnx, cases))
    print(onnx, "gives the same numbers")
print(json.dumps({file.name: file.stat().st_size for file in sorted((WORK / "out").iterdir()) if file.is_file()}))
