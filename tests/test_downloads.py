"""Pinned downloads from servers on this machine: what comes is verified, kept whole, and never taken from elsewhere."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cli_tools import ROOT, call
from file_server import FileServer
from kaggle_server import KaggleServer

from tfrecon.downloads import cache_folder, http, kaggle_client
from tfrecon.downloads.hub import HubFile
from tfrecon.errors import ResourceError, UsageError, WeightsError
from tfrecon.weights import local_file, sha256_of
from tfrecon.weights.sources import parse_address

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PIN = f"#sha256={SHA256}"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, and no proxy between us and this machine."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE", "HF_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TFRECON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server():
    server = FileServer(CONTENT)
    yield server
    server.close()


def refused(source, *fragments, error=WeightsError):
    with pytest.raises(error) as caught:
        local_file(source)
    text = str(caught.value)
    assert "\n" not in text
    for fragment in fragments:
        assert fragment in text
    return text


def left(cache):
    """What lies in the cache."""
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


def test_fetched_once_verified_and_kept_under_its_name(server, cache):
    address = f"{server.url}/a/generator%20x.h5?token=secret{PIN}"
    path = local_file(address)
    assert Path(path).read_bytes() == CONTENT and Path(path).parent == cache
    assert left(cache) == [f"{SHA256[:16]}-generator-x.h5"]
    server.close()
    assert local_file(address) == path and len(server.asked) == 1  # needs no network
    assert sha256_of(Path(address)) == SHA256  # pathlib makes one slash of two


@pytest.mark.parametrize("chunked", [False, True])
def test_another_content_is_refused_and_not_kept(server, cache, chunked):
    server.content, server.chunked = b"x" * 7000, chunked
    text = refused(f"{server.url}/w.h5?token=secret{PIN}", "has the SHA-256", f"expected {SHA256}", "nothing of it is kept")
    assert "secret" not in text and left(cache) == []


@pytest.mark.parametrize(("fault", "fragment"), [
    ({"cut": 5000}, "broke off after 5000 of 7000 bytes"),
    ({"cut": 5000, "chunked": True}, "has the SHA-256"),
    ({"stall": 1}, "no answer within 0.2 s"),
    ({"drip": 0.02}, "too slow"),
    ({"status": 404}, "HTTP 404"),
    ({"location": "file:///etc/hostname"}, "not on the network"),
    ({"location": "ftp://localhost/w.h5"}, "not on the network"),
    ({"location": "/again"}, "HTTP 302"),  # in a circle
], ids=lambda value: next(iter(value)) + str(len(value)) if isinstance(value, dict) else "")
def test_servers_that_fail_or_lead_elsewhere(server, cache, monkeypatch, fault, fragment):
    monkeypatch.setattr(http, "_TIMEOUT", 0.2)
    vars(server).update(fault)
    began = time.monotonic()
    refused(f"{server.url}/w.h5{PIN}", fragment)
    assert time.monotonic() - began < 3 and left(cache) == []


def test_no_more_is_read_than_the_record_says(server, cache, monkeypatch):
    monkeypatch.setattr(http, "_LARGEST", 100)
    refused(f"{server.url}/w.h5{PIN}", "more came than the 100 bytes expected", "nothing of it is used")
    assert left(cache) == []


def test_a_copy_that_was_changed_is_fetched_again_and_never_used(server, cache, caplog):
    address = f"{server.url}/w.h5{PIN}"
    path = Path(local_file(address))
    path.write_bytes(CONTENT[:-1] + b"S")
    assert local_file(address) == str(path) and path.read_bytes() == CONTENT
    assert "was changed" in caplog.text and len(server.asked) == 2
    path.write_bytes(b"")
    server.close()
    refused(address, "was changed", "cannot be fetched", "Connect to the network")


@pytest.mark.parametrize("how", ["refused", "black hole", "no name"])
def test_row_88_offline_within_a_second_with_the_other_way(cache, monkeypatch, how):
    def connect(address, timeout):
        if how == "black hole":
            time.sleep(3)
        raise socket.gaierror(-2, "Name or service not known") if how == "no name" else ConnectionRefusedError(111, "refused")

    pytest.importorskip("kagglesdk.kaggle_env")  # imported before the clock runs
    monkeypatch.setattr(socket, "create_connection", connect)
    for address in (f"https://example.org/w.h5{PIN}", f"kaggle://o/m/keras/small/3/w.h5{PIN}"):
        began = time.monotonic()
        refused(address, "cannot be fetched", "Connect to the network, or download https://", f"put it at {cache}")
        assert time.monotonic() - began < 1.5  # 0.8 s, and a busy machine


AS_ANOTHER_USER = """
import os, sys
from tfrecon.weights import local_file
from tfrecon.errors import ResourceError
import tfrecon.downloads.http, logging.handlers, encodings.idna
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(open(local_file(sys.argv[1]), "rb").read() == open(sys.argv[3], "rb").read())
try:
    local_file(sys.argv[2])
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_row_88_a_read_only_cache_is_used_and_where_it_lacks_something_says_so(server, monkeypatch):
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "plain").write_bytes(CONTENT)
        monkeypatch.setenv("TFRECON_CACHE", str(folder / "cache"))
        first = f"{server.url}/w.h5{PIN}"
        local_file(first)
        for path, mode in ((folder, 0o755), (folder / "cache", 0o555), (folder / "cache" / "weights", 0o555)):
            path.chmod(mode)
        command = [sys.executable, "-c", AS_ANOTHER_USER, first, f"{server.url}/other.h5{PIN}", folder / "plain"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert lines[0] == "True" and "Permission denied" in lines[1] and "TFRECON_CACHE names another" in lines[1], done.stderr
    finally:
        shutil.rmtree(folder)


def test_row_88_no_home(monkeypatch):
    monkeypatch.delenv("TFRECON_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/tfrecon")
    monkeypatch.setenv("XDG_CACHE_HOME", "/other")
    assert cache_folder() == Path("/other/tfrecon")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ResourceError, match="TFRECON_CACHE"):
        cache_folder()


