# %% [markdown]
# # Published weights and a folder of volumes
#
# Weights come as their authors saved them: Keras 2 h5 (seed 000), PyTorch .pth (seeds 001, 003 and 004), TensorFlow
# checkpoints (MoDL's). In the wild most trouble begins here: a loader that skips what does not fit and says nothing, a
# network half of whose layers are random, a pickle that runs code. Here a file is told by its content, every array must find
# its place or nothing is changed, and nothing is unpickled. Then a whole folder is reconstructed and judged.
#
# No account, no download: somebody's network is trained on the spot and saved as others save. Your own, by two variables:
# `TFRECON_WEIGHTS`, a file of U-Net GAN weights in any format (`MODEL` and `OPTIONS` below say which network), and
# `TFRECON_DATA`, a folder of single-coil fastMRI files or `kaggle://owner/dataset`. `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import importlib.util
import os
import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfrecon
from tfrecon.data import Masking, SliceReader, create_paired_dataset
from tfrecon.errors import TfreconError
from tfrecon.reconstruction import Settings, evaluate_folder, load_pair, load_zero_filled, reconstruct_folder
from tfrecon.weights import load_weights, look_into, save_legacy_weights

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "published_weights"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: a folder, or kaggle://owner/dataset
WEIGHTS = os.environ.get("TFRECON_WEIGHTS", "")  # your own: a file of any of these formats
MODEL, OPTIONS = "unet_gan", {"preset": "small", "width": 2 if FAST else 16}
SIZE = 64 if FAST else 96
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=2 if FAST else 6, slices=2 if FAST else 6, size=SIZE, seed=0)
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Somebody's network
#
# Trained on other people than those it will be used on, as published weights are. Skipped where you name a file.

# %%
published = tfrecon.create(MODEL, **OPTIONS)
if not WEIGHTS:
    theirs = tfrecon.data.write_demo_volumes(WORK / "theirs", volumes=2 if FAST else 10, slices=2 if FAST else 6, size=SIZE, seed=1)
    pairs = create_paired_dataset(WORK / "theirs", batch_size=2, shuffle=True, mask_seed=None)
    published.run_eagerly = FAST  # two steps are not worth a graph
    published.fit(pairs, epochs=1 if FAST else 10, verbose=0 if FAST else 2)

# %% [markdown]
# ## Saved as others save
#
# - Keras 2: a group for each layer, named after it, with its arrays. This is what `save_weights("generator.h5")` of the originals
#   wrote.
# - PyTorch: a state dict with kernels as (out, in, height, width), often wrapped with the epoch and the optimizer, often with
#   `module.` before every name. Written here where PyTorch is installed; else the same names and layouts as .npz.
# - TensorFlow 1: a checkpoint of named tensors, with the optimizer's beside them; its name is a prefix, not a file.

# %%
LEAVES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var"}
files = WORK / "published"
files.mkdir(parents=True, exist_ok=True)
layers = [layer for layer in published.generator.layers if layer.weights]
as_torch = {re.sub(r"(?<!double)(?<!maxpool)_", ".", layer.name) + f".{LEAVES[w.name]}":  # inc.double_conv.0.weight
            w.numpy().transpose(3, 2, 0, 1) if len(w.shape) == 4 else w.numpy() for layer in layers for w in layer.weights}
as_tensors = {f"{layer.name}/{w.name}": w.numpy() for layer in layers for w in layer.weights}

keras_2 = save_legacy_weights(published.generator, files / "generator.h5")
if importlib.util.find_spec("torch"):
    import torch
    pytorch = files / "generator.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": torch.tensor(a) for name, a in as_torch.items()}}, pytorch)
else:
    pytorch = files / "generator.npz"
    np.savez(pytorch, **as_torch)
tensors = {**as_tensors, "global_step": np.int64(7), **{f"{name}/Adam": a for name, a in as_tensors.items()}}
checkpoint = files / "model-50"
tf.raw_ops.SaveV2(prefix=str(checkpoint), tensor_names=list(tensors), shape_and_slices=[""] * len(tensors),
                  tensors=list(tensors.values()))
print(*sorted(path.name for path in files.iterdir()), sep="\n")

# %% [markdown]
# ## What is in a file: told without TensorFlow, without running anything
#
# On the command line: `tfrecon weights info generator.h5`.

# %%
for path in (keras_2, pytorch, checkpoint):
    found = look_into(path)
    name, shape, dtype = found.arrays[0]
    print(f"{path.name:16} {found.format:24} {len(found.arrays):4} arrays, {found.parameters} numbers; {name} {shape} {dtype}")

# %% [markdown]
# ## Load: all arrays or none, with a report

