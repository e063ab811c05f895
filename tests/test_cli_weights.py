"""`tfrecon weights`: what it prints, what it writes, and the exit codes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from cli_tools import ROOT, call, process
from conftest import GOLDEN
from test_weights_formats import torch_names, write_safetensors
from weight_files import LEGACY, network

from tfrecon import create
from tfrecon.models.unet_gan import generator_model
from tfrecon.weights import load_weights, read_card, save_weights, sha256_of
from tfrecon.zoo import RECORDS

UNET = ("--model", "unet_gan", "--set", "width=2")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Generator weights as another program would publish them."""
    keras.utils.set_random_seed(3)
    source = create("unet_gan", width=2).generator
    path = tmp_path_factory.mktemp("published") / "generator.safetensors"
    return write_safetensors(path, torch_names(source))


def test_list_is_honest(capsys):
    result = call(capsys, "weights", "list")
    assert result.code == 0 and "zero_filled" not in result.out + result.err
    rows = call(capsys, "weights", "list", "--json").json()
    assert {"model", "url", "sha256", "bytes", "licence", "scaling", "source", "value_range", "whereabouts"} <= set(rows[0])
    assert {row["name"] for row in rows if row["whereabouts"] == "by hand"} == {"modl-brain-6x"}  # no licence is stated
    for name in set(RECORDS) - {row["model"] for row in rows} - {"zero_filled", "cg_sense"}:
        assert name in result.err


def test_info_of_a_legacy_file(capsys):
    path = GOLDEN / "keras_generator_n8.h5"
    result = call(capsys, "weights", "info", path)
    for line in ("Keras 2 weights (h5)", "parameters     183043", "keras_version  2.15.0", sha256_of(path), "and 128 more"):
        assert line in result.out
    assert len(call(capsys, "weights", "info", path, "--all").out.splitlines()) == 7 + 140
    found = call(capsys, "weights", "info", path, "--json").json()
    assert found["arrays"] == len(found["table"]) == 140 and found["backend"] == "tensorflow"
    assert found["table"][0] == {"name": "conv2d_1/kernel:0", "shape": [7, 7, 3, 8], "dtype": "float32"}


def test_info_does_not_load_tensorflow(published):
    """It is the quick look; TensorFlow takes seconds to load."""
    script = ("import sys; from tfrecon.cli import main\n"
              "code = [main(['weights', 'info', f]) for f in sys.argv[1:]]\n"
              "sys.exit(f'{code} {[m for m in (\"tensorflow\", \"keras\", \"torch\") if m in sys.modules]}')")
    files = [GOLDEN / "keras_generator_n8.h5", GOLDEN / "tfa_layers.npz", published]
    done = subprocess.run([sys.executable, "-c", script, *map(str, files)], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "[0, 0, 0] []"


def test_convert_then_use(capsys, tmp_path, published):
    out = tmp_path / "unet.weights.h5"
    result = call(capsys, "weights", "convert", published, out, *UNET, "--preset", "small", "--json")
    assert result.code == 0 and result.json()["loaded"] == result.json()["total"] == 110
    card = read_card(out)
    assert card["model"] == "unet_gan" and card["options"]["width"] == 2 and card["options"]["learning_rate"] == 1e-3
    assert card["scaling"] == "zero_filled_max" and card["source_sha256"] == sha256_of(published)
    one, other = (generator_model((None, None, 1), width=2) for _ in range(2))
    load_weights(one, out)
    load_weights(other, published)
    assert all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))
    shown = call(capsys, "weights", "info", out)
    assert '"width": 2' in shown.out
    again = call(capsys, "weights", "verify", out, "--model", "unet_gan")  # the card says width 2
    assert again.code == 0 and "110/110" in again.out and "fits unet_gan" in again.out


def test_convert_replaces_only_when_told(capsys, tmp_path, published):
    out = tmp_path / "x.weights.h5"
    out.write_bytes(b"mine")
    result = call(capsys, "weights", "convert", published, out, *UNET)
    assert result.code == 2 and "--overwrite" in result.err and out.read_bytes() == b"mine"
    assert call(capsys, "weights", "convert", LEGACY / "addons.h5", out, *UNET, "--overwrite").code == 4
    assert out.read_bytes() == b"mine"
    assert call(capsys, "weights", "convert", published, out, *UNET, "--overwrite").code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x.weights.h5"]


def test_verify(capsys, published):
    good = call(capsys, "weights", "verify", published, *UNET, "--sha256", sha256_of(published).upper(), "--json")
    assert good.code == 0 and good.json()["loaded"] == good.json()["total"] == 110
    other = call(capsys, "weights", "verify", published, *UNET, "--sha256", "0" * 64)
    assert other.code == 4 and "expected 0000" in other.err and not other.out
    for file, fragment in ((GOLDEN / "keras_generator_n8.h5", "layers with weights"), (GOLDEN / "README.md", "plain text")):
        result = call(capsys, "weights", "verify", file, *UNET)
        assert result.code == 4 and fragment in result.err and str(file) in result.err and not result.out


def test_card_of_another_model(capsys, tmp_path):
    path = save_weights(network(), tmp_path / "x.weights.h5", {"model": "other"})
    result = call(capsys, "weights", "verify", path, *UNET)
    assert result.code == 4 and "holds weights of other" in result.err


@pytest.mark.parametrize(("words", "fragment"), [
    ((), "ACTION"), (("remove",), "invalid choice"), (("info",), "file"),
    (("verify", GOLDEN / "keras_generator_n8.h5"), "--model"),
    (("verify", "x", *UNET, "--set", "width"), "must look like"),
    (("verify", "x", *UNET, "--sha256", "abc"), "64 hexadecimal"),
    (("verify", "x", "--model", "zero_filled"), "has no weights"), (("verify", "x", "--model", "resnet"), "must be one of"),
    (("convert", "x", "y.h5", *UNET), ".weights.h5"),
])
def test_usage_errors(capsys, words, fragment):
    result = call(capsys, "weights", *words)
    assert result.code == 2 and fragment in result.err and not result.out


def test_unknown_options_of_the_model(capsys, published):
    result = call(capsys, "weights", "verify", published, "--model", "unet_gan", "--set", "colour=blue")
    assert result.code == 2 and "colour" in result.err


def test_missing_files_and_debug(capsys):
    for action in (("info", "missing.pth"), ("verify", "missing.pth", *UNET)):
        result = call(capsys, "weights", *action)
        assert result.code == 4 and "does not exist" in result.err
    done = process("weights", "info", "missing.pth", "--debug")
    assert done.returncode == 4 and "Traceback" in done.stderr
