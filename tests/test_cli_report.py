"""`report`: what stands in it, what it refuses, and that it shows nobody's folders; row numbers are those of the bad inputs."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_tools import TINY, call, disc, fingerprint, results, volume, volumes

from tfrecon.cli.report.portable import portable, without_places
from tfrecon.cli.report.run_folders import read_runs
from tfrecon.report import save_figure, strip

EPOCHS = [{"epoch": n, "g_loss": 2.0 - n, "val_psnr": 20.0 + n, "val_ssim": 0.6 + 0.05 * n} for n in range(3)]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def training(folder, history=EPOCHS, **facts):
    """A folder as `train` leaves it, without a network."""
    best = max(range(len(history)), key=lambda n: history[n]["val_ssim"]) if history else None
    done = {"best_epoch": best + 1, "best_val_ssim": history[best]["val_ssim"]} if history else {}
    record = {
        "command": ["tfrecon", "train", "--data", "/home/someone/volumes", "--out", str(folder)], "tfrecon": "0.1.0",
        "python": "3.11.7", "packages": {"keras": "3.15"}, "device": "CPU, 2 cores", "finished": "2026-11-22", "seconds": 61.0,
        "card": {"model": "unet_gan", "acceleration": 4, "options": {"width": 16, "loss": "bce"}},
        "data": {"train": {"t1.h5": "patient-01", "t2.h5": "patient-02"}, "validation": {"v.h5": "patient-03"}, "digest": "dd"},
        "seed": 7, "epochs": len(history), "epochs_asked": len(history), "baseline_ssim": 0.55, "weights_sha256": "ab" * 32,
        **done, **facts}
    write(folder / "run.json", record)
    write(folder / "history.json", history)
    write(folder / "config.json", {"version": 1, "data": "/home/someone/volumes", "out": str(folder), "decay": 0.9})
    return folder


def reconstruction(folder, data, error=0.02, names=None, **facts):
    """A folder as `reconstruct` leaves it: the targets with some error."""
    folder.mkdir()
    found = sorted(names or [path.stem for path in data.glob("*.h5")])
    for seed, name in enumerate(found):
        with h5py.File(data / f"{name}.h5") as source, h5py.File(folder / f"{name}.h5", "w") as file:
            target = source["reconstruction_esc"][()]
            noise = np.random.default_rng(seed).standard_normal(target.shape)
            file["reconstruction"] = (target + (1 + seed) * error * target.max() * noise).astype(np.float32)
            file.attrs.update({"model": "unet_gan", "mask_accelerations": "4", "acquisition": "TEST"})
    write(folder / "run.json", {"command": ["tfrecon", "reconstruct", str(data), str(folder)], "failed": {}, "seconds": 2.0,
                                "reconstructed": [f"{name}.h5" for name in found], "model": "unet_gan",
                                "weights_sha256": "ab" * 32, **facts})
    return folder


@pytest.fixture
def data(tmp_path):
    return volumes(tmp_path / "data")


def page_of(path):
    """The page without its pictures, and how many there are."""
    source = path.read_text()
    return re.sub(r'base64,[^"]*', "", source), source.count("data:image/png;base64,")


@pytest.mark.slow
def test_the_whole_way_from_training_to_the_report(capsys, tmp_path, demo_folder, tiny_unet):
    """Trained, reconstructed, reported; the run's own weights tell which targets were trained on, and are not missed."""
    assert call(capsys, "train", "--data", demo_folder, "--out", tmp_path / "unet", *TINY, "--epochs", 1).code == 0
    held = json.loads((tmp_path / "unet" / "run.json").read_text())["data"]["validation"]
    (tmp_path / "test").mkdir()
    for name in held:
        shutil.copy(demo_folder / name, tmp_path / "test" / name)
    weights = tmp_path / "unet" / "generator.weights.h5"
    made = call(capsys, "reconstruct", tmp_path / "test", tmp_path / "out", "--weights", weights)
    assert made.code == 0, made.err
    before = fingerprint(tmp_path)
    words = (tmp_path / "unet", tmp_path / "out", "--target", demo_folder, "-o", tmp_path / "r.html", "--json")
    found = call(capsys, "report", *words)
    assert found.code == 0, found.err
    assert {k: v for k, v in fingerprint(tmp_path).items() if not k.endswith("r.html")} == before
    assert [row["name"] for row in found.json()["tables"][0]] == ["zero-filled", "out"]
    text, pictures = page_of(tmp_path / "r.html")
    assert "chosen by" in text and "no reconstruction of" not in text and str(tmp_path) not in text
    assert pictures == min(len(held), 3) + 3  # volumes, the way from k-space, curves, strip
    assert text.count('class="scroll wide"') == 3 and ".wide img { width" in text  # on a telephone scrolled, not shrunk
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)|https?://""", text)
    # what an interrupted run lacks comes back as the message of `report` says
    (tmp_path / "unet" / "run.json").unlink()
    broken = call(capsys, "report", tmp_path / "unet", "-o", tmp_path / "again.html")
    assert broken.code == 3 and "with --epochs N for the N epochs that are done" in broken.err
    again = call(capsys, "train", "--data", demo_folder, "--out", tmp_path / "unet", *TINY, "--epochs", 1, "--resume")
    assert again.code == 0 and call(capsys, "report", tmp_path / "unet", "-o", tmp_path / "again.html").code == 0


