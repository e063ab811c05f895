# %% [markdown]
# # k-space, masks and metrics
#
# What a scanner measures, what undersampling does to the image, and why three papers' SSIMs of the same image differ. Phantoms
# made on the spot: no account, no download, no network to train. `TFRECON_DATA` names a folder of your own single-coil fastMRI
# files; `TFRECON_FAST=1` makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
from pathlib import Path

import numpy as np

import tfrecon
from tfrecon import metrics
from tfrecon.physics import fft2c, ifft2c, masks, zero_filled
from tfrecon.transforms import center_crop

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "masks"))
DATA = os.environ.get("TFRECON_DATA", "")
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=1, slices=2 if FAST else 8, size=64 if FAST else 256)
volume = tfrecon.data.index_volumes(DATA, "reconstruction_esc").volumes[0]
with tfrecon.data.SliceReader() as reader:
    kspace = np.stack([reader.kspace(volume, i) for i in range(volume.slices)])
print(volume.name, kspace.shape, kspace.dtype)

# %% [markdown]
# ## The Fourier transform is orthonormal and has its zero in the middle
#
# So no energy is lost on the way (Parseval), and the way back is exact.

# %%
image = ifft2c(kspace)
np.testing.assert_allclose(np.linalg.norm(image), np.linalg.norm(kspace), rtol=1e-5)
assert np.abs(fft2c(image) - kspace).max() < 1e-4 * np.abs(kspace).max()
print("largest magnitude of the image:", float(np.abs(image).max()), "(fastMRI's are as small: scale before a network)")

# %% [markdown]
# ## Masks: fastMRI's own, bit for bit
#
# The acceleration asked for is not the fraction measured: the centre is always there. "Equispaced" is not quite at even
# distances, because the centre's columns count; `magic` makes use of the k-space's symmetry.

# %%
for kind in ("random", "equispaced", "magic"):
    for acceleration in (2, 4, 8):
        mask = masks.create_mask(kind, volume.width, None, acceleration, seed=0)
        print(f"{kind:10} {acceleration}x asked for, {1 / mask.mean():.2f}x measured, {int(mask.sum())} of {mask.size} columns")
assert np.array_equal(masks.random_mask(volume.width, [0.08], [4], seed=1), masks.random_mask(volume.width, [0.08], [4], seed=1))

# %% [markdown]
# ## Zero-filled: what doing nothing looks like

# %%
target = np.abs(image)
middle = len(target) // 2
filled = {a: zero_filled(kspace, masks.create_mask("random", volume.width, None, a, seed=0)) for a in (2, 4, 8)}
scores = {a: metrics.evaluate_volume(target, np.asarray(x)) for a, x in filled.items()}
for acceleration, score in scores.items():
    print(f"{acceleration}x", {name: round(value, 4) for name, value in score.items()})
assert scores[2]["psnr"] > scores[4]["psnr"] > scores[8]["psnr"]
mask = masks.create_mask("random", volume.width, None, 4, seed=0)
tfrecon.report.reconstruction_panel(kspace[middle], mask, np.asarray(filled[4])[middle], None, target[middle])

# %% [markdown]
# ## Three SSIMs of one image
#
# fastMRI takes the maximum of the whole volume as data range, scikit-image users often that of the slice, and one of the systems
# here, by a swap of arguments, that of the PREDICTION: a constant image with one bright pixel then scores well. Only numbers of
# one definition can be compared, and every table of tfrecon says which it has (fastMRI's, unless named otherwise).

# %%
prediction = np.asarray(filled[4])
three = {"fastMRI (volume's maximum)": metrics.ssim(target, prediction), "slice's maximum": metrics.ssim_slice(target, prediction),
         "prediction's maximum": metrics.ssim_prediction_range(target, prediction)}
for name, value in three.items():
    print(f"{name:28} {value:.3f}")
hot = np.full_like(target, target.mean())
hot[:, 0, 0] = 10 * target.max()
print("a constant image with one hot pixel:", f"fastMRI {metrics.ssim(target, hot):.3f},",
      f"by the prediction's maximum {metrics.ssim_prediction_range(target, hot):.3f}")
assert metrics.ssim_prediction_range(target, hot) > metrics.ssim(target, hot)
assert len({round(value, 3) for value in three.values()}) > 1

# %% [markdown]
# ## Cropping
#
# fastMRI's targets are the middle of the frame, so scores are taken there. k-space, though, belongs to the whole frame: an image
# is cropped after the transform, never before.

# %%
side = min(target.shape[1:]) // 2
cropped = center_crop(target, (side, side))
print("whole frame", round(metrics.ssim(target, prediction), 3), "middle",
      round(metrics.ssim(cropped, center_crop(prediction, (side, side))), 3))
assert cropped.shape[1:] == (side, side)
