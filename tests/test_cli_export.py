"""`tfrecon export` and `verify`: files that run without us, drift noticed, cards, misuse."""

import importlib.util
import json

import numpy as np
import pytest
from cli_tools import call

from tfrecon import create
from tfrecon.errors import DataError
from tfrecon.exporting import Case, compare, read_golden, run, write_golden
from tfrecon.weights import save_weights

FLOW = {"image_shape": (16, 16, 1), "levels": 2, "steps_per_level": 1, "hidden_channels": 4, "num_bins": 4}
CARDS = {
    "unet_gan": ({"width": 2}, {"scaling": "zero_filled_max", "acceleration": 4, "scores": {"val_ssim": 0.7},
                                "baseline_scores": {"ssim": 0.6}}),
    "deblurgan_mri": ({"ngf": 2, "ndf": 2, "n_blocks": 1, "content": "l1"}, {"scaling": "symmetric"}),
    "ct_deblur": ({"ngf": 2, "ndf": 2, "n_blocks": 1, "content": "l1"}, {"window": "brain"}),
    "srrescycgan": ({"filters": 2, "n_blocks": 1, "lambda_perceptual": 0.0, "lambda_adversarial": 0.0}, {"scaling": "volume"}),
    "modl": ({"latent_channels": 2, "num_blocks": 1, "kernel_size": 3, "num_unrolls": 2}, {}),
    "spline_flow": (FLOW, {}),
}

SMALL = {"srrescycgan": {"lambda_content": 1.0, "lambda_cyc": 0.0, "lambda_total_variation": 0.0}}


def weights(folder, name):
    options, card = CARDS[name]
    path = folder / f"{name}.weights.h5"
    save_weights(create(name, preset="small" if name != "spline_flow" else None, **options).generator, path, {
        "model": name, "options": {**SMALL.get(name, {}), **options}, **card})
    return path


HAS_ONNX = importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnxruntime")


@pytest.mark.parametrize("name, more", [
    pytest.param("unet_gan", ("--units", "file"), marks=pytest.mark.slow),
    pytest.param("deblurgan_mri", ("--units", "file", "--merged"), marks=pytest.mark.slow),
    pytest.param("ct_deblur", ("--units", "file"), marks=pytest.mark.slow),
    pytest.param("srrescycgan", ("--units", "file"), marks=pytest.mark.slow),
    ("modl", ()),
    pytest.param("spline_flow", (), marks=pytest.mark.slow),
])
def test_every_system_runs_in_a_clean_process(capsys, tmp_path, name, more):
    made = call(capsys, "export", weights(tmp_path, name), tmp_path / "out", *more, "--json")
    assert made.code == 0, made.err
    facts = made.json()
    assert all(row["ok"] for row in facts["parity"]) and facts == json.loads((tmp_path / "out" / "export.json").read_text())
    assert len(facts["parity"]) == 3 and len({tuple(row["input"]) for row in facts["parity"]}) == 3
    assert {"golden.npz", "saved_model/saved_model.pb"} <= set(facts["files"])
    assert str(tmp_path) not in (tmp_path / "out" / "export.json").read_text() + (tmp_path / "out" / "MODEL_CARD.md").read_text()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    from tfrecon import cli

    assert cli.main(["export", str(weights(folder, "unet_gan")), str(folder / "out")]) == 0
    return folder / "out"


@pytest.mark.slow
def test_drift_is_noticed(capsys, exported, tmp_path):
    words = ("verify", exported / "saved_model", "--golden")
    same = call(capsys, *words, exported / "golden.npz")
    assert same.code == 0 and same.out.count("ok") == 3, same.err
    cases = read_golden(exported / "golden.npz")
    cases[1].output[0, 3, 4] += 0.01
    write_golden(tmp_path / "other.npz", cases)
    drifted = call(capsys, *words, tmp_path / "other.npz", "--json")
    assert drifted.code == 1 and [row["ok"] for row in drifted.json()] == [True, False, True]
    assert call(capsys, *words, tmp_path / "other.npz", "--max-abs", "0.02").code == 0


@pytest.mark.slow
def test_nan_is_an_error_not_a_picture(exported):
    (image, *_) = read_golden(exported / "golden.npz")[0].inputs.values()
    image[0, 0, 0] = np.inf
    with pytest.raises(DataError, match="would look like a picture"):
        run(exported / "saved_model", [{"image": image}])


