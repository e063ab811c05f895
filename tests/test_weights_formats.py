"""Files are known by their content, tensors by their names; what is no weight file is told in one sentence (rows 60-68)."""

import json
import struct
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from legacy import networks
from weight_files import nested, network, refused, unchanged, values

from tfrecon.errors import WeightsError
from tfrecon.models.unet_gan import generator_model
from tfrecon.weights import load_weights, look_into, read_card, save_weights, sha256_of

LEAVES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var"}


def torch_names(model):
    """The model's weights with PyTorch's names and layouts."""
    return {f"{layer.name.replace('_', '.')}.{LEAVES[w.name]}":
            w.numpy().transpose(3, 2, 0, 1) if len(w.shape) == 4 else w.numpy()
            for layer in model.layers for w in layer.weights if "seed" not in w.path}


def named(model, form="{layer}/{variable}"):
    return {form.format(layer=layer.name, variable=w.name): w.numpy() for layer in model.layers for w in layer.weights
            if "seed" not in w.path}


def write_safetensors(path, tensors, **header_changes):
    header, data = {}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint16": "BF16"}[str(array.dtype)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps({**header, "__metadata__": {"format": "pt"}, **header_changes}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_npz(path, tensors):
    with open(path, "wb") as handle:  # np.savez would add its suffix
        np.savez_compressed(handle, **tensors)
    return path


def write_checkpoint(path, tensors, slots=True):
    """A TensorFlow 1 checkpoint: variables by name, with `slots` an optimizer's beside them."""
    beside = {"global_step": np.int64(7), "beta1_power": np.float32(0.5)}
    beside |= {f"{name}/Adam": array for name, array in tensors.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        names, arrays = zip(*{**tensors, **(beside if slots else {})}.items())
        slices = [""] * len(names)
        saved = tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(names), shape_and_slices=slices, tensors=arrays)
        session.run(saved)
    return path


WRITERS = {"safetensors": write_safetensors, "NumPy npz": write_npz, "TensorFlow checkpoint": write_checkpoint}


@pytest.mark.parametrize("form", ["{layer}/{variable}", "{layer}__{variable}", "{layer}/{variable}:0", "torch"])
@pytest.mark.parametrize("kind", WRITERS)
def test_tensors_by_name(tmp_path, kind, form):
    source, model = network(1), network(0)
    tensors = torch_names(source) if form == "torch" else named(source, form)
    path = WRITERS[kind](tmp_path / "weights.bin", tensors)
    report = load_weights(model, path)
    assert report.loaded == report.total == 8 and report.sha256 == sha256_of(path)
    assert all(np.array_equal(a, b) for a, b in zip(named(source).values(), named(model).values(), strict=True))
    found = look_into(path)
    assert found.format == kind and found.parameters == sum(a.size for a in tensors.values())
    assert {name for name, _, _ in found.arrays} == set(tensors)


@pytest.mark.parametrize("kind", WRITERS)
def test_tensors_that_do_not_fit_change_nothing(tmp_path, kind):
    tensors = named(network(1))
    last = list(tensors)[-1]
    spoiled = {
        "missing": ({k: v for k, v in tensors.items() if k != last}, "7 of 8 arrays", last),
        "extra": ({**tensors, "head/kernel": np.ones(3, np.float32)}, "8 of 8 arrays", "head/kernel"),
        "shape": ({**tensors, last: np.ones(7, np.float32)}, "expected shape"),
        "nan": ({**tensors, last: tensors[last] * np.nan}, "finite"),
        "strangers": ({"a/b": np.ones(3, np.float32)}, "none of the 1 arrays"),
    }
    for name, (bad, *fragments) in spoiled.items():
        refused(network(0), WRITERS[kind](tmp_path / name, bad), *fragments)


def test_variable_paths_and_checkpoints_of_numbered_layers():
    """TensorFlow 2 counts layers with weights, nested models by themselves."""
    source, model = nested(), nested()
    networks.fill(source, 3)
    numbered = {}
    for i, inner in enumerate(source.layers[1:]):
        for j, layer in enumerate(layer for layer in inner.layers if layer.weights):
            numbered |= {f"layer_with_weights-{i}/layer_with_weights-{j}/{w.name}": w.numpy() for w in layer.weights}
    for tensors in (numbered, {w.path: w.numpy() for w in source.weights}):
        networks.fill(model, 4)
        target = model if tensors is numbered else source
        expected = values(source)
        if target is source:
            networks.fill(source, 5)
        assert load_weights(target, tensors).loaded == 26 and unchanged(target, expected)


