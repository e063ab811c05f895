"""Keras 2 weight files: recorded ones load to the recorded outputs, wrong and hostile ones change nothing."""

import h5py
import keras
import numpy as np
import pytest
from conftest import GOLDEN
from legacy import networks
from weight_files import LEGACY, addons, largest_difference, nested, network, quietly, refused, unchanged, values

from tfrecon.models import deblurgan_mri
from tfrecon.weights import load_weights, save_legacy_weights
from tfrecon.weights.legacy_files import stored_layers


def deblurgan(kind):
    build = {"generator": deblurgan_mri.generator_model, "discriminator": deblurgan_mri.discriminator_model}[kind]
    return build((64, 64, 3), 8)


@pytest.mark.parametrize(("file", "kind", "count", "tolerance"), [
    ("keras_generator_n8", "generator", 140, 2.6e-5),
    ("keras_discriminator_n8", "discriminator", 32, 1.2e-6),
    ("keras_discriminator_n8_same_session", "discriminator", 32, 1.2e-6),  # conv2d_25 ...: a loader by name fails
])
def test_published_layout_gives_the_recorded_outputs(golden, file, kind, count, tolerance):
    case, model = golden("keras_h5_io"), deblurgan(kind)
    report = load_weights(model, GOLDEN / f"{file}.h5")
    assert report.loaded == report.total == count
    assert np.abs(model(case["x"], training=False).numpy() - case[f"y_{kind}"]).max() < tolerance
    for row, (name, array) in zip(report.rows, case.weights(f"{kind}_").items(), strict=True):
        variable = next(v for v in model.weights if v.path == row[1])
        np.testing.assert_array_equal(variable.numpy(), array, err_msg=name)


CASES = {
    "nested_part_frozen": nested, "keras224_nested_part_frozen": nested, "addons": addons,
    "whole_model": lambda: networks.generator(keras),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_older_keras(name):
    model = CASES[name]()
    report = load_weights(model, LEGACY / f"{name}.h5")
    assert report.loaded == report.total
    assert largest_difference(model, np.load(LEGACY / f"{name}.npz")) < 1e-5
    assert bool(report.notes) == (name == "whole_model")


@pytest.mark.parametrize("name", ["nested_part_frozen", "keras224_nested_part_frozen"])
def test_the_nested_files_are_really_permuted(name):
    """If they were in order, a loader by position would pass the test above."""
    with h5py.File(LEGACY / f"{name}.h5") as file:
        group = dict(stored_layers(file))[next(n for n, arrays in stored_layers(file) if arrays)]
    first = [array.owner for array in group if array.leaf == "kernel"]
    assert first != sorted(first)
    shapes = [v.shape for v in nested().layers[1].weights]
    assert len(set(shapes)) < len(shapes)


def test_by_position_would_swap_equal_layers():
    """The trap itself: the recorded outputs do not come out if the group's order is taken."""
    model = nested()
    load_weights(model, LEGACY / "nested_part_frozen.h5")
    case = np.load(LEGACY / "nested_part_frozen.npz")
    _, one, other, _ = (layer for layer in model.layers[1].layers if isinstance(layer, keras.layers.Conv2D))
    assert one.kernel.shape == other.kernel.shape
    kernels = one.kernel.numpy(), other.kernel.numpy()
    one.kernel.assign(kernels[1])
    other.kernel.assign(kernels[0])
    assert largest_difference(model, case) > 1e-2


def edited(tmp_path, name, edit):
    path = tmp_path / "edited.h5"
    path.write_bytes((LEGACY / f"{name}.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def rename_inside(rename, flip=False):
    """Give the layers inside the first nested model other names; `flip` also turns the stored order round."""

    def edit(file):
        group = file[next(n for n in file.attrs["layer_names"] if len(file[n].attrs["weight_names"]))]
        names = [str(n) for n in group.attrs["weight_names"]]
        owners = list(dict.fromkeys(n.split("/")[0] for n in names))
        for index, owner in enumerate(owners):
            group.move(owner, rename(owner, index))
        new = [f"{rename(o, owners.index(o))}/{leaf}" for o, leaf in (n.split("/") for n in names)]
        group.attrs["weight_names"] = np.array(new[::-1] if flip else new, "S")

    return edit


def test_other_names_inside_that_say_nothing_are_refused(tmp_path):
    path = edited(tmp_path, "nested_part_frozen", rename_inside(lambda owner, index: f"layer{chr(97 + index)}"))
    refused(nested(), path, "which is which cannot be told", "mapping")


def test_numbers_that_contradict_the_stored_order_are_refused(tmp_path):
    """Automatic names in an order that no freezing explains: the layers were made in another order than they run."""
    path = edited(tmp_path, "nested_part_frozen", rename_inside(lambda owner, index: owner, flip=True))
    refused(nested(), path, "which is which cannot be told")


def test_different_shapes_inside_need_no_names(tmp_path):
    def build(names):
        inner_input = keras.Input((6,))
        x = keras.layers.Dense(5, name=names[0])(inner_input)
        inner = keras.Model(inner_input, keras.layers.Dense(3, name=names[1])(x))
        inputs = keras.Input((6,))
        model = keras.Model(inputs, inner(inputs))
        networks.fill(model, len(names[0]))
        return model

    source, model = build(("one", "two")), build(("encoder", "decoder"))
    load_weights(model, save_legacy_weights(source, tmp_path / "x.h5"))
    assert unchanged(source, values(model))


# --- what is refused ---------------------------------------------------------------------------------------------------


def test_row_60_other_networks(tmp_path):
    file = GOLDEN / "keras_discriminator_n8.h5"
    refused(deblurgan("generator"), file, "holds 12 layers with weights (conv2d_1,", "has 47", "build that one")
    wide = deblurgan_mri.discriminator_model((64, 64, 3), 4)
    refused(wide, file, "conv2d_1/kernel:0: expected shape (4, 4, 3, 4)", "received (4, 4, 3, 8)")


def test_row_60_transposed_convolution_of_equal_shape_is_told_apart(tmp_path):
    """Shapes cannot tell these revisions: (3, 3, 2, 2) either way."""

    def build(layer):
        inputs = keras.Input((4, 4, 2))
        return keras.Model(inputs, layer(2, 3)(inputs))

    path = save_legacy_weights(build(keras.layers.Conv2DTranspose), tmp_path / "x.h5")
    refused(build(keras.layers.Conv2D), path, "is a conv2d_transpose", "another revision")


def first_array(file):
    return "conv2d/conv2d/kernel:0" if "conv2d" in file else next(
        f"{n}/{w}" for n in file.attrs["layer_names"] for w in file[n].attrs["weight_names"])


def put_nan(file):
    file[first_array(file)][0] = np.nan


def put_infinity_by_rounding(file):
    """1e300 is finite as stored and infinite in the model's float32."""
    name = first_array(file)
    data = file[name][()].astype(np.float64) * 0 + 1e300
    del file[name]
    file[name] = data


def drop_array(file):
    del file[first_array(file)]


def drop_name(file):
    group = file[first_array(file).split("/")[0]]
    group.attrs["weight_names"] = group.attrs["weight_names"][1:]


def put_external_link(file):
    name = first_array(file)
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "/x")


def put_external_storage(file):
    name = first_array(file)
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[("/etc/services", 0, 4 * int(np.prod(shape)))])


def put_virtual(file):
    name = first_array(file)
    layout = h5py.VirtualLayout(file[name].shape, "f4")
    del file[name]
    file.create_virtual_dataset(name, layout)


def put_bomb(file):
    """Declares 14.9 GiB and stores nothing."""
    name = first_array(file)
    del file[name]
    file.create_dataset(name, (1000, 1000, 1000, 4), "f4", chunks=(10, 10, 10, 4))


def put_text(file):
    name = first_array(file)
    del file[name]
    file[name] = "no numbers"


def put_lists(file):
    """Elements that are lists: of the right shape, and dangerous to read when damaged."""
    name = first_array(file)
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, h5py.vlen_dtype(np.dtype("f4")))[0, 0, 0, 0] = np.ones(3, np.float32)


