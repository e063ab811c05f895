"""A small Kaggle on this machine: it answers the two questions kagglehub asks and gives archives by a signed address."""

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "s1gnature"


class KaggleServer:
    """Serves archives by version, newest highest, and keeps what it was asked.

    Attributes:
        archives: version -> bytes of the archive. files: "version/name" -> bytes of a model's file.
        asked: one word or (word, number) per request: "newest", ("download", version), ("file", first byte).
        status: answer everything with this error.
        cut: break off after so many bytes of a file.
        stall: seconds before any answer.
        spoil: what becomes of an archive on its way.
        hashed: send the MD5 of the archive as Google's storage does.
    """

    def __init__(self):
        self.archives, self.files, self.asked = {}, {}, []
        self.status, self.cut, self.stall, self.spoil, self.hashed = None, None, 0, lambda archive: archive, True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"kaggle": self}))
        self.url = f"http://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        """From now on connections are refused."""
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.kaggle.stall)
        newest = max(self.kaggle.archives, default=None)
        if self.path.endswith("/GetDataset"):
            self.kaggle.asked.append("newest")
            self._refuse(self.kaggle.status) or self._json(200, {"currentVersionNumber": newest})
        elif self.path.endswith("/DownloadDataset"):
            version = asked["datasetVersionNumber"]
            self.kaggle.asked.append(("download", version))
            status = self.kaggle.status or (None if version in self.kaggle.archives else 404)
            self._refuse(status) or self._answer(302, b"", Location=f"{self.kaggle.url}/{version}.zip?X-Signature={TOKEN}")
        elif self.path.endswith("/DownloadModelInstanceVersion"):
            name = f"{asked['versionNumber']}/{asked['path']}"
            self.kaggle.asked.append(("model", asked["modelSlug"], name))
            status = self.kaggle.status or (None if name in self.kaggle.files else 404)
            self._refuse(status) or self._answer(302, b"", Location=f"{self.kaggle.url}/file/{name}?X-Signature={TOKEN}")

    def do_GET(self):
        archive = re.match(r"/(\d+)\.zip", self.path)
        name = self.path.partition("?")[0].removeprefix("/file/")
        content = self.kaggle.archives[int(archive[1])] if archive else self.kaggle.files[name]
        first = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.kaggle.asked.append(("file", first))
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        headers = {"Accept-Ranges": "bytes", **({"x-goog-hash": f"md5={digest}"} if self.kaggle.hashed else {})}
        self._answer(206 if first else 200, self.kaggle.spoil(content)[first:], self.kaggle.cut, **headers)

    def _refuse(self, status):
        if status:
            self._json(status, {"code": status, "message": f"no, not even with {self.headers['Authorization']}"})
        return status

    def _json(self, status, value):
        self._answer(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _answer(self, status, body, cut=None, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *args):
        pass


def zipped(**files):
    """A zip archive of names (dots and slashes allowed) and bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(*members):
    """A gzipped tar archive of (name, bytes), or (name, target of a symbolic link)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname, content = tarfile.SYMTYPE, content, b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