def test_a_training_alone_says_what_its_scores_are_worth(capsys, tmp_path):
    found = call(capsys, "report", training(tmp_path / "unet"), "-o", tmp_path / "r.html", "--author", "A. <b>Student",
                 "--title", "My & report")
    assert found.code == 0 and found.out == f"report: {tmp_path / 'r.html'}\n" and not found.err
    text, pictures = page_of(tmp_path / "r.html")
    assert pictures == 1 and "My &amp; report" in text and "A. &lt;b&gt;Student" in text
    for part in ("0.5500", "unet, epoch 3 of 3", "they flatter", "2 volumes of 2 patients", "bce", "keras", "61 s",
                 "--data volumes", "Ronneberger", "not a medical device", "the last epoch was the best"):
        assert part in text, part
    assert "someone" not in text and str(tmp_path) not in text


def test_runs_of_one_task_stand_side_by_side_each_against_its_baseline(capsys, tmp_path, data):
    runs = [training(tmp_path / "x"), training(tmp_path / "y", EPOCHS[:2]), reconstruction(tmp_path / "good", data, 0.01),
            reconstruction(tmp_path / "bad", data, 0.5), reconstruction(tmp_path / "one", data, 0.01, ["a"])]
    found = call(capsys, "report", *runs, "--target", data, "-o", tmp_path / "r.html", "--json")
    assert found.code == 1  # of the third two volumes are missing
    assert [[row["name"] for row in table] for table in found.json()["tables"]] == [["zero-filled", "good", "bad"],
                                                                                     ["zero-filled", "one"]]
    assert found.json()["below_baseline"]["good"] == [] and "ssim" in found.json()["below_baseline"]["bad"]
    text, pictures = page_of(tmp_path / "r.html")
    assert pictures == 3 + 1 + 1 + 1 + 2  # best, median, worst; the only one; from k-space; both runs; curves of each
    assert "bad is worse than doing nothing in NMSE, PSNR, SSIM. Do not use it." in text
    assert "one: no reconstruction of b.h5, c.h5." in text and "n/a" in text  # row 10: one volume has no deviation
    assert "Best by the SSIM of good: a.h5" in text and "Worst by the SSIM of good: c.h5" in text


def test_markdown_has_its_pictures_beside_it_and_no_foreign_markup(capsys, tmp_path, data):
    run = reconstruction(tmp_path / "x|<script>*_y_", data, failed={"d.h5": f"{data}/d.h5: <img src=x> is [broken](http://x)"})
    out = tmp_path / "my report.md"
    assert call(capsys, "report", run, "--target", data, "-o", out).code == 0
    text = out.read_text()
    linked = re.findall(r"!\[.*?\]\(my%20report_images/(\d+\.png)\)", text)
    assert linked == results(tmp_path / "my report_images") == ["01.png", "02.png", "03.png", "04.png"]
    assert str(tmp_path) not in text
    prose = re.sub(r"```\n.*?```", "", text, flags=re.S)  # a command is shown as typed
    assert "<script" not in prose and "<img" not in prose and not re.search(r"(?<!\\)\]\(http", prose)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {6}
    assert "d.h5 was not reconstructed: d.h5: " in text and re.search(r"^\| zero-filled \(baseline\) \|", text, re.M)
    (tmp_path / "my report_images" / "05.png").touch()
    (tmp_path / "my report_images" / "2024.txt").touch()
    assert call(capsys, "report", run, "--target", data, "-o", out).code == 2  # row 55
    assert call(capsys, "report", run, "--target", data, "-o", out, "--overwrite").code == 0
    assert results(tmp_path / "my report_images") == [*linked, "2024.txt"]