def list_twice(file):
    names = list(file.attrs["layer_names"])
    file.attrs["layer_names"] = np.array([*names, names[-1]], "S")


def list_unknown(file):
    file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], "ghost"], "S")


def list_numbers(file):
    file.attrs["layer_names"] = np.arange(5)


def list_vectors(file):
    """A list of lists: HDF5's library can crash on these when they are damaged, so they are not read at all."""
    del file.attrs["layer_names"]
    kind = h5py.vlen_dtype(np.dtype("u1"))
    file.attrs.create("layer_names", np.array([np.ones(2, np.uint8), np.ones(3, np.uint8)], dtype=object), dtype=kind)


def put_outside(file):
    group = file["top_level_model_weights"]
    group["scale:0"] = np.ones(3, np.float32)
    group.attrs["weight_names"] = np.array(["scale:0"], "S")


def one_more_layer(file):
    group = file.create_group("extra")
    group["extra/kernel:0"] = np.ones((2, 2), np.float32)
    group.attrs["weight_names"] = np.array(["extra/kernel:0"], "S")
    file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], "extra"], "S")


def keras_1(file):
    file.attrs["keras_version"] = "1.2.2"


def theano(file):
    file.attrs["backend"] = "theano"


@pytest.mark.parametrize(("spoil", "fragment"), [
    (put_nan, "finite"), (put_infinity_by_rounding, "finite"), (drop_array, "no key"), (drop_name, "needs"),
    (put_external_link, "link into another file"), (put_external_storage, "other files"), (put_virtual, "other files"),
    (put_bomb, "declares"), (put_text, "holds no numbers"), (put_lists, "holds no numbers"),
    (list_twice, "lists a layer twice"),
    (list_unknown, "does not hold it"),
    (list_numbers, "list of names"), (list_vectors, "list of names"), (put_outside, "outside of layers"),
    (one_more_layer, "layers with weights"), (keras_1, "turned round"), (theano, "turned round"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_spoiled_files_change_nothing(tmp_path, spoil, fragment):
    path = tmp_path / "spoiled.h5"
    path.write_bytes((GOLDEN / "instance_norm_generator.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        spoil(file)
    refused(instance_norm_generator(), path, fragment)


def instance_norm_generator():
    """The network of tests/golden/instance_norm_generator.h5 in layers of ours and of Keras 3."""
    from tfrecon.layers import InstanceNormalization

    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 5, padding="same")(inputs)
    x = layers.ReLU()(InstanceNormalization()(x))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.LeakyReLU(negative_slope=0.2)(InstanceNormalization(epsilon=1e-5)(x))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same", activation="tanh")(x))


def test_keras_1_names_without_a_version_are_refused(tmp_path):
    """The oldest files say nothing about themselves but by their names (conv_W, conv_b)."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = np.array(["dense"], "S")
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array(["dense_W", "dense_b"], "S")
        group["dense_W"], group["dense_b"] = np.ones((4, 2), np.float32), np.ones(2, np.float32)
    refused(model, tmp_path / "x.h5", "Keras 1 on an unknown backend")


def test_row_63_the_code_in_a_whole_model_is_not_looked_at(tmp_path):
    """A description that is no JSON at all does not matter, so nothing can have read it."""

    def edit(file):
        file.attrs["model_config"] = "{broken"

    model = networks.generator(keras)
    assert load_weights(model, edited(tmp_path, "whole_model", edit)).loaded == 16


def test_row_66_the_suffix_does_not_matter(tmp_path):
    for name in ("x.weights.h5", "x.keras", "x.pth", "x"):
        path = tmp_path / name
        path.write_bytes((LEGACY / "whole_model.h5").read_bytes())
        assert load_weights(networks.generator(keras), path).loaded == 16


# --- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [network, lambda: nested(("g_", "d_")), nested, addons],
                         ids=["flat", "named", "auto", "sn"])
def test_written_files_load_here_and_in_keras(tmp_path, build):
    source, path = build(), tmp_path / "generator_3_12.h5"
    networks.fill(source, 5)
    for layer in source.layers[-1:]:
        layer.trainable = False
    save_legacy_weights(source, path)
    ours, keras_own = build(), build()
    for layer in keras_own.layers[-1:]:  # Keras goes by position: it needs the same layers frozen
        layer.trainable = False
    assert load_weights(ours, path).loaded == load_weights(ours, path).total
    assert _seeds_differ_only(source, ours)
    keras_own.load_weights(str(path))
    assert _seeds_differ_only(source, keras_own)
    assert [p.name for p in tmp_path.iterdir()] == ["generator_3_12.h5"]


def _seeds_differ_only(one, other):
    return all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(one.weights, other.weights, strict=True)
               if "seed" not in a.path)


def test_written_layout_is_the_published_one(tmp_path):
    path = save_legacy_weights(network(), tmp_path / "x.h5")
    with h5py.File(path) as file:
        assert set(file.attrs) == {"layer_names", "backend", "keras_version"}
        assert [n.decode() for n in file.attrs["layer_names"]] == ["image", "first_0", "first_1", "drop", "last"]
        assert file["last/last/kernel:0"].shape == (3, 3, 3, 1)
        assert [n.decode() for n in file["first_1"].attrs["weight_names"]] == [
            f"first_1/{v}:0" for v in ("gamma", "beta", "moving_mean", "moving_variance")]
        assert len(file["drop"].attrs["weight_names"]) == 0


@pytest.mark.slow
def test_many_layers_need_more_than_one_attribute(tmp_path):
    """HDF5 has 64 KiB for an attribute; 70 layers with very long names need two."""
    inputs = x = keras.Input((1,))
    for index in range(70):
        x = keras.layers.Dense(1, name=f"{'layer' * 200}_{index}")(x)
    model = keras.Model(inputs, x)
    networks.fill(model, 1)
    path = save_legacy_weights(model, tmp_path / "x.h5")
    with h5py.File(path) as file:
        assert "layer_names0" in file.attrs and "layer_names1" in file.attrs
    before = values(model)
    networks.fill(model, 2)
    assert load_weights(model, path).loaded == 140 and unchanged(model, before)


def test_names_that_collide_inside_are_refused_and_leave_no_file(tmp_path):
    def inner(name):
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(2, name="same")(inputs), name=name)

    inputs = keras.Input((2,))
    middle = keras.Model(inputs, inner("b")(inner("a")(inputs)))
    outer = keras.Input((2,))
    with pytest.raises(ValueError, match="same name inside"):
        save_legacy_weights(keras.Model(outer, middle(outer)), tmp_path / "x.h5")
    assert not list(tmp_path.iterdir())


def test_file_keras_3_writes_in_the_old_layout(tmp_path):
    """Names without ':0', inside a whole model."""
    source, path = network(1), tmp_path / "x.h5"
    quietly(source.save, str(path))
    model = network(0)
    assert load_weights(model, path).loaded == 8 and _seeds_differ_only(source, model)
