"""`kaggle://` as a data path, through kagglehub's own client against a server on this machine."""

import os
import socket
import subprocess
import sys
import tarfile
import time
import traceback
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_tools import ROOT, call, volume
from kaggle_server import TOKEN, KaggleServer, tarred, zipped

from tfrecon.data import index_images, index_volumes, kaggle
from tfrecon.data.find import find_files
from tfrecon.data.kaggle import versions_taken
from tfrecon.downloads import kaggle_client
from tfrecon.errors import DataError, ResourceError, UsageError

kagglehub = pytest.importorskip("kagglehub")
kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")

KEY = "0123456789secret"
DATASET = "kaggle://owner/dataset"
OUTSIDE = "a folder outside of the cache"
OTHER_WAYS = ("https://www.kaggle.com/datasets/owner/dataset", "/kaggle/input/dataset")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """One small volume as bytes."""
    return volume(tmp_path_factory.mktemp("volume") / "a.h5").read_bytes()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, a home without credentials, and a server that refuses connections."""
    for name in list(os.environ):
        if name.startswith("KAGGLE") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {"HOME": tmp_path / "home", "KAGGLE_CONFIG_DIR": tmp_path / "home", "KAGGLE_USERNAME": "somebody",
                        "KAGGLE_KEY": KEY, "KAGGLEHUB_CACHE": tmp_path / "cache",
                        "KAGGLE_API_ENVIRONMENT": "LOCALHOST"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, f"http://localhost:{closed_port()}")
    monkeypatch.setattr(kaggle, "INPUT", str(tmp_path / "input"))
    forget(monkeypatch)
    return tmp_path / "cache" / "datasets" / "owner" / "dataset"


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(monkeypatch, cache, content):
    """Versions 1 and 3 of a dataset with one volume."""
    server = KaggleServer()
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
    server.archives = {1: zipped(**{"old.h5": content}), 3: zipped(**{"val/a.h5": content, "val/notes.csv": b"1"})}
    yield server
    server.close()


def forget(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(kaggle, "_taken", {})


def names(path=DATASET):
    return [v.name for v in index_volumes(path).volumes]


def refused(path=DATASET, *fragments, error=DataError):
    """The error is one line with the fragments, and its traceback holds no secret."""
    with pytest.raises(error) as caught:
        find_files(path)
    text, whole = str(caught.value), "".join(traceback.format_exception(caught.value))
    assert "\n" not in text and not any(secret in whole for secret in (KEY, TOKEN, "Basic "))
    for fragment in fragments:
        assert fragment in text
    return caught.value


def test_a_dataset_is_read_and_downloaded_once(server, cache, monkeypatch, caplog):
    (found,) = index_volumes(DATASET).volumes
    assert found.name == "val/a.h5" and found.slices == 2
    assert Path(found.path) == cache / "versions" / "3" / "val" / "a.h5" and (cache / "3.complete").exists()
    assert server.asked == ["newest", ("download", 3), ("file", 0)]
    assert "version 3" in caplog.text and "kaggle://owner/dataset/versions/3" in caplog.text
    assert versions_taken() == {DATASET: "3"}  # for the record of a run
    assert names() == ["val/a.h5"] and len(server.asked) == 3  # the version stays for this process
    forget(monkeypatch)
    assert names() == ["val/a.h5"] and server.asked[3:] == ["newest"]


def test_a_named_version_is_asked_for_once(server, cache, monkeypatch):
    assert names(f"{DATASET}/versions/1") == ["old.h5"]
    assert server.asked == [("download", 1), ("file", 0)]
    forget(monkeypatch)
    assert names(f"{DATASET}/versions/1") == ["old.h5"] and len(server.asked) == 2


def test_all_forms_of_a_path(server, cache):
    folder = cache / "versions" / "3"
    for path in (DATASET + "/", DATASET.encode(), Path(DATASET), [DATASET]):
        assert find_files(path)[0] == [(str(folder / "val" / "a.h5"), "val/a.h5")]
    assert find_files(f"{DATASET}/val")[0] == find_files(f"{DATASET}/versions/3/val/a.h5")[0]
    refused(f"{DATASET}/val/b.h5", "no b.h5 in", "a.h5, notes.csv")
    refused(f"{DATASET}/val/a.h5/b", "no b in", "holds nothing")
    assert refused(f"{DATASET}/train", "no train in", "holds val").exit_code == 3


def test_images_and_the_command_line(server, capsys):
    stored = {}
    with h5py.File("ct.h5", "w", driver="core", backing_store=False) as file:
        file["hu"] = np.zeros((2, 8, 8), np.float32)
        file.flush()
        stored["ct.h5"] = file.id.get_file_image()
    server.archives[4] = zipped(**stored)
    assert [v.name for v in index_images(DATASET, "soft_tissue").volumes] == ["ct.h5"]
    result = call(capsys, "inspect", f"{DATASET}/versions/1", "--json")
    assert result.code == 0 and result.json()["volumes"][0]["name"] == "old.h5"
    assert call(capsys, "inspect", "kaggle://dataset").code == 2


def test_results_on_stdout_are_alone_and_kagglehub_is_imported_when_needed(server):
    script = ("import sys\nfrom tfrecon import cli, data\nassert 'kagglehub' not in sys.modules\n"
              "from kagglesdk import kaggle_env as k\nk._env_to_endpoint[k.KaggleEnv.LOCAL] = sys.argv[1]\n"
              "sys.exit(cli.main(['inspect', '--json', sys.argv[2]]))")
    done = subprocess.run([sys.executable, "-c", script, server.url, DATASET], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("{") and done.stdout.rstrip().endswith("}"), done.stderr
    assert "note: kaggle://owner/dataset is version 3" in done.stderr and KEY not in done.stderr


def test_offline_the_newest_complete_version_is_taken(cache, caplog, content):
    for version in (2, 9, 10, 11):
        (cache / "versions" / str(version)).mkdir(parents=True)
        (cache / "versions" / str(version) / f"{version}.h5").write_bytes(content)
    for version in ("2", "9", "10", "12", "x"):  # 11 broke off, 12 was deleted by hand
        (cache / f"{version}.complete").touch()
    assert names() == ["10.h5"] and "version 10, the newest in the cache" in caplog.text
    assert names(f"{DATASET}/versions/9") == ["9.h5"]
    refused(f"{DATASET}/versions/11", "holds version 2, 9, 10", *OTHER_WAYS[:1])


@pytest.mark.parametrize("how", ["refused", "black hole", "no name", "proxy"])
def test_offline_without_a_cache_says_so_within_a_second(cache, monkeypatch, how):
    asked = []

    def connect(address, timeout):
        asked.append(address)
        if how == "black hole":
            time.sleep(3)
        raise socket.gaierror(-2, "Name or service not known") if how == "no name" else TimeoutError("timed out")

    monkeypatch.setattr(kaggle, "INPUT", "/kaggle/input")
    if how != "refused":
        monkeypatch.setattr(socket, "create_connection", connect)
    if how == "proxy":
        monkeypatch.setenv("HTTP_PROXY", "http://somebody:pa55word@proxy.example:3128")
    began = time.monotonic()
    error = refused(DATASET, "nothing complete in", "no way to Kaggle", *OTHER_WAYS)
    assert time.monotonic() - began < 1.0 and error.exit_code == 3 and "pa55word" not in str(error)
    assert how != "proxy" or asked == [("proxy.example", 3128)]


def test_a_server_that_never_answers(server, monkeypatch):
    monkeypatch.setattr(kaggle_client, "_TIMEOUTS", (0.2, 0.2))
    server.stall = 1
    refused(DATASET, "broke off (ReadTimeout)", *OTHER_WAYS[:1])


@pytest.mark.parametrize(("status", "fragments"), [
    (401, ["private", "KAGGLE_USERNAME and KAGGLE_KEY", "kaggle.json"]),
    (403, ["private", "terms accepted", "KAGGLE_USERNAME and KAGGLE_KEY", "kaggle.json"]),
    (404, ["not found", "check the names", "KAGGLE_KEY"]), (429, ["try again later"]), (500, ["try again later"]),
])
@pytest.mark.parametrize("path", [DATASET, f"{DATASET}/versions/3"])
def test_refusals_of_the_server(server, cache, path, status, fragments):
    server.status = status
    refused(path, f"HTTP {status}", *fragments, *OTHER_WAYS[:1])
    assert len(server.asked) == 1 and not list(cache.glob("*.complete"))


def test_a_version_that_does_not_exist(server):
    refused(f"{DATASET}/versions/2", "versions/2", "HTTP 404", "version")


def test_a_download_that_breaks_off_is_not_taken_and_goes_on(server, cache, monkeypatch, content):
    mega = 2**20  # kagglehub stores whole ones
    server.archives[3] = zipped(**{"a.h5": content, "b.bin": bytes(2 * mega)})
    server.cut = 2 * mega - 1
    refused(DATASET, "broke off", "nothing of this download is used")
    assert (cache / "3.archive").stat().st_size == mega and not (cache / "3.complete").exists()
    with monkeypatch.context() as offline:
        offline.setattr(kaggle_client, "_silence", lambda: "no network")
        refused(DATASET, "nothing complete in")
    server.cut = None
    assert names() == ["a.h5"] and server.asked[-1] == ("file", mega)


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("spoil", [
    lambda archive: b"<html>sign in</html>", lambda archive: archive[:-300], lambda archive: archive.replace(b"HDF", b"PDF"),
], ids=["page", "short", "changed"])
def test_a_damaged_archive(server, cache, spoil, hashed):
    server.spoil, server.hashed = spoil, hashed
    refused(DATASET, "damaged or no archive", "*.archive")
    assert not (cache / "3.complete").exists()


def as_older_kagglehub_unpacks(archive_path, out_path):
    with tarfile.open(archive_path) as archive:
        archive.extractall(out_path)


@pytest.mark.parametrize("older", [False, True], ids=["installed", "before 1.0.2"])
@pytest.mark.parametrize("members", [
    [("a.h5", b"x"), ("../../../../evil.h5", b"x")], [("a", OUTSIDE), ("a/evil.h5", b"x")], [("a.h5", "../../../../..")],
], ids=["dots", "through a link", "link"])
def test_a_hostile_tar_writes_nothing_outside(server, cache, tmp_path, monkeypatch, members, older):
    if older:
        monkeypatch.setattr("kagglehub.http_resolver._extract_archive", as_older_kagglehub_unpacks)
    (tmp_path / "outside").mkdir()
    server.archives = {1: tarred(*((n, str(tmp_path / "outside") if c == OUTSIDE else c) for n, c in members))}
    before = set(tmp_path.rglob("*"))
    refused(DATASET, "outside of its folder", "do not use this dataset")
    made = set(tmp_path.rglob("*")) - before
    assert all(p.is_relative_to(tmp_path / "cache") for p in made) and not any(p.is_symlink() for p in made)
    assert not (cache / "1.complete").exists() and tarfile.TarFile.extraction_filter is None


def test_a_hostile_zip_stays_in_its_folder(server, cache, tmp_path, content):
    server.archives = {1: zipped(**{"../../../../evil.h5": content, "/abs.h5": content})}
    assert names() == ["abs.h5", "evil.h5"]
    assert sorted(p.name for p in tmp_path.rglob("*.h5")) == ["abs.h5", "evil.h5"]
    assert sorted(os.listdir(cache / "versions" / "1")) == ["abs.h5", "evil.h5"]


def test_a_full_disk_and_broken_credentials(server, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("kagglehub.http_resolver._extract_archive", full)
        assert refused(DATASET, "No space left", "KAGGLEHUB_CACHE", error=ResourceError).exit_code == 5
    monkeypatch.delenv("KAGGLE_KEY")
    home = Path(os.environ["KAGGLE_CONFIG_DIR"])
    home.mkdir()
    (home / "kaggle.json").write_text(f'{{"key": "{KEY}"')
    refused(DATASET, "kagglehub stopped (ValueError)", "kaggle.json", "dataset_download('owner/dataset')")


@pytest.mark.parametrize("path", [
    "kaggle://", "kaggle://owner", "kaggle://owner/", "kaggle:///dataset/", "kaggle://owner/../x", "kaggle://../dataset",
    "kaggle://owner/dataset/../x", "kaggle://owner/dataset/a/./b", "kaggle://owner/dataset/a/..", "kaggle://owner/dataset//a",
    "kaggle://owner/dataset/versions", "kaggle://owner/dataset/versions/new", "kaggle://owner/dataset/versions/0",
    "kaggle://owner/data set", "kaggle://owner/dataset?x=1", "kaggle://-o/dataset", "kaggle://owner/dataset/versions/-1",
])
def test_bad_addresses(cache, path):
    assert refused(path, "expected kaggle://owner/dataset", path, error=UsageError).exit_code == 2


@pytest.mark.parametrize("place", ["dataset", "datasets/owner/dataset"])
def test_what_is_attached_on_kaggle_is_read_without_the_client(cache, tmp_path, content, monkeypatch, caplog, place):
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # importing it raises
    folder = tmp_path / "input" / place
    (folder / "val").mkdir(parents=True)
    (folder / "val" / "a.h5").write_bytes(content)
    assert names() == ["val/a.h5"] and names(f"{DATASET}/val") == ["a.h5"] and not caplog.text
    assert names(f"{DATASET}/versions/3") == ["val/a.h5"] and "does not tell its version" in caplog.text


def test_a_missing_folder_of_kaggle_names_what_is_attached(cache, tmp_path):
    missing = tmp_path / "input" / "knee" / "val"
    assert "attached" not in str(refused(missing, "does not exist"))  # not on Kaggle
    for name in ("datasets/owner/brain", "fastmri-knee", ".hidden"):
        (tmp_path / "input" / name).mkdir(parents=True)
    refused(missing, "does not exist", "attached in", "input: datasets/owner/brain, fastmri-knee;", "Add Input")
    with pytest.raises(DataError, match="datasets/owner/brain"):
        index_images(missing, "soft_tissue")
    assert "attached" not in str(refused(tmp_path / "inputs"))