def test_two_networks_with_equal_variable_names_get_their_own_arrays():
    """Both inner models call their layer the same; arrays kept by path would land in one of them."""

    def inner(name):
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(2, name="same")(inputs), name=name)

    def build(seed):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, inner("b")(inner("a")(inputs)))
        networks.fill(model, seed)
        return model

    source, model = build(1), build(0)
    numbered = {f"layer_with_weights-{i}/layer_with_weights-0/{w.name}": w.numpy()
                for i, layer in enumerate(source.layers[1:]) for w in layer.weights}
    load_weights(model, numbered)
    assert unchanged(source, values(model))


@pytest.mark.parametrize("key", ["state_dict", "model", "params", "model_state_dict", "net"])
def test_row_65_wrapped_and_parallel_checkpoints(key):
    source, model = network(1), network(0)
    state = {f"module.{name}": array for name, array in torch_names(source).items()}
    state["module.first.1.num_batches_tracked"] = np.array(5)
    optimizer = {"state": {0: {"exp_avg": np.ones(3)}}, "param_groups": [1]}
    wrapped = {key: state, "epoch": 7, "optimizer": optimizer, "args": None}
    report = load_weights(model, wrapped)
    assert report.notes == (f"taken from the key {key!r}", "the prefix module. of DataParallel was taken off 9 names")
    assert "taken from" in str(report) and unchanged(source, values(model))


def test_several_state_dicts_in_one_checkpoint():
    source, other, model = network(1), network(2), network(0)
    critic = {"conv.weight": np.ones((1, 1, 3, 3))}
    load_weights(model, {"generator": torch_names(source), "discriminator": critic})  # one fits
    assert unchanged(source, values(model))
    both = {"params": torch_names(source), "params_ema": torch_names(other)}
    refused(model, both, "several state dicts", "'params', 'params_ema'", "key=")
    assert load_weights(model, both, key="params_ema").notes == ("taken from the key 'params_ema'",)
    assert unchanged(other, values(model))
    refused(model, both, "no state dict under 'ema'", key="ema")
    refused(model, {"epoch": {"number": 3}}, "without a dictionary of tensors")


def test_mappings_with_odd_values_change_nothing():
    tensors = named(network(1))
    first = next(iter(tensors))
    refused(network(0), {**tensors, first: object()}, "expected shape")
    refused(network(0), {**tensors, first: tensors[first].astype(complex)}, "finite")
    refused(network(0), {**tensors, first: tensors[first].astype(np.float64) + 1e300}, "finite")
    refused(network(0), {**tensors, f"{first}:0": tensors[first]}, "':0'")
    refused(network(0), {}, "none of the 0 arrays")


def test_half_precision_is_widened(tmp_path):
    source, model = network(1), network(0)
    rounded = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in named(source).items()}
    load_weights(model, write_safetensors(tmp_path / "bf16", rounded))
    for exact, coarse in zip(values(source), values(model), strict=True):
        np.testing.assert_allclose(coarse, exact, rtol=2**-7, atol=1e-30)
    assert not unchanged(source, values(model))
    load_weights(model, write_safetensors(tmp_path / "f16", {n: a.astype(np.float16) for n, a in named(source).items()}))


# --- what a file really is -----------------------------------------------------------------------------------------------


def test_row_64_without_torch_one_sentence_names_the_ways(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    old = tmp_path / "weights.h5"
    old.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    new = tmp_path / "weights.npz"
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    for path in (old, new):
        refused(network(), path, 'pip install "tfrecon[torch]"', "mapping", "safetensors")


def test_row_64_other_pickles_are_never_opened(tmp_path):
    import pickle

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"a": 1}))
    refused(network(), path, "a Python pickle")


