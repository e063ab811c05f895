"""Whether a server can be reached, found out within a second."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PATIENCE = 0.8  # seconds until no answer means no network


def silence(url: str) -> str | None:
    """Why the server of an address, or the proxy before it, cannot be reached; None if it can.

    A black hole would keep a client waiting for minutes.
    """
    wanted = urlsplit(url)
    proxy = None if proxy_bypass(wanted.hostname or "") else getproxies().get(wanted.scheme)
    parts = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}" if proxy else url)
    answer: list[str | None] = [f"no answer from {parts.hostname} within {_PATIENCE} s"]

    def connect() -> None:
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((parts.hostname, port), timeout=_PATIENCE).close()
            answer[0] = None
        except (OSError, ValueError) as error:  # an impossible port
            answer[0] = f"{parts.hostname}: {getattr(error, 'strerror', None) or type(error).__name__}"

    # In a thread, since looking up the name has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return answer[0]
