# %% [markdown]
# # Unrolled reconstruction against the flow prior
#
# Seed 004 set two ways against each other for knees measured by several coils: deep basis pursuit (utcsilab/deepinpy), which
# unrolls an optimisation and learns from the samples alone, and a neural spline flow (bayesiains/nsf), which learns what
# pictures look like and is searched for one that fits the measurement. The two were never compared on the same problem: other
# operators, other scales, and test pictures that had been trained on.
#
# Here all of them (equal to the originals to float precision) solve one problem on one scale, for pictures of people nobody
# was trained on: zero-filled, CG-SENSE, MoDL, deep basis pursuit, and the flow with its three penalties. Phantoms made on the
# spot: no account, no download. Real data is one variable: set `TFRECON_DATA` (or `DATA` below) to a folder of images
# (`reconstruction_rss`), or to `kaggle://owner/dataset`. `TFRECON_FAST=1` makes it tiny.

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
import tensorflow as tf

import tfrecon
from tfrecon.metrics import psnr
from tfrecon.models.unrolled import CGSense
from tfrecon.physics.operators import Sense
from tfrecon.reconstruction.flow_prior import PENALTIES, FlowPriorSettings, solve_with_flow

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "unrolled_vs_flow"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: a folder, or kaggle://owner/dataset
SIZE = (32, 32) if FAST else (80, 64)  # of the pictures; the seed's
if not DATA:
    DATA = WORK / "data"
    tfrecon.data.write_demo_volumes(DATA, volumes=4 if FAST else 16, slices=2 if FAST else 12, size=64 if FAST else 160)
keras.utils.set_random_seed(0)
index = tfrecon.data.index_magnitudes(DATA)
train_part, test_part = tfrecon.data.split(index, (0.75, 0.25), seed=0)

# %% [markdown]
# ## Pictures, and a flow that learns them
#
# The middle of each slice, shrunk to 80x64, in 16 levels. The flow turns pictures into normal noise and back; it is trained
# by maximum likelihood, and its score is bits per dimension: 4 for four bits says that it has learned nothing. The seed's
# flow has 74.5 million parameters; this one has a small part of them.

# %%
options = {"levels": 2, "steps_per_level": 1, "hidden_channels": 4, "num_bins": 4} if FAST else {}
epochs, batch = (1, 3) if FAST else (10, 9)
pictures = tfrecon.data.picture_batches(train_part, batch, size=SIZE, shuffle=True, drop_remainder=True)
judged = tfrecon.data.picture_batches(test_part, batch, size=SIZE)
rate = tfrecon.training.CosineToZero(2e-3, epochs * int(pictures.cardinality()))
trainer = tfrecon.create("spline_flow", preset="small", image_shape=(*SIZE, 1), learning_rate=rate, **options)
history = trainer.fit(pictures, validation_data=judged, epochs=epochs, verbose=0 if FAST else 2)
flow = trainer.flow
print(f"{flow.count_params()} parameters; {history.history['val_bits_per_dim'][-1]:.2f} bits per dimension on other people")

# %%
samples = np.clip(np.asarray(flow.sample(4, temperature=0.75, seed=0))[..., 0] / 2**flow.num_bits, 0, 1)
tfrecon.report.show_slices(samples, range(4), titles=[f"sample {i + 1}" for i in range(4)])

# %% [markdown]
# ## One problem for all
#
# Held-out pictures, measured by four invented coils through masks of single points, dense in the middle of k-space. The
# training pictures are measured too: the unrolled networks learn from samples alone, as the seed's did, without full images.


