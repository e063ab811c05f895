"""The zoo's records: complete, true to the code, shown by `tfrecon models`, and in every model card."""

import json
import warnings

import pytest
from cli_tools import call

from tfrecon import create
from tfrecon.cli.export.facts import card_facts
from tfrecon.errors import UsageError, WeightsError
from tfrecon.report import model_card
from tfrecon.weights import weight_records
from tfrecon.zoo import RECORDS, _named
from tfrecon.zoo.option_types import check_names

TRAINED = [record for record in RECORDS.values() if record.make is not None]


@pytest.mark.parametrize("record", TRAINED, ids=lambda r: r.name)
def test_a_record_says_everything_and_names_what_exists(record):
    for field in ("system", "summary", "task", "value_range", "sizes", "scaling", "originals", "licence", "published", "parity"):
        assert getattr(record, field), field
    assert callable(_named(record.builder)) and isinstance(_named(record.training_class), type)
    assert record.name == "srresdnet" or record.training_class in record.make.__doc__
    for original in record.originals:
        assert original.repository.count("/") == 1 and original.licence
        assert original.commit or "re-implemented" in original.licence
    json.dumps(record.describe())


def test_unknown_options_name_the_nearest(tiny_unet):
    for wrong, near in (("widht", "width"), ("learnin_rate", "learning_rate")):
        with pytest.raises(UsageError, match=f"no option {wrong};.*did you mean {near}"):
            create("unet_gan", **{wrong: 3})
    with pytest.raises(UsageError, match="did you mean unet_gan"):
        create("UNet_GAN")
    for wrong in (["unet_gan"], ""):
        with pytest.raises(UsageError, match="must be one of"):
            create(wrong)
    for wrong in ("", ["small"]):
        with pytest.raises(UsageError, match="must be one of"):
            create("unet_gan", preset=wrong)
    for wrong in (123, ""):
        with pytest.raises(UsageError, match="a path, the name of a record"):
            create("unet_gan", weights=wrong)


def test_every_presets_options_are_known():
    for record in TRAINED:
        for options in record.presets.values():
            check_names(record.name, [record.make, *map(_named, record.takes)], options)


def test_a_preset_beside_a_card_decides_the_training_and_never_the_network():
    """It was overruled without a word: the network trained with the card's loss."""
    trained = create("unet_gan", weights="unet-gan-4x", preset="original").get_config()
    assert (trained["loss"], trained["reconstruction_weight"]) == ("kldiv", 0.0)
    assert create("unet_gan", weights="unet-gan-4x").get_config()["loss"] == "bce"
    assert create("unet_gan", weights="unet-gan-4x", loss="mse").get_config()["loss"] == "mse"
    with pytest.raises(UsageError, match="its card and the preset small differ: width 11 / 16"):
        create("unet_gan", weights="unet-gan-4x", preset="small")


def test_row_60_options_that_do_not_fit_the_weights_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(WeightsError, match="made with width=11, as their card says; you asked for width=12") as refused:
            create("unet_gan", weights="unet-gan-4x", width=12)
    assert len(str(refused.value)) < 500 and "inc_double_conv_0/kernel" in str(refused.value)


def test_what_create_builds_is_what_the_record_says(tiny_unet):
    record = RECORDS["unet_gan"]
    assert type(create("unet_gan", preset="small")) is _named(record.training_class)


@pytest.mark.parametrize("record", TRAINED, ids=lambda r: r.name)
def test_the_front_matter_of_a_card_is_yaml_and_the_record_is_in_it(record):
    text = model_card(card_facts(record, {"options": {"width": 2}, "record": "tiny", "scores": {"val_ssim": 0.7}}, "a" * 64))
    _, front, body = text.split("---\n", 2)
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(front)["model_name"] == record.name and yaml.safe_load(front)["license"] == "apache-2.0"
    assert body.count("\n# ") == 0 and "not a medical device" in body
    for fact in (record.system, record.source, record.parity, record.value_range, record.sizes, f"tfrecon.{record.builder}",
                 f"tfrecon.{record.training_class}", json.dumps(dict(record.published)), "weights: tiny", "a" * 64):
        assert fact in body, fact


def test_the_card_of_somebody_elses_weights_says_their_licence():
    """Our own licence on their weights would be a claim nobody made."""
    yaml = pytest.importorskip("yaml")
    for name, licence in (("modl-brain-6x", "other"), ("srrescgan-x4", "mit")):
        record = weight_records()[name]
        text = model_card(card_facts(RECORDS[record.model], record.card(), record.sha256))
        assert yaml.safe_load(text.split("---\n", 2)[1])["license"] == licence
        assert f"licence of the weights: {record.licence}" in text and f"weights: {name}" in text


@pytest.mark.parametrize("name", ["nothing: here", "# x", "'quoted' \"twice\"", "größe", "- a", "multi\nline", "null", "1e3"])
def test_front_matter_stands_names_that_mean_something_in_yaml(name):
    yaml = pytest.importorskip("yaml")
    front = model_card({"name": name, "summary": "", "task": "masked"}).split("---\n", 2)[1]
    assert yaml.safe_load(front)["model_name"] == name


def test_models_shows_one_in_words_and_as_json(capsys):
    plain = call(capsys, "models", "modl").out
    for words in ("MoDL, model-based deep learning", "utcsilab/deepinpy@eafebc7 (MIT)", "training.UnrolledRecon",
                  "num_unrolls=10", "modl-brain-6x", "preset seed"):
        assert words in plain, words
    (found,) = call(capsys, "models", "modl", "--json").json()
    assert found["originals"][0] == {"repository": "utcsilab/deepinpy", "commit": "eafebc7", "licence": "MIT"}
    assert found["weights"] == ["modl-brain-6x"] and set(found["presets"]) >= {"recommended", "published", "seed"}
    assert "did you mean modl?" in call(capsys, "models", "modle").err
    assert "batch size" not in call(capsys, "models", "zero_filled").out


def test_a_card_shows_what_was_judged_with_doing_nothing_first():
    rows = [{"name": "zero_filled", "psnr": 20.0, "n": 3}, {"name": "prediction", "psnr": 19.0, "n": 3}]
    text = model_card({**RECORDS["unet_gan"].describe(), "judged": {"three hearts": rows}, "scores": {"ssim": 0.9}})
    assert text.index("three hearts:") < text.index("zero_filled (baseline)") < text.index("prediction | 19.00 ± n/a !")
    assert "below the baseline" in text and "validation data" not in text
