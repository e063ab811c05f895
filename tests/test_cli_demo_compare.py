"""`demo` and `compare`, as small as they go."""

import json
import re

import pytest
from cli_tools import TINY, call, results

DEMO = ("--size", 64, "--volumes", 4, "--slices", 2, "--epochs", 1)


def test_demo_writes_its_page_and_agrees_with_its_table(capsys, tmp_path, tiny_unet):
    out = tmp_path / "demo [1]"
    first = call(capsys, "demo", "--out", out, *DEMO, "--json")
    found = first.json()
    assert first.code == (1 if found["below_baseline"] else 0)
    assert [row["name"] for row in found["mean"]] == ["zero_filled", "unet_gan"]
    assert found["report"] == str((out / "report.html").resolve())
    assert first.err.splitlines()[0].startswith("1/4 made 4 phantom volumes")
    page = (out / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "data:image/png;base64," in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert page.index("zero-filled (baseline)") < page.index('<th scope="row">unet_gan')
    assert not any(".part" in name for name in results(out))
    # The same page can be had of its parts; what was trained on is not missed among the targets.
    again = call(capsys, "report", out / "train", out / "reconstructions", "--target", out / "data", "-o", tmp_path / "r.html",
                 "--json")
    assert again.code == 0 and [row["psnr"] for row in again.json()["tables"][0]] == [row["psnr"] for row in found["mean"]]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_demo(capsys, tmp_path):
    out = tmp_path / "demo"
    first = call(capsys, "demo", "--out", out, *DEMO, "--json")
    (out / "data" / "demo_09_knee.h5").touch()  # as a demo with more volumes leaves it
    again = call(capsys, "demo", "--out", out, *DEMO, "--json")
    assert again.code == first.code and again.json()["mean"] == first.json()["mean"]
    assert not any("demo_09" in name for name in results(out))


def test_demo_keeps_its_hands_off_other_folders(capsys, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        result = call(capsys, "demo", "--out", out, *DEMO)
        assert result.code == 2 and "is not a demo of ours" in result.err
    assert results(tmp_path) == ["mine.txt"]
    for words in (("--size", 16), ("--volumes", 0), ("--epochs", 0), ("--acceleration", 0.5)):
        assert call(capsys, "demo", "--out", tmp_path / "new", *DEMO, *words).code == 2
    few = call(capsys, "demo", "--out", tmp_path / "few", *DEMO, "--volumes", 2)  # both of one person
    assert few.code in (2, 3) and few.err.count("\n") <= 2


@pytest.fixture(scope="module")
def compare_words(demo_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, ("compare", "--data", demo_folder, "--out", out, *TINY, "--epochs", 1, "--folds", 2, "--leaking-folds",
                 "--losses", "kldiv")


@pytest.mark.slow
def test_compare_writes_figure_and_numbers_and_repeats_nothing(capsys, monkeypatch, tiny_unet, compare_words):
    out, words = compare_words
    result = call(capsys, *words, "--json")
    found = result.json()
    assert result.code == 0 and [row["name"] for row in found["rows"]] == ["zero_filled", "kldiv, adam"]
    assert "warning: Leaking folds:" in result.err and "kldiv, adam: 2 folds x 1 epochs" in result.err
    assert results(out) == ["compare.png", "run.json", "series.json", "settings.json"]
    assert json.loads((out / "series.json").read_text()) == found["series"]
    assert call(capsys, *words).code == 2
    monkeypatch.setattr("tfrecon.training.cross_validate", lambda *_, **__: pytest.fail("trained again"))
    resumed = call(capsys, *words, "--resume", "--json")
    assert resumed.code == 0 and resumed.json() == found
    longer = call(capsys, *words, "--resume", "--epochs", 2)
    assert longer.code == 2 and "others for epochs" in longer.err