def test_rows_15_16_77_78_what_went_wrong_is_said(capsys, tmp_path, data):
    volume(data / "zero.h5", images=disc() * 0)
    run = reconstruction(tmp_path / "out", data)
    with h5py.File(run / "a.h5", "r+") as file:
        file["reconstruction"][0, 3, 3] = np.nan
    with h5py.File(run / "b.h5", "r+") as file:
        file["reconstruction"][...] *= 20
    (run / "c.h5").unlink()
    with h5py.File(data / "b.h5", "r+") as file:
        del file["kspace"]
    history = [*EPOCHS, {**EPOCHS[0], "epoch": 3, "g_loss": float("nan"), "val_ssim": None}]
    doubtful = training(tmp_path / "unet", EPOCHS)
    write(doubtful / "history.json", history)
    sides = {"train": {"b.h5": "patient-01"}, "validation": {"v.h5": "patient-01"}}
    write(doubtful / "run.json", {**json.loads((doubtful / "run.json").read_text()), "data": sides, "epochs_asked": 9,
                                  "skipped": {"odd.h5": "not readable"}, "baseline_ssim": 0.9})
    found = call(capsys, "report", doubtful, run, "--target", data, "-o", tmp_path / "r.html")
    assert found.code == 3, found.err  # one prediction could not be read
    text, _ = page_of(tmp_path / "r.html")
    for part in ("g_loss is not a finite number in epoch 4", "val_ssim is not a finite number in epoch 4",
                 "0.7000, is not better than zero-filled, 0.9000", "stopped after 4 of 9 epochs",
                 "1 patients stand on both sides", "odd.h5 was not used: not readable", "no reconstruction of c.h5",
                 "a.h5 could not be judged: a.h5: reconstruction holds NaN", "looks ×20 too large", "no zero-filled row: b.h5: ",
                 "zero.h5: the target is zero everywhere", "names of volumes the network was trained on"):
        assert part in text, part
    assert str(tmp_path) not in text


