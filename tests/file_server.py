"""A small server on this machine that gives one file, well or badly."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `content` under every path and counts the requests.

    Attributes:
        cut: break off after so many bytes. stall: seconds before the answer. drip: seconds between pieces of one byte.
        together: answer nobody before so many have asked.
        status: answer with this error. location: redirect there. chunked: do not tell the length.
    """

    def __init__(self, content=b""):
        self.content, self.asked = content, []
        self.cut, self.stall, self.drip, self.status, self.location, self.chunked = None, 0, 0, None, None, False
        self.together = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"given": self}))
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        """From now on connections are refused."""
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    given: FileServer

    def do_GET(self):
        given = self.given
        given.asked.append(self.path)
        time.sleep(given.stall)
        patience = time.monotonic() + 20
        while len(given.asked) < given.together and time.monotonic() < patience:
            time.sleep(0.01)
        self.send_response(given.status or (302 if given.location else 200))
        if given.location:
            self.send_header("Location", given.location)
        if not given.chunked:
            self.send_header("Content-Length", str(len(given.content)))
        self.end_headers()
        pieces = [given.content[i : i + 1] for i in range(len(given.content))] if given.drip else [given.content[: given.cut]]
        try:
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(given.drip)
        except OSError:  # the client has had enough
            pass

    def log_message(self, *args):
        pass
