"""Records of weights: what they must say, how `create` uses them, and that they travel with the package."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

import keras
import numpy as np
import pytest
from cli_tools import ROOT, call
from conftest import SHARED
from file_server import FileServer
from test_weights_formats import write_safetensors
from tiny import image_to_image

from tfrecon import create
from tfrecon.data import create_paired_dataset, picture_batches, write_demo_ct, write_demo_volumes
from tfrecon.errors import UsageError, WeightsError
from tfrecon.weights import load_weights, read_card, records, save_weights, sha256_of, weight_records, whereabouts
from tfrecon.zoo import RECORDS

OURS = sorted((ROOT / "weights").glob("*.json"))
FIELDS = {"version": 1, "name": "tiny", "model": "unet_gan", "summary": "A tiny one.", "file": "tiny.weights.h5",
          "value_range": "[0, 1]", "licence": "Apache-2.0", "source": "this test"}


def write_record(folder, path, **changes):
    """A record of a file, in the folder."""
    fields = {**FIELDS, "sha256": sha256_of(path), "bytes": path.stat().st_size, "file": path.name, **changes}
    (folder / f"{fields['name']}.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def network():
    """What `tiny_unet` makes of the U-Net."""
    return image_to_image((None, None, 1), 2)


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_unet):
    """A folder of records, with our own tiny weights and the record of foreign ones; the cache is empty."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(records, "folder", lambda: folder)
    records._read_all.cache_clear()
    monkeypatch.setenv("TFRECON_CACHE", str(tmp_path / "cache"))
    own = save_weights(network(), folder / "tiny.weights.h5", {"model": "unet_gan", "options": {"width": 2}})
    write_record(folder, own, options={"width": 2})
    foreign = write_safetensors(tmp_path / "foreign.safetensors", {v.path: v.numpy() for v in network().weights})
    write_record(folder, foreign, name="foreign", options={"width": 2}, scaling="zero_filled_max", by_hand="Ask its author.",
                 facts={"acceleration": 8})
    return folder


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_the_records_of_this_repository(path):
    record = records.read_record(path)
    model = RECORDS[record.model]
    assert model.make is not None and record.bytes <= 2_000_000 and (record.url or record.by_hand or record.shipped())
    assert not record.url.startswith("https://raw.githubusercontent.com/") or re.search(r"/[0-9a-f]{40}/", record.url)
    assert not (record.url and "none" in record.licence), "nobody said that it may be given on"


def test_the_files_of_this_repository_have_a_record_and_little_weight():
    found = list((ROOT / "weights").iterdir())
    assert {path.suffix for path in found} <= {".json", ".md", ".h5"}, "setup.cfg installs these only"
    files = [path for path in found if path.suffix == ".h5"]
    assert {path.name for path in files} <= {record.file for record in weight_records().values()}
    assert sum(path.stat().st_size for path in files) <= 8_000_000


@pytest.mark.parametrize("path", [path for path in OURS if path.with_suffix(".weights.h5").exists()], ids=lambda p: p.name)
def test_weights_of_our_own_load_and_beat_doing_nothing(path):
    """On data it never saw; what stands in the record is what `benchmarks/ship_weights.py` read from the judgement."""
    record = records.read_record(path)
    trainer = create(record.model, weights=record.name)
    assert load_weights(trainer.generator, record.name).loaded == len(trainer.generator.weights)
    nothing, *methods = next(iter(record.facts["judged"].values()))
    assert nothing["name"] in ("zero_filled", "blurred", "bicubic")
    ours = next(row for row in methods if row["name"] not in ("CG-SENSE",))
    assert ours["psnr"] > nothing["psnr"] and ours.get("ssim", 1) > nothing.get("ssim", 0) and ours["n"] >= 5
    told = read_card(record.name)  # of which `export` makes its card: the record's facts are in it
    assert told["judged"] == record.facts["judged"] and told["data"] == record.facts["data"] and told["model"] == record.model
    card = path.with_suffix(".md").read_text()
    assert record.sha256 in card and record.facts["training"]["command"].startswith("tfrecon train") and "/tmp" not in card


