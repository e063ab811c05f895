# %% [markdown]
# # Quickstart: from raw k-space to a judged reconstruction
#
# The U-Net GAN of seed 001 (after milesial/Pytorch-UNet) on phantoms made on the spot: no account, no download. Real data is
# one variable: set `DATA` to a folder of single-coil fastMRI files. Runs in Colab and Kaggle; `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
from pathlib import Path

import keras
import numpy as np

import tfrecon

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "quickstart"))
DATA = WORK / "data"
tfrecon.data.write_demo_volumes(DATA, volumes=4 if FAST else 12, slices=2 if FAST else 8, size=64 if FAST else 128)
keras.utils.set_random_seed(0)
print("tfrecon", tfrecon.__version__, "keras", keras.__version__)

# %% [markdown]
# ## Data: split by patient, never by slice

# %%
index = tfrecon.data.index_volumes(DATA, "reconstruction_esc")
train_part, test_part = tfrecon.data.split(index, (0.75, 0.25), seed=0)
train = tfrecon.data.create_paired_dataset(train_part, batch_size=4, shuffle=True, mask_seed=None)
test = tfrecon.data.create_paired_dataset(test_part, batch_size=4, metadata=True)
print(train_part.slices, "slices to train on,", test_part.slices, "to test on;", int(train.cardinality()), "steps an epoch")

# %% [markdown]
# ## Train. The reconstruction term ties each output to its own target; the original GAN has none

# %%
model = tfrecon.create("unet_gan", preset="small", **({"width": 4} if FAST else {}))
history = model.fit(train, validation_data=test, epochs=1 if FAST else 10, verbose=0 if FAST else 2)

# %% [markdown]
# ## Reconstruct whole volumes and judge them, doing nothing first

# %%
from tfrecon.reconstruction import Settings, evaluate_folder, reconstruct_folder

settings = Settings(tfrecon.data.Masking(4))
with tfrecon.data.SliceReader() as reader:
    for outcome in reconstruct_folder(test_part, WORK / "out", model.predict_on_batch, settings, reader, overwrite=True):
        print(outcome.name, outcome.error or "done")
result = evaluate_folder(WORK / "out", [v.path for v in test_part.volumes], tfrecon.data.Masking(4))
print(tfrecon.report.metrics_table(result.summary()))

# %%
from tfrecon.reconstruction import load_pair, load_zero_filled

volume = test_part.volumes[0]
truth, output = load_pair(WORK / "out" / volume.name, volume.path, None, "reconstruction")
baseline, mask = load_zero_filled(WORK / "out" / volume.name, volume.path, truth.shape[1:], tfrecon.data.Masking(4))
middle = len(truth) // 2
tfrecon.report.strip([(baseline[middle], output[middle], truth[middle])], [volume.name])

# %% [markdown]
# ## Keep it: weights that load completely or not at all, and a SavedModel

# %%
tfrecon.weights.save_weights(model.generator, WORK / "generator.weights.h5")
copy = tfrecon.create("unet_gan", preset="small", **({"width": 4} if FAST else {}))
print(tfrecon.weights.load_weights(copy.generator, WORK / "generator.weights.h5"))
images = next(iter(test))[0]
assert np.abs(copy.predict_on_batch(images) - model.predict_on_batch(images)).max() == 0
model.export(WORK / "saved_model", verbose=False)
assert FAST or not result.below_baseline(), "not better than doing nothing: train longer"
