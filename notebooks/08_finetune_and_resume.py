# %% [markdown]
# # Fine-tune, stop, and go on
#
# A network trained on some anatomies, adapted to another one of which there is little: with its encoder frozen, at a lower
# learning rate, against the same network from scratch. The run is stopped in the middle on purpose, as a session's end or
# Ctrl-C would, and goes on to the very weights the uninterrupted run has.
#
# Phantoms made on the spot: no account, no download. Your own, by two variables: `TFRECON_DATA`, a folder of single-coil
# fastMRI files (or `kaggle://owner/dataset`) to adapt to, and `TFRECON_WEIGHTS`, what `tfrecon train` wrote. `TFRECON_FAST=1`
# makes it tiny.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np

import tfrecon
from tfrecon.data import EpochClock, Masking, SliceReader, create_paired_dataset
from tfrecon.losses import ssim_per_image
from tfrecon.reconstruction import Settings, evaluate_folder, load_pair, load_zero_filled, reconstruct_folder
from tfrecon.training import fit_resumable
from tfrecon.training.callbacks import Interrupted

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "finetune_and_resume"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own to adapt to: a folder, or kaggle://owner/dataset
WEIGHTS = os.environ.get("TFRECON_WEIGHTS", "")  # your own to start from: a U-Net GAN's generator.weights.h5
WIDTH, EPOCHS = (2, 2) if FAST else (16, 12)
keras.utils.set_random_seed(0)

# %% [markdown]
# ## What is there: much of one kind, little of another
#
# The phantoms take turns: brains, knees, hearts. The brains are set apart; of these people nothing is in the first training.

# %%
made = []
if not (DATA and WEIGHTS):
    made = tfrecon.data.write_demo_volumes(WORK / "data", volumes=6 if FAST else 16, slices=3 if FAST else 6, size=64 if FAST else 96)
brains = [path for path in made if "brain" in path.name]
index = tfrecon.data.index_volumes(DATA or brains, "reconstruction_esc")
train_part, test_part = tfrecon.data.split(index, (0.5, 0.5), seed=0)
print(f"{len(made) - len(brains)} volumes of other anatomies; to adapt to: {train_part.slices} slices, to judge by: {test_part.slices}")

# %% [markdown]
# ## The network to start from
#
# The card beside the weights says how the network was built, so that `create` needs only the file.

# %%
if not WEIGHTS:
    others = create_paired_dataset([path for path in made if path not in brains], batch_size=2, shuffle=True, mask_seed=None)
    first = tfrecon.create("unet_gan", preset="small", width=WIDTH)
    first.run_eagerly = FAST  # a few steps are not worth a graph
    first.fit(others, epochs=1 if FAST else 12, verbose=0 if FAST else 2)
    WEIGHTS = WORK / "first.weights.h5"
    card = {"model": "unet_gan", "options": {"width": WIDTH, "reconstruction_weight": 100.0}}
    tfrecon.weights.save_weights(first.generator, WEIGHTS, card)


# %% [markdown]
# ## Freeze the encoder
#
# `trainable = False` on a layer, then compile: optimizers own what is trainable. In Keras 3 a frozen batch norm also keeps
# its statistics, in training too. The learning rate falls to nothing by the number of the step, so that a resumed run finds
# its place.