@pytest.mark.parametrize(("spoil", "fragment"), [
    (lambda run: shutil.rmtree(run), "does not exist; expected a folder of `tfrecon train`"),
    (lambda run: (run / "run.json").unlink(), "has no run.json"),
    (lambda run: write(run / "run.json", '{"card": '), "run.json is damaged"),
    (lambda run: write(run / "run.json", "[1]"), "expected an object, found list"),
    (lambda run: write(run / "run.json", "[" * 100_000), "run.json is damaged"),
    (lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"), "run.json is damaged"),
    (lambda run: write(run / "run.json", {"command": ["tfrecon", "compare"], "rows": []}), "a record of `tfrecon compare`"),
    (lambda run: training(run, []), "no epoch of this run was completed"),
    (lambda run: training(run, best_epoch=4), "best_epoch is 4 and history.json has 3 epochs"),
    (lambda run: training(run, best_epoch="1"), "run.json is damaged: best_epoch"),
    (lambda run: training(run, card={"model": "../evil"}), "a model this tfrecon does not know (../evil)"),
    (lambda run: training(run, card="x"), "a model this tfrecon does not know (null)"),
    (lambda run: (run / "history.json").unlink(), "history.json holds no epoch"),
    (lambda run: write(run / "history.json", "[1, 2, 3]"), "expected an object for every epoch"),
    (lambda run: write(run / "history.json", [{"epoch": n} for n in range(3)]), "do not belong together"),
    (lambda run: write(run / "config.json", "not json"), "config.json is damaged"),
])
def test_row_87_damaged_runs_are_refused_in_one_line(capsys, tmp_path, spoil, fragment):
    run = training(tmp_path / "unet")
    (run / "settings.json").unlink(missing_ok=True)
    spoil(run)
    found = call(capsys, "report", run, "-o", tmp_path / "r.html")
    assert found.code == 3 and fragment in found.err and found.err.count("\n") == 1 and not found.out
    assert not (tmp_path / "r.html").exists()


def test_hostile_records_are_shown_as_text(capsys, tmp_path):
    evil = "<script>alert(1)</script>"
    run = training(tmp_path / "unet", command=["tfrecon", evil, 7], device=[evil], packages={evil: {}}, seconds="1", seed=evil,
                   data={"train": {evil: evil}, "validation": 3, "digest": 5}, skipped=[evil])
    write(run / "strips" / "epoch-00003.png", evil)
    found = call(capsys, "report", run, "-o", tmp_path / "r.html")
    assert found.code == 3 and "expected a PNG or JPEG" in found.err
    save_figure(strip([(np.ones((4, 4)),) * 3]), run / "strips" / "epoch-00003.png")
    assert call(capsys, "report", run, "-o", tmp_path / "r.html").code == 0
    text, pictures = page_of(tmp_path / "r.html")
    assert "<script" not in text and "&lt;script&gt;" in text and pictures == 2


def test_rows_53_55_where_a_report_cannot_stand(capsys, tmp_path, data):
    run, made = training(tmp_path / "unet"), reconstruction(tmp_path / "out", data)
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    for out, fragment in (
        (run / "r.html", "would lie inside what it is made of"), (tmp_path / "there.html", "exists. Use --overwrite"),
        (tmp_path / "folder.html", "is a folder"), (tmp_path / "r.pdf", ".html or .md"),
        (tmp_path / "there.html" / "r.html", "is a file or a broken link"),
    ):
        found = call(capsys, "report", run, "-o", out)
        assert found.code == 2 and fragment in found.err and found.err.count("\n") == 1, found.err
    for out in (made / "r.html", data / "r.md"):
        assert call(capsys, "report", made, "--target", data, "-o", out).code == 2
    assert (tmp_path / "there.html").read_text() == "mine" and results(data) == ["a.h5", "b.h5", "c.h5"]
    assert call(capsys, "report", run, "-o", tmp_path / "there.html", "--overwrite").code == 0


def test_runs_that_do_not_go_together(capsys, tmp_path, data):
    run, made = training(tmp_path / "runs" / "unet"), reconstruction(tmp_path / "out", data)
    other = training(tmp_path / "runs" / "sr", card={"model": "srrescycgan"})
    for words, code, fragment in (
        ((run, run), 2, "is given twice"), ((run, other), 2, "of one task are set side by side; unet (unet_gan) and sr"),
        ((made,), 2, "out: reconstructions are judged by their targets. Give the folder with --target."),
        ((run, "--target", data), 2, "none of the runs holds any"), ((made, "--target", tmp_path / "nowhere"), 3, "nowhere"),
        ((made, "--target", volumes(tmp_path / "others", "xyz")), 3, "none of the targets"),
        ((run, "--center-fraction", 2), 2, "between 0 and 1/acceleration"),
        ((tmp_path / "runs",), 3, "Its folders sr, unet have one."),
    ):
        found = call(capsys, "report", *words, "-o", tmp_path / "r.html")
        assert found.code == code and fragment in found.err, found.err
        assert not (tmp_path / "r.html").exists()


def test_runs_with_the_same_name_are_told_apart(tmp_path):
    runs = [training(tmp_path / side / "unet") for side in ("x", "y")]
    assert [run.label for run in read_runs(runs)] == ["x/unet", "y/unet"]
    # nor is a run taken for doing nothing
    assert [run.label for run in read_runs([training(tmp_path / "x" / "zero-filled")])] == ["x/zero-filled"]


def test_commands_and_messages_lose_the_places_of_this_machine():
    words = ["tfrecon", "train", "--data", "/home/me/my data", "--out=/tmp/run", "rel/ative", "kaggle://a/b", "~/x"]
    assert portable(words) == "tfrecon train --data 'my data' --out=run rel/ative kaggle://a/b x"
    assert portable(["/home/me/run/g.h5", "/home/me/run"], [Path("/home/me/run")]) == "run/g.h5 run"
    assert without_places("/a/b/c.h5: in /a/b", ["/a/b", "/"]) == "c.h5: in b"


def test_every_model_has_what_to_cite():
    from tfrecon import list_models
    from tfrecon.zoo.references import BY_MODEL

    assert set(BY_MODEL) == set(list_models())
    assert all(BY_MODEL[name] or name == "zero_filled" for name in BY_MODEL)
