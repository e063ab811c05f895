# %% [markdown]
# # The U-Net GAN and its losses
#
# Seed 001 trained a U-Net (milesial/Pytorch-UNet) against a small discriminator, with one loss for both, and compared six
# losses and three optimisers by cross-validation. KLDivLoss "won" with a mean SSIM of 0.62; L1 had 0.20, BCE 0.145. This
# notebook looks at what each of the losses tells the networks, repeats the comparison by patient with the zero-filled line in
# the figure, and then adds what the original lacks: a term that ties each output to its own target.
#
# Phantoms made on the spot: no account, no download. Real data is one variable: set `TFRECON_DATA` (or `DATA` below) to a
# folder of single-coil fastMRI files, or to `kaggle://owner/dataset`. `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfrecon
from tfrecon import losses, metrics
from tfrecon.data import Masking, SliceReader, create_paired_dataset
from tfrecon.reconstruction import Settings, evaluate_folder, load_pair, load_zero_filled, reconstruct_folder

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "unet_gan_losses"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: a folder, or kaggle://owner/dataset
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=4 if FAST else 8, slices=2 if FAST else 6, size=64 if FAST else 96)
index = tfrecon.data.index_volumes(DATA, "reconstruction_esc")
MASKING = Masking(4)  # the original's 8x leaves too little of small phantoms

# %% [markdown]
# ## What each loss tells the discriminator and the generator
#
# The discriminator ends in a sigmoid: a probability p that an image is real. It should learn from real images (label 1) and
# from generated ones (label 0). The derivative of each loss with respect to p says how hard it pulls.
#
# PyTorch's KLDivLoss expects the LOGARITHM of a probability and is given p. With label 0 its value is 0 and its derivative is
# 0, whatever p is: the discriminator never learns from a generated image. BCEWithLogitsLoss expects a number before the
# sigmoid and squashes p a second time, so that its derivatives are small and hardly depend on p. (`kldiv` and `bce_logits`
# are these, as used.)


# %%
def pull(name, label, p):
    p = tf.constant([[p]])
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = losses.get(name)(tf.fill((1, 1), label), p)
    return float(tape.gradient(value, p)[0, 0])


print(f"{'loss':12}{'real, p=0.1':>14}{'real, p=0.9':>14}{'fake, p=0.1':>14}{'fake, p=0.9':>14}")
for name in ("kldiv", "bce", "bce_logits", "mse", "l1"):
    print(f"{name:12}" + "".join(f"{pull(name, label, p):14.3f}" for label in (1.0, 0.0) for p in (0.1, 0.9)))
assert pull("kldiv", 0.0, 0.1) == pull("kldiv", 0.0, 0.9) == 0
assert abs(pull("bce_logits", 0.0, 0.9)) < 0.1 * abs(pull("bce", 0.0, 0.9))

# %% [markdown]
# The sixth, "SSIM", was computed in NumPy outside of the graph: no gradient reached either network and nothing was trained.
# Here `ssim` is the repaired form: the generator minimises 1 - SSIM(target, output), and the discriminator rests. The
# original also exchanged the arguments of its METRIC, so that the data range is the maximum of the output: a flat image with
# one hot pixel scores well.

# %%
volume = index.volumes[0]
with SliceReader() as reader:
    truth = np.stack([reader.target(volume, i) for i in range(volume.slices)])
hot = np.full_like(truth, truth.mean())
hot[:, 0, 0] = 10 * truth.max()
print(f"a flat image with one hot pixel: {metrics.ssim(truth, hot):.3f}, by the original's call "
      f"{metrics.ssim_prediction_range(truth, hot):.3f}")
assert metrics.ssim_prediction_range(truth, hot) > metrics.ssim(truth, hot)

# %% [markdown]
# ## The comparison, by patient, with fresh networks for every fold
#
# The original sent ONE network through all folds, so that from the second fold on it was validated on what it had trained on,
# and cut by slice, so that neighbours of a slice stand on both sides. Part of the scores, and of their rise, came with that.
# (`cross_validate(..., leaking=True)` and `data.slice_folds` repeat it, with a warning.) Small networks and few epochs: for
# the full form see `tfrecon compare`.

# %%
COMBINATIONS = [("kldiv", "adam"), ("bce", "adam"), ("bce_logits", "adam"), ("mse", "adam"), ("l1", "adam"), ("ssim", "adam"),
                ("kldiv", "adamw"), ("kldiv", "adagrad")]
EPOCHS, FOLDS, WIDTH = (1, 2, 2) if FAST else (3, 2, 8)  # the original has 3 folds and 64 filters


def fold_pairs():
    made = []
    for train, validation in tfrecon.data.folds(index, FOLDS, seed=0):
        made.append((create_paired_dataset(train, batch_size=2, shuffle=True, mask_seed=None),
                     create_paired_dataset(validation, batch_size=4, metadata=True)))
    return made


