"""What the command line says about itself and about wrong words; row numbers are those of the list of bad inputs."""

import subprocess
import sys

import pytest
from cli_tools import ROOT, call, process, results, volumes

from tfrecon import cli
from tfrecon.errors import ResourceError

COMMANDS = ("demo", "inspect", "check", "mask", "convert", "train", "reconstruct", "evaluate", "compare", "report", "reproduce",
            "models", "weights")


@pytest.mark.parametrize("argv", [(), *((c,) for c in COMMANDS)], ids=" ".join)
def test_help_names_every_option(capsys, argv):
    result = call(capsys, *argv, "--help")
    assert result.code == 0 and result.out.startswith("usage: tfrecon") and not result.err


def test_import_and_help_do_not_load_tensorflow():
    script = ("import sys, tfrecon, tfrecon.cli\n"
              "for argv in ([], *([c] for c in sys.argv[1:])):\n"
              "    try: tfrecon.cli.main([*argv, '--help'])\n"
              "    except SystemExit: pass\n"
              "sys.exit(str([m for m in ('tensorflow', 'keras', 'matplotlib', 'skimage') if m in sys.modules]))")
    done = subprocess.run([sys.executable, "-c", script, *COMMANDS], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


BAD_WORDS = [
    ("row 32", "--acceleration", "0", "at least 1"), ("row 32", "--acceleration", "-1", "at least 1"),
    ("row 32", "--acceleration", "0.5", "at least 1"), ("row 32", "--acceleration", "nan", "at least 1"),
    ("row 32", "--acceleration", "four", "at least 1"), ("row 32", "--acceleration", "inf", "at least 1"),
    ("row 33", "--center-fraction", "0", "between 0 and 1/acceleration = 0.25"),
    ("row 33", "--center-fraction", "-0.1", "between 0 and 1/acceleration = 0.25"),
    ("row 33", "--center-fraction", "1.5", "between 0 and 1/acceleration = 0.25"),
    ("row 33", "--center-fraction", "0.25", "the centre alone uses up every line"),
    ("row 74", "--batch-size", "0", "at least 1, received 0"), ("row 74", "--batch-size", "two", "at least 1"),
    ("row 74", "--batch-size", "1.5", "at least 1"), ("row 74", "--epochs", "0", "at least 1"),
    ("row 74", "--epochs", "-3", "at least 1"), ("row 74", "--lr", "0", "must be above 0"),
    ("row 74", "--lr", "-1", "must be above 0"), ("row 74", "--lr", "fast", "invalid positive value"),
    ("row 74", "--lr", "nan", "invalid positive value"), ("", "--crop", "0", "at least 1"),
    ("", "--mask-type", "spiral", "equispaced"), ("", "--loss", "magic", "kldiv"), ("", "--preset", "huge", "small"),
    ("", "--model", "resnet", "unet_gan"), ("", "--model", "zero_filled", "nothing to train"),
    ("", "--validation-fraction", "1", "between 0 and 1"), ("", "--mask-seed", "x", "whole number"),
]


@pytest.mark.parametrize(("row", "option", "value", "fragment"), BAD_WORDS)
def test_training_arguments_out_of_range(capsys, tmp_path, row, option, value, fragment):
    data, out = volumes(tmp_path / "data"), tmp_path / "out"
    result = call(capsys, "train", "--data", data, "--out", out, option, value)
    assert result.code == 2 and fragment in result.err and not result.out
    assert not out.exists()


@pytest.mark.parametrize(("option", "value", "fragment"), [w[1:] for w in BAD_WORDS if w[0] in ("row 32", "row 33")])
@pytest.mark.parametrize("command", ["reconstruct", "evaluate"])
def test_rows_32_33_mask_arguments_of_the_other_commands(capsys, tmp_path, command, option, value, fragment):
    data = volumes(tmp_path / "data", "a")
    rest = (tmp_path / "out", "--model", "zero_filled") if command == "reconstruct" else ("--target", data)
    result = call(capsys, command, data, *rest, option, value)
    assert result.code == 2 and fragment in result.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("argv", [(), ("fly",), ("train",), ("reconstruct", "a"), ("evaluate", "a"), ("inspect",),
                                  ("reconstruct", "a", "b", "--overwrite", "--resume"),
                                  ("compare", "--data", "a", "--out", "b", "--folds", "0")], ids=" ".join)
def test_incomplete_or_contradicting_words(capsys, argv):
    result = call(capsys, *argv)
    assert result.code == 2 and result.err.startswith("usage:") and not result.out


@pytest.mark.parametrize(("error", "code", "text"), [
    (KeyError("x"), 1, "tfrecon models: unexpected KeyError: 'x' (--debug shows more)"),
    (MemoryError(), 5, "tfrecon models: out of memory; take a smaller --batch-size or --crop"),
    (ResourceError("disk\n\nfull"), 5, "tfrecon models: disk full"),
    (PermissionError(13, "no", "f"), 5, "tfrecon models: [Errno 13] no: 'f'"),
    (KeyboardInterrupt(), 130, "tfrecon models: interrupted"),
])
def test_every_error_is_one_line_and_debug_shows_where(capsys, monkeypatch, error, code, text):
    def fail(*_):
        raise error

    monkeypatch.setattr("tfrecon.cli.models.run", fail)
    result = call(capsys, "models")
    assert (result.code, result.out, result.err) == (code, "", text + "\n")
    assert cli.main(["models", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_models_are_listed_and_described(capsys):
    listing = call(capsys, "models", "--json").json()
    assert {"zero_filled", "deblurgan_mri", "unet_gan", "ct_deblur", "pix2pix"} <= {r["name"] for r in listing}
    assert "seed 001" in call(capsys, "models", "unet_gan").out
    assert call(capsys, "models", "nothing").code == 2


def test_a_reader_that_goes_away_and_a_full_stdout(tmp_path):
    data = volumes(tmp_path / "data", "a")
    gone = f"'{sys.executable}' -m tfrecon inspect '{data}' | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", gone], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
    shut = subprocess.run(["bash", "-c", f"'{sys.executable}' -m tfrecon inspect '{data}' >&-"], cwd=ROOT,
                          capture_output=True, text=True)
    assert (shut.returncode, shut.stderr) == (0, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "tfrecon", "inspect", data], cwd=ROOT, stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_row_51_letters_the_terminal_does_not_have(tmp_path):
    volumes(tmp_path / "data", ["größe"])
    done = process("inspect", tmp_path / "data", env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"})
    assert done.returncode == 0 and "gr\\xf6\\xdfe.h5" in done.stdout and not done.stderr
    assert results(tmp_path / "data") == ["größe.h5"]


@pytest.mark.parametrize("words, near", [
    (("--model", "unetgan"), "did you mean unet_gan?"),
    (("--model", "modl", "--preset", "recomended"), "did you mean recommended?"),
    (("--model", "zzz"), "received 'zzz'"),
])
def test_a_mistyped_name_is_answered_with_the_nearest(capsys, tmp_path, words, near):
    made = call(capsys, "train", "--data", tmp_path, "--out", tmp_path / "run", *words)
    assert made.code == 2 and near in made.err, made.err