@pytest.mark.slow
def test_weights_of_our_own_do_better_than_nothing_on_phantoms(tmp_path):
    """Run, not read: a wrong scaling or another file under the name would fall below what went in."""
    write_demo_volumes(tmp_path / "mri", volumes=2, slices=3, size=128)
    write_demo_ct(tmp_path / "ct", volumes=2, slices=3, size=128)
    masked = {"target": "kspace", "crop": 128, "batch_size": 6}
    cases = {"unet-gan-4x": (tmp_path / "mri", "masked", masked),
             "deblurgan-mri-4x": (tmp_path / "mri", "masked", {**masked, "channels": 3, "scaling": "symmetric"}),
             "ct-deblur": (tmp_path / "ct", "blur", {"batch_size": 6, "patch": 128}),
             "srrescycgan-4x": (tmp_path / "mri", "superres", {"batch_size": 6})}
    for name, (folder, task, options) in cases.items():
        model = create(weight_records()[name].model, weights=name)
        given, wanted = next(iter(create_paired_dataset(folder, task, **options)))[:2]
        given, wanted = given.numpy(), wanted.numpy()
        answer = model.predict(np.repeat(given, model.generator.input_shape[-1] // given.shape[-1], -1), verbose=0)
        nothing = keras.ops.image.resize(given, wanted.shape[1:3], "bicubic") if task == "superres" else given
        assert np.mean((answer[..., :1] - wanted[..., :1]) ** 2) < np.mean((nothing - wanted)[..., :1] ** 2), name


def test_our_flow_takes_fewer_bits_than_a_prior_that_knows_nothing(tmp_path):
    write_demo_volumes(tmp_path, volumes=2, slices=3, size=128)
    model = create("spline_flow", weights="flow-80x64")
    bits = model.evaluate(picture_batches(tmp_path, size=(80, 64), batch_size=6), verbose=0)
    assert np.ravel(bits)[0] < model.flow.num_bits


@pytest.mark.parametrize(("name", "file"), [
    ("srrescgan-x4", "srrescgan_model.pth"), ("srresdnet-x4", "G_perceptual.pth"), ("modl-brain-6x", "modl_5l/model-50")])
def test_published_files_are_those_of_the_records(name, file):
    path = SHARED / "weights" / file
    if not path.parent.is_dir():
        pytest.skip("published weights are not beside the project")
    record = weight_records()[name]
    assert sha256_of(path) == record.sha256 and read_card(path)["record"] == name
    size = sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*"))
    assert size == record.bytes


def test_create_by_name_and_a_changed_file(folder):
    assert create("unet_gan", weights="tiny").generator.name == "Generator"
    with open(folder / "tiny.weights.h5", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00" if file.peek(1) != b"\x00" else b"\x01")
    with pytest.raises(WeightsError, match="install tfrecon again"):
        create("unet_gan", weights="tiny")


def test_known_files_bring_their_options_wherever_they_lie(folder, tmp_path):
    """Row 61: weights of another model with the same shapes are told apart by their content."""
    path = tmp_path / "foreign.safetensors"
    assert read_card(path) == {"acceleration": 8, "model": "unet_gan", "options": {"width": 2}, "record": "foreign",
                               "scaling": "zero_filled_max", "weights_licence": "Apache-2.0"}
    assert create("unet_gan", weights=path).generator.count_params() == network().count_params()
    with pytest.raises(WeightsError, match="holds weights of unet_gan, not of pix2pix"):
        create("pix2pix", weights=path)


@pytest.mark.parametrize(("weights", "words"), [
    ("foreign", ["not given on", "Ask its author."]), ("tini", ["does not exist", "did you mean tiny?"]),
    ("tini.h5", ["does not exist; the nearest folder"]),
])
def test_what_cannot_be_had_says_what_to_do(folder, weights, words):
    with pytest.raises(WeightsError) as caught:
        create("unet_gan", weights=weights)
    assert all(word in str(caught.value) for word in words)


def test_a_record_with_an_address_is_fetched_and_offline_says_so(folder, tmp_path, monkeypatch):
    path, server = tmp_path / "foreign.safetensors", FileServer((tmp_path / "foreign.safetensors").read_bytes())
    monkeypatch.setattr(records, "_rules", lambda record, path: {})  # an address of this machine
    write_record(folder, path, name="fetched", options={"width": 2}, url=f"{server.url}/w.safetensors", file="w.safetensors")
    records._read_all.cache_clear()
    record = weight_records()["fetched"]
    assert whereabouts(record) == "download"
    assert load_weights(network(), "fetched").loaded == 8
    assert whereabouts(record) == "cached" and len(server.asked) == 1
    server.close()
    assert load_weights(network(), "fetched") and len(server.asked) == 1
    shutil.rmtree(tmp_path / "cache")
    began = time.monotonic()
    with pytest.raises(WeightsError, match="fetched: not in the cache .* or download http://localhost.* give the file"):
        create("unet_gan", weights="fetched")
    assert time.monotonic() - began < 1.5  # 0.8 s, and a busy machine


@pytest.mark.parametrize(("changes", "words"), [
    ({"sha256": "abc"}, "sha256"), ({"bytes": "7"}, "bytes"), ({"bytes": 0}, "bytes"), ({"colour": 1}, "colour"),
    ({"licence": None}, "licence"), ({"version": 2}, '"version": 1'), ({"file": "../x.h5"}, "file"),
    ({"url": "file:///etc/hostname"}, "url"), ({"url": "https://x/y#sha256=0"}, "url"), ({"name": "A b"}, "name"),
    ({"options": []}, "options"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_damaged_records_are_refused(folder, tmp_path, changes, words):
    path = tmp_path / "foreign.safetensors"
    write_record(tmp_path, path, **changes)
    with pytest.raises(WeightsError) as caught:
        records.read_record(tmp_path / f"{changes.get('name', 'tiny')}.json")
    assert words in str(caught.value)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(WeightsError, match="is no record"):
        records.read_record(tmp_path / "bad.json")


def test_the_command_line_takes_names(folder, capsys, tmp_path):
    rows = call(capsys, "weights", "list", "--json").json()
    assert {row["name"]: row["whereabouts"] for row in rows} == {"tiny": "shipped", "foreign": "by hand"}
    plain = call(capsys, "weights", "list")
    assert "shipped" in plain.out and "recorded for deblurgan_mri" in plain.err
    info = call(capsys, "weights", "info", "tiny")
    assert info.code == 0 and "Keras 3 weights" in info.out and "A tiny one." in info.out
    assert "not on this machine; Ask its author." in call(capsys, "weights", "info", "foreign").err
    verified = call(capsys, "weights", "verify", "tiny", "--json").json()
    assert verified["loaded"] == verified["total"] == 8 and verified["model"] == "unet_gan"
    assert call(capsys, "weights", "verify", tmp_path / "foreign.safetensors").code == 0  # known: no --model needed
    assert call(capsys, "weights", "verify", "tiny", "--model", "modl").code == 4
    assert call(capsys, "models", "unet_gan", "--json").json()[0]["weights"] == ["foreign", "tiny"]


def test_row_53_convert_never_replaces_its_input(folder, capsys, tmp_path):
    path = tmp_path / "x.weights.h5"
    shutil.copy(folder / "tiny.weights.h5", path)
    (tmp_path / "link.weights.h5").symlink_to(path)
    for out in (path, tmp_path / "link.weights.h5"):
        same = call(capsys, "weights", "convert", path, out, "--overwrite")
        assert same.code == 2 and "would be replaced" in same.err
    assert path.read_bytes() == (folder / "tiny.weights.h5").read_bytes()
    (tmp_path / "file").write_bytes(b"")
    below = call(capsys, "weights", "convert", path, tmp_path / "file" / "y.weights.h5")
    assert below.code == 2 and "is a file" in below.err


def test_a_converted_record_keeps_its_options_and_takes_none_of_a_preset(folder, capsys, tmp_path):
    """The preset's other options would be for another network."""
    out = tmp_path / "y.weights.h5"
    assert call(capsys, "weights", "convert", tmp_path / "foreign.safetensors", out).code == 0
    card = read_card(out)
    assert card["options"] == {"width": 2} and card["acceleration"] == 8 and card["model"] == "unet_gan"
    assert call(capsys, "weights", "verify", out).code == 0


BUILD = "import sys\nfrom setuptools import build_meta\nprint(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(project, kind, out):
    """What setuptools' backend makes of a project, as pip calls it."""
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, kind, out], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


def test_weights_travel_in_wheel_and_sdist_and_stay_in_a_clone(folder, tmp_path):
    """From each of them the record is found and its file is the one meant."""
    pytest.importorskip("setuptools")
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for name in ("tfrecon", "weights"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tiny.json", "tiny.weights.h5"):
        shutil.copy(folder / name, clone / "weights")
    packed = build(clone, "build_sdist", tmp_path / "made")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (again,) = (tmp_path / "unpacked").iterdir()
    wheels = {"direct": build(clone, "build_wheel", tmp_path / "made"),
              "from sdist": build(again, "build_wheel", tmp_path / "out")}
    contents = {}
    for name, wheel in wheels.items():
        with zipfile.ZipFile(wheel) as archive:
            contents[name] = sorted(n for n in archive.namelist() if not n.endswith("RECORD"))
            archive.extractall(tmp_path / name)
    assert contents["direct"] == contents["from sdist"]
    assert {"tfrecon/weights/shipped/tiny.weights.h5", "tfrecon/py.typed"} <= set(contents["direct"])
    assert {n.split("/")[0] for n in contents["direct"]} == {"tfrecon", next(n.split("/")[0] for n in contents["direct"]
                                                                            if ".dist-info/" in n)}
    for place in (clone, tmp_path / "from sdist"):
        script = f"import sys; sys.path.insert(0, {str(place)!r}); from tfrecon.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-P", "-c", script, "weights", "info", "tiny", "--json"], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == 0 and json.loads(done.stdout)["record"]["name"] == "tiny", done.stderr


def test_unpinned_addresses_are_usage_errors():
    with pytest.raises(UsageError, match="add #sha256="):
        create("unet_gan", weights="https://example.org/w.h5")