def small_gan(**options):
    model = tfrecon.create("unet_gan", **options, width=WIDTH)
    model.run_eagerly = FAST  # two steps are not worth a graph
    return model


runs = {f"{loss}, {optimizer}": {"preset": "original", "loss": loss, "optimizer": optimizer} for loss, optimizer in COMBINATIONS}
runs = {**dict(list(runs.items())[: 1 if FAST else None]), "bce + 100 l1, adam": {"preset": "small"}}
series = {}
for name, options in runs.items():
    keras.utils.set_random_seed(0)
    series[name] = tfrecon.training.cross_validate(partial(small_gan, **options), fold_pairs(), EPOCHS)
    print(f"{name}: val_ssim {series[name].mean(axis=0).round(3)}")

# %%
slices = [losses.ssim_per_image(target, image, facts["data_range"]).numpy()
          for _, validation in fold_pairs() for image, target, facts in validation]
baseline = float(np.concatenate(slices).mean())
print(f"zero-filled: {baseline:.3f}")
tfrecon.report.comparison(series, ylabel="SSIM", baseline=baseline)

# %% [markdown]
# The original's winner, `kldiv`, is the one that falls, with any optimiser: its discriminator never learns from a
# generated image. The others rise, and all of them stay below the dashed line, which nothing has to be trained for: asked only
# for a realistic image, a generator need not make this patient's. The term that compares with the target is what takes a
# network above the line (below, wider and with more epochs).

# %%
last = {name: float(scores[:, -1].mean()) for name, scores in series.items()}
adversarial = {name: value for name, value in last.items() if not name.startswith(("ssim", "bce + 100"))}
assert FAST or max(adversarial.values()) < baseline
assert FAST or max(value for name, value in last.items() if name.startswith("kldiv")) < last["bce, adam"]

# %% [markdown]
# ## Train the one with the reconstruction term, and judge it

# %%
train_part, test_part = tfrecon.data.split(index, (0.75, 0.25), seed=0)
train = create_paired_dataset(train_part, batch_size=2, shuffle=True, mask_seed=None)
test = create_paired_dataset(test_part, batch_size=4, metadata=True)
keras.utils.set_random_seed(0)
model = tfrecon.create("unet_gan", preset="small", width=2 if FAST else 16)
model.run_eagerly = FAST
history = model.fit(train, validation_data=test, epochs=1 if FAST else 12, verbose=0 if FAST else 2)

# %%
tfrecon.report.curves(history.history)

# %%
with SliceReader() as reader:
    for outcome in reconstruct_folder(test_part, WORK / "out", model.predict_on_batch, Settings(MASKING), reader, overwrite=True):
        assert not outcome.error, outcome.error
result = evaluate_folder([WORK / "out" / v.name for v in test_part.volumes], [v.path for v in test_part.volumes], MASKING)
print(tfrecon.report.metrics_table(result.summary()))

# %%
volume = test_part.volumes[0]
truth, output = load_pair(WORK / "out" / volume.name, volume.path, None, "reconstruction")
zero_filled, mask = load_zero_filled(WORK / "out" / volume.name, volume.path, truth.shape[1:], MASKING)
middle = len(truth) // 2
tfrecon.report.strip([(zero_filled[middle], output[middle], truth[middle])], [volume.name])

# %% [markdown]
# ## What the original got wrong, and what is different here
#
# | the original | here |
# |---|---|
# | nothing ties G(x) to its own target | `reconstruction_weight=100` in the presets `recommended` and `small`; 0 in `original` |
# | KLDivLoss on probabilities: no gradient from generated images | kept under the name `kldiv`, for comparison; `bce` is the default |
# | BCEWithLogits after a sigmoid | kept under the name `bce_logits` |
# | an SSIM loss without a gradient: nothing trains | differentiable 1 - SSIM |
# | SSIM with the output's maximum as range | the target volume's maximum (fastMRI's); the other as `metrics.ssim_prediction_range` |
# | folds share one network and its optimizers | fresh ones for every fold, folds by patient |
# | validation in training mode, which moves the batch norms | inference mode |
# | training images divided by their maximum, test images not | both, and multiplied back |
# | AdamW in the code, Adagrad in the saved file's name, Adam in the loaded one | the card beside the weights says which |
# | all slices in memory, masks drawn once for all epochs | streamed, fresh masks in every epoch |
# | no zero-filled score anywhere | in every table and figure |

# %%
tfrecon.weights.save_weights(model.generator, WORK / "generator.weights.h5")
assert result.complete and set(series) >= {"kldiv, adam", "bce + 100 l1, adam"}
assert FAST or not result.below_baseline(), "not better than doing nothing: train longer"
