# %% [markdown]
# # DeblurGAN for undersampled MRI
#
# Seed 000 took a network against motion blur (RaphaelMeudec/deblur-gan, after Kupyn et al.) and gave it zero-filled MR
# images: a ResNet, a critic, and a perceptual loss. It reported an SSIM of 0.37 at 4x and 0.21 at 8x. The networks were not
# the reason: its images had never been scaled, and input and target were exchanged.
#
# Here the same networks, losses and steps (equal to the original's to float precision) with both put right. Phantoms made on
# the spot: no account, no download. Real data is one variable: set `TFRECON_DATA` (or `DATA` below) to a folder of
# single-coil fastMRI files, or to `kaggle://owner/dataset`. `TFRECON_FAST=1` makes it tiny.

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
from tfrecon.data import Masking, SliceReader, create_paired_dataset
from tfrecon.reconstruction import Settings, evaluate_folder, load_pair, load_zero_filled, reconstruct_folder

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "deblurgan_mri"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: a folder, or kaggle://owner/dataset
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=4 if FAST else 12, slices=2 if FAST else 8, size=64 if FAST else 96)
keras.utils.set_random_seed(0)
index = tfrecon.data.index_volumes(DATA, "reconstruction_esc")
train_part, test_part = tfrecon.data.split(index, (0.75, 0.25), seed=0)
print(train_part.slices, "slices to train on,", test_part.slices, "to test on")

# %% [markdown]
# ## What the original's scaling did
#
# The generator ends in (tanh + input) / 2 and its output is written as `uint8(image * 127.5 + 127.5)`: it is made for [-1,
# 1]. fastMRI's magnitudes are about 0.0005. Fed as they are, every picture, the target included, becomes one grey; and what
# does lie above 1 wraps around to black, for want of a clip.

# %%
raw = next(iter(create_paired_dataset(test_part, batch_size=2, channels=3, scaling="none")))[1].numpy()
scaled = next(iter(create_paired_dataset(test_part, batch_size=2, channels=3, scaling="symmetric")))[1].numpy()


def as_the_original_saves_it(image):
    return (image * 127.5 + 127.5).astype("int64").astype("uint8")


grey = np.unique(as_the_original_saves_it(raw))
print(f"raw: up to {raw.max():.2g}, saved as the grey levels {grey.tolist()}")
print(f"symmetric: {scaled.min():.2g} to {scaled.max():.2g}, {len(np.unique(as_the_original_saves_it(scaled)))} grey levels")
print("1.01 is saved as", int(as_the_original_saves_it(np.array(1.01))))
assert DATA != WORK / "data" or grey.tolist() == [127]  # of files in fastMRI's units

# %% [markdown]
# ## Pairs, and which is which
#
# Input: the zero-filled magnitude, in three equal channels, its largest value 1. Target: the full image by the same factor.
# The original's arguments were exchanged, so that it would have learned to make a masked image of a full one
# (`preset="original"` still does, and keeps the raw intensities).

# %%
pairs = {"channels": 3, "scaling": "symmetric"}
train = create_paired_dataset(train_part, batch_size=2, accelerations=(4, 8), shuffle=True, mask_seed=None, **pairs)
test = create_paired_dataset(test_part, batch_size=4, accelerations=4, metadata=True, **pairs)
blurred, sharp = (x.numpy()[0, ..., 0] for x in next(iter(train)))
tfrecon.report.show_slices((np.stack([blurred, sharp]) + 1) / 2, [0, 1], titles=["input (A)", "target (B)"])

# %% [markdown]
# ## Train
#
# The published loss compares features of VGG16, whose weights would be downloaded; its text takes L1 for 8x, and so does this
# notebook (`content="l1"`). With the weights at hand: `tfrecon.create("deblurgan_mri", vgg_weights="FILE")`. Small networks,
# and one critic step instead of five: minutes instead of hours. Half of the masks are 8x, so that one network serves both.
# The learning rate falls to nothing, which the original's does not: the sigmoid critic keeps the scores swinging otherwise.

# %%
side = int(blurred.shape[0])
epochs = 1 if FAST else 16
options = {"ngf": 4, "ndf": 4, "n_blocks": 1} if FAST else {}
rate = tfrecon.training.CosineToZero(1e-3, epochs * int(train.cardinality()))
model = tfrecon.create("deblurgan_mri", preset="small", image_shape=(side, side, 3), learning_rate=rate, **options)
history = model.fit(train, validation_data=test, epochs=epochs, verbose=0 if FAST else 2)

# %%
tfrecon.report.curves(history.history)

# %% [markdown]
# ## Reconstruct whole volumes and judge them, doing nothing first
#
# The original kept the first slice of every test volume and wrote all results into one file, which failed at the second. Here
# one file for each volume, in the units of its input: the scale is undone.

# %%
results = {}
for acceleration in (4, 8):
    masking, out = Masking(acceleration), WORK / f"out_{acceleration}x"
    settings = Settings(masking, scaling="symmetric", channels=3, multiple=4)
    with SliceReader() as reader:
        for outcome in reconstruct_folder(test_part, out, model.predict_on_batch, settings, reader, overwrite=True):
            assert not outcome.error, outcome.error
    results[acceleration] = evaluate_folder([out / v.name for v in test_part.volumes], [v.path for v in test_part.volumes],
                                            masking)
    print(f"{acceleration}x\n{tfrecon.report.metrics_table(results[acceleration].summary())}")

# %%
volume = test_part.volumes[0]
strips = []
for acceleration in (4, 8):
    path = WORK / f"out_{acceleration}x" / volume.name
    truth, output = load_pair(path, volume.path, None, "reconstruction")
    baseline, mask = load_zero_filled(path, volume.path, truth.shape[1:], Masking(acceleration))
    strips.append((baseline[len(truth) // 2], output[len(truth) // 2], truth[len(truth) // 2]))
tfrecon.report.strip(strips, ["4x", "8x"])

# %% [markdown]
# ## What the original got wrong, and what is different here
#
# | the original | here |
# |---|---|
# | intensities of 1e-4 in networks made for [-1, 1] | the zero-filled maximum becomes 1, undone on the output |
# | input and target exchanged: it learns to mask | the masked image is the input (`swapped=True` is the original's) |
# | `Add()(x, inputs)`, a bare `train`, k-space turned into tensors twice: the code as printed stops | runs |
# | only the first slice of a test volume; one result file for all patients, closed after the first | all slices, one file for each volume |
# | 256 wraps to 0 where pictures are saved | clipped |
# | text: gradient penalty. Code: none, under a sigmoid critic with batch norms | as coded; `gradient_penalty_weight=10` adds it |
# | text: 1x1 convolutions, transposed convolutions, the first VGG layer. Code: 4x4, nearest upsampling, block3_conv3 | as coded |
# | VGG16 built anew at every call of the loss | built once |
# | an SSIM without code, so without a baseline | fastMRI's SSIM, zero-filled in the row above |

# %%
tfrecon.weights.save_weights(model.generator, WORK / "generator.weights.h5")
model.export(WORK / "saved_model", verbose=False)
for acceleration, result in results.items():
    assert result.complete
    assert FAST or not result.below_baseline(), f"{acceleration}x: not better than doing nothing: train longer"