FOREIGN = {
    "row 1 half": (lambda good: good[: len(good) // 2], "truncated"),
    "row 2 empty": (lambda good: b"", "empty file"),
    "row 3 page": (lambda good: b"<!DOCTYPE html><html>404</html>", "a web page"),
    "row 3 gzip": (lambda good: b"\x1f\x8b\x08" + bytes(50), "a gzip archive"),
    "row 68 pointer": (lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "one array": (lambda good: b"\x93NUMPY\x01\x00" + bytes(100), "a single NumPy array"),
    "text": (lambda good: b"Access denied. Too many people downloaded this file.", "plain text"),
    "zeros": (lambda good: bytes(4096), "zero bytes"),
    "dicom": (lambda good: bytes(128) + b"DICM" + bytes(500), "a DICOM image"),
    "nifti": (lambda good: bytes(344) + b"n+1\x00" + bytes(500), "a NIfTI image"),
    "noise": (lambda good: np.random.default_rng(0).bytes(600), "something unknown"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["g.weights.h5", "g.pth"])
def test_foreign_files(tmp_path, kind, name):
    path = save_weights(network(1), tmp_path / "good.weights.h5")
    make, fragment = FOREIGN[kind]
    bad = tmp_path / name
    bad.write_bytes(make(path.read_bytes()))
    message = refused(network(), bad, fragment)
    assert "HDF5 file but" not in message and "k-space" not in message
    for look in (look_into, read_card):
        with pytest.raises(WeightsError, match=fragment):
            look(bad)


@pytest.mark.parametrize("key", ["kspace", "kspace_4af", "reconstruction", "reconstruction_rss"])
def test_row_67_volumes_of_images(tmp_path, key):
    path = tmp_path / "generator.h5"
    with h5py.File(path, "w") as file:
        file[key] = np.ones((2, 4, 4), np.float32)
    refused(network(), path, "a volume of images", "not weights")


def test_hdf5_without_weights(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.ones(3)
    refused(network(), tmp_path / "x.h5", "without weights of Keras; it holds data")


def test_archives_that_hold_something_else(tmp_path):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    refused(network(), path, "it holds readme.txt")
    with zipfile.ZipFile(path, "w"):
        pass
    refused(network(), path, "it holds nothing")


def test_folders_and_parts_of_checkpoints(tmp_path):
    prefix = write_checkpoint(tmp_path / "variables" / "variables", named(network(1)))
    refused(network(), tmp_path, "a SavedModel folder", str(prefix))
    refused(network(), tmp_path / "variables", "Give the prefix", str(prefix))
    refused(network(), next(prefix.parent.glob("*.data-*")), "one part of a TensorFlow checkpoint", str(prefix))
    (tmp_path / "none").mkdir()
    refused(network(), tmp_path / "none", "a folder, expected a file")
    refused(network(), tmp_path / "missing.h5", "does not exist")
    model = network(0)
    assert load_weights(model, f"{prefix}.index").sha256 == sha256_of(prefix)
    next(prefix.parent.glob("*.data-*")).write_bytes(b"")
    refused(network(), prefix, "files hold")
    next(prefix.parent.glob("*.data-*")).unlink()
    refused(network(), prefix, "checkpoint")


def test_a_key_is_for_files_with_several_state_dicts(tmp_path):
    path = save_weights(network(1), tmp_path / "x.weights.h5")
    refused(network(0), path, "a key ('ema') means nothing", key="ema")


def test_keras_3_files_under_any_name(tmp_path):
    source = network(1)
    save_weights(source, tmp_path / "x.weights.h5")
    source.save(tmp_path / "x.keras")
    for name in ("x.weights.h5", "x.keras"):
        path = (tmp_path / name).rename(tmp_path / f"{name}.download")
        model = network(0)
        assert load_weights(model, path).loaded == 8
        assert all(np.array_equal(a, b) for a, b in zip(named(source).values(), named(model).values(), strict=True))


def test_messages_name_the_file_not_the_copy_inside(tmp_path):
    """Archives are unpacked beside; the user knows only what was given."""
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "inner.h5", "model.weights.h5")
    refused(network(), path, "link into another file")


def test_archive_that_lies_about_its_size(tmp_path):
    """What lies behind the declared size is not unpacked, and the checksum tells."""
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(5000))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    refused(network(), path, "damaged")


def test_cards_are_ours_only(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = np.array([], "S1")
    for path in (write_npz(tmp_path / "x.npz", {"a": np.ones(2)}), tmp_path / "x.h5"):
        assert read_card(path) == {}


def test_generator_of_the_zoo_from_safetensors(tmp_path):
    """The names of a published network end to end: `module.` and all."""
    source, model = generator_model((None, None, 1), width=2), generator_model((None, None, 1), width=2)
    networks.fill(source, 1)
    state = {f"module.{name}": array for name, array in torch_names(source).items()}
    report = load_weights(model, write_safetensors(tmp_path / "KLDivLoss_Adam_generator_3.pt", state))
    assert report.loaded == report.total == 110 and "module." in report.notes[0]
    assert unchanged(source, values(model))