# %%
steps = -(-train_part.slices // 2)  # of an epoch


def to_adapt(frozen=("inc", "down")):
    keras.utils.set_random_seed(0)
    model = tfrecon.create("unet_gan", weights=WEIGHTS)
    for layer in model.generator.layers:
        layer.trainable = not layer.name.startswith(frozen)
    model.compile("adam", learning_rate=tfrecon.training.CosineToZero(5e-4, EPOCHS * steps))
    model.run_eagerly = FAST
    return model


adapted = to_adapt()
count = sum(int(np.prod(w.shape)) for w in adapted.generator.trainable_weights)
print(f"{count} of {adapted.generator.count_params()} numbers are trained")
encoder = [w.numpy() for w in adapted.generator.get_layer("inc_double_conv_0").weights]

# %% [markdown]
# ## A run that can be stopped
#
# The state after every epoch and at a stop holds networks, both optimizers, random generators, and the place in the epoch. An
# `EpochClock` makes the order of slices and the masks of an epoch depend on its number alone. On the command line this is
# `tfrecon train --init first.weights.h5 ...`, Ctrl-C, and `--resume`; `--time-limit MINUTES` stops before a session ends.


# %%
def run(model, folder, callbacks=()):
    clock = EpochClock()
    train = create_paired_dataset(train_part, batch_size=2, shuffle=True, mask_seed=None, clock=clock)
    test = create_paired_dataset(test_part, batch_size=4, metadata=True)

    def save_best(facts):
        tfrecon.weights.save_weights(model.generator, folder / "best.weights.h5", facts)

    return fit_resumable(model, train, test, EPOCHS, folder, clock, save_best, callbacks)


for folder in ("straight", "stopped", "scratch"):
    shutil.rmtree(WORK / folder, ignore_errors=True)  # of an earlier run of this notebook, which would go on here
history = {"fine-tuned": run(adapted, WORK / "straight")}

# %% [markdown]
# ## Stopped on purpose, and resumed
#
# A callback presses Ctrl-C within the second epoch. The step is finished and the state saved; a second Ctrl-C would stop at
# once.


# %%
class PressCtrlC(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


stopped = False
try:
    run(to_adapt(), WORK / "stopped", [PressCtrlC(steps + 1)])
except Interrupted as error:
    stopped = True
    print(str(error).replace(str(WORK), "..."))
resumed = to_adapt()
again = run(resumed, WORK / "stopped")

# %%
difference = max(float(np.abs(a - b).max()) for a, b in zip(adapted.get_weights(), resumed.get_weights(), strict=True))
print(f"largest difference to the uninterrupted run's weights: {difference}")
assert stopped and difference == 0
assert [epoch["val_ssim"] for epoch in again] == [epoch["val_ssim"] for epoch in history["fine-tuned"]]
assert all(np.array_equal(a, b) for a, b in zip(encoder, resumed.generator.get_layer("inc_double_conv_0").get_weights()))

# %% [markdown]
# ## Against the same network from scratch

# %%
keras.utils.set_random_seed(0)
scratch = tfrecon.create("unet_gan", preset="small", width=WIDTH,
                         learning_rate=tfrecon.training.CosineToZero(1e-3, EPOCHS * steps))
scratch.run_eagerly = FAST
history["from scratch"] = run(scratch, WORK / "scratch")
zero_filled = float(np.concatenate([ssim_per_image(target, image, facts["data_range"]).numpy() for image, target, facts in
                                    create_paired_dataset(test_part, batch_size=4, metadata=True)]).mean())
series = {name: np.array([epoch["val_ssim"] for epoch in epochs]) for name, epochs in history.items()}
print({"zero-filled": round(zero_filled, 3), **{name: values.round(3).tolist() for name, values in series.items()}})
tfrecon.report.comparison(series, ylabel="SSIM", baseline=zero_filled)

# %% [markdown]
# ## Judge the resumed one, doing nothing first

# %%
with SliceReader() as reader:
    for outcome in reconstruct_folder(test_part, WORK / "out", resumed.predict_on_batch, Settings(Masking(4)), reader, overwrite=True):
        assert not outcome.error, outcome.error
result = evaluate_folder([WORK / "out" / v.name for v in test_part.volumes], [v.path for v in test_part.volumes], Masking(4))
print(tfrecon.report.metrics_table(result.summary()))

# %%
volume = test_part.volumes[0]
truth, output = load_pair(WORK / "out" / volume.name, volume.path, None, "reconstruction")
baseline, mask = load_zero_filled(WORK / "out" / volume.name, volume.path, truth.shape[1:], Masking(4))
middle = len(truth) // 2
tfrecon.report.strip([(baseline[middle], output[middle], truth[middle])], [volume.name])

# %% [markdown]
# ## What the originals did when a session ended, and what is different here
#
# | the original | here |
# |---|---|
# | seed 000: weights of both networks after an epoch, no optimizer state, no way to go on | networks, optimizers, random generators, the place in the epoch |
# | seed 002: nothing saved, stopped by hand after 417 of 3254 steps | the state after every epoch, at Ctrl-C and at a time limit |
# | seed 004: goes on from a file of weights, with Adam and the cosine from their beginning, and the activation norms started anew | the very weights of the uninterrupted run |
# | the order of the data in the second half is another one | it depends on the epoch's number alone |
# | a crash while a file is written leaves half of it | a file appears when it is complete |

# %%
tfrecon.weights.save_weights(resumed.generator, WORK / "generator.weights.h5")
assert result.complete
assert FAST or series["fine-tuned"][-1] > series["from scratch"][-1]
assert FAST or not result.below_baseline(), "not better than doing nothing: train longer"