def test_the_card_says_what_matters(exported):
    text = (exported / "MODEL_CARD.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in front.splitlines()}
    assert facts["model_name"] == "unet_gan" and "mri" in facts["tags"]
    for words in ("not a medical device", "milesial/Pytorch-UNet", "acceleration: 4", "| doing nothing | 0.6000 |",
                  "| this network | 0.7000 |", "Known failures", "scaled as the network takes it (zero_filled_max)"):
        assert words in body, words


@pytest.mark.skipif(not HAS_ONNX, reason="extra onnx is not installed")
@pytest.mark.parametrize("name", [
    "unet_gan", *(pytest.param(name, marks=pytest.mark.slow) for name in ("deblurgan_mri", "ct_deblur", "srrescycgan"))
])
def test_onnx_at_any_size(capsys, tmp_path, name):
    made = call(capsys, "export", weights(tmp_path, name), tmp_path / "out", "--format", "onnx", "--units", "file", "--json")
    assert made.code == 0, made.err
    assert len(made.json()["parity"]) == 3
    case = read_golden(tmp_path / "out" / "golden.npz")[0]
    with pytest.raises(DataError, match="NaN"):
        run(tmp_path / "out" / "model.onnx", [{"image": np.full_like(case.inputs["image"], np.nan)}])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_gan", "ct_deblur"])
def test_tensorflow_lite_at_a_fixed_size(capsys, tmp_path, name):
    words = ("export", weights(tmp_path, name), tmp_path / "out", "--format", "tflite")
    refused = call(capsys, *words)
    assert refused.code == 2 and "--size" in refused.err
    (tmp_path / "out" / "saved_model").mkdir(parents=True)
    (tmp_path / "out" / "saved_model" / "saved_model.pb").write_bytes(b"of an export before")
    (tmp_path / "out" / "export.json").write_text("{}")
    made = call(capsys, *words, "--batch", "1", "--size", "24x32", "--units", "file", "--overwrite", "--json")
    assert not (tmp_path / "out" / "saved_model").exists(), "golden.npz and the card are no longer of that network"
    assert made.code == 0, made.err
    assert made.json()["parity"][0]["input"] == [1, 24, 32]
    assert call(capsys, "verify", tmp_path / "out" / "model.tflite", "--golden", tmp_path / "out" / "golden.npz").code == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", "pickle", "names", "text"], ids=str)
def test_foreign_files_are_no_golden_files(tmp_path, content):
    path = tmp_path / "golden.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pickle":
        np.savez(path, **{"0/in/image": np.array([{}], object), "0/out": np.zeros(1)})
    elif content == "text":
        np.savez(path, **{"0/in/image": np.array(["a"]), "0/out": np.zeros(1)})
    else:
        np.savez(path, a=np.zeros(3))
    with pytest.raises(DataError, match="no golden file"):
        read_golden(path)


@pytest.mark.slow
def test_another_shape_or_nan_is_drift(exported):
    (case, *_) = read_golden(exported / "golden.npz")
    (drift,) = compare(exported / "saved_model", [Case(case.inputs, case.output[:, 1:])])
    assert drift.largest == float("inf") and not drift.within(1.0)


def test_misuse(capsys, exported, tmp_path):
    path = weights(tmp_path, "unet_gan")
    for words, code, message in (
        ((path, exported), 2, "--overwrite"),
        ((path, tmp_path / "o", "--format", "coreml"), 2, "saved_model, onnx, tflite"),
        ((path, tmp_path / "o", "--size", "12"), 2, "--size"),
        ((tmp_path / "none.h5", tmp_path / "o"), 4, "none.h5"),
        ((path, tmp_path / "o", "--model", "modl"), 4, "unet_gan"),
        ((weights(tmp_path, "modl"), tmp_path / "o", "--format", "onnx"), 2, "SavedModel"),
        ((weights(tmp_path, "spline_flow"), tmp_path / "o", "--merged"), 2, "no merged form"),
    ):
        made = call(capsys, "export", *words)
        assert made.code == code and message in made.err, made.err
    foreign = tmp_path / "foreign.weights.h5"
    save_weights(create("unet_gan", preset="small", width=2).generator, foreign, {})
    assert "--model" in call(capsys, "export", foreign, tmp_path / "o").err
    assert call(capsys, "verify", tmp_path, "--golden", exported / "golden.npz").code == 3
