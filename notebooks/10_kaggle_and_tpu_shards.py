# %% [markdown]
# # Kaggle data and TPU shards
#
# Data by their Kaggle address, attached or downloaded once; TFRecord shards, which a TPU reads without Python; and training
# from them, on a TPU where there is one and on what there is elsewhere. The model is SRResCycGAN's generator, four times the
# size (see 04 for the whole of it).
#
# Runs as it is, without account or download: the address of this notebook stands for phantoms laid into kagglehub's cache by
# hand. Real data is one variable: set `TFRECON_DATA` (or `DATA` below) to `kaggle://owner/dataset/versions/3`, to a folder
# under `/kaggle/input`, or to any folder of images (`reconstruction_rss`). `TFRECON_FAST=1` makes it tiny. The TPU's cell was
# written after TensorFlow's documents and has never run on a TPU: none was at hand.

# %%
# Install only where it is missing; the TensorFlow already there is kept.
import importlib.util
if importlib.util.find_spec("tfrecon") is None:
    pass  # %pip install -q ..  # the project this notebook lies in

# %%
import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfrecon
from tfrecon import cli
from tfrecon.data import create_paired_dataset, index_magnitudes
from tfrecon.data.shards import verify_shards
from tfrecon.data.superres import index_shards
from tfrecon.errors import TfreconError
from tfrecon.reconstruction import SuperresSettings, bicubic, enlarge_folder, evaluate_superres, load_pair

FAST = bool(os.environ.get("TFRECON_FAST", ""))
WORK = Path(os.environ.get("TFRECON_WORK", "kaggle_and_tpu_shards"))
DATA = os.environ.get("TFRECON_DATA", "")  # your own: kaggle://owner/dataset/versions/3, or a folder
keras.utils.set_random_seed(0)

# %% [markdown]
# ## The address of a dataset
#
# `kaggle://owner/dataset`, the end of its page's address, with a version and a folder inside where wanted. In a Kaggle
# notebook what is attached (Add Input) is read from `/kaggle/input`, without network. Elsewhere kagglehub downloads it once
# into its cache (`KAGGLEHUB_CACHE`); private data want `KAGGLE_USERNAME` and `KAGGLE_KEY`. Only a named version is the same
# data every time.
#
# Here a cache is filled by hand as a download would leave it: the version's folder, and a mark that it is complete.

# %%
attached = Path("/kaggle/input")
print("attached:", sorted(path.name for path in attached.iterdir()) if attached.is_dir() else "this is not a Kaggle notebook")
if not DATA:
    home = WORK / "cache" / "datasets" / "somebody" / "phantoms"
    tfrecon.data.write_demo_volumes(home / "versions" / "1" / "train", volumes=4 if FAST else 12, slices=2 if FAST else 8,
                                    size=64 if FAST else 192)
    (home / "1.complete").touch()
    os.environ["KAGGLEHUB_CACHE"] = str((WORK / "cache").resolve())
    DATA = "kaggle://somebody/phantoms/versions/1"
index = index_magnitudes(DATA)
print(DATA, "->", index.slices, "slices in", [volume.name for volume in index.volumes][:3], "...")

# %% [markdown]
# A wrong address is told at once, what is missing inside a dataset together with what is there.

# %%
for address in ("kaggle://phantoms", f"{DATA}/singlecoil_val") if DATA.startswith("kaggle://") else ("kaggle://phantoms",):
    try:
        index_magnitudes(address)
        refused = False
    except TfreconError as error:
        refused = True
        print(str(error).replace(str(WORK.resolve()), "..."), "\n")
    assert refused

# %% [markdown]
# ## Shards
#
# A TPU cannot run the Python that reads HDF5 (seed 002's generator would end there with "No registered 'PyFunc'"); under a
# TPU strategy tfrecon refuses such data before anything starts and names this command. All slices of a person lie in one
# shard, names of people become pseudonyms, the manifest has the SHA-256 of every shard, and the same images give the same
# bytes. On Kaggle the folder can be saved as a dataset of its own and attached.
#
# In a terminal: `tfrecon convert kaggle://somebody/phantoms/versions/1 shards/ --shards 2`. These are images, for super-resolution;
# `--task masked` takes single-coil k-space for the U-Net GAN and DeblurGAN, whose masks are drawn when the shards are read.

# %%
code = cli.main(["convert", DATA, str(WORK / "shards"), "--shards", "2", "--overwrite"])
assert code == 0
shards = index_shards(WORK / "shards")
verify_shards(shards)
print([(Path(shard.path).name, shard.size) for shard in shards.shards])