# %%
def stack(part, wanted):
    found = np.concatenate(list(tfrecon.data.picture_batches(part, batch, size=SIZE).as_numpy_iterator()))[..., 0]
    return found[:: max(1, len(found) // wanted)][:wanted]


problem = tfrecon.data.measured_pictures(stack(test_part, 2 if FAST else 8), flow.num_bits, acceleration=5, coils=4, seed=0)
training = tfrecon.data.measured_pictures(stack(train_part, 3 if FAST else 60), flow.num_bits, acceleration=5, coils=4, seed=10_000)
inputs = problem.inputs
print(problem.source)

# %% [markdown]
# ## Where the original's mask lay
#
# The notebook of the seed took the Fourier transform without moving its zero to the middle, and a mask that is dense in the
# middle: it measured the highest frequencies and missed the mean. With `centered=False` the same is had here.

# %%
truth = problem.truth.astype("complex64")
full = {kind: Sense(inputs["sens_maps"], np.ones_like(inputs["mask"]), kind) for kind in (True, False)}
share = {kind: float((np.abs(full[kind].forward(truth)) ** 2 * inputs["mask"][:, None]).sum()
                     / (np.abs(full[kind].forward(truth)) ** 2).sum()) for kind in full}
print(f"{inputs['mask'].mean():.0%} of the points hold {share[True]:.1%} of the energy, centred; {share[False]:.1%}, as the seed's")
assert share[True] > 0.9 > share[False]

# %% [markdown]
# ## Without training: zero-filled and CG-SENSE

# %%
images = {
    "zero_filled": np.abs(Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"])),
    "CG-SENSE": np.abs(CGSense(1e-3, cg_max_iter=20)(inputs)),
}

# %% [markdown]
# ## Unrolled: MoDL and deep basis pursuit
#
# A denoiser and conjugate gradients in turns. The loss is the distance to the measured samples.

# %%
small = {"latent_channels": 2, "num_unrolls": 1} if FAST else {}
for title, name in (("MoDL", "modl"), ("DBP", "deep_basis_pursuit")):
    keras.utils.set_random_seed(0)
    unrolled = tfrecon.create(name, preset="small", supervised=False, **small)
    unrolled.run_eagerly = FAST
    data = tf.data.Dataset.from_tensor_slices((training.inputs,)).shuffle(len(training.truth), 0).batch(3 if FAST else 5)
    losses = unrolled.fit(data, epochs=1 if FAST else 4, verbose=0).history["loss"]
    images[title] = np.abs(unrolled.model(inputs))
    print(f"{title}: loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last")

# %% [markdown]
# ## The flow: search its latents for a picture that fits
#
# `norm` is the seed's penalty, called L1 in its text: in the code the Euclidean norm of the latents. `log_prob` is the
# probability of the picture; `both` is the sum. The seed starts from random latents with a rate of 1.33; from those of the
# zero-filled picture far fewer steps are needed.

# %%
for penalty, weights in PENALTIES.items():
    settings = FlowPriorSettings(**weights, learning_rate=0.03, steps=3 if FAST else 60, first="zero_filled")
    found = solve_with_flow(inputs, flow, settings)
    images[f"flow, {penalty.replace('_', ' ')}"] = np.clip(found.image, 0, 1)
    print(f"{penalty}: objective {found.objectives[0].mean():.3g} to {found.objectives[-1].mean():.3g}")

# %% [markdown]
# ## One table, doing nothing first

# %%
rows = []
for name, found in images.items():
    values = np.array([psnr(t[None], x[None], 1.0) for t, x in zip(problem.truth, found)])
    errors = np.linalg.norm(found - problem.truth, axis=(1, 2)) / np.linalg.norm(problem.truth, axis=(1, 2))
    rows.append({"name": name, "n": len(values), "psnr": float(values.mean()), "psnr_sd": float(values.std(ddof=1)),
                 "nrmse": float(errors.mean()), "nrmse_sd": float(errors.std(ddof=1))})
print(tfrecon.report.metrics_table(rows, ("psnr", "nrmse"), "zero_filled", "pictures"))

# %%
tfrecon.report.grid({"truth": problem.truth[:3], **{name: found[:3] for name, found in images.items()}})

# %% [markdown]
# ## What the originals got wrong, and what is different here
#
# | the original | here |
# |---|---|
# | unshifted k-space under a mask dense in the middle: a few per cent of the energy, the mean not sampled | centred (`centered=False` is the seed's) |
# | test pictures among those the flow was trained on; deep basis pursuit judged on its own training pictures | other people |
# | training levels floor(p / 16), test levels round(15 p): half of the levels differ | one scale |
# | the "L1" penalty is the Euclidean norm | both to be had: `norm="l2"`, `"l1"` |
# | the data term is divided by the number of coils | the same by default, `mean_over_coils=False` |
# | a loaded flow starts its activation norms anew with the first batch | whether they have been started is a weight |
# | after the search the script stacks an empty list: no mean, no files | a table with zero-filled first |
# | conjugate gradient: a sample that has converged becomes NaN while another goes on | it waits |
# | epsilon summed over the batch; tolerance not squared | each sample's own, norms against norms; `epsilon_rule="batch"` |
# | pictures one by one, 100 steps each | all pictures, and several starts, at once |
#
# These are not the article's pictures: its figures cannot be set beside these. `tfrecon reproduce flow-vs-dbp` is the same
# comparison with a trained flow and your own data, the knee set included.

# %%
tfrecon.weights.save_weights(flow, WORK / "flow.weights.h5")
score = {row["name"]: row["psnr"] for row in rows}
assert all(np.isfinite(value) for value in score.values()) and score["CG-SENSE"] > score["zero_filled"]
assert FAST or min(score.values()) == score["zero_filled"], "one of them is not better than doing nothing"
