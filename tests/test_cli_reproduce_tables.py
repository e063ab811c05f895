"""`tfrecon reproduce` of the four trained comparisons: small forms with networks of a few filters, the folder, misuse."""

import json

import numpy as np
import pytest
import tiny
from cli_tools import call, fingerprint, results

from tfrecon.weights import read_card

PHANTOMS = ("--volumes", 4, "--slices", 2, "--epochs", 1)
# name -> (options that make it small, networks, do-nothing row, a figure of the source)
SMALL = {
    "deblurgan-mri": (("--size", 64, "--accelerations", 4), ["4x"], "zero_filled", "SSIM 0.37"),
    "unet-gan": (("--size", 64, "--losses", "kldiv", "--optimizers", "adamw"), ["kldiv-adamw/fold-1", "kldiv-adamw/fold-2"],
                 "zero_filled", "SSIM 0.62"),
    "srrescycgan": (("--size", 188, "--batch-size", 1), ["content", "gan"], "bicubic", "none reported"),
    "ct-deblur": (("--size", 64, "--crop", 64), ["pix2pix", "deblurgan", "seed-003"], "blurred", "SSIM 0.94, PSNR 25.67"),
}
MODELS = {"pix2pix": "pix2pix", "content": "srrescycgan", "gan": "srrescycgan", "deblurgan": "ct_deblur", "seed-003": "ct_deblur"}


def words(name, out, *more):
    return ("reproduce", name, "--out", out, *PHANTOMS, *SMALL[name][0], *more)


@pytest.fixture
def tiny_networks(monkeypatch, tiny_unet):
    """Six layers instead of the published networks, which take seconds each to build and trace."""
    from tfrecon.models import ct_deblur, deblurgan_mri, pix2pix, srrescycgan

    for module in (ct_deblur, deblurgan_mri, pix2pix):
        monkeypatch.setattr(module, "generator_model", lambda shape, *_, **__: tiny.image_to_image(shape))
    monkeypatch.setattr(deblurgan_mri, "discriminator_model", lambda shape, *_: tiny.critic(shape, probability=True))
    monkeypatch.setattr(ct_deblur, "discriminator_model", lambda shape, *_, **__: tiny.critic(shape, norm="instance"))
    monkeypatch.setattr(pix2pix, "discriminator_model", lambda shape, *_, **__: tiny.critic((*shape[:2], 6), norm="instance"))
    for name, made in {"Generator_HR": lambda shape, *_: tiny.image_to_image(shape, enlarge=4),
                       "Generator_LR": lambda shape, *_: tiny.image_to_image(shape, reduce=4),
                       "Discriminator_HR": lambda shape, *_: tiny.critic(shape, norm="instance"),
                       "Discriminator_LR": lambda shape, *_: tiny.critic(shape, norm="instance")}.items():
        monkeypatch.setattr(srrescycgan, name, made)


@pytest.fixture(params=["deblurgan-mri", *(pytest.param(name, marks=pytest.mark.slow) for name in list(SMALL)[1:])])
def made(request, tmp_path, capsys, tiny_networks):
    name = request.param
    result = call(capsys, *words(name, tmp_path / "out", "--json"))
    assert result.code == 0, result.err
    return name, tmp_path / "out", result


def test_table_figures_record_and_networks(made, capsys, monkeypatch):
    name, out, result = made
    _, networks, baseline, source = SMALL[name]
    table = (out / "table.md").read_text()
    for rows in result.json()["tables"].values():
        assert rows[0]["name"] == baseline and np.isfinite(rows[0]["ssim"]) and len(rows) > 1
    assert source in table and "by patient" in table and "- metric: " in table and "- scaling: " in table
    assert name == "srrescycgan" or "seeded by the file name" in table
    assert "This is the small form" in table and str(out) not in table
    figures = sorted(p.name for p in out.glob("*.png"))
    assert figures == (["losses.png", "optimizers.png"] if name == "unet-gan" else ["figure.png"])
    for network in networks:
        folder = out / "networks" / network
        assert "not a medical device" in (folder / "MODEL_CARD.md").read_text()
        assert read_card(folder / "generator.weights.h5")["model"] == MODELS.get(network, name.replace("-", "_"))
    record = json.loads((out / "run.json").read_text())
    assert record["tables"] == result.json()["tables"] and record["seed"] == 0
    _resumes_and_refuses(name, out, table, capsys, monkeypatch)


def _resumes_and_refuses(name, out, table, capsys, monkeypatch):
    before = fingerprint(out)
    refused = call(capsys, *words(name, out))
    assert refused.code == 2 and "--resume" in refused.err and fingerprint(out) == before
    other = call(capsys, *words(name, out, "--resume", "--seed", 1))
    assert other.code == 2 and "others for seed" in other.err
    monkeypatch.setattr("tfrecon.training.session.Checkpoint.restore", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("tfrecon.training.cross_validate", lambda *_, **__: pytest.fail("trained again"))
    again = call(capsys, *words(name, out, "--resume"))
    assert again.code == 0, again.err
    assert (out / "table.md").read_text() == table and again.out.strip() == table.strip()


def test_what_is_overwritten_cannot_be_resumed(tmp_path):
    """An overwriting run that is stopped before its second network must not go on with the former run's."""
    from argparse import Namespace

    from tfrecon.cli.reproduce.forms import note

    names = ("run.json", "generator.weights.h5", "checkpoint/state-00001.weights.h5")
    old = [tmp_path / "networks" / "8x" / name for name in names]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    note(tmp_path, Namespace(resume=True, out=str(tmp_path)))
    assert all(path.exists() for path in old)
    note(tmp_path, Namespace(resume=False, out=str(tmp_path)))
    assert not any(path.exists() for path in old)


@pytest.mark.parametrize("name", ["deblurgan-mri", "unet-gan", "srrescycgan", "ct-deblur", "flow-vs-dbp"])
def test_help_and_folders_of_others(capsys, tmp_path, name):
    shown = call(capsys, "reproduce", name, "--help")
    assert shown.code == 0 and "seed 00" in shown.out and "phantoms" in shown.out
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.h5").write_text("mine")
    refused = call(capsys, "reproduce", name, "--out", tmp_path)
    assert refused.code == 2 and "no run of ours" in refused.err and results(tmp_path) == ["data/mine.h5"]


@pytest.mark.parametrize("argv, text", [
    (("deblurgan-mri", "--volumes", "3"), "at least 4"),
    (("srrescycgan", "--size", "128"), "at least 188"),
    (("srrescycgan", "--preset", "smal"), "did you mean small?"),
    (("deblurgan-mri", "--preset", "smal"), "did you mean small?"),
    (("unet-gan", "--losses", "magic"), "kldiv"),
    (("flow-vs-dbp", "--flow", "x.h5"), "--data and --train missing"),
    (("ct-deblur", "--data", "nowhere"), "nowhere"),
    (("nothing",), "unet-gan"),
])
def test_misuse_leaves_nothing(capsys, tmp_path, argv, text):
    made = call(capsys, "reproduce", *argv, "--out", tmp_path / "out")
    assert made.code in (2, 3) and text in made.err and not (tmp_path / "out").exists()


def test_an_interrupted_comparison_says_how_to_go_on():
    from tfrecon.cli import _resume_line

    assert _resume_line(["reproduce", "unet-gan", "--out", "o"]) == "tfrecon reproduce unet-gan --resume --out o"