# %% [markdown]
# The same pairs come out of them, bit for bit.


# %%
def pictures(source):
    pairs = create_paired_dataset(source, "superres", batch_size=4)
    return sorted(small.tobytes() + large.tobytes() for smalls, larges in pairs.as_numpy_iterator()
                  for small, large in zip(smalls, larges))


assert pictures(index) == pictures(WORK / "shards")

# %% [markdown]
# ## A TPU where there is one
#
# Kaggle's TPU machines have it beside the processor ("local"); elsewhere `TPU_NAME` names it. Colab's TPU image has come
# without TensorFlow since 2025; `tfrecon doctor` says what is seen. Without a TPU the strategy is TensorFlow's default: one
# device, GPU or CPU.

# %%
tpus = tf.config.list_physical_devices("TPU")
if tpus or os.environ.get("TPU_NAME"):
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect("local" if tpus else None)
    strategy = tf.distribute.TPUStrategy(resolver)
else:
    strategy = tf.distribute.get_strategy()
replicas = strategy.num_replicas_in_sync
print(type(strategy).__name__, replicas, "replicas;", [device.name for device in tf.config.list_logical_devices()])

# %% [markdown]
# ## Train from the shards
#
# Batches of one size (`drop_remainder`), the global batch a multiple of the replicas. Data that are asked for under a TPU's
# strategy are read without Python, in an order of their own; elsewhere training on shards is training on the files. Losses are
# divided by the number of replicas in one place, so that two devices take the step that one takes. Of the losses the content loss
# alone; the published L1 raises SSIM first, the mean square PSNR, and a short run needs both.


# %%
def content(target, output):
    return tfrecon.losses.l1(target, output) + tfrecon.losses.mse(target, output) / 40


train_shards, test_shards = tfrecon.data.split(shards, (0.75, 0.25), seed=0)
held_out = {volume.name for volume in test_shards.volumes}
test_part = replace(index, volumes=tuple(volume for volume in index.volumes if volume.name in held_out))
with strategy.scope():
    train = create_paired_dataset(train_shards, "superres", batch_size=2 * replicas, patch=32 if FAST else 96, shuffle=True,
                                  drop_remainder=True)
epochs = 1 if FAST else 20
options = {"filters": 2, "n_blocks": 1} if FAST else {}
with strategy.scope():
    rate = tfrecon.training.CosineToZero(1e-3, epochs * max(1, int(train.cardinality())))
    model = tfrecon.create("srrescycgan", preset="small", **options)
    model.compile(*(keras.optimizers.Adam(rate) for _ in range(4)), losses={"content": content})
history = model.fit(train, epochs=epochs, verbose=0 if FAST else 2)

# %%
tfrecon.report.curves({"content_loss": history.history["content_loss"]})

# %% [markdown]
# ## Judge whole volumes of other people, bicubic interpolation first

# %%
with tfrecon.data.SliceReader() as reader:
    settings = SuperresSettings(reduce=True)
    for outcome in enlarge_folder(test_part, WORK / "out", model.predict_on_batch, settings, reader, overwrite=True):
        assert not outcome.error, outcome.error
made = [WORK / "out" / volume.name for volume in test_part.volumes]
result = evaluate_superres(made, [volume.path for volume in test_part.volumes])
print(tfrecon.report.metrics_table(result.summary(), baseline="bicubic"))

# %%
volume = test_part.volumes[0]
truth, output = load_pair(made[0], volume.path, volume.target_key, "reconstruction")
middle = len(truth) // 2
tfrecon.report.strip([(bicubic(truth)[middle], output[middle], truth[middle])], [Path(volume.name).name])

# %% [markdown]
# ## What the original's input did, and what is different here
#
# | seed 002 | here |
# |---|---|
# | a Python generator: no TPU | shards, read without Python |
# | pictures resized one by one in Python, 120 a second | in the graph, many at once |
# | networks and losses built outside of the strategy's scope | built inside; losses divided by the number of replicas |
# | a shuffle buffer of 1000 images: 1.3 GB | indices are shuffled; on a TPU shards and a buffer |
# | one volume of another size ends the run | batches of their own, or patches |
# | file names cut at the fourth slash: an error for data under shorter paths | any path, and `kaggle://owner/dataset/versions/3`, the same everywhere |

# %%
tfrecon.weights.save_weights(model.G_HR, WORK / "generator.weights.h5")
assert result.complete and np.isfinite(list(history.history.values())).all()
assert FAST or not result.below_baseline(), "not better than bicubic interpolation: train longer"
