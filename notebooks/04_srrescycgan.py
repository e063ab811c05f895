# %% [markdown]
# # SRResCycGAN: four times the size, in a cycle
#
# Seed 002 (JanPanjan/SRResCycGAN_MRI, after Umer and Micheloni's SRResCycGAN) wanted to enlarge 80x80 MR images to 320x320 with
# two generators that undo each other and a critic for each. It was never trained: a step took 58 seconds, the run was stopped by
# hand after 417 of 3254, and nothing was kept. Had it gone on, it would have learned black: fastMRI's images reach 0.00085, and
# the networks are made for 0 to 255.
#
# Here the same networks, losses and steps (equal to the original's to float precision) on images scaled to 0..255. Phantoms made
# on the spot: no account, no download. Real data is one variable: set `TFRECON_DATA` (or `DATA` below) to a
# folder of fastMRI files with `reconstruction_rss`, or to `kaggle://owner/dataset`. `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
from pathlib import Path

import keras

import tfrecon
from tfrecon.models import srrescycgan as networks
from tfrecon.reconstruction import SuperresSettings, bicubic, enlarge_folder, evaluate_superres, load_pair

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "srrescycgan"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: a folder, or kaggle://owner/dataset
FILTERS = 2 if FAST else 16  # the original has 64
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=4 if FAST else 12, slices=2 if FAST else 8, size=64 if FAST else 192)
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Pairs: an image and the same image reduced by four
#
# The volume's maximum becomes 255. The small image is every fourth pixel by bicubic interpolation, exactly as the original's
# `tf.image.resize`; at a quarter that is four taps in each direction, so it needs no border rule and runs on any device.

# %%
index = tfrecon.data.index_magnitudes(DATA)
train_part, test_part = tfrecon.data.split(index, (0.75, 0.25), seed=0)
side = 32 if FAST else 96
train = tfrecon.data.create_paired_dataset(train_part, "superres", batch_size=4, patch=side, shuffle=True, drop_remainder=True)
test = tfrecon.data.create_paired_dataset(test_part, "superres", batch_size=1, metadata=True)
small, large = next(iter(train))
print(tfrecon.data.calculate_slices(DATA), "slices;", small.shape, "and", large.shape, "up to", float(large.numpy().max()))

# %% [markdown]
# ## First only the content loss
#
# It is what raises PSNR and SSIM, it needs neither critics nor VGG, and any size of patch will do.

# %%
model = tfrecon.create("srrescycgan", preset="small", filters=FILTERS, n_blocks=1 if FAST else 5, image_shape=(side, side, 3))
model.fit(train, validation_data=test, epochs=1 if FAST else 20, verbose=0 if FAST else 2)

# %% [markdown]
# ## Then the whole: five losses, two critics, two cycles
#
# The critic of large images ends in a dense layer and fits one size. Below 188 pixels its last map is a single pixel, which the
# norm behind it wipes out: it cannot learn, and `tfrecon train` refuses it. The perceptual loss needs ImageNet's VGG19; it is
# switched off here (`lambda_perceptual=0`) so that nothing is downloaded.

# %%
cycle = tfrecon.training.SRResCycGAN(
    model.G_HR,
    networks.Generator_LR((None, None, 3), FILTERS, 1 if FAST else 6),
    networks.Discriminator_HR((188, 188, 3), FILTERS),
    networks.Discriminator_LR((None, None, 3), FILTERS),
    lambda_perceptual=0.0,
)
cycle.compile(jit_compile=False)
patches = tfrecon.data.create_paired_dataset(train_part, "superres", batch_size=2, patch=188, shuffle=True, drop_remainder=True)
if not FAST:
    cycle.fit(patches, validation_data=test, epochs=3, verbose=2)

# %% [markdown]
# ## Enlarge whole volumes and judge them, bicubic interpolation first

# %%
with tfrecon.data.SliceReader() as reader:
    settings = SuperresSettings(reduce=True)  # the test images are large ones; without it 4 times as large ones come out
    for outcome in enlarge_folder(test_part, WORK / "out", cycle.predict_on_batch, settings, reader, overwrite=True):
        print(outcome.name, outcome.error or "done")
result = evaluate_superres(WORK / "out", [v.path for v in test_part.volumes])
print(tfrecon.report.metrics_table(result.summary()))

# %%
volume = test_part.volumes[0]
truth, output = load_pair(WORK / "out" / volume.name, volume.path, volume.target_key, "reconstruction")
middle = len(truth) // 2
tfrecon.report.strip([(bicubic(truth)[middle], output[middle], truth[middle])], [volume.name])

# %% [markdown]
# ## What stopped the original, and what is different here
#
# | the original | here |
# |---|---|
# | intensities of 1e-4 into networks made for 0..255 | the volume's maximum becomes 255, undone on the output (`value_range="raw"` shows what happens without) |
# | 25 GB for its batch of 8, on GPUs with 15 | a time and memory estimate before the first epoch, patches, a low-memory mode |
# | pictures resized one by one in Python, 120 a second | pairs from the graph, many times as fast; shards for TPUs (`tfrecon convert`) |
# | every fake computed twice, one generator's gradient taken after the other's | one forward pass, one backward pass, the same numbers |
# | nothing saved, not even at the end; no PSNR, no SSIM | state after every epoch and on Ctrl-C, bit-equal resume, val_psnr and val_ssim beside bicubic |
# | losses shown of the last batch | means over the epoch |
# | one volume of another size ends the run | cropped, padded or cut into patches |

# %%
tfrecon.weights.save_weights(cycle.G_HR, WORK / "generator.weights.h5")
cycle.export(WORK / "saved_model", verbose=False)
assert FAST or not result.below_baseline(), "not better than bicubic interpolation: train longer"