def test_two_processes_at_once_both_get_the_whole_file(server, cache):
    server.together = 2  # both ask before either has it
    script = "import sys\nfrom tfrecon.weights import local_file\nprint(local_file(sys.argv[1]))"
    both = [subprocess.Popen([sys.executable, "-c", script, f"{server.url}/w.h5{PIN}"], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE) for _ in range(2)]
    paths = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(server.asked) == 2
    (path,) = paths
    assert Path(path).read_bytes() == CONTENT and left(cache) == [Path(path).name]


def test_a_full_disk_leaves_nothing(server, cache, monkeypatch):
    def full(url, path, size):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfrecon.downloads.pinned.download", full)
    refused(f"{server.url}/w.h5#sha256={'0' * 64}", "No space left", "TFRECON_CACHE", error=ResourceError)
    assert left(cache) == []


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    pytest.importorskip("kagglehub")
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    server = KaggleServer()
    server.files = {"3/small/w.h5": CONTENT}
    for name, value in {"HOME": tmp_path / "home", "KAGGLE_CONFIG_DIR": tmp_path / "home", "KAGGLE_USERNAME": "somebody",
                        "KAGGLE_KEY": "0123456789secret", "KAGGLEHUB_CACHE": tmp_path / "theirs",
                        "KAGGLE_API_ENVIRONMENT": "LOCALHOST"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
    monkeypatch.setattr(kaggle_client, "INPUT", str(tmp_path / "input"))
    yield server
    server.close()


KAGGLE = "kaggle://owner/model/keras/small/3/small/w.h5"


def test_a_file_of_a_kaggle_model(kaggle, cache, tmp_path, capsys):
    path = local_file(KAGGLE + PIN)
    assert Path(path).read_bytes() == CONTENT and left(cache) == [Path(path).name]
    assert kaggle.asked == [("model", "model", "3/small/w.h5"), ("file", 0)] and not (tmp_path / "theirs").exists()
    assert capsys.readouterr().out == ""  # it belongs to results
    kaggle.close()
    assert local_file(KAGGLE + PIN) == path


@pytest.mark.parametrize(("fault", "fragments"), [
    ({"spoil": lambda content: content[:-1] + b"S"}, ["damaged"]),
    ({"spoil": lambda content: content[:-1] + b"S", "hashed": False}, ["has the SHA-256", "nothing of it is kept"]),
    ({"cut": 5000}, ["broke off", "download small/w.h5 by hand from https://www.kaggle.com/models/owner/model/keras/small/3"]),
    ({"status": 403}, ["HTTP 403", "KAGGLE_KEY"]), ({"status": 404}, ["HTTP 404", "/models/owner/model"]),
], ids=["damaged", "another", "cut", "403", "404"])
def test_a_kaggle_model_that_fails(kaggle, cache, fault, fragments):
    vars(kaggle).update(fault)
    text = refused(KAGGLE + PIN, *fragments)
    assert "0123456789secret" not in text and "s1gnature" not in text and left(cache) == []


@pytest.mark.parametrize("place", ["model/keras/small/3", "models/owner/model/keras/small/3"])
def test_an_attached_kaggle_model_needs_no_client(monkeypatch, tmp_path, place):
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # importing it raises
    monkeypatch.setattr(kaggle_client, "INPUT", str(tmp_path / "input"))
    folder = tmp_path / "input" / place / "small"
    folder.mkdir(parents=True)
    (folder / "w.h5").write_bytes(CONTENT)
    assert Path(local_file(KAGGLE + PIN)).read_bytes() == CONTENT


HUB = f"hf://owner/model/small/w.h5@{COMMIT}"


def test_the_hub_without_its_client_names_the_extra_and_the_other_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(HUB + PIN, "tfrecon[hub]", f"https://huggingface.co/owner/model/blob/{COMMIT}/small/w.h5", "give the file")


HUB_SCRIPT = """
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
content = open(sys.argv[1], "rb").read()
class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.path.startswith("/owner/model/resolve/" + sys.argv[3] + "/small/w.h5")
        self.send_response(200 if right else 404)
        for name, value in {"X-Repo-Commit": sys.argv[3], "ETag": '"abc"', "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
    do_HEAD = do_GET
    def log_message(self, *words): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os
os.environ["HF_ENDPOINT"] = f"http://localhost:{server.server_address[1]}"
from tfrecon.errors import WeightsError
from tfrecon.weights import local_file
print(local_file(sys.argv[2]))
other = sys.argv[2][:-64] + "0" * 64
for wrong in (other.replace("small", "large"), other):
    try:
        local_file(wrong)
    except WeightsError as error:
        print(error)
"""


def test_a_file_of_the_hub_by_its_client(cache, tmp_path):
    """The client reads its endpoint when it is imported, so it gets a process of its own."""
    pytest.importorskip("huggingface_hub")
    (tmp_path / "content").write_bytes(CONTENT)
    command = [sys.executable, "-c", HUB_SCRIPT, tmp_path / "content", HUB + PIN, COMMIT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HOME": str(tmp_path / "hf")})
    assert done.returncode == 0, done.stderr
    path, missing, other = done.stdout.splitlines()
    assert Path(path).read_bytes() == CONTENT and left(cache) == [Path(path).name]
    assert "HTTP 404" in missing and "has the SHA-256" in other and not (tmp_path / "hf" / "hub").exists()


@pytest.mark.parametrize("address", [
    "https://example.org/w.h5", "hf://owner/model/w.h5", HUB, KAGGLE, "https://example.org/w.h5#sha256=abc",
    f"https://example.org/w.h5#md5={SHA256}",
])
def test_what_is_not_pinned_is_refused(address):
    refused(address, "is no address" if address == "hf://owner/model/w.h5" else "add #sha256=", error=UsageError)


@pytest.mark.parametrize("address", [
    "file:///etc/hostname", "s3://bucket/w.h5", "ftp://host/w.h5", "https://", "https://host", "https://host/",
    "https://user:pa55word@host/w.h5", "https://host:99999/w.h5", f"hf://owner/model/w.h5@{COMMIT[:7]}",
    "hf://owner/model/w.h5@main", f"hf://owner/model/../w.h5@{COMMIT}", f"hf://owner/w.h5@{COMMIT}", "kaggle://owner/dataset",
    "kaggle://owner/model/keras/small/w.h5", "kaggle://owner/model/keras/small/0/w.h5",
    "kaggle://owner/model/keras/small/3/../../w.h5", "kaggle://owner/model/keras/small/3/a%2F..%2Fw.h5",
    "kaggle://owner/model/keras/small/3/",
])
def test_row_52_addresses_that_are_none_or_lead_outside(address):
    text = refused(address + PIN, "expected https://host/file#sha256=HEX", error=UsageError)
    assert "pa55word" not in text


def test_addresses_name_what_they_should():
    hub = parse_address(HUB + PIN.upper().replace("SHA256", "sha256"))
    assert hub.source == HubFile("owner/model", "small/w.h5", COMMIT) and hub.sha256 == SHA256 and hub.name == "w.h5"
    kaggle = parse_address(KAGGLE + PIN).source
    assert (kaggle.handle, kaggle.file) == ("owner/model/keras/small/3", "small/w.h5")


def test_a_path_that_exists_counts_more_than_its_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("modl-brain-6x").write_bytes(b"mine")
    assert local_file("modl-brain-6x") == "modl-brain-6x" and local_file("not/there.h5") == "not/there.h5"


def test_the_command_line_exits_with_the_right_codes(server, capsys):
    server.content = b"<html>no</html>"
    assert call(capsys, "weights", "info", f"{server.url}/w.h5").code == 2
    changed = call(capsys, "weights", "info", f"{server.url}/w.h5{PIN}")
    assert changed.code == 4 and changed.err.count("\n") == 1 and not changed.out
