"""`train --config`: the same as words on the command line, refused keys and values, the file a run leaves (row 87)."""

import importlib.util
import json
import os

import pytest
from cli_tools import TINY, call, disc, volume

from tfrecon import cli
from tfrecon.cli.config import config_of, expanded
from tfrecon.errors import UsageError


def parsed(words):
    """(arguments, the parser of `train`)."""
    parser, commands = cli._parser()
    return parser.parse_args(expanded([str(w) for w in words], commands["train"])), commands["train"]


def written(folder, text, name="c.json"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


FULL = {"version": 1, "data": "d", "out": "o", "model": "ct_deblur", "preset": "small", "epochs": 3, "batch-size": 2,
        "learning_rate": 0.001, "linear_decay": [2, 3], "set": {"ngf": 8, "norm": "batch", "learn": None}, "allow_leak": True,
        "strict": False, "window": "-600,1500", "validation": None, "mask_seed": 7}
WORDS = ("train", "--data", "d", "--out", "o", "--model", "ct_deblur", "--preset", "small", "--epochs", "3", "--batch-size", "2",
         "--learning-rate", "0.001", "--linear-decay", "2", "3", "--set", "ngf=8", "--set", "norm=batch", "--set", "learn=null",
         "--allow-leak", "--window=-600,1500", "--mask-seed", "7")


def test_equals_the_command_line_and_itself(tmp_path):
    plain, parser = parsed(WORDS)
    from_file, _ = parsed(("train", "--config", written(tmp_path, FULL)))
    assert vars(from_file) == vars(plain)
    again, _ = parsed(("train", "--config", written(tmp_path, config_of(plain, parser), "again.json")))
    assert vars(again) == vars(plain)


def test_the_command_line_counts_more(tmp_path):
    path = written(tmp_path, FULL)
    for words in (("--config", path, "--epochs", "9", "--set", "ngf=4"), ("--epochs", "9", "--set", "ngf=4", f"--config={path}")):
        arguments, _ = parsed(("train", *words))
        assert arguments.epochs == 9 and dict(arguments.set)["ngf"] == 4 and arguments.batch_size == 2


@pytest.mark.skipif(not importlib.util.find_spec("yaml"), reason="pyyaml is not installed")
def test_yaml(tmp_path):
    text = "version: 1\ndata: d\nout: o\nset:\n  width: 4\n"
    arguments, _ = parsed(("train", "--config", written(tmp_path, text, "c.yaml")))
    assert arguments.data == "d" and arguments.set == [("width", 4)]
    merged = "version: 1\ndata: d\n<<: {out: o, epochs: 5}\n"
    arguments, _ = parsed(("train", "--config", written(tmp_path, merged, "c.yaml")))
    assert arguments.out == "o" and arguments.epochs == 5
    with pytest.raises(UsageError, match="epochs stands there twice"):
        parsed(("train", "--config", written(tmp_path, text + "epochs: 3\nepochs: 4\n", "c.yaml")))
    with pytest.raises(UsageError, match="no YAML"):
        parsed(("train", "--config", written(tmp_path, "a: !!python/object/apply:os.system ['true']", "d.yml")))


@pytest.mark.parametrize("text, message", [
    ({**FULL, "epoch": 3}, "did you mean epochs"), ({**FULL, "zzz": 3}, "zzz is no option"),
    ({**FULL, "overwrite": True}, "overwrite"), ({**FULL, "resume": "x"}, "resume is said on the command line alone"),
    ({**FULL, "version": 1.0}, '"version": 1'),
    ({**FULL, "version": 2}, '"version": 1'), ({"data": "d"}, '"version": 1'), ([1], "expected a mapping"),
    ('{"version": 1, "learning_rate": NaN}', "NaN"), ('{"version": 1, "epochs": 1, "epochs": 2}', "twice"), ("{", "no JSON"),
    ({**FULL, "allow_leak": "yes"}, "true or false"), ({**FULL, "set": ["a=1"]}, "by name"),
    ({**FULL, "epochs": [3]}, "a number"), ({**FULL, "data": {"a": 1}}, "a text"), ({**FULL, "data": 5}, "a text"),
    ({**FULL, "epochs": True}, "a number"), ({**FULL, "epochs": "3"}, "a number"), ({**FULL, "version": True}, '"version": 1'),
    ({**FULL, "mask_seed": [1]}, "a number or a text"), ({**FULL, "batch_size": 3}, "twice"),
    ('{"version": 1, "seed": ' + 5000 * "9" + "}", "no JSON"),
    ({"version": 1, "data": "d", "out": "o", "set": {"widht": 3}}, "did you mean width"),
])
def test_row_87_wrong_files_are_refused(capsys, tmp_path, text, message):
    made = call(capsys, "train", "--config", written(tmp_path, text))
    assert made.code == 2 and message in made.err, made.err


@pytest.mark.parametrize("change, message", [
    ({"mask_seed": "three"}, "--mask-seed"), ({"epochs": 0}, "--epochs"), ({"linear_decay": [1]}, "--linear-decay"),
    ({"set": {"learning_rate": 1}}, "--learning-rate"), ({"acceleration": 0.5}, "--acceleration"),
])
def test_values_are_checked_as_words_are(capsys, tmp_path, change, message):
    made = call(capsys, "train", "--config", written(tmp_path, {**FULL, **change}))
    assert made.code == 2 and message in made.err, made.err


def test_only_one_regular_file_is_read(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in ("/dev/zero", tmp_path / "pipe.json", tmp_path):
        assert "no regular file" in call(capsys, "train", "--config", path).err
    path = written(tmp_path, FULL)
    assert "2 times" in call(capsys, "train", "--config", path, "--config", path).err
    assert "unrecognized arguments: --conf" in call(capsys, "train", "--conf", path, "--data", "d", "--out", "o").err


def test_missing_files_and_missing_words(capsys, tmp_path):
    assert "none.json" in call(capsys, "train", "--config", tmp_path / "none.json").err
    assert "--config" in call(capsys, "train", "--config").err
    assert call(capsys, "train", "--config", written(tmp_path, "\ufeff" + json.dumps(FULL))).code in (2, 3)  # a BOM is no error


@pytest.mark.usefixtures("tiny_unet")
def test_a_run_leaves_the_file_that_repeats_it(capsys, tmp_path):
    for seed, name in enumerate("abc"):
        data = volume(tmp_path / "data" / f"{name}.h5", images=disc(2, 36, 32, seed)).parent
    words = ("train", "--data", data, "--out", tmp_path / "one", *TINY, "--epochs", "1")
    assert call(capsys, *words).code == 0
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["version"] == 1 and config["width"] == 2
    second = call(capsys, "train", "--config", tmp_path / "one" / "config.json", "--out", tmp_path / "two")
    assert second.code == 0, second.err
    histories = [(tmp_path / name / "history.json").read_text() for name in ("one", "two")]
    assert histories[0] == histories[1]
    card = (tmp_path / "one" / "MODEL_CARD.md").read_text()
    assert "doing nothing" in card and "| this network |" in card
