"""Weights load completely or not at all, whatever the file says it is."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from disk_tools import full_after

import tfrecon
from tfrecon.errors import DataError, WeightsError
from tfrecon.models.unet_gan import discriminator_model, generator_model
from tfrecon.weights import load_weights, read_card, save_weights
from tfrecon.weights.keras_files import keras_arrays


def network(seed=0, width=2):
    keras.utils.set_random_seed(seed)
    return generator_model((None, None, 1), width=width)


def values(model):
    return [w.numpy() for w in model.weights]


def unchanged(model, before):
    return all(np.array_equal(a, b) for a, b in zip(values(model), before, strict=True))


@pytest.fixture
def saved(tmp_path):
    return save_weights(network(1), tmp_path / "g.weights.h5", {"model": "unet_gan", "options": {"width": 2}})


def rewritten_card(path, **changes):
    with h5py.File(path, "r+") as file:
        card = {**json.loads(file.attrs["tfrecon_card"]), **changes}
        file.attrs["tfrecon_card"] = json.dumps({key: value for key, value in card.items() if value is not None})
    return path


def test_cards_have_a_version_and_those_without_one_are_read(saved):
    with h5py.File(saved) as file:
        assert json.loads(file.attrs["tfrecon_card"])["format_version"] == 1
    assert set(read_card(saved)) == {"model", "options"}
    rewritten_card(saved, format_version=None, arrays_sha256=None)  # as tfrecon 0.1 wrote them
    assert set(read_card(saved)) == {"model", "options"} and load_weights(network(), saved).loaded == 110


@pytest.mark.parametrize("version, words", [(2, "Install a newer one"), ("1", "damaged"), (True, "damaged"), (0, "damaged")])
def test_cards_of_a_newer_tfrecon_are_refused(saved, version, words):
    with pytest.raises(WeightsError, match=words):
        read_card(rewritten_card(saved, format_version=version))


def test_row_61_arrays_that_changed_since_they_were_written_are_refused(saved):
    model = network(0)
    before = values(model)
    with h5py.File(saved, "r+") as file:
        name = next(n for n in keras_arrays(file) if file[n].ndim == 4)
        file[name][0, 0, 0, 0] += 1e-6
    with pytest.raises(WeightsError, match="SHA-256 in its card"):
        load_weights(model, saved)
    assert unchanged(model, before)


def test_a_variance_below_0_is_damage():
    model = network(0)
    arrays = {v.path: v.numpy() for v in model.weights}
    name = next(name for name in arrays if name.endswith("moving_variance"))
    with pytest.raises(WeightsError, match="variances of at least 0"):
        load_weights(model, {**arrays, name: -arrays[name] - 1})


def test_round_trip_with_card(saved):
    model = network(0)
    report = load_weights(model, saved)
    assert report.loaded == report.total == 110 and len(report.sha256) == 64 and "110/110" in str(report)
    assert unchanged(network(1), values(model))
    assert read_card(saved)["options"] == {"width": 2}
    assert [p.name for p in saved.parent.iterdir()] == ["g.weights.h5"]


def test_create_builds_what_the_card_says(saved):
    trainer = tfrecon.create("unet_gan", weights=saved)
    assert unchanged(network(1), values(trainer.generator))


def test_keras_archive(tmp_path):
    source = network(1)
    source.save(tmp_path / "g.keras")
    model = network(0)
    assert load_weights(model, tmp_path / "g.keras").loaded == 110
    assert read_card(tmp_path / "g.keras") == {}
    assert unchanged(source, values(model))


def spoil_nan(path):
    with h5py.File(path, "r+") as file:
        dataset = next(file[f"{g}/vars/0"] for g in _groups(file) if f"{g}/vars/0" in file)
        dataset[...] = np.nan


def spoil_missing(path):
    with h5py.File(path, "r+") as file:
        last = [g for g in _groups(file) if f"{g}/vars/0" in file][-1]
        del file[f"{last}/vars/0"]


def spoil_external(path):
    with h5py.File(path, "r+") as file:
        group = next(g for g in _groups(file) if f"{g}/vars/0" in file)
        del file[f"{group}/vars/0"]
        file[f"{group}/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")


def spoil_truncated(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _groups(file):
    found = []
    file.visit(lambda name: found.append(name))
    return found


@pytest.mark.parametrize("spoil", [spoil_nan, spoil_missing, spoil_external, spoil_truncated])
def test_spoiled_file_changes_nothing(saved, spoil):
    spoil(saved)
    model = network(0)
    before = values(model)
    with pytest.raises((WeightsError, DataError)):
        load_weights(model, saved)
    assert unchanged(model, before)


def test_other_networks_weights_change_nothing(saved, tmp_path):
    for model in (network(0, width=3), discriminator_model((None, None, 1))):
        before = values(model)
        with pytest.raises(WeightsError, match="Build the model"):
            load_weights(model, saved)
        assert unchanged(model, before)


def test_file_with_more_arrays_than_the_model_is_refused(tmp_path):
    """Keras itself would take the first arrays and leave the rest."""
    inputs = keras.Input((4,))
    small = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    large = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(4)(inputs)))
    path = save_weights(large, tmp_path / "x.weights.h5")
    before = values(small)
    with pytest.raises(WeightsError, match="holds 4 arrays"):
        load_weights(small, path)
    assert unchanged(small, before)


def test_wrapped_layers_are_saved_twice_and_load(tmp_path):
    def build(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((8, 8, 1))
        return keras.Model(inputs, keras.layers.SpectralNormalization(keras.layers.Conv2D(2, 3))(inputs))

    path, model = save_weights(build(1), tmp_path / "x.weights.h5"), build(0)
    load_weights(model, path)
    assert unchanged(build(1), values(model))


def test_damaged_archive_is_an_error_of_ours(tmp_path):
    network(1).save(tmp_path / "g.keras")
    data = bytearray((tmp_path / "g.keras").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    (tmp_path / "g.keras").write_bytes(data)
    model = network(0)
    before = values(model)
    with pytest.raises((WeightsError, DataError)):
        load_weights(model, tmp_path / "g.keras")
    assert unchanged(model, before)


def test_card_with_nonsense_is_an_error_of_ours(tmp_path):
    for options in ([1], {"width": -1}, {"loss": 3}, {"width": "many"}):
        path = save_weights(network(1), tmp_path / "g.weights.h5", {"model": "unet_gan", "options": options})
        with pytest.raises(WeightsError):
            tfrecon.create("unet_gan", weights=path)


def test_data_given_as_weights_is_named(demo_folder):  # row 67
    with pytest.raises(WeightsError, match="volume of images"):
        load_weights(network(), next(demo_folder.iterdir()))


def test_archive_that_is_not_ours(tmp_path):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil", "x")
    with pytest.raises(WeightsError, match="without model.weights.h5"):
        load_weights(network(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.keras"]


def state(model):
    """The model's weights as a PyTorch state dict would hold them."""
    leaves = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "moving_mean": "running_mean",
              "moving_variance": "running_var"}
    result = {}
    for layer in model.layers:
        for w in layer.weights:
            array = w.numpy()
            result[f"{layer.name}.{leaves[w.name]}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    return result


def test_state_dict_is_strict():
    source = state(network(1))
    model = network(0)
    before = values(model)
    name = "outc_conv.weight"
    spoiled = {
        "missing": {k: v for k, v in source.items() if k != name},
        "extra": {**source, "head.weight": np.zeros((2, 2))},
        "shape": {**source, name: source[name][:1]},
        "nan": {**source, name: source[name] * np.nan},
        "twice": {**source, "outc.conv.weight": source[name]},
    }
    for mapping in spoiled.values():
        with pytest.raises(WeightsError):
            load_weights(model, mapping)
        assert unchanged(model, before)
    wrapped = {f"module.{k}": v for k, v in source.items()} | {"module.inc.double_conv.1.num_batches_tracked": np.array(7)}
    assert load_weights(model, wrapped).loaded == 110
    assert unchanged(network(1), values(model))


def test_failed_save_keeps_the_old_file(saved):
    before = saved.read_bytes()
    with full_after(1000), pytest.raises(tfrecon.errors.ResourceError, match="File too large"):
        save_weights(network(2), saved)
    assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1