# %%
images = next(iter(create_paired_dataset(DATA, batch_size=2)))[0]
answers = []
for path in [WEIGHTS] if WEIGHTS else (keras_2, pytorch, checkpoint):
    model = tfrecon.create(MODEL, **OPTIONS)
    report = load_weights(model.generator, path)
    answers.append(np.asarray(model(images)))
    print(f"{Path(path).name}: {report}")
    assert report.loaded == report.total
for source, variable, shape in report.rows[:4]:
    print(f"  {source} -> {variable} {shape}")
assert WEIGHTS or max(np.abs(answer - published(images)).max() for answer in answers) < 1e-5

# %% [markdown]
# ## What a wrong file says
#
# Another width, another network, data in place of weights, a download that was cut off, an error page saved under the file's
# name. Each is refused in one sentence, and the network keeps the numbers it had: no layer is left half loaded.

# %%
wide = tfrecon.create(MODEL, **{**OPTIONS, "width": OPTIONS["width"] + 2})
critic = save_legacy_weights(published.discriminator, files / "discriminator.h5")
cut, page = files / "cut.h5", files / "page.h5"
cut.write_bytes(keras_2.read_bytes()[:20_000])
page.write_text("<!DOCTYPE html><html><body>403 Forbidden</body></html>")
volume_file = tfrecon.data.index_volumes(DATA).volumes[0].path
wrong = {"another width": save_legacy_weights(wide.generator, files / "wide.h5"), "the critic's": critic,
         "a volume": volume_file, "cut off": cut, "an error page": page}
before = [w.numpy() for w in model.generator.weights]
refused = 0
for what, path in wrong.items():
    try:
        load_weights(model.generator, path)
    except TfreconError as error:
        refused += 1
        print(f"{what}: {str(error).replace(str(path), Path(path).name)}\n")
assert refused == len(wrong)
assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.generator.weights))

# %% [markdown]
# ## A whole folder of volumes
#
# As on the command line:
#
#     tfrecon weights convert generator.pth generator.weights.h5 --model unet_gan --preset small
#     tfrecon reconstruct volumes/ out/ --weights generator.weights.h5
#     tfrecon evaluate out/ --target volumes/
#
# One result for each volume, under its name, in its units, with the mask and the model in its attributes. What cannot be read
# is set aside with the reason and the others go on. Scaling and channels belong to the weights as much as the layers do:
# these were trained on images divided by the zero-filled maximum.

# %%
if DATA == WORK / "data":
    (WORK / "data" / "broken.h5").write_bytes(Path(volume_file).read_bytes()[:5000])
index = tfrecon.data.index_volumes(DATA, "reconstruction_esc")
for skipped in index.skipped:
    print("left out:", skipped.name, "-", skipped.reason)
assert DATA != WORK / "data" or [skipped.name for skipped in index.skipped] == ["broken.h5"]
settings = Settings(Masking(4), attributes={"model": MODEL})
model.run_eagerly = FAST
with SliceReader() as reader:
    outcomes = list(reconstruct_folder(index, WORK / "out", model.predict_on_batch, settings, reader, overwrite=True))
for outcome in outcomes:
    print(outcome.name, outcome.error or "done", outcome.note)

# %% [markdown]
# ## Judged, doing nothing first

# %%
result = evaluate_folder([WORK / "out" / v.name for v in index.volumes], [v.path for v in index.volumes], Masking(4))
print(tfrecon.report.metrics_table(result.summary()))

# %%
strips = []
for volume in index.volumes[:2]:
    truth, output = load_pair(WORK / "out" / volume.name, volume.path, None, "reconstruction")
    zero_filled, mask = load_zero_filled(WORK / "out" / volume.name, volume.path, truth.shape[1:], Masking(4))
    strips.append((zero_filled[len(truth) // 2], output[len(truth) // 2], truth[len(truth) // 2]))
tfrecon.report.strip(strips, [volume.name for volume in index.volumes[:2]])

# %% [markdown]
# ## What the originals' loading got wrong, and what is different here
#
# | the originals and their frameworks | here |
# |---|---|
# | the critic's layers go on counting after the generator's (conv2d_25...), so names differ from a fresh model's | by position where Keras 2 wrote by position, by name inside nested models |
# | `by_name=True`, `skip_mismatch=True`: may load nothing without a word | never; all arrays or an error |
# | whole models in h5 with Lambda layers: code in a file | the weights are read, code never is |
# | `torch.load` of a pickle may run anything | tensors only |
# | seed 001 loads a file named after one optimizer and trains with another | what `save_weights` writes carries a card: model, options, scores |
# | seed 001 reconstructs test images unscaled with a network trained on scaled ones | scaled as in training, and multiplied back |
# | results of all patients in one file, or mixed with those of an earlier run | one file for each volume; other runs' results are refused |

# %%
assert not any(outcome.error for outcome in outcomes) and result.complete
assert FAST or not result.below_baseline(), "not better than doing nothing"
