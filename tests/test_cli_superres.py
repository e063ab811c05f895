"""Super-resolution on the command line: estimate, train, resume, strips, time limit, enlarge, judge, and what is refused."""

import json

import h5py
import numpy as np
import pytest
from cli_tools import arrays, as_shown_to_users, call, results

from tfrecon import cli
from tfrecon.weights import load_weights, read_card

TINY = ("--model", "srrescycgan", "--preset", "small", "--set", "filters=2", "--set", "n_blocks=1", "--batch-size", "2",
        "--crop", "16")


def images(path, slices=3, size=(24, 20), seed=0, key="reconstruction_rss", scale=1e-3):
    """Smooth blobs at fastMRI's intensities."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    rng = np.random.default_rng(seed)
    values = [np.exp(-3 * ((x - cx) ** 2 + (y - cy) ** 2)) for cx, cy in rng.uniform(-0.5, 0.5, (slices, 2))]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = (scale * np.array(values)).astype(np.float32)
        file.attrs.update(patient_id=path.stem, max=float(scale * np.max(values)))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("superres")
    for seed, name in enumerate("abc"):
        images(top / "data" / f"{name}.h5", seed=seed)
    with as_shown_to_users():
        assert cli.main(list(map(str, command(top, top / "run", "--epochs", 2)))) == 0
    return top


def command(folder, out, *more):
    return ("train", "--data", folder / "data", "--out", out, *TINY, *more)


def test_run_leaves_weights_card_history_and_strips(folder):
    run = folder / "run"
    assert [n for n in results(run) if n.startswith("strips")] == ["strips/epoch-00001.png", "strips/epoch-00002.png"]
    history = json.loads((run / "history.json").read_text())
    assert len(history) == 2 and {"content_loss", "val_psnr", "val_ssim"} <= history[0].keys()
    card = read_card(run / "generator.weights.h5")
    assert card["model"] == "srrescycgan" and card["scaling"] == "volume" and "vgg_weights" not in card["options"]
    report = load_weights(__import__("tfrecon").create("srrescycgan", run / "generator.weights.h5").generator,
                          run / "generator.weights.h5")
    assert report.loaded == report.total > 10


def test_estimate_comes_before_the_first_epoch(folder, tmp_path, capsys):
    result = call(capsys, *command(folder, tmp_path / "run", "--epochs", 1))
    assert result.code == 0
    lines = result.err.splitlines()
    estimate = next(i for i, line in enumerate(lines) if line.startswith("estimate: "))
    assert estimate < next(i for i, line in enumerate(lines) if line.startswith("epoch 1/1"))
    assert "bicubic val_ssim" in result.err and "GiB of memory" in lines[estimate] and "for 1 epochs" in lines[estimate]


@pytest.mark.slow
def test_estimate_changes_nothing(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tfrecon.cli.train.estimate", lambda *_: "none")
    assert call(capsys, *command(folder, tmp_path / "run", "--epochs", 2)).code == 0
    one, other = (arrays(f / "generator.weights.h5") for f in (folder / "run", tmp_path / "run"))
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], key)


@pytest.mark.slow
def test_time_limit_stops_cleanly_and_resume_equals_the_uninterrupted_run(folder, tmp_path, capsys, monkeypatch):
    from tfrecon.training.callbacks import Progress, StopCleanly

    plain, steps = Progress.on_train_batch_end, []

    def step(self, *arguments, **named):
        plain(self, *arguments, **named)
        steps.append(1)

    monkeypatch.setattr(Progress, "on_train_batch_end", step)
    monkeypatch.setattr(StopCleanly, "_asked",
                        lambda self: (self.requested or (len(steps) == 4 and self.deadline < 1e12), False))
    out, limited = tmp_path / "run", ("--epochs", 2, "--time-limit", 5)
    stopped = call(capsys, *command(folder, out, *limited))
    assert stopped.code == 0 and "the time is over after 1 of 2 epochs; --resume goes on" in stopped.err
    assert "best val_ssim" in stopped.out
    assert any(n.startswith("checkpoint/state-00001-0000001") for n in results(out))
    assert call(capsys, *command(folder, out, "--epochs", 2, "--resume")).code == 0
    for name in ("generator.weights.h5",):
        one, other = arrays(folder / "run" / name), arrays(out / name)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], key)
    assert (out / "history.json").read_text() == (folder / "run" / "history.json").read_text()


@pytest.mark.slow
def test_time_limit_before_the_first_epoch_is_over(folder, tmp_path, capsys):
    result = call(capsys, *command(folder, tmp_path / "run", "--epochs", 2, "--time-limit", 1e-6))
    assert result.code == 0 and "no epoch was completed; the state is in" in result.out
    report = call(capsys, *command(folder, tmp_path / "run", "--epochs", 2, "--resume", "--json")).json()
    assert report["epochs"] == 2 and report["best_epoch"] in (1, 2)


def test_enlarge_and_judge(folder, tmp_path, capsys):
    weights = folder / "run" / "generator.weights.h5"
    model = ("--model", "srrescycgan", "--weights", weights)
    assert call(capsys, "reconstruct", folder / "data", tmp_path / "large", *model).code == 0
    with h5py.File(tmp_path / "large" / "a.h5") as file:
        assert file["reconstruction"].shape == (3, 96, 80)
        assert 0 < file["reconstruction"][()].max() < 1e-2  # in the file's units
    assert call(capsys, "reconstruct", folder / "data", tmp_path / "judged", *model, "--reduce").code == 0
    report = call(capsys, "evaluate", tmp_path / "judged", "--target", folder / "data", "--json").json()
    assert [row["name"] for row in report["mean"]] == ["bicubic", "prediction"] and report["mean"][0]["n"] == 3
    mixed = call(capsys, "reconstruct", folder / "data", tmp_path / "judged", *model, "--resume")
    assert mixed.code == 2 and "reduced" in mixed.err


@pytest.mark.slow
def test_training_from_given_weights(folder, tmp_path, capsys):
    weights = folder / "run" / "generator.weights.h5"
    result = call(capsys, *command(folder, tmp_path / "run", "--epochs", 1, "--init", weights, "--lr", 1e-9))
    assert result.code == 0 and f"arrays of {weights}" in result.err
    one, other = arrays(weights), arrays(tmp_path / "run" / "generator.weights.h5")
    for key in one:
        np.testing.assert_allclose(one[key], other[key], atol=1e-6)
    wrong = call(capsys, *command(folder, tmp_path / "other", "--set", "n_blocks=2", "--epochs", 1, "--init", weights))
    assert wrong.code == 4


@pytest.mark.parametrize("text, words", [
    ("filters=abc", "filters must be a whole number, received 'abc'"), ("filters=1.5", "whole number"),
    ("filters=0", "at least 1"),
    ("n_blocks=-1", "at least 0"), ("lambda_cyc=abc", "lambda_cyc must be a number"), ("low_memory=maybe", "true or false"),
    ("spectral_norm=1", "true or false"), ("filters=null", "whole number"),
])
def test_nonsense_options_are_named(folder, tmp_path, capsys, text, words):
    result = call(capsys, *command(folder, tmp_path / "run", "--set", text))
    assert result.code == 2 and words in result.err and not (tmp_path / "run").exists(), result.err


def test_python_spelling_model_as_first_word_and_a_resumption_of_nothing(folder, tmp_path, capsys):
    from tfrecon.cli.training_options import option

    assert [option(f"x={v}")[1] for v in ("True", "False", "None", "true", "word")] == [True, False, None, True, "word"]
    words = ("train", "srrescycgan", *command(folder, tmp_path / "run", "--resume")[1:])
    wrong = call(capsys, *words, "--set", "n_blocks=x")
    assert wrong.code == 2 and "n_blocks must be a whole number" in wrong.err
    result = call(capsys, *words, "--init", tmp_path / "none.h5")
    assert result.code and "no run in" in result.err


@pytest.mark.slow
def test_training_on_shards_stops_and_goes_on(folder, tmp_path, capsys):
    assert call(capsys, "convert", folder / "data", tmp_path / "shards", "--shards", 3).code == 0
    words = ("train", "--data", tmp_path / "shards", *TINY, "--epochs", 2, "--visits", 2)
    assert call(capsys, *words, "--out", tmp_path / "whole").code == 0
    stopped = ("--out", tmp_path / "run", "--time-limit", 1e-6)
    assert "no epoch was completed" in call(capsys, *words, *stopped).out
    assert call(capsys, *words, "--out", tmp_path / "run", "--resume").code == 0
    one, other = (arrays(tmp_path / name / "generator.weights.h5") for name in ("whole", "run"))
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], key)


def test_options_of_other_models_are_refused(folder, tmp_path, capsys):
    for words in (("--keep-epochs",), ("--optimizer", "adamw"), ("--set", "ngf=3"), ("--generator-first", 1)):
        result = call(capsys, *command(folder, tmp_path / "run", "--epochs", 1, *words))
        assert result.code == 2 and words[0].lstrip("-") in result.err.replace("ngf", "set"), result.err
        assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_reduced_are_skipped(folder, tmp_path, capsys):
    for name in "abc":
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.h5").write_bytes((folder / "data" / f"{name}.h5").read_bytes())
    images(tmp_path / "data" / "tiny.h5", 1, (3, 9))
    result = call(capsys, *command(tmp_path, tmp_path / "run", "--epochs", 1))
    assert result.code == 3 and "skipped tiny.h5: its slices of 3 x 9 are too small" in result.err


def test_results_do_not_go_among_the_data(folder, tmp_path, capsys):
    inside = folder / "data" / "new"
    weights = folder / "run" / "generator.weights.h5"
    for words in (command(folder, inside, "--epochs", 1),
                  ("reconstruct", folder / "data", inside, "--model", "srrescycgan", "--weights", weights)):
        result = call(capsys, *words)
        assert result.code == 2 and "inside the data" in result.err and not inside.exists()


@pytest.mark.slow
def test_run_is_not_resumed_on_other_data(folder, tmp_path, capsys):
    for name in "abc":
        images(tmp_path / "data" / f"{name}.h5", seed=ord(name))
    assert call(capsys, *command(tmp_path, tmp_path / "run", "--epochs", 1)).code == 0
    images(tmp_path / "data" / "d.h5", seed=7)
    result = call(capsys, *command(tmp_path, tmp_path / "run", "--epochs", 2, "--resume"))
    assert result.code == 2 and "data" in result.err and "--overwrite" in result.err


@pytest.mark.parametrize("side, words", [(160, "at least 188, received 160"), (190, "multiple of 4")])
def test_critics_that_cannot_learn_are_refused(tmp_path, capsys, side, words):
    for name in "ab":
        images(tmp_path / "data" / f"{name}.h5", 1, (200, 200))
    result = call(capsys, "train", "--data", tmp_path / "data", "--out", tmp_path / "run", "--model", "srrescycgan",
                  "--preset", "small_gan", "--crop", side)
    assert result.code == 2 and words in result.err and not (tmp_path / "run").exists()


def test_images_too_small_for_the_critic_are_refused(folder, tmp_path, capsys):
    result = call(capsys, "train", "--data", folder / "data", "--out", tmp_path / "run", "--model", "srrescycgan",
                  "--preset", "small_gan")
    assert result.code == 2 and "at least 188" in result.err


def test_weights_of_another_scaling_are_refused(folder, tmp_path, capsys):
    from tfrecon import create
    from tfrecon.weights import save_weights

    card = read_card(folder / "run" / "generator.weights.h5")
    model = create("srrescycgan", folder / "run" / "generator.weights.h5")
    save_weights(model.generator, tmp_path / "w.weights.h5", {**card, "scaling": "zero_filled_max"})
    result = call(capsys, "reconstruct", folder / "data", tmp_path / "out", "--model", "srrescycgan", "--weights",
                  tmp_path / "w.weights.h5")
    assert result.code == 4 and "scaling that does not exist" in result.err


@pytest.mark.slow
def test_upstream_generator_by_name(folder, tmp_path, capsys):
    upstream = ("--model", "srresdnet", "--preset", "small", "--set", "filters=2", "--set", "depth=1", "--batch-size", "2",
                "--crop", "16")
    data, run = folder / "data", tmp_path / "run"
    assert call(capsys, "train", "--data", data, "--out", run, *upstream, "--epochs", 1).code == 0
    assert call(capsys, "reconstruct", data, tmp_path / "out", "--model", "srresdnet", "--weights",
                run / "generator.weights.h5", "--reduce").code == 0


def test_kspace_without_images_is_told_apart(tmp_path, capsys):
    images(tmp_path / "data" / "a.h5", key="kspace")
    result = call(capsys, *command(tmp_path, tmp_path / "run"))
    assert result.code == 3 and "reconstruct it first" in result.err
